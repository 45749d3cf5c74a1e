"""A store open for appending keeps other writers out, never readers, and no longer than the writer lives."""

import gc
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from diffpolicy_demos import Store, StoreError, create_store, open_store
from diffpolicy_demos.lock import lock_file

MakeEpisode = Callable[..., dict[str, np.ndarray]]


def refusal(path: Path) -> str:
    with pytest.raises(StoreError, match="has it open for appending, and a store takes one writer at a time") as caught:
        open_store(path, mode="a")
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.fixture
def store_path(tmp_path: Path, make_episode: MakeEpisode) -> Path:
    with create_store(tmp_path / "a.zarr") as store:
        store.append_episode(make_episode(3))
    return tmp_path / "a.zarr"


def test_within_one_process(store_path: Path, make_episode: MakeEpisode) -> None:
    with open_store(store_path, mode="a") as first:
        assert f"process {os.getpid()} (this one)" in refusal(store_path)
        assert open_store(store_path).n_episodes == 1
        first.append_episode(make_episode(3))
        assert open_store(store_path).n_episodes == 2
        refusal(store_path)
    with open_store(store_path, mode="a") as second:
        assert second.n_episodes == 2


def test_from_creation_on(tmp_path: Path) -> None:
    with create_store(tmp_path / "a.zarr"):
        refusal(tmp_path / "a.zarr")
        with pytest.raises(StoreError, match="exists already"):
            create_store(tmp_path / "a.zarr")


def test_by_whatever_name(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = store_path.with_name("link.zarr")
    link.symlink_to(store_path)
    monkeypatch.chdir(store_path.parent)
    with open_store(link, mode="a"):
        refusal(store_path)
        refusal(Path("a.zarr"))


def test_a_closed_store_can_be_read_not_appended_to(store_path: Path, make_episode: MakeEpisode) -> None:
    store = open_store(store_path, mode="a")
    assert store.writable
    store.close()
    store.close()
    assert not store.writable
    assert len(store.episode(0)["action"]) == 3
    with pytest.raises(StoreError, match="closed, or opened by the process"):
        store.append_episode(make_episode(3))
    open_store(store_path).close()  # of no consequence to a reader


def test_garbage_collection_closes(store_path: Path) -> None:
    store = open_store(store_path, mode="a")
    del store
    gc.collect()
    assert not lock_file(store_path).exists()
    ring: list = [open_store(store_path, mode="a")]
    ring.append(ring)
    del ring  # held by nothing but itself until the collector comes by, which the next writer sees to
    open_store(store_path, mode="a").close()


def test_an_opening_that_fails_lets_go(store_path: Path) -> None:
    (store_path / "data/state/zarr.json").rename(store_path / "elsewhere")
    for _ in range(2):
        with pytest.raises(StoreError, match=r"data/state/zarr\.json is missing"):
            open_store(store_path, mode="a")
    assert not lock_file(store_path).exists()


def test_the_lock_lies_beside_the_store(store_path: Path) -> None:
    """Inside, zarr would warn of it and zips would carry it along."""
    with open_store(store_path, mode="a"):
        assert sorted(path.name for path in store_path.parent.iterdir() if path != store_path) == ["a.zarr.lock"]
        assert f"process {os.getpid()} appends to a.zarr" in lock_file(store_path).read_text()
    assert [path.name for path in store_path.parent.iterdir() if path != store_path and path.name != "own-data"] == []


def test_a_folder_that_cannot_be_written(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write everywhere, so the refusal is feigned."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    with pytest.raises(StoreError, match=r"the lock file .*a\.zarr\.lock cannot be written: Permission denied"):
        open_store(store_path, mode="a")
    assert open_store(store_path).n_episodes == 1


def test_zips_never_get_a_lock(store_path: Path) -> None:
    with zipfile.ZipFile(store_path.with_suffix(".zip"), "w") as archive:
        for file in store_path.rglob("*"):
            archive.write(file, file.relative_to(store_path.parent))
    with pytest.raises(StoreError, match="only a folder can be appended to"):
        open_store(store_path.with_suffix(".zip"), mode="a")
    assert not list(store_path.parent.glob("*.lock"))


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)


def test_a_killed_writer_lets_go(store_path: Path) -> None:
    holder = start(
        "import sys\nfrom diffpolicy_demos import open_store\n"
        "store = open_store(sys.argv[1], mode='a')\nprint('open', flush=True)\nsys.stdin.read()\n",
        store_path,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "open\n"
    assert f"process {holder.pid} has it open" in refusal(store_path)
    holder.send_signal(signal.SIGKILL)
    holder.communicate(timeout=30)
    assert lock_file(store_path).exists()  # the file stays, the lock does not
    open_store(store_path, mode="a").close()
    assert not lock_file(store_path).exists()


def test_a_forked_child_neither_writes_nor_lets_go(store_path: Path, make_episode: MakeEpisode) -> None:
    code = """
import os, sys
import numpy as np
from diffpolicy_demos import StoreError, open_store
store = open_store(sys.argv[1], mode="a")
if os.fork() == 0:
    try:
        store.append_episode({})
    except StoreError as error:
        print("child:", error, flush=True)
    store.close()
    del store
    os._exit(0)
os.wait()
print("parent:", store.writable, flush=True)
try:
    open_store(sys.argv[1], mode="a")
except StoreError as error:
    print("second:", error, flush=True)
"""
    said = start(code, store_path).communicate(timeout=60)[0].splitlines()
    assert len(said) == 3
    assert "opened by the process that this one was forked from" in said[0]
    assert said[1] == "parent: True"
    assert "takes one writer at a time" in said[2]


RACER = """
import sys, time
import numpy as np
from diffpolicy_demos import Store, StoreError, create_store, open_store
print("ready", flush=True)
for line in sys.stdin:
    path, how, begin = line.split()
    while time.time() < float(begin):
        pass
    try:
        store = create_store(path, {"action": ((1,), "f4")}) if how == "create" else open_store(path, mode="a")
    except StoreError as error:
        print("refused", error, flush=True)
        continue
    for value in range(3):
        store.append_episode({"action": np.full((2, 1), value, "f4")}, {"racer": sys.argv[1]})
    print("won", flush=True)
    sys.stdin.readline()  # kept open until the other has had its try
    store.close()
    print("closed", flush=True)
"""


def test_two_processes_race(tmp_path: Path) -> None:
    """Ten times for a new store and ten for one that is there: one gets it, and what it appended is all there is."""
    racers = [start(RACER, name) for name in "ab"]

    def tell(racer: subprocess.Popen[str], line: str) -> None:
        assert racer.stdin is not None
        racer.stdin.write(line + "\n")
        racer.stdin.flush()

    def hear(racer: subprocess.Popen[str]) -> str:
        assert racer.stdout is not None
        return racer.stdout.readline().strip()

    assert [hear(racer) for racer in racers] == ["ready", "ready"]
    for turn in range(20):
        path, how = tmp_path / f"{turn // 2}.zarr", ("create", "append")[turn % 2]
        before = open_store(path).n_episodes if how == "append" else 0
        begin = time.time() + 0.02
        for racer in racers:
            tell(racer, f"{path} {how} {begin}")
        heard = [hear(racer) for racer in racers]
        assert sorted(word.split()[0] for word in heard) == ["refused", "won"], heard
        assert any(word in " ".join(heard) for word in ("one writer at a time", "exists already"))
        winner = heard.index("won")
        found = open_store(path)
        assert found.n_episodes == before + 3
        assert found["action"][-6:, 0].tolist() == [0, 0, 1, 1, 2, 2]
        assert [info["racer"] for info in found.episode_infos()[before:]] == ["ab"[winner]] * 3
        assert found.damages() == []
        tell(racers[winner], "")
        assert hear(racers[winner]) == "closed"
    for racer in racers:
        racer.communicate(timeout=30)


def test_ctrl_c_waits_for_the_episode(tmp_path: Path) -> None:
    """Zarr writes in a thread of its own: an append that was left would go on beside the next one."""
    store = create_store(tmp_path / "a.zarr", {"action": ((2,), "f4")})
    publish = type(store)._publish

    def interrupted(self: Store, end: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        publish(self, end)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(store), "_publish", interrupted)
            with pytest.raises(KeyboardInterrupt):
                store.append_episode({"action": np.ones((4, 2))})
    finally:
        signal.signal(signal.SIGINT, before)
    assert open_store(tmp_path / "a.zarr").episode_ends.tolist() == [4]
    store.append_episode({"action": np.ones((3, 2))})
    assert open_store(tmp_path / "a.zarr").episode_ends.tolist() == [4, 7]
