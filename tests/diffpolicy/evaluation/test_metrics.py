"""Scores are what they say: known intervals, plain means, and JSON that any reader reads."""

import json
import math

import numpy as np
import pytest

from diffpolicy.evaluation.metrics import EpisodeRecord, summarize
from diffpolicy.intervals import mean_interval, wilson_interval


def record(score: float = 0.5, success: bool = False, steps: int = 10, coverage: float | None = 0.4) -> EpisodeRecord:
    return EpisodeRecord(seed=1, score=score, success=success, steps=steps, final_coverage=coverage)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [  # Newcombe, Statistics in Medicine 17 (1998), table I; the last is his 0 of 29 seen from the other side
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0),
    ],
)
def test_wilson_against_published_values(successes: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=6e-5)


@pytest.mark.parametrize("n", [1, 7, 500])
def test_wilson_solves_its_own_equation_and_is_symmetric(n: int) -> None:
    for successes in range(n + 1):
        p = successes / n
        low, high = wilson_interval(successes, n)
        assert 0 <= low <= p <= high <= 1
        for edge in (low, high):  # (p - q)^2 = z^2 q (1 - q) / n
            assert (p - edge) ** 2 == pytest.approx(1.959964**2 * edge * (1 - edge) / n, abs=1e-12)
        assert wilson_interval(n - successes, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_the_interval_of_a_mean_covers_it_95_times_in_100() -> None:
    rng = np.random.default_rng(0)
    covered = [low <= 0.3 <= high for low, high in (mean_interval(rng.beta(3, 7, 100).tolist()) for _ in range(2000))]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)


def test_intervals_of_fractions_are_fractions_and_others_are_left_alone() -> None:
    assert mean_interval([0.0, 1.0]) == (0.0, 1.0)
    assert mean_interval([0.7]) == (0.0, 1.0)
    assert mean_interval([-5.0]) == (-5.0, -5.0)
    low, high = mean_interval([-8.0, -6.0, -4.0])
    assert low < -6 < high < -3
    assert low + high == pytest.approx(-12)


def test_a_summary_of_known_episodes() -> None:
    episodes = [record(1.0, True, 30, 0.96), record(0.5, False, 300, 0.2), record(1.0, True, 10, 0.97), record(0.3)]
    result = summarize(episodes)
    assert result["episodes"] == 4
    assert result["mean_score"] == pytest.approx(0.7)
    assert result["success_rate"] == 0.5
    assert result["success_interval_95"] == pytest.approx([*wilson_interval(2, 4)], abs=1e-6)
    assert result["mean_final_coverage"] == pytest.approx((0.96 + 0.2 + 0.97 + 0.4) / 4)
    assert result["median_steps_to_success"] == 20
    assert result["records"][1] == {"seed": 1, "score": 0.5, "success": False, "steps": 300, "final_coverage": 0.2}


@pytest.mark.parametrize("episodes", [[record(-3.0, coverage=None)], [record()], [record(2.0), record(7.0)]])
def test_any_summary_is_json_without_infinities(episodes: list[EpisodeRecord]) -> None:
    result = summarize(episodes)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    low, high = result["mean_score_interval_95"]
    assert low <= result["mean_score"] <= high
    assert math.isfinite(high - low)


def test_a_world_without_coverage_has_none() -> None:
    result = summarize([record(coverage=None), record(coverage=None)])
    assert result["mean_final_coverage"] is None
    assert result["median_steps_to_success"] is None


def test_an_interval_of_an_array_is_that_of_each() -> None:
    """At none or all of n, the far end is z^2 / (n + z^2) from them."""
    far = 1.959964**2 / (50 + 1.959964**2)
    low, high = wilson_interval(np.array([0, 50, 25]), 50)
    assert low[:2] == pytest.approx([0, 1 - far])
    assert high[:2] == pytest.approx([far, 1])
    assert (low[2], high[2]) == pytest.approx(wilson_interval(25, 50))
