"""Charts of measurements: times against sizes, and contestants side by side, in the look of all our pictures.

The first contestant is blue and round; none is told from another by its colour alone. Axes are logarithmic: on them, a cost
that grows in proportion is a straight line, and a factor has the same length everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, LogLocator, NullLocator

from diffpolicy.visualization.style import ACCENT, HAIRLINE, INK, MUTED, Page, type_of

# Blue, orange, green and purple that colour-blind readers tell apart (Okabe and Ito 2008), ours being the house's blue.
_LOOKS: Final = ((ACCENT, "o"), ("#d55e00", "s"), ("#009e73", "^"), ("#cc79a7", "D"))
_MARGIN_LEFT, _MARGIN_TOP, _MARGIN_BELOW, _GAP = 70, 64, 52, 26
_PANEL_WIDTH, _PANEL_HEIGHT, _ROW_HEIGHT = 400, 230, 26
_LABELS_WIDTH, _NOTES_WIDTH = 290, 90


@dataclass(frozen=True)
class Measured:
    """A median and its 10-90% range."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """Measurements against a size, by size."""

    name: str
    values: Mapping[float, Measured]


@dataclass(frozen=True)
class Panel:
    """Curves that share axes, and the floor that none of them can go below."""

    title: str
    size_label: str
    value_label: str
    curves: Sequence[Curve]
    floor: Mapping[float, float]


@dataclass(frozen=True)
class Row:
    """What some contestants measured for one work, and a note at its end."""

    label: str
    values: Mapping[str, Measured]
    note: str


def curves_chart(panels: Sequence[Panel], width_px: int = 1000) -> UInt8[np.ndarray, "height width_px 3"]:
    """Draws panels in two columns.

    Args:
        panels: One or more.
        width_px: Width of the picture.
    """
    columns = min(2, len(panels))
    cell_width = _MARGIN_LEFT + _PANEL_WIDTH + _GAP
    cell_height = _MARGIN_TOP + _PANEL_HEIGHT + _MARGIN_BELOW
    height = cell_height * -(-len(panels) // columns)
    page = Page(cell_width * columns, height, width_px * columns // 2)
    for index, panel in enumerate(panels):
        left, top = cell_width * (index % columns), cell_height * (index // columns)
        page.text(left + _MARGIN_LEFT, top + 28, panel.title, 11, weight="bold")
        page.text(left + _MARGIN_LEFT, top + 50, panel.value_label, 9, colour=MUTED)
        axes = page.axes(left + _MARGIN_LEFT, top + _MARGIN_TOP, _PANEL_WIDTH, _PANEL_HEIGHT)
        page.text(
            left + _MARGIN_LEFT + _PANEL_WIDTH / 2,
            top + cell_height - 10,
            panel.size_label,
            9,
            colour=MUTED,
            ha="center",
        )
        _draw_curves(axes, panel)
    return page.picture()


def rows_chart(
    title: str, value_label: str, rows: Sequence[Row], width_px: int = 1000
) -> UInt8[np.ndarray, "height width_px 3"]:
    """Draws one row for each work, with a mark for each contestant.

    Args:
        title: What it is about.
        value_label: What was measured, and its unit.
        rows: From top to bottom.
        width_px: Width of the picture.
    """
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    rows_height = _ROW_HEIGHT * len(rows)
    width, height = 1000, _MARGIN_TOP + rows_height + _MARGIN_BELOW
    page = Page(width, height, width_px)
    page.text(20, 28, title, 11, weight="bold")
    axes = page.axes(_LABELS_WIDTH, _MARGIN_TOP, width - _LABELS_WIDTH - _NOTES_WIDTH, rows_height)
    _prepare(axes)
    axes.set_xscale("log")
    axes.set_ylim(len(rows), 0)
    axes.yaxis.set_major_locator(NullLocator())
    axes.grid(axis="x", color=HAIRLINE, linewidth=0.8)
    for (colour, marker), name in zip(_LOOKS, names, strict=False):
        there = [(place + 0.5, row.values[name]) for place, row in enumerate(rows) if name in row.values]
        for place, value in there:
            axes.plot([value.low, value.high], [place, place], color=colour, linewidth=1.6, alpha=0.55)
        medians, places = [value.median for _, value in there], [place for place, _ in there]
        axes.plot(medians, places, marker, color=colour, markersize=6.5, linestyle="", label=name)
    _number(axes.xaxis)
    for place, row in enumerate(rows):
        baseline = _MARGIN_TOP + (place + 0.5) * _ROW_HEIGHT + 4
        page.text(_LABELS_WIDTH - 12, baseline, row.label, 9, ha="right")
        page.text(width - _NOTES_WIDTH + 12, baseline, row.note, 9, weight="bold")
    if len(names) > 1:
        above = {"loc": "lower left", "bbox_to_anchor": (0, 1.0), "ncols": len(names), "borderaxespad": 0.2}
        axes.legend(**above, frameon=False, prop=type_of(9), labelcolor=INK, columnspacing=1.4, handletextpad=0.3)
    page.text((_LABELS_WIDTH + width - _NOTES_WIDTH) / 2, height - 10, value_label, 9, colour=MUTED, ha="center")
    return page.picture()


def _draw_curves(axes: Axes, panel: Panel) -> None:
    _prepare(axes)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.grid(color=HAIRLINE, linewidth=0.8)
    if panel.floor:
        axes.plot(
            list(panel.floor),
            list(panel.floor.values()),
            color=MUTED,
            linestyle=(0, (5, 3)),
            linewidth=1.6,
            label="floor",
        )
    for curve, (colour, marker) in zip(panel.curves, _LOOKS, strict=False):
        sizes, values = list(curve.values), list(curve.values.values())
        axes.fill_between(
            sizes, [v.low for v in values], [v.high for v in values], color=colour, alpha=0.18, linewidth=0
        )
        axes.plot(
            sizes,
            [v.median for v in values],
            color=colour,
            marker=marker,
            markersize=5.5,
            linewidth=1.8,
            label=curve.name,
        )
    sizes = sorted({size for curve in panel.curves for size in curve.values})
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{size:g}" for size in sizes]))
    axes.xaxis.set_minor_locator(NullLocator())
    _number(axes.yaxis)
    axes.legend(loc="best", frameon=False, prop=type_of(9), labelcolor=INK)


def _prepare(axes: Axes) -> None:
    """A page's axes are bare: here they are for reading values off."""
    axes.set_axis_on()
    axes.set_axisbelow(True)
    axes.patch.set_visible(False)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.tick_params(length=0, colors=MUTED, labelsize=8.5)
    axes.minorticks_off()


def _number(axis: Axis) -> None:
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0,) if high > 1e3 * low else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    axis.set_minor_locator(NullLocator())


def _short(value: float) -> str:
    for size, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{prefix}"
    return f"{value:g}"
