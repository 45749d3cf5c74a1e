"""The field that draws plans out of the noise: arrows over the plane of one action, at falling levels of noise.

At pure noise all arrows point to one place. As the noise falls they part, and each mode draws what is near it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm, Normalize, to_rgba

from diffpolicy.visualization.checks import Number
from diffpolicy.visualization.field_level import (
    FieldLevel,
    checked_levels,
    grid_points,
    magnitude,
    region_borders,
    relative_density,
)
from diffpolicy.visualization.plans import FADE, PAGE_WIDTH, PANEL, Backdrop, foreground, scene_axes
from diffpolicy.visualization.style import INK, MUTED, PAGE, Page

# Viridis is perceptually uniform and safe for colour-blind readers; its yellow end would vanish on the pale scene.
_STRENGTH_MAP = ListedColormap(colormaps["viridis"](np.linspace(0.0, 0.82, 256)), name="field_strength")
_DENSITY = "#E69F00"  # Okabe and Ito's orange (2008), far from all of these in hue and in lightness
_BORDER = "#B37700"
_SHADE = 0.14
_FAINT = 0.3
_SIDE, _TOP, _FOOT = 330.0, 92.0, 106.0


def field_picture(
    levels: Sequence[FieldLevel],
    scene: UInt8[np.ndarray, "height width 3"],
    *,
    quantity: Literal["score", "velocity"] = "score",
    title: str = "",
    subtitle: str = "",
    agent_px: Float[np.ndarray, "2"] | None = None,
    workspace_px: Number = 512.0,
    panel_px: int = 480,
) -> UInt8[np.ndarray, "page_height page_width 3"]:
    """Draws the field at several levels of noise side by side, from pure noise to nearly a plan.

    Arrows point where the field does; their colour is its magnitude, on one scale for all panels, and within a panel the
    weakest are shorter. Where the density is negligible they are pale: no plan comes there. Below them lie the smallest
    regions that hold 50, 80 and 95% of the samples, the samples as dots, and the ways of some from pure noise.

    Args:
        levels: The noisiest first; arrows of all on the grid of `grid_points`.
        scene: RGB picture of the world, drawn over the whole workspace.
        quantity: What the arrows are: the score in 1/px, or the velocity of denoising in px (over the whole way from
            noise to plan, if it stayed as it is).
        title: Heading; by default what the arrows are.
        subtitle: A smaller second line.
        agent_px: Position of the agent, marked with a ring.
        workspace_px: Side of the workspace.
        panel_px: Width of one panel in the picture.

    Raises:
        ValueError: If an argument has the wrong shape or holds NaN; the message names it.
    """
    checked = checked_levels(levels)
    if panel_px < 96:
        raise ValueError(f"panel_px: expected at least 96, found {panel_px}")
    backdrop = Backdrop.checked(2, scene, None, agent_px, workspace_px, 1.0)
    scale = _Scale.over(checked, quantity)
    width = _SIDE * len(checked)
    page = Page(width, _TOP + _SIDE + _FOOT, 2 * round(panel_px * len(checked) / 2))
    band = _SIDE * FADE / (1 + 2 * FADE)
    page.text(band, 32, title or _TITLES[quantity], 17, weight="bold")
    page.text(band, 54, subtitle, 11, colour=MUTED)
    for column, level in enumerate(checked):
        _draw_level(page, (column * _SIDE, _TOP, _SIDE), backdrop, level, scale)
        page.text(column * _SIDE + band, _TOP - 5, _level_words(level), 13, weight="bold")
    _draw_legend(page, band, _TOP + _SIDE + 10, scale)
    return page.picture()


def field_frames(
    levels: Sequence[FieldLevel],
    scene: UInt8[np.ndarray, "height width 3"],
    *,
    quantity: Literal["score", "velocity"] = "score",
    title: str = "",
    subtitle: str = "",
    agent_px: Float[np.ndarray, "2"] | None = None,
    workspace_px: Number = 512.0,
    width_px: int = 640,
) -> Iterator[UInt8[np.ndarray, "page_height page_width 3"]]:
    """Draws the same as a film, a frame for each level; on one scale of colours.

    Args:
        levels: As for `field_picture`.
        scene: As there.
        quantity: As there.
        title: As there.
        subtitle: As there.
        agent_px: As there.
        workspace_px: As there.
        width_px: Width of a frame.

    Returns:
        An iterator of equal-sized RGB frames. Arguments are checked at once, not at the first frame.

    Raises:
        ValueError: If an argument has the wrong shape or holds NaN; the message names it.
    """
    checked = checked_levels(levels)
    backdrop = Backdrop.checked(2, scene, None, agent_px, workspace_px, 1.0)
    scale = _Scale.over(checked, quantity)
    left, _, side = PANEL
    top = _TOP - 6
    band = side * FADE / (1 + 2 * FADE)

    def drawn() -> Iterator[UInt8[np.ndarray, "page_height page_width 3"]]:
        for level in checked:
            page = Page(PAGE_WIDTH, top + side + _FOOT, width_px)
            page.text(left + band, 34, title or _TITLES[quantity], 16, weight="bold")
            page.text(left + band, 56, subtitle, 10, colour=MUTED)
            page.text(left + band, top - 4, _level_words(level), 13, weight="bold")
            _draw_level(page, (left, top, side), backdrop, level, scale)
            _draw_legend(page, left + band, top + side + 10, scale)
            yield page.picture()

    return drawn()


_TITLES = {
    "score": "Score: the gradient of log pₜ(x | y)",
    "velocity": "Velocity of denoising",
}
_UNITS = {"score": "length of the score (1/px)", "velocity": "speed (px from noise to plan)"}


@dataclass(frozen=True)
class _Scale:
    """The colours of magnitudes: logarithmic for scores, which grow as noise falls by the square of it."""

    norm: Normalize
    unit: str

    @classmethod
    def over(cls, levels: Sequence[FieldLevel], quantity: Literal["score", "velocity"]) -> "_Scale":
        # Outliers where no plan comes must not use up the colours.
        likely = [relative_density(level) > _FAINT / 10 for level in levels]
        anywhere = not any(part.any() for part in likely)
        seen = np.concatenate([magnitude(level)[part | anywhere] for level, part in zip(levels, likely, strict=True)])
        low, high = np.quantile(seen, [0.05, 0.98])
        if quantity == "velocity":
            return cls(Normalize(0.0, max(float(high), 1e-9)), _UNITS[quantity])
        high = max(float(high), 1e-12)
        return cls(LogNorm(float(np.clip(low, 1e-3 * high, 0.5 * high)), high), _UNITS[quantity])

    def colours(self, strength: Float[np.ndarray, "*batch"]) -> Float[np.ndarray, "*batch 4"]:
        return np.asarray(_STRENGTH_MAP(np.clip(np.asarray(self.norm(np.maximum(strength, 1e-15))), 0.0, 1.0)))


def _draw_level(
    page: Page, square: tuple[Number, Number, Number], backdrop: Backdrop, level: FieldLevel, scale: _Scale
) -> None:
    axes, size = scene_axes(page, square, backdrop), square[2] / PANEL[2]
    side_px = float(backdrop.workspace_px)
    world = (0.0, side_px, side_px, 0.0)
    axes.imshow(np.broadcast_to(to_rgba(PAGE, 0.4), (1, 1, 4)), extent=world, aspect="auto", zorder=0.5)
    _draw_density(axes, level, side_px)
    for trail in np.swapaxes(level.trails_px, 0, 1):
        axes.plot(*trail.T, color=INK, linewidth=1.1 * size, alpha=0.4, zorder=2)
    x, y = level.samples_px.T
    axes.scatter(x, y, s=9 * size**2, color=INK, alpha=0.5, linewidths=0, zorder=2.5)
    x, y = level.trails_px[-1].T
    axes.scatter(x, y, s=26 * size**2, color=INK, edgecolors=PAGE, linewidths=0.6 * size, zorder=2.6)
    _draw_arrows(axes, level, side_px, scale)
    page.animate(foreground(axes, backdrop, size))


def _draw_density(axes: Axes, level: FieldLevel, side_px: float) -> None:
    """The smallest regions that hold so many of the samples, each a shade deeper."""
    density = level.density
    centres = (np.arange(len(density)) + 0.5) * side_px / len(density)
    for border in region_borders(level):
        if density.max() > border:
            ground = [border, max(2 * density.max(), border)]
            axes.contourf(centres, centres, density, ground, colors=[_DENSITY], alpha=_SHADE, zorder=1)
        if density.min() < border < density.max():
            axes.contour(centres, centres, density, [border], colors=[_BORDER], linewidths=1.0, zorder=1.5)


def _draw_arrows(axes: Axes, level: FieldLevel, side_px: float, scale: _Scale) -> None:
    columns = level.arrows.shape[1]
    cell_px = side_px / columns
    points, strength = grid_points(columns, side_px), magnitude(level)
    colours = scale.colours(strength)
    likely = np.clip(relative_density(level) / _FAINT, 0.0, 1.0)
    colours[..., 3] = _FAINT + (1 - _FAINT) * likely
    usual = np.median(strength[likely > 0.5]) if (likely > 0.5).any() else np.median(strength)
    length_px = 0.92 * cell_px * np.minimum(1.0, np.sqrt(strength / max(float(usual), 1e-15)))
    drawn = level.arrows / np.maximum(strength, 1e-15)[..., None] * length_px[..., None]
    axes.quiver(
        *points.reshape(-1, 2).T,
        *drawn.reshape(-1, 2).T,
        color=colours.reshape(-1, 4),
        angles="xy",
        scale_units="xy",
        scale=1.0,
        units="xy",
        width=0.085 * cell_px,
        headwidth=3.6,
        headlength=3.8,
        headaxislength=3.4,
        minlength=0.6,
        pivot="mid",
        zorder=3,
    )


def _draw_legend(page: Page, x: Number, top: Number, scale: _Scale) -> None:
    """The colours of magnitudes, and below them what the marks are."""
    width = 300.0
    bar = page.axes(x, top, width, 11)
    bar.imshow(_STRENGTH_MAP(np.linspace(0, 1, 256))[None], extent=(0, 1, 0, 1), aspect="auto")
    low, high = float(scale.norm.vmin or 0.0), float(scale.norm.vmax or 1.0)
    for tick in _ticks(low, high, isinstance(scale.norm, LogNorm)):
        page.text(x + width * float(scale.norm(tick)), top + 27, f"{tick:.3g}", 10, colour=MUTED, ha="center")
    page.text(x + width + 14, top + 11, scale.unit, 11)

    line = top + 58
    marks = page.axes(x, line - 12, 600, 16)
    marks.set_xlim(0, 600)
    marks.set_ylim(-8, 8)
    marks.scatter([5], [0], s=16, color=INK, alpha=0.6, linewidths=0)
    marks.plot([92, 122], [0, 0], color=INK, linewidth=1.4, alpha=0.5)
    marks.scatter([122], [0], s=34, color=INK, edgecolors=PAGE, linewidths=0.6)
    for inset in (0, 7, 14):
        marks.fill_between([286 + inset, 330 - inset], -8, 8, color=_DENSITY, alpha=_SHADE, linewidth=0)
    for place, words in ((16, "sample"), (134, "its way from noise"), (338, "50, 80 and 95% of samples")):
        page.text(x + place, line, words, 11)
    page.text(x, line + 26, "pale arrows: hardly a sample comes there", 11, colour=MUTED)


def _ticks(low: float, high: float, logarithmic: bool) -> list[float]:
    if logarithmic:
        decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
        return [m * 10.0**d for d in decades for m in (1, 3) if low <= m * 10.0**d <= high]
    step = next(s for d in range(-6, 9) for s in (1 * 10.0**d, 2 * 10.0**d, 5 * 10.0**d) if high / s <= 5)
    return [float(k * step) for k in range(int(high / step) + 1)]


def _level_words(level: FieldLevel) -> str:
    return "Pure noise" if level.noise_level > 0.995 else f"Noise level {level.noise_level:.2f}"
