"""The field at one level of noise, as pictures of it take it: checked, with its density told by regions of samples."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from diffpolicy.visualization.checks import Number, checked_numbers

#: How many of the samples lie in each region that is shaded.
SHARES = np.array([0.95, 0.8, 0.5])


@dataclass(frozen=True)
class FieldLevel:
    """The field of one action at one level of noise.

    Attributes:
        noise_level: Standard deviation of the noise, in half ranges of the actions: 1 for pure noise.
        arrows: The field at the grid's points, in workspace directions (x right, y down).
        density: p_t of the action over the whole workspace, on a finer grid of cells; in any unit.
        samples_px: The action in samples at this level.
        density_at_samples: p_t there, in the same unit. What part of them has more is how much a region holds, for the
            workspace does not hold all of the noise.
        trails_px: The way of some samples from pure noise to this level, px.
    """

    noise_level: Number
    arrows: Float[np.ndarray, "rows columns 2"]
    density: Float[np.ndarray, "cells cells"]
    samples_px: Float[np.ndarray, "samples 2"]
    density_at_samples: Float[np.ndarray, "samples"]
    trails_px: Float[np.ndarray, "states trails 2"]


def grid_points(columns: int, workspace_px: Number) -> Float[np.ndarray, "columns columns 2"]:
    """Returns the centres of a square grid of cells over the workspace, (x, y) px, rows from top to bottom."""
    centres = (np.arange(columns) + 0.5) * workspace_px / columns
    return np.stack(np.meshgrid(centres, centres), axis=-1)


def magnitude(level: FieldLevel) -> Float[np.ndarray, "rows columns"]:
    """Returns how long the arrows are, in the field's own unit."""
    return np.linalg.norm(level.arrows, axis=-1)


def relative_density(level: FieldLevel) -> Float[np.ndarray, "rows columns"]:
    """Returns the density at the arrows, as a share of that at the border of the region that holds 95%."""
    rows, cells = len(level.arrows), len(level.density)
    nearest = ((np.arange(rows) + 0.5) * cells / rows).astype(int)
    return level.density[np.ix_(nearest, nearest)] / max(float(region_borders(level)[0]), 1e-300)


def region_borders(level: FieldLevel) -> Float[np.ndarray, "shares"]:
    """Returns the densities above which `SHARES` of the samples lie: borders of highest density regions (Hyndman 1996)."""
    return np.quantile(level.density_at_samples, 1 - SHARES)


def checked_levels(levels: Sequence[FieldLevel]) -> list[FieldLevel]:
    """Returns the levels with all their arrays checked.

    Raises:
        ValueError: If there are fewer than two, or an array has the wrong shape or holds NaN; the message names it.
    """
    if len(levels) < 2:
        raise ValueError(f"levels: expected at least 2 levels of noise, the noisiest first, found {len(levels)}")
    columns = np.shape(levels[0].arrows)[:1] or (0,)
    square = (*columns, *columns, 2)
    return [_checked_level(f"levels[{index}]", level, square) for index, level in enumerate(levels)]


def _checked_level(name: str, level: FieldLevel, square: tuple[int, ...]) -> FieldLevel:
    density = checked_numbers(f"{name}.density", level.density, ("cells", "cells"))
    if density.shape[0] != density.shape[1] or density.min() < 0:
        raise ValueError(
            f"{name}.density: expected a square of numbers that are at least 0, found shape {density.shape} "
            f"and {density.min():g} to {density.max():g}"
        )
    samples_px = checked_numbers(f"{name}.samples_px", level.samples_px, ("samples", 2))
    return FieldLevel(
        noise_level=level.noise_level,
        arrows=checked_numbers(f"{name}.arrows", level.arrows, square),
        density=density,
        samples_px=samples_px,
        density_at_samples=checked_numbers(f"{name}.density_at_samples", level.density_at_samples, (len(samples_px),)),
        trails_px=checked_numbers(f"{name}.trails_px", level.trails_px, ("states", "trails", 2)),
    )
