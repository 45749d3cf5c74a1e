"""The closed loop as a film: the world as it goes, and beside it the plans as they are made, followed and replaced.

A policy that plans ahead, does a little of it and looks again is hard to imagine from its score; here it is to be seen.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

from diffpolicy.visualization.caption import Caption
from diffpolicy.visualization.checks import Number, checked_numbers, checked_picture
from diffpolicy.visualization.loop import Loop, checked_loop
from diffpolicy.visualization.plans import RING, Backdrop, draw_time_bar
from diffpolicy.visualization.style import INK, MUTED, PAGE, Page, time_colours

_WIDTH, _HEIGHT = 1280, 776
_SIDE, _TOP = 504, 110
_WORLD_LEFT, _PLANS_LEFT, _KEY_LEFT = 24, 552, 1078
_KEY_WIDTH = _WIDTH - 24 - _KEY_LEFT
# Other samples are strong when they are made, and fade to this share while the plan is followed.
_FAINT = 0.3


def closed_loop_frames(
    scenes: Iterable[UInt8[np.ndarray, "height width 3"]],
    plans: Float[np.ndarray, "looks horizon 2"],
    looks: Int[np.ndarray, "looks"],
    coverage: Float[np.ndarray, "moments"],
    *,
    samples: Float[np.ndarray, "looks samples horizon 2"] | None = None,
    agent_px: Float[np.ndarray, "moments 2"] | None = None,
    executed: slice | None = None,
    speed: Number = 1.0,
    title: str = "The closed loop",
    subtitle: str = "",
    success_coverage: Number = 0.95,
    workspace_px: Number = 512.0,
    period_s: Number = 0.1,
    width_px: int = 1280,
) -> Iterator[UInt8[np.ndarray, "page_height page_width 3"]]:
    """Draws an episode, a frame a moment: the world, the plan that is followed among others of its moment, the score.

    Args:
        scenes: One RGB picture of the world per moment, over the whole workspace, the first after the reset. May be a
            generator.
        plans: The plan taken up at each look, in workspace px; x right, y down, origin top left.
        looks: The moment at which each plan was made; the first is 0, they rise.
        coverage: Covered share of the goal, 0 to 1, at each moment.
        samples: Other plans that the policy might have made at the same looks.
        agent_px: Position of the agent at each moment, for its trail.
        executed: Which actions of a plan are executed before the next look, for example `slice(1, 9)`; all if None.
        speed: How many actions of a plan one moment passes; 1 as demonstrated.
        title: Heading.
        subtitle: A smaller second line.
        success_coverage: Coverage above which the episode counts as solved.
        workspace_px: Side of the workspace.
        period_s: Time between two moments.
        width_px: Width of a frame; its height follows at 776 / 1280.

    Returns:
        An iterator of equal-sized RGB frames, one per scene. All but the scenes is checked at once.

    Raises:
        ValueError: If an argument has the wrong shape, holds NaN or does not fit the others, or there are fewer or more
            scenes than values of coverage.
    """
    values = checked_numbers("coverage", coverage, ("moments",))
    loop = checked_loop(plans, looks, samples, agent_px, executed, speed, len(values))
    blank = np.full((1, 1, 3), 255, dtype=np.uint8)
    backdrop = Backdrop.checked(loop.horizon, blank, executed, None, workspace_px, period_s)
    page = Page(_WIDTH, _HEIGHT, width_px)
    page.text(_WORLD_LEFT, 36, title, 18, weight="bold")
    page.text(_WORLD_LEFT, 60, subtitle, 11, colour=MUTED)
    page.text(_WORLD_LEFT, _TOP - 10, "What happens", 13, weight="bold")
    page.text(_PLANS_LEFT, _TOP - 10, "What the policy thinks", 13, weight="bold")
    world = _Scene(page, _WORLD_LEFT, backdrop.workspace_px)
    panel = _LoopPanel(page, loop, backdrop.workspace_px)
    _draw_key(page, loop)
    draw_time_bar(page, _KEY_LEFT, _TOP + _SIDE - 48, _KEY_WIDTH, loop.horizon, backdrop)
    caption = Caption(page, 636, _WIDTH, values, success_coverage=success_coverage, period_s=period_s, looks=loop.looks)

    def drawn() -> Iterator[UInt8[np.ndarray, "page_height page_width 3"]]:
        moment = -1
        for moment, scene in enumerate(scenes):
            if moment == loop.moments:
                raise ValueError(f"scenes: expected {loop.moments}, one per value of coverage, found more")
            checked = checked_picture("scenes", scene)
            world.show(checked)
            panel.show(checked, moment)
            caption.show(moment)
            yield page.picture()
        if moment + 1 < loop.moments:
            raise ValueError(f"scenes: expected {loop.moments}, one per value of coverage, found {moment + 1}")

    return drawn()


class _Scene:
    """A square of the page that shows the world as it is."""

    def __init__(self, page: Page, left: Number, workspace_px: Number) -> None:
        self.axes = page.axes(left, _TOP, _SIDE, _SIDE)
        self.axes.set_xlim(0, workspace_px)
        self.axes.set_ylim(workspace_px, 0)
        self._image = self.axes.imshow(
            np.zeros((1, 1, 3), np.uint8), extent=(0, workspace_px, workspace_px, 0), interpolation="bilinear"
        )
        page.animate([self._image])

    def show(self, scene: UInt8[np.ndarray, "height width 3"]) -> None:
        """Shows another moment."""
        self._image.set_data(scene)


class _LoopPanel:
    """The world with the plans over it; everything in it moves."""

    def __init__(self, page: Page, loop: Loop, workspace_px: Number) -> None:
        self._loop, self._ring_px = loop, RING * workspace_px
        self._scene = _Scene(page, _PLANS_LEFT, workspace_px)
        axes = self._scene.axes
        horizon, count = loop.horizon, 0 if loop.samples is None else loop.samples.shape[1]
        colours = _between(time_colours(horizon))
        in_plan = np.isin(np.arange(horizon), loop.executed)
        executed = in_plan[1:] & in_plan[:-1]
        self._faint = np.tile(colours, (count, 1))
        self._faint_alpha = float(np.clip(2.4 / np.sqrt(max(count, 1)), 0.1, 0.6))
        self._others = _lines(axes, self._faint, 1.3)
        (self._trail,) = axes.plot([], [], color=INK, linewidth=2.2, solid_capstyle="round")
        (self._before,) = axes.plot([], [], color=MUTED, linewidth=2.2, linestyle=(0, (2, 1.4)))
        # A light edge lifts the plan off the other samples and off the block.
        (self._halo,) = axes.plot([], [], color=PAGE, linewidth=6.4, solid_capstyle="round", solid_joinstyle="round")
        self._plan = _lines(axes, colours, np.where(executed, 4.2, 2.0))
        self._points = axes.scatter(
            np.zeros(horizon), np.zeros(horizon), s=np.where(in_plan, 24.0, 9.0), c=time_colours(horizon), linewidths=0
        )
        self._agent = Circle((0, 0), self._ring_px, fill=False, edgecolor=INK, linewidth=2.0)
        axes.add_patch(self._agent)
        (self._bid,) = axes.plot(
            [], [], "o", markersize=9, color=PAGE, markeredgecolor=INK, markeredgewidth=2.2, zorder=5
        )
        self._says = page.text(_PLANS_LEFT + _SIDE, _TOP - 10, "", 11, ha="right")
        page.animate(
            [
                *(self._others, self._before, self._trail, self._halo, self._plan, self._points),
                *(self._agent, self._bid, self._says),
            ]
        )
        self._agent.set_visible(loop.agent_px is not None)
        self._shown = -1

    def show(self, scene: UInt8[np.ndarray, "height width 3"], moment: int) -> None:
        """Shows a moment of the episode."""
        loop = self._loop
        look, since = loop.at(moment)
        self._scene.show(scene)
        if look != self._shown:
            self._take_up(look)
        lasts = loop.lasts(look)
        share = since / lasts
        if loop.samples is not None:
            colours = self._faint.copy()
            colours[:, 3] = self._faint_alpha * (1 - (1 - _FAINT) * share)
            self._others.set_color(list(map(tuple, colours)))
        if look > 0:
            self._before.set_alpha(0.9 * (1 - share))
        bid, _ = loop.followed(look, since)
        over = moment == loop.moments - 1
        self._bid.set_data([bid[0]], [bid[1]])
        self._bid.set_visible(not over)
        if loop.agent_px is not None:
            way = loop.agent_px[: moment + 1]
            # It stops at the agent's ring.
            near = np.linalg.norm(way - way[-1], axis=-1, keepdims=True) < self._ring_px
            self._trail.set_data(*np.where(near, np.nan, way).T)
            self._agent.set_center((float(way[-1, 0]), float(way[-1, 1])))
        doing = "the end" if over else "a new look" if since == 0 else f"following it, {since + 1} of {lasts}"
        self._says.set_text(f"plan {look + 1}: {doing}")
        self._says.set_fontweight("bold" if since == 0 and not over else "normal")

    def _take_up(self, look: int) -> None:
        loop, self._shown = self._loop, look
        if loop.samples is not None:
            self._others.set_segments(_segments(loop.samples[look]))
        plan = loop.plans[look]
        self._plan.set_segments(_segments(plan[None]))
        self._halo.set_data(*plan.T)
        self._points.set_offsets(plan)
        if look > 0:
            # Only what was not done of it: the rest lies under the trail.
            self._before.set_data(*loop.followed(look - 1, loop.lasts(look - 1))[1].T)


def _draw_key(page: Page, loop: Loop) -> None:
    """What the lines mean, beside the panel."""
    colours, rows = time_colours(loop.horizon), iter(range(8))
    axes = page.axes(_KEY_LEFT, _TOP, 40, 34 * 8)
    axes.set_xlim(0, 1)
    axes.set_ylim(8, 0)

    def entry(words: str, second: str = "") -> float:
        row = next(rows)
        page.text(_KEY_LEFT + 50, _TOP + 34 * row + (22 if not second else 15), words, 10.5)
        page.text(_KEY_LEFT + 50, _TOP + 34 * row + 30, second, 9.5, colour=MUTED)
        return row + 0.5

    def stripe(y: float, width: Number, alpha: Number) -> None:
        x = np.linspace(0, 1, loop.horizon)
        points = np.stack([x, np.full_like(x, y)], axis=-1)
        _lines(axes, _between(colours) * [1, 1, 1, alpha], width).set_segments(_segments(points[None]))

    stripe(entry("the plan", "thick: executed"), 4.2, 1.0)
    if loop.samples is not None:
        y, count = entry("other samples", f"{loop.samples.shape[1]}, same moment"), loop.samples.shape[1]
        for shift in (-0.14, 0.0, 0.14)[: min(count, 3)]:
            stripe(y + shift, 1.3, 0.5)
    y = entry("the plan before", "what it gave up")
    axes.add_line(Line2D([0, 1], [y, y], color=MUTED, linewidth=2.2, linestyle=(0, (2, 1.4))))
    y = entry("target now")
    axes.plot([0.5], [y], "o", markersize=9, color=PAGE, markeredgecolor=INK, markeredgewidth=2.2)
    if loop.agent_px is not None:
        y = entry("agent")
        axes.plot([0.5], [y], "o", markersize=15, color="none", markeredgecolor=INK, markeredgewidth=2.0)
        y = entry("its way so far")
        axes.add_line(Line2D([0, 1], [y, y], color=INK, linewidth=2.2))


def _lines(axes: Axes, colours: Float[np.ndarray, "segments 4"], widths: object) -> LineCollection:
    lines = LineCollection([], linewidths=widths, colors=list(map(tuple, colours)), capstyle="butt")
    axes.add_collection(lines, autolim=False)
    return lines


def _between(colours: Float[np.ndarray, "horizon 4"]) -> Float[np.ndarray, "segments 4"]:
    return 0.5 * (colours[1:] + colours[:-1])


def _segments(plans: Float[np.ndarray, "samples horizon 2"]) -> list[np.ndarray]:
    return list(np.stack([plans[:, :-1], plans[:, 1:]], axis=2).reshape(-1, 2, 2))
