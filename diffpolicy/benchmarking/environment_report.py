"""What `diffpolicy bench env` found, for people: a few lines and tables in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from diffpolicy.benchmarking.environment import EXPECTED_SHARE, SAME, Starts, Trajectories
from diffpolicy.benchmarking.environment_speed import OURS, PEER
from diffpolicy.benchmarking.tables import ranged, table
from diffpolicy.benchmarking.timing import Comparison

_LISTED = 10


def print_starts(found: Sequence[Starts], console: Console) -> None:
    """Prints how far starts differ, one line a protocol."""
    console.print("[bold]Starts[/bold]  reset(seed) of both, largest difference of any number, px or rad")
    rows = table("protocol", "seeds", "largest", "at seed", "")
    for starts in found:
        verdict = _verdict(starts.agrees, f"at most {SAME:g}")
        rows.add_row(starts.protocol, str(starts.count), f"{starts.largest:.3g}", str(starts.worst_seed), verdict)
    console.print(rows)


def print_trajectories(found: Trajectories, console: Console) -> None:
    """Prints how many trajectories agree, and where the others part."""
    console.print(
        f"[bold]Trajectories[/bold]  {found.count} of {found.steps} steps, the agent at the block in "
        f"{found.contact_share:.0%} of them"
    )
    console.print(
        f"{found.within_share:.1%} within {SAME:g} px for their whole length ({found.identical_share:.1%} to the last "
        f"bit), largest difference {found.largest:.3g} {_verdict(found.agrees, f'at least {EXPECTED_SHARE:.0%}')}"
    )
    console.print(f"rewards differ by at most {found.largest_reward:.1g} where the states agree")
    if not found.partings:
        return
    pressed = sum(parting.agent_touched + parting.walls_touched > 1 for parting in found.partings)
    console.print(f"{len(found.partings)} part, {pressed} of them where the block touches two things or more at once:")
    rows = table("seed", "step", "apart by", "at most", "start overlaps", "block touches")
    for parting in found.partings[:_LISTED]:
        walls = {0: [], 1: ["a wall"]}.get(parting.walls_touched, [f"{parting.walls_touched} walls"])
        rows.add_row(
            str(parting.seed),
            str(parting.step),
            f"{parting.difference:.2g}",
            f"{parting.largest:.3g}",
            f"{parting.start_overlap_px:.3g} px",
            ", ".join(["agent"] * parting.agent_touched + walls) or "nothing",
        )
    console.print(rows)
    if len(found.partings) > _LISTED:
        console.print(f"and {len(found.partings) - _LISTED} more")


def print_speed(found: Sequence[Comparison], console: Console) -> None:
    """Prints medians with their 10-90% ranges: first what both have, then what is ours alone."""
    console.print("[bold]Speed[/bold]  microseconds, as gymnasium.make gives it; median (10%-90% of the rounds)")
    both = [comparison for comparison in found if OURS in comparison.times_us]
    with_peer = any(PEER in comparison.times_us for comparison in both)
    rows = table("", OURS, *([PEER, "times as fast"] if with_peer else []))
    for comparison in both:
        cells = [ranged(comparison.times_us[name]) for name in (OURS, PEER) if name in comparison.times_us]
        rows.add_row(comparison.what, *cells, *(ranged(ratio) for ratio in comparison.ratios.values()))
    console.print(rows)
    for comparison in found:
        if comparison in both:
            continue
        console.print(f"[bold]{comparison.what}[/bold]")
        rows = table("", "microseconds", "per second")
        for name, time in comparison.times_us.items():
            rows.add_row(name, ranged(time), f"{1e6 / time.median:,.0f}")
        for name, ratio in comparison.ratios.items():
            rows.add_row(name, ranged(ratio), "")
        console.print(rows)


def _verdict(agrees: bool, expected: str) -> str:
    return f"[green]as expected: {expected}[/green]" if agrees else f"[red]expected {expected}[/red]"
