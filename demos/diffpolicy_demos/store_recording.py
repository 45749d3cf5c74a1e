"""A zarr store as conversions read it: from beginning to end, every array as it is stored."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Shaped

from diffpolicy_demos.errors import StoreError
from diffpolicy_demos.schema import POLICY_NAMES, SPARSE_ATTR, WRITER_ATTR
from diffpolicy_demos.store import Store

Episode = dict[str, Shaped[np.ndarray, "steps ..."]]


class StoreRecording:
    """A zarr store, read as it is stored: `Store.read` would turn pictures kept as float32 into bytes.

    Attributes:
        path: Where the store is.
        attrs: What it says about itself.
        infos: What is known of each episode.
        left_out: What cannot be converted: nothing.

    Raises:
        StoreError: Two of its arrays would have one name in every other store.
    """

    def __init__(self, store: Store) -> None:
        for published, name in POLICY_NAMES.items():
            if {published, name} <= set(store.stored_keys):
                raise StoreError(
                    f"{store.path}: has both {published!r} and {name!r}, which are one key elsewhere; "
                    "move one of them out of data/ first"
                )
        self.path = store.path
        # These two say how a store was written, not what is in it.
        self.attrs = {name: value for name, value in store.attrs.items() if name not in (WRITER_ATTR, SPARSE_ATTR)}
        self.infos = store.episode_infos()
        self.left_out: list[str] = []
        self._store = store

    @property
    def n_episodes(self) -> int:
        """Episodes in it."""
        return self._store.n_episodes

    def episodes(self) -> Iterator[Episode]:
        """Reads one episode after the other, by the policy's keys.

        Raises:
            StoreError: A file of the store is missing or damaged.
        """
        start = 0
        for end in self._store.episode_ends.tolist():
            episode = {key: np.asarray(self._store[key][start:end]) for key in self._store.stored_keys}
            yield {key: values.astype(values.dtype.newbyteorder("="), copy=False) for key, values in episode.items()}
            start = end
