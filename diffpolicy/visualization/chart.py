"""Charts on a page of the house: axes with ticks, units and a light grid, in the type of everything else."""

from matplotlib.axes import Axes

from diffpolicy.visualization.checks import Number
from diffpolicy.visualization.style import HAIRLINE, INK, MUTED, Page, type_of


def chart(page: Page, x: Number, y: Number, width: Number, height: Number, *, across: str, up: str) -> Axes:
    """Returns axes for curves over a rectangle of the page, its labels outside of it: 48 px at the left and below.

    Args:
        page: Where.
        x: Left edge of the plotting area.
        y: Its top edge.
        width: Its width.
        height: Its height.
        across: What the horizontal axis shows, with its unit.
        up: What the vertical axis shows, with its unit; written above the area, where it is read level.
    """
    axes = page.axes(x, y, width, height)
    axes.set_axis_on()
    axes.patch.set_alpha(0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.tick_params(length=3, width=0.8, color=MUTED, labelcolor=INK, pad=3)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", color=HAIRLINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.margins(x=0.02)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_tick_params(labelfontfamily="DejaVu Sans", labelsize=11)
    axes.set_xlabel(across, fontproperties=type_of(11.5), color=INK, labelpad=4)
    page.text(x - 34, y - 14, up, 11.5, colour=INK)
    return axes
