"""What `diffpolicy bench train` found, for people: a few lines and tables in the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console

from diffpolicy.benchmarking.tables import number, ranged, share, short, table
from diffpolicy.benchmarking.training_speed import OURS, PLAIN, PRODUCTS, UPDATE, Compiled, Steps


def print_steps(found: Steps, console: Console) -> None:
    """Prints times, and what share of the machine's limits they reach."""
    times, ratios = found.comparison.times_us, found.comparison.ratios
    console.print(
        f"\n[bold]{found.network}[/bold]  {found.experiment} on the bundled set: {short(found.parameters)}weights; "
        f"a batch of {found.batch} takes {short(found.flops)}FLOP and {short(found.n_bytes)}B"
    )
    rows = table("a step; median (10%-90% of the rounds)", "milliseconds", "a second")
    for name in (OURS, PLAIN, PRODUCTS):
        rows.add_row(name, ranged(times[name], 1e3), f"{short(found.flops / times[name].median * 1e6)}FLOP")
    rows.add_row(UPDATE, ranged(times[UPDATE], 1e3), f"{short(found.n_bytes / times[UPDATE].median * 1e6)}B")
    console.print(rows)
    console.print(f"{ranged(ratios[f'{PLAIN} / {OURS}'])} times as fast as {PLAIN}")
    console.print(
        f"{share(ratios[f'{PRODUCTS} / {OURS}'])} of the machine's {found.precision} matrix rate; the update's bytes alone "
        f"would take {share(ratios[f'{UPDATE} / {OURS}'])} of the step"
    )


def print_parts(found: Mapping[str, float], console: Console) -> None:
    """Prints where a step's time goes."""
    total = sum(found.values())
    rows = table("part of a step", "milliseconds", "share")
    for name, took_us in found.items():
        rows.add_row(name, number(took_us / 1e3), f"{took_us / total:.0%}")
    console.print(rows)


def print_compiled(found: Compiled, console: Console) -> None:
    """Prints after how many steps a compilation has paid."""
    times = found.comparison.times_us
    both = ", ".join(f"{name} {ranged(time, 1e3)} ms" for name, time in times.items())
    pays = f"pays after {found.break_even_steps:,.0f} steps" if found.break_even_steps else "never pays"
    console.print(f"torch.compile: {found.compile_s:.1f} s; {both}; {pays}")
