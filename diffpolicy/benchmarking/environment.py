"""Does our Push-T do what gym-pusht does? Starts and trajectories of both, side by side, to the last digits.

A published score belongs to one simulation, so "the same task" is a claim to be measured: same seeds, same actions,
every coordinate at every step. Where the two part, what the block touched at that moment is told, for resting on two
things at once is where the order of the physics' sums shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import gymnasium as gym
import numpy as np
from diffpolicy_envs import PUSHT_ID
from diffpolicy_envs.pusht import AGENT_RADIUS_PX, WORKSPACE_PX, block_corners
from diffpolicy_envs.pusht.geometry import BAR_PX, STEM_PX
from diffpolicy_envs.pusht.physics import WALL_CORNERS_PX, WALL_RADIUS_PX
from jaxtyping import Float

from diffpolicy.benchmarking.peer import Peer
from diffpolicy.benchmarking.peer_gym_pusht import roll_out

#: States count as the same up to here: px for positions, rad for the angle.
SAME: Final = 1e-6
#: Beyond rounding: the step where two trajectories part is the first that differs by more.
PARTED: Final = 1e-12
#: Trajectories that must be the same: rounding differs between processors, and contact can make much of it.
EXPECTED_SHARE: Final = 0.95
_TOUCHES_PX: Final = 0.5  # the engine lets things sink 0.1 px into each other, and a step moves them on
_FIRST_SEED: Final = 500_000
_ASIDE_PX: Final = 60.0


@dataclass(frozen=True)
class Episode:
    """A seed of the protocol "gym_pusht", and targets for the agent, px."""

    seed: int
    actions: Float[np.ndarray, "steps 2"]


@dataclass(frozen=True)
class Starts:
    """How far initial states differ under one protocol; `largest` in px or rad, whichever is more."""

    protocol: str
    count: int
    largest: float
    worst_seed: int

    @property
    def agrees(self) -> bool:
        """Whether every start is the same, up to `SAME`."""
        return self.largest <= SAME


@dataclass(frozen=True)
class Parting:
    """A trajectory that the two do not share, and what the block touched when they parted."""

    seed: int
    step: int
    difference: float
    largest: float
    start_overlap_px: float
    walls_touched: int
    agent_touched: bool


@dataclass(frozen=True)
class Trajectories:
    """How far trajectories differ from the same seeds under the same actions.

    Attributes:
        count: Trajectories.
        steps: Length of each.
        contact_share: Steps after which the agent touches the block.
        within_share: Trajectories whose every state is within `SAME`.
        identical_share: Trajectories that are the same to the last bit.
        largest: Largest difference of any coordinate at any step, px or rad.
        largest_reward: Largest difference of rewards at steps whose states are within `SAME`.
        partings: The trajectories that are not within `SAME`.
    """

    count: int
    steps: int
    contact_share: float
    within_share: float
    identical_share: float
    largest: float
    largest_reward: float
    partings: tuple[Parting, ...]

    @property
    def agrees(self) -> bool:
        """Whether as many trajectories are the same as must be."""
        return self.within_share >= EXPECTED_SHARE


def compare_starts(peer: Peer, protocol: str, count: int) -> Starts:
    """Compares the first states of `count` seeds.

    Raises:
        PeerError: If the peer fails.
    """
    env: Any = gym.make(PUSHT_ID).unwrapped
    seeds = list(range(_FIRST_SEED, _FIRST_SEED + count))
    ours = np.array([env.reset(seed=seed, options={"protocol": protocol})[0] for seed in seeds])
    theirs = peer.ask_numbers("starts", {"states": (count, 5)}, protocol=protocol, seeds=seeds)["states"]
    apart = state_difference(ours, theirs)
    return Starts(protocol, count, float(apart.max()), seeds[int(apart.argmax())])


def compare_trajectories(
    peer: Peer, episodes: Sequence[Episode], on_trajectory: Callable[[], None] = lambda: None
) -> Trajectories:
    """Compares whole trajectories, from the same seeds under the same actions, of the same number of steps.

    Raises:
        PeerError: If the peer fails.
    """
    env: Any = gym.make(PUSHT_ID).unwrapped
    count, steps = len(episodes), len(episodes[0].actions)
    ours, theirs = np.zeros((2, count, steps + 1, 5))
    our_rewards, their_rewards = np.zeros((2, count, steps))
    shapes = {"states": (steps + 1, 5), "rewards": (steps,)}
    for index, episode in enumerate(episodes):
        ours[index], our_rewards[index] = roll_out(env, episode.seed, episode.actions)
        answer = peer.ask_numbers("trajectory", shapes, seed=episode.seed, actions=episode.actions.tolist())
        theirs[index], their_rewards[index] = answer["states"], answer["rewards"]
        on_trajectory()
    return summarize(ours, theirs, our_rewards, their_rewards, [episode.seed for episode in episodes])


def contact_rich_episodes(count: int, steps: int) -> list[Episode]:
    """Returns seeds and actions: targets anywhere on the table, or, every second time, about where the block is by then.

    The first kind sweeps the block into walls and corners; the second stays with it and turns it about.
    """
    env: Any = gym.make(PUSHT_ID).unwrapped
    episodes = []
    for seed in range(_FIRST_SEED, _FIRST_SEED + count):
        rng = np.random.default_rng([seed, 1])
        actions = rng.uniform(0.0, WORKSPACE_PX, (steps, 2))
        if seed % 2:
            state, _ = env.reset(seed=seed)
            for action, aside in zip(actions, rng.normal(0.0, _ASIDE_PX, (steps, 2)), strict=True):
                action[:] = np.clip(block_corners(state[2:]).mean(axis=0) + aside, 0.0, WORKSPACE_PX)
                state = env.step(action)[0]
        episodes.append(Episode(seed, actions))
    return episodes


def summarize(
    ours: Float[np.ndarray, "count states 5"],
    theirs: Float[np.ndarray, "count states 5"],
    our_rewards: Float[np.ndarray, "count steps"],
    their_rewards: Float[np.ndarray, "count steps"],
    seeds: Sequence[int],
) -> Trajectories:
    """Returns how far two sets of trajectories are apart; states = steps + 1."""
    apart = state_difference(ours, theirs)
    largest = apart.max(axis=1)
    same = apart[:, 1:] <= SAME
    return Trajectories(
        count=len(ours),
        steps=ours.shape[1] - 1,
        contact_share=float((agent_gap_px(ours[:, 1:]) <= _TOUCHES_PX).mean()),
        within_share=float((largest <= SAME).mean()),
        identical_share=float((largest == 0).mean()),
        largest=float(largest.max()),
        largest_reward=float(np.abs(our_rewards - their_rewards).max(where=same, initial=0.0)),
        partings=tuple(
            _parting(seed, trajectory, differences)
            for seed, trajectory, differences in zip(seeds, ours, apart, strict=True)
            if differences.max() > SAME
        ),
    )


def state_difference(a: Float[np.ndarray, "*batch 5"], b: Float[np.ndarray, "*batch 5"]) -> Float[np.ndarray, "*batch"]:
    """Returns the largest difference of any of a state's five numbers, the angle (rad) taken modulo 2 pi."""
    apart = np.abs(a - b)
    apart[..., 4] %= math.tau
    apart[..., 4] = np.minimum(apart[..., 4], math.tau - apart[..., 4])
    return np.asarray(apart.max(axis=-1))


def agent_gap_px(states: Float[np.ndarray, "*batch 5"]) -> Float[np.ndarray, "*batch"]:
    """Returns the distance from the agent's rim to the block, px, negative where they overlap, at least -15."""
    # The agent as the block sees it: there, the block is two upright rectangles.
    x, y = np.moveaxis(states[..., :2] - states[..., 2:4], -1, 0)
    cos, sin = np.cos(states[..., 4]), np.sin(states[..., 4])
    agent_x, agent_y = cos * x + sin * y, cos * y - sin * x
    gaps = [
        np.hypot(
            np.maximum(0.0, np.maximum(left - agent_x, agent_x - right)),
            np.maximum(0.0, np.maximum(bottom - agent_y, agent_y - top)),
        )
        for left, bottom, right, top in (BAR_PX, STEM_PX)
    ]
    return np.asarray(np.minimum(*gaps) - AGENT_RADIUS_PX)


def wall_gaps_px(states: Float[np.ndarray, "*batch 5"]) -> Float[np.ndarray, "*batch 4"]:
    """Returns the distances from the block to the four walls, px, negative where it reaches into one."""
    corners = block_corners(states[..., 2:])
    low, high = np.min(WALL_CORNERS_PX) + WALL_RADIUS_PX, np.max(WALL_CORNERS_PX) - WALL_RADIUS_PX
    return np.concatenate([corners.min(axis=-2) - low, high - corners.max(axis=-2)], axis=-1)


def _parting(seed: int, states: Float[np.ndarray, "states 5"], apart: Float[np.ndarray, "states"]) -> Parting:
    step = int((apart > PARTED).argmax())
    # What was touched just before or just after: one control step is ten of the physics.
    around = states[max(step - 1, 0) : step + 1]
    return Parting(
        seed=seed,
        step=step,
        difference=float(apart[step]),
        largest=float(apart.max()),
        start_overlap_px=float(max(0.0, -agent_gap_px(states[0]), -wall_gaps_px(states[0]).min())),
        walls_touched=int((wall_gaps_px(around).min(axis=0) <= _TOUCHES_PX).sum()),
        agent_touched=bool(agent_gap_px(around).min() <= _TOUCHES_PX),
    )
