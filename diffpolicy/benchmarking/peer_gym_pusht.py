"""gym-pusht's side of the comparison: run by the Python that has it, asked and answering in lines of JSON.

It needs pymunk below 7 and so cannot share our process. This file therefore imports nothing of ours; the two loops that
are timed, `time_steps` and `time_resets`, are used on our side as well, so that both sides run the same code. Lanes are
many worlds at once, for an evaluation that is driven from our side.
Floats survive JSON exactly: Python writes each with the digits that lead back to it.
"""

import importlib.metadata
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np

ENV_ID = "gym_pusht:gym_pusht/PushT-v0"

_made: dict[tuple[str, bool], Any] = {}
_lanes: list[Any] = []


def time_steps(env: Any, seed: int, actions: np.ndarray) -> float:
    """Returns seconds per step of an episode from this seed with these actions (steps, 2), the reset not counted."""
    targets = list(actions)
    env.reset(seed=seed)
    began = time.perf_counter()
    for target in targets:
        env.step(target)
    return (time.perf_counter() - began) / len(targets)


def time_resets(env: Any, seeds: Sequence[int]) -> float:
    """Returns seconds per reset."""
    began = time.perf_counter()
    for seed in seeds:
        env.reset(seed=seed)
    return (time.perf_counter() - began) / len(seeds)


def roll_out(env: Any, seed: int, actions: np.ndarray) -> tuple[list[list[float]], list[float]]:
    """Returns the states (steps + 1, 5), px and rad, and rewards (steps,) of an episode, on past its end."""
    states, rewards = [env.reset(seed=seed)[0].tolist()], []
    for action in actions:
        state, reward, *_ = env.step(action)
        states.append(state.tolist())
        rewards.append(float(reward))
    return states, rewards


def published_start(seed: int) -> list[float]:
    """Returns the start of Chi et al., "Diffusion Policy", RSS 2023, for a seed: agent, block (px), angle (rad)."""
    legacy = np.random.RandomState(seed)
    return [
        float(legacy.randint(50, 450)),
        float(legacy.randint(50, 450)),
        float(legacy.randint(100, 400)),
        float(legacy.randint(100, 400)),
        float(legacy.randn() * 2 * np.pi - np.pi),
    ]


def _environment(obs_type: str = "state", unwrapped: bool = False) -> Any:
    if (obs_type, unwrapped) not in _made:
        env = gymnasium.make(ENV_ID, obs_type=obs_type)
        _made[obs_type, unwrapped] = env.unwrapped if unwrapped else env
    return _made[obs_type, unwrapped]


def _versions() -> dict[str, Any]:
    _environment()
    names = ("gym-pusht", "pymunk", "gymnasium", "numpy")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names}


def _starts(protocol: str, seeds: list[int]) -> dict[str, Any]:
    env = _environment(unwrapped=True)
    if protocol == "gym_pusht":
        return {"states": [env.reset(seed=seed)[0].tolist() for seed in seeds]}
    given = [published_start(seed) for seed in seeds]
    return {"states": [env.reset(options={"reset_to_state": start})[0].tolist() for start in given]}


def _trajectory(seed: int, actions: list[list[float]]) -> dict[str, Any]:
    states, rewards = roll_out(_environment(unwrapped=True), seed, np.array(actions))
    return {"states": states, "rewards": rewards}


def _steps(obs_type: str, unwrapped: bool, seed: int, actions: list[list[float]]) -> dict[str, Any]:
    return {"seconds": time_steps(_environment(obs_type, unwrapped), seed, np.array(actions))}


def _resets(obs_type: str, unwrapped: bool, seeds: list[int]) -> dict[str, Any]:
    return {"seconds": time_resets(_environment(obs_type, unwrapped), seeds)}


def _open_lanes(lanes: int) -> dict[str, Any]:
    """Makes many worlds at once, as gymnasium offers it: each in a process of its own."""
    _close_lanes()
    _lanes.append(gymnasium.make_vec(ENV_ID, num_envs=lanes, vectorization_mode="async"))
    return {}


def _begin(seeds: list[int]) -> dict[str, Any]:
    return {"states": _lanes[0].reset(seed=seeds)[0].tolist()}


def _follow(actions: list[list[list[float]]], keep: int) -> dict[str, Any]:
    """Follows actions (lanes, steps, 2); returns the last `keep` states and what each step brought.

    A lane whose episode is over begins another with the next step, as gymnasium has it; who asks must look away.
    """
    stepped = [_lanes[0].step(targets) for targets in np.swapaxes(np.array(actions), 0, 1)]
    states, rewards, successes, cuts, _ = zip(*stepped, strict=True)
    ended = np.array(successes) | np.array(cuts)
    told = {"states": states[-keep:], "rewards": rewards, "succeeded": successes, "ended": ended}
    return {name: np.swapaxes(np.array(values, dtype=np.float64), 0, 1).tolist() for name, values in told.items()}


def _close_lanes() -> dict[str, Any]:
    while _lanes:
        _lanes.pop().close()
    return {}


_ANSWERS: dict[str, Callable[..., dict[str, Any]]] = {
    "versions": _versions,
    "starts": _starts,
    "trajectory": _trajectory,
    "steps": _steps,
    "resets": _resets,
    "open_lanes": _open_lanes,
    "begin": _begin,
    "follow": _follow,
    "close_lanes": _close_lanes,
}


def main() -> None:
    """Answers each line on stdin with one on stdout until there are no more."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # pygame greets on stdout, where only answers belong
    for line in sys.stdin:
        request = json.loads(line)
        answers.write(json.dumps(_ANSWERS[request.pop("what")](**request)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
