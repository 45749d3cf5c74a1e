"""One episode looked at closely: what the policy saw, planned and did at each control step, for pictures of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from diffpolicy.evaluation.rollout import make_controller
from diffpolicy.evaluation.world import RolloutSettings, check_fit, make_env, start_episode
from diffpolicy.policy import DiffusionPolicy


@dataclass(frozen=True)
class Seen:
    """One moment of an episode, before the action of its step is taken.

    Attributes:
        step: control steps taken so far.
        history: y, what the policy has observed: (obs_horizon, *shape) by key.
        info: what the world says of itself, such as the coverage.
        scene: the world, for people.
        plan: the plan taken up at this moment, in the world's units; None where the one before goes on, and at the end.
        guess: what it grew from beside noise, the rest of the plan before; None where from noise alone.
        noise_size: standard deviation of the noise that it grew from.
        ended: whether the episode ended here.
    """

    step: int
    history: Mapping[str, np.ndarray]
    info: Mapping[str, Any]
    scene: UInt8[np.ndarray, "height width 3"]
    plan: Float[np.ndarray, "horizon action"] | None
    guess: Float[np.ndarray, "horizon action"] | None
    noise_size: float
    ended: bool


def watch(
    policy: DiffusionPolicy, settings: RolloutSettings, seed: int, state: Sequence[float] | None = None
) -> Iterator[Seen]:
    """Run one episode, moment by moment: the start first, the end last.

    Start and noise are those of `rollout` for this seed. But here plans are made one by one, there 64 at once, and a
    product's rounding depends on its shape: the two may part where a touch of the block magnifies a rounding.

    Args:
        policy: what acts.
        settings: the world and the manner of acting.
        seed: of the start, and of the noise of all plans.
        state: a start to set exactly, in place of the seed's.

    Raises:
        ConfigError: the environment cannot be made or started, or the settings do not fit the policy.
        ObservationError: the environment shows something else than the policy observes.
    """
    controller = make_controller(policy, settings)
    controller.reset(seed)
    env = make_env(settings, render=True)
    try:
        obs, info = start_episode(env, settings, seed, state)
        check_fit(env, obs, settings, policy.obs_shapes, policy.action_dim)
        step, ended = 0, False
        while True:
            controller.observe(obs)
            # What is seen is kept before the plan is made: a plan draws from the generator, a picture must not.
            history = controller.history()
            plan = controller.plan() if controller.needs_plan and not ended else None
            scene, guess = np.asarray(env.render(), dtype=np.uint8), None if plan is None else controller.guess
            yield Seen(step, history, info, scene, plan, guess, controller.noise_size, ended)
            if ended:
                return
            obs, _, terminated, truncated, info = env.step(controller.act())
            step += 1
            ended = bool(terminated or truncated or step == settings.max_steps)
    finally:
        env.close()
