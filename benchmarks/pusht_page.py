"""docs/results.md, from the eval.json files of the Push-T benchmark and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pusht_rows import CONTROLLER, NETWORKS, OBJECTIVES, RECIPE_ACTING, RECIPES, ROWS, TRAINING, Row

from diffpolicy.intervals import mean_interval, wilson_interval

_HEAD = """# Results

Push-T, scored as everywhere: a start's *score* is its best reward within 300 steps; *success* is a coverage above 0.95 at
any time. MS is the mean score, SR the share of successes, both over all starts and training seeds of a row, with 95%
intervals (normal; Wilson) that speak of the starts. What training adds is the spread from the worst to the best training
seed, in round brackets behind SR where there are several. Differences are paired by start, each start's mean over training
seeds; +- is a 95% interval.

The rules were set before any score was seen: the last checkpoint counts, never the best. The first three tables are on 1,000
starts (protocol `gym_pusht`, seeds from 100000) by which nothing was chosen, the others on 500 tuning starts (seeds from
500000), which chose the recipe. Training times are of a machine of two cores shared with other work, which held some of them
up; mostly one core for each run.

Every row is trained, scored and written here by one command, which resumes where it stopped:
`python benchmarks/pusht.py --only ROW`. Files: `benchmarks/results/pusht/ROW/seed_K/steps_N/eval.json`. Rows without a file
are not in the tables.
"""


@dataclass(frozen=True)
class Scored:
    """A row at one number of network evaluations, over its training seeds."""

    row: str
    steps: int
    by_seed: Mapping[int, Mapping[str, Any]]
    """The contents of eval.json, by training seed."""

    @property
    def results(self) -> list[Mapping[str, Any]]:
        return list(self.by_seed.values())

    @property
    def scores(self) -> np.ndarray:
        """(training seeds, starts)"""
        return np.array([[record["score"] for record in result["records"]] for result in self.results])

    @property
    def successes(self) -> np.ndarray:
        """(training seeds, starts)"""
        return np.array([[record["success"] for record in result["records"]] for result in self.results], dtype=float)

    @property
    def minutes(self) -> float:
        """Training time of one policy, the median over training seeds."""
        return float(np.median([result["checkpoint"]["trained"]["seconds"] for result in self.results])) / 60

    @property
    def updates(self) -> int:
        return self.results[0]["checkpoint"]["trained"]["steps"]


def read(folder: Path) -> dict[tuple[str, int], Scored]:
    """All that has been scored, by row and number of network evaluations."""
    found = {}
    for name, row in ROWS.items():
        for steps in row.steps:
            files = sorted((folder / name).glob(f"seed_*/steps_{steps}/eval.json"))
            if files:
                by_seed = {int(file.parts[-3].removeprefix("seed_")): json.loads(file.read_text()) for file in files}
                found[name, steps] = Scored(name, steps, by_seed)
    return found


def write_page(folder: Path, path: Path) -> Path:
    """Write the page from a folder of results."""
    scored = read(folder)
    parts = [_HEAD]
    parts += ["## Recipes\n", _recipes(scored)]
    parts += [f"## What generative modelling buys\n\n{_COMPARED}\n", _compared(scored, OBJECTIVES, ("single", 10))]
    parts += ["## Networks and observations\n", _compared(scored, {"state": ROWS["state"], **NETWORKS}, ("single", 10))]
    parts += [f"## What helps in training\n\n{_ABLATED}\n", _compared(scored, TRAINING, ("as-configured", 10))]
    parts += [
        f"## What helps in closed loop\n\n{_ACTED}\n",
        _compared(scored, CONTROLLER, ("as-configured", 10), plain=True),
    ]
    parts += [f"{_RECIPE_ACTED}\n", _compared(scored, RECIPE_ACTING, ("state-tuning", 10), plain=True)]
    path.write_text("\n".join(parts), encoding="utf-8")
    return path


_COMPARED = """All with one network of the same size (`single`; the recipe is the mean of several), and the recipe's data,
budget and controller. The difference is to `single` with 10 network evaluations, in points of SR, over the training
seeds that both have."""
_ABLATED = """One change each to `single`, which is `as-configured` here. One training seed: two trainings of one
recipe differ by some points, so small differences say nothing."""
_ACTED = """The policy of `single`, seed 0, acting in other ways."""
_RECIPE_ACTED = """And the recipe itself."""


def _recipes(scored: Mapping[tuple[str, int], Scored]) -> str:
    lines = [
        "| row | | NFE | MS | SR % | median steps to success | training seeds | updates, minutes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (name, steps), each in scored.items():
        if name in RECIPES:
            solved = [r["steps"] for result in each.results for r in result["records"] if r["success"]]
            lines.append(
                f"| `{name}` | {ROWS[name].about} | {steps} | {_mean(each)} | {_rate(each)} | {np.median(solved):.0f} "
                f"| {len(each.results)} | {each.updates:,}, {each.minutes:.0f} |"
            )
    return "\n".join(lines) + "\n"


def _compared(
    scored: Mapping[tuple[str, int], Scored], rows: Mapping[str, Row], base: tuple[str, int], *, plain: bool = False
) -> str:
    if not any(name in rows for name, _ in scored if name != base[0]):
        return "No row of this table has been scored yet.\n"
    last = "" if plain else " updates, minutes |"
    lines = [f"| row | | NFE | MS | SR % | difference of SR |{last}", "|---" * (6 if plain else 7) + "|"]
    for (name, steps), each in scored.items():
        if name in rows or (name, steps) == base:
            cost = "" if plain else f" {each.updates:,}, {each.minutes:.0f} |"
            difference = paired(each, scored[base]) if base in scored and (name, steps) != base else ""
            lines.append(
                f"| `{name}` | {ROWS[name].about} | {steps} | {_mean(each)} | {_rate(each)} | {difference} |{cost}"
            )
    return "\n".join(lines) + "\n"


def paired(one: Scored, other: Scored) -> str:
    """The difference of success rates with its 95% interval, paired by start."""
    both = sorted(one.by_seed.keys() & other.by_seed.keys())
    if not both or one.results[0]["seed"] != other.results[0]["seed"]:
        return ""  # other starts, or no training seed in common
    one, other = (replace(each, by_seed={seed: each.by_seed[seed] for seed in both}) for each in (one, other))
    difference = one.successes.mean(axis=0) - other.successes.mean(axis=0)
    half = 1.96 * difference.std(ddof=1) / np.sqrt(len(difference))
    return f"{100 * difference.mean():+.1f} +- {100 * half:.1f}"


def _mean(each: Scored) -> str:
    low, high = mean_interval(each.scores.mean(axis=0).tolist())
    return f"{each.scores.mean():.3f} [{low:.3f}, {high:.3f}]"


def _rate(each: Scored) -> str:
    successes = each.successes
    # Training seeds share their starts, so they are no more starts than one has.
    low, high = wilson_interval(successes.mean() * successes.shape[1], successes.shape[1])
    rates = 100 * successes.mean(axis=1)
    spread = f" ({rates.min():.1f} to {rates.max():.1f})" if len(rates) > 1 else ""
    return f"{100 * successes.mean():.1f} [{100 * low:.1f}, {100 * high:.1f}]{spread}"
