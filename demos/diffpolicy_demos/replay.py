"""Does the world agree with the record? Recorded actions are played from recorded states, without looking.

A set whose episodes drift was recorded in another world, or with actions that are not what moved the agent: a policy
trained on it learns consequences that its own actions will not have.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from diffpolicy_envs import PUSHT_ID
from diffpolicy_envs.pusht import PushTPhysics
from jaxtyping import Float

from diffpolicy_demos.errors import StoreError
from diffpolicy_demos.schema import ENV_ATTR
from diffpolicy_demos.store import Store

States = Float[np.ndarray, "steps 5"]
Actions = Float[np.ndarray, "steps 2"]
Velocity = tuple[float, float]

#: What was really done, where it is not what was recorded as the action to learn.
EXECUTED = "executed_action"
ACTION_HIGH_PX = 512.0
#: Where the environment's observation space ends, and how large and small it makes the block.
LOW_PX, HIGH_PX = -256.0, 768.0
LOW_SCALE, HIGH_SCALE = 0.5, 1.5
# How the agent answers to a target in one control step: with x measured from the target and v the velocity,
# x' = KEEPS x + COASTS_S v and v' = -PULLS_PER_S x - SLOWS v. The ten sub-steps of its spring, multiplied out.
KEEPS, COASTS_S = 0.70432821, 0.02993181
_PULLS_PER_S, _SLOWS = 3.74147656, 0.00655233
_RESTS_PX = 0.01
_FASTEST_PX_PER_S = 2000.0  # 3.74 / s, the spring's pull over a step, times the width of the table


@dataclass(frozen=True)
class EpisodeDrift:
    """How far one episode's replay strayed from its record.

    Attributes:
        episode: Index in the store.
        steps: Steps compared, the first included, which agrees by construction.
        drift_px: Largest difference of any of the agent's and the block's coordinates at any step, open loop.
        drift_rad: Largest difference of the block's angle, the short way round, open loop.
        worst_step: The step of `drift_px`.
        one_step_px: The same difference when every step is played from the state recorded before it.
        one_step_at: The step of `one_step_px`.
    """

    episode: int
    steps: int
    drift_px: float
    drift_rad: float
    worst_step: int
    one_step_px: float
    one_step_at: int


def replay(store: Store, episodes: Iterable[int] | None = None) -> Iterator[EpisodeDrift]:
    """Replays episodes of Push-T in the environment's physics and yields their drift one by one.

    Args:
        store: Demonstrations with `state` (agent x, y, block x, y, angle) and `action` (target x, y). A store that
            does not name its environment is taken for Push-T, as the published one is. Where it holds the block's
            `scale`, that is replayed too.
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
    keys = [key for key in ("state", "action", EXECUTED, "scale") if key in store.stored_keys]
    player = Player()
    for index in episodes:
        recorded = store.episode(index, keys=keys)
        if not playable(recorded):
            raise StoreError(
                f"{store.path}: episode {index} has states outside the world, or an impossible scale, so it cannot be "
                "replayed; `diffpolicy demos doctor` says which"
            )
        player.scale = scale_of(recorded)
        yield player.drift(index, recorded["state"].astype(np.float64), moving_actions(recorded))


class Player:
    """Plays recorded actions from recorded states.

    Attributes:
        scale: Size of the block that is played with, as a multiple of the published one.
    """

    def __init__(self) -> None:
        self.scale = 1.0
        self._physics: dict[float, PushTPhysics] = {}

    def step(
        self, state: Float[np.ndarray, "5"], velocity: Velocity, action: Float[np.ndarray, "2"]
    ) -> tuple[Float[np.ndarray, "5"], Velocity]:
        """Plays one action.

        Args:
            state: Where to start, px and rad.
            velocity: The agent's velocity there, px/s; the block has none between steps.
            action: Target, px; clipped to the table as the environment does.

        Returns:
            State and agent velocity a control step later.
        """
        self._set(state, velocity)
        return self._advance(action)

    def open_loop(self, states: States, actions: Actions) -> Float[np.ndarray, "instants 5"]:
        """Plays all of an episode's actions from its first state.

        Returns:
            The states before each action, and the one after the last.
        """
        self._set(states[0], starting_velocity(states, actions))
        return np.stack([states[0], *(self._advance(action)[0] for action in actions)])

    def drift(self, episode: int, states: States, actions: Actions) -> EpisodeDrift:
        """Compares an episode with its replay, open loop and one step at a time.

        Args:
            episode: Its index, to go with the result.
            states: Recorded states, finite, within the workspace's surroundings.
            actions: Recorded targets, one for each state.
        """
        open_loop = self.open_loop(states, actions)[:-1]
        single, velocity = [states[0]], starting_velocity(states, actions)
        for state, action in zip(states[:-1], actions[:-1], strict=True):
            played, velocity = self.step(state, velocity, action)
            single.append(played)
        off_px, off_rad = differences(states, open_loop)
        one_step_px, _ = differences(states, np.asarray(single))
        worst, at = int(off_px.argmax()), int(one_step_px.argmax())
        return EpisodeDrift(
            episode, len(states), float(off_px[worst]), float(off_rad.max()), worst, float(one_step_px[at]), at
        )

    def _set(self, state: Float[np.ndarray, "5"], velocity: Velocity) -> None:
        if self.scale not in self._physics:
            self._physics[self.scale] = PushTPhysics(scale=self.scale)
        self._physics[self.scale].set_state(state, velocity)

    def _advance(self, action: Float[np.ndarray, "2"]) -> tuple[Float[np.ndarray, "5"], Velocity]:
        physics = self._physics[self.scale]
        x, y = np.clip(action, 0.0, ACTION_HIGH_PX).tolist()
        physics.step(x, y)
        agent_x, agent_y, velocity_x, velocity_y, *pose = physics.read()
        return np.array((agent_x, agent_y, *pose)), (velocity_x, velocity_y)


def moving_actions(parts: Mapping[str, np.ndarray]) -> Actions:
    """The actions that moved the agent: the recorded ones, unless noise was added and recorded beside them."""
    return np.asarray(parts[EXECUTED if EXECUTED in parts else "action"], dtype=np.float64)


def scale_of(parts: Mapping[str, np.ndarray]) -> float:
    """The block's scale in an episode, from the array `scale` where a store has one; it does not change within one."""
    return float(parts["scale"].reshape(-1)[0]) if "scale" in parts else 1.0


def playable(parts: Mapping[str, np.ndarray]) -> bool:
    """Whether states and scale are such that the physics can be set to them: it breaks on others."""
    states, scale = np.asarray(parts["state"], dtype=np.float64), scale_of(parts)
    inside = (states[:, :4] >= LOW_PX) & (states[:, :4] <= HIGH_PX)
    return bool(inside.all() and np.isfinite(states).all() and LOW_SCALE <= scale <= HIGH_SCALE)


def starting_velocity(states: States, actions: Actions) -> Velocity:
    """The agent's velocity in the first state, px/s: none where that explains the second state, as in whole episodes.

    A record that begins in the middle of things (a piece cut from another) begins in motion, which five numbers do not
    hold; the step that follows tells it.
    """
    if len(states) < 2:
        return 0.0, 0.0
    target = np.clip(actions[0], 0.0, ACTION_HIGH_PX)
    unexplained = states[1, :2] - target - KEEPS * (states[0, :2] - target)
    velocity = unexplained / COASTS_S
    if np.abs(unexplained).max() < _RESTS_PX or np.abs(velocity).max() > _FASTEST_PX_PER_S:
        return 0.0, 0.0
    return float(velocity[0]), float(velocity[1])


def agent_velocities(states: States, actions: Actions) -> Float[np.ndarray, "steps 2"]:
    """The agent's velocity in every state, px/s, from positions and targets: the block never pushes the agent."""
    velocities = np.zeros((len(states), 2))
    velocities[0] = starting_velocity(states, actions)
    behind = states[:, :2] - np.clip(actions, 0.0, ACTION_HIGH_PX)
    for step in range(1, len(states)):
        velocities[step] = -_PULLS_PER_S * behind[step - 1] - _SLOWS * velocities[step - 1]
    return velocities


def differences(
    recorded: Float[np.ndarray, "*batch 5"], played: Float[np.ndarray, "*batch 5"]
) -> tuple[Float[np.ndarray, "*batch"], Float[np.ndarray, "*batch"]]:
    """How far states are apart: the largest difference of a coordinate, px, and of the angle, the short way, rad."""
    off_px = np.abs(recorded[..., :4] - played[..., :4]).max(axis=-1)
    off_rad = np.abs((recorded[..., 4] - played[..., 4] + np.pi) % (2 * np.pi) - np.pi)
    return np.asarray(off_px), np.asarray(off_rad)
