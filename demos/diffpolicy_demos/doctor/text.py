"""The doctor's findings for a terminal: grouped and short, the worst of each kind first."""

from collections.abc import Iterable

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from diffpolicy_demos.doctor.findings import KINDS, SEVERITIES, Diagnosis, Finding, Severity, steps_text
from diffpolicy_demos.doctor.repair import Repair
from diffpolicy_demos.doctor.replay import REPLAYS_PX

_COLOURS: dict[Severity, str] = {"error": "red", "warning": "yellow", "note": "cyan"}
_SHOWN = 3  # findings of a kind; the rest is counted, and listed by --json and --html


def print_diagnosis(diagnosis: Diagnosis, console: Console) -> None:
    """Prints the verdict, then the findings by kind, then how the episodes replay."""
    d = diagnosis
    world = f"{d.world}, " if d.world else ""
    console.print(f"[bold]{escape(d.path)}[/bold]", highlight=False, soft_wrap=True)
    console.print(f"{world}{len(d.lengths)} episodes, {sum(d.lengths.values())} steps; {verdict(d)}", highlight=False)
    for findings in grouped(d.findings):
        _print_group(findings, console)
    if d.drifts:
        console.print()
        console.print(drift_text(d), highlight=False, soft_wrap=True)
    console.print(f"checked: {', '.join(d.checked)}", style="dim", highlight=False)
    for left_out in d.not_checked:
        console.print(f"not checked: {escape(left_out)}", style="dim", highlight=False)


def verdict(diagnosis: Diagnosis) -> str:
    """How many findings of each severity, in words."""
    counts = {severity: len(diagnosis.of(severity)) for severity in SEVERITIES}
    if not any(counts.values()):
        return "nothing to complain of"
    return ", ".join(f"{count or 'no'} {severity}{'' if count == 1 else 's'}" for severity, count in counts.items())


def grouped(findings: Iterable[Finding]) -> list[list[Finding]]:
    """Findings of one kind and severity together, in the order in which they first come."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.severity, finding.kind), []).append(finding)
    return [sorted(group, key=lambda one: -(one.amount or 0.0)) for group in groups.values()]


def place_text(finding: Finding) -> str:
    """Episode and steps of a finding, in words; empty where it concerns the whole store."""
    if not finding.episodes:
        return ""
    episodes = f"episode {' and '.join(map(str, finding.episodes))}"
    if not finding.steps:
        return episodes
    one = len(finding.steps) == 1 and finding.steps[0][0] == finding.steps[0][1]
    return f"{episodes}, step{'' if one else 's'} {steps_text(finding.steps)}"


def drift_text(diagnosis: Diagnosis) -> str:
    """One line on how the episodes replay."""
    open_loop = np.array([drift.drift_px for drift in diagnosis.drifts])
    one_step = np.array([drift.one_step_px for drift in diagnosis.drifts])
    worst, worst_step = diagnosis.drifts[int(open_loop.argmax())], diagnosis.drifts[int(one_step.argmax())]
    return (
        f"replay: {(open_loop <= REPLAYS_PX).sum()} of {len(open_loop)} episodes within {REPLAYS_PX:g} px open loop, "
        f"worst {worst.drift_px:.3g} px (episode {worst.episode}); "
        f"one step at a time worst {worst_step.one_step_px:.3g} px (episode {worst_step.episode})"
    )


def print_repair(repair: Repair, console: Console) -> None:
    """Prints what became of the episodes; those that were copied as they were are counted."""
    changed = [one for one in repair.treatments if one.done]
    kept = len(repair.treatments) - len(changed)
    episodes = sum(len(one.becomes) for one in repair.treatments)
    console.print()
    console.print(f"[bold]{escape(repair.path)}[/bold]", highlight=False, soft_wrap=True)
    console.print(f"{episodes} episodes; {kept} copied as they are, {len(changed)} treated", highlight=False)
    for one in changed:
        into = f" -> {', '.join(map(str, one.becomes))}" if one.becomes else ""
        console.print(f"  episode {one.episode}{into}: {escape('; '.join(one.done))}", highlight=False)
    for said in repair.left_out:
        console.print(f"  left out: {escape(said)}", highlight=False)


def _print_group(findings: list[Finding], console: Console) -> None:
    kind, severity = KINDS[findings[0].kind], findings[0].severity
    episodes = {episode for finding in findings for episode in finding.episodes[-1:]}
    count = f", {len(episodes)} episode{'s' if len(episodes) > 1 else ''}" if episodes else ""
    steps = sum(last - first + 1 for finding in findings for first, last in finding.steps)
    count += f", {steps} step{'s' if steps > 1 else ''}" if steps else ""
    console.print()
    console.print(f"[{_COLOURS[severity]}]{severity}[/]  [bold]{escape(kind.title)}[/bold]{count}", highlight=False)
    for finding in findings[:_SHOWN]:
        place = place_text(finding)
        console.print(
            Padding(escape(f"{place}: {finding.found}" if place else finding.found), (0, 0, 0, 2), expand=False)
        )
    if len(findings) > _SHOWN:
        console.print(f"  and {len(findings) - _SHOWN} more", highlight=False)
    console.print(Padding(f"[dim]{escape(kind.advice)}[/dim]", (0, 0, 0, 2), expand=False))
