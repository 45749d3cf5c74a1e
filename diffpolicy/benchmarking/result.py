"""Results as files: one JSON object, whole or not at all, so that a broken run never looks like a measured one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffpolicy.errors import ConfigError


def prepare_result(path: Path) -> None:
    """Makes the folder of a result, before the work rather than after it.

    Raises:
        ConfigError: If the path is a folder.
        OSError: If the folder cannot be made.
    """
    if path.is_dir():
        raise ConfigError(f"--out {path}: a folder; expected a file to write, such as {path / 'result.json'}")
    path.parent.mkdir(parents=True, exist_ok=True)


def write_result(result: Mapping[str, Any], path: Path) -> None:
    """Writes a result over whatever was there.

    Raises:
        OSError: If it cannot be written; what was there stays.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
