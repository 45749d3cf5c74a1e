"""Scores of episodes, with the uncertainty that a number of episodes leaves."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

_Z = 1.959964  # the normal distribution's 97.5% point


@dataclass(frozen=True)
class EpisodeRecord:
    """One episode.

    Attributes:
        seed: where it started from.
        score: the best reward reached, a fraction.
        success: whether the task was ever solved.
        steps: control steps taken.
        final_coverage: share of the goal covered at the end; None where the world reports none.
    """

    seed: int
    score: float
    success: bool
    steps: int
    final_coverage: float | None


def wilson_interval(successes: int | float, n: int) -> tuple[float, float]:
    """95% confidence interval of a proportion (Wilson 1927), as fractions; honest near 0 and 1 and for small n."""
    p = successes / n
    center = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
    return max(0.0, center - half), min(1.0, center + half)


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


def summarize(records: Sequence[EpisodeRecord]) -> dict[str, Any]:
    """The numbers of `eval.json` that come from the episodes alone; all scores are fractions."""
    successes = sum(record.success for record in records)
    scores = [record.score for record in records]
    coverages = [record.final_coverage for record in records if record.final_coverage is not None]
    solved = [record.steps for record in records if record.success]
    return {
        "episodes": len(records),
        "mean_score": float(np.mean(scores)),
        "mean_score_interval_95": [round(v, 6) for v in mean_interval(scores)],
        "success_rate": successes / len(records),
        "success_interval_95": [round(v, 6) for v in wilson_interval(successes, len(records))],
        "mean_final_coverage": float(np.mean(coverages)) if coverages else None,
        "median_steps_to_success": statistics.median(solved) if solved else None,
        "records": [asdict(record) for record in records],
    }
