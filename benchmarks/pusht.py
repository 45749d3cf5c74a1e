"""The Push-T benchmark: train and score every row of `pusht_rows.py`, and write docs/results.md from what was measured.

    python benchmarks/pusht.py                              all that is missing; stop and start it as you like
    python benchmarks/pusht.py --only mse flow --seeds 0    some rows and training seeds
    python benchmarks/pusht.py --only state --again         score these anew

Runs lie in runs/pusht/ROW/seed_K and resume where they stopped. Scores go to benchmarks/results/pusht/ROW/seed_K/steps_N,
and docs/results.md is written from those files alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from pusht_page import write_page
from pusht_rows import ROWS, Row

from diffpolicy.checkpoint import find_checkpoint, read_meta
from diffpolicy.commands import train
from diffpolicy.config import ExperimentConfig
from diffpolicy.config_file import config_from_dict, config_to_dict, load_config
from diffpolicy.device import usable_cores
from diffpolicy.errors import CheckpointError, ConfigError, ObservationError, suggestion
from diffpolicy.evaluation.evaluate import evaluate, score_line, write_eval

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "pusht"


@dataclass(frozen=True)
class Benchmark:
    """Train and score rows of the Push-T benchmark."""

    only: tuple[str, ...] = ()
    """Rows; all unless given."""
    seeds: tuple[int, ...] = ()
    """Training seeds; each row's own unless given."""
    again: bool = False
    """Score anew what has been scored."""
    train: bool = True
    """Train what is missing; `--no-train` scores only what there is."""
    runs: Path = ROOT / "runs" / "pusht"
    """Where policies are trained."""
    workers: int = usable_cores()
    """Processes of an evaluation."""


def main(arguments: Benchmark) -> None:
    """Train, score, write the page."""
    names = arguments.only or tuple(ROWS)
    for name in names:
        if name not in ROWS:
            raise SystemExit(f"--only {name}: no such row; {suggestion(name, ROWS, 'rows: ' + ', '.join(ROWS))}")
    for name in names:
        for seed in arguments.seeds or ROWS[name].seeds:
            try:
                _row(arguments, name, seed)
            except (CheckpointError, ConfigError, ObservationError, OSError) as error:
                raise SystemExit(f"{name}, seed {seed}: {error}") from None
    print(f"written: {write_page(RESULTS, ROOT / 'docs' / 'results.md').relative_to(ROOT)}")


def _row(arguments: Benchmark, name: str, seed: int) -> None:
    row = ROWS[name]
    wanted = {steps: RESULTS / name / f"seed_{seed}" / f"steps_{steps}" for steps in row.steps}
    missing = {k: folder for k, folder in wanted.items() if arguments.again or not (folder / "eval.json").is_file()}
    if not missing:
        return
    checkpoint = _trained(arguments, row.of or name, seed)
    if checkpoint is None:
        print(f"{name}, seed {seed}: not trained")
        return
    for steps, folder in missing.items():
        result = evaluate(
            checkpoint, episodes=row.episodes, seed=row.seed, workers=arguments.workers, steps=steps, **row.acting
        )
        result["checkpoint"]["name"] = f"{row.of or name}, seed {seed}"
        write_eval(result, folder)
        print(f"{name}, seed {seed}, {steps} evaluations: {score_line(result)}", flush=True)


def _trained(arguments: Benchmark, name: str, seed: int) -> Path | None:
    """The last checkpoint of a row, trained now if need be and wished."""
    folder, row = _run(arguments, name, seed), ROWS[name]
    begun = folder / "last"
    config = experiment_of(row, seed, None if row.teacher is None else str(_run(arguments, row.teacher, seed)))
    if begun.is_dir() and read_meta(begun)["trained"]["steps"] == config.training.steps:
        return begun
    if not arguments.train:
        return None
    begins = None if row.begins is None else _trained(arguments, row.begins, seed)
    if row.teacher is not None:
        _trained(arguments, row.teacher, seed)
    result = train.start(
        config,
        folder,
        resume=folder if begun.is_dir() else None,
        init_from=None if begun.is_dir() or begins is None else str(begins),
    )
    if result.interrupted:
        raise SystemExit(130)
    return find_checkpoint(folder)


def _run(arguments: Benchmark, name: str, seed: int) -> Path:
    return arguments.runs / name / f"seed_{seed}"


def experiment_of(row: Row, seed: int, teacher: str | None = None) -> ExperimentConfig:
    """The experiment of a row with a training seed, checked."""
    data = config_to_dict(load_config(row.experiment))
    changes: Mapping[str, Any] = {**row.changes, "training.seed": seed}
    if teacher is not None:
        changes = {**changes, "training.teacher": teacher}
    for key, value in changes.items():
        *path, last = key.split(".")
        section = data
        for part in path:
            section = section[part]
        section[last] = value
    return config_from_dict(data, f"{row.experiment} as changed")


if __name__ == "__main__":
    main(tyro.cli(Benchmark, description=__doc__))
