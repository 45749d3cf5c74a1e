"""One writer at a time: two processes appending to one store would overwrite each other's steps.

The lock is the operating system's own, on a file beside the store, so it ends with the process that holds it, however
that dies. Readers never ask for it.
"""

import contextlib
import gc
import os
import re
import weakref
from pathlib import Path

from filelock import FileLock, Timeout

from diffpolicy_demos.errors import StoreError

#: `demos.zarr.lock` beside `demos.zarr`: inside, zarr would take it for a stray part and zips would carry it along.
LOCK_SUFFIX = ".lock"


class WriterLock:
    """The right to append to one store, from its creation to `release`, garbage collection or the end of the process.

    Args:
        folder: The store, which need not exist yet; links and relative paths lead to the same lock.

    Raises:
        StoreError: Another writer has it (the message says which process), or the lock file cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._file = lock_file(folder)
        self._owner = os.getpid()
        try:
            lock = _acquire(self._file)
        except OSError as error:
            raise StoreError(
                f"{folder}: the lock file {self._file} cannot be written: {error.strerror or error}; "
                "appending needs a folder that can be written"
            ) from error
        if lock is None:
            raise StoreError(
                f"{folder}: {_holder(self._file)} has it open for appending, and a store takes one writer at a time; "
                "close that first (reading is always possible)"
            )
        self._release = weakref.finalize(self, _let_go, lock, self._file, self._owner)
        with contextlib.suppress(OSError):  # the number is a courtesy, and some systems refuse to write a locked file
            self._file.write_text(
                f"process {self._owner} appends to {folder.name}; this file may be deleted once that has ended\n"
            )

    @property
    def held(self) -> bool:
        """Whether this process may write: not after `release`, and not in a process forked from the holder."""
        return self._release.alive and os.getpid() == self._owner

    def release(self) -> None:
        """Lets the next writer in; once is enough."""
        self._release()


def lock_file(folder: Path) -> Path:
    """Where the lock of a store lies: beside it, under its name with `.lock`."""
    folder = folder.expanduser().resolve()
    return folder.with_name(folder.name + LOCK_SUFFIX)


def _acquire(file: Path) -> FileLock | None:
    # A store dropped together with an exception waits, with its lock, for the garbage collector.
    for collect_first in (False, True):
        if collect_first:
            gc.collect()
        lock = FileLock(file, timeout=0)
        with contextlib.suppress(Timeout):
            lock.acquire()
            return lock
    return None


def _let_go(lock: FileLock, file: Path, owner: int) -> None:
    if os.getpid() != owner:  # a forked child has a copy of this object, not of the right
        return
    with contextlib.suppress(OSError):  # where an open file cannot be deleted it stays, and is taken over by the next
        file.unlink()
    lock.release()


def _holder(file: Path) -> str:
    with contextlib.suppress(OSError):
        if found := re.match(r"process (\d+) ", file.read_text(errors="replace")):
            return f"process {found[1]}" + (" (this one)" if int(found[1]) == os.getpid() else "")
    return "another process"
