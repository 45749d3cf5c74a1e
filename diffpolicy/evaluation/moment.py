"""One moment of an episode: the observation that plans are drawn for, and what a picture of them needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffpolicy.checkpoint import find_checkpoint, load_policy, read_meta
from diffpolicy.errors import ConfigError
from diffpolicy.evaluation.evaluate import settings_of
from diffpolicy.evaluation.watch import watch
from diffpolicy.evaluation.world import RolloutSettings
from diffpolicy.policy import DiffusionPolicy
from diffpolicy.tasks import Drawable


@dataclass(frozen=True)
class Moment:
    """An observation, and what pictures of it need.

    Attributes:
        policy: what plans.
        task: where an action lies in the picture.
        settings: the world, and the manner of acting in it.
        history: y, (obs_horizon, *shape) by key.
        scene: the world at this moment, (height, width, 3) uint8.
        agent_px: where the agent is, if it is observed.
        steps: network evaluations of a plan.
        sampler: how it is solved.
        seed: of the noise.
    """

    policy: DiffusionPolicy
    task: Drawable
    settings: RolloutSettings
    history: Mapping[str, np.ndarray]
    scene: np.ndarray
    agent_px: np.ndarray | None
    steps: int
    sampler: str
    seed: int

    @property
    def batch(self) -> dict[str, np.ndarray]:
        """The observation as a batch of one."""
        return {key: value[None] for key, value in self.history.items()}

    @property
    def look(self) -> dict[str, Any]:
        """What all drawings of plans over this scene take."""
        return {
            "agent_px": self.agent_px,
            "executed": self.policy.executed,
            "workspace_px": self.task.workspace_px,
        }

    def sample(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Plans (n, horizon, 2) and the path to them (states, n, horizon, 2), px, always of the same noise."""
        generator = torch.Generator().manual_seed(self.seed)
        x, path = self.policy.sample(
            self.batch, n=n, steps=self.steps, sampler=self.sampler, generator=generator, return_path=True
        )
        return self.px(x[0]), self.px(path[:, 0])

    def px(self, actions: Any) -> np.ndarray:
        """Where actions (*batch, action) lie in the picture: (*batch, 2), px."""
        return plan_px(self.task, actions)


def moment_at(
    checkpoint: str | Path,
    seed: int = 500_079,
    *,
    at: int = 0,
    state: Sequence[float] | None = None,
    device: str = "cpu",
    **changes: Any,
) -> Moment:
    """Act from the start of an episode up to a step, and look there.

    Args:
        checkpoint: a released name, a checkpoint's folder or a run's folder.
        seed: of the start and of all noise.
        at: the control step to look at.
        state: a start to set exactly, in place of the seed's.
        device: where the network runs.
        **changes: settings of `RolloutSettings` that differ from the experiment's own, such as `steps` and `sampler`.

    Raises:
        CheckpointError: there is no such checkpoint.
        ConfigError: numbers out of range, a task whose plans have no place in a picture, an episode that ended before.
        ObservationError: the environment shows something else than the policy observes.
    """
    folder = find_checkpoint(checkpoint)
    settings = settings_of(read_meta(folder)["experiment"], **changes)
    return moment_in(load_policy(folder, device), settings, seed, at=at, state=state)


def moment_in(
    policy: DiffusionPolicy,
    settings: RolloutSettings,
    seed: int,
    *,
    at: int = 0,
    state: Sequence[float] | None = None,
) -> Moment:
    """Act as the settings say from the start of an episode up to the step, and look there. Errors: see `moment_at`."""
    task = drawable(policy)  # before an episode is run for nothing
    for seen in watch(policy, settings, seed, state):
        if seen.step == at:
            break
        if seen.ended:
            raise ConfigError(f"--at {at}: the episode from seed {seed} ended at step {seen.step}")
    return Moment(
        policy=policy,
        task=task,
        settings=settings,
        history=seen.history,
        scene=seen.scene,
        agent_px=agent_px(seen.history),
        steps=policy.config.steps if settings.steps is None else settings.steps,
        sampler=settings.sampler or policy.config.sampler,
        seed=seed,
    )


def drawable(policy: DiffusionPolicy) -> Drawable:
    """The policy's task, as one that says where actions lie in a picture.

    Raises:
        ConfigError: it does not say, or plans are of one action.
    """
    if not isinstance(policy.task, Drawable):
        raise ConfigError(
            f"task {policy.config.task!r} has no workspace_px and plan_px(action): its plans have no place in a picture"
        )
    if policy.config.pred_horizon < 2:
        raise ConfigError("policy.pred_horizon is 1: one action is a point, and pictures of plans draw lines")
    return policy.task


def plan_px(task: Drawable, actions: Any) -> np.ndarray:
    """Where actions (*batch, action), a tensor, lie in the picture: (*batch, 2), px."""
    return task.plan_px(actions).double().cpu().numpy()


def agent_px(history: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Where the agent is now, if it is observed, px."""
    return next((history[key][-1, :2] for key in ("agent_pos", "state") if key in history), None)
