"""A writer that is killed, at whatever instant, leaves every finished episode as it was, and the next goes on."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from diffpolicy_demos import Store, StoreError, open_store

sys.path.insert(0, str(Path(__file__).parent))
from dying_writer import make_episode

SCRIPT = Path(__file__).parent / "dying_writer.py"
ENOUGH_EPISODES = 40  # a store that grew to this many is done with: reading it back is what takes the time


class Writers:
    """Starts writers one after another and reports how each ended."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(
            [sys.executable, str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self._next() == "ready"

    def kill_one(self, path: Path, zarr_format: int, *, die_at: int = 0, after_s: float = 0.0) -> int:
        """Lets one writer append and die: by itself (see `dying_writer`), or killed some time after it began to append.

        Returns:
            The last episode that it reported as finished; -1 where it reported none.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(f"{path} {zarr_format} {die_at}\n")
        self._process.stdin.flush()
        finished, killed = -1, False
        while True:
            word, *rest = self._next().split()
            assert word != "failed", " ".join(rest)
            if word == "finished":
                finished = int(rest[0])
            elif word == "appending" and not die_at and not killed:
                time.sleep(after_s)
                os.kill(int(rest[1]), signal.SIGKILL)
                killed = True
            elif word == "ended":
                assert int(rest[0]) in (-signal.SIGKILL, -signal.SIGXFSZ)
                return finished

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(timeout=30) == 0

    def _next(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()  # a writer that hangs is ended by pytest's time limit
        assert line, "the process that starts the writers has died"
        return line.strip()


@pytest.fixture
def writers() -> Iterator[Writers]:
    writers = Writers()
    yield writers
    writers.close()


def assert_whole(store: Store, at_least: int) -> None:
    """Every episode is there bit for bit, those that the dead writer reported at the very least."""
    assert store.n_episodes >= at_least
    episodes, infos = zip(*map(make_episode, range(store.n_episodes)), strict=True)
    assert store.episode_lengths.tolist() == [len(episode["action"]) for episode in episodes]
    for key in episodes[0]:
        expected = np.concatenate([episode[key] for episode in episodes])
        found = store.read(key, 0, store.n_steps)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected, err_msg=key)
    assert store.episode_infos() == [info or {} for info in infos]


def check_after_death(path: Path, finished: int) -> int:
    """Reads the store as the dead writer left it, then as one who goes on leaves it.

    Args:
        path: The store.
        finished: The last episode known to be finished, -1 for none.

    Returns:
        The episodes that it has now.
    """
    if not path.exists():
        assert finished == -1
        return 0
    seen, refusal = None, ""
    try:
        seen = open_store(path)  # a reader comes before the next writer, and must not need one
    except StoreError as error:
        refusal = str(error)
    if seen is None:  # a reader is told that there is nothing yet
        assert finished == -1
        assert "no episodes" in refusal or "'data/action' is missing" in refusal
    else:
        assert seen.n_episodes <= finished + 2  # one more at most: published, and killed before it could say so
        assert_whole(seen, finished + 1)
    with open_store(path, mode="a") as store:
        index = store.n_episodes
        assert index >= finished + 1
        store.append_episode(*make_episode(index))
    assert not [file for file in path.rglob("*") if file.name.endswith(".partial")]
    whole = open_store(path)
    assert_whole(whole, index + 1)
    assert whole.damages() == []
    return index + 1


def run_kills(writers: Writers, folder: Path, kills: int, seed: int, zarr_format: int) -> list[int]:
    """Lets writers die before a file event, within a write and at any time; returns the lengths that stores reached."""
    draw, episodes, reached = random.Random(seed), 0, []
    for turn in range(kills):
        path = folder / f"{len(reached)}.zarr"
        # One append makes about 60 file events and takes about 30 ms.
        event = draw.randint(1, 240)
        how = ({"die_at": event}, {"die_at": -event}, {"after_s": draw.uniform(0, 0.1)})[turn % 3]
        episodes = check_after_death(path, max(writers.kill_one(path, zarr_format, **how), episodes - 1))
        if episodes >= ENOUGH_EPISODES:
            reached.append(episodes)
            episodes = 0
    return [*reached, episodes]


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_ten_kills(writers: Writers, tmp_path: Path, zarr_format: int) -> None:
    assert max(run_kills(writers, tmp_path, 10, seed=zarr_format, zarr_format=zarr_format)) >= 10


@pytest.mark.slow
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_hundred_kills(writers: Writers, tmp_path: Path, zarr_format: int) -> None:
    assert sum(run_kills(writers, tmp_path, 100, seed=100 + zarr_format, zarr_format=zarr_format)) >= 100


@pytest.mark.slow
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_kill_before_every_single_file_event(writers: Writers, tmp_path: Path, zarr_format: int) -> None:
    """From the creation of the store through its first two appends, and so the creation of every array.

    Format 2 has more files to an array, each written as format 3 does: every fifth event stands for its neighbours.
    """
    for event in range(1, 1000, 1 if zarr_format == 3 else 5):
        reached = []
        for die_at in (event, -event):
            path = tmp_path / f"{die_at}.zarr"
            reached.append(writers.kill_one(path, zarr_format, die_at=die_at))
            check_after_death(path, reached[-1])
        if min(reached) >= 1:
            break
    assert event > 100
