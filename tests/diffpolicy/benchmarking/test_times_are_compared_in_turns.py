"""Contestants take turns, ratios are taken within a round, and medians with their ranges are what numpy says."""

import time

import numpy as np
import pytest

from diffpolicy.benchmarking.timing import Contestant, compare, seconds_per, spread


def test_spread_is_median_and_percentiles() -> None:
    values = np.random.default_rng(0).exponential(size=101)
    found = spread(values.tolist())
    assert (found.low, found.median, found.high) == tuple(np.sort(values)[[10, 50, 90]])
    assert found.rounds == 101


def test_one_outlier_moves_no_median() -> None:
    assert spread([1.0, 1.0, 1.0, 1.0, 1e9]).median == 1.0


def test_no_measurement_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        spread([])


def test_contestants_alternate_and_warm_up_is_not_counted() -> None:
    calls: list[tuple[str, int]] = []

    def contestant(name: str) -> Contestant:
        def play(index: int) -> float:
            calls.append((name, index))
            return 1000.0 if len(calls) <= 4 else 1.0  # as if the first turns were a thousand times as slow

        return play

    found = compare("x", {"a": contestant("a"), "b": contestant("b")}, [("a", "b")], rounds=4)
    assert [name for name, _ in calls] == ["a", "b", "a", "b", "a", "b", "b", "a", "a", "b", "b", "a"]
    assert [index for _, index in calls] == [0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 3]
    assert found.times_us["a"].high == pytest.approx(1e6)
    assert found.ratios["a / b"].rounds == 4


def test_a_machine_that_slows_down_favours_nobody() -> None:
    """Each turn is slower than the one before; both do the same, and the median ratio says so."""
    slowness = iter(np.linspace(1.0, 3.0, 44))

    def turn(_: int) -> float:
        return float(next(slowness))

    ratio = compare("x", {"a": turn, "b": turn}, [("a", "b")], rounds=20).ratios["a / b"]
    assert ratio.median == pytest.approx(1.0, abs=0.005)
    assert ratio.low < 1.0 < ratio.high


def test_turns_last_equally_long() -> None:
    """A contestant five times as quick plays about five times a turn, so an interruption hits both alike."""
    turns = {"quick": 0, "slow": 0}

    def contestant(name: str, length_s: float) -> Contestant:
        def play(_: int) -> float:
            turns[name] += 1
            time.sleep(length_s)
            return length_s

        return play

    found = compare("x", {"quick": contestant("quick", 0.01), "slow": contestant("slow", 0.05)}, [], rounds=5)
    assert turns["slow"] == 7
    assert turns["quick"] >= 2 + 5 * 2
    assert found.times_us["quick"].median == pytest.approx(1e4)
    assert found.times_us["quick"].rounds == 5


def test_long_work_is_done_no_more_often_than_it_counts() -> None:
    calls: list[str] = []

    def contestant(name: str) -> Contestant:
        return lambda index: calls.append(f"{name}{index}") or float(len(calls))

    found = compare("x", {"a": contestant("a"), "b": contestant("b")}, [("b", "a")], rounds=3, equal_turns=False)
    assert calls == ["a0", "b0", "b1", "a1", "a2", "b2"]
    assert found.times_us["a"].median == pytest.approx(4e6)
    assert found.ratios["b / a"].median == pytest.approx(6 / 5)


def test_ratios_are_taken_within_a_round() -> None:
    """Rounds differ a hundredfold, as on a machine with neighbours; b takes twice as long in each."""
    found = compare("x", {"a": lambda i: 100.0**i, "b": lambda i: 2 * 100.0**i}, [("b", "a")], rounds=3)
    assert found.ratios["b / a"].low == found.ratios["b / a"].high == 2.0
    assert found.times_us["b"].median == pytest.approx(2e8)


def test_every_round_is_told() -> None:
    told: list[None] = []
    compare("x", {"a": lambda _: 1.0}, [], rounds=3, on_round=lambda: told.append(None))
    assert len(told) == 3


@pytest.mark.parametrize(("ratios", "rounds", "place"), [([], 0, "rounds"), ([("a", "c")], 1, "no contestant 'c'")])
def test_what_cannot_be_compared(ratios: list[tuple[str, str]], rounds: int, place: str) -> None:
    with pytest.raises(ValueError, match=place):
        compare("x", {"a": lambda _: 1.0, "b": lambda _: 1.0}, ratios, rounds=rounds)


def test_seconds_are_shared_among_units() -> None:
    done: list[None] = []
    whole = seconds_per(1, lambda: done.extend([None] * 300_000))
    assert len(done) == 300_000
    assert 0 < seconds_per(1000, lambda: done.extend([None] * 300_000)) < whole
