"""Finds what is lost or altered in a store, and says which file it is and which episodes it concerns.

Zarr takes a missing chunk for zeros and raises a dozen kinds of exception for a damaged one. Arrays are read through
`CheckedArray`, which turns both into one line, so that no spoilt step reaches a policy and all others stay readable.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import zarr
from jaxtyping import Int
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import StorePath, WrapperStore

from diffpolicy_demos.errors import StoreError
from diffpolicy_demos.location import one_line


@dataclass(frozen=True)
class Damage:
    """One thing in a store that cannot be read.

    Attributes:
        file: Where in the store, for example `data/action/c/3/0`.
        array: The array it belongs to, for example `data/action` or `meta/episode_info`.
        episodes: The episodes concerned, rising; of `meta/episode_info` they lack only their information.
        what: What was found.
    """

    file: str
    array: str
    episodes: tuple[int, ...]
    what: str

    def line(self, path: str) -> str:
        """One line for people: the store, the file, what was found, the episodes concerned, the way out."""
        return (
            f"{path}: file {self.file} {self.what}; it holds {_named(self.episodes)}, all others can be read: "
            "restore the file, or keep the rest with `diffpolicy demos doctor --fix`"
        )


class MissingChunkError(Exception):
    """A file of a chunk is not there where every chunk is expected; never leaves this module's arrays."""


class _EveryChunk(WrapperStore[Any]):
    """A store in which a chunk that is not there is no chunk of zeros."""

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        found: Buffer | None = await self._store.get(key, prototype, byte_range)
        if found is None:
            raise MissingChunkError(key)
        return found

    async def getsize(self, key: str) -> int:
        return int(await self._store.getsize(key))

    async def getsize_prefix(self, prefix: str) -> int:
        return int(await self._store.getsize_prefix(prefix))


class CheckedArray(zarr.Array):
    """A stored array to read from, which answers for what it gives; `checked_array` makes one."""

    _path: str
    _ends: Int[np.ndarray, " episodes"] | None
    _if_missing: str

    def __getitem__(self, selection: Any) -> Any:
        """Reads as zarr does.

        Raises:
            StoreError: A chunk of the selection is missing, damaged or out of reach; names the file and the episodes.
        """
        try:
            return super().__getitem__(selection)
        except (IndexError, TypeError, NotImplementedError):  # the selection is at fault
            raise
        except Exception as error:
            start, stop = _rows(selection, self.shape[0])
            damage = next(self.damages(start, stop), None)
            if damage is not None:
                raise StoreError(damage.line(self._path)) from error
            raise StoreError(
                f"{self._path}: rows {start} to {stop} of {self._name} cannot be read: {one_line(error)}; try again"
            ) from error

    def damages(self, start: int = 0, stop: int | None = None) -> Iterator[Damage]:
        """Reads the chunks of some rows (all by default) one by one and tells which cannot be read."""
        stop = self.shape[0] if stop is None else stop
        sizes = self.shards or self.chunks
        first, last = (start // sizes[0], math.ceil(stop / sizes[0])) if stop > start else (0, 0)
        others = [range(math.ceil(length / size)) for length, size in zip(self.shape[1:], sizes[1:], strict=True)]
        for place in product(range(first, last), *others):
            what = self._problem(place, sizes)
            if what is not None:
                rows = place[0] * sizes[0], min((place[0] + 1) * sizes[0], self.shape[0])
                yield Damage(self._chunk_file(place), self._name, self._episodes(*rows), what)

    @property
    def _name(self) -> str:
        return "/".join(self.store_path.path.split("/")[-2:])

    def _chunk_file(self, place: tuple[int, ...]) -> str:
        return f"{self._name}/{self.metadata.encode_chunk_key(place)}"

    def _problem(self, place: tuple[int, ...], sizes: tuple[int, ...]) -> str | None:
        """Why a chunk cannot be read, or None."""
        chunk = tuple(
            slice(index * size, min((index + 1) * size, length))
            for index, size, length in zip(place, sizes, self.shape, strict=True)
        )
        try:
            super().__getitem__(chunk)
            return None
        except MissingChunkError:
            return f"is missing{self._if_missing}"
        except Exception as error:
            why = one_line(error)
        try:
            key = self.store_path / self.metadata.encode_chunk_key(place)
            content = sync(key.get(default_buffer_prototype()))
        except Exception as error:
            return f"cannot be read ({one_line(error)})"
        return f"is damaged: its {len(content or b'')} bytes do not decode ({why})"

    def _episodes(self, start: int, stop: int) -> tuple[int, ...]:
        if self._ends is None:
            return tuple(range(start, stop))
        first, last = np.searchsorted(self._ends, (start, stop - 1), side="right").tolist()
        return tuple(range(first, min(last + 1, len(self._ends))))


def checked_array(
    path: str,
    array: zarr.Array,
    ends: Int[np.ndarray, " episodes"] | None,
    *,
    length: int | None = None,
    every_chunk: bool,
    if_missing: str = "",
) -> CheckedArray:
    """An array whose damage is told in one line.

    Args:
        path: What to call the store in messages.
        array: The array as zarr opened it.
        ends: For each episode the row after its last, to tell which episodes a chunk holds; None if every row is one.
        length: Rows to show: what lies after them is not finished. All by default.
        every_chunk: Whether a missing chunk is damage; else it is zeros, as in the stores of writers that leave such
            chunks out.
        if_missing: What to add to the message of a missing chunk.
    """
    metadata, store = array.metadata, array.store_path.store
    if length is not None:
        metadata = metadata.update_shape((length, *array.shape[1:]))
    place = StorePath(_EveryChunk(store), array.store_path.path) if every_chunk else array.store_path
    checked = CheckedArray(zarr.AsyncArray(metadata=metadata, store_path=place))
    checked._path, checked._ends, checked._if_missing = path, ends, if_missing
    return checked


def _rows(selection: Any, length: int) -> tuple[int, int]:
    """The first row of a selection and the one after its last; every row where that is not plain to see."""
    rows = selection[0] if isinstance(selection, tuple) and selection else selection
    if isinstance(rows, slice):
        start, stop, _ = rows.indices(length)
        return start, max(start, stop)
    if isinstance(rows, int | np.integer):
        return int(rows) % length, int(rows) % length + 1
    return 0, length


def _named(episodes: tuple[int, ...]) -> str:
    """Episodes in words: they are always neighbours, for a chunk holds neighbouring steps."""
    if not episodes:
        return "no finished episode"
    return f"episode {episodes[0]}" if len(episodes) == 1 else f"episodes {episodes[0]} to {episodes[-1]}"
