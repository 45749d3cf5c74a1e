"""Unpacks a downloaded zip without trusting it: every entry is checked before the first byte is written.

A zip can name files outside its folder, hold links, or unpack to a thousand times its size; a mirror may be anybody's.
"""

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from rich.progress import Progress

from diffpolicy_demos.errors import StoreError
from diffpolicy_demos.location import one_line

#: The published archive has 31 MB in 819 files, all compressed already: these limits leave it ample room.
MAX_BYTES = 1 << 30
MAX_FILES = 50_000
MAX_RATIO = 100
_RATIO_FREE_BYTES = 1 << 16  # a few hundred bytes of JSON may well shrink a hundredfold; they cannot fill a disk


def check_archive(path: Path, top: str, name: str | None = None) -> int:
    """Checks a zip's list of entries, and that every entry stays below the folder `top`.

    Args:
        path: The zip.
        top: The one folder that the zip may fill.
        name: What to call the zip in messages; its path by default.

    Returns:
        Bytes that it unpacks to.

    Raises:
        StoreError: Not a zip, or an entry that must not be unpacked; the message names it.
    """
    name = name or str(path)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, EOFError, ValueError) as error:
        raise StoreError(f"{name}: not a whole zip: {one_line(error)}; download it again") from error
    if not entries:
        raise StoreError(f"{name}: the zip is empty; expected {top}/...")
    seen: set[str] = set()
    for entry in entries:
        if problem := _problem(entry, top):
            raise StoreError(f"{name}: refused, entry {entry.filename!r} {problem}; nothing was unpacked")
        if entry.filename in seen:
            raise StoreError(f"{name}: refused, entry {entry.filename!r} is there twice; nothing was unpacked")
        seen.add(entry.filename)
    total = sum(entry.file_size for entry in entries)
    if len(entries) > MAX_FILES or total > MAX_BYTES:
        raise StoreError(
            f"{name}: refused, {len(entries)} files of {total / 1e6:.0f} MB in all; "
            f"expected at most {MAX_FILES} files of {MAX_BYTES / 1e6:.0f} MB; nothing was unpacked"
        )
    return total


def _problem(entry: zipfile.ZipInfo, top: str) -> str | None:
    """Why an entry must not be unpacked, or None."""
    # orig_filename is what the zip says; filename is already cut at a NUL and has other separators replaced.
    name, parts = entry.orig_filename, PurePosixPath(entry.orig_filename).parts
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if name.startswith("/") or "\\" in name or ":" in name or "\0" in name:
        return "is not a plain relative path"
    if ".." in parts:
        return "leads out of its folder"
    if not parts or parts[0] != top or (len(parts) == 1 and not entry.is_dir()):
        return f"lies outside {top}/"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a special file"
    if entry.flag_bits & 1:
        return "is encrypted"
    if entry.file_size > max(_RATIO_FREE_BYTES, MAX_RATIO * entry.compress_size):
        return f"unpacks {entry.compress_size} bytes to {entry.file_size}"
    return None


def unpack(path: Path, folder: Path, progress: Progress) -> None:
    """Unpacks a zip that `check_archive` let through.

    Raises:
        StoreError: An entry is damaged.
        OSError: The folder cannot be written.
    """
    with zipfile.ZipFile(path) as archive:
        files = [entry for entry in archive.infolist() if not entry.is_dir()]
        for entry in progress.track(files, description="unpacking"):
            target = folder / entry.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                # Read to at most the size that was checked: zipfile stops there and compares the checksum.
                with archive.open(entry) as source, target.open("xb") as sink:
                    shutil.copyfileobj(source, sink)
            except (zipfile.BadZipFile, EOFError, NotImplementedError, zlib.error) as error:
                raise StoreError(f"{path}: entry {entry.filename!r} is damaged: {one_line(error)}") from error
