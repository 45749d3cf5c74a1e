"""One update of the weights: loss, gradients, a step of AdamW, and the average of the weights that is released.

Nothing here waits for the device: the loss is returned as a tensor, and the gradients' norm stays one. Everything that an
update changes is held here, so this is also what a checkpoint must hold to be resumed.
"""

from __future__ import annotations

import copy
import math

import torch
from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor

from diffpolicy.checkpoint import load_policy
from diffpolicy.config import ExperimentConfig, TrainingConfig
from diffpolicy.diffusion import sampler_steps
from diffpolicy.errors import CheckpointError
from diffpolicy.policy import Batch, DiffusionPolicy
from diffpolicy.training.ema import EMA
from diffpolicy.training.windows import Windows


class Learner:
    """A policy in training.

    Args:
        config: the experiment.
        policy: what learns; it is moved to the device.
        accelerator: which device, and how many processes learn together.

    Attributes:
        policy: the raw weights.
        averaged: a copy for evaluation; its weights are the average after `refresh_average`.
        step_number: updates done.
        generator: the source of times and noise.
        teacher: the policy whose plans are learned, if any.

    Raises:
        CheckpointError: the teacher does not fit.
    """

    def __init__(self, config: ExperimentConfig, policy: DiffusionPolicy, accelerator: Accelerator) -> None:
        self.config, self.accelerator = config, accelerator
        settings = config.training
        self.policy = policy.to(accelerator.device).train()
        self.averaged = copy.deepcopy(self.policy).requires_grad_(False).eval()
        self.parameters = list(self.policy.parameters())
        self.ema = EMA(self.parameters, decay=settings.ema_decay, power=settings.ema_power)
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=0.0, betas=settings.betas, weight_decay=settings.weight_decay, fused=True
        )
        self.generator = torch.Generator(accelerator.device).manual_seed(settings.seed + accelerator.process_index)
        self.teacher = None if settings.teacher is None else load_teacher(settings.teacher, self.policy)
        self.step_number = 0
        if settings.compile:
            self.policy.backbone.compile()
        # With several processes the model is wrapped, and the gradients are averaged in `backward`.
        self.model = accelerator.prepare(self.policy)

    def step(self, batch: Batch) -> Float[Tensor, ""]:
        """Learn from one batch. Returns its loss, on the device."""
        settings = self.config.training
        self.optimizer.param_groups[0]["lr"] = learning_rate(self.step_number, settings)
        loss = self.loss(batch)
        loss.backward()
        # The optimizer divides gradients by this while it reads them: clipping them first would be one more way through.
        norm = torch.nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        self.optimizer.grad_scale = (norm / settings.gradient_clip).clamp(min=1.0)  # type: ignore[attr-defined]
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.ema.update(self.parameters)
        self.step_number += 1
        return loss.detach()

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """The loss of a batch, in the experiment's precision."""
        lowered = self.config.training.precision == "bfloat16"
        with torch.autocast(self.accelerator.device.type, torch.bfloat16, enabled=lowered):
            return self.model(
                batch,
                generator=self.generator,
                observation_noise=self.config.data.observation_noise,
                draws=self.config.training.draws,
                teacher=self.teacher,
            )

    def refresh_average(self) -> DiffusionPolicy:
        """Brings the averaged policy up to date and returns it."""
        self.ema.copy_to(self.averaged.parameters())
        return self.averaged


def load_teacher(name: str, learner: DiffusionPolicy) -> DiffusionPolicy:
    """A policy whose plans another can learn, on that one's device.

    Raises:
        CheckpointError: there is none of this name, or its plans are not ones that the other can make from what it reads.
    """
    try:
        teacher = load_policy(name, learner.device)
    except CheckpointError as error:
        raise CheckpointError(f"training.teacher: {error}") from None
    ours, theirs = learner.config, teacher.config
    for what, found, expected in (
        ("obs_horizon", theirs.obs_horizon, ours.obs_horizon),
        ("pred_horizon", theirs.pred_horizon, ours.pred_horizon),
        ("action_dim", teacher.action_dim, learner.action_dim),
    ):
        if found != expected:
            raise CheckpointError(
                f"training.teacher {name!r}: its {what} is {found}, this run's {expected}; it must plan the same steps"
            )
    for key, shape in teacher.obs_shapes.items():
        if learner.recorded_shapes.get(key) != shape:
            read = ", ".join(f"{own} {size}" for own, size in learner.recorded_shapes.items())
            raise CheckpointError(
                f"training.teacher {name!r}: it observes {key} {shape}, but this run reads {read}; it must see from that"
            )
    if any(step.next_noise for step in sampler_steps(teacher.objective, theirs.sampler, theirs.steps)):
        raise CheckpointError(
            f"training.teacher {name!r}: its sampler {theirs.sampler!r} draws noise on the way, so its plans do not follow "
            "from the noise they grow from; train it with one that draws none"
        )
    return teacher


def unfitted_policy(config: ExperimentConfig, windows: Windows) -> DiffusionPolicy:
    """A policy of the windows' shapes that knows no ranges yet."""
    shapes = {key: tuple(value.shape[1:]) for key, value in windows.obs.items()}
    return DiffusionPolicy(config.policy, shapes, windows.action.shape[-1])


def new_policy(config: ExperimentConfig, windows: Windows) -> DiffusionPolicy:
    """An untrained policy, with the ranges of the recorded steps that the windows are laid over."""
    policy, used = unfitted_policy(config, windows), torch.unique(windows.steps)
    obs = {key: value[used] for key, value in windows.obs.items()}
    policy.fit_normalizer(obs, windows.action[used], mirror=config.data.mirror)
    return policy


def learning_rate(step: int, settings: TrainingConfig) -> float:
    """Linear warm-up, then half a cosine to zero. A function of the step alone, so there is nothing to resume."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
