"""The training loop: one, for every policy.

    gather a batch -> mirror half of it -> loss -> step -> average the weights
    now and then: log, validate, try it in closed loop, write a checkpoint

Everything random comes from one generator whose state is in the checkpoint, so a resumed run repeats an uninterrupted one
bit for bit on the CPU.
"""

from __future__ import annotations

import copy
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
from diffpolicy.policy import Batch, DiffusionPolicy
from diffpolicy.training.card import training_card
from diffpolicy.training.ema import EMA
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
        CheckpointError: the checkpoint to resume or start from does not fit.
        OSError: the folder cannot be written.
    """
    settings = config.training
    # Autocast is entered below: accelerate would keep the first run's precision for all later runs of a process.
    accelerator = Accelerator(cpu=device == "cpu", mixed_precision="no")
    windows = train_windows.to(accelerator.device) if train_windows.fits(accelerator.device) else train_windows
    torch.manual_seed(settings.seed)
    policy = _new_policy(config, windows, init_from).to(accelerator.device)
    averaged = copy.deepcopy(policy).requires_grad_(False).eval()
    generator = torch.Generator(accelerator.device).manual_seed(settings.seed + accelerator.process_index)
    optimizer = torch.optim.AdamW(
        policy.parameters(), lr=0.0, betas=settings.betas, weight_decay=settings.weight_decay, fused=True
    )
    ema = EMA(policy.parameters(), decay=settings.ema_decay, power=settings.ema_power)
    progress: dict[str, Any] = {"step": 0, "best_score": None, "seconds": 0.0, "logged_step": 0, "loss_sum": 0.0}
    if resume is not None:
        progress |= resume_run(
            resume,
            config,
            policy,
            averaged,
            optimizer,
            ema,
            generator,
            accelerator.process_index,
            accelerator.num_processes,
        )
    model, optimizer = accelerator.prepare(policy, optimizer)
    parameters = list(policy.parameters())
    log = RunLog(
        folder,
        settings,
        step=progress["step"],
        seconds=progress["seconds"],
        logged_step=progress["logged_step"],
        enabled=accelerator.is_main_process,
    )

    def save(name: str, step: int, *, resumable: bool) -> None:
        states = gather_object([generator_states(generator)]) if resumable else []  # every process must take part
        if not accelerator.is_main_process:
            return
        if not math.isfinite(float(loss_sum)):
            raise ConfigError(
                f"the loss is {float(loss_sum)} before step {step}: training diverged; {folder / name} is kept"
            )
        ema.copy_to(averaged.parameters())
        logged = {"logged_step": log.logged_step, "loss_sum": float(loss_sum)}
        state = progress | logged | {"step": step, "ema_step": ema.step, "generators": states}
        files = {TENSORS: training_tensors(policy, optimizer), STATE: state} if resumable else {}
        trained = {"steps": step, "seconds": round(progress["seconds"], 1), "episodes": _count(train_windows)}
        card = training_card(config, trained, log.latest)
        save_checkpoint(folder / name, averaged, config, card=card, trained=trained, extra_files=files)

    loss_sum = torch.full((), progress["loss_sum"], device=accelerator.device)
    step, last_step = progress["step"], min(settings.steps, settings.steps if stop_after is None else stop_after)
    with stop_on_signal() as stopping, log:
        while step < last_step and not agreed(accelerator, stopping()):
            began = time.perf_counter()
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, settings)
            batch = draw_batch(windows, config, policy, generator)
            with torch.autocast(accelerator.device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
                loss = model(batch, generator=generator, observation_noise=config.data.observation_noise)
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(parameters, settings.gradient_clip)
            optimizer.step()
            optimizer.zero_grad()
            ema.update(parameters)
            loss_sum += loss.detach()  # summed on the device: reading it here would wait for the device each step
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
                ema.copy_to(averaged.parameters())
                log.event(step, validation_loss=validation_loss(averaged, held_out, settings))
            due = bool(evaluate) and (step % (settings.evaluate_every or settings.steps) == 0 or step == settings.steps)
            if due or (step % settings.checkpoint_every == 0 and step < last_step):
                save("last", step, resumable=True)  # before an evaluation, which may be long and interrupted
            if due and evaluate and accelerator.is_main_process:
                ema.copy_to(averaged.parameters())
                result = evaluate(averaged)
                log.event(step, **result)
                if progress["best_score"] is None or result["mean_score"] > progress["best_score"]:
                    progress["best_score"] = result["mean_score"]
                    save("best", step, resumable=False)
        save("last", step, resumable=True)
    return TrainingResult(folder, step, step < settings.steps, progress["best_score"], progress["seconds"])


def learning_rate(step: int, settings: TrainingConfig) -> float:
    """Linear warm-up, then half a cosine to zero. A function of the step alone, so there is nothing to resume."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def draw_batch(windows: Windows, config: ExperimentConfig, policy: DiffusionPolicy, g: torch.Generator) -> Batch:
    """Draw windows at random, each mirrored half of the time where the task has a mirror."""
    index = torch.randint(len(windows), (config.training.batch_size,), generator=g, device=g.device)
    batch = windows.batch(index, policy.device)
    reflected = policy.task.mirror(batch["obs"], batch["action"]) if config.data.mirror else None
    if reflected is not None:
        coin = torch.rand(len(index), generator=g, device=index.device) < 0.5

        def choose(mirrored: torch.Tensor, original: torch.Tensor) -> torch.Tensor:
            return torch.where(coin.view(-1, *[1] * (original.ndim - 1)), mirrored, original)

        batch["obs"] = {key: choose(reflected[0][key], value) for key, value in batch["obs"].items()}
        batch["action"] = choose(reflected[1], batch["action"])
    if config.data.count_padding:
        del batch["mask"]
    return batch


@torch.no_grad()
def validation_loss(policy: DiffusionPolicy, held_out: Windows, settings: TrainingConfig) -> float:
    """The loss on at most 2,048 held-out windows with always the same noise, so that two steps compare."""
    generator = torch.Generator(policy.device).manual_seed(settings.seed)
    index = torch.linspace(0, len(held_out) - 1, min(2048, len(held_out))).long()
    losses = []
    for part in index.split(settings.batch_size):
        batch = held_out.batch(part, policy.device)
        batch.pop("mask", None)
        losses.append(policy.loss(batch, generator=generator) * len(part))
    return float(torch.stack(losses).sum() / len(index))


def _new_policy(config: ExperimentConfig, windows: Windows, init_from: str | Path | None) -> DiffusionPolicy:
    shapes = {key: tuple(value.shape[1:]) for key, value in windows.obs.items()}
    policy = DiffusionPolicy(config.policy, shapes, windows.action.shape[-1])
    if init_from is None:
        used = torch.unique(windows.steps).cpu()
        obs = {key: value.cpu()[used] for key, value in windows.obs.items()}
        policy.fit_normalizer(obs, windows.action.cpu()[used], mirror=config.data.mirror)
        return policy
    source, _ = load_checkpoint(find_checkpoint(init_from))
    try:
        policy.load_state_dict(source.state_dict())
    except RuntimeError:
        raise CheckpointError(
            f"--init-from {init_from}: its network or observations ({', '.join(source.obs_shapes)}) differ from this "
            f"experiment's ({', '.join(shapes)}); start from a checkpoint of the same `policy`"
        ) from None
    return policy


def _count(windows: Windows) -> int:
    return len(torch.unique(windows.first))
