"""A person at the mouse demonstrates Push-T: what is recorded, kept, discarded and taken back.

No window is needed here: a session takes where the pointer is and which keys were pressed, and tells what to show, so
that whatever draws it (and any test) drives the same recording.
"""

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from diffpolicy_envs.pusht import AGENT_RADIUS_PX, WORKSPACE_PX, PushTEnv
from jaxtyping import Float, Shaped, UInt8

from diffpolicy_demos.store import Store

# A click on the agent is how many people take hold of it: within the first second one must not end the episode.
_CLICK_KEEPS_AFTER_STEPS = 10


class Phase(enum.Enum):
    """Where a session is."""

    WAITING = enum.auto()
    RECORDING = enum.auto()
    SUCCEEDED = enum.auto()
    OUT_OF_TIME = enum.auto()
    ENDED = enum.auto()


class Command(enum.Enum):
    """What a person can ask for; a click is what keeps once there is something to keep."""

    KEEP = enum.auto()
    CLICK = enum.auto()
    DISCARD = enum.auto()
    UNDO = enum.auto()
    NEXT = enum.auto()
    QUIT = enum.auto()


@dataclass(frozen=True)
class Status:
    """What a person should know at a glance.

    Attributes:
        phase: Where the session is.
        episode: Number of the episode in hand, from 1, counted over the whole store.
        wanted: How many episodes the store shall have in the end; None without such a number.
        kept: Episodes of this sitting, which are those that can be taken back.
        seed: Of the start.
        steps: Steps of the episode in hand.
        max_steps: At how many it ends; None without a limit.
        coverage: Of the goal now, in [0, 1].
        best_coverage: The highest of this episode, in [0, 1].
        agent_px: Where the agent is: x, y.
        pointer_must_leave: Whether the pointer was on the agent from the beginning, and has to leave it first.
        notice: What happened last, in a sentence; empty before anything has.
    """

    phase: Phase
    episode: int
    wanted: int | None
    kept: int
    seed: int
    steps: int
    max_steps: int | None
    coverage: float
    best_coverage: float
    agent_px: tuple[float, float]
    pointer_must_leave: bool
    notice: str


class RecordSession:
    """Episodes of one sitting, each on disk before the next begins.

    The agent stays at its start until the pointer comes onto it, and follows the pointer from then on; so no episode
    begins with a jump. An episode ends when the block covers its goal, when its time is up, or when it is kept.

    Args:
        store: Open for appending.
        seed: Of the first start; the next ones follow it.
        protocol: How seeds become starts: "gym_pusht" or "diffusion_policy".
        wanted: End when the store has so many episodes; None never does.
        max_steps: Steps at which an episode's time is up; None without a limit.
        pixels: Whether to record the published 96 x 96 pictures too.
        table_px: Width and height of what `draw` returns.

    Raises:
        ValueError: The seed or the protocol is not one that the environment takes.
    """

    def __init__(
        self,
        store: Store,
        seed: int,
        *,
        protocol: str = "gym_pusht",
        wanted: int | None = None,
        max_steps: int | None = None,
        pixels: bool = False,
        table_px: int = WORKSPACE_PX,
    ) -> None:
        self._store, self._protocol, self._wanted, self._max_steps = store, protocol, wanted, max_steps
        self._env = PushTEnv(
            obs_type="pixels_agent_pos" if pixels else "state",
            render_mode="rgb_array",
            render_size_px=table_px,
            overlays=("goal", "action"),
        )
        self._kept: list[tuple[int, bool]] = []
        self._was_off_agent = False
        self._notice = ""
        self._begin(seed)
        if self._has_enough():
            self._phase = Phase.ENDED

    @property
    def status(self) -> Status:
        """What to tell the person now."""
        x, y = self._state[:2].tolist()
        return Status(
            phase=self._phase,
            episode=self._store.n_episodes + 1,
            wanted=self._wanted,
            kept=len(self._kept),
            seed=self._seed,
            steps=len(self._actions),
            max_steps=self._max_steps,
            coverage=self._info["coverage"],
            best_coverage=self._best,
            agent_px=(x, y),
            pointer_must_leave=self._phase is Phase.WAITING and not self._was_off_agent,
            notice=self._notice,
        )

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to do."""
        return self._phase is Phase.ENDED

    @property
    def successes(self) -> int:
        """How many of the episodes kept in this sitting reached the goal."""
        return sum(success for _, success in self._kept)

    def draw(self) -> UInt8[np.ndarray, "table table 3"]:
        """Returns a picture of the table (RGB), with the target that the agent was last sent to."""
        picture = self._env.render()
        assert picture is not None
        return picture

    def advance(self, pointer_px: tuple[float, float] | None) -> None:
        """Lets a control step, 0.1 s, pass.

        Args:
            pointer_px: Where the pointer is, in px of the workspace; targets outside it are clipped. None while that is
                not known.
        """
        if pointer_px is None:
            return
        if self._phase is Phase.WAITING:
            on_agent = math.dist(pointer_px, self._state[:2].tolist()) <= AGENT_RADIUS_PX
            if on_agent and self._was_off_agent:
                self._phase, self._notice = Phase.RECORDING, ""
            if not on_agent:
                self._was_off_agent = True
        if self._phase is Phase.RECORDING:
            self._record(pointer_px)

    def press(self, command: Command) -> None:
        """Does what the person asks for, or says why not.

        Raises:
            StoreError: The episode could not be written, or not be taken back.
        """
        recorded = self._phase in (Phase.RECORDING, Phase.SUCCEEDED, Phase.OUT_OF_TIME)
        if command is Command.QUIT:
            self._phase = Phase.ENDED
        elif command is Command.NEXT:
            self._notice = "Another start."
            self._begin(self._seed + 1)
        elif command is Command.UNDO:
            self._undo(recorded)
        elif command is Command.KEEP and not recorded:
            self._notice = "Nothing is recorded yet."
        elif (
            command is Command.CLICK
            and self._phase is Phase.RECORDING
            and len(self._actions) < _CLICK_KEEPS_AFTER_STEPS
        ):
            self._notice = "A click keeps after the first second."
        elif recorded and command in (Command.KEEP, Command.CLICK):
            self._keep()
        elif command is Command.DISCARD and recorded:
            self._notice = "Discarded. The same start again."
            self._begin(self._seed)

    def close(self) -> None:
        """Drops what is not kept."""
        self._phase = Phase.ENDED
        self._env.close()

    def _begin(self, seed: int) -> None:
        obs, self._info = self._env.reset(seed=seed, options={"protocol": self._protocol})
        self._observe(obs)
        # The world begins in the state as it is written, at rest: a replay of the record is then this episode, not one
        # that rounding sends another way at a corner.
        start = self._seen["state"].astype(np.float64)
        obs, self._info = self._env.reset(options={"state": start})
        self._observe(obs)
        self._seed, self._start = seed, start.tolist()
        self._steps: dict[str, list[Any]] = {name: [] for name in self._seen}
        self._actions: list[Float[np.ndarray, "2"]] = []
        self._best = 0.0
        self._was_off_agent = False  # a pointer that happens to be on the agent has not taken hold of it
        self._phase = Phase.WAITING

    def _observe(self, obs: Any) -> None:
        """Takes apart what the environment shows, into what is recorded of a step."""
        pictures: Mapping[str, Any] = obs if isinstance(obs, Mapping) else {}
        self._state = np.concatenate((obs["agent_pos"], self._info["block_pose"])) if pictures else np.asarray(obs)
        self._seen: dict[str, Shaped[np.ndarray, "..."]] = {"state": self._state.astype(np.float32)}
        if pictures:
            self._seen["pixels"] = pictures["pixels"]

    def _record(self, pointer_px: tuple[float, float]) -> None:
        # What is written is what is executed, to the last bit.
        action = np.clip(np.asarray(pointer_px), 0.0, WORKSPACE_PX).astype(np.float32)
        for name, value in self._seen.items():
            self._steps[name].append(value)
        self._actions.append(action)
        obs, _, success, _, self._info = self._env.step(action)
        self._observe(obs)
        self._best = max(self._best, self._info["coverage"])
        if success:
            self._phase = Phase.SUCCEEDED
        elif self._max_steps is not None and len(self._actions) >= self._max_steps:
            self._phase = Phase.OUT_OF_TIME

    def _keep(self) -> None:
        success, steps = bool(self._info["is_success"]), len(self._actions)
        arrays = {name: np.stack(values) for name, values in (*self._steps.items(), ("action", self._actions))}
        self._store.append_episode(
            arrays,
            info={
                "seed": self._seed,
                "protocol": self._protocol,
                "start_state": self._start,
                "mode": "mouse",
                "success": success,
                "max_coverage": self._best,
            },
        )
        self._kept.append((self._seed, success))
        self._notice = f"Episode {self._store.n_episodes} kept: {steps} steps, best coverage {percent(self._best)}."
        self._begin(self._seed + 1)
        if self._has_enough():
            self._phase = Phase.ENDED

    def _undo(self, recorded: bool) -> None:
        if recorded:
            self._notice = "Keep or discard this episode first."
        elif not self._kept:
            self._notice = "No episode of this sitting to take back."
        else:
            removed = self._store.n_episodes
            self._store.remove_last_episode()
            seed, _ = self._kept.pop()
            self._notice = f"Episode {removed} taken back. Its start again."
            self._begin(seed)

    def _has_enough(self) -> bool:
        return self._wanted is not None and self._store.n_episodes >= self._wanted


def percent(share: float) -> str:
    """Returns a share in whole percent, rounded down: 94.9% is no success."""
    return f"{math.floor(100 * share)}%"
