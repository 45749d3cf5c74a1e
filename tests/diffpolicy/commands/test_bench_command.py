"""`diffpolicy bench` names its benchmarks, explains each without torch, and refuses in one line what all of them refuse."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from diffpolicy.cli import main

BENCHMARKS = ("env", "data", "train", "sample", "eval")

Complaint = Callable[..., str]


def test_help_names_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["bench", "--help"])
    said = capsys.readouterr().out
    assert [name for name in BENCHMARKS if f"\n  {name} " not in said] == []


@pytest.mark.parametrize("name", BENCHMARKS)
def test_each_explains_itself_without_torch(name: str) -> None:
    code = (
        "import sys; from diffpolicy.cli import main\n"
        f"try: main(['bench', {name!r}, '--help'])\n"
        "finally: print('imported:', sorted(set(sys.modules) & {'torch', 'diffusers', 'accelerate', 'matplotlib'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    assert "For example:" in done.stdout
    assert done.stdout.splitlines()[-1] == "imported: []"


MISTAKES: dict[str, tuple[list[str], list[str]]] = {
    "no rounds": (["--rounds", "0"], ["--rounds is 0", "at least 1"]),
    "out is a folder": (["--out", "."], ["--out .", "a folder"]),
    "no such option": (["--round", "3"], ["--round", "did you mean --rounds"]),
}


@pytest.mark.parametrize("name", BENCHMARKS)
@pytest.mark.parametrize(("argv", "places"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_that_all_refuse(name: str, argv: list[str], places: list[str], complaint: Complaint) -> None:
    said = complaint("bench", name, *argv)
    assert [place for place in places if place not in said] == []
    assert list(Path.cwd().iterdir()) == [], "nothing is left behind"


def test_no_such_benchmark(complaint: Complaint) -> None:
    assert "did you mean 'env'?" in complaint("bench", "enf")
    assert "a command is missing" in complaint("bench")


@pytest.mark.parametrize("name", ["train", "sample", "eval"])
def test_a_device_that_is_not_there(name: str, complaint: Complaint) -> None:
    peer = ["--no-peer"] if name == "eval" else []
    assert "device 'abacus': not on this machine" in complaint("bench", name, "--device", "abacus", *peer)


@pytest.mark.parametrize("name", ["sample", "eval"])
def test_a_checkpoint_that_is_not_there(name: str, complaint: Complaint) -> None:
    peer = ["--no-peer"] if name == "eval" else []
    assert "did you mean 'pusht-state'?" in complaint("bench", name, "pusht-stat", *peer)
