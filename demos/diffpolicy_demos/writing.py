"""Creating a store and appending to it, so that a process may die at any instant and no finished episode is lost.

Two rules hold everywhere: a file is only ever replaced by a rename, and what makes an episode count comes last.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from jaxtyping import Shaped
from numpy.typing import DTypeLike
from zarr.core.sync import sync

from diffpolicy_demos import checks
from diffpolicy_demos.episodes import check_keys
from diffpolicy_demos.errors import StoreError
from diffpolicy_demos.location import one_line, open_root
from diffpolicy_demos.lock import WriterLock
from diffpolicy_demos.schema import (
    DATA,
    ENDS,
    FOREIGN_VERSION,
    INFO_ENDS,
    STORED_NAMES,
    WRITER_ATTR,
    WRITER_VERSION,
    create_array,
    create_layout,
    write_rows,
)

#: What zarr calls a file until its rename; a killed process leaves it behind.
_UNFINISHED = re.compile(r".*\.[0-9a-f]{32}\.partial")


def check_new(
    path: str | os.PathLike[str], arrays: Mapping[str, tuple[tuple[int, ...], DTypeLike]], zarr_format: int
) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Checks what `create_store` was asked for, before anything is written.

    Returns:
        Shape of one step and dtype by stored name.

    Raises:
        StoreError: A URL, an unknown format, an array not of numbers, or a key that cannot name one.
    """
    folder = os.fspath(path)
    if "://" in folder:
        raise StoreError(f"{folder}: URLs are read only; create the store in a folder and upload that")
    if zarr_format not in (2, 3):
        raise StoreError(f"{folder}: zarr format {zarr_format!r} asked for; expected 2 or 3")
    check_keys(folder, arrays)
    specs = {STORED_NAMES.get(key, key): (tuple(shape), np.dtype(dtype)) for key, (shape, dtype) in arrays.items()}
    for name, (_, dtype) in specs.items():
        if dtype.kind not in "biuf":
            raise StoreError(f"{folder}: {name!r} was given dtype {dtype}; expected numbers (bool, int, uint or float)")
    if specs and "action" not in specs:
        raise StoreError(f"{folder}: the arrays lack 'action'; given were {', '.join(sorted(specs))}")
    checks.check_step_shapes(folder, {name: shape for name, (shape, _) in specs.items()})
    return specs


def create_locked(
    folder: Path,
    specs: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]],
    attrs: Mapping[str, Any],
    zarr_format: int,
) -> WriterLock:
    """Creates an empty store under a temporary name and gives it its own by one rename.

    Args:
        folder: A folder that does not exist yet, or an empty one.
        specs: What `check_new` returned.
        attrs: What to say about the episodes, as JSON.
        zarr_format: 2 or 3.

    Returns:
        The right to append to it.

    Raises:
        StoreError: The path is taken, another process is creating it, or attributes that are no JSON.
    """
    _check_free(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = WriterLock(folder)
    draft = folder.with_name(f".{folder.name}.creating")
    try:
        _check_free(folder)  # while the lock was not held, another process may have been faster
        shutil.rmtree(draft, ignore_errors=True)  # one that died while it was creating this store
        attributes = {**attrs, WRITER_ATTR: WRITER_VERSION}
        root = zarr.create_group(draft, zarr_format=2 if zarr_format == 2 else 3, attributes=attributes)
        create_layout(root)
        for name, (shape, dtype) in specs.items():
            create_array(root, f"{DATA}/{name}", shape, dtype)
        with contextlib.suppress(FileNotFoundError):  # some systems rename over an empty folder, some do not
            folder.rmdir()
        draft.rename(folder)
    except BaseException as error:
        shutil.rmtree(draft, ignore_errors=True)
        lock.release()
        if isinstance(error, TypeError):
            raise StoreError(f"{folder}: the attributes are not plain JSON: {one_line(error)}") from error
        raise
    return lock


def _check_free(folder: Path) -> None:
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise StoreError(
            f"{folder}: exists already; open_store(path, mode='a') appends to a store, or choose another path"
        )


def open_locked(place: str | Path) -> tuple[zarr.Group, WriterLock]:
    """Opens a store's root for appending, cleaned of what a killed process left.

    Args:
        place: What `locate` returned.

    Returns:
        The root group and the right to append.

    Raises:
        StoreError: It is no folder of a zarr store, or another writer has it.
    """
    open_root(place, "a")  # what can never be appended to is refused before a lock is left beside it
    assert isinstance(place, Path)
    lock = WriterLock(place)
    try:
        tidy(place)
        # Opened anew: what another writer appended before this one had the lock must be seen.
        root = open_root(place, "a")
        forget_consolidated(root, place)
    except BaseException:
        lock.release()
        raise
    return root, lock


def require_writable(path: str, lock: WriterLock | None) -> None:
    """Refuses to change a store without the right to.

    Raises:
        StoreError: There is no lock, or it was released or belongs to the process that this one was forked from.
    """
    if lock is None:
        raise StoreError(f"{path}: opened for reading; use open_store(path, mode='a') to append")
    if not lock.held:
        raise StoreError(
            f"{path}: closed, or opened by the process that this one was forked from; "
            "open_store(path, mode='a') opens it anew"
        )


def tidy(folder: Path) -> None:
    """Removes the files that a killed process left unfinished; only for whoever holds the lock."""
    for parent, _, names in os.walk(folder):
        for name in filter(_UNFINISHED.fullmatch, names):
            (Path(parent) / name).unlink(missing_ok=True)


def forget_consolidated(root: zarr.Group, folder: Path) -> None:
    """Removes the collected copy of all metadata: other readers go by it, and would not see what is appended."""
    (folder / ".zmetadata").unlink(missing_ok=True)
    if root.metadata.zarr_format == 3 and json.loads((folder / "zarr.json").read_bytes()).get("consolidated_metadata"):
        root.update_attributes({})  # writes the root's metadata as this package opened it, without the copy


def forget_undecided(root: zarr.Group, stored: dict[str, zarr.Array], n_episodes: int) -> None:
    """Removes the arrays of a first episode that was interrupted before its set of arrays was complete.

    `action` is created last, so without it the arrays are what is left of one; in anybody else's store they are data.
    """
    if n_episodes == 0 and "action" not in stored and root.attrs.get(WRITER_ATTR) == WRITER_VERSION:
        for name in list(stored):
            del root[f"{DATA}/{name}"]
            del stored[name]


def write_steps(
    root: zarr.Group, stored: dict[str, zarr.Array], values: Mapping[str, Shaped[np.ndarray, "steps ..."]], begin: int
) -> None:
    """Writes an episode's steps behind the last finished one, where no reader looks yet.

    Args:
        root: The store's root group.
        stored: The store's arrays by stored name; those of a first episode are created and added.
        values: Steps by stored name, as `episodes.fitting` returned them.
        begin: Steps of all finished episodes.
    """
    _mark_leftovers(root)
    missing = values.keys() - stored.keys()
    for name in sorted(missing, key="action".__eq__):  # actions last: once they are there, the set is complete
        stored[name] = create_array(root, f"{DATA}/{name}", values[name].shape[1:], values[name].dtype)
    for name, steps in values.items():
        write_rows(stored[name], begin, steps, before_length=False)


def publish(root: zarr.Group, count: int, end: int) -> None:
    """Makes the steps up to `end` the last of `count` episodes: the entry is on disk before the length that shows it."""
    ends = root[ENDS]
    assert isinstance(ends, zarr.Array)
    write_rows(ends, count - 1, np.array([end]), before_length=True)


def withdraw(root: zarr.Group, count: int) -> None:
    """Makes the first `count` episodes all there are; what lies behind them is as if an append had been interrupted."""
    _mark_leftovers(root)
    _shorten(root, ENDS, count)  # from here on it is gone; what follows only spares other readers a surplus entry
    if INFO_ENDS in root:
        _shorten(root, INFO_ENDS, count)


def _mark_leftovers(root: zarr.Group) -> None:
    if WRITER_ATTR not in root.attrs:  # somebody else's store: its readers must know what leftovers mean
        root.attrs[WRITER_ATTR] = FOREIGN_VERSION


def _shorten(root: zarr.Group, name: str, length: int) -> None:
    """Shortens an array by one rename; zarr's own way would delete chunks before the new length is on disk."""
    array = root[name]
    assert isinstance(array, zarr.Array)
    if array.shape[0] > length:
        stored = zarr.AsyncArray(metadata=array.metadata, store_path=array.store_path)
        sync(stored.resize((length,), delete_outside_chunks=False))


@contextlib.contextmanager
def or_closed(close: Callable[[], None], failed: str) -> Iterator[None]:
    """Lets a store be changed without interruption, and closes it if that fails.

    Args:
        close: Closes the store: how far the change came is on disk alone, where the next opening looks.
        failed: What to say of a disk that refuses.

    Raises:
        StoreError: The disk refuses; other exceptions pass through.
    """
    try:
        with uninterrupted():
            yield
    except Exception as error:
        close()
        if isinstance(error, OSError):
            raise StoreError(f"{failed}, and the store is closed: {one_line(error)}") from error
        raise


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Lets Ctrl-C wait until an append is done.

    Zarr writes in a thread of its own: an append that is left meanwhile would go on beside the next one.
    """
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or usual is None:
        yield
        return
    caught: list[tuple[int, Any]] = []
    signal.signal(signal.SIGINT, lambda number, frame: caught.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
    if caught and callable(usual):
        usual(*caught[0])
