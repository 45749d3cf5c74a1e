"""A process that appends episodes until it is killed, or kills itself; started by `test_a_kill_loses_nothing.py`.

It imports once and forks a writer for every line that it reads, so that a kill costs milliseconds instead of seconds.
"""

import contextlib
import functools
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np

#: What the operating system is asked to do to files, as Python's audit events name it.
FILE_EVENTS = ("open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir")

#: How much of a torn write reaches the disk.
TORN_BYTES = 20


@functools.cache
def make_episode(index: int) -> tuple[dict[str, np.ndarray], dict[str, Any] | None]:
    """The episode that every writer appends as number `index`: a few lie in one chunk, and every sixth fills several.

    Every third has no information, and some steps are zeros throughout.
    """
    rng = np.random.default_rng(index)
    steps = int(rng.integers(1, 40)) + (300 if index % 6 == 5 else 0)
    episode = {
        "action": rng.normal(size=(steps, 2)).astype(np.float32),
        "state": rng.normal(size=(steps, 5)).astype(np.float32) * (index % 4 != 0),
        "pixels": rng.integers(0, 256, (steps, 4, 4, 3), dtype=np.uint8),
    }
    if index % 3 == 2:
        return episode, None
    return episode, {"seed": index, "mode": "größer" * (index % 5), "start_state": rng.normal(size=5).tolist()}


def append_until_killed(path: Path, zarr_format: int, die_at: int) -> None:
    """Appends episodes for ever and tells each finished one, or dies at the n-th file event in the store.

    Args:
        path: The store, which is created if it is not there.
        zarr_format: 2 or 3, for a new store.
        die_at: n to die right before the n-th event, -n to die within the next write to a file after it, when a few
            bytes are on disk; 0 to go on until the parent kills.
    """
    from diffpolicy_demos import create_store, open_store

    events = 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal events
        if event in FILE_EVENTS and str(path) in str(arguments[0]):
            events += 1
            if events == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            if events == -die_at:  # the system itself then kills whoever writes on, in the middle of the write
                resource.setrlimit(resource.RLIMIT_FSIZE, (TORN_BYTES, TORN_BYTES))

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python would make it an error like any other
    if die_at:
        sys.addaudithook(count)
    store = open_store(path, mode="a") if path.exists() else create_store(path, zarr_format=zarr_format)
    while True:
        index = store.n_episodes
        say("appending", index, os.getpid())
        store.append_episode(*make_episode(index))
        say("finished", index)


def say(*words: object) -> None:
    """One line to the parent, in one write: the next instant may be the last."""
    os.write(sys.stdout.fileno(), (" ".join(map(str, words)) + "\n").encode())


def main() -> None:
    """Forks a writer for each line `path zarr_format die_at` and tells how it ended, until the input ends."""
    import diffpolicy_demos  # noqa: F401 - what takes a second is imported before the forks

    say("ready")
    for line in sys.stdin:
        path, zarr_format, die_at = line.rsplit(maxsplit=2)
        if (child := os.fork()) == 0:
            code = 1
            with contextlib.suppress(KeyboardInterrupt):
                try:
                    append_until_killed(Path(path), int(zarr_format), int(die_at))
                except Exception as error:
                    say("failed", type(error).__name__, " ".join(str(error).split()))
            os._exit(code)
        say("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


if __name__ == "__main__":
    main()
