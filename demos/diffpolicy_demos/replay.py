"""Does the world agree with the record? Recorded actions are played from each episode's first state, without looking.

A set whose episodes drift was recorded in another world, or with actions that are not what moved the agent: a policy
trained on it learns consequences that its own actions will not have.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
from diffpolicy_envs import PUSHT_ID
from jaxtyping import Float

from diffpolicy_demos.errors import StoreError
from diffpolicy_demos.schema import ENV_ATTR
from diffpolicy_demos.store import Store


@dataclass(frozen=True)
class EpisodeDrift:
    """How far one episode's open-loop replay strayed from its record.

    Attributes:
        episode: Index in the store.
        steps: Steps compared, the first included, which agrees by construction.
        drift_px: Largest difference of any of the agent's and the block's coordinates at any step.
        drift_rad: Largest difference of the block's angle, the short way round.
        worst_step: The step of `drift_px`.
    """

    episode: int
    steps: int
    drift_px: float
    drift_rad: float
    worst_step: int


def replay(store: Store, episodes: Iterable[int] | None = None) -> Iterator[EpisodeDrift]:
    """Replays episodes of Push-T in the environment and yields their drift one by one.

    Args:
        store: Demonstrations with `state` (agent x, y, block x, y, angle) and `action` (target x, y). A store that
            does not name its environment is taken for Push-T, as the published one is.
        episodes: Which ones; all by default.

    Raises:
        StoreError: The store is of another environment, lacks the arrays, or has no such episode; before the first
            episode is replayed.
    """
    _check_replayable(store)
    wanted = list(range(store.n_episodes)) if episodes is None else list(episodes)
    for index in wanted:
        if not 0 <= index < store.n_episodes:
            raise StoreError(f"{store.path}: no episode {index}; it has 0 to {store.n_episodes - 1}")
    return _drifts(store, wanted)


def _check_replayable(store: Store) -> None:
    env_id = store.attrs.get(ENV_ATTR, PUSHT_ID)
    if str(env_id).rpartition(":")[2] != PUSHT_ID:
        raise StoreError(f"{store.path}: recorded in {env_id!r}; only episodes of {PUSHT_ID!r} can be replayed")
    for key, width in (("state", 5), ("action", 2)):
        if key not in store.stored_keys:
            raise StoreError(f"{store.path}: no {key!r} to replay; the store has {', '.join(store.keys)}")
        if store[key].shape[1:] != (width,):
            raise StoreError(f"{store.path}: {key!r} holds {store[key].shape[1:]} per step; Push-T has ({width},)")
    store.check_values(("state", "action"))  # a NaN would replay as a NaN, not as a drift


def _drifts(store: Store, episodes: list[int]) -> Iterator[EpisodeDrift]:
    env = gym.make(PUSHT_ID, obs_type="state", disable_env_checker=True)
    try:
        for index in episodes:
            recorded = store.episode(index, keys=("state", "action"))
            states = recorded["state"].astype(np.float64)
            yield _compare(index, states, _play(env, states[0], recorded["action"].astype(np.float64)))
    finally:
        env.close()


def _play(
    env: gym.Env, first: Float[np.ndarray, "5"], actions: Float[np.ndarray, "steps 2"]
) -> Float[np.ndarray, "steps 5"]:
    """The states before each action. People went on after success, so the end of an episode is the record's."""
    states = [env.reset(options={"state": first})[0]]
    states += [env.step(action)[0] for action in actions[:-1]]
    return np.asarray(states, dtype=np.float64)


def _compare(index: int, recorded: Float[np.ndarray, "steps 5"], played: Float[np.ndarray, "steps 5"]) -> EpisodeDrift:
    off_px = np.abs(recorded[:, :4] - played[:, :4]).max(axis=1)
    off_rad = np.abs((recorded[:, 4] - played[:, 4] + np.pi) % (2 * np.pi) - np.pi)
    worst = int(off_px.argmax())
    return EpisodeDrift(index, len(recorded), float(off_px[worst]), float(off_rad.max()), worst)
