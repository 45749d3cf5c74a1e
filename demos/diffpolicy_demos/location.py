"""Turns what a user types (a name, a path, a zip, a URL) into an opened zarr group, or into one line of advice.

Everything about where demonstrations may live is here, so that the store itself need not know.
"""

import difflib
import os
import re
import zipfile
from pathlib import Path
from typing import Literal, get_args

import zarr
from zarr.storage import FsspecStore, LocalStore, ZipStore

from diffpolicy_demos.errors import StoreError

#: Where the human demonstrations lie inside the data folder, and inside their published archive.
HUMAN_SET = Path("pusht") / "pusht_cchi_v7_replay.zarr"

_ROOT_FILES = (".zgroup", "zarr.json")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")

Mode = Literal["r", "a"]


def data_folder() -> Path:
    """The folder for downloaded data: `$DIFFPOLICY_DATA`, else `diffpolicy` in the user's cache (`$XDG_CACHE_HOME`)."""
    if chosen := os.environ.get("DIFFPOLICY_DATA"):
        return Path(chosen).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "diffpolicy"


def bundled_stores() -> dict[str, Path]:
    """Names and places of the sets that come with the package: beside it in a checkout, inside it in a wheel."""
    package = Path(__file__).resolve().parent
    folders = [package, package.parent] if package.parent.name == "demos" else [package]
    return {path.stem.replace("_", "-"): path for folder in folders for path in sorted(folder.glob("*.zarr"))}


def locate(path_or_name: str | os.PathLike[str]) -> str | Path:
    """Finds what the user means; names come before paths, so that a name means the same in every folder.

    Returns:
        A URL as it was given, or the path of something that exists.

    Raises:
        StoreError: There is nothing by that name or at that path; close misses are suggested.
    """
    text = os.fspath(path_or_name)
    if "://" in text:
        return text
    if isinstance(path_or_name, str) and text == "pusht":
        human = data_folder() / HUMAN_SET
        if not human.exists():
            raise StoreError(
                f"pusht: the human demonstrations are not at {human}; run `diffpolicy demos download`, "
                "or point DIFFPOLICY_DATA at the folder that holds them"
            )
        return human
    bundled = bundled_stores()
    if isinstance(path_or_name, str) and text in bundled:
        return bundled[text]
    path = Path(text).expanduser()
    if text and path.exists():
        return path
    if _NAME.fullmatch(text):
        names = ["pusht", *sorted(bundled)]
        raise StoreError(
            f"{text}: no demonstrations by this name{_suggest(text, names)}; "
            f"available: {', '.join(names)}, or a path or URL of a zarr"
        )
    siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    raise StoreError(
        f"{text or '(empty path)'}: no such file or folder{_suggest(path.name, siblings)}; "
        "expected a zarr folder, a .zip of one, a URL or a name"
    )


def check_mode(place: str | os.PathLike[str], mode: str) -> None:
    """Checks the way in which a store is to be opened.

    Raises:
        StoreError: Neither "r" nor "a".
    """
    if mode not in get_args(Mode):
        raise StoreError(
            f"{os.fspath(place)}: mode {mode!r} asked for; expected 'r' to read or 'a' to append "
            "(create_store makes a new store)"
        )


def open_root(place: str | Path, mode: Mode) -> zarr.Group:
    """Opens the zarr group at a place that `locate` returned.

    Args:
        place: A folder, a zip file or a URL.
        mode: "r" to read; "a" to append as well, which only folders allow.

    Raises:
        StoreError: There is no such mode, it is no zarr group, or cannot be written where `mode` asks for that.
    """
    check_mode(place, mode)
    if mode == "a" and not (isinstance(place, Path) and place.is_dir()):
        raise StoreError(
            f"{place}: only a folder can be appended to; zips and URLs are read only, so unpack a copy first"
        )
    if isinstance(place, str):
        return _open_url(place)
    if place.is_file():
        return _open_zip(place)
    if not any((place / name).is_file() for name in _ROOT_FILES):
        raise _no_zarr_in_folder(place)
    return _open_group(LocalStore(place, read_only=mode == "r"), str(place), "", mode)


def _open_url(url: str) -> zarr.Group:
    if url.split("?")[0].endswith(".zip"):
        raise StoreError(f"{url}: a zip behind a URL cannot be read in place; download it and open the file")
    try:
        store = FsspecStore.from_url(url, read_only=True)
    except ImportError as error:
        raise StoreError(f"{url}: this kind of URL needs another package: {error}") from error
    except ValueError as error:
        raise StoreError(f"{url}: not a URL that fsspec can open: {error}") from error
    return _open_group(store, url, "", "r")


def _open_zip(path: Path) -> zarr.Group:
    if not zipfile.is_zipfile(path):
        raise StoreError(f"{path}: a file, but not a zip; expected a zarr folder or a .zip of one")
    with zipfile.ZipFile(path) as archive:
        folders = sorted(
            {name.rpartition("/")[0] for name in archive.namelist() if name.rpartition("/")[2] in _ROOT_FILES}
        )
    # Groups and arrays inside a store have metadata files of their own: only folders below no other such one are roots.
    roots = [
        f for f in folders if not any(other != f and (not other or f.startswith(other + "/")) for other in folders)
    ]
    if not roots:
        raise StoreError(
            f"{path}: the zip holds no zarr ({' or '.join(_ROOT_FILES)} not found); expected a zip of a store"
        )
    if len(roots) > 1:
        raise StoreError(
            f"{path}: the zip holds {len(roots)} stores ({', '.join(roots)}); unpack it and open one of them"
        )
    return _open_group(ZipStore(path, mode="r"), str(path), roots[0], "r")


def _open_group(store: LocalStore | ZipStore | FsspecStore, place: str, inside: str, mode: Mode) -> zarr.Group:
    # Consolidated metadata goes stale when a store grows; only far away is it worth the requests it saves.
    consolidated = None if isinstance(store, FsspecStore) else False
    try:
        return zarr.open_group(store, path=inside, mode="r" if mode == "r" else "r+", use_consolidated=consolidated)
    except Exception as error:  # whatever a damaged or foreign file makes zarr raise, the user's way out is the same
        raise StoreError(
            f"{place}: cannot be opened as a zarr group: {one_line(error)}; "
            "expected a group with data/ and meta/episode_ends"
        ) from error


def _no_zarr_in_folder(folder: Path) -> StoreError:
    entries = sorted(entry.name for entry in folder.iterdir())
    if not entries:
        return StoreError(f"{folder}: an empty folder; expected a zarr with data/ and meta/episode_ends")
    if (folder / ".zarray").is_file():
        return StoreError(f"{folder}: one zarr array, not a store; open the folder that holds data/ and meta/")
    inside = [path.parent for name in _ROOT_FILES for depth in ("*", "*/*") for path in folder.glob(f"{depth}/{name}")]
    hint = f"; open {min(inside, key=lambda path: len(path.parts))} instead" if inside else ""
    found = ", ".join(entries[:5]) + (", ..." if len(entries) > 5 else "")
    return StoreError(f"{folder}: not a zarr ({' or '.join(_ROOT_FILES)} missing; found {found}){hint}")


def _suggest(text: str, names: list[str]) -> str:
    close = difflib.get_close_matches(text, names, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def one_line(error: BaseException) -> str:
    """An exception as one line of text: libraries put newlines into theirs, and some leave the message empty."""
    return " ".join(str(error).split()) or type(error).__name__
