"""Charts for the pages about a record: matplotlib's SVG with the page's own colours and type.

Matplotlib is imported when the first chart is drawn, for the terminal does without it.
"""

import io
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from diffpolicy_demos.pages.page import ACCENT, CARD, INK, LINE, MUTED, THEME, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DPI = 72  # of matplotlib's SVG: one unit is one px of the page
_FONT_PX = 12.5
_LEAST_WIDTH_PX = 700


def chart(width: int, height: int, draw: Callable[["Axes"], None], name: str) -> str:
    """Draws one chart as inline SVG.

    Args:
        width: Width, px of the page at which type has its size.
        height: Height, likewise.
        draw: Draws into the axes, with the colours of `page`.
        name: Of the chart, one a page: references inside the SVG are made from it.
    """
    return panels(width, height, (1, 1), lambda axes: draw(axes[0]), name)


def panels(width: int, height: int, grid: tuple[int, int], draw: Callable[[Sequence["Axes"]], None], name: str) -> str:
    """Draws several charts in rows and columns as one inline SVG.

    Args:
        width: As for `chart`.
        height: Likewise, of all rows together.
        grid: Rows and columns.
        draw: Draws into the axes, given row by row.
        name: As for `chart`.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": name}):
        figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots(*grid, squeeze=False).ravel().tolist()
        for one in axes:
            one.set_axisbelow(True)
        draw(axes)
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _inline(drawn.getvalue(), name, width)


_STYLE = {
    "svg.fonttype": "none",
    "font.size": _FONT_PX,
    "axes.labelsize": _FONT_PX,
    "xtick.labelsize": _FONT_PX - 1,
    "ytick.labelsize": _FONT_PX - 1,
    "legend.fontsize": _FONT_PX - 1,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.edgecolor": LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "axes.facecolor": "none",
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "lines.linewidth": 1.4,
    "path.simplify_threshold": 0.25,
}


def histogram(
    values: Iterable[int | float], label: str, name: str, *, count: str = "episodes", log: bool = False, bins: int = 30
) -> str:
    """A histogram of finite numbers.

    Args:
        values: The numbers; at least one.
        label: Of the horizontal axis, with the unit.
        name: As for `chart`.
        count: What is counted.
        log: Whether the horizontal axis is logarithmic; all numbers are positive then.
        bins: How many bars at most.
    """
    numbers = np.asarray(list(values), dtype=np.float64)

    def draw(axes: "Axes") -> None:
        from matplotlib.ticker import MaxNLocator, NullFormatter

        edges = _log_edges(numbers, bins) if log else _edges(numbers, bins)
        axes.hist(numbers, bins=edges.tolist(), color=ACCENT, edgecolor=CARD, linewidth=0.8)
        if log:
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter(NullFormatter())
        elif (numbers == np.rint(numbers)).all():
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        axes.set_xlabel(label)
        axes.set_ylabel(count)
        axes.grid(axis="x", visible=False)

    return chart(520, 260, draw, name)


def bundle(
    curves: Sequence[tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]],
    axes: "Axes",
    colour: str = ACCENT,
    opacity: float | None = None,
    width: float = 0.9,
) -> None:
    """Draws many curves of one kind, the fainter the more there are."""
    from matplotlib.collections import LineCollection

    faint = float(np.clip(6.0 / max(len(curves), 1), 0.2, 0.9)) if opacity is None else opacity
    lines = [np.column_stack(curve) for curve in curves]
    axes.add_collection(LineCollection(lines, colors=colour, linewidths=width, alpha=faint, capstyle="round"))
    axes.autoscale_view()


def _edges(numbers: Float[np.ndarray, " values"], bins: int) -> Float[np.ndarray, " edges"]:
    low, high = float(numbers.min()), float(numbers.max())
    if low == high:
        return np.array([low - 0.5, high + 0.5])
    if (numbers == np.rint(numbers)).all() and high - low < bins:
        return np.arange(low - 0.5, high + 1.0)  # a bar for each whole number
    return np.linspace(low, high, bins + 1)


def _log_edges(numbers: Float[np.ndarray, " values"], bins: int) -> Float[np.ndarray, " edges"]:
    low, high = np.log10(numbers.min()), np.log10(numbers.max())
    return np.logspace(low - 0.05, high + 0.05, bins + 1)


def _inline(svg: str, name: str, width: int) -> str:
    """The SVG element alone, in the page's colours; no declarations, which name places on the network."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg)
    end = svg.index(">")
    opening = re.sub(r'\s(?:width|height)="[^"]*"', "", svg[:end])  # the page's style decides
    # On a narrow screen a wide chart is scrolled, since shrunk its type could not be read.
    least = _LEAST_WIDTH_PX if width > _LEAST_WIDTH_PX else 0
    opening = opening.replace("<svg", f'<svg role="img" aria-label="{escape(name)}" style="min-width: {least}px"', 1)
    # Only what is referred to keeps its id: charts share a page, and matplotlib numbers the groups of each anew.
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg))
    svg = opening + re.sub(r'\sid="([^"]*)"', lambda found: found[0] if found[1] in used else "", svg[end:])
    for drawn, shown in THEME.items():
        svg = svg.replace(drawn, shown)
    return svg
