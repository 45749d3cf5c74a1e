"""A zip from anywhere cannot write outside its folder, plant links, or fill the disk: it is refused before unpacking."""

import stat
import zipfile
from pathlib import Path

import pytest
from diffpolicy_demos import StoreError, archive
from diffpolicy_demos.archive import check_archive, unpack
from diffpolicy_demos.download import download
from rich.progress import Progress


@pytest.fixture
def zip_path(tmp_path: Path) -> Path:
    return tmp_path / "hostile.zip"


def write(path: Path, *names: str, content: bytes = b"x") -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("pusht/first", "harmless")
        for name in names:
            zipped.writestr(name, content)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../evil", "leads out of its folder"),
        ("pusht/../../evil", "leads out of its folder"),
        ("pusht/a/..", "leads out of its folder"),
        ("/etc/evil", "is not a plain relative path"),
        ("pusht\\..\\..\\evil", "is not a plain relative path"),
        ("C:/evil", "is not a plain relative path"),
        ("evil", "lies outside pusht/"),
        ("pushtevil/a", "lies outside pusht/"),
        ("__MACOSX/a", "lies outside pusht/"),
        ("pusht", "lies outside pusht/"),
    ],
)
def test_names(zip_path: Path, tmp_path: Path, name: str, message: str) -> None:
    write(zip_path, name)
    folder = tmp_path / "deep" / "data"
    with pytest.raises(StoreError, match=rf"refused, entry '.*' {message}; nothing was unpacked") as caught:
        download(str(zip_path), folder)
    assert str(zip_path) in str(caught.value)
    assert list(folder.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "hostile.zip"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_special_files(zip_path: Path, kind: int) -> None:
    link = zipfile.ZipInfo("pusht/link")
    link.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(zip_path, "w") as zipped:
        zipped.writestr(link, "/etc/passwd")
    with pytest.raises(StoreError, match="'pusht/link' is a link or a special file; nothing was unpacked"):
        check_archive(zip_path, "pusht")


def test_links_and_bombs_leave_no_trace(zip_path: Path, tmp_path: Path) -> None:
    """Refused by the command that unpacks, before it has written anything."""
    link = zipfile.ZipInfo("pusht/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    folder = tmp_path / "deep" / "data"
    for entry, content, message in (
        (link, b"/etc/passwd", "is a link"),
        (zipfile.ZipInfo("pusht/bomb"), b"\0" * 10_000_000, r"unpacks \d+ bytes to 10000000"),
    ):
        with zipfile.ZipFile(zip_path, "w", zipfile.ZIP_DEFLATED) as zipped:
            zipped.writestr("pusht/first", "harmless")
            zipped.writestr(entry, content, zipfile.ZIP_DEFLATED)
        with pytest.raises(StoreError, match=rf"{message}.*nothing was unpacked") as caught:
            download(str(zip_path), folder)
        assert "\n" not in str(caught.value)
        assert list(folder.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "hostile.zip"]


def test_bombs(zip_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(zip_path, "pusht/bomb", content=b"\0" * 10_000_000)
    with pytest.raises(StoreError, match=r"'pusht/bomb' unpacks \d+ bytes to 10000000"):
        check_archive(zip_path, "pusht")
    write(zip_path, "pusht/a", "pusht/b")
    check_archive(zip_path, "pusht")
    monkeypatch.setattr(archive, "MAX_FILES", 2)
    with pytest.raises(StoreError, match="refused, 3 files of"):
        check_archive(zip_path, "pusht")
    monkeypatch.undo()
    monkeypatch.setattr(archive, "MAX_BYTES", 9)
    with pytest.raises(StoreError, match="refused, 3 files of"):
        check_archive(zip_path, "pusht")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_twice(zip_path: Path) -> None:
    write(zip_path, "pusht/a", "pusht/a")
    with pytest.raises(StoreError, match="'pusht/a' is there twice"):
        check_archive(zip_path, "pusht")


def test_a_size_that_lies_is_caught(zip_path: Path, tmp_path: Path) -> None:
    """The checks go by declared sizes, so no entry may unpack to more than it declares."""
    write(zip_path, "pusht/liar", content=b"ab" * 20_000)
    real = (40_000).to_bytes(4, "little")
    content = zip_path.read_bytes()
    assert real in content
    zip_path.write_bytes(content.replace(real, (10).to_bytes(4, "little")))
    assert check_archive(zip_path, "pusht") == 10 + len("harmless")
    with pytest.raises(StoreError, match="'pusht/liar' is damaged"):
        unpack(zip_path, tmp_path / "out", Progress(disable=True))
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.is_file()) < 100


def test_not_zips(zip_path: Path) -> None:
    zip_path.write_bytes(b"<html>404</html>")
    with pytest.raises(StoreError, match="not a whole zip"):
        check_archive(zip_path, "pusht")
    with zipfile.ZipFile(zip_path, "w"):
        pass
    with pytest.raises(StoreError, match="the zip is empty"):
        check_archive(zip_path, "pusht")


def test_a_zip_of_something_else(zip_path: Path, tmp_path: Path) -> None:
    write(zip_path, "pusht/a")
    with pytest.raises(StoreError, match=r"the archive does not hold pusht/pusht_cchi_v7_replay\.zarr"):
        download(str(zip_path), tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []
