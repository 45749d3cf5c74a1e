"""The doctor's findings as a page: what was found, where it lies in the record, and how the episodes replay."""

from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from diffpolicy_demos.doctor.findings import KINDS, SEVERITIES, Diagnosis, Finding
from diffpolicy_demos.doctor.replay import REPLAYS_PX
from diffpolicy_demos.doctor.text import drift_text, grouped, place_text, verdict
from diffpolicy_demos.pages.charts import chart, histogram
from diffpolicy_demos.pages.page import (
    ACCENT,
    ERROR,
    MUTED,
    NOTE,
    SECOND,
    WARNING,
    escape,
    grid,
    page,
    section,
    table,
    tiles,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {"error": ERROR, "warning": WARNING, "note": NOTE}
_LEAST_PX = 1e-6  # drifts below are drawn here, for an exact replay has no logarithm


def doctor_page(diagnosis: Diagnosis) -> str:
    """The page, as HTML."""
    d = diagnosis
    name = d.path.rstrip("/").rpartition("/")[2]
    world = f"{d.world} · " if d.world else ""
    head = (
        f'<h1>{escape(name)}</h1><p class="muted">{escape(world)}{escape(d.path)}<br>'
        f"Doctor's findings: {escape(verdict(d))}.</p>"
    )
    counts = [(len(d.of(severity)), f"{severity}s", severity if d.of(severity) else "good") for severity in SEVERITIES]
    numbers = [(len(d.lengths), "episodes", ""), (sum(d.lengths.values()), "steps", ""), *counts]
    return page(f"doctor: {name}", [head, tiles(numbers), grid(_sections(d)), _footer(d)])


def _sections(diagnosis: Diagnosis) -> list[str]:
    d, sections = diagnosis, [section("Findings", _findings_table(diagnosis))]
    placed = [finding for finding in d.findings if finding.episodes]
    if placed:
        about = "Each dot is a finding, at its episode."
        sections.append(section("Where they are", _map(placed, d), about=about))
    if d.drifts:
        sections.append(
            section("How the episodes replay", _drift_chart(d), about=drift_text(d).removeprefix("replay: "))
        )
        open_loop = [max(drift.drift_px, _LEAST_PX) for drift in d.drifts]
        one_step = [drift.one_step_px for drift in d.drifts]
        sections += [
            section(
                "Open-loop drift",
                histogram(open_loop, "largest drift of an episode, px", "drift", log=True),
                about="Recorded actions, played from the first state without looking.",
                width="half",
            ),
            section(
                "One step at a time",
                histogram(one_step, "largest error of an episode, px", "one-step"),
                about="Up to a px is honest: the engine remembers contacts, which a recorded state does not hold.",
                width="half",
            ),
        ]
    if d.lengths:
        sections.append(
            section("Lengths", histogram(d.lengths.values(), "steps of an episode", "lengths"), width="half")
        )
    sections.append(section("What was checked", _checked(d), width="half"))
    return sections


def _findings_table(diagnosis: Diagnosis) -> str:
    if not diagnosis.findings:
        return '<p class="good">Nothing to complain of.</p>'
    return table(("", "what", "where and how much", "what to do"), map(_row, grouped(diagnosis.findings)))


def _row(findings: list[Finding]) -> list[str]:
    severity, kind = findings[0].severity, KINDS[findings[0].kind]
    episodes = {episode for finding in findings for episode in finding.episodes[-1:]}
    count = (
        f'<br><span class="muted">{len(episodes)} episode{"s" if len(episodes) > 1 else ""}</span>' if episodes else ""
    )
    words = [_words(finding) for finding in findings]
    rest = "".join(f"<li>{line}</li>" for line in words[1:])
    more = f"<details><summary>{len(words) - 1} more</summary><ul>{rest}</ul></details>" if rest else ""
    badge = f'<span class="badge {severity}">{severity}</span>'
    return [badge, f"<b>{escape(kind.title)}</b>{count}", words[0] + more, escape(kind.advice)]


def _words(finding: Finding) -> str:
    place = place_text(finding)
    return escape(f"{place}: {finding.found}" if place else finding.found)


def _map(findings: list[Finding], diagnosis: Diagnosis) -> str:
    kinds = [kind for kind, _ in groupby(sorted((one.kind for one in findings), key=list(KINDS).index))]

    def draw(axes: "Axes") -> None:
        for severity, colour in reversed(_COLOURS.items()):  # errors above the rest
            dots = [(one.episodes[-1], kinds.index(one.kind)) for one in findings if one.severity == severity]
            if dots:
                episodes, rows = np.array(dots).T
                axes.scatter(episodes, rows, s=34, color=colour, linewidths=0, alpha=0.85, label=severity)
        axes.set_yticks(range(len(kinds)), [KINDS[kind].title for kind in kinds])
        axes.set_ylim(len(kinds) - 0.5, -0.5)
        last = max([*diagnosis.lengths, *(one.episodes[-1] for one in findings)])
        axes.set_xlim(-0.02 * last - 1, 1.02 * last + 1)
        axes.set_xlabel("episode")
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, handletextpad=0.1, borderpad=0)

    return chart(1100, 90 + 30 * len(kinds), draw, "findings by episode")


def _drift_chart(diagnosis: Diagnosis) -> str:
    episodes = np.array([drift.episode for drift in diagnosis.drifts])
    open_loop = np.maximum([drift.drift_px for drift in diagnosis.drifts], _LEAST_PX)
    one_step = np.maximum([drift.one_step_px for drift in diagnosis.drifts], _LEAST_PX)

    def draw(axes: "Axes") -> None:
        axes.set_yscale("log")
        axes.axhline(REPLAYS_PX, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        axes.text(episodes.max() + 0.5, REPLAYS_PX * 1.15, f"{REPLAYS_PX:g} px", color=MUTED, ha="right", va="bottom")
        axes.scatter(episodes, one_step, s=16, color=SECOND, linewidths=0, alpha=0.55, label="one step at a time")
        far = open_loop > REPLAYS_PX
        axes.vlines(episodes[far], REPLAYS_PX, open_loop[far], color=ACCENT, linewidth=1, alpha=0.6)
        axes.scatter(episodes, open_loop, s=24, color=ACCENT, linewidths=0, label="open loop")
        axes.set_xlim(episodes.min() - 2, episodes.max() + 2)
        axes.set_xlabel("episode")
        axes.set_ylabel("largest difference from the record, px")
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, handletextpad=0.1, borderpad=0)

    return chart(1100, 340, draw, "drift by episode")


def _checked(diagnosis: Diagnosis) -> str:
    items = "".join(f"<li>{escape(what)}</li>" for what in diagnosis.checked)
    left_out = "".join(f"<li>{escape(what)}</li>" for what in diagnosis.not_checked)
    return f"<ul>{items}</ul>" + (
        f'<p class="muted">Not checked:</p><ul class="muted">{left_out}</ul>' if left_out else ""
    )


def _footer(diagnosis: Diagnosis) -> str:
    return f"<footer>Made by <code>diffpolicy demos doctor</code> from {escape(diagnosis.path)}.</footer>"
