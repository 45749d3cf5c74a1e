"""Numbers and tables as all reports print them."""

from __future__ import annotations

from rich.table import Table

from diffpolicy.benchmarking.timing import Spread


def table(*columns: str) -> Table:
    """An empty table without lines."""
    return Table(*columns, box=None, header_style="bold", pad_edge=False)


def number(value: float) -> str:
    """Three digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def ranged(spread: Spread, unit: float = 1.0) -> str:
    """The median and, in brackets, the 10-90% range, in multiples of a unit."""
    return f"{number(spread.median / unit)} ({number(spread.low / unit)}-{number(spread.high / unit)})"


def share(spread: Spread) -> str:
    """A ratio as a percentage with its range."""
    return f"{spread.median:.0%} ({spread.low * 100:.0f}-{spread.high * 100:.0f})"


def short(count: int | float) -> str:
    """Three digits and a prefix, with the space that separates a unit."""
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{number(count / size)} {prefix}"
    return f"{number(float(count))} "
