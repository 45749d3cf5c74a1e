"""Opens the arrays of a store that anybody may have written: plain numbers only, nothing that runs code when read."""

from collections.abc import Mapping
from typing import Any

import zarr
from zarr.core.sync import collect_aiterator, sync
from zarr.storage import FsspecStore

from diffpolicy_demos.errors import StoreError
from diffpolicy_demos.location import one_line
from diffpolicy_demos.schema import DATA, every_chunk_written

_PROBED = ("action", "state", "img", "pixels", "keypoint", "keypoints", "agent_pos", "n_contacts")
_METADATA = {2: ".zarray", 3: "zarr.json"}


def open_arrays(path: str, root: zarr.Group) -> dict[str, zarr.Array]:
    """Opens every array under `data/`, by stored name.

    Raises:
        StoreError: One of them cannot be opened, has lost its metadata, or holds anything but plain numbers.
    """
    listed = _listed(root, DATA)
    # A plain web server lists nothing; the names that Push-T stores use can still be asked for one by one.
    arrays = {name: open_array(path, root, f"{DATA}/{name}") for name in sorted(listed or _PROBED)}
    for name in sorted(listed):
        if arrays[name] is None and not _is_group(root, f"{DATA}/{name}") and _listed(root, f"{DATA}/{name}"):
            raise StoreError(
                f"{path}: file {DATA}/{name}/{_METADATA[root.metadata.zarr_format]} is missing, so the array cannot be "
                f"read in any episode; restore the file, or move the folder {DATA}/{name} away to do without it"
            )
    return {name: array for name, array in arrays.items() if array is not None}


def open_array(path: str, root: zarr.Group, name: str) -> zarr.Array | None:
    """Opens one array of plain numbers; None where there is none.

    Raises:
        StoreError: Its metadata is damaged, or it holds objects, text or records, or passes through pickle.
    """
    try:
        if not _exists(root, f"{name}/{_METADATA[root.metadata.zarr_format]}"):
            return None
        array = root[name]
        if isinstance(array, zarr.Group) and root.metadata.zarr_format == 2:
            raise ValueError("its .zarray describes no array")  # zarr takes an empty one for a group
    except Exception as error:  # zarr raises a dozen kinds for damaged metadata, objects and unknown codecs
        raise StoreError(
            f"{path}: array {name!r} cannot be opened: {one_line(error)}; expected numbers, "
            "for object dtypes and pickle codecs are never read: store it again as a plain numeric array"
        ) from error
    if not isinstance(array, zarr.Array):
        return None
    if array.dtype.kind not in "biuf":
        raise StoreError(
            f"{path}: array {name!r} has dtype {array.dtype}; expected numbers (bool, int, uint or float), "
            "for objects and text are never read: store it again as a plain numeric array"
        )
    if "pickle" in _codec_names(array.metadata.to_dict()):
        raise StoreError(
            f"{path}: array {name!r} is encoded with pickle, which can run code when read; store it again without"
        )
    if array.ndim == 0:
        raise StoreError(f"{path}: array {name!r} is a single number; expected a first axis of steps")
    if every_chunk_written(root.attrs) and not _as_created(array):
        raise StoreError(
            f"{path}: array {name!r} is {array.dtype.str} {array.shape} in chunks of {array.chunks}, which is not how it "
            f"was created: {name}/{_METADATA[root.metadata.zarr_format]} was altered; restore it"
        )
    return array


def _as_created(array: zarr.Array) -> bool:
    """Whether a shape and a byte order are those of `schema.create_array`: no checksum covers the metadata."""
    return array.chunks[1:] == array.shape[1:] and array.dtype.newbyteorder("<") == array.dtype


def _listed(root: zarr.Group, folder: str) -> set[str]:
    """What a folder of the store holds, but for metadata and files that were never finished."""
    store = root.store_path.store
    try:
        names = {name.rstrip("/") for name in collect_aiterator(store.list_dir(_key(root, folder)))}
    except Exception:  # each kind of server refuses in its own way, and some have nothing to list with
        if not isinstance(store, FsspecStore):
            raise
        return set()
    return {
        name for name in names if not name.startswith(".") and name != "zarr.json" and not name.endswith(".partial")
    }


def _is_group(root: zarr.Group, name: str) -> bool:
    return _exists(root, f"{name}/{'.zgroup' if root.metadata.zarr_format == 2 else 'zarr.json'}")


def _exists(root: zarr.Group, file: str) -> bool:
    """Whether a file is there; zarr itself raises the same KeyError for nothing and for damaged metadata."""
    return bool(sync(root.store_path.store.exists(_key(root, file))))


def _key(root: zarr.Group, name: str) -> str:
    return f"{root.store_path.path}/{name}".lstrip("/")


def _codec_names(metadata: Any) -> str:
    """All codec names in an array's metadata, wherever they are nested (format 2 says `id`, format 3 `name`)."""
    if isinstance(metadata, Mapping):
        own = " ".join(str(value).lower() for key, value in metadata.items() if key in ("id", "name"))
        return " ".join([own, *(_codec_names(value) for key, value in metadata.items() if key != "attributes")])
    if isinstance(metadata, list | tuple):
        return " ".join(map(_codec_names, metadata))
    return ""
