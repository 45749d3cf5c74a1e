"""The moment that a picture of plans is about: whose plans, and the observation that they are made for.

Every picture of one observation asks for it in the same words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from diffpolicy.config_objectives import Sampler
from diffpolicy.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from diffpolicy.evaluation.world import RolloutSettings
    from diffpolicy.policy import DiffusionPolicy
    from diffpolicy.tasks import Drawable


@dataclass(frozen=True)
class MomentArguments:
    """Which checkpoint, which start, which control step, and how plans are drawn there."""

    checkpoint: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CHECKPOINT")]
    """A released name, a checkpoint's folder or a run's folder."""
    seed: int = 500_079
    """Of the episode's start and of all noise. (From this one, Push-T has two good ways round the block.)"""
    state: tuple[float, ...] | None = None
    """Start from exactly this state instead, where the environment takes one; Push-T: agent x y, block x y (px), angle
    (rad)."""
    at: int = 0
    """Control step of the episode at which to look."""
    n: int = 64
    """Sequences to sample."""
    steps: int | None = None
    """Network evaluations; the policy's own unless given."""
    sampler: Sampler | None = None
    """The policy's own unless given."""
    protocol: str | None = None
    """How the seed becomes an initial state: for Push-T gym_pusht or diffusion_policy; the experiment's own unless
    given."""
    device: str = "cpu"
    """Where the network runs: auto, cpu, cuda or mps."""
    out: Path | None = None
    """Folder for the pictures; runs/visualize-NAME unless given."""


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
        import torch

        generator = torch.Generator().manual_seed(self.seed)
        x, path = self.policy.sample(
            self.batch, n=n, steps=self.steps, sampler=self.sampler, generator=generator, return_path=True
        )
        return self.px(x[0]), self.px(path[:, 0])

    def px(self, actions: Any) -> np.ndarray:
        """Where actions (*batch, action) lie in the picture: (*batch, 2), px."""
        return plan_px(self.task, actions)


def moment_of(arguments: MomentArguments) -> Moment:
    """Act from the start of the episode up to the step, and look there.

    Raises:
        CheckpointError: there is no such checkpoint.
        ConfigError: numbers out of range, a task whose plans have no place in a picture, an episode that ended before.
        ObservationError: the environment shows something else than the policy observes.
    """
    from diffpolicy.checkpoint import find_checkpoint, load_policy, read_meta
    from diffpolicy.evaluation.evaluate import settings_of

    if arguments.n < 1 or arguments.at < 0:
        raise ConfigError(f"--n is {arguments.n} and --at is {arguments.at}; n must be at least 1, at at least 0")
    checkpoint = find_checkpoint(arguments.checkpoint)
    policy = load_policy(checkpoint, arguments.device)
    changes = {"protocol": arguments.protocol, "steps": arguments.steps, "sampler": arguments.sampler}
    settings = settings_of(read_meta(checkpoint)["experiment"], **changes)
    return moment_in(policy, settings, arguments.seed, at=arguments.at, state=arguments.state)


def moment_in(
    policy: DiffusionPolicy,
    settings: RolloutSettings,
    seed: int,
    *,
    at: int = 0,
    state: tuple[float, ...] | None = None,
) -> Moment:
    """Act as the settings say from the start of an episode up to the step, and look there. Errors: see `moment_of`."""
    from diffpolicy.evaluation.watch import watch

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
        ConfigError: it does not say.
    """
    from diffpolicy.tasks import Drawable

    if not isinstance(policy.task, Drawable):
        raise ConfigError(
            f"task {policy.config.task!r} has no workspace_px and plan_px(action): its plans have no place in a picture"
        )
    return policy.task


def plan_px(task: Drawable, actions: Any) -> np.ndarray:
    """Where actions (*batch, action), a tensor, lie in the picture: (*batch, 2), px."""
    return task.plan_px(actions).double().cpu().numpy()


def agent_px(history: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Where the agent is now, if it is observed, px."""
    return next((history[key][-1, :2] for key in ("agent_pos", "state") if key in history), None)
