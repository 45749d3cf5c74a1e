"""Episodes in zarr: steps by the policy's names, what is known of each episode, and appending; `opening.py` opens them.

This is the only way from recorded experience to the rest of the house, so the layout on disk can change in one place.
"""

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

import numpy as np
import zarr
from jaxtyping import Int, Shaped

from diffpolicy_demos import checks, writing
from diffpolicy_demos.arrays import open_arrays
from diffpolicy_demos.damage import CheckedArray, Damage, checked_array
from diffpolicy_demos.episode_info import InfoReader, append_info, encode_info
from diffpolicy_demos.episodes import fitting
from diffpolicy_demos.errors import StoreError
from diffpolicy_demos.lock import WriterLock
from diffpolicy_demos.schema import SPARSE_HINT, WRITER_ATTR, every_chunk_written, missing_is_damage, policy_keys


class Store:
    """Recorded episodes, read lazily; `open_store` and `create_store` make one.

    All episodes lie one after another along the first axis of every array. Keys are the policy's: `action`, `state`,
    `agent_pos`, `keypoints`, `pixels`, and whatever else the store holds under its own name.

    A store open for appending keeps other writers away until it is closed, by `close()`, at the end of a `with` block
    or when nothing refers to it any more. A closed store can still be read.

    Attributes:
        path: Where the store is: a path or a URL.
    """

    def __init__(self, path: str, root: zarr.Group, lock: WriterLock | None = None) -> None:
        self.path = path
        self._root = root
        self._lock = lock
        self._ends = checks.read_ends(path, root)
        self._stored = open_arrays(path, root)
        if lock is not None:
            writing.forget_undecided(root, self._stored, len(self._ends))
        self._checked: dict[str, CheckedArray] = {}
        self._info = InfoReader(path, root, len(self._ends))

    def close(self) -> None:
        """Lets the next writer in; does nothing to a store that was opened for reading."""
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def writable(self) -> bool:
        """Whether episodes can be appended."""
        return self._lock is not None and self._lock.held

    @property
    def zarr_format(self) -> int:
        """The zarr format on disk, 2 or 3."""
        return int(self._root.metadata.zarr_format)

    @property
    def attrs(self) -> dict[str, Any]:
        """What the store says about itself, for example `env_id` and `control_hz`."""
        return dict(self._root.attrs)

    @property
    def episode_ends(self) -> Int[np.ndarray, " episodes"]:
        """Index one past each episode's last step; int64, read only."""
        return self._ends

    @property
    def episode_lengths(self) -> Int[np.ndarray, " episodes"]:
        """Steps in each episode."""
        return np.diff(self._ends, prepend=0)

    @property
    def n_episodes(self) -> int:
        """Finished episodes; one whose append was interrupted does not count."""
        return len(self._ends)

    @property
    def n_steps(self) -> int:
        """Steps of all finished episodes together."""
        return int(self._ends[-1]) if len(self._ends) else 0

    @property
    def stored_keys(self) -> tuple[str, ...]:
        """The keys that are arrays of their own, sorted: those that `demos[key]` knows."""
        return tuple(sorted(policy_keys(self._stored)))

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that `read` knows, sorted; `agent_pos` is among them wherever `state` is."""
        computed = {"agent_pos"} if self._has_agent_in_state() else set()
        return tuple(sorted({*self.stored_keys, *computed}))

    def __repr__(self) -> str:
        return f"Store({self.path!r}, {self.n_episodes} episodes, {self.n_steps} steps, keys {', '.join(self.keys)})"

    def __getitem__(self, key: str) -> CheckedArray:
        """The array of a key as it is stored, lazily; `read` converts images and computes `agent_pos`.

        Raises:
            StoreError: The store has no such array; reading from it, see `damages`.
        """
        stored = policy_keys(self._stored).get(key)
        if stored is None and key == "agent_pos" and key in self.keys:
            raise StoreError(
                f"{self.path}: 'agent_pos' is not stored but computed from 'state'; use read('agent_pos', start, stop)"
            )
        if stored is None:
            raise StoreError(f"{self.path}: no key {key!r}; this store has {', '.join(self.keys)}")
        return self._readable(stored)

    def read(self, key: str, start: int, stop: int) -> Shaped[np.ndarray, "steps ..."]:
        """Reads the steps `start` to `stop`, as policies want them.

        Args:
            key: One of `keys`. `pixels` come as uint8 (steps, height, width, 3), however they are stored; `agent_pos`
                is the first two numbers of `state` where it is not stored itself; all else keeps its dtype.
            start: First step, counted over the whole store.
            stop: One past the last step.

        Raises:
            StoreError: No such key, steps outside the store, images outside 0 to 255, or a file that is missing or
                damaged: the message names it and its episodes, and all others can still be read.
        """
        if not 0 <= start <= stop <= self.n_steps:
            raise StoreError(f"{self.path}: steps {start} to {stop} of {key!r} asked for; it has 0 to {self.n_steps}")
        if key == "agent_pos" and key not in self._stored and key in self.keys:
            return np.asarray(self["state"][start:stop, :2])
        values = np.asarray(self[key][start:stop])
        return (
            checks.as_pixels(f"{self.path}: 'pixels', steps {start} to {stop}", values) if key == "pixels" else values
        )

    def episode(
        self, index: int | np.integer, keys: Iterable[str] | None = None
    ) -> dict[str, Shaped[np.ndarray, "steps ..."]]:
        """Reads one episode.

        Args:
            index: 0 to `n_episodes - 1`.
            keys: The keys wanted; all of them by default.

        Raises:
            StoreError: No such episode or key.
        """
        self._check_index(index)
        start = int(self._ends[index - 1]) if index else 0
        return {key: self.read(key, start, int(self._ends[index])) for key in (self.keys if keys is None else keys)}

    def episode_info(self, index: int | np.integer) -> dict[str, Any]:
        """What is known of an episode beside its steps, as it was given to `append_episode`; empty where nothing is.

        Episodes recorded in an environment have `seed`, `start_state` (a list of numbers), `mode` and the outcome:
        `success` (true or false) and `max_coverage`.

        Raises:
            StoreError: No such episode, or its information is damaged.
        """
        self._check_index(index)
        return self._info.one(int(index))

    def episode_infos(self) -> list[dict[str, Any]]:
        """`episode_info` of every episode, read at once.

        Raises:
            StoreError: That of an episode is damaged; `episode_info` still reads the others.
        """
        return self._info.all()

    def damages(self) -> list[Damage]:
        """Reads everything and lists what is missing, damaged or out of reach; empty for a whole store.

        Altered bytes are noticed in what this package wrote, and in other stores as far as their codecs notice them.
        """
        found = [damage for name in sorted(self._stored) for damage in self._readable(name).damages()]
        return found + list(self._info.damages())

    def validate(self) -> None:
        """Checks that arrays, shapes and episode ends fit together; reads no contents.

        Raises:
            StoreError: See `checks.check_structure`.
        """
        checks.check_structure(self.path, self._stored, self._ends, leftovers=WRITER_ATTR in self._root.attrs)

    def check_values(self, keys: Iterable[str] | None = None) -> None:
        """Reads the given keys (all by default) and checks them for NaN, infinity and impossible images.

        Raises:
            StoreError: Names array, episode and step of the first bad value.
        """
        for key in self.keys if keys is None else keys:
            array = self["state" if key == "agent_pos" and key not in self._stored else key]
            checks.check_contents(self.path, array, self._ends, pixels=key == "pixels")

    def _has_agent_in_state(self) -> bool:
        state = self._stored.get("state")
        return state is not None and state.ndim == 2 and state.shape[1] >= 2

    def _check_index(self, index: int | np.integer) -> None:
        if not 0 <= index < self.n_episodes:
            raise StoreError(f"{self.path}: no episode {index}; it has 0 to {self.n_episodes - 1}")

    def _readable(self, stored: str) -> CheckedArray:
        """An array up to the last finished step."""
        if stored not in self._checked:
            attrs = self._root.attrs
            self._checked[stored] = checked_array(
                self.path,
                self._stored[stored],
                self._ends,
                length=self.n_steps,
                every_chunk=missing_is_damage(stored, attrs),
                if_missing="" if every_chunk_written(attrs) else SPARSE_HINT,
            )
        return self._checked[stored]

    def append_episode(self, episode: Mapping[str, Any], info: Mapping[str, Any] | None = None) -> None:
        """Appends one episode: all of it, or, if the process dies meanwhile, nothing that a reader would see.

        Information and steps are written first. The episode exists from the moment that the new length of
        `meta/episode_ends` replaces the old, which is one rename. What an interrupted append left is overwritten by the
        next. Ctrl-C waits until the episode is there.

        Args:
            episode: Arrays of (steps, ...) by key; the keys, shapes and kinds of number that the store has. The first
                episode of a store that was created without `arrays` decides them.
            info: What else to remember of the episode, any JSON: see `episode_info`.

        Raises:
            StoreError: The store is closed or read only, the episode does not fit, or the file to which it would be
                added is damaged; nothing is written then. Or the disk is full, which also closes the store.
        """
        writing.require_writable(self.path, self._lock)
        place = f"{self.path}: episode {self.n_episodes}"
        values = fitting(place, episode, self._stored)
        content = None if info is None else encode_info(place, info)
        begin, end = self.n_steps, self.n_steps + len(values["action"])
        if begin:
            for name in self._stored:  # the chunk that the episode will share with the one before
                self._readable(name)[begin - 1 : begin]
        with writing.or_closed(self.close, f"{place} was not appended"):
            append_info(self._root, self._info, self.n_episodes, content)
            writing.write_steps(self._root, self._stored, values, begin)
            self._publish(end)

    def remove_last_episode(self) -> None:
        """Takes the last episode back: if the process dies meanwhile, it is there whole, or not at all.

        It is gone from the moment that the shorter length of `meta/episode_ends` replaces the old, which is one rename.
        Its steps stay until the next append overwrites them, so a reader that saw the episode should open the store anew.

        Raises:
            StoreError: The store is closed, read only or empty. Or the disk refuses, which also closes the store.
        """
        writing.require_writable(self.path, self._lock)
        if not self.n_episodes:
            raise StoreError(f"{self.path}: no episode to remove; the store has none")
        with writing.or_closed(self.close, f"{self.path}: episode {self.n_episodes - 1} may still be there"):
            writing.withdraw(self._root, self.n_episodes - 1)
            self._follow(self._ends[:-1].copy())

    def _publish(self, end: int) -> None:
        writing.publish(self._root, self.n_episodes + 1, end)
        self._follow(np.append(self._ends, np.int64(end)))

    def _follow(self, ends: Int[np.ndarray, " episodes"]) -> None:
        """Sees what has become of the episodes on disk."""
        self._ends = ends
        self._ends.setflags(write=False)
        self._checked.clear()
        self._info = InfoReader(self.path, self._root, self.n_episodes)
