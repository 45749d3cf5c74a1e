"""The world that an evaluation happens in: a Gymnasium environment, how its episodes start, and whether it fits a policy.

Whatever an environment refuses is told as the user's mistake, in one line that names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym

from diffpolicy.errors import ConfigError, ObservationError
from diffpolicy.evaluation.controller import Controller, name_observation

ACTING = ("action_horizon", "speed", "noise_scale", "warm_start", "patience", "delay")
"""How a policy acts: settings of a rollout, arguments and attributes of a controller, and lines of `eval.json` alike."""


@dataclass(frozen=True)
class RolloutSettings:
    """What a rollout is: the world and how the policy acts in it. None takes the policy's or the world's own value."""

    env: str
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    protocol: str | None = None
    steps: int | None = None
    sampler: str | None = None
    action_horizon: int | None = None
    speed: float | None = None
    noise_scale: float | None = None
    warm_start: float | None = None
    patience: int | None = None
    delay: int = 0
    controller: Callable[..., Controller] = Controller
    """What follows plans: a subclass acts in another way. Workers must be able to import it."""
    max_steps: int | None = None

    def __post_init__(self) -> None:
        if self.max_steps is not None and self.max_steps < 1:
            raise ConfigError(f"max_steps is {self.max_steps}; an episode has at least 1 step")


def make_env(settings: RolloutSettings, *, render: bool) -> gym.Env:
    """Make the environment of these settings.

    Raises:
        ConfigError: Gymnasium does not know it, or it refuses its arguments.
    """
    kwargs = dict(settings.env_kwargs) | ({"render_mode": "rgb_array"} if render else {})
    if settings.max_steps:
        kwargs["max_episode_steps"] = settings.max_steps
    try:
        return gym.make(settings.env, **kwargs)
    except (gym.error.Error, ImportError, ValueError, TypeError) as error:
        raise ConfigError(f"cannot make the environment {settings.env!r}: {' '.join(str(error).split())}") from None


def start_episode(
    env: gym.Env, settings: RolloutSettings, seed: int, state: Sequence[float] | None = None
) -> tuple[Any, dict[str, Any]]:
    """Reset the environment to the start that the seed gives in the settings' protocol, or to exactly a state.

    Raises:
        ConfigError: the environment refuses the seed, the protocol or the state.
    """
    if not 0 <= seed < 2**63:
        raise ConfigError(f"{settings.env}: cannot start from seed {seed}; seeds are at least 0 and less than 2^63")
    options: dict[str, Any] = {"protocol": settings.protocol} if settings.protocol else {}
    if state is not None:
        options = {"state": state}
    try:
        return env.reset(seed=seed, options=options or None)
    except (gym.error.Error, ValueError) as error:
        start = f"seed {seed}" if state is None else f"the state {' '.join(f'{number:g}' for number in state)}"
        raise ConfigError(f"{settings.env}: cannot start from {start}: {' '.join(str(error).split())}") from None


def check_fit(
    env: gym.Env, obs: Any, settings: RolloutSettings, obs_shapes: Mapping[str, tuple[int, ...]], action_dim: int
) -> None:
    """Compare an environment and what it shows with what a policy observes and does.

    Raises:
        ConfigError: it takes other actions.
        ObservationError: it shows something else.
    """
    world = f"{settings.env} with env_kwargs {dict(settings.env_kwargs)}"
    try:
        name_observation(obs, obs_shapes)
    except ObservationError as error:
        raise ObservationError(f"{world}: {error}") from None
    if env.action_space.shape != (action_dim,):
        raise ConfigError(f"{world}: its actions have shape {env.action_space.shape}, the policy's ({action_dim},)")


def check_world(
    settings: RolloutSettings, obs_shapes: Mapping[str, tuple[int, ...]], action_dim: int, seed: int
) -> None:
    """Make the environment once and compare it with what a policy observes and does, before hours of training.

    Raises:
        ConfigError: the environment cannot be made or started, or takes other actions.
        ObservationError: it shows something else than the policy observes.
    """
    env = make_env(settings, render=False)
    try:
        obs, _ = start_episode(env, settings, seed)
        check_fit(env, obs, settings, obs_shapes, action_dim)
    finally:
        env.close()
