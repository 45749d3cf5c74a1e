"""How a store comes to be open: one that exists, a new one, or whichever of the two there is to go on with."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import DTypeLike

from diffpolicy_demos import writing
from diffpolicy_demos.errors import StoreError
from diffpolicy_demos.location import Mode, check_mode, locate, open_root
from diffpolicy_demos.store import Store


def open_store(path_or_name: str | os.PathLike[str], mode: Mode = "r") -> Store:
    """Opens recorded demonstrations and checks their structure.

    Args:
        path_or_name: A zarr folder (format 2 or 3), a .zip that holds one at any depth, an fsspec URL such as
            `memory://demos.zarr` or `s3://...`, or a name: "pusht" for the downloaded human demonstrations, or a set
            that comes with the package.
        mode: "r" to read; "a" to append episodes too, which only folders allow. An empty store opens with "a" alone,
            and only one writer at a time has a store open with it: `demos.zarr.lock` lies beside `demos.zarr` meanwhile.

    Raises:
        StoreError: Nothing there, no zarr, another mode, another writer, or a store whose arrays and episode ends do
            not fit together.
    """
    check_mode(path_or_name, mode)
    place = locate(path_or_name)
    if mode == "r":
        store = Store(str(place), open_root(place, mode))
        store.validate()
        return store
    root, lock = writing.open_locked(place)
    try:
        store = Store(str(place), root, lock)
        if store.n_episodes:
            store.validate()
    except BaseException:
        lock.release()
        raise
    return store


def create_store(
    path: str | os.PathLike[str],
    arrays: Mapping[str, tuple[tuple[int, ...], DTypeLike]] | None = None,
    attrs: Mapping[str, Any] | None = None,
    zarr_format: int = 3,
) -> Store:
    """Creates an empty store, open for `append_episode`.

    Args:
        path: A folder that does not exist yet, or an empty one.
        arrays: Shape of one step and dtype by key, such as `{"action": ((2,), "float32")}`. By default the first
            episode decides.
        attrs: What to say about the episodes, as JSON: `env_id`, `env_version`, `env_kwargs`, `source`, `control_hz`,
            `layout` and `created_with` are understood (see `schema`), and `pusht_attrs` fills them for Push-T.
        zarr_format: 2 or 3.

    Raises:
        StoreError: The path is taken, the format unknown, an array not of numbers, a key that cannot name one, or
            another process is creating the same store.
    """
    specs = writing.check_new(path, arrays or {}, zarr_format)
    folder = Path(path).expanduser()
    lock = writing.create_locked(folder, specs, attrs or {}, zarr_format)
    return Store(str(folder), open_root(folder, "a"), lock)


def open_or_create(path: Path, attrs: Mapping[str, Any], made: str, by: str, how: Mapping[str, Any]) -> Store:
    """Goes on with a store that was made in the same way, or creates it; open for appending either way.

    Args:
        path: A folder; one that is missing or empty is created.
        attrs: What a new store says about the episodes.
        made: What was done, such as "collected"; the store keeps `how` under "collected_with".
        by: Who did it, for the message about a store that was made otherwise.
        how: The options that decide which episodes come.

    Raises:
        StoreError: There is another kind of store, or one made with other options; see `open_store`, `create_store` too.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return create_store(path, attrs={**attrs, f"{made}_with": how})
    store = open_store(path, mode="a")
    before = store.attrs.get(f"{made}_with")
    if before != how:
        store.close()
        if before is None:
            raise StoreError(f"{path}: was not {made} {by}; give another path")
        raise StoreError(f"{path}: was {made} with {before}, not {dict(how)}; give the same options, or another path")
    return store
