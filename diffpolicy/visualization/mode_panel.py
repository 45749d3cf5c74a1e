"""Plans over the scene in the colours of their modes: the same colours, letters and lines in all pictures of modes."""

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patheffects import withStroke

from diffpolicy.visualization.checks import Number
from diffpolicy.visualization.plans import PANEL, Backdrop, foreground, scene_axes
from diffpolicy.visualization.style import PAGE, Page, type_of

# Okabe and Ito's colours (2008), told apart by colour-blind readers; first those farthest from the block's grey blue.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B8860B")
_GREY = "#6b7280"


def mode_colour(label: int) -> str:
    """Returns the colour of a mode by its place among the modes; grey beyond the fifth, and for -1, none of them."""
    return _COLOURS[label] if 0 <= label < len(_COLOURS) else _GREY


def mode_name(label: int) -> str:
    """Returns a mode's letter, A for the heaviest; a number from the 27th on."""
    return chr(ord("A") + label) if label < 26 else str(label + 1)


def draw_mode_panel(
    page: Page,
    square: tuple[Number, Number, Number],
    backdrop: Backdrop,
    plans: Float[np.ndarray, "samples horizon 2"],
    labels: Int[np.ndarray, "samples"],
    representatives: Float[np.ndarray, "modes horizon 2"] | None = None,
) -> Axes:
    """Draws plans as faint lines in their modes' colours, and representatives above them, strong and lettered.

    Args:
        page: Where.
        square: Left, top and side of the square in reference pixels, the fading band included.
        backdrop: What lies under the plans.
        plans: px.
        labels: The mode of each plan; -1: none.
        representatives: One plan of each mode; left out when None.
    """
    axes, scale = scene_axes(page, square, backdrop), square[2] / PANEL[2]
    opacity = float(np.clip(3.6 / np.sqrt(len(plans)), 0.1, 0.9))
    # Interleaved, or the last mode would lie above all others wherever they cross.
    colours = [mode_colour(int(label)) for label in labels]
    axes.add_collection(LineCollection(list(plans), colors=colours, linewidths=1.3 * scale, alpha=opacity, zorder=2))
    if len(plans) <= 64:
        dots = np.repeat(colours, plans.shape[1])
        x, y = plans.reshape(-1, 2).T
        axes.scatter(x, y, s=9 * scale**2, c=dots, alpha=min(1.0, 1.5 * opacity), linewidths=0)
    for label, plan in enumerate(representatives if representatives is not None else ()):
        _draw_representative(axes, plan, label, scale)
    page.animate(foreground(axes, backdrop, scale))
    return axes


def _draw_representative(axes: Axes, plan: Float[np.ndarray, "horizon 2"], label: int, scale: float) -> None:
    halo, colour = [withStroke(linewidth=6.4 * scale, foreground=PAGE)], mode_colour(label)
    axes.plot(*plan.T, color=colour, linewidth=3.4 * scale, path_effects=halo, solid_capstyle="round", zorder=3)
    axes.plot(*plan.T, "o", color=PAGE, markersize=3.4 * scale, markeredgewidth=0, zorder=3.5)
    axes.plot(
        *plan[-1], "o", color=colour, markersize=21 * scale, markeredgecolor=PAGE, markeredgewidth=2 * scale, zorder=4
    )
    axes.annotate(
        mode_name(label),
        tuple(plan[-1]),
        color=PAGE,
        ha="center",
        va="center_baseline",
        fontproperties=type_of(12.5 * scale, "bold"),
        zorder=4.5,
    )
