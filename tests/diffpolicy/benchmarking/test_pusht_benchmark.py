"""Every row of the Push-T benchmark is an experiment, and its page says what the files say."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from diffpolicy.config_objectives import check_sampler

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))

from pusht import experiment_of  # noqa: E402 - found beside the script that users run
from pusht_page import paired, read, write_page  # noqa: E402
from pusht_rows import ROWS, TABLES  # noqa: E402

TRAINED = [name for name, row in ROWS.items() if row.of is None]


@pytest.mark.parametrize("name", TRAINED)
def test_a_row_is_an_experiment_with_its_seed(name: str) -> None:
    row = ROWS[name]
    made = experiment_of(row, 3, "some/teacher" if row.teacher else None)
    assert made.training.seed == 3
    assert made.training.teacher == ("some/teacher" if row.teacher else None)
    for steps in row.steps:
        check_sampler(made.policy.objective, made.policy.sampler, steps)
    if name in TABLES["training"]:
        assert row.seed == 500_000, "what chooses a recipe is scored on tuning seeds"


def test_rows_of_a_table_differ() -> None:
    made = [experiment_of(ROWS[name], 0, "teacher" if ROWS[name].teacher else None) for name in TRAINED]
    assert len(set(map(repr, made))) == len(made)
    acted = [tuple(sorted(row.acting.items())) for row in TABLES["controller"].values()]
    assert len(set(acted)) == len(acted)
    for row in TABLES["controller"].values():
        assert row.of in TRAINED
        assert row.seed == 500_000


def scored(folder: Path, row: str, seed: int, steps: int, successes: list[bool]) -> None:
    records = [
        {"seed": 100_000 + i, "score": 1.0 if won else 0.5, "success": won, "steps": 100, "final_coverage": 0.9}
        for i, won in enumerate(successes)
    ]
    path = folder / row / f"seed_{seed}" / f"steps_{steps}"
    path.mkdir(parents=True)
    trained = {"steps": 6000, "seconds": 120.0 * (seed + 1), "episodes": 202}
    result = {"seed": 100_000, "records": records, "checkpoint": {"trained": trained}}
    (path / "eval.json").write_text(json.dumps(result))


def test_the_page_is_up_to_date(tmp_path: Path) -> None:
    made = write_page(ROOT / "benchmarks" / "results" / "pusht", tmp_path / "results.md")
    assert made.read_text() == (ROOT / "docs" / "results.md").read_text(), "run python benchmarks/pusht.py --no-train"


def test_the_page_says_what_the_files_say(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ours = {seed: (rng.random(400) < 0.9).tolist() for seed in (0, 1)}
    theirs = (rng.random(400) < 0.5).tolist()
    for seed, successes in ours.items():
        scored(tmp_path, "single", seed, 10, successes)
    scored(tmp_path, "mse", 0, 1, theirs)
    page = write_page(tmp_path, tmp_path / "results.md").read_text()
    line = next(line for line in page.splitlines() if line.startswith("| `single`"))
    rates = sorted(100 * np.mean(list(won)) for won in ours.values())
    assert f"{np.mean(rates):.1f} [" in line
    assert f"({rates[0]:.1f} to {rates[1]:.1f})" in line
    assert "6,000, 3" in line  # minutes: the median of 2 and 4
    line = next(line for line in page.splitlines() if line.startswith("| `mse`"))
    difference = 100 * (np.mean(theirs) - np.mean(ours[0]))  # of the one training seed that both have
    assert f"{difference:+.1f} +- " in line
    assert "`edm`" not in page
    scored(tmp_path, "as-configured", 0, 10, theirs)
    scored(tmp_path, "execute-2", 0, 10, theirs)
    page = write_page(tmp_path, tmp_path / "results.md").read_text()
    for head, rule in re.findall(r"^(\| row .*)\n(.*)$", page, re.MULTILINE):
        assert head.count("|") == rule.count("|"), "a table whose rule has other columns is none"


def test_differences_are_paired_by_start(tmp_path: Path) -> None:
    """Where one succeeds wherever the other does, and on ten starts more, the interval knows it."""
    won = [i < 50 for i in range(100)]
    scored(tmp_path, "state", 0, 10, won)
    scored(tmp_path, "mse", 0, 1, [i < 60 for i in range(100)])
    found = read(tmp_path)
    said = paired(found["mse", 1], found["state", 10])
    half = 1.96 * np.std([1.0] * 10 + [0.0] * 90, ddof=1) * 100 / 10
    assert said == f"+10.0 +- {half:.1f}"
    scored(tmp_path, "l1", 2, 1, won)
    assert paired(read(tmp_path)["l1", 1], found["state", 10]) == "", "no training seed in common"
