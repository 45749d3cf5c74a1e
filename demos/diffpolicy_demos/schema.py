"""What a store of demonstrations looks like on disk, in one place.

The layout is the one that Diffusion Policy published its data in (Chi et al., RSS 2023): `data/<name>` arrays whose
first axis counts the steps of all episodes one after another, and `meta/episode_ends` with the index one past each
episode's last step. Reader and writer both take names, chunks and codecs from here.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numcodecs
import numpy as np
import zarr
from jaxtyping import Shaped
from numpy.typing import DTypeLike
from zarr.codecs import ZstdCodec

DATA = "data"
ENDS = "meta/episode_ends"

#: What is known of each episode beside its steps: UTF-8 JSON of all episodes one after another, and where each ends.
INFO = "meta/episode_info"
INFO_ENDS = "meta/episode_info_ends"

#: Root attribute of stores written by this package. It tells that steps after the last episode end are the rest of an
#: append that was interrupted; in anybody else's store the same sight means that the ends are wrong.
WRITER_ATTR = "diffpolicy_store"
#: Since version 2 every chunk is on disk, those of zeros too, so a missing one is known as lost. A store that somebody
#: else began (or version 1) is marked as version 1 when it is appended to.
WRITER_VERSION = 2
FOREIGN_VERSION = 1
#: Root attribute for other writers' stores, which may set it to true: missing chunks are zeros in every array.
SPARSE_ATTR = "missing_chunks_are_zeros"
SPARSE_HINT = f" (if its writer leaves out chunks of zeros, set the root attribute {SPARSE_ATTR!r} to true)"

#: Root attributes that describe where the episodes come from, all of them JSON and any of them absent.
#: `attributes.pusht_attrs` fills them for Push-T.
ENV_ATTR = "env_id"  # Gymnasium's id of the environment
ENV_VERSION_ATTR = "env_version"  # version of the package that the environment came from
ENV_KWARGS_ATTR = "env_kwargs"  # what the environment was made with, a mapping
SOURCE_ATTR = "source"  # who acted: "expert", "mouse", or where the episodes were converted from
CONTROL_HZ_ATTR = "control_hz"  # steps a second
LAYOUT_ATTR = "layout"  # by key: the names of the numbers in a step, their unit and, where known, their range
CREATED_WITH_ATTR = "created_with"  # program and version that created the store

#: Published name -> the name that policies use.
POLICY_NAMES = {"img": "pixels", "keypoint": "keypoints"}
STORED_NAMES = {policy: stored for stored, policy in POLICY_NAMES.items()}

# Random windows of 16 steps, read one by one with zarr 3.1 on one busy core, best of many; sizes are of the first 6,000
# pictures and all 25,650 states of the human demonstrations. zstd at level 3 with its checksum, by steps in a chunk:
#   96 x 96 pictures (uint8)   8: 1,130 windows/s, 1.78 MB   37: 1,220, 1.46 MB   64: 1,050, 1.41 MB   128: 820, 1.37 MB
#   states (5 x float32)      64: 2,050 windows/s, 0.36 MB  256: 2,180, 0.32 MB  1024: 2,100, 0.31 MB  4096: 1,890, 0.31 MB
# In chunks of 37 and 256 steps:
#   zstd without the checksum            1,350 and 2,190 windows/s, 1.46 and 0.32 MB
#   Blosc zstd behind a bit shuffle        700 and 2,070 windows/s, 4.01 and 0.38 MB; it notices no altered byte
#   Blosc lz4 and crc32c                 1,350 and 2,110 windows/s, 4.47 and 0.40 MB
# A chunk is also what an append rewrites, and what one damaged file can cost: 1 MiB, and of numbers some eight episodes;
# smaller ones would make a store of a thousand episodes thousands of files.
_CHUNK_BYTES = 1 << 20
_CHUNK_STEPS = 1024
_ENDS_CHUNK = 1024
_INFO_CHUNK_BYTES = 1 << 16
_ZSTD_LEVEL = 3


def policy_keys(stored: Iterable[str]) -> dict[str, str]:
    """Maps each policy key to the array it is read from: `{"pixels": "img", "action": "action"}`.

    Where a store has both names of a pair, each is a key of its own and the policy's name means the policy's array.
    """
    names = set(stored)
    return {name if POLICY_NAMES.get(name, name) in names else POLICY_NAMES[name]: name for name in sorted(names)}


def every_chunk_written(attrs: Mapping[str, Any]) -> bool:
    """Whether the store's writer left out no chunk, so that a missing one is lost."""
    version = attrs.get(WRITER_ATTR)
    return isinstance(version, int) and version > FOREIGN_VERSION


def missing_is_damage(name: str, attrs: Mapping[str, Any]) -> bool:
    """Whether a missing chunk of an array under `data/` is a loss, or may stand for zeros.

    Some writers leave out chunks that hold nothing but zeros. What policies observe and do is never zero throughout a
    chunk in practice, and training on it unnoticed would be worse than refusing it.
    """
    observed = POLICY_NAMES.get(name, name) in ("action", "agent_pos", "keypoints", "pixels", "state")
    return every_chunk_written(attrs) or (observed and attrs.get(SPARSE_ATTR) is not True)


def create_array(
    group: zarr.Group, name: str, step_shape: tuple[int, ...], dtype: DTypeLike, *, max_steps: int | None = None
) -> zarr.Array:
    """Creates an array of zero steps, chunked along time only; zstd with a checksum notices every altered byte."""
    dtype = np.dtype(dtype).newbyteorder("<")
    step_bytes = dtype.itemsize * int(np.prod(step_shape))
    steps = int(np.clip(_CHUNK_BYTES // max(step_bytes, 1), 1, max_steps or _CHUNK_STEPS))
    compressor: Any
    if group.metadata.zarr_format == 2:
        compressor = numcodecs.Zstd(level=_ZSTD_LEVEL, checksum=True)
    else:
        compressor = ZstdCodec(level=_ZSTD_LEVEL, checksum=True)
    return group.create_array(
        name, shape=(0, *step_shape), chunks=(steps, *step_shape), dtype=dtype, compressors=compressor
    )


def create_layout(root: zarr.Group) -> None:
    """Adds the empty `data` group and `meta/episode_ends` to a new store's root."""
    root.create_group(DATA)
    root.create_group("meta")
    create_array(root, ENDS, (), np.int64, max_steps=_ENDS_CHUNK)


def create_info(root: zarr.Group) -> None:
    """Adds the arrays of what is known of the episodes, as far as they are not there.

    The ends come last: bytes without ends are known as the rest of an append that was interrupted.
    """
    if INFO not in root:
        create_array(root, INFO, (), np.uint8, max_steps=_INFO_CHUNK_BYTES)
    if INFO_ENDS not in root:
        create_array(root, INFO_ENDS, (), np.int64, max_steps=_ENDS_CHUNK)


def write_rows(array: zarr.Array, begin: int, rows: Shaped[np.ndarray, "rows ..."], *, before_length: bool) -> None:
    """Makes an array end with new rows; what an interrupted append left behind `begin` goes.

    Every file is replaced by a rename, so the rows before `begin` are on disk at any instant, in a shared chunk too.

    Args:
        array: The stored array.
        begin: Rows that stay.
        rows: The rows to follow them.
        before_length: Whether the rows are on disk before the new length is, so that a reader never sees other rows.
    """
    end = begin + len(rows)
    if not before_length:
        if array.shape[0] > begin:
            array.resize((begin, *array.shape[1:]))
        array.resize((end, *array.shape[1:]))
    if len(rows):
        metadata = array.metadata.update_shape((end, *array.shape[1:]))
        config = {"order": array.config.order, "write_empty_chunks": True}
        longer = zarr.Array(zarr.AsyncArray(metadata=metadata, store_path=array.store_path, config=config))
        longer[begin:end] = rows
    if before_length:
        array.resize((end, *array.shape[1:]))
