"""How a run is told to stop: Ctrl-C or SIGTERM, after the step in progress, at the same step in every process."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator


def agreed(accelerator: Accelerator, stop: bool) -> bool:
    """Whether any process was told to stop: all must leave the loop at the same step."""
    if accelerator.num_processes == 1:
        return stop
    return bool(accelerator.reduce(torch.tensor(int(stop), device=accelerator.device)).item())


@contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Let the step in progress finish on Ctrl-C or SIGTERM; a second Ctrl-C stops at once."""
    caught: list[int] = []

    def note(number: int, _frame: object) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)
        print("stopping after what is in progress; press again to stop now", file=sys.stderr)

    try:
        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread, where Python allows no handlers
        before = {}
    try:
        yield lambda: bool(caught)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
