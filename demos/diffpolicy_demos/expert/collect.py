"""Demonstrations by the expert, over processes, into a store: reproducible by seed, whatever the number of workers."""

import multiprocessing
import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from diffpolicy_envs import PUSHT_ID
from jaxtyping import Float

from diffpolicy_demos.expert.planner import Mode, PushTExpert

# People stop where the time limit of the benchmark stops a policy.
MAX_STEPS = 300


@dataclass(frozen=True)
class Demonstration:
    """One episode of the expert.

    Attributes:
        arrays: `state` and `action` by step, float32; with noise also `executed_action`, what was really done.
        info: seed, protocol, start_state, mode, success, max_coverage, decisions.
    """

    arrays: dict[str, Float[np.ndarray, "steps width"]]
    info: dict[str, Any]


def demonstrate(
    seed: int, *, protocol: str = "gym_pusht", mode: Mode | None = None, noise_px: float = 0.0
) -> Demonstration:
    """Lets the expert solve one episode.

    Args:
        seed: Decides the start, the drawn mode and the noise.
        protocol: How the seed becomes a start.
        mode: Which way round the block; None lets the seed decide.
        noise_px: Standard deviation of what is added to each executed action, px. The recorded actions are the
            expert's own, from where the noise took it: they show how to come back.

    Returns:
        The episode up to the step that succeeded, or to the time limit.
    """
    env = gym.make(PUSHT_ID, max_episode_steps=MAX_STEPS, disable_env_checker=True)
    obs, _ = env.reset(seed=seed, options={"protocol": protocol})
    start = obs.tolist()
    # Other draws than the environment's, which are from the seed itself.
    for_expert, for_noise = np.random.SeedSequence(seed, spawn_key=(1,)).spawn(2)
    rng = np.random.default_rng(for_noise)
    act = PushTExpert(mode)
    act.reset(for_expert)
    states, actions, executed, best, success, done = [], [], [], 0.0, False, False
    while not done:
        action = act(obs)
        done_action = np.clip(action + noise_px * rng.standard_normal(2), 0.0, 512.0) if noise_px else action
        states.append(obs)
        actions.append(action)
        executed.append(done_action)
        obs, _, success, truncated, info = env.step(done_action)
        best, done = max(best, info["coverage"]), success or truncated
    env.close()
    arrays = {"state": np.array(states, dtype=np.float32), "action": np.array(actions, dtype=np.float32)}
    if noise_px:
        arrays["executed_action"] = np.array(executed, dtype=np.float32)
    described = {
        "seed": seed,
        "protocol": protocol,
        "start_state": start,
        "mode": act.mode or "direct",
        "success": success,
        "max_coverage": best,
        "decisions": act.decisions,
    }
    return Demonstration(arrays, described)


def demonstrations(
    first_seed: int,
    *,
    workers: int = 1,
    protocol: str = "gym_pusht",
    mode: Mode | None = None,
    noise_px: float = 0.0,
) -> Generator[Demonstration, None, None]:
    """Yields episodes from seed after seed, in their order, without end; failures included.

    Args:
        first_seed: The seed of the first.
        workers: Processes that compute them; 1 computes here.
        protocol: As for `demonstrate`.
        mode: Likewise.
        noise_px: Likewise.
    """
    one = partial(demonstrate, protocol=protocol, mode=mode, noise_px=noise_px)
    seed = first_seed
    if workers == 1:
        while True:
            yield one(seed)
            seed += 1
    with _pool(workers) as pool:
        # Some episodes take three times as long as others; a few in waiting keep all workers busy, while little is lost
        # when the reader has enough.
        waiting = [pool.apply_async(one, (seed + i,)) for i in range(3 * workers)]
        seed += len(waiting)
        while True:
            yield waiting.pop(0).get()
            waiting.append(pool.apply_async(one, (seed,)))
            seed += 1


@contextmanager
def _pool(workers: int) -> Iterator[Any]:
    """Processes that leave Ctrl-C to their parent, which ends them."""
    pool = multiprocessing.get_context("spawn").Pool(workers, signal.signal, (signal.SIGINT, signal.SIG_IGN))
    try:
        yield pool
    finally:
        pool.terminate()
        pool.join()
