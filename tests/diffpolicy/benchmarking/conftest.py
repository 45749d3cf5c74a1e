"""What tests of the benchmarks share: peers made of a few lines, run by this Python, so that nothing is installed."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], Path]:
    """A function that writes what a peer runs and returns its path."""

    def write(body: str) -> Path:
        path = tmp_path / "script.py"
        path.write_text(body)
        return path

    return write


@pytest.fixture
def python() -> Path:
    return Path(sys.executable)
