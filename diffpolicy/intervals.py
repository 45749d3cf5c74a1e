"""95% confidence intervals of what was counted and what was averaged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

_Z = 1.959964  # the normal distribution's 97.5% point


def wilson_interval(successes: Any, n: int) -> tuple[Any, Any]:
    """95% confidence interval of a proportion (Wilson 1927), as fractions; honest near 0 and 1 and for small n.

    Args:
        successes: how many of n, a number or an array of them.
        n: how many there were.

    Returns:
        Its ends, each a number or an array as `successes` is.
    """
    share, room = successes / n, _Z**2 / n
    half = _Z * np.sqrt(share * (1 - share) / n + room / (4 * n))
    low, high = ((share + room / 2 + side) / (1 + room) for side in (-half, half))
    # Rounding must not leave out the share itself, which is the very end at none and at all.
    low, high = np.clip(low, 0.0, share), np.clip(high, share, 1.0)
    return (low, high) if isinstance(share, np.ndarray) else (float(low), float(high))


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """95% confidence interval of a mean by the normal approximation, for scores over many episodes.

    Fractions stay fractions. One value says nothing of its spread: its interval is [0, 1] for a fraction, and for a
    score of another kind, which has no such bounds, the value itself.
    """
    array = np.asarray(values, dtype=float)
    mean, fractions = float(array.mean()), bool(((array >= 0) & (array <= 1)).all())
    if len(array) == 1:
        return (0.0, 1.0) if fractions else (mean, mean)
    half = _Z * float(array.std(ddof=1)) / math.sqrt(len(array))
    return (max(0.0, mean - half), min(1.0, mean + half)) if fractions else (mean - half, mean + half)
