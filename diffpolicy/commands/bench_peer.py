"""The Python that has gym-pusht: the user's own, or one that this makes once and keeps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from diffpolicy.benchmarking import peer_gym_pusht
from diffpolicy.benchmarking.peer import Peer
from diffpolicy.benchmarking.peer_environment import make_environment, peers_folder, ready_python
from diffpolicy.errors import ConfigError

# pymunk decides what the physics computes; the rest is as pip resolves it.
GYM_PUSHT_REQUIREMENTS = ("gym-pusht==0.1.8", "pymunk==6.11.1")

PeerPython = Annotated[Path | None, tyro.conf.arg(metavar="PYTHON", help_behavior_hint="(default: made here)")]


def gym_pusht_folder() -> Path:
    """Where the environment that has gym-pusht is kept."""
    return peers_folder() / "gym-pusht-0.1.8"


@contextlib.contextmanager
def gym_pusht(python: Path | None, *, left_out: bool) -> Iterator[Peer | None]:
    """Starts gym-pusht's Python, after installing it where there is none.

    Args:
        python: The user's own, or None for the one made here.
        left_out: Whether the peer does not take part; then there is none, and nothing is installed.

    Raises:
        ConfigError: Left out, and yet named.
        PeerError: It cannot be made or started.
    """
    if left_out:
        if python is not None:
            raise ConfigError("--no-peer and --peer exclude each other; give one of them")
        yield None
        return
    chosen = _made_python() if python is None else python.expanduser()
    hint = f"is gym-pusht there? {chosen} -m pip install {' '.join(GYM_PUSHT_REQUIREMENTS)}"
    with Peer(chosen, Path(peer_gym_pusht.__file__), hint=hint) as peer:
        yield peer


def _made_python() -> Path:
    folder = gym_pusht_folder()
    python = ready_python(folder, GYM_PUSHT_REQUIREMENTS)
    if python is None:
        # On stderr, where progress goes: what the command prints can be piped.
        said = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
        said.print(f"installing {' '.join(GYM_PUSHT_REQUIREMENTS)} (about 360 MB) into {folder}; this happens once")
        with said.status("installing"):
            python = make_environment(folder, GYM_PUSHT_REQUIREMENTS)
    return python
