"""The Gymnasium side of Push-T: spaces, checks of what comes in, rewards.

What happens on the table is in `physics.py`; this file only translates between it and Gymnasium's interface.
"""

import difflib
import math
from collections.abc import Iterable
from typing import Any, Final

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from jaxtyping import Float, UInt8

from .geometry import GOAL_POSE, SUCCESS_COVERAGE, WORKSPACE_PX, block_keypoints, coverage_of_pose
from .physics import PushTPhysics
from .render import draw_scene
from .starts import PROTOCOLS, sample_start

Observation = Float[np.ndarray, "5"] | dict[str, np.ndarray]

OBS_TYPES: Final = ("state", "keypoints")
RESET_OPTIONS: Final = ("protocol", "state")

ACTION_HIGH_PX: Final = float(WORKSPACE_PX)

# The agent stays inside the workspace: its position is an average of where it was and where it was sent. The block
# can be pressed through a wall, but no farther than the agent reaches, which these bounds hold with room to spare.
POSITION_LOW_PX: Final = -256.0
POSITION_HIGH_PX: Final = 768.0
KEYPOINT_LOW_PX: Final = -512.0
KEYPOINT_HIGH_PX: Final = 1024.0

_STATE_LOW: Final = np.array([POSITION_LOW_PX] * 4 + [0.0])
_STATE_HIGH: Final = np.array([POSITION_HIGH_PX] * 4 + [math.tau])


class PushTEnv(gym.Env[Observation, Float[np.ndarray, "2"]]):
    """Push-T, the benchmark of Chi et al., "Diffusion Policy", RSS 2023 (arXiv 2303.04137).

    ## Description

    A disc pushes a T-shaped block on a table of 512 x 512 px, walled in, until the block covers its outline at
    (256, 256, pi/4). x runs to the right and y down; angles turn x towards y. One step lasts 0.1 s, ten sub-steps of
    a 2D physics without friction. The physics is the published one, quirks included: see `physics.py`.

    ## Action Space

    `Box(0, 512, (2,), float64)`: the target position of the agent, px, held for the step. The agent is drawn to it by a
    critically damped spring. Targets outside the box are clipped to it.

    ## Observation Space

    With `obs_type="state"`, `Box((5,), float64)`:

    | index | observation | low | high | unit |
    |---|---|---|---|---|
    | 0, 1 | agent x, y | -256 | 768 | px |
    | 2, 3 | block x, y (middle of the bar's outer edge) | -256 | 768 | px |
    | 4 | block angle, below 2 pi | 0 | 2 pi | rad |

    With `obs_type="keypoints"`, a dictionary of float64 arrays:

    | key | shape | observation | low | high | unit |
    |---|---|---|---|---|---|
    | `keypoints` | (9, 2) | nine points fixed to the block, as in the human demonstrations | -512 | 1024 | px |
    | `agent_pos` | (2,) | agent x, y | -256 | 768 | px |

    ## Rewards

    clip(coverage / 0.95, 0, 1), where coverage = area(block and goal) / area(goal).

    ## Starting State

    `reset(seed=..., options={"protocol": ...})` draws a start by a published rule: "gym_pusht" (default, the rule of
    gym-pusht 0.1.8) or "diffusion_policy" (the rule of Chi et al.), see `starts.py`. Without a seed both draw from the
    environment's generator. `reset(options={"state": five numbers})` sets exactly that state (agent x, y, block x, y,
    angle), at rest. The two options exclude each other.

    ## Episode End

    Terminated when coverage exceeds 0.95; truncated after 300 steps (by `gymnasium.make`).

    ## Information

    `coverage`, `is_success`, `block_pose` (x, y, angle), `agent_vel` (px/s), `goal_pose`; with `count_contacts=True`
    also `n_contacts`: the contact points of the step's sub-steps, divided by ten, rounded up.

    ## Arguments

    - `obs_type`: "state" (default) or "keypoints".
    - `render_mode`: None (default) or "rgb_array".
    - `render_size_px`: width and height of rendered pictures, 512 by default.
    - `count_contacts`: count contact points, which makes a step about twice as slow; off by default.

    ## Version History

    - v0: first release.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - Gymnasium declares it on the instance

    def __init__(
        self,
        obs_type: str = "state",
        render_mode: str | None = None,
        render_size_px: int = WORKSPACE_PX,
        count_contacts: bool = False,
    ) -> None:
        _require_one_of("obs_type", obs_type, OBS_TYPES)
        if render_mode is not None:
            _require_one_of("render_mode", render_mode, self.metadata["render_modes"], also="None")
        if isinstance(render_size_px, bool) or not isinstance(render_size_px, int) or render_size_px < 1:
            raise ValueError(f"render_size_px: expected a whole number of at least 1, found {render_size_px!r}")
        self.obs_type = obs_type
        self.render_mode = render_mode
        self.render_size_px = render_size_px
        self._count_contacts = count_contacts
        self._physics = PushTPhysics(count_contacts=count_contacts)
        self._was_reset = False
        self.action_space = spaces.Box(0.0, ACTION_HIGH_PX, (2,), np.float64)
        self.observation_space = _observation_space(obs_type)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode.

        Args:
            seed: Seeds the environment's generator and the start. Without one the generator goes on.
            options: {"protocol": "gym_pusht" or "diffusion_policy"} or {"state": five numbers}.

        Returns:
            The first observation and the information about it.

        Raises:
            ValueError: If an option or its value is not one of these; the world is then as it was.
        """
        options = options or {}
        for name in options:
            _require_one_of("options", name, RESET_OPTIONS)
        if len(options) > 1:
            raise ValueError("options: 'state' sets the whole state and excludes 'protocol'; give one of them")
        if "state" in options:
            state = _checked_state(options["state"])
            super().reset(seed=seed)
            self._physics.set_state(state)
        else:
            protocol = options.get("protocol", PROTOCOLS[0])
            _require_one_of("options['protocol']", protocol, PROTOCOLS)
            super().reset(seed=seed)
            self._physics.set_start(sample_start(protocol, self.np_random, seed))
        self._was_reset = True
        return self._observation(), self._info()

    def step(self, action: object) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Advances 0.1 s.

        Args:
            action: Target position of the agent, two finite numbers, px; clipped to [0, 512].

        Returns:
            Observation, reward in [0, 1], whether the block covers the goal, False (the time limit is a wrapper's), and
            the information.

        Raises:
            ValueError: If the action is not two finite numbers; the world is then as it was.
            gymnasium.error.ResetNeeded: If the environment was never reset.
        """
        self._require_reset("step")
        target_x, target_y = _checked_numbers("action", action, 2).tolist()
        self._physics.step(min(max(target_x, 0.0), ACTION_HIGH_PX), min(max(target_y, 0.0), ACTION_HIGH_PX))
        info = self._info()
        reward = min(info["coverage"] / SUCCESS_COVERAGE, 1.0)
        return self._observation(), reward, info["is_success"], False, info

    def render(self) -> UInt8[np.ndarray, "size size 3"] | None:
        """Returns a picture of the table (RGB), or None when the environment was made without a render mode.

        Raises:
            gymnasium.error.ResetNeeded: If the environment was never reset.
        """
        if self.render_mode is None:
            gym.logger.warn('render() draws nothing without a render mode; make the environment with "rgb_array".')
            return None
        self._require_reset("render")
        return draw_scene(self._state(), size_px=self.render_size_px)

    def _state(self) -> Float[np.ndarray, "5"]:
        return np.array(self._physics.agent_position_px + self._physics.block_pose)

    def _observation(self) -> Observation:
        state = self._state()
        if self.obs_type == "keypoints":
            return {"keypoints": block_keypoints(state[2:]), "agent_pos": state[:2]}
        return state

    def _info(self) -> dict[str, Any]:
        pose = self._physics.block_pose
        covered = coverage_of_pose(*pose)
        info = {
            "coverage": covered,
            "is_success": covered > SUCCESS_COVERAGE,
            "block_pose": np.array(pose),
            "agent_vel": np.array(self._physics.agent_velocity_px_per_s),
            "goal_pose": GOAL_POSE.copy(),
        }
        if self._count_contacts:
            info["n_contacts"] = self._physics.n_contacts
        return info

    def _require_reset(self, method: str) -> None:
        if not self._was_reset:
            raise gym.error.ResetNeeded(f"call reset() before {method}()")


def _observation_space(obs_type: str) -> spaces.Space[Any]:
    if obs_type == "keypoints":
        return spaces.Dict(
            {
                "keypoints": spaces.Box(KEYPOINT_LOW_PX, KEYPOINT_HIGH_PX, (9, 2), np.float64),
                "agent_pos": spaces.Box(POSITION_LOW_PX, POSITION_HIGH_PX, (2,), np.float64),
            }
        )
    return spaces.Box(_STATE_LOW, _STATE_HIGH, dtype=np.float64)


def _require_one_of(what: str, found: object, valid: Iterable[str], also: str | None = None) -> None:
    """Refuses a name that is not among the valid ones, with the nearest of them."""
    names = list(valid)
    if isinstance(found, str) and found in names:
        return
    close = difflib.get_close_matches(str(found), names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    choices = ", ".join([*map(repr, names), *([also] if also else [])])
    raise ValueError(f"{what}: found {found!r}, expected one of {choices}{hint}")


def _checked_numbers(what: str, found: object, count: int) -> Float[np.ndarray, "count"]:
    """Returns the value as float64 numbers.

    Raises:
        ValueError: If it is not `count` finite real numbers, saying what it is instead.
    """
    expected = f"expected {count} finite numbers"
    try:
        array = np.asarray(found)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{what}: {expected}, found {found!r}") from error
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{what}: {expected}, found {found!r} of type {type(found).__name__} ({array.dtype})")
    if array.shape != (count,):
        raise ValueError(f"{what}: {expected}, found shape {array.shape}; expected shape ({count},)")
    numbers = array.astype(np.float64)
    if not all(map(math.isfinite, numbers.tolist())):
        raise ValueError(f"{what}: {expected}, found {numbers.tolist()}")
    return numbers


def _checked_state(found: object) -> Float[np.ndarray, "5"]:
    """Returns the state to set, refusing positions outside the observation space: the engine breaks on huge ones."""
    state = _checked_numbers("options['state']", found, 5)
    if not ((state[:4] >= POSITION_LOW_PX) & (state[:4] <= POSITION_HIGH_PX)).all():
        raise ValueError(
            f"options['state']: found positions {state[:4].tolist()} px, "
            f"expected each in [{POSITION_LOW_PX:g}, {POSITION_HIGH_PX:g}]"
        )
    return state
