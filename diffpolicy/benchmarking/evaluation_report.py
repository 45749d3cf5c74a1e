"""What `diffpolicy bench eval` found, for people: scores, times, and how they grow."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from diffpolicy.benchmarking.evaluation_speed import OURS, PEER, Evaluations, Growth
from diffpolicy.benchmarking.tables import ranged, short, table


def print_comparison(found: Evaluations, console: Console) -> None:
    """Prints what both reached and took, and what the parts of ours take alone."""
    times, ratios = found.comparison.times_us, found.comparison.ratios
    console.print(
        f"[bold]Evaluation[/bold]  {found.episodes} episodes in {found.lanes} lanes, {found.workers} of our workers: "
        f"{found.steps:,} steps, {found.plans:,} plans, {short(found.flops)}FLOP in them"
    )
    rows = table("median (10%-90% of the rounds)", "seconds", "episodes a second")
    for name, time in times.items():
        rows.add_row(name, ranged(time, 1e6 / found.episodes), f"{1e6 / time.median:.1f}")
    console.print(rows)
    for name, score in found.scores.items():
        low, high = score["mean_score_interval_95"]
        success_low, success_high = score["success_interval_95"]
        console.print(
            f"{name}: mean score {score['mean_score']:.3f} ({low:.3f}-{high:.3f}), success {score['success_rate']:.1%} "
            f"({success_low:.1%}-{success_high:.1%}); 95% intervals"
        )
    if found.same_episodes is not None:
        console.print(f"{found.same_episodes} of {found.episodes} episodes end at the same step with the same score")
        console.print(f"{ranged(ratios[f'{PEER} / {OURS}'])} times as fast as {PEER}")


def print_growth(found: Sequence[Growth], console: Console) -> None:
    """Prints seconds of whole evaluations."""
    console.print("[bold]Against episodes[/bold]  seconds; median (10%-90% of the rounds)")
    rows = table("episodes", *(f"{growth.workers} worker{'s' * (growth.workers > 1)}" for growth in found))
    for episodes in found[0].times_us:
        rows.add_row(str(episodes), *(ranged(growth.times_us[episodes], 1e6) for growth in found))
    console.print(rows)
