"""Noise becoming plans under the reader's hand: a slider through the solver's states, on a page that needs no network.

The film shows the denoising at its own pace; here one can stop where two ways part and look at a single plan.
"""

import base64
import json
from pathlib import Path

import numpy as np
from diffpolicy_demos.pages.page import escape, page, png_uri
from jaxtyping import Float, UInt8
from matplotlib.colors import to_hex

from diffpolicy.visualization.checks import Number
from diffpolicy.visualization.denoising import MOST_DOTS, checked_levels, checked_path
from diffpolicy.visualization.plans import FADE, PANEL, RING, Backdrop, time_ticks_s
from diffpolicy.visualization.strokes import SHORT, Strokes
from diffpolicy.visualization.style import time_colours

# A 5120th of the side is a fifth of a pixel at most where the page shows it; numbers of two bytes hold 6.4 sides.
_UNITS_A_SIDE, _LARGEST = 5120, 32767
_ABOUT = (
    "Each line is one sequence of actions that the policy could take for what it has just observed. All begin as random "
    "numbers, at the left end of the slider. Step by step the solver moves them the way the network says, until they are "
    "plans at the right end: samples of p(x | y), x the actions, y the observation. Colour is time along a plan."
)

# So that keys move it at once; but not within another page, such as a notebook, whose reader is elsewhere.
_FOCUS = """<script>if (window === window.top) document.querySelector(".denoising-slider").focus({preventScroll: true});
</script>"""


def denoising_page(
    path: Float[np.ndarray, "states samples horizon 2"],
    scene: UInt8[np.ndarray, "height width 3"],
    *,
    agent_px: Float[np.ndarray, "2"] | None = None,
    executed: slice | None = None,
    noise_levels: Float[np.ndarray, "states"] | None = None,
    nfe: int | None = None,
    workspace_px: Number = 512.0,
    period_s: Number = 0.1,
    title: str = "Noise becoming plans",
    subtitle: str = "",
) -> str:
    """A whole page around `denoising_widget`, which says what the other arguments are.

    Args:
        path: The solver's states.
        scene: RGB picture of the world.
        agent_px: Position of the agent.
        executed: Which actions of a plan will be executed.
        noise_levels: The noise level of each state.
        nfe: Network evaluations for one sample.
        workspace_px: Side of the workspace.
        period_s: Time between two actions.
        title: Heading; plain text.
        subtitle: A line below it, such as whose plans these are; plain text.

    Raises:
        ValueError: If an argument has the wrong shape or holds NaN; the message names it.
    """
    widget = denoising_widget(
        path,
        scene,
        agent_px=agent_px,
        executed=executed,
        noise_levels=noise_levels,
        nfe=nfe,
        workspace_px=workspace_px,
        period_s=period_s,
        name=title,
    )
    about = _ABOUT if executed is None else f"{_ABOUT} The part that will be executed is drawn stronger."
    below = f'<p class="muted">{escape(subtitle)}</p>' if subtitle else ""
    return page(
        title,
        [
            f"<h1>{escape(title)}</h1>{below}",
            f"<section>{widget}</section>{_FOCUS}",
            f'<p style="margin-top:16px">{about}</p>',
        ],
    )


def denoising_widget(
    path: Float[np.ndarray, "states samples horizon 2"],
    scene: UInt8[np.ndarray, "height width 3"],
    *,
    agent_px: Float[np.ndarray, "2"] | None = None,
    executed: slice | None = None,
    noise_levels: Float[np.ndarray, "states"] | None = None,
    nfe: int | None = None,
    workspace_px: Number = 512.0,
    period_s: Number = 0.1,
    name: str = "Denoising",
) -> str:
    """A piece of HTML with a slider from noise to plans; any number of them can stand on a page of `pages.page`.

    Sequences are drawn in the browser, at the resolution of its screen, as `denoising_frames` draws them: exact at the
    solver's states, which are dots on the slider, and with the same interpolation between. Arrow keys go from state to
    state, space plays, a plan under the pointer stands out.

    Args:
        path: The solver's states in workspace px, first pure noise, last the plans; x right, y down, origin top left.
            They are stored to the nearest tenth of a px of a workspace of 512 px, coarser only if a value is beyond
            6.4 of its sides.
        scene: RGB picture of the world, drawn over the whole workspace.
        agent_px: Position of the agent, marked with a ring.
        executed: Which actions of a plan will be executed, for example `slice(1, 9)`; drawn stronger.
        noise_levels: The noise level of each state, for the heading; left out when None.
        nfe: Network evaluations for one sample, for the heading; left out when None.
        workspace_px: Side of the workspace.
        period_s: Time between two actions.
        name: What a screen reader calls it; plain text.

    Raises:
        ValueError: If an argument has the wrong shape or holds NaN; the message names it.
    """
    states = checked_path(path)
    levels = checked_levels(noise_levels, len(states))
    backdrop = Backdrop.checked(states.shape[2], scene, executed, agent_px, workspace_px, period_s)
    data = json.dumps(_data(states, levels, backdrop), separators=(",", ":")).replace("<", "\\u003c")
    steps, samples, horizon, _ = (len(states) - 1, *states.shape[1:])
    shown = range(steps + 1) if steps < MOST_DOTS else (0, steps)
    dots = "".join(f'<i data-step="{step}" style="left:{100 * step / steps:.5g}%"></i>' for step in shown)
    seen = f"{samples} plan{'s' * (samples > 1)} of {horizon} actions over the scene, at the slider's denoising step"
    return f"""<figure class="denoising" aria-label="{escape(name)}">
<style>{_beside("css")}</style>
<div class="denoising-head"><span class="denoising-step"></span><span class="denoising-level"></span></div>
<p>{_note(samples, nfe, steps)}</p>
<canvas class="denoising-scene" role="img" aria-label="{seen}"></canvas>
<noscript>The picture is drawn by JavaScript, which is switched off here.</noscript>
<div class="denoising-controls"><button type="button" class="denoising-play" aria-label="Play">
<svg viewBox="0 0 20 20" aria-hidden="true"><path d="M6 3.2v13.6L17 10z"/><path d="M4.5 3.5h4v13h-4zm7 0h4v13h-4z"/></svg>
</button><div class="denoising-track"><div class="denoising-dots" aria-hidden="true">{dots}</div>
<input type="range" class="denoising-slider" aria-label="Denoising step" min="0" max="{steps}" step="any" value="{steps}">
</div></div>
<div class="denoising-ends" aria-hidden="true"><span>noise</span>
<span class="denoising-chosen"></span><span>plan</span></div>
{_time_bar(horizon, backdrop)}
<p class="denoising-keys"><kbd>←</kbd> <kbd>→</kbd> step by step · <kbd>space</kbd> plays · point at a plan to follow it</p>
<script type="application/json" class="denoising-data">{data}</script>
<script>{_beside("js")}</script>
</figure>"""


def _data(
    states: Float[np.ndarray, "states samples horizon 2"],
    levels: Float[np.ndarray, "states"] | None,
    backdrop: Backdrop,
) -> dict[str, object]:
    """What the script draws from: numbers in workspace px, colours as CSS writes them, widths in points."""
    steps, samples, horizon, _ = states.shape
    side_px = float(backdrop.workspace_px)
    unit_px = max(side_px / _UNITS_A_SIDE, float(np.abs(states).max()) / _LARGEST)
    strokes = Strokes.of(samples, horizon, backdrop.executed)

    def drawn(
        colours: Float[np.ndarray, "parts 4"], widths: Float[np.ndarray, "parts"]
    ) -> list[tuple[str, float, float]]:
        return [
            (to_hex(c[:3]), round(c[3], 4), round(w, 3)) for c, w in zip(colours.tolist(), widths.tolist(), strict=True)
        ]

    return {
        "states": steps,
        "samples": samples,
        "horizon": horizon,
        "unit_px": unit_px,
        "path": base64.b64encode(np.round(states / unit_px).astype("<i2").tobytes()).decode("ascii"),
        "noise_levels": None if levels is None else levels.tolist(),
        "points": drawn(strokes.point_colours, strokes.point_widths),
        "lines": drawn(strokes.line_colours, strokes.line_widths),
        "side_px": side_px,
        "band_px": FADE * side_px,
        "short_px": SHORT * side_px,
        "ring_px": RING * side_px,
        "reference_px": PANEL[2],
        "agent_px": None if backdrop.agent_px is None else backdrop.agent_px.tolist(),
        "scene": png_uri(backdrop.scene),
    }


def _note(samples: int, nfe: int | None, steps: int) -> str:
    parts = [f"{samples} sample{'s' * (samples > 1)}"]
    if nfe is not None:
        parts.append(f"{nfe} network evaluation{'s' * (nfe > 1)} each")
    parts.append(
        "interpolated between dots" if steps < MOST_DOTS else f"interpolated between {steps + 1} solver states"
    )
    return " · ".join(parts)


def _time_bar(horizon: int, backdrop: Backdrop) -> str:
    """The colours of a plan, one block an action, over the time in seconds, with the executed part bracketed."""
    colours = "".join(f'<i style="background:{to_hex(colour)}"></i>' for colour in time_colours(horizon))
    ticks = "".join(
        f'<span style="left:{100 * (tick_s / backdrop.period_s + 0.5) / horizon:.5g}%">{tick_s:g}</span>'
        for tick_s in time_ticks_s(horizon, backdrop.period_s).tolist()
    )
    bracket = ""
    if backdrop.executed:
        left, width = 100 * backdrop.executed.start / horizon, 100 * len(backdrop.executed) / horizon
        inside = f'<div class="denoising-executed" style="left:{left:.5g}%;width:{width:.5g}%"><b>executed</b></div>'
        bracket = f'<div class="denoising-bracket">{inside}</div>'
    bar = f'<div class="denoising-colours">{colours}</div><div class="denoising-ticks">{ticks}</div>'
    return f'<div class="denoising-time">{bracket}{bar}time along the plan (s)</div>'


def _beside(suffix: str) -> str:
    """The file beside this one."""
    return Path(__file__).with_suffix(f".{suffix}").read_text(encoding="utf-8")
