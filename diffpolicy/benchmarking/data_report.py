"""What `diffpolicy bench data` found, for people: a table for each store and each set of observations."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from diffpolicy.benchmarking.data_speed import COPY, MEMORY, STORE, ZARR, Reading
from diffpolicy.benchmarking.tables import ranged, short, table
from diffpolicy.benchmarking.timing import Spread


def print_legend(console: Console) -> None:
    """Prints what the names in the tables stand for."""
    console.print(
        "[bold]Random windows[/bold]  2 observations and 16 actions each, median (10%-90% of the rounds); in turns:\n"
        f"{MEMORY}: gathered in batches of 256 as training does; DataLoader: PyTorch's, one window an item; {STORE} and\n"
        f"{ZARR}: from disk, one window at a time; {COPY}: as many bytes, for what the machine could do"
    )


def print_reading(reading: Reading, console: Console) -> None:
    """Prints how many windows and bytes a second came from where, and how they compare."""
    console.print(
        f"\n[bold]{escape(reading.store)}: {escape(', '.join(reading.keys))}[/bold]  {reading.windows:,} windows of "
        f"{short(reading.window_bytes)}B, {reading.episodes} episodes in memory"
    )
    rows = table("", "windows/s", "bytes/s", f"its time / {MEMORY}'s")
    for name, time in reading.comparison.times_us.items():
        ratio = reading.comparison.ratios.get(f"{name} / {MEMORY}")
        rate = "" if name == COPY else _rate(time)
        rows.add_row(name, rate, f"{short(reading.bytes_per_s(name))}B", "" if ratio is None else ranged(ratio))
    console.print(rows)
    through_store = reading.comparison.ratios[f"{STORE} / {ZARR}"]
    console.print(f"{STORE} takes {ranged(through_store)} times as long as {ZARR}")
    for name, why in reading.left_out.items():
        console.print(f"{name}: left out, {escape(why)}")


def _rate(time_us: Spread) -> str:
    """Windows a second; the longest times are the lowest rates."""
    median, low, high = (short(1e6 / time).rstrip() for time in (time_us.median, time_us.high, time_us.low))
    return f"{median} ({low}-{high})"
