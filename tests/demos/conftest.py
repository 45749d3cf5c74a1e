"""What tests of recorded experience share: small stores, the human set, and a web server that can misbehave."""

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from diffpolicy_demos.location import HUMAN_SET, data_folder

#: Read before any test changes the environment.
_HUMAN = data_folder() / HUMAN_SET

Episode = dict[str, np.ndarray]


@pytest.fixture(scope="session")
def human_set() -> Path:
    """The folder of the human demonstrations."""
    if not _HUMAN.is_dir():
        pytest.skip(f"the human demonstrations are not at {_HUMAN} (set DIFFPOLICY_DATA)")
    return _HUMAN


@pytest.fixture(autouse=True, scope="session")
def _short_chunks() -> Iterator[None]:
    """Small stores then have several chunks, as real ones do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("diffpolicy_demos.schema._CHUNK_STEPS", 256)
        yield


@pytest.fixture(autouse=True)
def _own_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may write into, or depend on, the data folder of whoever runs it."""
    monkeypatch.setenv("DIFFPOLICY_DATA", str(tmp_path / "own-data"))


@pytest.fixture
def make_episode() -> Callable[..., Episode]:
    """Random episodes with every key that policies know."""

    def make(steps: int, seed: int = 0) -> Episode:
        rng = np.random.default_rng(seed)
        return {
            "state": rng.uniform(0, 512, (steps, 5)).astype(np.float32),
            "action": rng.uniform(0, 512, (steps, 2)).astype(np.float32),
            "keypoints": rng.uniform(0, 512, (steps, 9, 2)).astype(np.float32),
            "pixels": rng.integers(0, 256, (steps, 12, 12, 3), dtype=np.uint8),
        }

    return make


@dataclass
class WebServer:
    """A server of one file at `url`, with the faults of servers that one meets.

    Attributes:
        url: Where the file is.
        content: The file.
        ranges: Whether it honours Range headers.
        break_after: Bytes after which it drops each connection, if any.
        wrong_start: Answer a range with another one.
        asked: The Range header of each request so far.
    """

    url: str
    content: bytes = b""
    ranges: bool = True
    break_after: int | None = None
    wrong_start: bool = False
    asked: list[str | None] = field(default_factory=list)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answers one GET."""
        wanted = request.headers.get("Range")
        self.asked.append(wanted)
        if request.path != "/pusht.zip":
            request.send_error(404)
            return
        body, status = self.content, 200
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.ranges else None
        if start is not None:
            if start >= len(self.content):
                request.send_response(416)
                request.send_header("Content-Range", f"bytes */{len(self.content)}")
                request.end_headers()
                return
            start = 0 if self.wrong_start else start
            body, status = self.content[start:], 206
        request.send_response(status)
        if status == 206:
            request.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[: self.break_after])


@pytest.fixture
def web_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A web server on this machine, in a thread of its own."""
    for name in os.environ:  # a proxy would be asked for 127.0.0.1 too
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = WebServer(f"http://127.0.0.1:{server.server_port}/pusht.zip")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        server.shutdown()
        thread.join()
