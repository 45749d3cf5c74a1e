"""What a store of demonstrations looks like on disk, in one place.

The layout is the one that Diffusion Policy published its data in (Chi et al., RSS 2023): `data/<name>` arrays whose
first axis counts the steps of all episodes one after another, and `meta/episode_ends` with the index one past each
episode's last step. Reader and writer both take names, chunks and codecs from here.
"""

from collections.abc import Iterable
from typing import Any

import numcodecs
import numpy as np
import zarr
from numpy.typing import DTypeLike
from zarr.codecs import BloscCodec

DATA = "data"
ENDS = "meta/episode_ends"

#: Root attribute of stores written by this package. It tells that steps after the last episode end are the rest of an
#: append that was interrupted; in anybody else's store the same sight means that the ends are wrong.
WRITER_ATTR = "diffpolicy_store"
WRITER_VERSION = 1
#: Root attributes that describe where the episodes come from; both may be absent.
ENV_ATTR = "env_id"
CONTROL_HZ_ATTR = "control_hz"

#: Published name -> the name that policies use.
POLICY_NAMES = {"img": "pixels", "keypoint": "keypoints"}
STORED_NAMES = {policy: stored for stored, policy in POLICY_NAMES.items()}

_CHUNK_BYTES = 1 << 20  # one image chunk decodes in milliseconds, and an append rewrites no more than this per array
_CHUNK_STEPS = 4096
_ENDS_CHUNK = 1024


def policy_keys(stored: Iterable[str]) -> dict[str, str]:
    """Maps each policy key to the array it is read from: `{"pixels": "img", "action": "action"}`.

    Where a store has both names of a pair, each is a key of its own and the policy's name means the policy's array.
    """
    names = set(stored)
    return {name if POLICY_NAMES.get(name, name) in names else POLICY_NAMES[name]: name for name in sorted(names)}


def create_array(
    group: zarr.Group, name: str, step_shape: tuple[int, ...], dtype: DTypeLike, *, max_steps: int = _CHUNK_STEPS
) -> zarr.Array:
    """Creates an array of zero steps, chunked along time only and compressed with zstd behind a bit shuffle."""
    dtype = np.dtype(dtype).newbyteorder("=")
    step_bytes = dtype.itemsize * int(np.prod(step_shape))
    steps = int(np.clip(_CHUNK_BYTES // max(step_bytes, 1), 1, max_steps))
    compressor: Any
    if group.metadata.zarr_format == 2:
        compressor = numcodecs.Blosc(cname="zstd", clevel=5, shuffle=numcodecs.Blosc.BITSHUFFLE)
    else:
        compressor = BloscCodec(cname="zstd", clevel=5, shuffle="bitshuffle")
    return group.create_array(
        name, shape=(0, *step_shape), chunks=(steps, *step_shape), dtype=dtype, compressors=compressor
    )


def create_layout(root: zarr.Group) -> None:
    """Adds the empty `data` group and `meta/episode_ends` to a new store's root."""
    root.create_group(DATA)
    root.create_group("meta")
    create_array(root, ENDS, (), np.int64, max_steps=_ENDS_CHUNK)


def with_length(array: zarr.Array, steps: int) -> zarr.Array:
    """The same stored array seen with another length; nothing on disk changes.

    Reading, it hides what lies after the last finished episode. Writing, it reaches one entry past the published
    length, so that the entry is on disk before the length that makes it visible.
    """
    if array.shape[0] == steps:
        return array
    metadata = array.metadata.update_shape((steps, *array.shape[1:]))
    return zarr.Array(zarr.AsyncArray(metadata=metadata, store_path=array.store_path))
