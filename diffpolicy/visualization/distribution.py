"""p(x | y) for one observation, as one picture: which ways there are, how likely, where each action goes, how sure.

What people did from nearby states can be drawn in the same frames: the policy was taught by it.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.patches import Rectangle

from diffpolicy.visualization.chart import chart
from diffpolicy.visualization.checks import Number, checked_numbers
from diffpolicy.visualization.density import CELLS, bandwidth_px, kernel_density, mass_levels, spread_px
from diffpolicy.visualization.mode_panel import draw_mode_panel, mode_colour, mode_name
from diffpolicy.visualization.modes import Modes, checked_plans, mode_reached, modes
from diffpolicy.visualization.plans import FADE, Backdrop, foreground, scene_axes
from diffpolicy.visualization.style import ACCENT, HAIRLINE, INK, MUTED, PAGE, Page, time_colours

# Of the actions, within shades from pale to strong.
_SHARES = (0.95, 0.8, 0.5)
_OPACITY = (0.22, 0.5, 0.85)
_MARGIN, _SIDE, _TOP = 36.0, 500.0, 116.0
_LISTED = 5


def distribution_picture(
    plans: Float[np.ndarray, "samples horizon 2"],
    scene: UInt8[np.ndarray, "height width 3"],
    *,
    found: Modes | None = None,
    demonstrated: Float[np.ndarray, "demonstrations horizon 2"] | None = None,
    demonstrated_note: str = "",
    title: str | None = None,
    subtitle: str = "",
    panels: int | Sequence[int] = 5,
    agent_px: Float[np.ndarray, "2"] | None = None,
    executed: slice | None = None,
    workspace_px: Number = 512.0,
    period_s: Number = 0.1,
    width_px: int = 1600,
) -> UInt8[np.ndarray, "page_height page_width 3"]:
    """Draws the distribution of the plans for one observation.

    Above: the plans in the colours of their modes, each mode's representative and weight, and how far the plans spread
    along the plan. Below, for some action steps: the smallest regions of the plane that hold 50, 80 and 95% of the
    actions, by a Gaussian kernel density whose bandwidth is said.

    Args:
        plans: Samples for one observation, workspace px; x right, y down, origin top left.
        scene: RGB picture of the world, drawn over the whole workspace.
        found: Their modes, if they are known already.
        demonstrated: What was done from nearby states, aligned with the plans; left out when None. Grey is what is
            elsewhere than all samples: farther from a mode's representative than any plan of the mode.
        demonstrated_note: A line about these, such as how near the states are.
        title: Heading; by default the number of modes.
        subtitle: A smaller second line.
        panels: How many action steps to show, evenly spaced with both ends, or their indices.
        agent_px: Position of the agent, marked with a ring.
        executed: Which actions of a plan will be executed, shaded in the chart.
        workspace_px: Side of the workspace.
        period_s: Time between two actions.
        width_px: Width of the picture.

    Raises:
        ValueError: If an argument has the wrong shape or holds NaN, or a chosen action does not exist.
    """
    plans = checked_plans(plans)
    samples, horizon, _ = plans.shape
    backdrop = Backdrop.checked(horizon, scene, executed, agent_px, workspace_px, period_s)
    if demonstrated is not None:
        demonstrated = checked_numbers("demonstrated", demonstrated, ("demonstrations", horizon, 2))
    shown = _checked_panels(panels, horizon)
    found = modes(plans) if found is None else found
    people = None if demonstrated is None else mode_reached(demonstrated, plans, found)

    width = _MARGIN + (2 if demonstrated is None else 3) * (_SIDE + _MARGIN)
    inside = width - 2 * _MARGIN
    frame = min(300.0, (inside - 18.0 * (len(shown) - 1)) / len(shown))
    below = _TOP + _SIDE + 96
    page = Page(width, below + frame + 92, width_px)
    ways = f"p(x | y): {len(found)} mode{'s' * (len(found) > 1)}"
    page.text(_MARGIN, 48, ways if title is None else title, 23, weight="bold")
    page.text(_MARGIN, 75, subtitle, 13, colour=MUTED)

    left = _MARGIN
    page.text(left, _TOP - 8, f"{samples} samples of p(x | y), by mode", 14, weight="bold")
    square = (left - _SIDE * FADE / 2, _TOP, _SIDE)
    draw_mode_panel(page, square, backdrop, plans, found.labels, plans[found.medoids])
    if demonstrated is not None and people is not None:
        left += _SIDE + _MARGIN
        page.text(left, _TOP - 8, f"What was demonstrated nearby ({len(demonstrated)} times)", 14, weight="bold")
        draw_mode_panel(page, (left - _SIDE * FADE / 2, _TOP, _SIDE), backdrop, demonstrated, people)
        page.text(left, _TOP + _SIDE + 14, demonstrated_note, 11.5, colour=MUTED)
    left += _SIDE + _MARGIN
    bottom = _list_modes(page, left, _TOP + 14, found, people)
    _draw_spread(page, left + 40, bottom + 56, _TOP + _SIDE - bottom - 108, plans, found, demonstrated, backdrop)

    page.text(_MARGIN, below - 34, "Where each action goes", 14, weight="bold")
    _draw_densities(page, below, frame, shown, plans, found.labels, demonstrated, backdrop)
    return page.picture()


def _list_modes(
    page: Page, left: float, top: float, found: Modes, people: Int[np.ndarray, "demonstrations"] | None
) -> float:
    """Writes the weights of the modes. Returns where the list ends."""
    page.text(left, top - 22, "Modes", 14, weight="bold")
    page.text(left + 52, top + 4, "share of samples", 11.5, colour=MUTED)
    page.text(left + 206, top + 4, "95% interval", 11.5, colour=MUTED)
    if people is not None:
        page.text(left + 352, top + 4, "demonstrated", 11.5, colour=MUTED)
    y = top
    for label in range(min(len(found), _LISTED)):
        y += 38
        dot = page.axes(left, y - 23, 30, 30)
        dot.plot([0.5], [0.5], "o", color=mode_colour(label), markersize=19, transform=dot.transAxes, clip_on=False)
        page.text(left + 15, y - 3, mode_name(label), 12.5, colour=PAGE, weight="bold", ha="center")
        low, high = found.intervals[label]
        page.text(left + 52, y, f"{found.weights[label]:.0%}", 19, weight="bold")
        page.text(left + 206, y, f"{low:.0%} to {high:.0%}", 13)
        if people is not None:
            page.text(left + 352, y, f"{np.count_nonzero(people == label)} of {len(people)}", 13)
    if len(found) > _LISTED:
        y += 28
        rest = found.weights[_LISTED:]
        page.text(left + 52, y, f"{len(rest)} more hold {rest.sum():.0%}", 12, colour=MUTED)
    elsewhere = 0 if people is None else np.count_nonzero(people == -1)
    if people is not None and elsewhere:
        y += 30
        page.text(left + 52, y, "elsewhere than all samples", 12, colour=MUTED)
        page.text(left + 352, y, f"{elsewhere} of {len(people)}", 13)
    return y


def _draw_spread(
    page: Page,
    left: float,
    top: float,
    height: float,
    plans: Float[np.ndarray, "samples horizon 2"],
    found: Modes,
    demonstrated: Float[np.ndarray, "demonstrations horizon 2"] | None,
    backdrop: Backdrop,
) -> None:
    times_s = np.arange(plans.shape[1]) * backdrop.period_s
    up = "spread (px): root mean square distance from the mean"
    axes = chart(page, left, top, _SIDE - 60, height, across="time along the plan (s)", up=up)
    if backdrop.executed:
        first, last = times_s[backdrop.executed.start], times_s[backdrop.executed.stop - 1]
        axes.axvspan(first, last, color=HAIRLINE, alpha=0.45, linewidth=0, label="executed")
    axes.plot(times_s, spread_px(plans), color=INK, linewidth=2.6, label="all samples")
    if len(found) > 1:
        within = spread_px(plans, found.labels)
        axes.plot(times_s, within, color=ACCENT, linewidth=2.2, linestyle=(0, (5, 2)), label="within their mode")
    if demonstrated is not None:
        axes.plot(
            times_s, spread_px(demonstrated), "o", color=PAGE, markeredgecolor=INK, markersize=6, label="demonstrated"
        )
    axes.set_ylim(0, 1.32 * axes.get_ylim()[1])  # room for the legend
    axes.legend(frameon=False, loc="upper center", ncols=2, prop={"family": "DejaVu Sans", "size": 11})


def _draw_densities(
    page: Page,
    top: float,
    side: float,
    shown: Sequence[int],
    plans: Float[np.ndarray, "samples horizon 2"],
    labels: Int[np.ndarray, "samples"],
    demonstrated: Float[np.ndarray, "demonstrations horizon 2"] | None,
    backdrop: Backdrop,
) -> None:
    pale = (0.5 * backdrop.scene + 127.5).astype(np.uint8)
    ground = dataclasses.replace(backdrop, scene=pale, agent_px=None)
    others = plans if demonstrated is None else np.concatenate([plans, demonstrated])
    corner, width_shown_px = _window(others[:, list(shown)], float(backdrop.workspace_px))
    widths_px = []
    for column, action in enumerate(shown):
        left = _MARGIN + column * (side + 18)
        axes = scene_axes(page, (left, top, side), ground)
        width_px = bandwidth_px(plans[:, action], labels, ground.workspace_px)
        widths_px.append(width_px)
        density = kernel_density(plans[:, action], width_px, ground.workspace_px)
        colour = time_colours(plans.shape[1])[action, :3]
        if density.max() > 0:  # else all actions lie far outside
            levels = [*np.maximum.accumulate(mass_levels(density, np.array(_SHARES))), 2 * density.max()]
            # Strictly rising, which a few cells that hold everything are not.
            levels = [level * (1 + 1e-9 * i) for i, level in enumerate(levels)]
            centres = (np.arange(CELLS) + 0.5) * ground.workspace_px / CELLS
            fills = [(*colour, opacity) for opacity in _OPACITY]
            axes.contourf(centres, centres, density, levels=levels, colors=fills, zorder=2)
        if demonstrated is not None:
            there = demonstrated[:, action].T
            axes.plot(*there, "o", color=PAGE, markeredgecolor=INK, markersize=5, markeredgewidth=1.1, zorder=3)
        page.animate(foreground(axes, ground, side / 576))
        axes.set_xlim(corner[0], corner[0] + width_shown_px)
        axes.set_ylim(corner[1] + width_shown_px, corner[1])
        rim = Rectangle((0, 0), 1, 1, transform=axes.transAxes, fill=False, edgecolor=HAIRLINE, linewidth=1.4, zorder=9)
        axes.add_patch(rim)
        page.animate([rim])
        when = f"{action * backdrop.period_s:.1f} s"
        page.text(left, top - 9, f"{when} (action {action})", 12)
    _explain(page, top + side + 18, side / width_shown_px * 100, widths_px, demonstrated is not None)


def _explain(page: Page, y: float, hundred: float, widths_px: Sequence[float], dots: bool) -> None:
    """Draws what the shades and dots mean, the bandwidth and the length of 100 px."""
    ruler = page.axes(_MARGIN, y, hundred, 8)
    ruler.plot([0, 0, 1, 1], [1, 0, 0, 1], color=INK, linewidth=1.4, transform=ruler.transAxes, clip_on=False)
    page.text(_MARGIN + hundred / 2, y + 27, "100 px", 11.5, ha="center")
    x = _MARGIN + hundred + 44
    if dots:
        mark = page.axes(x, y - 3, 16, 16)
        mark.plot([0.5], [0.5], "o", color=PAGE, markeredgecolor=INK, markersize=6, transform=mark.transAxes)
        page.text(x + 22, y + 10, "demonstrated", 11.5)
        x += 160
    for share, opacity in zip(reversed(_SHARES), reversed(_OPACITY), strict=True):
        swatch = page.axes(x, y - 3, 26, 16)
        swatch.add_patch(Rectangle((0, 0), 1, 1, color=(*time_colours(3)[1, :3], opacity), linewidth=0))
        page.text(x + 33, y + 10, f"{share:.0%}", 11.5)
        x += 82
    narrow, wide = min(widths_px), max(widths_px)
    width = f"{narrow:.1f}" if f"{narrow:.1f}" == f"{wide:.1f}" else f"{narrow:.1f} to {wide:.1f}"
    page.text(x, y + 10, f"of the samples lie within (Gaussian kernel, bandwidth {width} px)", 11.5)


def _window(points: Float[np.ndarray, "plans shown 2"], workspace_px: float) -> tuple[Float[np.ndarray, "2"], float]:
    """Returns the corner and side of the part of the workspace in which nearly all these points lie."""
    low, high = np.percentile(points.reshape(-1, 2), [0.5, 99.5], axis=0)
    side = float(np.clip(1.25 * (high - low).max(), 0.4 * workspace_px, workspace_px))
    return np.clip((low + high) / 2 - side / 2, 0.0, workspace_px - side), side


def _checked_panels(panels: int | Sequence[int], horizon: int) -> list[int]:
    if isinstance(panels, int):
        if not 1 <= panels <= min(8, horizon):
            raise ValueError(f"panels: expected 1 to {min(8, horizon)} action steps, found {panels}")
        return [int(action) for action in np.round(np.linspace(0, horizon - 1, panels))]
    chosen = [int(action) for action in panels]
    if not 1 <= len(chosen) <= 8 or not all(0 <= action < horizon for action in chosen):
        raise ValueError(f"panels: expected 1 to 8 action steps from 0 to {horizon - 1}, found {list(panels)}")
    return chosen
