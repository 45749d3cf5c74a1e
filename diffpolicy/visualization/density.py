"""How plans lie over the plane: the density of an action, the regions that hold most of it, and how far plans spread."""

import math

import numpy as np
from jaxtyping import Float, Int

from diffpolicy.visualization.checks import Number

CELLS = 192
# Narrower than a cell of the grid, a kernel would fall between the places where it is read.
_NARROWEST_CELLS = 0.75


def kernel_density(
    points: Float[np.ndarray, "points 2"], bandwidth_px: Number, workspace_px: Number
) -> Float[np.ndarray, "rows columns"]:
    """Returns the density of points over the workspace, per square px, at the centres of a square grid.

    A Gaussian kernel of the same width in both directions; it is a product, so the grid is one matrix product of the
    kernels' rows and columns.

    Args:
        points: px; x right (columns), y down (rows).
        bandwidth_px: Standard deviation of the kernel.
        workspace_px: Side of the workspace.
    """
    centres = (np.arange(CELLS) + 0.5) * workspace_px / CELLS
    bumps = np.exp(-0.5 * ((centres[:, None, None] - points) / bandwidth_px) ** 2)
    return bumps[..., 1] @ bumps[..., 0].T / (len(points) * 2 * math.pi * bandwidth_px**2)


def bandwidth_px(
    points: Float[np.ndarray, "points 2"], labels: Int[np.ndarray, "points"], workspace_px: Number
) -> float:
    """Returns Scott's bandwidth (1992) for points in the plane: the standard deviation within modes times n^(-1/6).

    Within modes, since the distance between two ways round says nothing of how finely each is drawn. Never so narrow that
    the grid would miss it.
    """
    within = float(spread_px(points[:, None], labels)[0]) / math.sqrt(2)
    return max(within * len(points) ** (-1 / 6), _NARROWEST_CELLS * float(workspace_px) / CELLS)


def mass_levels(
    density: Float[np.ndarray, "rows columns"], shares: Float[np.ndarray, "shares"]
) -> Float[np.ndarray, "shares"]:
    """Returns the densities above which these shares of the mass on the grid lie: the borders of the smallest regions
    that hold so much (highest density regions, Hyndman 1996)."""
    falling = np.sort(density.ravel())[::-1]
    held = np.cumsum(falling)
    return falling[np.minimum(np.searchsorted(held, shares * held[-1]), len(held) - 1)]


def spread_px(
    plans: Float[np.ndarray, "samples horizon 2"], labels: Int[np.ndarray, "samples"] | None = None
) -> Float[np.ndarray, "horizon"]:
    """Returns how far plans spread at each action, px: the root mean square distance from their mean.

    Args:
        plans: px.
        labels: If given, the distance is that from the mean of the plan's own mode: what is left once the way is chosen.
    """
    centred = np.empty_like(plans)
    for own in [slice(None)] if labels is None else [labels == label for label in np.unique(labels)]:
        centred[own] = plans[own] - plans[own].mean(axis=0)
    return np.sqrt((centred**2).sum(axis=-1).mean(axis=0))
