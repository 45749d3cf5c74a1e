"""Removes the last episode of copies of a store and dies meanwhile, at every file event and in every write in turn.

Started by `test_removing_the_last_episode.py`. It imports once and forks a writer for every death.
"""

import itertools
import os
import resource
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from dying_writer import FILE_EVENTS, TORN_BYTES


def remove_and_die(path: Path, die_at: int) -> None:
    """Removes one episode, to be killed right before the n-th file event in the store, or, for -n, in the write after it."""
    from diffpolicy_demos import open_store

    events = 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal events
        if event in FILE_EVENTS and str(path) in str(arguments[0]):
            events += 1
            if events == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            if events == -die_at:
                resource.setrlimit(resource.RLIMIT_FSIZE, (TORN_BYTES, TORN_BYTES))

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    with open_store(path, mode="a") as store:
        sys.addaudithook(count)
        store.remove_last_episode()


def main(original: Path) -> None:
    """Prints a line `copy killed` for every copy of the store, the last ones not killed."""
    import diffpolicy_demos  # noqa: F401 - what takes a second is imported before the forks

    for event in itertools.count(1):
        survived = []
        for die_at in (event, -event):
            path = original.with_name(f"{die_at}.zarr")
            shutil.copytree(original, path)
            if (child := os.fork()) == 0:
                code = 1
                try:
                    remove_and_die(path, die_at)
                    code = 0
                finally:
                    os._exit(code)
            ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if ended not in (0, -signal.SIGKILL, -signal.SIGXFSZ):
                raise SystemExit(f"event {die_at}: ended with {ended}")
            survived.append(ended == 0)
            print(path, int(ended != 0))
        if all(survived):
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]))
