"""A policy evaluated as plain code does it: gym-pusht in gymnasium's AsyncVectorEnv, one block of episodes after another.

The plans are ours, so that what is compared is the evaluation. A lane whose episode is over waits for the last of its block:
gymnasium would begin the next one by itself, but not from a seed of its own, and then no score could be repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float

from diffpolicy.benchmarking.peer import Peer
from diffpolicy.config import PolicyConfig
from diffpolicy.diffusion import standard_normal
from diffpolicy.evaluation.metrics import EpisodeRecord
from diffpolicy.policy import DiffusionPolicy


def evaluate_with_peer(
    peer: Peer,
    policy: DiffusionPolicy,
    seeds: Sequence[int],
    lanes: int,
    on_episodes: Callable[[int], None] = lambda done: None,
) -> list[EpisodeRecord]:
    """Rolls a policy out in the peer's worlds.

    Plans, noise and the way they are followed are the same as in our evaluation. A request goes out for each plan, not
    for each step, and takes about a millisecond to write and read, under 1% of the steps themselves: it is counted.

    Args:
        peer: gym-pusht.
        policy: What acts; it observes `state` alone, and follows the one plan that it draws, from noise of its own.
        seeds: Where the episodes start from, in the protocol "gym_pusht".
        lanes: Worlds side by side, each in a process of its own.
        on_episodes: Told the number of finished episodes after each block.

    Raises:
        PeerError: If the peer fails.
    """
    records: list[EpisodeRecord] = []
    peer.ask("open_lanes", lanes=lanes)
    for start in range(0, len(seeds), lanes):
        # Lanes without an episode of their own are played along, as plain code does.
        block = [seeds[start] + lane for lane in range(lanes)]
        records += _block(peer, policy, block)[: len(seeds) - start]
        on_episodes(len(records))
    peer.ask("close_lanes")
    return records


def followed(
    plans: Float[np.ndarray, "lanes horizon action"], config: PolicyConfig
) -> Float[np.ndarray, "lanes steps action"]:
    """The actions that plans come to at the policy's own pace: between two of a plan's, they are read off linearly."""
    place = config.obs_horizon - 1 + np.arange(config.action_horizon) * config.execution_speed
    before = np.floor(place).astype(int)
    after = np.minimum(before + 1, plans.shape[1] - 1)
    return plans[:, before] + (plans[:, after] - plans[:, before]) * (place - before)[:, None]


def _block(peer: Peer, policy: DiffusionPolicy, seeds: list[int]) -> list[EpisodeRecord]:
    config, lanes = policy.config, len(seeds)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    first = peer.ask_numbers("begin", {"states": (lanes, 5)}, seeds=seeds)["states"]
    history = np.repeat(first[:, None], config.obs_horizon, axis=1)
    best, succeeded, steps = np.zeros(lanes), np.zeros(lanes, bool), np.zeros(lanes, int)
    playing = np.ones(lanes, bool)
    while playing.any():
        noise = standard_normal((lanes, 1, config.pred_horizon, policy.action_dim), generators, torch.device("cpu"))
        x = policy.sample({"state": history}, generator=generators, noise=config.noise_scale * noise)
        assert isinstance(x, torch.Tensor)
        actions = followed(x[:, 0].cpu().numpy().astype(np.float64), config)
        chunk, kept = config.action_horizon, min(config.action_horizon, config.obs_horizon)
        shapes = {"states": (lanes, kept, 5)} | dict.fromkeys(("rewards", "succeeded", "ended"), (lanes, chunk))
        told = peer.ask_numbers("follow", shapes, actions=actions.tolist(), keep=kept)
        history = np.concatenate([history, told["states"]], axis=1)[:, -config.obs_horizon :]
        for reward, success, end in zip(*(told[name].T for name in ("rewards", "succeeded", "ended")), strict=True):
            best = np.where(playing, np.maximum(best, reward), best)
            succeeded |= playing & (success > 0)
            steps += playing
            playing &= end == 0
    return [
        EpisodeRecord(seed, float(best[lane]), bool(succeeded[lane]), int(steps[lane]), None)
        for lane, seed in enumerate(seeds)
    ]
