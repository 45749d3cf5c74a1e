"""Many Push-T worlds behind Gymnasium's vector interface: checks of what comes in, and batches of what comes out.

The worlds are stepped in `lanes.py`, in this process and in those of `workers.py`; this file tells the fleet of them what
to do and reads the board on which they show themselves.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from jaxtyping import Bool, Float, UInt8

from .batches import batched_info, final_info
from .checks import checked_actions, checked_mask, checked_seeds, require_count, require_one_of, require_options
from .env import ACTION_HIGH_PX
from .fleet import Fleet
from .geometry import WORKSPACE_PX
from .lanes import Rules, checked_mode
from .observations import Observation, Observer
from .scene import Scene, checked_plans
from .starts import seeds_below
from .world import RESET_OPTIONS, PushTState, checked_start, checked_variations, require_all_saved

MASK_OPTION: Final = "reset_mask"

Flags = Bool[np.ndarray, "worlds"]


class PushTVectorEnv(gym.vector.VectorEnv[Observation, np.ndarray, np.ndarray]):
    """Many worlds of Push-T at once, for rollouts of many episodes: each is `PushTEnv` within Gymnasium's time limit.

    ## Description

    The same seeds, actions and options give, bit for bit, what Gymnasium's `SyncVectorEnv` gives for `PushTEnv`, whatever
    the number of processes; only faster. Made by `gymnasium.make_vec("diffpolicy/PushT-v0", num_envs=64, workers=2)`.

    With `workers=2` or more, further processes step a share of the worlds each, over shared memory. They start in about a
    second, import only this package, need no `if __name__ == "__main__"`, and end with this process however that ends.

    ## Action Space, Observation Space, Rewards, Information

    Those of `PushTEnv`, with the worlds in front: actions (num_envs, 2), rewards (num_envs,). Information is a dictionary of
    arrays; the mask `_name` tells for which worlds `name` is given. What is returned are copies.

    ## Starting State

    `reset(seed=..., options=...)` as `PushTEnv`, for all worlds alike; world i is seeded with seed + i, or with its own of a
    list. The option `reset_mask`, booleans of shape (num_envs,), resets only some. Every world keeps its own generator.

    ## Episode End

    By success, or truncated after `max_episode_steps`. `autoreset_mode` says how the next episode starts, which draws from
    the world's generator, without options: "NextStep", in the next step, whose action is ignored; "SameStep", at once, the
    last observation and information under `final_obs` and `final_info`; "Disabled", by `reset` with a `reset_mask`.

    ## Arguments

    | argument | default | meaning |
    |---|---|---|
    | `num_envs` | 1 | how many worlds |
    | `max_episode_steps` | 300 | the time limit; None: no limit |
    | `workers` | 1 | how many processes step worlds, this one included; at most `num_envs`; on POSIX systems |
    | `autoreset_mode` | "NextStep" | "NextStep", "SameStep", "Disabled", or the `AutoresetMode` |
    | `timeout_s` | 60 | how long a worker may take for an answer before it is taken for hung |

    The others are those of `PushTEnv`, except that `render_mode` is None or "rgb_array".

    A worker that dies, fails or hangs raises `WorkerError`, which names it and its worlds, and closes the environment. An
    exception in the middle of a call, such as Ctrl-C, closes one with workers, too; without, all worlds must be reset.
    It cannot be pickled; `get_state` and `set_state` carry the worlds over to another.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - Gymnasium's own declaration

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = 300,
        workers: int = 1,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        timeout_s: float = 60.0,
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
        require_count("num_envs", num_envs)
        if max_episode_steps is not None:
            require_count("max_episode_steps", max_episode_steps)
        autoreset_mode = checked_mode(autoreset_mode)
        if render_mode is not None:
            require_one_of("render_mode", render_mode, self.metadata["render_modes"], also="None")
        self.num_envs, self.obs_type, self.autoreset_mode = num_envs, obs_type, autoreset_mode
        self.render_mode, self.render_size_px = render_mode, render_size_px
        self.metadata = {**self.metadata, "autoreset_mode": autoreset_mode}
        self._scene = Scene(render_size_px, overlays)
        self._variations = checked_variations(variations)
        self._observer = Observer(obs_type, keypoint_set, pixels_size_px, draw_contacts, tuple(self._variations))
        self.single_action_space = gym.spaces.Box(0.0, ACTION_HIGH_PX, (2,), np.float32)
        self.single_observation_space = self._observer.space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        restart = checked_start(None, self._variations)
        self._rules = Rules(self._observer, restart, count_contacts, max_episode_steps, autoreset_mode)
        self._all, self._none = np.ones(num_envs, np.bool_), np.zeros(num_envs, np.bool_)
        # Worlds whose episode goes on from a known moment.
        self._begun = np.zeros(num_envs, np.bool_)
        self._acted = np.zeros(num_envs, np.bool_)
        self._plans: list[Float[np.ndarray, "steps 2"] | None] = [None] * num_envs
        self._fleet = Fleet(self._rules, num_envs, workers, timeout_s)
        self._board = self._fleet.board

    def reset(  # a list of seeds, as Gymnasium's own vector environments take it
        self, *, seed: int | Sequence[int | None] | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts episodes in all worlds, or in those of a mask.

        Args:
            seed: Seeds world i with seed + i, or with the i-th of a list. Without one a world's generator goes on.
            options: As `PushTEnv` takes them, and `reset_mask`.

        Returns:
            The observations of all worlds, and the information of those that were reset.

        Raises:
            ValueError: If a seed, an option or its value is not one of these; the worlds are then as they were.
            TypeError: If the mask is not an array of booleans.
            gymnasium.error.ResetNeeded: If a mask leaves out a world that was never reset.
        """
        self._require_open()
        given = dict(require_options("options", options, (*RESET_OPTIONS, MASK_OPTION)))
        mask = given.pop(MASK_OPTION, self._all)
        chosen = checked_mask(f"options[{MASK_OPTION!r}]", mask, self.num_envs)
        start = checked_start(given, self._variations)
        seeds = checked_seeds(seed, self.num_envs, below=seeds_below(start.protocol))
        if not (self._begun | chosen).all():
            self._require_begun(f"reset() with a {MASK_OPTION}")
        with self._moving(chosen):
            self._fleet.begin(start, seeds, chosen)
        self._forget_overlays(chosen)
        return self._observations(), batched_info(self._board.info, chosen)

    def step(self, actions: object) -> tuple[Observation, Float[np.ndarray, "worlds"], Flags, Flags, dict[str, Any]]:
        """Advances every world by 0.1 s, or starts its next episode.

        Args:
            actions: Target position of each agent, px, shape (num_envs, 2), finite; clipped to [0, 512].

        Returns:
            Observations, rewards in [0, 1], which episodes ended by success and which by the time limit, information.

        Raises:
            ValueError: If an action is not two finite numbers; the worlds are then as they were.
            gymnasium.error.ResetNeeded: If a world was never reset, or ended and is not reset by itself.
            WorkerError: If a worker died, failed or hung; the environment is then closed.
        """
        self._require_begun("step()")
        board, mode = self._board, self.autoreset_mode
        targets = checked_actions(actions, self.num_envs)
        restarted = board.ended
        if mode is AutoresetMode.DISABLED and restarted.any():
            raise gym.error.ResetNeeded(
                f"the episodes of worlds {np.flatnonzero(restarted).tolist()} have ended; reset them with "
                f"options={{{MASK_OPTION!r}: ...}} before step()"
            )
        np.clip(targets, 0.0, ACTION_HIGH_PX, out=board.actions)
        with self._moving(self._all):
            self._fleet.step()
        infos = batched_info(board.info, self._all)
        if mode is AutoresetMode.SAME_STEP:
            restarted = board.ended
            if restarted.any():
                infos |= final_info(board, self._observer, restarted)
        self._acted[:] = True
        self._forget_overlays(restarted)
        rewards, terminations, truncations = board.rewards, board.terminations, board.truncations
        return self._observations(), rewards.copy(), terminations.copy(), truncations.copy(), infos

    def get_state(self) -> tuple[PushTState, ...]:
        """Saves the moment of every world, as `PushTEnv.get_state` does; neither generators nor time limits.

        Raises:
            gymnasium.error.ResetNeeded: If a world was never reset.
        """
        self._require_begun("get_state()")
        with self._moving(self._none):
            return self._fleet.save()

    def set_state(self, states: Sequence[PushTState]) -> tuple[Observation, dict[str, Any]]:
        """Goes back to saved moments, of these worlds or others; their time limits count anew from there.

        In this process that takes microseconds a world; a worker plays the episode so far again, 13 us a step.

        Args:
            states: A state for each world, as `get_state` of this or of the single environment returns them.

        Returns:
            The observations and the information of these moments.

        Raises:
            ValueError: If they are no such states, or show what may not vary here; the worlds are then as they were.
        """
        self._require_open()
        require_all_saved("states", states, self.num_envs, self._variations)
        with self._moving(self._all):
            self._fleet.restore(states)
        self._forget_overlays(self._all)
        return self._observations(), batched_info(self._board.info, self._all)

    def show_plan(self, plans: Sequence[object] | None) -> None:
        """Sets the paths that the overlay "plan" draws, each until its world's next episode.

        Args:
            plans: Target positions of each world, px, shape (steps, 2) each, or None for none; None takes all away.

        Raises:
            ValueError: If a plan has another shape or there is not one for each world.
        """
        self._plans = checked_plans(plans, self.num_envs)

    def render(self) -> tuple[UInt8[np.ndarray, "size size 3"], ...] | None:
        """Returns a picture (RGB) of each world.

        Raises:
            gymnasium.error.ResetNeeded: If a world was never reset.
        """
        if self.render_mode is None:
            gym.logger.warn('render() draws nothing without a render mode; make the environment with "rgb_array".')
            return None
        self._require_begun("render()")
        readings, goals, actions = (
            map(tuple, rows.tolist())
            for rows in (self._board.readings, self._board.info["goal_pose"], self._board.actions)
        )
        scales = self._board.info.get("scale", np.ones(self.num_envs)).tolist()
        shown = [action if acted else None for action, acted in zip(actions, self._acted, strict=True)]
        return tuple(map(self._scene.draw, readings, goals, scales, shown, self._plans))

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """The worlds' generators; those of workers' worlds are copies."""
        return tuple(generator for generator, _ in self._generators())

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """The seeds that the worlds' generators began with."""
        return tuple(seed for _, seed in self._generators())

    def close_extras(self, **kwargs: Any) -> None:
        """Stops the workers."""
        self._fleet.close()

    def __reduce__(self) -> Any:
        raise TypeError(
            "PushTVectorEnv can be neither pickled nor copied, since it may have processes; make another with the same "
            "arguments and carry the worlds over with get_state() and set_state()"
        )

    def _generators(self) -> list[tuple[np.random.Generator, int]]:
        self._require_open()
        with self._moving(self._none):
            return self._fleet.generators()

    @contextmanager
    def _moving(self, chosen: Flags) -> Iterator[None]:
        """Worlds that move within are in no known moment if that is interrupted, and gone if their workers are."""
        self._begun[chosen] = False
        try:
            yield
        finally:
            if self._fleet.closed:
                self.close()
        self._begun[chosen] = True

    def _observations(self) -> Observation:
        return self._observer.assemble({name: array.copy() for name, array in self._board.parts.items()})

    def _forget_overlays(self, restarted: Flags) -> None:
        if restarted.any():
            self._acted[restarted] = False
            self._plans = [None if gone else plan for gone, plan in zip(restarted, self._plans, strict=True)]

    def _require_open(self) -> None:
        if self.closed:
            raise gym.error.ClosedEnvironmentError(
                "the environment was closed, by close() or since a call to its workers failed or was cut short; make another"
            )

    def _require_begun(self, what: str) -> None:
        self._require_open()
        if not self._begun.all():
            raise gym.error.ResetNeeded(
                f"worlds {np.flatnonzero(~self._begun).tolist()} were never reset, or a call was interrupted; call reset() "
                f"before {what}"
            )
