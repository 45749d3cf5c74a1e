"""Action sequences drawn over a picture of the world: what the policy intends, all its samples at once.

The panel here is shared by the single picture, the denoising film and the strip for a paper, so that they look alike
and the film's last frame is the picture of the plans.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke

from diffpolicy.visualization.checks import Number, checked_executed, checked_numbers, checked_picture, checked_positive
from diffpolicy.visualization.strokes import SHORT, Strokes, line_strength
from diffpolicy.visualization.style import (
    INK,
    MUTED,
    PAGE,
    Page,
    time_colours,
    type_of,
)

# The workspace is framed by a band, as a share of its side, in which noise beyond the walls fades into the page.
FADE = 1 / 16
# Radius of the ring around the agent, as a share of the side of the workspace.
RING = 0.042
PAGE_WIDTH, PAGE_HEIGHT = 640, 748
PANEL = (32, 88, 576)


@dataclass(frozen=True)
class Backdrop:
    """What lies under and around the plans, with every argument checked.

    Attributes:
        scene: RGB picture of the world over the whole workspace.
        executed: Indices of the actions that will be executed, drawn stronger; empty when none are marked.
        agent_px: Position of the agent, or None.
        workspace_px: Side of the workspace; x to the right, y down, origin at the top left.
        period_s: Time between two actions.
        trail_px: Positions the agent has already been at, or None.
    """

    scene: UInt8[np.ndarray, "height width 3"]
    executed: range
    agent_px: Float[np.ndarray, "2"] | None
    workspace_px: Number
    period_s: Number
    trail_px: Float[np.ndarray, "moments 2"] | None = None

    @classmethod
    def checked(
        cls,
        horizon: int,
        scene: object,
        executed: slice | None,
        agent_px: object,
        workspace_px: Number,
        period_s: Number,
        trail_px: object = None,
    ) -> "Backdrop":
        """Returns the backdrop of plans of `horizon` actions.

        Raises:
            ValueError: If an argument has the wrong shape or holds NaN; the message names it.
        """
        if horizon < 2:
            raise ValueError(f"horizon: expected plans of at least 2 actions, found {horizon}")
        return cls(
            scene=checked_picture("scene", scene),
            executed=checked_executed(executed, horizon),
            agent_px=None if agent_px is None else checked_numbers("agent_px", agent_px, (2,)),
            workspace_px=checked_positive("workspace_px", workspace_px),
            period_s=checked_positive("period_s", period_s),
            trail_px=None if trail_px is None else checked_numbers("trail_px", trail_px, ("moments", 2)),
        )


class PlanPanel:
    """A square of the page that shows the scene with action sequences above it; only the sequences change.

    Args:
        page: The page to draw on.
        square: Left, top and side of the square in reference pixels, the fading band included.
        backdrop: What lies under the plans.
        samples: How many sequences are drawn; more samples are drawn fainter.
        horizon: Actions in a sequence.
    """

    def __init__(
        self, page: Page, square: tuple[Number, Number, Number], backdrop: Backdrop, samples: int, horizon: int
    ) -> None:
        self._axes = scene_axes(page, square, backdrop)
        # Lines look alike at every panel size when they shrink with it.
        scale = square[2] / PANEL[2]
        strokes = Strokes.of(samples, horizon, backdrop.executed)
        self._colours = np.tile(strokes.line_colours, (samples, 1))
        self._short_px = SHORT * backdrop.workspace_px
        self._lines = LineCollection([], linewidths=np.tile(strokes.line_widths * scale, samples), capstyle="butt")
        self._axes.add_collection(self._lines, autolim=False)
        self._points = self._axes.scatter(
            np.zeros(samples * horizon),
            np.zeros(samples * horizon),
            s=np.tile((strokes.point_widths * scale) ** 2, samples),
            c=np.tile(strokes.point_colours, (samples, 1)),
            linewidths=0,
        )
        page.animate([self._lines, self._points, *foreground(self._axes, backdrop, scale)])

    def show(self, plans: Float[np.ndarray, "samples horizon 2"]) -> None:
        """Moves the sequences to `plans`, in workspace px; what lies outside the panel is cut off."""
        pairs = np.stack([plans[:, :-1], plans[:, 1:]], axis=2)
        self._lines.set_segments(list(pairs.reshape(-1, 2, 2)))
        length_px = np.linalg.norm(plans[:, 1:] - plans[:, :-1], axis=-1).ravel()
        colours = self._colours.copy()
        colours[:, 3] *= line_strength(length_px / self._short_px, len(plans))
        self._lines.set_color(list(map(tuple, colours)))
        self._points.set_offsets(plans.reshape(-1, 2))


def scene_axes(page: Page, square: tuple[Number, Number, Number], backdrop: Backdrop) -> Axes:
    """Returns axes in workspace px over a square of the page (left, top, side), with the scene and the trail drawn."""
    workspace_px, agent_px, trail_px = backdrop.workspace_px, backdrop.agent_px, backdrop.trail_px
    left, top, side = square
    axes = page.axes(left, top, side, side)
    band = FADE * workspace_px
    axes.set_xlim(-band, workspace_px + band)
    axes.set_ylim(workspace_px + band, -band)
    world = (0.0, workspace_px, workspace_px, 0.0)
    axes.imshow(backdrop.scene, extent=world, interpolation="bilinear", aspect="auto", zorder=0)
    if trail_px is not None:
        # Above the scene, below the plans: the past must not hide the future. It stops at the agent's ring.
        off = RING * workspace_px
        near = agent_px is not None and np.linalg.norm(trail_px - agent_px, axis=-1, keepdims=True) < off
        axes.plot(*np.where(near, np.nan, trail_px).T, color=INK, linewidth=2.2, solid_capstyle="round")
    return axes


def foreground(axes: Axes, backdrop: Backdrop, scale: Number) -> list[Artist]:
    """Returns what lies above all plans: the veil in which the workspace's surroundings fade, and the agent's ring."""
    workspace_px = backdrop.workspace_px
    pieces = _veil(axes, FADE * workspace_px, workspace_px)
    if backdrop.agent_px is not None:
        pieces += _agent(axes, backdrop.agent_px, RING * workspace_px, workspace_px, scale)
    return pieces


def _veil(axes: Axes, band: float, workspace_px: Number) -> list[Artist]:
    ramp = np.linspace(0.0, 1.0, 33)[1:] ** 1.2
    pieces: list[Artist] = []
    low, high = -band, workspace_px + band
    edges = (
        ((low, 0.0, high, low), ramp[None, ::-1]),
        ((workspace_px, high, high, low), ramp[None, :]),
        ((low, high, 0.0, low), ramp[::-1, None]),
        ((low, high, high, workspace_px), ramp[:, None]),
    )
    for extent, alpha in edges:
        veil = np.empty((*alpha.shape, 4))
        veil[..., :3], veil[..., 3] = to_rgb(PAGE), alpha
        pieces.append(axes.imshow(veil, extent=extent, interpolation="bilinear", aspect="auto", zorder=5))
    axes.set_xlim(low, high)
    axes.set_ylim(high, low)
    return pieces


def _agent(
    axes: Axes, agent_px: Float[np.ndarray, "2"], radius: float, workspace_px: Number, scale: Number
) -> list[Artist]:
    halo = [withStroke(linewidth=5 * scale, foreground=PAGE)]
    ring = Circle(tuple(agent_px), radius, fill=False, edgecolor=INK, linewidth=2.2 * scale, path_effects=halo)
    axes.add_patch(ring)
    x, y = agent_px
    below = y + 2.2 * radius < workspace_px
    word = axes.text(
        float(np.clip(x, 2 * radius, workspace_px - 2 * radius)),
        y + 1.35 * radius if below else y - 1.35 * radius,
        "agent",
        ha="center",
        va="top" if below else "bottom",
        color=INK,
        fontproperties=type_of(11 * max(scale, 0.7), "bold"),
        path_effects=[withStroke(linewidth=3.5, foreground=PAGE)],
    )
    return [ring, word]


def draw_time_bar(page: Page, x: Number, y: Number, width: Number, horizon: int, backdrop: Backdrop) -> None:
    """Draws the colours of a plan, one block an action, over the time in seconds, with the executed part bracketed."""
    executed, period_s = backdrop.executed, backdrop.period_s
    bar = page.axes(x, y, width, 11)
    bar.imshow(time_colours(horizon)[None], extent=(0, 1, 0, 1), aspect="auto", interpolation="nearest")

    def at(action: Number) -> float:
        return x + width * (action + 0.5) / horizon

    for tick_s in time_ticks_s(horizon, period_s):
        page.text(at(tick_s / period_s), y + 27, f"{tick_s:g}", 10, colour=MUTED, ha="center")
    page.text(x + width / 2, y + 46, "time along the plan (s)", 11, ha="center")
    if executed:
        left, right = at(executed.start - 0.5), at(executed.stop - 0.5)
        bracket = page.axes(left, y - 9, right - left, 6)
        bracket.plot([0, 0, 1, 1], [0, 1, 1, 0], color=INK, linewidth=1.4, transform=bracket.transAxes, clip_on=False)
        page.text((left + right) / 2, y - 13, "executed", 10, ha="center")


def time_ticks_s(horizon: int, period_s: Number) -> Float[np.ndarray, "ticks"]:
    """Returns the round times along a plan at which its colour bar is labelled, at most seven."""
    last_s = (horizon - 1) * period_s
    step_s = next((s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if last_s / s <= 6), last_s)
    return np.arange(0.0, last_s + 1e-9, step_s)


def plan_picture(
    plans: Float[np.ndarray, "samples horizon 2"],
    scene: UInt8[np.ndarray, "height width 3"],
    *,
    agent_px: Float[np.ndarray, "2"] | None = None,
    executed: slice | None = None,
    trail_px: Float[np.ndarray, "moments 2"] | None = None,
    title: str | None = None,
    subtitle: str = "",
    workspace_px: Number = 512.0,
    period_s: Number = 0.1,
    width_px: int = 640,
) -> UInt8[np.ndarray, "page_height page_width 3"]:
    """Draws one moment of the closed loop: the scene, the plans made there and the way the agent came.

    Args:
        plans: Action sequences in workspace px; x to the right, y down, origin at the top left.
        scene: RGB picture of the world, drawn over the whole workspace.
        agent_px: Position of the agent, marked with a ring.
        executed: Which actions of a plan will be executed, for example `slice(1, 9)`; drawn stronger.
        trail_px: Positions of the agent up to now, oldest first, drawn as a dark line.
        title: Heading; by default the number of plans.
        subtitle: A smaller second line.
        workspace_px: Side of the workspace.
        period_s: Time between two actions.
        width_px: Width of the picture; its height follows at 748 / 640.

    Raises:
        ValueError: If an argument has the wrong shape or holds NaN; the message names it.
    """
    plans = checked_numbers("plans", plans, ("samples", "horizon", 2))
    samples, horizon, _ = plans.shape
    backdrop = Backdrop.checked(horizon, scene, executed, agent_px, workspace_px, period_s, trail_px)
    page, panel = plan_page(backdrop, samples, horizon, width_px)
    page.text(PANEL[0], 38, f"{samples} plan{'s' * (samples > 1)}" if title is None else title, 18, weight="bold")
    page.text(PANEL[0], 64, subtitle, 11, colour=MUTED)
    panel.show(plans)
    return page.picture()


def plan_page(backdrop: Backdrop, samples: int, horizon: int, width_px: int) -> tuple[Page, PlanPanel]:
    """Lays out a page with one panel and the colour bar; the heading is left free.

    Raises:
        ValueError: If the page is too narrow for its type.
    """
    page = Page(PAGE_WIDTH, PAGE_HEIGHT, width_px)
    panel = PlanPanel(page, PANEL, backdrop, samples, horizon)
    draw_time_bar(page, PANEL[0] + 32, 693, 512, horizon, backdrop)
    return page, panel
