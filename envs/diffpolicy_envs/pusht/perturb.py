"""Kicks for Push-T: the block or the agent is suddenly elsewhere, so that recovery can be measured.

A policy that only replays what it saw ends where the first surprise finds it; one that corrects itself does not. A wrapper,
so that any policy, seed and protocol can be tried with and without the surprise.
"""

import math
from collections.abc import Iterable
from typing import Any, Final

import gymnasium as gym
import numpy as np

from .checks import TABLE_HIGH_PX, TABLE_LOW_PX, lies_on_table, require_one_of
from .env import PushTEnv
from .geometry import AGENT_RADIUS_PX, WORKSPACE_PX, distance_to_block, to_block_frame
from .observations import Observation

PERTURB_TARGETS: Final = ("block", "agent")

# The block's centre of gravity lies on its axis, this far from the bar's outer edge at the published scale.
_CENTRE_PX: Final = 45.0

# The first half of the draws has the full size, the others less and less: near a wall a smaller kick is better than none.
_DRAWS: Final = 200

Change = tuple[float, float, float]
Numbers = tuple[float, float, float, float, float]


class Perturb(gym.Wrapper[Observation, Any, Observation, Any], gym.utils.RecordConstructorArgs):
    """Displaces the block or the agent before chosen steps, or before random ones.

    The kick is a displacement, not a push: this physics damps the block's velocity away within a hundredth of a second, so a
    push would hardly be seen. The direction is drawn evenly, the distance is `shift_px`, the turn (about the block's centre
    of gravity) is drawn evenly from `turn_rad` to either side. What comes of it is a possible moment of the task: the block
    whole on the table and clear of the agent, the agent between the walls. Draws that would not be are drawn again, after
    a hundred of them with less and less distance and turn; where nothing fits, nothing happens.

    The draws have a generator of their own, spawned from the environment's at each reset: the same seed gives the same kicks
    along the same way, and the start and everything up to the first kick are those without the wrapper, bit for bit.

    Every step's information has `perturbed`, whether a kick came before this step; there, `displacement` has x, y (px) and
    turn (rad), of the block's centre of gravity or of the agent. Steps are counted from the last reset; `set_state` does
    not turn the count back.

    >>> import gymnasium as gym, diffpolicy_envs
    >>> from diffpolicy_envs.pusht import Perturb
    >>> env = Perturb(gym.make("diffpolicy/PushT-v0"), at=(100,), shift_px=40.0, turn_rad=0.5)
    >>> obs, info = env.reset(seed=1)
    >>> policy = lambda obs: obs[2:4]  # any policy: this one drives at the block
    >>> coverages, kicked = [], []
    >>> for step in range(200):
    ...     obs, reward, terminated, truncated, info = env.step(policy(obs))
    ...     coverages.append(info["coverage"])
    ...     kicked += [step] if info["perturbed"] else []
    >>> kicked
    [100]
    >>> before, best_since = coverages[99], max(coverages[100:])
    >>> recovered = best_since >= before

    Args:
        env: A Push-T environment, wrapped or not.
        target: "block" or "agent".
        at: Before which steps, counted from 0; excludes `probability`.
        probability: How likely a kick is before each step, in (0, 1]; excludes `at`.
        shift_px: How far, px, in [0, 512].
        turn_rad: How far the block turns at most, rad, in [0, pi]; 0 for the agent, a disc.

    Raises:
        ValueError: If the environment is not Push-T, or an argument makes no sense, with what is valid.
    """

    def __init__(
        self,
        env: gym.Env[Observation, Any],
        *,
        target: str = "block",
        at: Iterable[int] | None = None,
        probability: float | None = None,
        shift_px: float = 30.0,
        turn_rad: float = 0.0,
    ) -> None:
        inner = getattr(env, "unwrapped", None)
        if not isinstance(inner, PushTEnv):
            raise ValueError(f"env: found {type(inner or env).__name__}, expected PushTEnv ('diffpolicy/PushT-v0')")
        require_one_of("target", target, PERTURB_TARGETS)
        if (at is None) == (probability is None):
            found = "neither" if at is None else "both"
            raise ValueError(
                f"at, probability: found {found}, expected one of them: step numbers, at=(50, 120), or probability=0.02"
            )
        self._at = None if at is None else _checked_steps(at)
        self._probability = 0.0 if probability is None else _checked_number("probability", probability, 1.0)
        if probability is not None and self._probability == 0.0:
            raise ValueError("probability: expected a number in (0, 1], found 0; without kicks, leave the wrapper out")
        self._shift_px = _checked_number("shift_px", shift_px, float(WORKSPACE_PX))
        self._turn_rad = _checked_number("turn_rad", turn_rad, math.pi)
        if target == "agent" and self._turn_rad != 0.0:
            raise ValueError(f"turn_rad: expected 0 with target 'agent', which is a disc, found {self._turn_rad:g}")
        if self._shift_px == self._turn_rad == 0.0:
            raise ValueError("shift_px, turn_rad: both are 0, expected one above, or nothing would be displaced")
        gym.utils.RecordConstructorArgs.__init__(
            self, target=target, at=self._at, probability=probability, shift_px=shift_px, turn_rad=turn_rad
        )
        gym.Wrapper.__init__(self, env)
        self._table, self._target = inner, target
        self._rng: np.random.Generator | None = None
        self._steps, self._due = 0, -1

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode as the environment does, and draws anew what will happen in it.

        Args:
            seed: As for the environment; decides the kicks as well.
            options: As for the environment.

        Returns:
            The environment's first observation and information.
        """
        observation, info = self.env.reset(seed=seed, options=options)
        # A spawned generator takes nothing from the stream that it comes from.
        self._rng = self._table.np_random.spawn(1)[0]
        self._steps = 0
        self._due = self._next(-1)
        return observation, info

    def step(self, action: Any) -> tuple[Observation, Any, bool, bool, dict[str, Any]]:
        """Takes a step as the environment does, after a kick where one is due.

        Args:
            action: As for the environment.

        Returns:
            What the environment returns, the information with `perturbed` and, after a kick, `displacement`.

        Raises:
            gymnasium.error.ResetNeeded: If the environment was never reset.
        """
        if self._rng is None:
            raise gym.error.ResetNeeded("call reset() before step()")
        change = None
        if self._steps == self._due:
            world = self._table._world
            moment, draws = world.save(), self._rng.bit_generator.state
            change = self._kick()
            try:
                result = self.env.step(action)
            except Exception:
                # A refused action leaves the world as it was.
                world.restore(moment)
                self._rng.bit_generator.state = draws
                raise
            self._due = self._next(self._steps)
        else:
            result = self.env.step(action)
        self._steps += 1
        observation, reward, terminated, truncated, info = result
        info["perturbed"] = change is not None
        if change is not None:
            info["displacement"] = np.array(change)
        return observation, reward, terminated, truncated, info

    def _next(self, step: int) -> int:
        """Returns the first step after this one that a kick is due before; -1 for none."""
        if self._at is not None:
            return min((due for due in self._at if due > step), default=-1)
        assert self._rng is not None
        return step + int(self._rng.geometric(self._probability))

    def _kick(self) -> Change | None:
        """Displaces the target; returns by how much, or None where no draw fits."""
        assert self._rng is not None
        world = self._table._world
        agent_x, agent_y, _, _, x, y, angle = world.physics.read()
        place, fits = (_block_moved, _block_fits) if self._target == "block" else (_agent_moved, _agent_fits)
        for draw in range(_DRAWS):
            share = min(1.0, 2.0 - 2.0 * draw / _DRAWS)
            direction, turn = self._rng.uniform((-math.pi, -self._turn_rad), (math.pi, self._turn_rad)).tolist()
            distance = share * self._shift_px
            change = (distance * math.cos(direction), distance * math.sin(direction), share * turn)
            state = place((agent_x, agent_y, x, y, angle), change, world.scale)
            if fits(state, world.scale):
                self._table.displace(state)
                return change
        return None


def _block_moved(state: Numbers, change: Change, scale: float) -> Numbers:
    agent_x, agent_y, x, y, angle = state
    shift_x, shift_y, turn = change
    reach, turned = scale * _CENTRE_PX, angle + turn
    # The centre of gravity is shifted, and the block turned about it.
    x += shift_x + reach * (math.sin(turned) - math.sin(angle))
    y += shift_y - reach * (math.cos(turned) - math.cos(angle))
    return agent_x, agent_y, x, y, turned


def make_perturbed(
    *,
    target: str = "block",
    at: Iterable[int] | None = None,
    probability: float | None = None,
    shift_px: float = 40.0,
    turn_rad: float = 0.0,
    **env_kwargs: Any,
) -> Perturb:
    """Makes Push-T with kicks, as `gymnasium.make("diffpolicy/PushTPerturbed-v0", ...)` does: one before step 60 by default.

    Args:
        target: As for `Perturb`, like the next four.
        at: Likewise.
        probability: Likewise.
        shift_px: Likewise.
        turn_rad: Likewise.
        **env_kwargs: Arguments of `PushTEnv`.
    """
    steps = (60,) if at is None and probability is None else at
    env = PushTEnv(**env_kwargs)
    return Perturb(env, target=target, at=steps, probability=probability, shift_px=shift_px, turn_rad=turn_rad)


def _block_fits(state: Numbers, scale: float) -> bool:
    return lies_on_table(state[2:], scale) and _gap_px(state, scale) >= AGENT_RADIUS_PX


def _agent_moved(state: Numbers, change: Change, scale: float) -> Numbers:
    agent_x, agent_y, x, y, angle = state
    return agent_x + change[0], agent_y + change[1], x, y, angle


def _agent_fits(state: Numbers, scale: float) -> bool:
    low, high = TABLE_LOW_PX + AGENT_RADIUS_PX, TABLE_HIGH_PX - AGENT_RADIUS_PX
    return all(low <= value <= high for value in state[:2]) and _gap_px(state, scale) >= AGENT_RADIUS_PX


def _gap_px(state: Numbers, scale: float) -> float:
    """Returns how far the agent's centre is from the block, px; 0 inside it."""
    return distance_to_block(*to_block_frame(state[2:], state[:2]), scale)


def _checked_steps(found: object) -> tuple[int, ...]:
    expected = "expected step numbers, whole and at least 0, such as (50, 120)"
    if not isinstance(found, Iterable) or isinstance(found, (str, bytes)):
        raise ValueError(f"at: {expected}, found {found!r}")
    steps = list(found)
    for step in steps:
        if isinstance(step, (bool, np.bool_)) or not isinstance(step, (int, np.integer)) or step < 0:
            raise ValueError(f"at: {expected}, found {step!r} among them")
    if not steps:
        raise ValueError(f"at: {expected}, found none")
    return tuple(sorted({int(step) for step in steps}))


def _checked_number(what: str, found: object, high: float) -> float:
    number = isinstance(found, (int, float, np.integer, np.floating)) and not isinstance(found, bool)
    if not number or not 0.0 <= float(found) <= high:  # type: ignore[arg-type]
        raise ValueError(f"{what}: expected a number in [0, {high:.4g}], found {found!r}")
    return float(found)  # type: ignore[arg-type]
