"""How sure a policy is along an episode: the modes and the spread of p(x | y) at each moment that it planned.

Before a side is chosen there are several modes and a wide spread; after it, one mode and what is left within it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.axes import Axes

from diffpolicy.visualization.chart import chart
from diffpolicy.visualization.checks import Number, checked_numbers, checked_picture, checked_positive
from diffpolicy.visualization.density import spread_px
from diffpolicy.visualization.mode_panel import draw_mode_panel, mode_colour
from diffpolicy.visualization.modes import Modes, modes, nearest_mode
from diffpolicy.visualization.plans import FADE, Backdrop
from diffpolicy.visualization.style import ACCENT, HAIRLINE, INK, MUTED, PAGE, Page

_WIDTH, _MARGIN, _GAP = 1600.0, 36.0, 14.0


@dataclass(frozen=True)
class PlannedMoment:
    """A moment of an episode at which a plan was made.

    Attributes:
        step: Control step.
        scene: RGB picture of the world.
        plans: Samples of p(x | y) there, workspace px.
        followed: The plan that was taken up, px; None where that is not known.
        agent_px: Position of the agent; None where it is not observed.
    """

    step: int
    scene: UInt8[np.ndarray, "height width 3"]
    plans: Float[np.ndarray, "samples horizon 2"]
    followed: Float[np.ndarray, "horizon 2"] | None = None
    agent_px: Float[np.ndarray, "2"] | None = None


@dataclass(frozen=True)
class Certainty:
    """What the picture shows of each moment, as numbers.

    Attributes:
        steps: Control steps.
        weights: Shares of the modes, a column each, zero where there are fewer: of the mode that was followed first, or
            of the heaviest where that is not known, then of the others by weight.
        spread_px: How far the plans spread: root mean square distance from their mean, over all samples and actions.
        within_px: The same from the mean of their own mode.
        found: The modes at each moment.
    """

    steps: Int[np.ndarray, "moments"]
    weights: Float[np.ndarray, "moments modes"]
    spread_px: Float[np.ndarray, "moments"]
    within_px: Float[np.ndarray, "moments"]
    found: Sequence[Modes]

    @property
    def count(self) -> Int[np.ndarray, "moments"]:
        """How many modes there are at each moment."""
        return np.array([len(found) for found in self.found])


def certainty(moments: Sequence[PlannedMoment]) -> Certainty:
    """Finds the modes and the spread of the plans at each moment, in the order given.

    Raises:
        ValueError: If there are no moments, their steps do not rise, or plans have the wrong shape or hold NaN.
    """
    if not moments:
        raise ValueError("moments: found none; expected at least one at which plans were made")
    steps = np.array([moment.step for moment in moments])
    if np.any(np.diff(steps) <= 0):
        raise ValueError(f"moments: expected rising steps, found {steps.tolist()}")
    found = [modes(moment.plans) for moment in moments]
    weights = np.zeros((len(moments), max(len(one) for one in found)))
    for row, (moment, one) in enumerate(zip(moments, found, strict=True)):
        weights[row, : len(one)] = one.weights[_followed_first(moment, one)]
    spreads = [
        [_overall(spread_px(moment.plans, labels)) for labels in (None, one.labels)]
        for moment, one in zip(moments, found, strict=True)
    ]
    total, within = np.array(spreads).T
    return Certainty(steps, weights, total, within, found)


def along_episode_picture(
    moments: Sequence[PlannedMoment],
    *,
    known: Certainty | None = None,
    panels: int = 6,
    title: str = "p(x | y) along an episode",
    subtitle: str = "",
    workspace_px: Number = 512.0,
    period_s: Number = 0.1,
    width_px: int = 1600,
) -> UInt8[np.ndarray, "page_height page_width 3"]:
    """Draws how the modes and the spread of plans change along an episode.

    Above: the scene with the plans of some moments, the least certain (of the greatest spread) in each equal part of the
    episode, and its first. Below, over time: the shares of the modes as a stacked band, that which was followed at the
    bottom; and the spread of the plans, in all and within their modes.

    Args:
        moments: The moments at which plans were made, in order.
        known: What `certainty` said of them, if it is known already.
        panels: How many moments to show with their scene, 2 to 8; fewer if there are fewer.
        title: Heading.
        subtitle: A smaller second line.
        workspace_px: Side of the workspace.
        period_s: Time of a control step.
        width_px: Width of the picture.

    Raises:
        ValueError: If there are no moments, or one of them has the wrong shape or holds NaN; the message names it.
    """
    if not 2 <= panels <= 8:
        raise ValueError(f"panels: expected 2 to 8, found {panels}")
    checked_positive("period_s", period_s)
    known = certainty(moments) if known is None else known
    shown = _least_certain(known, min(panels, len(moments)))
    side = (_WIDTH - 2 * _MARGIN - _GAP * (panels - 1)) / panels
    top = 142.0
    bands, spreads = top + side + 74, top + side + 302
    page = Page(_WIDTH, spreads + 252, width_px)
    page.text(_MARGIN, 48, title, 23, weight="bold")
    page.text(_MARGIN, 75, subtitle, 13, colour=MUTED)
    for column, index in enumerate(shown):
        moment, found = moments[index], known.found[index]
        scene = checked_picture("scene", moment.scene)
        plans = checked_numbers("plans", moment.plans, ("samples", "horizon", 2))
        backdrop = Backdrop.checked(plans.shape[1], scene, None, moment.agent_px, workspace_px, period_s)
        left = _MARGIN + column * (side + _GAP)
        labels = _rank(_followed_first(moment, found))[found.labels]
        draw_mode_panel(page, (left - side * FADE / 2, top, side * (1 + FADE)), backdrop, plans, labels)
        page.text(left, top - 28, f"{'abcdefgh'[column]}   {moment.step * period_s:.1f} s", 14, weight="bold")
        count = f"{len(found)} mode{'s' * (len(found) > 1)}"
        page.text(left, top - 8, f"{count}, spread {known.spread_px[index]:.0f} px", 12, colour=MUTED)

    times_s = known.steps * float(period_s)
    left, width = _MARGIN + 44, _WIDTH - 2 * _MARGIN - 60
    up = "modes: share of samples (%); at the bottom, in blue, the mode that was followed; colours as above"
    axes = chart(page, left, bands, width, 150, across="", up=up)
    _draw_bands(axes, times_s, known.weights)
    axes = chart(page, left, spreads, width, 170, across="time in the episode (s)", up=_SPREAD)
    axes.plot(times_s, known.spread_px, color=INK, linewidth=2.6, label="all samples")
    if known.weights.shape[1] > 1:
        axes.plot(
            times_s, known.within_px, color=ACCENT, linewidth=2.2, linestyle=(0, (5, 2)), label="within their mode"
        )
    axes.set_xlim(*_time_limits_s(times_s))
    axes.set_ylim(0, 1.18 * known.spread_px.max() + 1)
    axes.legend(frameon=False, loc="upper right", ncols=2, prop={"family": "DejaVu Sans", "size": 12})
    for letter, index in zip("abcdefgh", shown, strict=False):
        axes.axvline(times_s[index], color=HAIRLINE, linewidth=1.4, zorder=0)
        axes.annotate(
            letter,
            (times_s[index], known.spread_px[index]),
            ha="center",
            va="center",
            color=INK,
            fontsize=11,
            fontweight="bold",
            bbox={"boxstyle": "circle,pad=0.25", "facecolor": PAGE, "edgecolor": INK, "linewidth": 1.2},
            zorder=6,
        )
    return page.picture()


_SPREAD = "spread of the plans (px): root mean square distance from their mean, over all actions"


def _draw_bands(axes: Axes, times_s: Float[np.ndarray, "moments"], weights: Float[np.ndarray, "moments modes"]) -> None:
    """Draws the shares as steps: what is known of a moment holds until the next plan."""
    last = _end_s(times_s)
    lasting = np.diff(times_s, append=last)
    base = np.zeros(len(times_s))
    for mode, share in enumerate(100 * weights.T):
        axes.bar(times_s, share, lasting, bottom=base, align="edge", color=mode_colour(mode), alpha=0.85, linewidth=0)
        base += share
    axes.set_xlim(*_time_limits_s(times_s))
    axes.set_ylim(0, 100)
    axes.set_yticks([0, 50, 100])
    axes.set_xticklabels([])


def _end_s(times_s: Float[np.ndarray, "moments"]) -> float:
    """Returns until when the last moment is drawn: as long as the others last."""
    return float(times_s[-1] + (np.median(np.diff(times_s)) if len(times_s) > 1 else 1.0))


def _time_limits_s(times_s: Float[np.ndarray, "moments"]) -> tuple[float, float]:
    """Returns what the charts show: a little more than the episode, so that a letter at its start has room."""
    start, end = float(times_s[0]), _end_s(times_s)
    return start - 0.015 * (end - start), end


def _least_certain(known: Certainty, panels: int) -> list[int]:
    """Returns the first moment, and of each of the other equal parts of the episode that of the greatest spread."""
    if panels < 2:
        return [0]
    parts = np.array_split(np.arange(1, len(known.steps)), panels - 1)
    return [0, *(int(part[known.spread_px[part].argmax()]) for part in parts)]


def _followed_first(moment: PlannedMoment, found: Modes) -> Int[np.ndarray, "modes"]:
    """Returns the modes in the order of the band: the one that was followed, then the others by weight."""
    order = np.arange(len(found))
    if moment.followed is None:
        return order
    followed = nearest_mode(moment.followed[None], moment.plans, found)[0]
    return np.concatenate([[followed], order[order != followed]])


def _rank(order: Int[np.ndarray, "modes"]) -> Int[np.ndarray, "modes"]:
    return np.argsort(order)


def _overall(spread: Float[np.ndarray, "horizon"]) -> float:
    return float(np.sqrt((spread**2).mean()))
