"""The training loop: one, for every policy.

    draw a batch (`batches.py`) -> update the weights and their average (`learner.py`)
    now and then: log, validate, try it in closed loop, write a checkpoint

Batches follow from the seed and the step; everything else that is random comes from one generator whose state is in the
checkpoint. So a resumed run repeats an uninterrupted one bit for bit on the CPU.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from diffpolicy.checkpoint import find_checkpoint, load_checkpoint, save_checkpoint
from diffpolicy.config import ExperimentConfig, TrainingConfig
from diffpolicy.errors import CheckpointError, ConfigError
from diffpolicy.policy import DiffusionPolicy
from diffpolicy.training.batches import Batches
from diffpolicy.training.card import training_card
from diffpolicy.training.learner import Learner, learning_rate, new_policy, unfitted_policy
from diffpolicy.training.log import RunLog
from diffpolicy.training.resume import STATE, TENSORS, generator_states, resume_run, training_tensors
from diffpolicy.training.stopping import agreed, stop_on_signal
from diffpolicy.training.windows import Windows

Evaluate = Callable[[DiffusionPolicy], dict[str, Any]]
"""Closed-loop evaluation on the tuning seeds: must return at least `mean_score` and `success_rate`."""


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended."""

    folder: Path
    step: int
    interrupted: bool
    """Whether steps are left to do, after a signal or `stop_after`."""
    best_score: float | None
    seconds: float
    """Time in training steps of this and earlier parts of the run, evaluations and checkpoints left out."""


def train(
    config: ExperimentConfig,
    train_windows: Windows,
    held_out: Windows,
    folder: Path,
    *,
    device: str = "auto",
    resume: Path | None = None,
    init_from: str | Path | None = None,
    evaluate: Evaluate | None = None,
    stop_after: int | None = None,
) -> TrainingResult:
    """Train a policy into `folder`: `last/`, `best/` (by score on the tuning seeds), `log.jsonl`.

    Args:
        config: the experiment.
        train_windows: what to learn from.
        held_out: windows to watch the loss on; may be empty.
        folder: the run's folder.
        device: `auto`, `cpu`, `cuda`, `mps`.
        resume: a checkpoint folder of this run to continue exactly.
        init_from: a checkpoint whose weights and normalizer a new run starts from.
        evaluate: closed-loop evaluation; called every `evaluate_every` steps and at the end.
        stop_after: stop at this step as an interruption would, the schedule still being that of `config.training.steps`.

    Raises:
        CheckpointError: the checkpoint to resume, to start from or to learn from does not fit.
        OSError: the folder cannot be written.
    """
    settings = config.training
    # Autocast is entered by the learner: accelerate would keep the first run's precision for all later runs of a process.
    accelerator = Accelerator(cpu=device == "cpu", mixed_precision="no")
    torch.manual_seed(settings.seed)
    learner = Learner(config, _first_policy(config, train_windows, init_from), accelerator)
    progress: dict[str, Any] = {"step": 0, "best_score": None, "seconds": 0.0, "logged_step": 0, "loss_sum": 0.0}
    if resume is not None:
        progress |= resume_run(learner, resume)
    log = RunLog(
        folder,
        settings,
        step=progress["step"],
        seconds=progress["seconds"],
        logged_step=progress["logged_step"],
        enabled=accelerator.is_main_process,
    )

    def save(name: str, *, resumable: bool) -> None:
        # Every process must take part in the first line.
        states = gather_object([generator_states(learner.generator)]) if resumable else []
        if not accelerator.is_main_process:
            return
        if not math.isfinite(float(loss_sum)):
            raise ConfigError(
                f"the loss is {float(loss_sum)} before step {step}: training diverged; {folder / name} is kept"
            )
        averaged = learner.refresh_average()
        logged = {"logged_step": log.logged_step, "loss_sum": float(loss_sum)}
        state = progress | logged | {"step": step, "ema_step": learner.ema.step, "generators": states}
        files = {TENSORS: training_tensors(learner.policy, learner.optimizer), STATE: state} if resumable else {}
        trained = {"steps": step, "seconds": round(progress["seconds"], 1), "episodes": _count(train_windows)}
        card = training_card(config, trained, log.latest)
        save_checkpoint(folder / name, averaged, config, card=card, trained=trained, extra_files=files)

    loss_sum = torch.full((), progress["loss_sum"], device=accelerator.device)
    step, last_step = progress["step"], min(settings.steps, settings.steps if stop_after is None else stop_after)
    batches = Batches(train_windows, config, accelerator.device, process=accelerator.process_index)
    with stop_on_signal() as stopping, log, batches:
        while step < last_step and not agreed(accelerator, stopping()):
            began = time.perf_counter()
            loss_sum += learner.step(batches.draw(step))  # on the device: reading it would wait for it each step
            step += 1
            logging = step % settings.log_every == 0 or step == settings.steps
            if logging:
                total = float(loss_sum)  # waits for the device, so that the time it took counts
                loss_sum.zero_()
            progress["seconds"] += time.perf_counter() - began
            log.moved(step)

            if logging:
                log.training(step, total, learning_rate(step - 1, settings), progress["seconds"])
            if len(held_out) and step % settings.validate_every == 0:
                averaged = learner.refresh_average()
                log.event(step, validation_loss=validation_loss(averaged, held_out, settings, learner.teacher))
            due = bool(evaluate) and (step % (settings.evaluate_every or settings.steps) == 0 or step == settings.steps)
            if due or (step % settings.checkpoint_every == 0 and step < last_step):
                save("last", resumable=True)  # before an evaluation, which may be long and interrupted
            if due and evaluate and accelerator.is_main_process:
                result = evaluate(learner.refresh_average())
                log.event(step, **result)
                if progress["best_score"] is None or result["mean_score"] > progress["best_score"]:
                    progress["best_score"] = result["mean_score"]
                    save("best", resumable=False)
        save("last", resumable=True)
    return TrainingResult(folder, step, step < settings.steps, progress["best_score"], progress["seconds"])


@torch.no_grad()
def validation_loss(
    policy: DiffusionPolicy, held_out: Windows, settings: TrainingConfig, teacher: DiffusionPolicy | None = None
) -> float:
    """The loss on at most 2,048 held-out windows with always the same noise, so that two steps compare."""
    generator = torch.Generator(policy.device).manual_seed(settings.seed)
    index = torch.linspace(0, len(held_out) - 1, min(2048, len(held_out))).long()
    losses = []
    for part in index.split(settings.batch_size):
        batch = held_out.batch(part, policy.device)
        batch.pop("mask", None)
        losses.append(policy.loss(batch, generator=generator, teacher=teacher) * len(part))
    return float(torch.stack(losses).sum() / len(index))


def _first_policy(config: ExperimentConfig, windows: Windows, init_from: str | Path | None) -> DiffusionPolicy:
    if init_from is None:
        return new_policy(config, windows)
    policy = unfitted_policy(config, windows)
    source, _ = load_checkpoint(find_checkpoint(init_from))
    try:
        policy.load_state_dict(source.state_dict())
    except RuntimeError:
        raise CheckpointError(
            f"--init-from {init_from}: its network or observations ({', '.join(source.obs_shapes)}) differ from this "
            f"experiment's ({', '.join(policy.obs_shapes)}); start from a checkpoint of the same `policy`"
        ) from None
    return policy


def _count(windows: Windows) -> int:
    return len(torch.unique(windows.first))
