"""How times grow, for people: a table for each size that was varied."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from diffpolicy.benchmarking.scaling import Scaling
from diffpolicy.benchmarking.tables import number, ranged, table


def print_scaling(found: Sequence[Scaling], console: Console) -> None:
    """Prints milliseconds against sizes, and the floor under them."""
    for scaling in found:
        names = list(scaling.points[0].times_us)
        console.print(f"[bold]Against {scaling.against}[/bold]  milliseconds; median (10%-90% of the rounds)")
        rows = table(scaling.against, *names, "floor")
        for point in scaling.points:
            times = (ranged(point.times_us[name], 1e3) for name in names)
            rows.add_row(str(point.size), *times, number(point.floor_us / 1e3))
        console.print(rows)
