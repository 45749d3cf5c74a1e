"""The public human demonstrations of Push-T: fetched, checked number for number, and only then put in their place.

They were published with Diffusion Policy (Chi et al., RSS 2023). Mirrors repack the archive, so the check is on what
the arrays hold, not on the file: everybody who has the set has the same 25,650 steps.
"""

import contextlib
import errno
import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr
from rich.progress import Progress

from diffpolicy_demos.archive import check_archive, unpack
from diffpolicy_demos.arrays import open_array, open_arrays
from diffpolicy_demos.errors import StoreError
from diffpolicy_demos.fetch import fetch
from diffpolicy_demos.location import HUMAN_SET, data_folder, one_line, open_root
from diffpolicy_demos.schema import DATA, ENDS

PUBLIC_URL = "https://diffusion-policy.cs.columbia.edu/data/training/pusht.zip"


@dataclass(frozen=True)
class ArrayRecord:
    """What an array of a published set must be; `sha256` is of its decoded, C-ordered bytes."""

    shape: tuple[int, ...]
    dtype: str
    sha256: str


PUBLISHED = {
    "data/state": ArrayRecord(
        (25650, 5), "float32", "dcdc539bfdba9fc01cba8d2fe91cc580539ec046a88b0ffbe91be5511948d4dc"
    ),
    "data/action": ArrayRecord(
        (25650, 2), "float32", "6691b085749144b8db1aede97a80fb380afd08953fcd03660b441d0ffe9d6a8f"
    ),
    "data/keypoint": ArrayRecord(
        (25650, 9, 2), "float32", "2419980734c1d41050f8fbf7513031e6e784168bafbe42bcec81fdebe44c6611"
    ),
    "data/n_contacts": ArrayRecord(
        (25650, 1), "float32", "3e4258a61c21da4af3257269d3300b5128f04ba3ad34ebd0d0e709489ca854d4"
    ),
    "data/img": ArrayRecord(
        (25650, 96, 96, 3), "float32", "3f7650895d1a500d7162b10475df689731f4fece2b15eaf7d913a560c2a0783d"
    ),
    "meta/episode_ends": ArrayRecord(
        (206,), "int64", "82db02e667c59a83fedb211ab9b84182591b75009df1385210d5235197f93d72"
    ),
}


def download(
    source: str = PUBLIC_URL,
    folder: Path | None = None,
    progress: Progress | None = None,
    *,
    force: bool = False,
    expected: Mapping[str, ArrayRecord] = PUBLISHED,
) -> tuple[Path, bool]:
    """Puts the human demonstrations at `pusht/pusht_cchi_v7_replay.zarr` in a folder.

    Args:
        source: URL or file of the archive; another than the public one for mirrors and for work without a network.
        folder: The data folder; by default the one that `open_store("pusht")` looks in.
        progress: Draws the bars; silent by default.
        force: Fetch anew even where a right copy is; the old one stays until the new one has been checked.
        expected: What the arrays must hold.

    Returns:
        Where the set is, and whether it had to be fetched.

    Raises:
        StoreError: The archive is damaged, hostile or holds other numbers; nothing of it is left behind. Or what is in
            place differs, and `force` was not given.
        OSError: No network, no space, no permission; one line that says so. A transfer that broke off is continued by
            the next call.
    """
    folder = data_folder() if folder is None else folder
    target, progress = folder / HUMAN_SET, progress or Progress(disable=True)
    if target.exists() and not force:
        try:
            verify(target, expected, progress)
        except StoreError as error:
            raise StoreError(
                f"{error}; what is in place differs from the published set: fetch anew with --force"
            ) from error
        return target, False
    with _clear_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        local = None if "://" in source else Path(source).expanduser()
        if local is not None:
            if not local.is_file():
                raise StoreError(f"{source}: no such file; expected the archive pusht.zip or a URL of it")
            _install(local, source, target, expected, progress)
        else:
            _fetch_and_install(source, folder, target, expected, progress)
    return target, True


def _fetch_and_install(
    source: str, folder: Path, target: Path, expected: Mapping[str, ArrayRecord], progress: Progress
) -> None:
    # Named after its source: bytes of two archives must never be joined into one.
    partial = folder / f"pusht-{hashlib.sha256(source.encode()).hexdigest()[:12]}.zip.partial"
    while True:
        resumed = fetch(source, partial, progress)
        try:
            _install(partial, source, target, expected, progress)
            return
        except StoreError:
            if not resumed:
                raise
        finally:  # the second round, without a file to resume, is the last
            partial.unlink(missing_ok=True)


def _install(archive: Path, source: str, target: Path, expected: Mapping[str, ArrayRecord], progress: Progress) -> None:
    """Checks the archive, unpacks it beside the target, checks the arrays, and renames them into place."""
    folder = target.parent.parent
    size = check_archive(archive, HUMAN_SET.parts[0], source)
    if (free := shutil.disk_usage(folder).free) < size:
        raise OSError(errno.ENOSPC, f"{size / 1e6:.0f} MB needed, {free / 1e6:.0f} MB free")
    with tempfile.TemporaryDirectory(prefix=".pusht-", dir=folder) as temporary:
        unpack(archive, Path(temporary), progress)
        unpacked = Path(temporary) / HUMAN_SET
        if not unpacked.is_dir():
            raise StoreError(f"{source}: the archive does not hold {HUMAN_SET}; expected the Push-T demonstrations")
        try:
            verify(unpacked, expected, progress)
        except StoreError as error:
            raise StoreError(str(error).replace(str(unpacked), source) + "; nothing was kept of it") from error
        _swap(unpacked, target, Path(temporary) / "old")


def _swap(new: Path, target: Path, aside: Path) -> None:
    """Renames `new` to `target`; an older copy goes aside, and comes back should that fail."""
    target.parent.mkdir(exist_ok=True)
    if not target.exists():
        new.rename(target)
        return
    target.rename(aside)
    try:
        new.rename(target)
    except BaseException:
        aside.rename(target)
        raise


def verify(path: Path, expected: Mapping[str, ArrayRecord], progress: Progress) -> None:
    """Checks that a zarr holds exactly the arrays of a published set, number for number.

    Raises:
        StoreError: Names the array that is missing, additional or different.
    """
    root = open_root(path, "r")
    arrays = {f"{DATA}/{name}": array for name, array in open_arrays(str(path), root).items()}
    ends = open_array(str(path), root, ENDS)
    if ends is not None:
        arrays[ENDS] = ends
    if set(arrays) != set(expected):
        found, wanted = ", ".join(sorted(arrays)) or "none", ", ".join(sorted(expected))
        raise StoreError(f"{path}: other arrays than the published set: found {found}; expected {wanted}")
    for name, record in expected.items():
        array = arrays[name]
        # Shape and dtype first: they bound the work, whatever the metadata of a hostile archive claims.
        if array.shape != record.shape or array.dtype != np.dtype(record.dtype):
            raise StoreError(
                f"{path}: array {name!r} is {array.dtype} {array.shape}; expected {record.dtype} {record.shape}"
            )
    for name, record in expected.items():
        found = digest(arrays[name], progress, f"checking {name}")
        if found != record.sha256:
            raise StoreError(
                f"{path}: array {name!r} differs from the published set: SHA-256 of its values is {found}, "
                f"expected {record.sha256}"
            )


def digest(array: zarr.Array, progress: Progress, description: str = "checking") -> str:
    """SHA-256 of an array's decoded, C-ordered, little-endian bytes, chunk by chunk: the images would fill 2.8 GB.

    Raises:
        StoreError: A chunk cannot be decoded.
    """
    sha = hashlib.sha256()
    for start in progress.track(range(0, array.shape[0], array.chunks[0]), description=description):
        try:
            values = np.asarray(array[start : start + array.chunks[0]])
        except Exception as error:  # each codec has exceptions of its own for bytes that it cannot decode
            raise StoreError(f"{array.store_path}: steps from {start} cannot be decoded: {one_line(error)}") from error
        sha.update(values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes())
    return sha.hexdigest()


@contextlib.contextmanager
def _clear_disk_errors(folder: Path) -> Iterator[None]:
    """Says what to do about a full or forbidden disk, where Python gives an error number."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(
                f"{folder}: no space left ({error.strerror}); free some, or set DIFFPOLICY_DATA to another folder"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise OSError(
                f"{error.filename or folder}: {error.strerror}; the data folder is {folder}, "
                "set DIFFPOLICY_DATA to one that you may write to"
            ) from error
        raise
