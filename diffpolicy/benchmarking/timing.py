"""Times with their spread, and contestants compared in alternation.

On a machine that others use too, two measurements made one after the other compare the neighbours rather than the
programs. Here the contestants take turns in many short rounds, and each ratio is taken within one round. Turns last
equally long, for a short one can slip between two interruptions where a long one cannot.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean

import numpy as np

Contestant = Callable[[int], float]

_SHORTEST_TURN_S = 1e-3
_MOST_REPEATS = 50


@dataclass(frozen=True)
class Spread:
    """The middle of repeated measurements and how far they reach.

    Attributes:
        median: Half of the measurements lie on either side.
        low: A tenth of the measurements is smaller.
        high: A tenth of the measurements is larger.
        rounds: How many measurements there are.
    """

    median: float
    low: float
    high: float
    rounds: int


@dataclass(frozen=True)
class Comparison:
    """What several contestants took for the same work.

    Attributes:
        what: The work, in words.
        times_us: Contestant to microseconds for one unit of the work.
        ratios: "a / b" to the ratio of their times, taken round by round.
    """

    what: str
    times_us: Mapping[str, Spread]
    ratios: Mapping[str, Spread]


def spread(values: Sequence[float]) -> Spread:
    """Returns the median of some measurements and their 10-90% range.

    Raises:
        ValueError: If there are none.
    """
    if not len(values):
        raise ValueError("values: expected at least one measurement, found none")
    low, median, high = np.percentile(np.asarray(values, dtype=np.float64), [10, 50, 90]).tolist()
    return Spread(median, low, high, len(values))


def compare(
    what: str,
    contestants: Mapping[str, Contestant],
    ratios: Sequence[tuple[str, str]],
    *,
    rounds: int,
    equal_turns: bool = True,
    on_round: Callable[[], None] = lambda: None,
) -> Comparison:
    """Lets contestants take turns: two untimed rounds, then `rounds` timed ones.

    The first untimed round warms up; the second shows how often a quick contestant has to repeat its share for its turns
    to last as long as the slowest one's. Every second round goes through the contestants backwards: a machine that grows
    slower or faster meanwhile favours nobody.

    Args:
        what: The work, in words.
        contestants: Name to a function that does round i's share of the work and returns seconds for one unit of it.
            The function does its own timing, for it may run in another process.
        ratios: Pairs (a, b) of names, for a's time divided by b's.
        rounds: Timed rounds, at least 1.
        equal_turns: Whether turns last equally long. If not, each contestant plays once a round and none is untimed: for
            work of minutes, which no interruption spares and which cannot be done twice more to warm up.
        on_round: Called after each of the timed rounds.

    Returns:
        Times in microseconds, and the ratios.

    Raises:
        ValueError: If there is no round, or a ratio names nobody.
    """
    if rounds < 1:
        raise ValueError(f"rounds: expected at least 1, found {rounds}")
    for name in (name for pair in ratios for name in pair):
        if name not in contestants:
            raise ValueError(f"ratios: no contestant {name!r}; there are {', '.join(contestants)}")
    repeats = _repeats(contestants) if equal_turns else dict.fromkeys(contestants, 1)
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for index in range(rounds):
        for name in list(contestants) if index % 2 == 0 else reversed(list(contestants)):
            seconds[name].append(fmean(contestants[name](index) for _ in range(repeats[name])))
        on_round()
    return Comparison(
        what,
        {name: spread([1e6 * took for took in taken]) for name, taken in seconds.items()},
        {f"{a} / {b}": spread([x / y for x, y in zip(seconds[a], seconds[b], strict=True)]) for a, b in ratios},
    )


def _repeats(contestants: Mapping[str, Contestant]) -> dict[str, int]:
    for play in contestants.values():
        play(0)
    lengths_s = {name: max(_SHORTEST_TURN_S, seconds_per(1, partial(play, 0))) for name, play in contestants.items()}
    longest_s = max(lengths_s.values())
    return {name: min(_MOST_REPEATS, round(longest_s / length_s)) for name, length_s in lengths_s.items()}


def seconds_per(count: int, work: Callable[[], object]) -> float:
    """Runs work that consists of `count` units once and returns seconds for one of them."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) / count
