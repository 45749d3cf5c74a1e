"""What is known of each episode beside its steps: seed, start, mode, outcome; any JSON, kept without objects or text.

`meta/episode_info` holds the UTF-8 JSON of all episodes one after another, `meta/episode_info_ends` where each ends.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import zarr
from jaxtyping import Int, UInt8

from diffpolicy_demos.arrays import open_array
from diffpolicy_demos.damage import CheckedArray, Damage, checked_array
from diffpolicy_demos.errors import StoreError
from diffpolicy_demos.location import one_line
from diffpolicy_demos.schema import INFO, INFO_ENDS, create_info, write_rows


def encode_info(place: str, info: Mapping[str, Any]) -> UInt8[np.ndarray, " bytes"]:
    """One episode's information as bytes of JSON; numpy's arrays and numbers become lists and numbers.

    Args:
        place: Store and episode, to open messages with.
        info: Names and values that JSON knows; NaN and infinity are not among them.

    Raises:
        StoreError: A name that is no text, or a value that JSON cannot hold.
    """
    if stranger := next((name for name in info if not isinstance(name, str)), None):
        raise StoreError(f"{place}: info has the name {stranger!r}; expected text, such as 'seed'")
    try:
        text = json.dumps(dict(info), allow_nan=False, ensure_ascii=False, default=_plain).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(
            f"{place}: info is not plain JSON: {one_line(error)}; expected text, finite numbers, true or false, null, "
            "lists and mappings of these"
        ) from error
    return np.frombuffer(text, np.uint8)


def _plain(value: object) -> Any:
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufU":
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON serializable")


class InfoReader:
    """Reads the information of a store's episodes.

    Args:
        path: What to call the store in messages.
        root: The store's root group.
        n_episodes: How many episodes are finished; what lies beyond belongs to an append that was interrupted.
    """

    def __init__(self, path: str, root: zarr.Group, n_episodes: int) -> None:
        self._path, self._root, self._n_episodes = path, root, n_episodes

    def one(self, index: int) -> dict[str, Any]:
        """The information of one episode, empty where the store has none.

        Raises:
            StoreError: It is damaged.
        """
        return self._stretch(index, index + 1)[0]

    def all(self) -> list[dict[str, Any]]:
        """The information of every episode.

        Raises:
            StoreError: That of an episode is damaged; `one` still reads the others.
        """
        return self._stretch(0, self._n_episodes)

    def damages(self) -> Iterator[Damage]:
        """Reads all of it and tells what cannot be read; the episodes named lack only their information."""
        for name in (INFO_ENDS, INFO):
            try:
                found = list(self.arrays[name].damages()) if self.arrays else []
            except StoreError as error:  # without them nothing more can be told apart
                yield Damage(name, name, tuple(range(self._n_episodes)), f"cannot be used: {error}")
                return
            yield from found
            if found:
                return
        try:
            self.all()
            return
        except StoreError:  # which ones is found one by one
            pass
        for index in range(self._n_episodes):
            try:
                self.one(index)
            except StoreError as error:
                yield Damage(INFO, INFO, (index,), f"cannot be used: {error}")

    def end(self) -> tuple[int, int]:
        """How many episodes have information, and how many bytes it has in all.

        Raises:
            StoreError: The last of it is damaged, so that nothing can be put behind it.
        """
        known = len(self._bounds) - 1
        size = int(self._bounds[known])
        if self.arrays and size:
            self.arrays[INFO][size - 1 : size]  # the chunk that will be shared with what follows can be read
        return known, size

    @cached_property
    def arrays(self) -> dict[str, CheckedArray] | None:
        """The array of bytes and that of ends, as far as they count; None where the store has none.

        Raises:
            StoreError: One of the two is missing, or not what its name says.
        """
        text, ends = (open_array(self._path, self._root, name) for name in (INFO, INFO_ENDS))
        if ends is None and (text is None or text.shape[0] == 0):  # at most, the rest of a first append
            return None
        if text is None or ends is None:
            missing = INFO if text is None else INFO_ENDS
            raise StoreError(
                f"{self._path}: array {missing!r} is missing or has lost its metadata, so the information of no episode "
                "can be read; their steps can"
            )
        if text.dtype != np.uint8 or text.ndim != 1 or ends.dtype.kind not in "iu" or ends.ndim != 1:
            raise StoreError(
                f"{self._path}: arrays {INFO!r} and {INFO_ENDS!r} are {text.dtype} {text.shape} and {ends.dtype} "
                f"{ends.shape}; expected a row of bytes and a row of whole numbers"
            )
        known = min(ends.shape[0], self._n_episodes)
        checked = checked_array(self._path, ends, None, length=known, every_chunk=True)
        bounds = np.asarray(checked[:]).astype(np.int64)
        return {INFO: checked_array(self._path, text, bounds, every_chunk=True), INFO_ENDS: checked}

    @cached_property
    def _bounds(self) -> Int[np.ndarray, " episodes_and_one"]:
        """First byte of each episode that has information, and one past the last."""
        ends = [] if self.arrays is None else self.arrays[INFO_ENDS][:]
        return np.concatenate([[0], np.asarray(ends)]).astype(np.int64)

    def _stretch(self, start: int, stop: int) -> list[dict[str, Any]]:
        infos: list[dict[str, Any]] = [{} for _ in range(start, stop)]
        bounds = self._bounds[start : stop + 1].tolist()
        if self.arrays is None or len(bounds) < 2:
            return infos
        text = self.arrays[INFO]
        for index, (begin, end) in enumerate(pairwise(bounds), start):
            if not 0 <= begin <= end <= text.shape[0]:
                raise self._damaged(index, f"should be bytes {begin} to {end} of {INFO}, which has {text.shape[0]}")
        content = np.asarray(text[bounds[0] : bounds[-1]]).tobytes()
        for offset, (begin, end) in enumerate(pairwise(bounds)):
            infos[offset] = self._decode(start + offset, content[begin - bounds[0] : end - bounds[0]])
        return infos

    def _decode(self, index: int, content: bytes) -> dict[str, Any]:
        if not content:
            return {}
        try:
            info = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise self._damaged(index, f"is no JSON ({one_line(error)})") from error
        if not isinstance(info, dict):
            raise self._damaged(index, f"is a {type(info).__name__}; expected a mapping of names")
        return info

    def _damaged(self, index: int, what: str) -> StoreError:
        return StoreError(f"{self._path}: the information of episode {index} {what}; its steps can still be read")


def append_info(
    root: zarr.Group, before: InfoReader, n_episodes: int, content: UInt8[np.ndarray, " bytes"] | None
) -> None:
    """Writes the information of the episode that comes after `n_episodes` finished ones, which alone makes it count.

    Args:
        root: The store's root group.
        before: Reads what the store has so far.
        n_episodes: Finished episodes; those of them that have no information get an empty one.
        content: What `encode_info` returned. None says nothing about the episode, and creates no arrays for that.

    Raises:
        StoreError: The information that is there is damaged, so none can be put behind it.
    """
    known, begin = before.end()
    if content is None and INFO_ENDS not in root:  # not as `before` remembers: an append may have failed since
        return
    create_info(root)
    text, ends = root[INFO], root[INFO_ENDS]
    assert isinstance(text, zarr.Array)
    assert isinstance(ends, zarr.Array)
    content = np.empty(0, np.uint8) if content is None else content
    write_rows(text, begin, content, before_length=False)
    new_ends = np.array([begin] * (n_episodes - known) + [begin + len(content)])
    write_rows(ends, known, new_ends, before_length=True)
