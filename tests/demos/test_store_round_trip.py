"""What is appended is read back bit for bit, in both formats, and an interrupted append is never seen."""

import itertools
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Literal

import fsspec
import numpy as np
import pytest
import zarr
from diffpolicy_demos import Store, StoreError, create_store, open_store
from diffpolicy_demos.inspect import describe
from zarr.storage import FsspecStore, LocalStore

Episode = dict[str, np.ndarray]
MakeEpisode = Callable[..., Episode]
Format = Literal[2, 3]


@pytest.fixture(params=[2, 3])
def zarr_format(request: pytest.FixtureRequest) -> Format:
    return request.param


def assert_holds(store: Store, episodes: list[Episode]) -> None:
    assert store.n_episodes == len(episodes)
    assert store.n_steps == sum(len(episode["action"]) for episode in episodes)
    for index, episode in enumerate(episodes):
        found = store.episode(index)
        assert set(found) == {*episode, "agent_pos"}
        for key, values in episode.items():
            assert found[key].dtype == values.dtype
            np.testing.assert_array_equal(found[key], values)


def test_what_goes_in_comes_out(tmp_path: Path, make_episode: MakeEpisode, zarr_format: Format) -> None:
    path = tmp_path / "a.zarr"
    episodes = [make_episode(steps, seed) for seed, steps in enumerate((1, 40, 7))]
    store = create_store(path, attrs={"env_id": "toy", "note": "é"}, zarr_format=zarr_format)
    for episode in episodes[:2]:
        store.append_episode(episode)
    assert_holds(store, episodes[:2])
    store.close()
    with open_store(path, mode="a") as reopened:
        reopened.append_episode(episodes[2])
    read = open_store(path)
    assert_holds(read, episodes)
    read.check_values()
    assert read.zarr_format == zarr_format
    assert (read.attrs["env_id"], read.attrs["note"]) == ("toy", "é")
    assert read.episode_lengths.tolist() == [1, 40, 7]


def test_the_layout_is_the_published_one(tmp_path: Path, make_episode: MakeEpisode, zarr_format: Format) -> None:
    """Readers of the published layout know nothing of ours: they look for these names and nothing else."""
    create_store(tmp_path / "a.zarr", zarr_format=zarr_format).append_episode(make_episode(30))
    root = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert sorted(root["data"].array_keys()) == ["action", "img", "keypoint", "state"]
    assert root["meta/episode_ends"][:].tolist() == [30]
    assert root["data/img"].dtype == np.uint8


def test_episodes_that_cross_chunks(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    actions = [rng.normal(size=(steps, 7)) for steps in (5000, 1, 9000)]
    store = create_store(tmp_path / "a.zarr", {"action": ((7,), "float64")})
    for action in actions:
        store.append_episode({"action": action})
    read = open_store(tmp_path / "a.zarr")
    assert read["action"].chunks[0] < 5000
    np.testing.assert_array_equal(read["action"][:], np.concatenate(actions))


def test_more_episodes_than_one_chunk_of_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffpolicy_demos.schema._ENDS_CHUNK", 4)
    store = create_store(tmp_path / "a.zarr", {"action": ((1,), "float32")})
    assert store._root["meta/episode_ends"].chunks == (4,)
    count = 10
    for value in range(count):
        store.append_episode({"action": np.full((1, 1), value, np.float32)})
    read = open_store(tmp_path / "a.zarr")
    assert read.episode_ends.tolist() == list(range(1, count + 1))
    assert read["action"][:, 0].tolist() == list(range(count))


def test_zeros_overwrite_what_an_interrupted_append_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself zarr does not write chunks of zeros; leftovers must not shine through."""
    store = create_store(tmp_path / "a.zarr", {"action": ((2,), "float32")})
    with monkeypatch.context() as patch:
        patch.setattr(Store, "_publish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            store.append_episode({"action": np.ones((9000, 2))})
    store.close()
    store = open_store(tmp_path / "a.zarr", mode="a")
    assert store.n_episodes == 0
    store.append_episode({"action": np.zeros((8000, 2))})
    assert not open_store(tmp_path / "a.zarr")["action"][:].any()


def test_an_append_that_dies_at_any_write_is_invisible(
    tmp_path: Path, make_episode: MakeEpisode, zarr_format: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever write is the last one that happens, readers see the old episodes, and the next append is whole."""
    first, second, third = make_episode(50, 1), make_episode(60, 2), make_episode(20, 3)
    base = tmp_path / "base.zarr"
    create_store(base, zarr_format=zarr_format).append_episode(first)
    write = LocalStore.set
    died = 0
    for allowed in itertools.count():
        path = shutil.copytree(base, tmp_path / f"{allowed}.zarr")
        left = itertools.count(allowed, -1)

        async def dying(self: LocalStore, *args: Any, left: Any = left, **kwargs: Any) -> None:
            if next(left) <= 0:
                raise RuntimeError("killed")
            await write(self, *args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(LocalStore, "set", dying)
            try:
                open_store(path, mode="a").append_episode(second)
            except RuntimeError:
                died += 1
            else:
                assert_holds(open_store(path), [first, second])
                break
        after = open_store(path)
        seen = [first, second][: after.n_episodes]  # format 2 writes attributes once the length is published
        assert_holds(after, seen)
        assert after["action"].shape[0] == after.n_steps
        open_store(path, mode="a").append_episode(third)
        assert_holds(open_store(path), [*seen, third])
    assert died >= 10  # four arrays and the ends, each with a length and a chunk to write


def test_a_first_append_that_dies_leaves_a_usable_store(
    tmp_path: Path, make_episode: MakeEpisode, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = LocalStore.set_if_not_exists
    for allowed in range(4):
        path = tmp_path / f"{allowed}.zarr"
        store = create_store(path)
        with monkeypatch.context() as patch:
            left = itertools.count(allowed, -1)

            async def dying(self: LocalStore, key: str, *args: Any, left: Any = left, **kwargs: Any) -> None:
                if "data/" in key and next(left) <= 0:
                    raise RuntimeError("killed")
                await write(self, key, *args, **kwargs)

            patch.setattr(LocalStore, "set_if_not_exists", dying)
            patch.setattr(Store, "_publish", lambda *_: (_ for _ in ()).throw(RuntimeError("killed")))
            with pytest.raises(RuntimeError):
                store.append_episode(make_episode(5))
        store.close()
        with pytest.raises(StoreError, match=r"missing|no episodes"):
            open_store(path)
        open_store(path, mode="a").append_episode(make_episode(6, 1))
        assert_holds(open_store(path), [make_episode(6, 1)])


def test_a_store_can_be_copied_episode_by_episode(tmp_path: Path, make_episode: MakeEpisode) -> None:
    source = create_store(tmp_path / "a.zarr", zarr_format=2)
    source.append_episode(make_episode(10))
    copy = create_store(tmp_path / "b.zarr")
    copy.append_episode(source.episode(0))
    assert_holds(open_store(tmp_path / "b.zarr"), [make_episode(10)])
    assert copy.stored_keys == source.stored_keys


def test_memory_url(make_episode: MakeEpisode, tmp_path: Path, zarr_format: Format) -> None:
    create_store(tmp_path / "a.zarr", zarr_format=zarr_format).append_episode(make_episode(10))
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "a.zarr"), f"/tests-{zarr_format}/a.zarr", recursive=True)
    store = open_store(f"memory://tests-{zarr_format}/a.zarr")
    assert_holds(store, [make_episode(10)])
    with pytest.raises(StoreError, match="opened for reading"):
        store.append_episode(make_episode(3))
    with pytest.raises(StoreError, match=r"memory://.*only a folder can be appended to"):
        open_store(f"memory://tests-{zarr_format}/a.zarr", mode="a")


@pytest.mark.parametrize("listing", ["refused", "folders with a slash"])
def test_servers_list_in_their_own_way(
    make_episode: MakeEpisode, tmp_path: Path, listing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_store(tmp_path / "a.zarr").append_episode(make_episode(10))
    fsspec.filesystem("memory").put(str(tmp_path / "a.zarr"), f"/{listing}/a.zarr", recursive=True)
    list_dir = FsspecStore.list_dir

    async def list_otherwise(self: FsspecStore, prefix: str) -> AsyncIterator[str]:
        if listing == "refused":
            raise RuntimeError("403, forbidden")
        async for name in list_dir(self, prefix):
            yield f"{name}/"

    monkeypatch.setattr(FsspecStore, "list_dir", list_otherwise)
    store = open_store(f"memory://{listing}/a.zarr")
    assert_holds(store, [make_episode(10)])
    if listing == "refused":
        monkeypatch.setattr(FsspecStore, "list_prefix", list_otherwise)
        assert {array.stored_bytes for array in describe(store).arrays} == {None}


def test_a_zip_with_the_store_at_its_root(make_episode: MakeEpisode, tmp_path: Path) -> None:
    create_store(tmp_path / "a.zarr").append_episode(make_episode(10))
    assert_holds(open_store(shutil.make_archive(str(tmp_path / "a"), "zip", tmp_path / "a.zarr")), [make_episode(10)])


def test_two_cameras_and_an_arm(tmp_path: Path) -> None:
    """Keys that Push-T does not know keep their names and shapes."""
    rng = np.random.default_rng(0)
    episode = {
        "action": rng.normal(size=(4, 7)),
        "wrist": rng.integers(0, 255, (4, 8, 8, 3), dtype=np.uint8),
        "front": rng.integers(0, 255, (4, 6, 10, 3), dtype=np.uint8),
        "gripper": rng.random(4) > 0.5,
    }
    create_store(tmp_path / "a.zarr").append_episode(episode)
    found = open_store(tmp_path / "a.zarr").episode(0)
    assert set(found) == set(episode)
    for key, values in episode.items():
        np.testing.assert_array_equal(found[key], values)


def test_float_images_become_bytes(tmp_path: Path, make_episode: MakeEpisode) -> None:
    episode = make_episode(5)
    pixels = episode["pixels"]
    create_store(tmp_path / "a.zarr").append_episode({**episode, "pixels": pixels.astype(np.float32)})
    store = open_store(tmp_path / "a.zarr")
    assert store["pixels"].dtype == np.float32
    assert store.read("pixels", 0, 5).dtype == np.uint8
    np.testing.assert_array_equal(store.read("pixels", 0, 5), pixels)
