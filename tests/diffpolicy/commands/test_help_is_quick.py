"""`diffpolicy --help` is there at once, for it needs no torch; unknown commands are corrected; each explains itself."""

import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from diffpolicy import __version__
from diffpolicy.cli import COMMANDS, main

_HEAVY = ("torch", "diffusers", "accelerate", "zarr", "gymnasium", "matplotlib", "pydantic")


def _run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"], ["help"], ["--version"]])
def test_help_imports_nothing_heavy(argv: list[str]) -> None:
    done = _run(
        "import sys; sys.argv[1:] = " + repr(argv) + "\n"
        "from diffpolicy.cli import main; main()\n"
        f"print('imported:', sorted(set(sys.modules) & {set(_HEAVY)!r}))"
    )
    assert done.stdout.splitlines()[-1] == "imported: []"
    assert done.stderr == ""


def test_help_takes_less_than_a_second() -> None:
    # The best of a few, since other work on the machine is not ours; a torch import alone would take longer.
    took = []
    for _ in range(5):
        began = time.perf_counter()
        _run("from diffpolicy.cli import main; main(['--help'])")
        took.append(time.perf_counter() - began)
    assert min(took) < 1.0


def test_the_console_script_is_this_one() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "diffpolicy.cli", "--help"], capture_output=True, text=True, check=True
    )
    assert all(f"\n  {name}" in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [name, "inspect", "--help"] if name == "demos" else [name, "--help"]
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 0
    said = capsys.readouterr()
    assert "diffpolicy" in said.out
    assert "For example" in said.out
    assert said.err == ""


def test_an_unknown_command_is_corrected(complaint: Callable[..., str]) -> None:
    assert "did you mean 'train'?" in complaint("trian")
    assert "demo, train, eval" in complaint("qqqq")


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--version"])
    assert capsys.readouterr().out == f"diffpolicy {__version__}\n"
