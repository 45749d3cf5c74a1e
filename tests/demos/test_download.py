"""A download ends with the whole, right set in place, or with nothing but bytes to continue from."""

import dataclasses
import errno
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import zarr
from diffpolicy_demos import StoreError, create_store, open_store
from diffpolicy_demos.download import ArrayRecord, digest, download
from diffpolicy_demos.location import HUMAN_SET
from rich.progress import Progress

Records = dict[str, ArrayRecord]


@dataclasses.dataclass(frozen=True)
class FakeSet:
    """A small set laid out as the published archive is, with its digests."""

    archive: Path
    records: Records

    @property
    def content(self) -> bytes:
        return self.archive.read_bytes()


@pytest.fixture
def fake(tmp_path: Path, make_episode: Callable[..., dict[str, np.ndarray]]) -> FakeSet:
    folder = tmp_path / "made"
    store = create_store(folder / HUMAN_SET, zarr_format=2)
    store.append_episode(make_episode(200))
    names = [f"data/{store[key].name.rpartition('/')[2]}" for key in store.stored_keys] + ["meta/episode_ends"]
    found = {name: zarr.open_array(folder / HUMAN_SET / name, mode="r") for name in names}
    records = {
        name: ArrayRecord(array.shape, str(array.dtype), digest(array, Progress(disable=True)))
        for name, array in found.items()
    }
    return FakeSet(Path(shutil.make_archive(str(tmp_path / "pusht"), "zip", folder)), records)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def assert_in_place(folder: Path) -> None:
    """The set is there, reads, and nothing else is."""
    assert [entry.name for entry in folder.iterdir()] == ["pusht"]
    assert [entry.name for entry in (folder / "pusht").iterdir()] == [HUMAN_SET.name]
    assert open_store(folder / HUMAN_SET).n_steps == 200


def partial_of(folder: Path, web_server: Any, fake: FakeSet) -> Path:
    """Where a broken transfer leaves its bytes."""
    web_server.content, web_server.break_after = fake.content, 1000
    with pytest.raises(OSError, match="broke off at 1000"):
        download(web_server.url, folder, expected=fake.records)
    web_server.break_after = None
    (partial,) = folder.iterdir()
    assert partial.read_bytes() == fake.content[:1000]
    return partial


def test_from_a_file(fake: FakeSet, folder: Path) -> None:
    assert download(str(fake.archive), folder, expected=fake.records) == (folder / HUMAN_SET, True)
    assert_in_place(folder)
    assert fake.archive.exists()


def test_from_memory(fake: FakeSet, folder: Path) -> None:
    fsspec.filesystem("memory").pipe_file("/mirror/pusht.zip", fake.content)
    download("memory://mirror/pusht.zip", folder, expected=fake.records)
    assert_in_place(folder)


def test_from_a_web_server(fake: FakeSet, folder: Path, web_server: Any) -> None:
    web_server.content = fake.content
    with Progress(disable=True) as progress:
        download(web_server.url, folder, progress, expected=fake.records)
        bar = next(task for task in progress.tasks if task.description == "downloading")
        assert bar.completed == bar.total == len(fake.content)
    assert_in_place(folder)
    assert web_server.asked == [None]


def test_a_right_copy_is_left_alone(fake: FakeSet, folder: Path, web_server: Any) -> None:
    download(str(fake.archive), folder, expected=fake.records)
    assert download(web_server.url, folder, expected=fake.records) == (folder / HUMAN_SET, False)
    assert web_server.asked == []


def test_force_replaces_a_wrong_copy(fake: FakeSet, folder: Path) -> None:
    download(str(fake.archive), folder, expected=fake.records)
    zarr.open_group(folder / HUMAN_SET, mode="r+")["data/action"][3] = 0
    with pytest.raises(StoreError, match=r"'data/action' differs.*--force") as caught:
        download(str(fake.archive), folder, expected=fake.records)
    assert str(folder) in str(caught.value)
    download(str(fake.archive), folder, expected=fake.records, force=True)
    assert_in_place(folder)
    assert download(str(fake.archive), folder, expected=fake.records)[1] is False


def test_a_failed_force_keeps_the_old_copy(fake: FakeSet, folder: Path, tmp_path: Path) -> None:
    download(str(fake.archive), folder, expected=fake.records)
    (tmp_path / "bad.zip").write_bytes(fake.content[:-100])
    with pytest.raises(StoreError, match="not a whole zip"):
        download(str(tmp_path / "bad.zip"), folder, expected=fake.records, force=True)
    assert_in_place(folder)


def test_a_broken_transfer_is_continued(fake: FakeSet, folder: Path, web_server: Any) -> None:
    partial_of(folder, web_server, fake)
    download(web_server.url, folder, expected=fake.records)
    assert web_server.asked == [None, "bytes=1000-"]
    assert_in_place(folder)


def test_a_server_without_ranges_is_asked_for_everything(fake: FakeSet, folder: Path, web_server: Any) -> None:
    partial_of(folder, web_server, fake)
    web_server.ranges = False
    download(web_server.url, folder, expected=fake.records)
    assert_in_place(folder)


def test_a_server_that_sends_another_range(fake: FakeSet, folder: Path, web_server: Any) -> None:
    partial_of(folder, web_server, fake)
    web_server.wrong_start = True
    download(web_server.url, folder, expected=fake.records)
    assert web_server.asked == [None, "bytes=1000-", None]
    assert_in_place(folder)


@pytest.mark.parametrize("extra", [0, 500])
def test_a_partial_that_is_complete_or_too_long(fake: FakeSet, folder: Path, web_server: Any, extra: int) -> None:
    partial_of(folder, web_server, fake).write_bytes(fake.content + b"x" * extra)
    download(web_server.url, folder, expected=fake.records)
    assert_in_place(folder)
    assert len(web_server.asked) == (2 if extra == 0 else 3)


@pytest.mark.parametrize("length", [1000, None])
def test_a_corrupt_partial_is_fetched_anew(fake: FakeSet, folder: Path, web_server: Any, length: int | None) -> None:
    partial = partial_of(folder, web_server, fake)
    partial.write_bytes(b"\0" * (length or len(fake.content)))
    download(web_server.url, folder, expected=fake.records)
    assert_in_place(folder)


def test_partials_of_two_sources_are_not_joined(fake: FakeSet, folder: Path, web_server: Any) -> None:
    partial = partial_of(folder, web_server, fake)
    fsspec.filesystem("memory").pipe_file("/mirror/pusht.zip", fake.content)
    download("memory://mirror/pusht.zip", folder, expected=fake.records)
    assert partial.read_bytes() == fake.content[:1000]


@pytest.mark.parametrize("name", ["data/action", "data/img", "meta/episode_ends"])
def test_other_numbers_leave_nothing_behind(fake: FakeSet, folder: Path, web_server: Any, name: str) -> None:
    records = fake.records | {name: dataclasses.replace(fake.records[name], sha256="0" * 64)}
    web_server.content = fake.content
    for source in (web_server.url, str(fake.archive)):
        with pytest.raises(
            StoreError, match=rf"array '{name}' differs from the published set.*nothing was kept"
        ) as caught:
            download(source, folder, expected=records)
        assert source in str(caught.value)
        assert list(folder.iterdir()) == []


def test_other_shapes_and_arrays_leave_nothing_behind(fake: FakeSet, folder: Path) -> None:
    wrong_shape = fake.records | {"data/state": dataclasses.replace(fake.records["data/state"], shape=(201, 5))}
    with pytest.raises(StoreError, match=r"'data/state' is float32 \(200, 5\); expected float32 \(201, 5\)"):
        download(str(fake.archive), folder, expected=wrong_shape)
    fewer = {name: record for name, record in fake.records.items() if name != "data/img"}
    with pytest.raises(StoreError, match="other arrays than the published set"):
        download(str(fake.archive), folder, expected=fewer)
    assert list(folder.iterdir()) == []


def test_a_damaged_chunk_leaves_nothing_behind(fake: FakeSet, folder: Path, tmp_path: Path) -> None:
    """The zip is whole and its checksums are right, but a chunk cannot be decoded."""
    chunk = tmp_path / "made" / HUMAN_SET / "data/action/0.0"
    chunk.write_bytes(b"\xff" * chunk.stat().st_size)
    archive = shutil.make_archive(str(tmp_path / "damaged"), "zip", tmp_path / "made")
    with pytest.raises(StoreError, match=r"action: steps from 0 cannot be decoded"):
        download(archive, folder, expected=fake.records)
    assert list(folder.iterdir()) == []


def test_an_interrupt_while_unpacking_leaves_nothing_behind(
    fake: FakeSet, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("diffpolicy_demos.download.verify", interrupted)
    with pytest.raises(KeyboardInterrupt):
        download(str(fake.archive), folder, expected=fake.records)
    assert list(folder.iterdir()) == []


def one_line_of(error: pytest.ExceptionInfo[OSError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    assert "[Errno" not in message
    return message


def test_no_such_file_or_page(fake: FakeSet, folder: Path, web_server: Any) -> None:
    with pytest.raises(StoreError, match=r"nowhere\.zip: no such file; expected the archive"):
        download("nowhere.zip", folder)
    with pytest.raises(OSError, match="the server says 404") as caught:
        download(web_server.url.replace("pusht", "other"), folder)
    assert "other.zip" in one_line_of(caught)
    with pytest.raises(OSError, match="no such file"):
        download("memory://nowhere/pusht.zip", folder)
    with pytest.raises(OSError, match="cannot be fetched"):
        download("nonsense://pusht.zip", folder)
    assert not (folder / HUMAN_SET).exists()


def test_no_network(folder: Path, web_server: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(OSError, match=r"cannot be fetched: .*refused.*; check the network") as caught:
        download(f"http://127.0.0.1:{port}/pusht.zip", folder)
    assert str(port) in str(caught.value)


def test_no_space(fake: FakeSet, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(fake.archive)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
        with pytest.raises(OSError, match=r"no space left .*MB needed.*set DIFFPOLICY_DATA") as caught:
            download(str(fake.archive), folder, expected=fake.records)
        assert str(folder) in one_line_of(caught)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="no space left"):
        download(str(fake.archive), folder, expected=fake.records)
    assert list(folder.iterdir()) == []


def test_no_permission(fake: FakeSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match="set DIFFPOLICY_DATA to one that you may write to") as caught:
            download(str(fake.archive), folder, expected=fake.records)
        assert str(folder) in one_line_of(caught)

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/data")

    monkeypatch.setattr(Path, "mkdir", forbidden)
    with pytest.raises(OSError, match="/data: Permission denied; the data folder is"):
        download(str(fake.archive), tmp_path / "other", expected=fake.records)
