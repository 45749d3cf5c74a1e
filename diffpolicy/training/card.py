"""The card beside every checkpoint: what it is and where it came from, in a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffpolicy.config import ExperimentConfig


def training_card(config: ExperimentConfig, trained: Mapping[str, Any], latest: Mapping[str, Any]) -> str:
    """Markdown for `card.md`, from facts only."""
    table = "\n".join(f"| {name} | {value} |" for name, value in training_facts(config, trained, latest))
    title = config.description or "A diffusion policy"
    return f"# {title}\n\n| | |\n|---|---|\n{table}\n"


def training_facts(
    config: ExperimentConfig, trained: Mapping[str, Any], latest: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """What a policy learned from, how, and what came of it, by name; names of files stand in backticks."""
    policy, data = config.policy, config.data
    rows = [
        ("demonstrations", f"`{data.path}`, {trained['episodes']} episodes"),
        ("held out", f"{data.validation_episodes} episodes (split seed {data.split_seed})"),
        ("observation", f"{', '.join(policy.observations)}; {policy.obs_horizon} steps"),
        (
            "actions",
            f"{policy.pred_horizon} predicted, {policy.action_horizon} executed, speed {policy.execution_speed:g}, "
            f"noise of standard deviation {policy.noise_scale:g}"
            + (f", 1 after standing still for {policy.patience} steps" if policy.patience else "")
            + (f"; {policy.warm_start:.0%} of the way spared by the plan before" if policy.warm_start else ""),
        ),
        (
            "network, objective",
            f"{policy.backbone.name}{f' x {policy.members}' if policy.members > 1 else ''}, {policy.objective.name}; "
            f"{policy.sampler}, {policy.steps} steps",
        ),
        ("training", f"{trained['steps']:,} steps of {config.training.batch_size}, {trained['seconds']:,.0f} s"),
        ("seed", str(config.training.seed)),
    ]
    if policy.image_encoder and policy.image_encoder.supervision:
        rows.append(("read in training alone", ", ".join(policy.image_encoder.supervision)))
    if config.training.teacher:
        rows.append(("teacher", f"`{config.training.teacher}`"))
    if "loss" in latest:
        rows.append(("training loss", f"{latest['loss']:.5f}"))
    if "validation_loss" in latest:
        rows.append(("validation loss", f"{latest['validation_loss']:.5f}"))
    if "mean_score" in latest:
        tuning = f"tuning seeds from {config.evaluation.seed}, {config.evaluation.episodes} episodes"
        rows.append(("score", f"{latest['mean_score']:.3f}, success {latest['success_rate']:.3f} ({tuning})"))
    return rows
