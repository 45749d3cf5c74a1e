"""What is known of an episode comes back as it was given, for stores old and new; damage to it names the episode."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from diffpolicy_demos import StoreError, create_store, open_store
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MakeEpisode = Callable[..., dict[str, np.ndarray]]

INFO = {
    "seed": 7,
    "start_state": [222.0, 97.0, 222.99382, 381.59903, 3.0079994],
    "mode": "links herum, ↻",
    "success": True,
    "max_coverage": 0.9512,
    "nested": {"list": [1, None, {"a": "b"}]},
}


@pytest.fixture(params=[2, 3])
def zarr_format(request: pytest.FixtureRequest) -> int:
    return request.param


def test_what_goes_in_comes_out(tmp_path: Path, make_episode: MakeEpisode, zarr_format: int) -> None:
    infos: list[dict[str, Any] | None] = [INFO, None, {}, {"seed": 8}]
    with create_store(tmp_path / "a.zarr", zarr_format=zarr_format) as store:
        for index, info in enumerate(infos[:2]):
            store.append_episode(make_episode(3, index), info)
            assert store.episode_info(index) == (info or {})
    with open_store(tmp_path / "a.zarr", mode="a") as store:
        for index, info in enumerate(infos[2:], 2):
            store.append_episode(make_episode(3, index), info)
    read = open_store(tmp_path / "a.zarr")
    assert read.episode_infos() == [info or {} for info in infos]
    assert [read.episode_info(index) for index in range(4)] == read.episode_infos()
    assert read.episode_info(np.int64(3)) == {"seed": 8}
    assert read.damages() == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    infos=st.lists(
        st.none()
        | st.dictionaries(
            st.text(),
            st.recursive(
                st.none()
                | st.booleans()
                | st.integers()
                | st.floats(allow_nan=False, allow_infinity=False)
                | st.text(),
                lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
                max_leaves=8,
            ),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_any_json_comes_out(tmp_path_factory: pytest.TempPathFactory, infos: list[dict[str, Any] | None]) -> None:
    path = tmp_path_factory.mktemp("any") / "a.zarr"
    with create_store(path, {"action": ((1,), "f4")}) as store:
        for info in infos:
            store.append_episode({"action": np.ones((1, 1))}, info)
    assert open_store(path).episode_infos() == [info or {} for info in infos]


def test_nothing_is_written_where_nothing_is_known(tmp_path: Path, make_episode: MakeEpisode) -> None:
    store = create_store(tmp_path / "a.zarr")
    store.append_episode(make_episode(3))
    assert store.episode_infos() == [{}]
    assert not (tmp_path / "a.zarr/meta/episode_info").exists()


def test_earlier_episodes_get_an_empty_one(tmp_path: Path, make_episode: MakeEpisode, zarr_format: int) -> None:
    """As in a store that an older version or another program wrote."""
    store = create_store(tmp_path / "a.zarr", zarr_format=zarr_format)
    for index in range(3):
        store.append_episode(make_episode(2, index))
    store.append_episode(make_episode(2, 3), INFO)
    assert open_store(tmp_path / "a.zarr").episode_infos() == [{}, {}, {}, INFO]


def test_many_episodes_cross_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffpolicy_demos.schema._INFO_CHUNK_BYTES", 50)
    monkeypatch.setattr("diffpolicy_demos.schema._ENDS_CHUNK", 4)
    infos = [{"seed": index, "text": "x" * (index * 13 % 120)} for index in range(11)]
    with create_store(tmp_path / "a.zarr", {"action": ((1,), "f4")}) as store:
        for info in infos:
            store.append_episode({"action": np.ones((1, 1))}, info)
    read = open_store(tmp_path / "a.zarr")
    assert read.episode_infos() == infos
    assert [read.episode_info(index) for index in range(11)] == infos


def test_numpy_becomes_json(tmp_path: Path, make_episode: MakeEpisode) -> None:
    state = np.array([1.5, 2.5])
    store = create_store(tmp_path / "a.zarr")
    store.append_episode(
        make_episode(2), {"start_state": state, "seed": np.int64(3), "success": np.bool_(True), "c": np.float32(0.5)}
    )
    assert store.episode_info(0) == {"start_state": [1.5, 2.5], "seed": 3, "success": True, "c": 0.5}


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"coverage": math.nan}, "info is not plain JSON: Out of range float values"),
        ({"a": {"b": math.inf}}, "info is not plain JSON"),
        ({"a": object()}, "info is not plain JSON: object is not JSON serializable"),
        ({"a": np.array([None])}, "info is not plain JSON: ndarray is not"),
        ({"a": "\ud800"}, "info is not plain JSON: 'utf-8' codec can't encode"),
    ],
)
def test_what_is_no_json(tmp_path: Path, make_episode: MakeEpisode, info: dict[str, Any], message: str) -> None:
    store = create_store(tmp_path / "a.zarr")
    with pytest.raises(StoreError, match=message) as caught:
        store.append_episode(make_episode(2), info)
    assert f"{tmp_path}/a.zarr: episode 0: info" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a.zarr/data/action").exists()
    store.append_episode(make_episode(2), INFO)
    assert store.episode_infos() == [INFO]


def test_the_arrays_hold_no_objects_or_text(tmp_path: Path, make_episode: MakeEpisode, zarr_format: int) -> None:
    create_store(tmp_path / "a.zarr", zarr_format=zarr_format).append_episode(make_episode(2), {"mode": "é"})
    root = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert root["meta/episode_info"].dtype == np.uint8
    assert root["meta/episode_info_ends"].dtype == np.int64
    assert root["meta/episode_info"][:].tobytes().decode() == '{"mode": "é"}'
    assert root["meta/episode_info_ends"][:].tolist() == [14]


def test_an_interrupted_append_without_information_follows(tmp_path: Path, make_episode: MakeEpisode) -> None:
    """What it would have said must not be taken for that of the next episode."""
    path = tmp_path / "a.zarr"
    with create_store(path) as store:
        store.append_episode(make_episode(2), {"seed": 0})
    root = zarr.open_group(path, mode="r+")
    before = [root[f"meta/episode_info{name}"].shape for name in ("", "_ends")]
    with open_store(path, mode="a") as store, pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(store), "_publish", lambda *_: (_ for _ in ()).throw(RuntimeError("killed")))
        with pytest.raises(RuntimeError):
            store.append_episode(make_episode(2), {"seed": 1})
    root = zarr.open_group(path, mode="r")
    assert [root[f"meta/episode_info{name}"].shape for name in ("", "_ends")] != before
    assert open_store(path).episode_infos() == [{"seed": 0}]
    with open_store(path, mode="a") as store:
        store.append_episode(make_episode(2))
        store.append_episode(make_episode(2), {"seed": 2})
    assert open_store(path).episode_infos() == [{"seed": 0}, {}, {"seed": 2}]


def test_damage_names_the_episode_and_spares_the_others(tmp_path: Path, make_episode: MakeEpisode) -> None:
    path = tmp_path / "a.zarr"
    with create_store(path) as store:
        for index in range(4):
            store.append_episode(make_episode(2, index), {"seed": index})
    root = zarr.open_group(path, mode="r+")
    ends = root["meta/episode_info_ends"][:]
    root["meta/episode_info"][ends[1] : ends[2]] = ord("{")
    read = open_store(path)
    with pytest.raises(StoreError, match="the information of episode 2 is no JSON") as caught:
        read.episode_info(2)
    assert "\n" not in str(caught.value)
    with pytest.raises(StoreError, match="the information of episode 2 is no JSON"):
        read.episode_infos()
    assert [read.episode_info(index)["seed"] for index in (0, 1, 3)] == [0, 1, 3]
    assert [(damage.array, damage.episodes) for damage in read.damages()] == [("meta/episode_info", (2,))]
    np.testing.assert_array_equal(read.episode(2)["action"], make_episode(2, 2)["action"])
    root["meta/episode_info_ends"][2] = 10_000
    with pytest.raises(StoreError, match=r"episode 3 should be bytes 10000 to"):
        open_store(path).episode_info(3)


def test_lost_arrays_do_not_lose_the_steps(tmp_path: Path, make_episode: MakeEpisode) -> None:
    path = tmp_path / "a.zarr"
    with create_store(path) as store:
        store.append_episode(make_episode(2), INFO)
    (path / "meta/episode_info_ends/zarr.json").unlink()
    read = open_store(path)
    with pytest.raises(StoreError, match=r"'meta/episode_info_ends' is missing .* information of no episode"):
        read.episode_info(0)
    assert len(read.episode(0)["action"]) == 2
    assert [damage.episodes for damage in read.damages()] == [(0,)]


def test_no_such_episode(tmp_path: Path, make_episode: MakeEpisode) -> None:
    store = create_store(tmp_path / "a.zarr")
    store.append_episode(make_episode(2), INFO)
    for index in (1, -1):
        with pytest.raises(StoreError, match=f"no episode {index}; it has 0 to 0"):
            store.episode_info(index)
