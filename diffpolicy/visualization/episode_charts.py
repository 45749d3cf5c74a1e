"""How the episodes of an evaluation went, as charts for a page: towards the goal over time, when solved, from where.

What was solved differs from what was not by place and shape too, not by colour alone.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from diffpolicy_demos.pages.charts import chart, panels
from diffpolicy_demos.pages.page import ACCENT, BLOCK, GOAL, INK, MUTED, SECOND
from jaxtyping import Bool, Float

from diffpolicy.visualization.checks import Number, checked_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

_MOST_POINTS = 60_000  # of the faint lines: beyond, a page grows by megabytes and shows no more
_STEM = 0.055  # drawn length of the line that tells an angle, as a share of the workspace


@dataclass(frozen=True)
class Episodes:
    """What became of the episodes of an evaluation; all arrays have one entry for each.

    Attributes:
        seeds: where they started from.
        score: the best reward reached.
        success: whether the task was ever solved.
        steps: control steps taken.
        final_coverage: share of the goal covered at the end; NaN where the world reports none.
    """

    seeds: np.ndarray
    score: Float[np.ndarray, "episodes"]
    success: Bool[np.ndarray, "episodes"]
    steps: np.ndarray
    final_coverage: Float[np.ndarray, "episodes"]

    def worst_first(self) -> np.ndarray:
        """Indices: the lowest score first; of the solved, which all have the best, the slowest first."""
        return np.lexsort((-self.steps, self.score, self.success))


def progress_chart(
    values: Float[np.ndarray, "episodes moments"],
    success: Bool[np.ndarray, "episodes"],
    *,
    label: str,
    threshold: Number | None = None,
    period_s: Number | None = None,
) -> str:
    """Draws each episode as a faint line, the solved beside the others, with the median and the middle half.

    Args:
        values: What is drawn, at each moment of each episode; NaN after its end.
        success: Whether the episode was solved.
        label: Of the vertical axis.
        threshold: A value to mark: where the task is solved.
        period_s: Time between two moments, for the horizontal axis.

    Raises:
        ValueError: If the shapes do not fit or an episode has no values.
    """
    found = np.asarray(values, dtype=np.float64)
    solved = np.asarray(success, dtype=bool)
    if found.ndim != 2 or solved.shape != found.shape[:1] or not np.isfinite(found[:, :1]).all():
        raise ValueError(
            f"values: expected (episodes, moments), a number at least at the first moment, and success for each; found "
            f"{found.shape} and {solved.shape}"
        )
    every = ((solved, "solved", ACCENT), (~solved, "not solved", SECOND))
    groups = [group for group in every if group[0].any()]
    # An episode that is over stays where it ended, else the median would be that of the slow ones.
    last = np.isfinite(found).cumsum(axis=1).argmax(axis=1)
    held = np.where(np.arange(found.shape[1]) <= last[:, None], found, found[np.arange(len(found)), last][:, None])
    stride = 1 + int(np.isfinite(found).sum()) // _MOST_POINTS

    def draw(axes: "Sequence[Axes]") -> None:
        for one, (mask, word, colour) in zip(axes, groups, strict=True):
            _draw_group(one, found[mask], held[mask], last[mask], colour, stride)
            one.set_title(f"{word}: {mask.sum()} of {len(mask)}", loc="left", fontsize=13, color=INK)
            if threshold is not None:
                one.axhline(threshold, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
            low, high = np.nanmin(found), np.nanmax(found)
            room = 0.03 * max(high - low, 1e-9)
            one.set_ylim(*((0, 1.02) if low >= 0 and high <= 1 else (low - room, high + room)))
            one.set_xlim(0, 1.012 * max(found.shape[1] - 1, 1))
            one.set_xlabel(step_label(period_s))
            one.legend(loc="lower right", bbox_to_anchor=(1, 0.985), ncols=4, columnspacing=1.2, handletextpad=0.4)
        axes[0].set_ylabel(label)

    return panels(1100, 380, (1, len(groups)), draw, f"{label} over time")


def _draw_group(axes: "Axes", found: np.ndarray, held: np.ndarray, last: np.ndarray, colour: str, stride: int) -> None:
    from matplotlib.collections import LineCollection

    lines = []
    for row, end in zip(found, last, strict=True):
        moments = np.unique(np.append(np.arange(0, end + 1, stride), end))
        moments = moments[np.isfinite(row[moments])]
        lines.append(np.column_stack([moments, np.round(row[moments], 3)]))
    faint = float(np.clip(10.0 / len(lines), 0.14, 0.6))
    axes.add_collection(LineCollection(lines, colors=colour, linewidths=0.8, alpha=faint, label="an episode"))
    ends = np.array([line[-1] for line in lines])
    marker: dict[str, Any] = {"marker": "o", "s": 14, "linewidths": 0} if colour == ACCENT else {"marker": "x", "s": 22}
    axes.scatter(ends[:, 0], ends[:, 1], color=colour, alpha=0.75, label="its end", zorder=3, **marker)
    moments = np.arange(0, held.shape[1], max(1, held.shape[1] // 150))
    low, middle, high = np.quantile(held[:, moments], (0.25, 0.5, 0.75), axis=0)
    axes.fill_between(moments, low, high, color=INK, alpha=0.13, linewidth=0, label="middle half")
    axes.plot(moments, middle, color=INK, linewidth=2.2, label="median")


def solved_chart(
    steps: np.ndarray, success: Bool[np.ndarray, "episodes"], *, limit: int, period_s: Number | None = None
) -> str:
    """Draws the share of all episodes that are solved by each step.

    Args:
        steps: Steps of each episode; of a solved one, when that was.
        success: Whether it was solved.
        limit: The last step shown.
        period_s: Time between two steps, for the horizontal axis.
    """
    when = np.sort(np.asarray(steps)[np.asarray(success, dtype=bool)])
    share = np.arange(1, len(when) + 1) / len(steps)

    def draw(axes: "Axes") -> None:
        x, y = np.concatenate([[0], when, [limit]]), np.concatenate([[0.0], share, share[-1:] if len(share) else [0.0]])
        axes.fill_between(x, y, step="post", color=ACCENT, alpha=0.14, linewidth=0)
        axes.step(x, y, where="post", color=ACCENT, linewidth=2)
        if len(when):
            half = float(np.median(when))
            axes.axvline(half, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
            side = "left" if half < 0.6 * limit else "right"
            gap = 0.015 * limit * (1 if side == "left" else -1)
            axes.text(half + gap, 0.03, f"median of the solved: {half:g}", color=MUTED, ha=side, va="bottom")
        axes.set_ylim(0, 1.02)
        axes.set_xlim(0, limit)
        axes.set_xlabel(step_label(period_s))
        axes.set_ylabel("share of all episodes solved")

    return chart(520, 300, draw, "when episodes are solved")


def starts_chart(
    block_pose: Float[np.ndarray, "episodes 3"],
    success: Bool[np.ndarray, "episodes"],
    *,
    agent_px: Float[np.ndarray, "episodes 2"] | None = None,
    goal_outline_px: Float[np.ndarray, "corners 2"] | None = None,
    workspace_px: Number = 512.0,
) -> str:
    """Draws where block and agent start, over the table: discs where the episode was solved, crosses where not.

    Args:
        block_pose: x, y (px) and angle (rad) of the block; its stem points along +y of its frame.
        success: Whether the episode was solved.
        agent_px: Where the agent starts; joined to its block where the episode was not solved. Left out when None.
        goal_outline_px: Corners of the goal; left out when None.
        workspace_px: Side of the workspace; x to the right, y down.

    Raises:
        ValueError: If an argument has another shape or holds NaN.
    """
    poses = checked_numbers("block_pose", block_pose, ("episodes", 3))
    agents = None if agent_px is None else checked_numbers("agent_px", agent_px, (len(poses), 2))
    corners = None if goal_outline_px is None else checked_numbers("goal_outline_px", goal_outline_px, ("corners", 2))
    solved = np.asarray(success, dtype=bool)
    stems = poses[:, :2] + _STEM * workspace_px * np.column_stack([-np.sin(poses[:, 2]), np.cos(poses[:, 2])])

    def draw(axes: "Axes") -> None:
        from matplotlib.patches import Polygon

        axes.set_aspect("equal")
        axes.set_xlim(0, workspace_px)
        axes.set_ylim(workspace_px, 0)  # y runs down, as in pictures
        axes.grid(False)
        for spine in axes.spines.values():
            spine.set_visible(True)
        if corners is not None:
            axes.add_patch(Polygon(corners, closed=True, facecolor=GOAL, linewidth=0, label="goal"))
        for mask, word, colour, marker in ((solved, "solved", ACCENT, "o"), (~solved, "not solved", SECOND, "X")):
            if not mask.any():
                continue
            weight = 1.0 if word == "not solved" else float(np.clip(60 / mask.sum(), 0.35, 0.9))
            axes.plot(
                *np.stack([poses[mask, :2], stems[mask]]).transpose(2, 0, 1), color=colour, linewidth=1.3, alpha=weight
            )
            x, y = poses[mask, :2].T
            size = 20 if word == "solved" else 52
            look: dict[str, Any] = {"color": colour, "linewidths": 0, "alpha": weight, "zorder": 3}
            axes.scatter(x, y, s=size, marker=marker, label=f"block, {word}", **look)
            if agents is not None and word == "not solved":
                both = np.stack([poses[mask, :2], agents[mask]]).transpose(2, 0, 1)
                axes.plot(*both, color=BLOCK, linewidth=0.9, linestyle=(0, (2, 2)), zorder=1)
                x, y = agents[mask].T
                look = {"facecolor": "none", "edgecolor": colour, "linewidth": 1.5, "zorder": 3}
                axes.scatter(x, y, s=34, label=f"agent, {word}", **look)
        axes.set_xlabel("x, px")
        axes.set_ylabel("y, px")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2, handletextpad=0.2, columnspacing=1.2)

    return chart(520, 580, draw, "starts")


def step_label(period_s: Number | None) -> str:
    """The words below an axis of control steps."""
    return "control step" if period_s is None else f"control step (each {period_s:g} s)"
