"""The rollout: many worlds in lanes, all plans made in one batch.

Every block has the same number of lanes, filled up where fewer episodes remain. A matrix product's rounding depends on its
shape, so with one shape an episode's result depends neither on how many episodes were asked for nor on its neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from diffpolicy.errors import ConfigError, ObservationError
from diffpolicy.evaluation.controller import Controller, name_observation
from diffpolicy.evaluation.metrics import EpisodeRecord
from diffpolicy.policy import DiffusionPolicy
from diffpolicy.visualization.rollout import rollout_frames
from diffpolicy.visualization.video import write_video

LANES = 50


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
    delay: int = 0
    max_steps: int | None = None

    def __post_init__(self) -> None:
        if self.max_steps is not None and self.max_steps < 1:
            raise ConfigError(f"max_steps is {self.max_steps}; an episode has at least 1 step")


@dataclass
class _Lane:
    env: gym.Env
    controller: Controller
    seed: int
    filmed: bool
    obs: Any = None
    done: bool = False
    success: bool = False
    rewards: list[float] = field(default_factory=list)
    coverages: list[float] = field(default_factory=list)
    frames: list[np.ndarray] = field(default_factory=list)


def rollout(
    policy: DiffusionPolicy,
    seeds: Sequence[int],
    settings: RolloutSettings,
    *,
    film: Mapping[int, Path] | None = None,
    on_episodes: Callable[[int], None] = lambda done: None,
    lanes: int = LANES,
) -> list[EpisodeRecord]:
    """Run one episode per seed.

    Args:
        policy: what acts; its noise in an episode comes from that episode's seed.
        seeds: where the episodes start from.
        settings: the world and the manner of acting.
        film: videos to write, by seed.
        on_episodes: told the number of finished episodes after each step.
        lanes: episodes side by side; part of the protocol, see the module's text.

    Raises:
        ConfigError: the environment cannot be made or knows no such protocol.
        ObservationError: the environment shows something else than the policy observes.
    """
    records: list[EpisodeRecord] = []
    with _one_thread(policy.device), torch.no_grad():
        for start in range(0, len(seeds), lanes):
            block = list(seeds[start : start + lanes])

            def tell(finished: int, before: int = len(records)) -> None:
                on_episodes(before + finished)

            records += _block(policy, block, lanes, settings, film or {}, tell)
    return records


def _block(
    policy: DiffusionPolicy,
    seeds: list[int],
    lanes: int,
    settings: RolloutSettings,
    film: Mapping[int, Path],
    on_finished: Callable[[int], None],
) -> list[EpisodeRecord]:
    worlds = [_open_lane(policy, seed, settings, filmed=seed in film) for seed in seeds]
    generators = [w.controller.generator for w in worlds]
    generators += [torch.Generator() for _ in range(lanes - len(worlds))]
    limit = settings.max_steps or math.inf
    step = 0
    while step < limit and not all(world.done for world in worlds):
        for world in worlds:
            if not world.done:
                world.controller.observe(world.obs)
        # All lanes began together and plan alike, so they need plans at the same steps; a finished one keeps its place.
        if any(world.controller.needs_plan for world in worlds if not world.done):
            histories = [world.controller.history() for world in worlds]
            histories += [histories[0]] * (lanes - len(worlds))
            y = {key: np.stack([history[key] for history in histories]) for key in histories[0]}
            x = policy.sample(y, steps=settings.steps, sampler=settings.sampler, generator=generators)
            assert isinstance(x, torch.Tensor)
            plans = x[:, 0].cpu().numpy().astype(np.float64)
            for world, plan in zip(worlds, plans, strict=False):
                if not world.done:
                    world.controller.accept(plan)
        for world in worlds:
            if not world.done:
                _step(world)
        step += 1
        on_finished(len(worlds) if step >= limit else sum(world.done for world in worlds))
    for world in worlds:
        world.env.close()
        if world.frames:
            scored = len(world.coverages) == len(world.frames)
            fps = world.env.metadata.get("render_fps", 10)
            coverage = np.array(world.coverages)
            frames = rollout_frames(world.frames, coverage, period_s=1 / fps) if scored else world.frames
            write_video(film[world.seed], frames, fps=fps)
    return [_record(world) for world in worlds]


def _open_lane(policy: DiffusionPolicy, seed: int, settings: RolloutSettings, *, filmed: bool) -> _Lane:
    env = make_env(settings, render=filmed)
    controller = Controller(
        policy,
        steps=settings.steps,
        sampler=settings.sampler,
        action_horizon=settings.action_horizon,
        speed=settings.speed,
        delay=settings.delay,
        seed=seed,
    )
    lane = _Lane(env, controller, seed, filmed)
    lane.obs, info = start_episode(env, settings, seed)
    _check_fit(env, lane.obs, settings, policy.obs_shapes, policy.action_dim)
    _watch(lane, info)
    return lane


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
    options: dict[str, Any] = {"protocol": settings.protocol} if settings.protocol else {}
    if state is not None:
        options = {"state": state}
    try:
        return env.reset(seed=seed, options=options or None)
    except (gym.error.Error, ValueError) as error:
        raise ConfigError(f"{settings.env}: cannot start from seed {seed}: {' '.join(str(error).split())}") from None


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
        _check_fit(env, obs, settings, obs_shapes, action_dim)
    finally:
        env.close()


def _check_fit(
    env: gym.Env, obs: Any, settings: RolloutSettings, obs_shapes: Mapping[str, tuple[int, ...]], action_dim: int
) -> None:
    world = f"{settings.env} with env_kwargs {dict(settings.env_kwargs)}"
    try:
        name_observation(obs, obs_shapes)
    except ObservationError as error:
        raise ObservationError(f"{world}: {error}") from None
    if env.action_space.shape != (action_dim,):
        raise ConfigError(f"{world}: its actions have shape {env.action_space.shape}, the policy's ({action_dim},)")


def _step(lane: _Lane) -> None:
    lane.obs, reward, terminated, truncated, info = lane.env.step(lane.controller.act())
    lane.rewards.append(float(reward))
    lane.success |= bool(info.get("is_success", terminated))
    lane.done = terminated or truncated
    _watch(lane, info)


def _watch(lane: _Lane, info: Mapping[str, Any]) -> None:
    if "coverage" in info:
        lane.coverages.append(float(info["coverage"]))
    if lane.filmed:
        lane.frames.append(np.asarray(lane.env.render()))


def _record(lane: _Lane) -> EpisodeRecord:
    return EpisodeRecord(
        seed=lane.seed,
        score=max(lane.rewards),
        success=lane.success,
        steps=len(lane.rewards),
        final_coverage=lane.coverages[-1] if lane.coverages else None,
    )


@contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    """Plans for a few lanes are too small to share among threads, and rounding depends on how they are shared."""
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
