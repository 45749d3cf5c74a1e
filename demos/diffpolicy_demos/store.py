"""Episodes in zarr: open a store, read steps by the policy's names, create one and append episodes to it.

This is the only way from recorded experience to the rest of the house, so the layout on disk can change in one place.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from jaxtyping import Int, Shaped
from numpy.typing import DTypeLike

from diffpolicy_demos import checks
from diffpolicy_demos.episodes import check_keys, fitting
from diffpolicy_demos.errors import StoreError
from diffpolicy_demos.location import Mode, locate, one_line, open_root
from diffpolicy_demos.schema import (
    DATA,
    ENDS,
    STORED_NAMES,
    WRITER_ATTR,
    WRITER_VERSION,
    create_array,
    create_layout,
    policy_keys,
    with_length,
)


class Store:
    """Recorded episodes, read lazily; `open_store` and `create_store` make one.

    All episodes lie one after another along the first axis of every array. Keys are the policy's: `action`, `state`,
    `agent_pos`, `keypoints`, `pixels`, and whatever else the store holds under its own name.

    Attributes:
        path: Where the store is: a path or a URL.
        writable: Whether episodes can be appended.
    """

    def __init__(self, path: str, root: zarr.Group, *, writable: bool = False) -> None:
        self.path = path
        self.writable = writable
        self._root = root
        self._ends = checks.read_ends(path, root)
        self._stored = checks.open_arrays(path, root)

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

    def __getitem__(self, key: str) -> zarr.Array:
        """The array of a key as it is stored, lazily; `read` converts images and computes `agent_pos`.

        Raises:
            StoreError: The store has no such array.
        """
        stored = policy_keys(self._stored).get(key)
        if stored is None and key == "agent_pos" and key in self.keys:
            raise StoreError(
                f"{self.path}: 'agent_pos' is not stored but computed from 'state'; use read('agent_pos', start, stop)"
            )
        if stored is None:
            raise StoreError(f"{self.path}: no key {key!r}; this store has {', '.join(self.keys)}")
        return with_length(self._stored[stored], self.n_steps)

    def read(self, key: str, start: int, stop: int) -> Shaped[np.ndarray, "steps ..."]:
        """Reads the steps `start` to `stop`, as policies want them.

        Args:
            key: One of `keys`. `pixels` come as uint8 (steps, height, width, 3), however they are stored; `agent_pos`
                is the first two numbers of `state` where it is not stored itself; all else keeps its dtype.
            start: First step, counted over the whole store.
            stop: One past the last step.

        Raises:
            StoreError: No such key, steps outside the store, or images outside 0 to 255.
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
        if not 0 <= index < self.n_episodes:
            raise StoreError(f"{self.path}: no episode {index}; it has 0 to {self.n_episodes - 1}")
        start = int(self._ends[index - 1]) if index else 0
        return {key: self.read(key, start, int(self._ends[index])) for key in (self.keys if keys is None else keys)}

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
            source = "state" if key == "agent_pos" and key not in self._stored else key
            place = f"{self.path}: array {self[source].name.rpartition('/data/')[2]!r}"
            for start, values in checks.stretches(self[source]):
                checks.check_finite(place, values, self._ends, start)
                if key == "pixels":
                    checks.as_pixels(f"{place}, steps {start} to {start + len(values)}", values)

    def _has_agent_in_state(self) -> bool:
        state = self._stored.get("state")
        return state is not None and state.ndim == 2 and state.shape[1] >= 2

    def append_episode(self, episode: Mapping[str, Any]) -> None:
        """Appends one episode: all of it, or, if the process dies meanwhile, nothing that a reader would see.

        The steps are written first. The episode exists from the moment that the new length of `meta/episode_ends`
        replaces the old, which is one rename. Steps of an interrupted append are overwritten by the next.

        Args:
            episode: Arrays of (steps, ...) by key; the keys, shapes and kinds of number that the store has. The first
                episode of a store that was created without `arrays` decides them.

        Raises:
            StoreError: The store is read only, or the episode does not fit; nothing is written then.
        """
        if not self.writable:
            raise StoreError(f"{self.path}: opened for reading; use open_store(path, mode='a') to append")
        values = fitting(f"{self.path}: episode {self.n_episodes}", episode, self._stored)
        begin, end = self.n_steps, self.n_steps + len(values["action"])
        if WRITER_ATTR not in self._root.attrs:  # somebody else's store: its readers must know what leftovers mean
            self._root.attrs[WRITER_ATTR] = WRITER_VERSION
        missing = values.keys() - self._stored.keys()
        for name in sorted(missing, key="action".__eq__):  # actions last: once they are there, the set is complete
            self._stored[name] = create_array(self._root, f"{DATA}/{name}", values[name].shape[1:], values[name].dtype)
        for name, steps in values.items():
            array = self._stored[name]
            array.resize((end, *array.shape[1:]))  # also cuts off what an interrupted append left behind
            array[begin:end] = steps
        self._publish(end)

    def _publish(self, end: int) -> None:
        """Makes the steps up to `end` an episode; the entry is on disk before the length that shows it."""
        ends, count = self._root[ENDS], self.n_episodes + 1
        assert isinstance(ends, zarr.Array)
        with_length(ends, count)[count - 1] = end
        ends.resize((count,))
        self._ends = np.append(self._ends, np.int64(end))
        self._ends.setflags(write=False)


def open_store(path_or_name: str | os.PathLike[str], mode: Mode = "r") -> Store:
    """Opens recorded demonstrations and checks their structure.

    Args:
        path_or_name: A zarr folder (format 2 or 3), a .zip that holds one at any depth, an fsspec URL such as
            `memory://demos.zarr` or `s3://...`, or a name: "pusht" for the downloaded human demonstrations, or a set
            that comes with the package.
        mode: "r" to read; "a" to append episodes too, which only folders allow. An empty store opens with "a" alone.

    Raises:
        StoreError: Nothing there, no zarr, another mode, or a store whose arrays and episode ends do not fit together.
    """
    place = locate(path_or_name)
    store = Store(str(place), open_root(place, mode), writable=mode == "a")
    if mode == "r" or store.n_episodes:
        store.validate()
    return store


def create_store(
    path: str | os.PathLike[str],
    arrays: Mapping[str, tuple[tuple[int, ...], DTypeLike]] | None = None,
    attrs: Mapping[str, Any] | None = None,
    zarr_format: int = 3,
) -> Store:
    """Creates an empty store, ready for `append_episode`.

    Args:
        path: A folder that does not exist yet, or an empty one.
        arrays: Shape of one step and dtype by key, such as `{"action": ((2,), "float32")}`. By default the first
            episode decides.
        attrs: What to say about the episodes, as JSON: `env_id` and `control_hz` are understood by `demos replay`
            and `demos inspect`.
        zarr_format: 2 or 3.

    Raises:
        StoreError: The path is taken, the format unknown, an array not of numbers, or a key that cannot name one.
    """
    folder = Path(path).expanduser()
    if "://" in os.fspath(path):
        raise StoreError(f"{os.fspath(path)}: URLs are read only; create the store in a folder and upload that")
    if zarr_format not in (2, 3):
        raise StoreError(f"{folder}: zarr format {zarr_format!r} asked for; expected 2 or 3")
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise StoreError(
            f"{folder}: exists already; open_store(path, mode='a') appends to a store, or choose another path"
        )
    check_keys(str(folder), arrays or {})
    specs = {
        STORED_NAMES.get(key, key): (tuple(shape), np.dtype(dtype)) for key, (shape, dtype) in (arrays or {}).items()
    }
    for name, (_, dtype) in specs.items():
        if dtype.kind not in "biuf":
            raise StoreError(f"{folder}: {name!r} was given dtype {dtype}; expected numbers (bool, int, uint or float)")
    if specs and "action" not in specs:
        raise StoreError(f"{folder}: the arrays lack 'action'; given were {', '.join(sorted(specs))}")
    checks.check_step_shapes(str(folder), {name: shape for name, (shape, _) in specs.items()})
    try:
        attributes = {**(attrs or {}), WRITER_ATTR: WRITER_VERSION}
        root = zarr.create_group(folder, zarr_format=2 if zarr_format == 2 else 3, attributes=attributes)
    except TypeError as error:
        raise StoreError(f"{folder}: the attributes are not plain JSON: {one_line(error)}") from error
    create_layout(root)
    for name, (shape, dtype) in specs.items():
        create_array(root, f"{DATA}/{name}", shape, dtype)
    return Store(str(folder), root, writable=True)
