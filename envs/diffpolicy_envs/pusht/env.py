"""The Gymnasium side of Push-T: spaces, checks of what comes in, rewards, rendering.

What happens on the table is in `physics.py`, its goal and start in `world.py`, what is shown of it in `observations.py`;
this file only translates between these and Gymnasium's interface.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from jaxtyping import Float, UInt8

from .checks import checked_numbers, checked_seed, checked_state, require_one_of
from .engine import Reading
from .geometry import SUCCESS_COVERAGE, WORKSPACE_PX
from .observations import Observation, Observer
from .scene import Scene, checked_plan
from .starts import seeds_below
from .window import Window
from .world import PushTState, PushTWorld, checked_start, checked_variations, require_saved

ACTION_HIGH_PX: Final = float(WORKSPACE_PX)


class PushTEnv(gym.Env[Observation, Float[np.ndarray, "2"]]):
    """Push-T, the benchmark of Chi et al., "Diffusion Policy", RSS 2023 (arXiv 2303.04137).

    ## Description

    A disc pushes a T-shaped block on a table of 512 x 512 px, walled in, until the block covers its outline at
    (256, 256, pi/4). x runs to the right and y down; angles turn x towards y. One step lasts 0.1 s, ten sub-steps of
    a 2D physics without friction. The physics is the published one, quirks included: see `physics.py`.

    ## Action Space

    `Box(0, 512, (2,), float32)`: the target position of the agent, px, held for the step; float64 is taken as it is. The
    agent is drawn to it by a critically damped spring. Targets outside the box are clipped to it.

    ## Observation Space

    With `obs_type="state"`, `Box((5,), float64)`:

    | index | observation | low | high | unit |
    |---|---|---|---|---|
    | 0, 1 | agent x, y | -256 | 768 | px |
    | 2, 3 | block x, y (middle of the bar's outer edge) | -256 | 768 | px |
    | 4 | block angle, below 2 pi | 0 | 2 pi | rad |

    With `obs_type="pixels"`, `Box(0, 255, (96, 96, 3), uint8)`: the published picture, RGB, without the action; its size is
    an argument. With the other types a dictionary, of float64 but for the picture:

    | key | shape | in | observation | low | high | unit |
    |---|---|---|---|---|---|---|
    | `keypoints` | (9, 2) | "keypoints" | points fixed to the block, as in the human demonstrations | -512 | 1024 | px |
    | `pixels` | (96, 96, 3) | "pixels_agent_pos" | the picture | 0 | 255 | |
    | `agent_pos` | (2,) | "keypoints", "pixels_agent_pos" | agent x, y | -256 | 768 | px |
    | `goal_pose` | (3,) | all, if it may vary | goal x, y, angle | 0 | 512, 512, 2 pi | px, rad |
    | `scale` | (1,) | all, if it may vary | size of block and goal, published: 1 | 0.5 | 1.5 | |

    Where something may vary, every type is a dictionary: a state is then under `state`, a picture under `pixels`.

    ## Rewards

    clip(coverage / 0.95, 0, 1), where coverage = area(block and goal) / area(goal).

    ## Starting State

    `reset(seed=..., options={...})` takes:

    | option | value |
    |---|---|
    | `protocol` | "gym_pusht" (default, as gym-pusht 0.1.8) or "diffusion_policy" (of Chi et al.): see `starts.py` |
    | `state` | five numbers, set exactly: agent x, y (in [0, 512]), block x, y, angle, at rest; excludes `protocol` |
    | `goal_pose` | x, y (px), angle (rad), the outline between the walls; or "random"; only where the goal may vary |
    | `scale` | a number in [0.5, 1.5]; or "random", in [0.75, 1.25]; only where the scale may vary |

    Without a seed all draws come from the environment's generator.

    ## Episode End

    Terminated when coverage exceeds 0.95; truncated after 300 steps (by `gymnasium.make`).

    ## Information

    `coverage`, `is_success`, `block_pose` (x, y, angle), `agent_vel` (px/s), `goal_pose`; `scale` where it may vary; with
    `count_contacts=True` also `n_contacts`: the contact points of the step's sub-steps, divided by ten, rounded up.

    ## Arguments

    | argument | default | meaning |
    |---|---|---|
    | `obs_type` | "state" | "state", "keypoints", "pixels" or "pixels_agent_pos" |
    | `keypoint_set` | "human" | "human", the nine of the demonstrations, or "corners", the eight of the outline |
    | `pixels_size_px` | 96 | size of the observed picture, or (height, width) |
    | `draw_contacts` | True | thin red lines in the picture where the block touches, as published |
    | `variations` | None | what may vary and its value unless a reset says otherwise, such as {"goal_pose": "random"} |
    | `render_mode` | None | "rgb_array", or "human": a window in real time (needs pygame) |
    | `render_size_px` | 512 | width and height of rendered pictures |
    | `overlays` | ("goal",) | what is rendered beside block and agent: "goal", "action", "plan" (see `show_plan`) |
    | `count_contacts` | False | count contact points, which makes a step about twice as slow |

    `unwrapped` also offers `get_state` and `set_state`, for planning, and `displace`, for perturbations.

    ## Version History

    - v0: first release.
    """

    metadata = {"render_modes": ["human", "rgb_array"], "render_fps": 10}  # noqa: RUF012 - Gymnasium's own declaration

    def __init__(
        self,
        obs_type: str = "state",
        render_mode: str | None = None,
        render_size_px: int = WORKSPACE_PX,
        count_contacts: bool = False,
        keypoint_set: str = "human",
        pixels_size_px: int | Sequence[int] = 96,
        draw_contacts: bool = True,
        variations: Mapping[str, Any] | None = None,
        overlays: Iterable[str] = ("goal",),
    ) -> None:
        if render_mode is not None:
            require_one_of("render_mode", render_mode, self.metadata["render_modes"], also="None")
        self._scene = Scene(render_size_px, overlays)
        self._variations = checked_variations(variations)
        self._observer = Observer(obs_type, keypoint_set, pixels_size_px, draw_contacts, tuple(self._variations))
        self.obs_type = obs_type
        self.render_mode = render_mode
        self.render_size_px = render_size_px
        self._count_contacts = count_contacts
        self._world = PushTWorld(count_contacts=count_contacts)
        self._was_reset = False
        self._action: tuple[float, float] | None = None
        self._plan: Float[np.ndarray, "steps 2"] | None = None
        self._window: Window | None = None
        self.action_space = spaces.Box(0.0, ACTION_HIGH_PX, (2,), np.float32)
        self.observation_space = self._observer.space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode.

        Args:
            seed: Seeds the environment's generator and the start. Without one the generator goes on.
            options: As listed under "Starting State".

        Returns:
            The first observation and the information about it.

        Raises:
            ValueError: If an option or its value is not one of these, or the seed is no integer of at least 0 (and below
                2**32 for "diffusion_policy"); world and generator are then as they were.
        """
        start = checked_start(options, self._variations)
        seed = checked_seed("seed", seed, below=seeds_below(start.protocol))
        super().reset(seed=seed)
        self._world.begin(start, self.np_random, seed)
        self._was_reset, self._action, self._plan = True, None, None
        reading = self._world.physics.read()
        self._show()
        return self._observer.observe(self._world, reading), self._info(reading)

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
        x, y = checked_numbers("action", action, 2).tolist()
        target_x, target_y = min(max(0.0, x), ACTION_HIGH_PX), min(max(0.0, y), ACTION_HIGH_PX)
        physics = self._world.physics
        physics.step(target_x, target_y)
        self._action = (target_x, target_y)
        reading = physics.read()
        info = self._info(reading)
        reward = min(info["coverage"] / SUCCESS_COVERAGE, 1.0)
        self._show()
        return self._observer.observe(self._world, reading), reward, info["is_success"], False, info

    def get_state(self) -> PushTState:
        """Saves the world exactly: positions, velocities, contacts, goal and scale, not the generator's state.

        What follows `set_state` with it is what followed here, bit for bit; thousands of times a second in the environment
        that it came from, by replaying the episode in another, or after it was pickled.

        Raises:
            gymnasium.error.ResetNeeded: If the environment was never reset.
        """
        self._require_reset("get_state")
        return self._world.save()

    def set_state(self, state: PushTState) -> tuple[Observation, dict[str, Any]]:
        """Goes back to a saved moment, of this environment or another.

        Args:
            state: What `get_state` returned. Its goal and scale must be ones that this environment shows.

        Returns:
            The observation and the information of that moment.

        Raises:
            ValueError: If it is no such state, or its goal or scale is not shown here; the world is then as it was.
        """
        require_saved("state", state, self._variations)
        self._world.restore(state)
        self._was_reset, self._action, self._plan = True, None, None
        reading = self._world.physics.read()
        return self._observer.observe(self._world, reading), self._info(reading)

    def displace(self, state: object) -> None:
        """Puts agent and block elsewhere at once, to perturb an episode; the agent keeps its velocity.

        Args:
            state: Agent x, y, block x, y (px), block angle (rad).

        Raises:
            ValueError: If it is not five finite numbers, the agent within [0, 512], the block within the observation space;
                the world is then as it was.
            gymnasium.error.ResetNeeded: If the environment was never reset.
        """
        self._require_reset("displace")
        self._world.displace(checked_state("state", state))

    def show_plan(self, plan: object) -> None:
        """Sets the path that the overlay "plan" draws until the next reset.

        Args:
            plan: Target positions, px, shape (steps, 2); None takes it away.

        Raises:
            ValueError: If it is not finite numbers of this shape.
        """
        self._plan = None if plan is None else checked_plan("plan", plan)

    def render(self) -> UInt8[np.ndarray, "size size 3"] | None:
        """Returns a picture of the table (RGB); in the mode "human", whose window every step refreshes, None.

        Raises:
            gymnasium.error.ResetNeeded: If the environment was never reset.
        """
        if self.render_mode is None:
            gym.logger.warn(
                'render() draws nothing without a render mode; make the environment with "rgb_array" or "human".'
            )
            return None
        self._require_reset("render")
        if self.render_mode == "human":
            self._show()
            return None
        return self._draw()

    def close(self) -> None:
        """Closes the window, if there is one."""
        if self._window is not None:
            self._window.close()
            self._window = None

    def _show(self) -> None:
        if self.render_mode == "human":
            if self._window is None:
                self._window = Window(self.render_size_px, "Push-T", self.metadata["render_fps"])
            self._window.show(self._draw())

    def _draw(self) -> UInt8[np.ndarray, "size size 3"]:
        world = self._world
        return self._scene.draw(world.physics.read(), world.goal_pose, world.scale, self._action, self._plan)

    def _info(self, reading: Reading) -> dict[str, Any]:
        _, _, velocity_x, velocity_y, x, y, angle = reading
        covered = self._world.coverage(x, y, angle)
        info = {
            "coverage": covered,
            "is_success": covered > SUCCESS_COVERAGE,
            "block_pose": np.array((x, y, angle)),
            "agent_vel": np.array((velocity_x, velocity_y)),
            "goal_pose": np.array(self._world.goal_pose),
        }
        if "scale" in self._variations:
            info["scale"] = self._world.scale
        if self._count_contacts:
            info["n_contacts"] = self._world.physics.n_contacts
        return info

    def _require_reset(self, method: str) -> None:
        if not self._was_reset:
            raise gym.error.ResetNeeded(f"call reset() before {method}()")
