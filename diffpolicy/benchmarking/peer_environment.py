"""Virtual environments for peers whose requirements contradict ours, made once and kept in the user's cache.

Nothing is installed unless a user runs a benchmark that needs it. The last thing written is a file that names what was
installed: without it, or with other names in it, an environment counts as half-made and is made anew.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from diffpolicy.benchmarking.peer import PeerError

_MARKER = "installed.json"


def peers_folder() -> Path:
    """Where the environments of peers are kept: `diffpolicy/peers` in the user's cache (`$XDG_CACHE_HOME`)."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "diffpolicy" / "peers"


def ready_python(folder: Path, requirements: Sequence[str]) -> Path | None:
    """Returns the interpreter of an environment that was made whole with these requirements, or None."""
    python = _python(folder)
    try:
        installed = json.loads((folder / _MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return python if installed == list(requirements) and python.exists() else None


def make_environment(folder: Path, requirements: Sequence[str]) -> Path:
    """Makes a virtual environment with this Python and installs into it.

    Args:
        folder: Where; whatever is there is replaced.
        requirements: What to install, as for pip.

    Returns:
        The environment's interpreter.

    Raises:
        PeerError: If it cannot be made or filled; the folder is then gone.
    """
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        _run([sys.executable, "-m", "venv", str(folder)], folder)
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
        _run([str(_python(folder)), *install, *requirements], folder)
        (folder / _MARKER).write_text(json.dumps(list(requirements)), encoding="utf-8")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return _python(folder)


def _run(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        # pip explains itself in its last line that starts so; what follows is advice.
        errors = [line for line in said if line.startswith("ERROR")] or said or ["no reason was given"]
        raise PeerError(
            f"{folder}: could not be made ({errors[-1]}); check the network, or make an environment yourself "
            "and name its Python with --peer, or measure without one with --no-peer"
        )


def _python(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
