"""One observation under several policies, samplers or step counts: a grid of what each of them plans there."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.artist import Artist

from diffpolicy.visualization.checks import Number, checked_executed, checked_numbers
from diffpolicy.visualization.density import spread_px
from diffpolicy.visualization.modes import modes
from diffpolicy.visualization.plans import FADE, Backdrop, PlanPanel, draw_time_bar
from diffpolicy.visualization.style import INK, MUTED, Page

MOST_CASES = 6
_SIDE = 330.0
_BAND = _SIDE * FADE / (1 + 2 * FADE)
# Above and below the world of a panel, left of a row, and what the title and the colour bar need.
_HEADING, _CAPTION, _MARGIN, _HEAD, _LEAST_WIDTH = 34.0, 62.0, 44.0, 70.0, 720.0

_SPREAD = "spread: root mean square distance of the samples from their mean, at the last executed action"


@dataclass(frozen=True)
class Case:
    """What one panel shows.

    Attributes:
        plans: Action sequences in workspace px, (samples, horizon, 2): what the caption counts and measures.
        nfe: Network evaluations of each; None where they came about in another way.
        executed: Which of the actions will be executed, or None where this is not marked.
        drawn: How many of them, from the first, are drawn; all if None. (Many tell modes apart, but blacken a panel.)
        heading: What stands above it, where that is not the heading of its column.
        noise_scale: Standard deviation of the noise that they grew from, for the caption; left out when None.
    """

    plans: Float[np.ndarray, "samples horizon 2"]
    nfe: int | None
    executed: slice | None = None
    drawn: int | None = None
    heading: str | None = None
    noise_scale: float | None = None

    @property
    def caption(self) -> tuple[str, str]:
        """What is said of it in two lines: modes and spread where the next look would be, and what a plan costs."""
        looks = "" if self.nfe is None else f"{self.nfe} network evaluation{'s' * (self.nfe > 1)}"
        cost = "  ·  ".join(
            filter(None, [looks, "" if self.noise_scale is None else f"noise scale {self.noise_scale:g}"])
        )
        if len(self.plans) == 1:
            return "one plan", cost
        horizon = self.plans.shape[1]
        last = (checked_executed(self.executed, horizon) or range(horizon))[-1]
        weights = modes(self.plans).weights
        shares = f" ({', '.join(f'{weight:.0%}' for weight in weights)})" if 1 < len(weights) < 4 else ""
        ways = f"{len(weights)} mode{'s' * (len(weights) > 1)}{shares}"
        return f"{ways}  ·  spread {spread_px(self.plans)[last]:.0f} px", cost


def comparison_picture(
    cases: Sequence[Sequence[Case | None]],
    scene: UInt8[np.ndarray, "height width 3"],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    agent_px: Float[np.ndarray, "2"] | None = None,
    title: str = "One observation, several policies",
    subtitle: str = "",
    workspace_px: Number = 512.0,
    period_s: Number = 0.1,
    panel_px: int = 480,
) -> UInt8[np.ndarray, "page_height page_width 3"]:
    """Draws plans for one observation as a grid, with one colour bar.

    Below each panel stand the modes of the samples with their shares, their spread at the last action that is executed
    before the next look (the root mean square of their distances from their mean) and what one plan costs.

    Args:
        cases: What to show, row by row; None leaves a place empty.
        scene: RGB picture of the world, drawn over the whole workspace.
        rows: Headings of the rows, on the left; all empty strings where they need none.
        columns: Headings of the columns.
        agent_px: Position of the agent, marked with a ring.
        title: Heading of the page.
        subtitle: A smaller second line.
        workspace_px: Side of the workspace.
        period_s: Time between two actions.
        panel_px: Width of one panel in the picture.

    Raises:
        ValueError: If the grid is empty, larger than 6 by 6 or not as its headings say, plans differ in length, or an
            argument has the wrong shape or holds NaN.
    """
    shown = _checked_grid(cases, rows, columns)
    horizon = shown[0].plans.shape[1]
    bare = Backdrop.checked(horizon, scene, None, agent_px, workspace_px, period_s)
    marked = [checked_executed(case.executed, horizon) for case in shown]
    if panel_px < 96:
        raise ValueError(f"panel_px: expected at least 96, found {panel_px}")
    margin = _MARGIN if any(rows) else 0.0
    grid_width = margin + _SIDE * len(columns)
    page_width = max(grid_width, _LEAST_WIDTH)
    left, top = (page_width - grid_width) / 2 + margin, _HEAD + _HEADING
    row_height = _SIDE - 2 * _BAND + _HEADING + _CAPTION
    bar_top = _HEAD + row_height * len(rows) + 34
    page = Page(page_width, bar_top + 88, 2 * round(panel_px * page_width / _SIDE / 2))
    page.text(_BAND, 36, title, 17, weight="bold")
    page.text(_BAND, 60, subtitle, 11, colour=MUTED)
    words: list[Artist] = []
    for row, cells in enumerate(cases):
        world_top = top + row * row_height
        middle = world_top + _SIDE / 2 - _BAND
        words.append(page.text(left - 6, middle, rows[row], 13, weight="bold", ha="center"))
        words[-1].set(rotation=90, va="center")
        for column, case in enumerate(cells):
            if case is None:
                continue
            x, centre = left + column * _SIDE, left + (column + 0.5) * _SIDE
            plans = case.plans[: case.drawn]
            backdrop = replace(bare, executed=checked_executed(case.executed, horizon))
            panel = PlanPanel(page, (x, world_top - _BAND, _SIDE), backdrop, len(plans), horizon)
            panel.show(plans)
            heading = columns[column] if case.heading is None else case.heading
            words.append(page.text(centre, world_top - 8, heading, 13, weight="bold", ha="center"))
            below = world_top + _SIDE - 2 * _BAND + 24
            for line, said in enumerate(case.caption):
                words.append(page.text(centre, below + 20 * line, said, 11, colour=(INK, MUTED)[line], ha="center"))
    page.animate(words)  # after the panels, whose edges fade into the page: over that
    # A bracket is drawn only where it holds for all panels.
    common = replace(bare, executed=marked[0] if all(each == marked[0] for each in marked) else range(0))
    bar_width = min(430.0, page_width - 2 * _BAND - 20)
    draw_time_bar(page, (page_width - bar_width) / 2, bar_top, bar_width, horizon, common)
    page.text(page_width / 2, bar_top + 74, _SPREAD, 9.5, colour=MUTED, ha="center")
    return page.picture()


def _checked_grid(cases: Sequence[Sequence[Case | None]], rows: Sequence[str], columns: Sequence[str]) -> list[Case]:
    """Returns the cases that are there, after checking that the grid is one."""
    shape = f"{len(rows)} by {len(columns)}"
    if not (1 <= len(rows) <= MOST_CASES and 1 <= len(columns) <= MOST_CASES):
        raise ValueError(
            f"cases: expected a grid from 1 by 1 to {MOST_CASES} by {MOST_CASES}, found headings for {shape}"
        )
    if len(cases) != len(rows) or any(len(cells) != len(columns) for cells in cases):
        found = ", ".join(str(len(cells)) for cells in cases)
        raise ValueError(f"cases: expected {shape}, as there are headings, found rows of {found}")
    shown = [case for cells in cases for case in cells if case is not None]
    if not shown:
        raise ValueError("cases: expected at least one that is not None")
    for case in shown:
        checked_numbers("plans", case.plans, ("samples", "horizon", 2))
        if case.drawn is not None and case.drawn < 1:
            raise ValueError(f"drawn: expected at least 1, found {case.drawn}")
    lengths = sorted({case.plans.shape[1] for case in shown})
    if len(lengths) > 1:
        raise ValueError(
            f"cases: expected plans of one length, so that colours mean the same time, found {lengths} actions"
        )
    return shown
