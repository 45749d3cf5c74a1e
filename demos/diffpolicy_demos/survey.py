"""How episodes go, in numbers: speeds, coverage over time, where they start. What `inspect` shows is computed here."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from diffpolicy_envs.pusht import coverage
from jaxtyping import Float
from rich.progress import Progress

from diffpolicy_demos.doctor.pusht import goal_of, is_pusht
from diffpolicy_demos.replay import EXECUTED, Player, agent_velocities, differences, moving_actions, playable, scale_of
from diffpolicy_demos.store import Store

_FOLLOWS_PX = 1.0
# What is needed of a Push-T episode; what a store has not is taken as published.
_PARTS = ("state", "action", EXECUTED, "goal_pose", "scale")


@dataclass(frozen=True)
class Course:
    """One episode.

    Attributes:
        episode: Its index.
        action_speed: How fast the action moves from each step to the next, in units of the action a second.
        states: Agent x, y, block x, y (px), angle (rad) at every step; only of Push-T.
        coverage: The covered share of the goal at every step and after the last action; only of Push-T.
        goal_pose: x, y (px) and angle (rad) of the goal; only of Push-T.
        scale: Size of the block as a multiple of the published one.
    """

    episode: int
    action_speed: Float[np.ndarray, " changes"]
    states: Float[np.ndarray, "steps 5"] | None = None
    coverage: Float[np.ndarray, " instants"] | None = None
    goal_pose: Float[np.ndarray, "3"] | None = None
    scale: float = 1.0


def courses(store: Store, control_hz: float, progress: Progress | None = None) -> Iterator[Course]:
    """Yields the course of every episode, in order.

    An episode with NaN or infinity has no states and no coverage.

    Args:
        store: The demonstrations.
        control_hz: Steps a second.
        progress: Where to show how far the reading is, in episodes.
    """
    pusht, player = is_pusht(store.attrs, {key: store[key] for key in store.stored_keys}), Player()
    keys = [key for key in (_PARTS if pusht else ("action",)) if key in store.stored_keys]
    track = (progress or Progress(disable=True)).track
    for index in track(range(store.n_episodes), description="following"):
        parts = store.episode(index, keys=keys)
        speed = _speed(parts["action"], control_hz)
        if not pusht or not all(np.isfinite(values).all() for values in parts.values()):
            yield Course(index, speed)
            continue
        states, goal, scale = parts["state"].astype(np.float64), goal_of(parts), scale_of(parts)
        ends = np.concatenate([states, _after(parts, player)])
        yield Course(index, speed, states, coverage(ends[:, 2:], goal, scale), goal, scale)


def _speed(actions: np.ndarray, control_hz: float) -> Float[np.ndarray, " changes"]:
    rows = actions.reshape(len(actions), -1).astype(np.float64)
    return np.linalg.norm(np.diff(rows, axis=0), axis=1) * control_hz


def _after(parts: dict[str, np.ndarray], player: Player) -> Float[np.ndarray, "one 5"]:
    """Where the last action leads, for records end before it, and in the public one it is what succeeds.

    The replay tells, as long as it follows the record; else the last state does. None where neither can be played.
    """
    if not playable(parts):
        return np.zeros((0, 5))
    states, actions = parts["state"].astype(np.float64), moving_actions(parts)
    player.scale = scale_of(parts)
    played = player.open_loop(states, actions)
    if differences(states[-1], played[-2])[0] <= _FOLLOWS_PX:
        return played[-1:]
    velocity_x, velocity_y = agent_velocities(states, actions)[-1].tolist()
    return player.step(states[-1], (velocity_x, velocity_y), actions[-1])[0][None]
