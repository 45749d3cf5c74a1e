"""Scores of episodes, with the uncertainty that a number of episodes leaves."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from diffpolicy.intervals import mean_interval, wilson_interval


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
