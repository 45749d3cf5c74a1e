"""What every benchmark does around its measuring: arguments they share, a progress bar, and the result on disk."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from diffpolicy.benchmarking.machine import describe_machine, describe_versions
from diffpolicy.benchmarking.result import prepare_result, write_result
from diffpolicy.errors import ConfigError

Flag = Annotated[tyro.conf.UseCounterAction[int], tyro.conf.arg(help_behavior_hint="(default: off)")]
Out = Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="(default: none)")]


@contextlib.contextmanager
def measuring(
    benchmark: str, *packages: str, rounds: int, quick: bool, out: Path | None
) -> Iterator[tuple[dict[str, Any], Console]]:
    """Checks what all benchmarks share, hands out the result to fill and where to print, and writes the result.

    Args:
        benchmark: What the result is called.
        packages: Whose versions belong to it.
        rounds: As asked for.
        quick: Whether this is to see that it runs, not to be quoted; the result says so.
        out: Where to write; None: nowhere.

    Raises:
        ConfigError: No rounds, or a folder in place of a file to write.
        OSError: No space or no permission.
    """
    if rounds < 1:
        raise ConfigError(f"--rounds is {rounds}; expected at least 1")
    if out is not None:
        prepare_result(out)
    console = Console(highlight=False, soft_wrap=True)
    result: dict[str, Any] = {"benchmark": benchmark, "quick": quick, "machine": describe_machine()}
    result["versions"] = describe_versions("diffpolicy", *packages)
    yield result, console
    if out is not None:
        write_result(result, out)
        console.print(f"written: {out}", markup=False)


def progress_bar() -> Progress:
    """A bar on stderr, so that what the command prints can be piped; none where nobody would see it move."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


@contextlib.contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar that whoever measures moves on."""
    with progress_bar() as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)
