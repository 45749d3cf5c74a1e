"""What tests of the command line share: an experiment in a file, and a way to be told off."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands write into the current folder unless told otherwise; nothing outside the test's own is touched."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIFFPOLICY_DATA", str(tmp_path / "own-data"))
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def experiment(tmp_path: Path, make_store: Callable[..., Path], tiny_plain: Any) -> Callable[..., str]:
    """A function that writes a tiny experiment over a small store and returns the YAML file's path."""

    def write(**changes: Any) -> str:
        if "data" not in changes:
            changes["data"] = {"path": str(tmp_path / "demos.zarr")}
            if not (tmp_path / "demos.zarr").exists():
                make_store()
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump(tiny_plain(**changes)))
        return os.fspath(path)

    return write
