"""Taking the last episode back: it goes whole or stays whole, whatever happens meanwhile, and no other is touched."""

import errno
import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from diffpolicy_demos import Store, StoreError, create_store, open_store
from zarr.storage import LocalStore

SCRIPT = Path(__file__).parent / "dying_remover.py"
EPISODES = 5
KINDS = [(ours, zarr_format) for ours in (True, False) for zarr_format in (2, 3)]


def episode(index: int) -> dict[str, np.ndarray]:
    """Several lie in one chunk of ours, one fills several chunks of the other writer's."""
    steps = 3 + 5 * index
    return {"action": np.full((steps, 2), index, np.float32), "img": np.full((steps, 4, 4, 3), index, np.uint8)}


def make_store(path: Path, *, ours: bool, zarr_format: int) -> Path:
    """A store of five episodes: ours with information, or another writer's, whose last end fills a chunk of its own."""
    if ours:
        with create_store(path, zarr_format=zarr_format) as store:
            for index in range(EPISODES):
                store.append_episode(episode(index), {"seed": index})
        return path
    root = zarr.create_group(path, zarr_format=zarr_format)
    parts = [episode(index) for index in range(EPISODES)]
    for name in ("action", "img"):
        values = np.concatenate([part[name] for part in parts])
        root.create_array(f"data/{name}", data=values, chunks=(7, *values.shape[1:]))
    root.create_array("meta/episode_ends", data=np.cumsum([len(part["action"]) for part in parts]), chunks=(2,))
    return path


def assert_holds(store: Store, indices: list[int], *, infos: bool) -> None:
    """These episodes and no others, bit for bit."""
    expected = {key: np.concatenate([episode(index)[key] for index in indices]) for key in ("action", "img")}
    assert store.episode_lengths.tolist() == [len(episode(index)["action"]) for index in indices]
    np.testing.assert_array_equal(store.read("action", 0, store.n_steps), expected["action"])
    np.testing.assert_array_equal(store.read("pixels", 0, store.n_steps), expected["img"])
    assert store.episode_infos() == [{"seed": index} if infos else {} for index in indices]
    assert store.damages() == []


@pytest.mark.parametrize(("ours", "zarr_format"), KINDS)
def test_the_others_are_as_they_were(tmp_path: Path, ours: bool, zarr_format: int) -> None:
    path = make_store(tmp_path / "a.zarr", ours=ours, zarr_format=zarr_format)
    with open_store(path, mode="a") as store:
        before = open_store(path)
        for left in (4, 3):
            store.remove_last_episode()
            assert_holds(store, list(range(left)), infos=ours)
            assert_holds(open_store(path), list(range(left)), infos=ours)
        # Whoever opened it before, and trains on it, still reads the steps; until an append overwrites them.
        np.testing.assert_array_equal(before.episode(4)["pixels"], episode(4)["img"])
        store.append_episode(episode(7), {"seed": 7} if ours else None)
        assert_holds(store, [0, 1, 2, 7], infos=ours)
    assert_holds(open_store(path), [0, 1, 2, 7], infos=ours)


def test_other_readers_see_as_many_infos_as_episodes(tmp_path: Path) -> None:
    path = make_store(tmp_path / "a.zarr", ours=True, zarr_format=3)
    with open_store(path, mode="a") as store:
        store.remove_last_episode()
    root = zarr.open_group(path, mode="r")
    assert root["meta/episode_info_ends"].shape == root["meta/episode_ends"].shape == (EPISODES - 1,)


def test_down_to_none_and_up_again(tmp_path: Path) -> None:
    path = make_store(tmp_path / "a.zarr", ours=True, zarr_format=3)
    with open_store(path, mode="a") as store:
        for _ in range(EPISODES):
            store.remove_last_episode()
        with pytest.raises(StoreError, match=r"a\.zarr: no episode to remove"):
            store.remove_last_episode()
    with pytest.raises(StoreError, match="no episodes"):
        open_store(path)
    with open_store(path, mode="a") as store:
        assert store.n_episodes == 0
        store.append_episode(episode(2), {"seed": 2})
    assert_holds(open_store(path), [2], infos=True)


def test_only_the_one_writer_may(tmp_path: Path) -> None:
    path = make_store(tmp_path / "a.zarr", ours=True, zarr_format=3)
    with pytest.raises(StoreError, match="opened for reading"):
        open_store(path).remove_last_episode()
    store = open_store(path, mode="a")
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.remove_last_episode()
    assert_holds(open_store(path), list(range(EPISODES)), infos=True)


@pytest.mark.parametrize(("ours", "zarr_format"), KINDS)
def test_a_kill_at_every_instant(tmp_path: Path, ours: bool, zarr_format: int) -> None:
    """Before every file event and within every write; the next writer then goes on."""
    original = make_store(tmp_path / "original.zarr", ours=ours, zarr_format=zarr_format)
    found = subprocess.run(
        [sys.executable, str(SCRIPT), str(original)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deaths = {Path(path): killed == "1" for path, killed in map(str.split, found.stdout.splitlines())}
    assert sum(deaths.values()) >= 10
    left, checked = set(), set()
    for path, killed in deaths.items():
        content = (killed, *((file.name[:20], file.read_bytes()) for file in sorted(path.rglob("*")) if file.is_file()))
        if content in checked:  # most events only read, so most deaths leave the same behind
            continue
        checked.add(content)
        count = open_store(path).n_episodes
        left.add((killed, count))
        assert_holds(open_store(path), list(range(count)), infos=ours)
        with open_store(path, mode="a") as store:
            store.append_episode(episode(6), {"seed": 6} if ours else None)
        assert_holds(open_store(path), [*range(count), 6], infos=ours)
    assert left == {(True, EPISODES), (True, EPISODES - 1), (False, EPISODES - 1)}


@pytest.mark.parametrize(("ours", "zarr_format"), KINDS)
def test_a_disk_that_refuses(tmp_path: Path, ours: bool, zarr_format: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told in one line, and the store is closed; it is there whole or not at all."""
    path, write = make_store(tmp_path / "a.zarr", ours=ours, zarr_format=zarr_format), LocalStore.set
    for allowed in itertools.count():
        left = itertools.count(allowed, -1)

        async def full(self: LocalStore, *args: Any, left: Any = left, **kwargs: Any) -> None:
            if next(left) <= 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            await write(self, *args, **kwargs)

        store, refusal = open_store(path, mode="a"), ""
        count = store.n_episodes
        with monkeypatch.context() as patch:
            patch.setattr(LocalStore, "set", full)
            try:
                store.remove_last_episode()
            except StoreError as error:
                refusal = str(error)
        if not refusal:
            break
        assert f"{path}: episode {count - 1} may still be there, and the store is closed: " in refusal
        assert "No space left on device" in refusal
        assert "\n" not in refusal
        assert not store.writable
        found = open_store(path)
        assert_holds(found, list(range(found.n_episodes)), infos=ours)
    assert allowed >= 1
    assert_holds(store, list(range(count - 1)), infos=ours)
    store.close()
