"""A full disk, a failed write, stale copies of metadata, readers at the same time: no episode is lost or half seen."""

import errno
import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from diffpolicy_demos import StoreError, create_store, open_store
from zarr.storage import LocalStore

MakeEpisode = Callable[..., dict[str, np.ndarray]]


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_disk_that_is_full_at_any_write(
    tmp_path: Path, make_episode: MakeEpisode, zarr_format: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The append is refused in one line and the store closed; whoever opens it anew goes on from what is there."""
    path, write = tmp_path / "a.zarr", LocalStore.set
    episodes = [make_episode(steps, steps) for steps in range(3, 40)]
    with create_store(path, zarr_format=zarr_format) as store:
        store.append_episode(episodes[0], {"seed": 0})
    for allowed in itertools.count():
        left = itertools.count(allowed, -1)

        async def full(self: LocalStore, *args: Any, left: Any = left, **kwargs: Any) -> None:
            if next(left) <= 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            await write(self, *args, **kwargs)

        store = open_store(path, mode="a")
        count = store.n_episodes
        with monkeypatch.context() as patch:
            patch.setattr(LocalStore, "set", full)
            refusal = ""
            try:
                store.append_episode(episodes[count], {"seed": count})
            except StoreError as error:
                refusal = str(error)
        if not refusal:
            break
        assert f"{path}: episode {count} was not appended, and the store is closed" in refusal
        assert "No space left on device" in refusal
        assert "\n" not in refusal
        assert not store.writable
        with pytest.raises(StoreError, match="closed"):
            store.append_episode(episodes[count])
        count = open_store(path).n_episodes
        with open_store(path, mode="a") as store:
            store.append_episode(episodes[count])  # no information: what the failed append left must not become its own
        found = open_store(path)
        assert found.n_episodes == count + 1
        assert found.episode_info(count) == {}
        np.testing.assert_array_equal(found.episode(count)["pixels"], episodes[count]["pixels"])
        np.testing.assert_array_equal(found.episode(0)["pixels"], episodes[0]["pixels"])
    assert allowed > 10
    assert open_store(path).damages() == []


@pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part")
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("ours", [True, False])
def test_collected_metadata_does_not_go_stale(tmp_path: Path, zarr_format: int, ours: bool) -> None:
    """Zarr goes by it wherever it finds it, and would not see what was appended."""
    path = tmp_path / "a.zarr"
    if ours:
        with create_store(path, zarr_format=zarr_format) as store:
            store.append_episode({"action": np.ones((10, 2), np.float32)})
    else:
        root = zarr.create_group(path, zarr_format=zarr_format)
        root.create_array("data/action", data=np.ones((10, 2), np.float32))
        root.create_array("meta/episode_ends", data=np.array([10]))
    zarr.consolidate_metadata(path)
    with open_store(path, mode="a") as store:
        store.append_episode({"action": np.ones((5, 2), np.float32)})
    plain = zarr.open_group(path, mode="r")
    assert plain["data/action"].shape == (15, 2)
    assert plain["meta/episode_ends"][:].tolist() == [10, 15]
    assert open_store(f"file://{path}").n_episodes == 2


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_readers_meet_only_whole_episodes(tmp_path: Path, zarr_format: int) -> None:
    path = tmp_path / "a.zarr"
    with create_store(path, zarr_format=zarr_format) as store:
        store.append_episode({"action": np.zeros((7, 2), np.float32)}, {"seed": 0})
        done = threading.Event()
        met: set[int] = set()
        problems: list[BaseException] = []

        def read() -> None:
            try:
                while not done.is_set():
                    seen = open_store(path)
                    met.add(seen.n_episodes)
                    expected = np.repeat(np.arange(seen.n_episodes), 7)
                    np.testing.assert_array_equal(seen["action"][:, 0], expected)
                    assert [info["seed"] for info in seen.episode_infos()] == list(range(seen.n_episodes))
            except BaseException as error:
                problems.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        for value in range(1, 40):
            store.append_episode({"action": np.full((7, 2), value, np.float32)}, {"seed": value})
        done.set()
        reader.join()
    assert not problems
    assert len(met) > 1  # it did read while episodes were being appended


def test_what_an_interrupted_first_episode_decided_does_not_bind(tmp_path: Path) -> None:
    """Its arrays were not complete, so the next first episode may have others."""
    path = tmp_path / "a.zarr"
    store = create_store(path)
    zarr.open_group(path, mode="r+").create_array("data/img", shape=(0, 8, 8, 3), dtype="u1")
    store.close()
    with open_store(path, mode="a") as store:
        store.append_episode({"action": np.ones((4, 2)), "joints": np.ones((4, 7))})
    assert open_store(path).keys == ("action", "joints")


def test_a_creation_that_was_killed_is_begun_anew(tmp_path: Path) -> None:
    draft = tmp_path / ".a.zarr.creating"
    (draft / "data").mkdir(parents=True)
    (draft / "zarr.json").write_text("{half")
    with create_store(tmp_path / "a.zarr") as store:
        store.append_episode({"action": np.ones((4, 2))})
    assert open_store(tmp_path / "a.zarr").n_episodes == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr"]


def test_other_peoples_files_are_left_alone(tmp_path: Path) -> None:
    """Only what zarr itself calls unfinished is cleaned up."""
    path = tmp_path / "a.zarr"
    with create_store(path) as store:
        store.append_episode({"action": np.ones((4, 2))})
    keep = [path / "notes.partial", path / "data/action/readme.0123.partial"]
    rest = [path / "data/action/c/0" / f"1.{'0a' * 16}.partial", path / "data/action" / f"zarr.{'f' * 32}.partial"]
    for file in (*keep, *rest):
        file.write_text("x")
    assert open_store(path).n_episodes == 1
    assert all(file.exists() for file in (*keep, *rest))
    open_store(path, mode="a").close()
    assert [file.exists() for file in (*keep, *rest)] == [True, True, False, False]
