"""What `diffpolicy bench sample` found, for people: a few lines and tables in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from diffpolicy.benchmarking.sampling_speed import OURS, PLAIN, PRODUCTS, WEIGHTS, Latency, Plans
from diffpolicy.benchmarking.scaling_report import print_scaling
from diffpolicy.benchmarking.tables import number, ranged, share, short, table
from diffpolicy.benchmarking.timing import Comparison

__all__ = ["print_latency", "print_plans", "print_scaling", "print_start"]


def print_plans(found: Sequence[Plans], console: Console) -> None:
    """Prints times, and what share of the machine's limits they reach."""
    console.print("[bold]Plans[/bold]  milliseconds a call; median (10%-90% of the rounds)")
    rows = table("sampler, plans", "ours", "plain loop", "times as fast", "matrix rate", "copy rate")
    for plans in found:
        times, ratios = plans.comparison.times_us, plans.comparison.ratios
        rows.add_row(
            f"{plans.sampler}, {plans.rows}",
            ranged(times[OURS], 1e3),
            ranged(times[PLAIN], 1e3),
            ranged(ratios[f"{PLAIN} / {OURS}"]),
            share(ratios[f"{PRODUCTS} / {OURS}"]),
            share(ratios[f"{WEIGHTS} / {OURS}"]),
        )
    console.print(rows)
    for plans in found:
        console.print(
            f"{plans.comparison.what}: {short(plans.flops)}FLOP, {short(plans.n_bytes)}B of weights; the two ways' plans "
            f"differ by {plans.difference:.1g} of half an action's range"
        )


def print_latency(found: Latency, console: Console) -> None:
    """Prints percentiles beside the time between two actions."""
    console.print(
        f"[bold]Latency[/bold]  {found.plans} single plans: median {number(found.median_ms)} ms, 99% within "
        f"{number(found.percentile_99_ms)} ms, all within {number(found.longest_ms)} ms; a robot acts every "
        f"{number(found.period_ms)} ms"
    )


def print_start(found: Comparison, console: Console) -> None:
    """Prints how long whole processes take."""
    console.print("[bold]Start[/bold]  milliseconds of a whole process; median (10%-90% of the rounds)")
    rows = table("", "milliseconds")
    for name, time in found.times_us.items():
        rows.add_row(name, ranged(time, 1e3))
    console.print(rows)
