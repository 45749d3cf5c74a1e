"""How noise becomes plans: a film and a strip of the states that a sampler passes through.

The film moves smoothly between the solver's states so that the eye can follow each sequence; it says on every frame
which states were computed and that the rest is interpolated.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, UInt8

from diffpolicy.visualization.checks import Number, checked_numbers
from diffpolicy.visualization.plans import FADE, PANEL, Backdrop, PlanPanel, draw_time_bar, plan_page
from diffpolicy.visualization.style import ACCENT, HAIRLINE, MUTED, PAGE, Page

# States up to which each is a dot on the track; with more, only its ends are.
MOST_DOTS = 25
_PATH_SHAPE = ("frames", "samples", "horizon", 2)


def denoising_frames(
    path: Float[np.ndarray, "states samples horizon 2"],
    scene: UInt8[np.ndarray, "height width 3"],
    *,
    agent_px: Float[np.ndarray, "2"] | None = None,
    executed: slice | None = None,
    noise_levels: Float[np.ndarray, "states"] | None = None,
    nfe: int | None = None,
    frames: int = 50,
    workspace_px: Number = 512.0,
    period_s: Number = 0.1,
    width_px: int = 640,
) -> Iterator[UInt8[np.ndarray, "page_height page_width 3"]]:
    """Draws the frames of a film in which noise flows into plans.

    The first frame is the first state, the last frame the last state. With fewer states than `frames`, every state is
    a frame and the frames between two states are interpolated (monotone cubic: no overshoot beyond either state), so
    the number of frames is the nearest that divides evenly. With more states, `frames` of them are shown as they are.

    Args:
        path: The solver's states in workspace px, first pure noise, last the plans; x right, y down, origin top left.
        scene: RGB picture of the world, drawn over the whole workspace.
        agent_px: Position of the agent, marked with a ring.
        executed: Which actions of a plan will be executed, for example `slice(1, 9)`; drawn stronger.
        noise_levels: The noise level of each state, for the heading; left out when None.
        nfe: Network evaluations for one sample, for the heading; left out when None.
        frames: How many frames to aim for, at least 2.
        workspace_px: Side of the workspace.
        period_s: Time between two actions.
        width_px: Width of a frame; its height follows at 748 / 640.

    Returns:
        An iterator of equal-sized RGB frames. Arguments are checked at once, not at the first frame.

    Raises:
        ValueError: If an argument has the wrong shape or holds NaN; the message names it.
    """
    states = checked_path(path)
    levels = checked_levels(noise_levels, len(states))
    if frames < 2:
        raise ValueError(f"frames: expected at least 2, found {frames}")
    _, samples, horizon, _ = states.shape
    backdrop = Backdrop.checked(horizon, scene, executed, agent_px, workspace_px, period_s)
    page, panel = plan_page(backdrop, samples, horizon, width_px)
    positions = film_positions(len(states), frames)
    heading = _Heading(page, len(states) - 1, levels, _film_note(samples, nfe, len(states), positions))

    def drawn() -> Iterator[UInt8[np.ndarray, "page_height page_width 3"]]:
        for position in positions:
            panel.show(state_at(states, position))
            heading.show(position)
            yield page.picture()

    return drawn()


def film_positions(states: int, frames: int) -> Float[np.ndarray, "shown"]:
    """Returns where on the path, from 0 to states - 1, each frame of a film lies; whole numbers are solver states."""
    steps = states - 1
    if frames < states:
        return np.round(np.linspace(0, steps, frames))
    substeps = max(1, round((frames - 1) / steps))
    return np.arange(steps * substeps + 1) / substeps


def state_at(states: Float[np.ndarray, "states *shape"], position: Number) -> Float[np.ndarray, "*shape"]:
    """Returns the state at a position along the path, exact at whole numbers and smooth between them.

    Monotone cubic interpolation (Fritsch and Carlson 1980, with Brodlie's harmonic mean as slope): values stay between
    the two neighbouring states, so the film never shows a place that the solver did not move through. The slopes at
    both ends are zero: the film starts and ends at rest.
    """
    low = int(np.clip(np.floor(position), 0, len(states) - 1))
    share = position - low
    if share == 0.0:
        return states[low]
    change = states[low + 1] - states[low]
    before = states[low] - states[low - 1] if low > 0 else np.zeros_like(change)
    after = states[low + 2] - states[low + 1] if low + 2 < len(states) else np.zeros_like(change)
    start, end = _slope(before, change), _slope(change, after)
    square, cube = share**2, share**3
    return states[low] + change * (3 * square - 2 * cube) + start * (share - 2 * square + cube) + end * (cube - square)


def denoising_strip(
    path: Float[np.ndarray, "states samples horizon 2"],
    scene: UInt8[np.ndarray, "height width 3"],
    *,
    panels: int | Sequence[int] = 5,
    agent_px: Float[np.ndarray, "2"] | None = None,
    executed: slice | None = None,
    noise_levels: Float[np.ndarray, "states"] | None = None,
    workspace_px: Number = 512.0,
    period_s: Number = 0.1,
    panel_px: int = 480,
) -> UInt8[np.ndarray, "page_height page_width 3"]:
    """Draws chosen states of the path side by side, labelled, with one colour bar: a figure for a paper.

    Args:
        path: The solver's states in workspace px, first pure noise, last the plans.
        scene: RGB picture of the world, drawn over the whole workspace.
        panels: How many states to show, evenly spaced with both ends, or the indices of the states.
        agent_px: Position of the agent, marked with a ring.
        executed: Which actions of a plan will be executed; drawn stronger.
        noise_levels: The noise level of each state, for the labels; left out when None.
        workspace_px: Side of the workspace.
        period_s: Time between two actions.
        panel_px: Width of one panel in the picture.

    Raises:
        ValueError: If an argument has the wrong shape or holds NaN, or a chosen state does not exist.
    """
    states = checked_path(path)
    levels = checked_levels(noise_levels, len(states))
    chosen = _checked_panels(panels, len(states))
    _, samples, horizon, _ = states.shape
    backdrop = Backdrop.checked(horizon, scene, executed, agent_px, workspace_px, period_s)
    if panel_px < 96:
        raise ValueError(f"panel_px: expected at least 96, found {panel_px}")

    side, top = 330.0, 62.0
    page_width = side * len(chosen)
    page = Page(page_width, top + side + 68, 2 * round(panel_px * len(chosen) / 2))
    band = side * FADE / (1 + 2 * FADE)
    for column, index in enumerate(chosen):
        left = column * side
        panel = PlanPanel(page, (left, top - 10, side), backdrop, samples, horizon)
        panel.show(states[index])
        name, detail = _panel_words(index, len(states) - 1, levels)
        page.text(left + band, 28, name, 14, weight="bold")
        page.text(left + band, 50, detail, 11, colour=MUTED)
    bar_width = min(430.0, side - 2 * band)
    draw_time_bar(page, (page_width - bar_width) / 2, top + side + 14, bar_width, horizon, backdrop)
    return page.picture()


class _Heading:
    """The title line and the track of solver states above the panel."""

    def __init__(self, page: Page, steps: int, levels: Float[np.ndarray, "states"] | None, note: str) -> None:
        left, right = PANEL[0], PANEL[0] + PANEL[2]
        self._steps, self._levels = steps, levels
        self._title = page.text(left, 36, "", 18, weight="bold")
        self._level = page.text(right, 36, "", 14, ha="right")
        page.text(left, 58, note, 10.5, colour=MUTED)
        page.text(left, 83, "noise", 10.5, colour=MUTED)
        page.text(right, 83, "plan", 10.5, colour=MUTED, ha="right")
        track = page.axes(left + 52, 72, PANEL[2] - 96, 14)
        track.set_xlim(-0.012 * steps, 1.012 * steps)
        track.set_ylim(-1, 1)
        track.plot([0, steps], [0, 0], color=HAIRLINE, linewidth=2.5, solid_capstyle="round", zorder=1)
        whole = np.arange(steps + 1) if steps < MOST_DOTS else np.array([0, steps])
        track.plot(
            whole, 0 * whole, "o", markersize=5.5, color=PAGE, markeredgecolor=MUTED, markeredgewidth=1, zorder=2
        )
        (self._run,) = track.plot([], [], color=ACCENT, linewidth=2.5, solid_capstyle="round")
        (self._done,) = track.plot([], [], "o", markersize=5.5, color=ACCENT)
        (self._now,) = track.plot([], [], "o", markersize=9, color=ACCENT, markeredgecolor=PAGE, markeredgewidth=1.5)
        self._whole = whole
        page.animate([self._title, self._level, self._run, self._done, self._now])

    def show(self, position: Number) -> None:
        self._title.set_text(f"Denoising step {int(position)} of {self._steps}")
        if self._levels is not None:
            level = float(np.interp(position, np.arange(self._steps + 1), self._levels))
            self._level.set_text(f"noise level {level:.2f}")
        passed = self._whole[self._whole <= position]
        self._run.set_data([0, position], [0, 0])
        self._done.set_data(passed, 0 * passed)
        self._now.set_data([position], [0])


def _film_note(samples: int, nfe: int | None, states: int, positions: Float[np.ndarray, "shown"]) -> str:
    parts = [f"{samples} sample{'s' * (samples > 1)}"]
    if nfe is not None:
        parts.append(f"{nfe} network evaluation{'s' * (nfe > 1)} each")
    if np.any(positions % 1):
        parts.append("interpolated between dots")
    elif len(positions) < states:
        parts.append(f"{len(positions)} of {states} solver states shown")
    return " · ".join(parts)


def _panel_words(index: int, steps: int, levels: Float[np.ndarray, "states"] | None) -> tuple[str, str]:
    step = f"step {index} of {steps}"
    name = {0: "Pure noise", steps: "Plan"}.get(index, step.capitalize())
    details = [step] if name != step.capitalize() else []
    if levels is not None:
        details.append(f"noise level {levels[index]:.2f}")
    return name, " · ".join(details)


def _slope(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    product, total = before * after, before + after
    return np.where(product > 0, 2 * product / np.where(product > 0, total, 1.0), 0.0)


def checked_path(path: object) -> Float[np.ndarray, "states samples horizon 2"]:
    """Returns `path` as float64 after checking its shape.

    Raises:
        ValueError: If it has another shape, fewer than two states or holds NaN.
    """
    states = checked_numbers("path", path, _PATH_SHAPE)
    if len(states) < 2:
        raise ValueError(f"path: expected at least 2 frames, the noise and the plan, found {len(states)}")
    return states


def checked_levels(levels: object, states: int) -> Float[np.ndarray, "states"] | None:
    """Returns `levels`, one of each state, as float64.

    Raises:
        ValueError: If there are more or fewer, or one is NaN.
    """
    return None if levels is None else checked_numbers("noise_levels", levels, (states,))


def _checked_panels(panels: int | Sequence[int], states: int) -> list[int]:
    if isinstance(panels, int):
        if not 2 <= panels <= states:
            raise ValueError(f"panels: expected 2 to {states} (the states in `path`), found {panels}")
        return [int(i) for i in np.round(np.linspace(0, states - 1, panels))]
    chosen = [int(i) for i in panels]
    if not chosen or any(not 0 <= i < states for i in chosen):
        raise ValueError(f"panels: expected indices from 0 to {states - 1}, found {list(panels)}")
    return chosen
