"""How soon the command line is there: whole processes, beside the interpreter alone and beside what is not imported."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Final

from diffpolicy.benchmarking.timing import Comparison, Contestant, compare, seconds_per

INTERPRETER: Final = "python alone"
_COMMANDS: Final = {
    INTERPRETER: ("-c", "pass"),
    "import diffpolicy": ("-c", "import diffpolicy"),
    "diffpolicy --help": ("-m", "diffpolicy.cli", "--help"),
    "import torch": ("-c", "import torch"),
}


def compare_start_up(rounds: int, on_round: Callable[[], None] = lambda: None) -> Comparison:
    """Times processes from start to end.

    Raises:
        subprocess.CalledProcessError: One of them fails.
    """
    contestants = {name: _process(arguments) for name, arguments in _COMMANDS.items()}
    pairs = [(name, INTERPRETER) for name in _COMMANDS if name != INTERPRETER]
    what = "a process, from start to end"
    return compare(what, contestants, pairs, rounds=rounds, equal_turns=False, on_round=on_round)


def _process(arguments: tuple[str, ...]) -> Contestant:
    def run() -> None:
        subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)

    return lambda _: seconds_per(1, run)
