"""A peer that will not start, dies, hangs or answers rubbish is told in one line that names it, and is not left running."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from diffpolicy.benchmarking.peer import Peer, PeerError

Script = Callable[[str], Path]

ECHO = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"


def _answer(text: str) -> str:
    return f"import sys\nfor line in sys.stdin: print({text!r}, flush=True)"


def test_numbers_survive_exactly(script: Script, python: Path) -> None:
    values = np.random.default_rng(0).normal(size=(50, 3)) * 10.0 ** np.arange(-150, 150, 6)[:, None]
    with Peer(python, script(ECHO), hint="h") as peer:
        back = peer.ask_numbers("x", {"values": (50, 3)}, values=values.tolist())["values"]
        assert np.array_equal(back, values)
        assert peer.ask("again", word="ä")["word"] == "ä"


def test_our_search_path_is_kept_from_it(script: Script, python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/ours")
    folder = script("import json, sys\nfor line in sys.stdin: print(json.dumps({'path': sys.path}), flush=True)")
    with Peer(python, folder, hint="h") as peer:
        assert not {"/ours", str(folder.parent)} & set(peer.ask("x")["path"])


FAILURES: dict[str, tuple[str, list[str]]] = {
    "dies at once": ("import gym_pusht_that_is_not_there", ["ended with code 1", "ModuleNotFoundError"]),
    "dies when asked": ("import sys\nsys.stdin.readline()\nsys.exit('out of luck')", ["code 1", "out of luck"]),
    "dies silently": ("import sys\nsys.stdin.readline()\nsys.exit(3)", ["code 3", "it said nothing"]),
    "is killed": ("import os, sys\nsys.stdin.readline()\nos.kill(os.getpid(), 9)", ["code -9"]),
    "half a line": ("import sys\nsys.stdin.readline()\nsys.stdout.write('{}')", ["ended with code 0"]),
    "not JSON": (_answer("Hello from the community."), ["'Hello from the community.'", "JSON object"]),
    "not an object": (_answer("[1]"), ["'[1]'", "JSON object"]),
    "missing": (_answer('{"b": 1}'), ["a = None", "finite numbers of shape (2,)"]),
    "another shape": (_answer('{"a": [1, 2, 3]}'), ["a = [1, 2, 3]", "shape (2,)"]),
    "ragged": (_answer('{"a": [[1], [2, 3]]}'), ["[[1], [2, 3]]"]),
    "not finite": (_answer('{"a": [1, NaN]}'), ["nan"]),
    "words": (_answer('{"a": ["x", "y"]}'), ["['x', 'y']"]),
}


@pytest.mark.parametrize(("body", "places"), FAILURES.values(), ids=FAILURES)
def test_failures(body: str, places: list[str], script: Script, python: Path) -> None:
    with Peer(python, script(body), hint="do this") as peer, pytest.raises(PeerError) as failure:
        peer.ask_numbers("x", {"a": (2,)})
    said = str(failure.value)
    assert "\n" not in said
    assert [place for place in [str(python), "'x'", "do this", *places] if place not in said] == []


@pytest.mark.parametrize("size", [1, 1_000_000], ids=["waiting to read", "waiting to write"])
def test_a_peer_that_hangs(size: int, script: Script, python: Path) -> None:
    """A long request fills the pipe of a peer that does not listen; that wait must end too."""
    began = time.monotonic()
    with (
        Peer(python, script("import time\ntime.sleep(100)"), hint="do this", timeout_s=0.5) as peer,
        pytest.raises(PeerError, match=r"no answer to 'x' within 0.5 s; do this"),
    ):
        peer.ask("x", padding="." * size)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("python", [Path("/nowhere/python"), Path("/")])
def test_no_python(python: Path, script: Script) -> None:
    with pytest.raises(PeerError, match=rf"{python}: cannot be started .*; do this"):
        Peer(python, script(ECHO), hint="do this")


def test_nothing_is_left_running(script: Script, python: Path) -> None:
    with Peer(
        python, script("import os\nprint('{\"pid\": %d}' % os.getpid(), flush=True)\nwhile True: pass"), hint=""
    ) as peer:
        pid = peer.ask("x")["pid"]
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    peer.close()
