"""How long a step and a reset of Push-T take: beside gym-pusht, and beside the physics alone.

The physics alone, through pymunk's public interface, is what any Push-T on that engine has to pay; what a step costs
beyond it is ours to answer for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import gymnasium as gym
import numpy as np
from diffpolicy_envs import PUSHT_ID
from jaxtyping import Float

from diffpolicy.benchmarking.bare_physics import time_bare_steps
from diffpolicy.benchmarking.environment import Episode
from diffpolicy.benchmarking.peer import Peer
from diffpolicy.benchmarking.peer_gym_pusht import time_resets, time_steps
from diffpolicy.benchmarking.timing import Comparison, Contestant, compare, seconds_per

PEER: Final = "gym-pusht"
OURS: Final = "diffpolicy"

#: Our observation, and gym-pusht's of the same work: its key points are the eight corners, ours the nine recorded ones.
OBSERVATIONS: Final = (("state", "state"), ("keypoints", "environment_state_agent_pos"), ("pixels", "pixels"))
#: How many comparisons `compare_speed` makes, for a progress bar.
COMPARISONS: Final = 3 * len(OBSERVATIONS) + 4
N_WORLDS: Final = 64
_RESETS: Final = 20
_BRANCH_STEPS: Final = 10
_BRANCHES: Final = 10
_WORLD_STEPS: Final = 20


def compare_speed(
    peer: Peer | None, episodes: Sequence[Episode], rounds: int, on_round: Callable[[], None] = lambda: None
) -> list[Comparison]:
    """Measures steps and resets against gym-pusht, then what only ours has.

    Args:
        peer: gym-pusht, or None to measure ours alone.
        episodes: Round i plays episode i, modulo their number.
        rounds: Timed rounds of each comparison.
        on_round: Called after each round.

    Raises:
        PeerError: If the peer fails.
    """
    measured = []
    for ours, theirs in OBSERVATIONS:
        for unwrapped in (False, True):
            env = _environment(ours, unwrapped)
            contestants = {OURS: _steps(env, episodes)}
            if peer is not None:
                contestants[PEER] = _peer_steps(peer, theirs, unwrapped, episodes)
            measured.append(_compared(f"step, {ours}{', unwrapped' * unwrapped}", contestants, rounds, on_round))
        contestants = {OURS: _resets(_environment(ours, False), episodes)}
        if peer is not None:
            contestants[PEER] = _peer_resets(peer, theirs, episodes)
        measured.append(_compared(f"reset, {ours}", contestants, rounds, on_round))
    measured.append(_floor(episodes, rounds, on_round))
    measured.append(_contacts(episodes, rounds, on_round))
    measured.append(_branches(episodes, rounds, on_round))
    measured.append(_many_worlds(episodes, rounds, on_round))
    return measured


def _compared(what: str, contestants: dict[str, Contestant], rounds: int, on_round: Callable[[], None]) -> Comparison:
    pairs = [(PEER, OURS)] if PEER in contestants else []
    return compare(what, contestants, pairs, rounds=rounds, on_round=on_round)


def _environment(obs_type: str, unwrapped: bool) -> Any:
    env = gym.make(PUSHT_ID, obs_type=obs_type)
    return env.unwrapped if unwrapped else env


def _steps(env: Any, episodes: Sequence[Episode]) -> Contestant:
    def play(index: int) -> float:
        episode = episodes[index % len(episodes)]
        return time_steps(env, episode.seed, episode.actions)

    return play


def _peer_steps(peer: Peer, obs_type: str, unwrapped: bool, episodes: Sequence[Episode]) -> Contestant:
    def play(index: int) -> float:
        episode = episodes[index % len(episodes)]
        actions = episode.actions.tolist()
        request = {"obs_type": obs_type, "unwrapped": unwrapped, "seed": episode.seed, "actions": actions}
        return float(peer.ask_numbers("steps", {"seconds": ()}, **request)["seconds"])

    return play


def _resets(env: Any, episodes: Sequence[Episode]) -> Contestant:
    return lambda index: time_resets(env, _reset_seeds(index, episodes))


def _peer_resets(peer: Peer, obs_type: str, episodes: Sequence[Episode]) -> Contestant:
    def play(index: int) -> float:
        request = {"obs_type": obs_type, "unwrapped": False, "seeds": _reset_seeds(index, episodes)}
        return float(peer.ask_numbers("resets", {"seconds": ()}, **request)["seconds"])

    return play


def _reset_seeds(index: int, episodes: Sequence[Episode]) -> list[int]:
    first = episodes[0].seed + _RESETS * index
    return list(range(first, first + _RESETS))


def _floor(episodes: Sequence[Episode], rounds: int, on_round: Callable[[], None]) -> Comparison:
    env = _environment("state", True)

    def bare(index: int) -> float:
        episode = episodes[index % len(episodes)]
        return time_bare_steps(env.reset(seed=episode.seed)[0], episode.actions)

    contestants = {"step": _steps(env, episodes), "physics alone": bare}
    pairs = [("physics alone", "step")]
    what = "step, state, unwrapped, and pymunk's public API alone"
    return compare(what, contestants, pairs, rounds=rounds, on_round=on_round)


def _contacts(episodes: Sequence[Episode], rounds: int, on_round: Callable[[], None]) -> Comparison:
    contestants = {
        "step": _steps(_environment("state", True), episodes),
        "with count_contacts": _steps(gym.make(PUSHT_ID, count_contacts=True).unwrapped, episodes),
    }
    pairs = [("with count_contacts", "step")]
    what = "step, state, unwrapped, counting contacts as gym-pusht always does"
    return compare(what, contestants, pairs, rounds=rounds, on_round=on_round)


def _branches(episodes: Sequence[Episode], rounds: int, on_round: Callable[[], None]) -> Comparison:
    env = _environment("state", True)

    def start(index: int) -> list[Any]:
        episode = episodes[index % len(episodes)]
        env.reset(seed=episode.seed)
        for action in episode.actions[:-_BRANCH_STEPS]:
            env.step(action)
        return list(episode.actions[-_BRANCH_STEPS:])

    def onward(index: int) -> float:
        ahead = start(index)
        return seconds_per(1, lambda: [env.step(action) for action in ahead])

    def branch(index: int) -> float:
        ahead = start(index)

        def there_and_back() -> None:
            for _ in range(_BRANCHES):
                state = env.get_state()
                for action in ahead:
                    env.step(action)
                env.set_state(state)

        return seconds_per(_BRANCHES, there_and_back)

    contestants = {"ten steps": onward, "save, ten steps, restore": branch}
    pairs = [("save, ten steps, restore", "ten steps")]
    return compare("branch of ten steps, unwrapped", contestants, pairs, rounds=rounds, on_round=on_round)


def _many_worlds(episodes: Sequence[Episode], rounds: int, on_round: Callable[[], None]) -> Comparison:
    worlds = [episodes[index % len(episodes)] for index in range(N_WORLDS)]
    ahead = min(_WORLD_STEPS, len(worlds[0].actions))
    actions = np.stack([world.actions[:ahead] for world in worlds], axis=1)
    seeds = [world.seed for world in worlds]
    single = _environment("state", True)
    mode = "vector_entry_point"
    vectors = {
        f"{N_WORLDS} worlds, {workers} worker{'s' * (workers > 1)}": gym.make_vec(
            PUSHT_ID, num_envs=N_WORLDS, vectorization_mode=mode, workers=workers
        )
        for workers in (1, 2)
    }
    contestants: dict[str, Contestant] = {"one world": lambda _: _one_by_one(single, seeds, actions)}
    contestants |= {name: _all_at_once(vector, seeds, actions) for name, vector in vectors.items()}
    one, two = vectors
    try:
        pairs = [(one, "one world"), (two, "one world"), (one, two)]
        return compare("step of one world among many", contestants, pairs, rounds=rounds, on_round=on_round)
    finally:
        for vector in vectors.values():
            vector.close()


def _one_by_one(env: Any, seeds: Sequence[int], actions: Float[np.ndarray, "steps worlds 2"]) -> float:
    return float(np.mean([time_steps(env, seed, actions[:, world]) for world, seed in enumerate(seeds)]))


def _all_at_once(vector: Any, seeds: Sequence[int], actions: Float[np.ndarray, "steps worlds 2"]) -> Contestant:
    def play(_: int) -> float:
        vector.reset(seed=list(seeds))
        return seconds_per(actions.shape[0] * actions.shape[1], lambda: [vector.step(targets) for targets in actions])

    return play
