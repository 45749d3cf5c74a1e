"""Turn a finished run into a released policy: half precision, scored as released, with a card of what was measured.

    python benchmarks/release.py runs/pusht_state_mlp/last pusht-state --command "diffpolicy train pusht_state_mlp"

Writes diffpolicy/pretrained/NAME/, with a picture of how it fails, and benchmarks/results/NAME/*.json, and brings the
README's results up to date.
"""

from __future__ import annotations

import dataclasses
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from failures import PICTURE, describe, draw

from diffpolicy.checkpoint import CARD, WEIGHTS, load_checkpoint, save_checkpoint
from diffpolicy.evaluation.evaluate import evaluate, write_eval
from diffpolicy.training.card import training_card

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Release:
    """Release a checkpoint: store it in half precision, evaluate it as stored, write its card."""

    checkpoint: tyro.conf.Positional[Path]
    """A checkpoint's folder, such as runs/NAME/last."""
    name: tyro.conf.Positional[str]
    """The name `load_policy` will know it by."""
    command: str
    """The command that trained it, for the card."""
    machine: str = f"{platform.machine()}, {torch.get_num_threads()} threads"
    """What it was trained on, for the card."""
    execution_speed: float | None = None
    """Follow plans at this speed, where tuning showed it better than the run's own."""
    action_horizon: int | None = None
    """Execute so many actions of a plan, likewise."""
    noise_scale: float | None = None
    """Start plans from noise of this standard deviation, likewise."""
    patience: int | None = None
    """Plan from full noise after standing still for so long, likewise."""
    steps: tuple[int, ...] = (4, 2, 1)
    """Network evaluations a plan to score besides the policy's own."""
    episodes: int = 1000
    workers: int = 2
    seed: int = 100_000


def main(arguments: Release) -> None:
    """Store, evaluate, write the card and the README's table."""
    folder = ROOT / "diffpolicy" / "pretrained" / arguments.name
    policy, meta = load_checkpoint(arguments.checkpoint)
    experiment = meta["experiment"]
    wanted = {
        "execution_speed": arguments.execution_speed,
        "action_horizon": arguments.action_horizon,
        "noise_scale": arguments.noise_scale,
        "patience": arguments.patience,
    }
    chosen = {name: value for name, value in wanted.items() if value is not None}
    experiment = dataclasses.replace(experiment, policy=dataclasses.replace(experiment.policy, **chosen))
    trained = meta["trained"] | {"command": arguments.command, "machine": arguments.machine}
    card = training_card(experiment, trained, {})
    save_checkpoint(folder, policy, experiment, card=card, half=True, trained=trained)
    results: dict[str, dict[str, Any]] = {}
    rows: dict[str, dict[str, Any]] = {name: {"protocol": name} for name in ("gym_pusht", "diffusion_policy")}
    rows |= {f"gym_pusht_{k}_steps": {"protocol": "gym_pusht", "steps": k} for k in arguments.steps}
    for row, choices in rows.items():
        results[row] = evaluate(
            arguments.name, episodes=arguments.episodes, seed=arguments.seed, workers=arguments.workers, **choices
        )
        path = write_eval(results[row], ROOT / "benchmarks" / "results" / arguments.name / row)
        print(f"{row}: {results[row]['mean_score']:.3f} {results[row]['success_rate']:.1%} -> {path.relative_to(ROOT)}")
    size = (folder / WEIGHTS).stat().st_size / 1e6
    measured = f"\n## Measured as released (half precision, {size:.1f} MB)\n\n{results_table(arguments.name, results)}"
    made = f"\n## Made by\n\n```\n{arguments.command}\n```\n\non {arguments.machine}.\n"
    draw(folder, results["gym_pusht"], folder / PICTURE)
    failures = f"\n## How it fails\n\n{describe(results['gym_pusht'])}"
    (folder / CARD).write_text(card + made + measured + failures, encoding="utf-8")
    update_readme(arguments.name, results_table(arguments.name, results))


def results_table(name: str, results: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown rows of scores with 95% intervals, each with the command that repeats it."""
    lines = [
        "| protocol | network evaluations | mean score | success | repeat with |",
        "|---|---|---|---|---|",
    ]
    for result in results.values():
        low, high = result["mean_score_interval_95"]
        s_low, s_high = result["success_interval_95"]
        command = f"diffpolicy eval {name} --protocol {result['protocol']} --steps {result['nfe']}"
        lines.append(
            f"| {result['protocol']} | {result['nfe']} | {result['mean_score']:.3f} [{low:.3f}, {high:.3f}] "
            f"| {result['success_rate']:.1%} [{s_low:.1%}, {s_high:.1%}] | `{command}` |"
        )
    first = next(iter(results.values()))
    return "\n".join(lines) + (
        f"\n\n{first['episodes']} episodes a row, seeds from {first['seed']}, at most 300 steps; mean score: mean over "
        "episodes of the best reward; success: coverage above 0.95 at any time; 95% intervals (normal, Wilson).\n"
    )


def update_readme(name: str, table: str) -> None:
    """Put the table between the README's markers of this policy."""
    path = ROOT / "README.md"
    text = path.read_text(encoding="utf-8")
    begin, end = f"<!-- results of {name}: written by benchmarks/release.py -->", f"<!-- end of {name} -->"
    pattern = re.escape(begin) + ".*?" + re.escape(end)
    replaced, count = re.subn(pattern, lambda _: f"{begin}\n{table}{end}", text, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"{path}: expected one pair of markers {begin} and {end}, found {count}")
    path.write_text(replaced, encoding="utf-8")


if __name__ == "__main__":
    main(tyro.cli(Release, description=__doc__))
