"""A store larger than memory, or at the other end of a wire, is read a chunk at a time and only where asked."""

import threading
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from diffpolicy_demos import Store, StoreError, create_store, open_store
from zarr.storage import FsspecStore, LocalStore

MakeEpisode = Callable[..., dict[str, np.ndarray]]
CHUNK_BYTES = 1 << 20
CHUNKS = 48


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty-eight pictures of a megabyte, one to a chunk, in six episodes; on disk they are next to nothing."""
    path = tmp_path_factory.mktemp("large") / "a.zarr"
    side = 512
    with create_store(path, {"action": ((2,), "f4"), "pixels": ((side, side * 4 // 3, 3), "u1")}) as store:
        for start in range(0, CHUNKS, 8):
            picture = np.arange(start, start + 8, dtype=np.uint8)[:, None, None, None]
            pixels = np.broadcast_to(picture, (8, *store["pixels"].shape[1:]))
            store.append_episode({"action": np.full((8, 2), start, np.float32), "pixels": pixels}, {"start": start})
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each chunk is read from disk or over the wire."""
    counted: Counter[str] = Counter()
    for kind in (LocalStore, FsspecStore):
        get = kind.get

        async def counting(self: Any, key: str, *args: Any, get: Any = get, **kwargs: Any) -> Any:
            if "data/" in key and key.rpartition("/")[2][-1].isdigit():
                counted[key] += 1
            return await get(self, key, *args, **kwargs)

        monkeypatch.setattr(kind, "get", counting)
    return counted


def test_opening_reads_no_chunk(large: Path, reads: Counter[str]) -> None:
    store = open_store(large)
    assert (store.n_steps, store.keys) == (CHUNKS, ("action", "pixels"))
    assert store["pixels"].shape[0] == CHUNKS
    assert not reads


def test_a_window_reads_its_own_chunks_once(large: Path, reads: Counter[str]) -> None:
    store = open_store(large)
    assert store.read("pixels", 21, 24)[:, 0, 0, 0].tolist() == [21, 22, 23]
    assert reads == {f"data/img/c/{index}/0/0/0": 1 for index in (21, 22, 23)}
    reads.clear()
    store.episode(2, keys=["action"])
    assert sum(reads.values()) == 1


@pytest.mark.parametrize("what", [Store.check_values, Store.damages])
def test_going_through_everything_holds_a_few_chunks(large: Path, reads: Counter[str], what: Callable) -> None:
    store = open_store(large)
    tracemalloc.start()
    try:
        what(store)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert {key: count for key, count in reads.items() if "img" in key} == {
        f"data/img/c/{index}/0/0/0": 1 for index in range(CHUNKS)
    }
    assert peak < CHUNKS * CHUNK_BYTES / 4


def test_appending_reads_no_more_than_the_shared_chunks(large: Path, reads: Counter[str], tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    with create_store(path, {"action": ((2,), "f4")}) as store:
        store.append_episode({"action": np.ones((1000, 2))})
        reads.clear()
        store.append_episode({"action": np.ones((10, 2))})
    assert set(reads) <= {"data/action/c/3/0"}
    assert sum(reads.values()) <= 2  # to see that it is whole, and to add to it


class _Handler(SimpleHTTPRequestHandler):
    """Files of a folder; the listing can be refused, as many servers do."""

    listing = True
    lost = ""

    def list_directory(self, path: Any) -> Any:
        return super().list_directory(path) if self.listing else self.send_error(403)

    def send_head(self) -> Any:
        return self.send_error(404) if self.lost and self.path.endswith(self.lost) else super().send_head()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, type[_Handler]]]:
    """The address of `tmp_path` on a web server of this machine."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    handler = type("Handler", (_Handler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", handler
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("listing", [True, False])
def test_a_web_server(
    tmp_path: Path,
    make_episode: MakeEpisode,
    served: tuple[str, type[_Handler]],
    reads: Counter[str],
    zarr_format: int,
    listing: bool,
) -> None:
    address, handler = served
    handler.listing = listing
    with create_store(tmp_path / "a.zarr", zarr_format=zarr_format) as store:
        for index, steps in enumerate((300, 300, 5)):
            store.append_episode(make_episode(steps, index), {"seed": index})
    store = open_store(f"{address}/a.zarr")
    assert store.episode_lengths.tolist() == [300, 300, 5]
    assert set(store.keys) == {"action", "agent_pos", "keypoints", "pixels", "state"}
    reads.clear()
    for key, values in make_episode(300, 1).items():
        np.testing.assert_array_equal(store.read(key, 550, 566), values[250:266])
    assert set(reads.values()) == {1}
    assert len(reads) == 4  # of each array the chunk with these steps
    assert store.episode_infos() == [{"seed": 0}, {"seed": 1}, {"seed": 2}]
    assert store.damages() == []


def test_a_file_that_the_server_lost(
    tmp_path: Path, make_episode: MakeEpisode, served: tuple[str, type[_Handler]]
) -> None:
    """404 is what zarr takes for zeros."""
    address, handler = served
    with create_store(tmp_path / "a.zarr") as store:
        for index, steps in enumerate((200, 200)):
            store.append_episode(make_episode(steps, index))
    handler.lost = "data/action/c/1/0"
    store = open_store(f"{address}/a.zarr")
    np.testing.assert_array_equal(store.episode(0, ["action"])["action"], make_episode(200, 0)["action"])
    with pytest.raises(StoreError, match=r"http://.*file data/action/c/1/0 is missing; it holds episode 1"):
        store.episode(1)


def test_memory(tmp_path: Path, make_episode: MakeEpisode, reads: Counter[str]) -> None:
    with create_store(tmp_path / "a.zarr") as store:
        store.append_episode(make_episode(600), {"seed": 0})
    fsspec.filesystem("memory").put(str(tmp_path / "a.zarr"), "/streams/a.zarr", recursive=True)
    store = open_store("memory://streams/a.zarr")
    np.testing.assert_array_equal(store.read("state", 300, 316), make_episode(600)["state"][300:316])
    assert sum(reads.values()) == 1
    assert store.episode_info(0) == {"seed": 0}
