"""Worlds stepped one after another in one process, and the board of arrays on which they show themselves.

A vector environment has one row of lanes, or one in each of its processes over the same board. What needs a world itself
happens here, autoresets included, so that a step costs a process one message and no pickling.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode
from jaxtyping import Bool, Float

from .checks import require_one_of
from .geometry import SUCCESS_COVERAGE
from .observations import Observer
from .world import PushTState, PushTWorld, Start

# Arrays begin on cache lines of their own.
_ALIGNMENT_BYTES: Final = 64

Fields = dict[str, tuple[tuple[int, ...], np.dtype]]


@dataclass(frozen=True)
class Rules:
    """What holds for every world of a vector environment, in every process."""

    observer: Observer
    restart: Start
    count_contacts: bool
    max_episode_steps: int | None
    autoreset_mode: AutoresetMode


def checked_mode(found: str | AutoresetMode) -> AutoresetMode:
    """Returns the autoreset mode of a name.

    Raises:
        ValueError: If it is none of Gymnasium's.
    """
    if isinstance(found, AutoresetMode):
        return found
    require_one_of("autoreset_mode", found, [mode.value for mode in AutoresetMode])
    return AutoresetMode(found)


class Board:
    """What worlds are told and show: arrays, one row a world.

    Attributes:
        actions: The targets of the next step, px, within the workspace.
        readings: What the worlds' physics read.
        rewards: Of the last step, like the two kinds of flags.
        terminations: Which episodes ended by success.
        truncations: Which episodes ended by the time limit.
        parts: Observations by part.
        info: Information by name.
        final_parts: The last observations of episodes that ended in this step; empty unless these restart at once.
        final_info: The information of the same moments.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._arrays = arrays
        self.actions: Float[np.ndarray, "worlds 2"] = arrays["actions"]
        self.readings: Float[np.ndarray, "worlds 7"] = arrays["readings"]
        self.rewards: Float[np.ndarray, "worlds"] = arrays["rewards"]
        self.terminations: Bool[np.ndarray, "worlds"] = arrays["terminations"]
        self.truncations: Bool[np.ndarray, "worlds"] = arrays["truncations"]
        self.parts, self.info = self._group("parts"), self._group("info")
        self.final_parts, self.final_info = self._group("final_parts"), self._group("final_info")

    @classmethod
    def over(cls, rules: Rules, worlds: int, buffer: Any) -> "Board":
        """Returns the board of so many worlds over memory of `size_bytes`; its first content is the memory's."""
        arrays, offset = {}, 0
        for name, (shape, dtype) in _fields(rules).items():
            array = np.frombuffer(buffer, dtype, worlds * int(np.prod(shape)), offset).reshape(worlds, *shape)
            arrays[name] = array
            offset += -(-array.nbytes // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
        return cls(arrays)

    @staticmethod
    def size_bytes(rules: Rules, worlds: int) -> int:
        """Returns how much memory the board of so many worlds takes."""
        sizes = (worlds * int(np.prod(shape)) * dtype.itemsize for shape, dtype in _fields(rules).values())
        return sum(-(-size // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES for size in sizes)

    def rows(self, start: int, stop: int) -> "Board":
        """Returns the board of some of the worlds, over the same memory."""
        return Board({name: array[start:stop] for name, array in self._arrays.items()})

    @property
    def ended(self) -> Bool[np.ndarray, "worlds"]:
        """Which episodes have ended."""
        return self.terminations | self.truncations

    def _group(self, prefix: str) -> dict[str, np.ndarray]:
        return {name.partition(".")[2]: array for name, array in self._arrays.items() if name.startswith(f"{prefix}.")}


def _fields(rules: Rules) -> Fields:
    """Returns shape and type of a row of each array of a board."""
    number, flag = np.dtype(np.float64), np.dtype(np.bool_)
    fields: Fields = {
        "actions": ((2,), number),
        "readings": ((7,), number),
        "rewards": ((), number),
        "terminations": ((), flag),
        "truncations": ((), flag),
    }
    parts: Fields = {
        name: (tuple(space.shape), np.dtype(space.dtype)) for name, space in rules.observer.parts().items()
    }
    info: Fields = {"coverage": ((), number), "is_success": ((), flag), "block_pose": ((3,), number)}
    info |= {"agent_vel": ((2,), number), "goal_pose": ((3,), number)}
    if "scale" in parts:
        info["scale"] = ((), number)
    if rules.count_contacts:
        info["n_contacts"] = ((), np.dtype(np.int64))
    groups: dict[str, Fields] = {"parts": parts, "info": info}
    if rules.autoreset_mode is AutoresetMode.SAME_STEP:
        groups |= {"final_parts": parts, "final_info": info}
    return fields | {f"{group}.{name}": field for group, named in groups.items() for name, field in named.items()}


class Lanes:
    """Worlds that are stepped together and show themselves on a board.

    Args:
        rules: What holds for every world.
        board: Their rows of the board.
    """

    def __init__(self, rules: Rules, board: Board) -> None:
        self._rules, self._board = rules, board
        self._worlds = [PushTWorld(count_contacts=rules.count_contacts) for _ in board.rewards]
        self._generators: list[tuple[np.random.Generator, int] | None] = [None] * len(self._worlds)
        self._elapsed = np.zeros(len(self._worlds), np.int64)

    def step(self) -> None:
        """Takes the step that the board's actions say; episodes that have ended restart as the rules say."""
        board, rules = self._board, self._rules
        next_step = rules.autoreset_mode is AutoresetMode.NEXT_STEP
        restarting = set(np.flatnonzero(board.ended).tolist()) if next_step else set()
        self._elapsed += 1
        for index, (world, (x, y)) in enumerate(zip(self._worlds, board.actions.tolist(), strict=True)):
            if index in restarting:
                self._begin(index, rules.restart, None)
            else:
                world.physics.step(x, y)
        self._show(0, len(self._worlds))
        np.minimum(board.info["coverage"] / SUCCESS_COVERAGE, 1.0, out=board.rewards)
        board.terminations[...] = board.info["is_success"]
        board.truncations[...] = rules.max_episode_steps is not None and self._elapsed >= rules.max_episode_steps
        for index in restarting:
            board.rewards[index], board.terminations[index], board.truncations[index] = 0.0, False, False
        if rules.autoreset_mode is AutoresetMode.SAME_STEP:
            for index in np.flatnonzero(board.ended).tolist():
                self._restart_at_once(index)

    def begin(self, start: Start, seeds: Sequence[int | None], chosen: Sequence[bool]) -> None:
        """Starts new episodes in the chosen worlds.

        Args:
            start: Checked options, the same for all.
            seeds: A checked seed, or None, for each world, chosen or not.
            chosen: Which worlds start anew.
        """
        for index, (seed, begins) in enumerate(zip(seeds, chosen, strict=True)):
            if begins:
                self._begin(index, start, seed)
                self._board.terminations[index] = self._board.truncations[index] = False
        self._show_each(chosen)

    def save(self) -> list[PushTState]:
        """Returns the moment of each world."""
        return [world.save() for world in self._worlds]

    def restore(self, states: Sequence[PushTState]) -> None:
        """Goes back to a saved moment in each world, from which the time limit counts anew."""
        for index, (world, state) in enumerate(zip(self._worlds, states, strict=True)):
            world.restore(state)
            self._note_task(index)
        self._elapsed[...] = 0
        self._board.terminations[...] = self._board.truncations[...] = False
        self._show(0, len(self._worlds))

    def generators(self) -> list[tuple[np.random.Generator, int]]:
        """Returns each world's generator and the seed that it began with."""
        return [self._generator(index) for index in range(len(self._worlds))]

    def _generator(self, index: int) -> tuple[np.random.Generator, int]:
        found = self._generators[index]
        if found is None:
            found = self._generators[index] = seeding.np_random()
        return found

    def _begin(self, index: int, start: Start, seed: int | None) -> None:
        if seed is not None:
            self._generators[index] = seeding.np_random(seed)
        self._worlds[index].begin(start, self._generator(index)[0], seed)
        self._elapsed[index] = 0
        self._note_task(index)

    def _restart_at_once(self, index: int) -> None:
        board = self._board
        for finals, last in ((board.final_parts, board.parts), (board.final_info, board.info)):
            for name, array in finals.items():
                array[index] = last[name][index]
        self._begin(index, self._rules.restart, None)
        self._show(index, index + 1)

    def _note_task(self, index: int) -> None:
        """Shows goal and scale, which only change where an episode begins."""
        world, info = self._worlds[index], self._board.info
        info["goal_pose"][index] = world.goal_pose
        if "scale" in info:
            info["scale"][index] = world.scale

    def _show_each(self, chosen: Sequence[bool]) -> None:
        if all(chosen):
            self._show(0, len(self._worlds))
            return
        for index in np.flatnonzero(chosen).tolist():
            self._show(index, index + 1)

    def _show(self, start: int, stop: int) -> None:
        """Writes how some worlds are now: readings, information and observations."""
        whole = stop - start == len(self._worlds)
        worlds = self._worlds if whole else self._worlds[start:stop]
        board = self._board if whole else self._board.rows(start, stop)
        readings = [world.physics.read() for world in worlds]
        board.readings[...] = readings
        info = board.info
        # One pose at a time: many at once (`geometry.coverage`) differ in the last bit from what a single world computes.
        info["coverage"][...] = [
            world.coverage(x, y, angle) for world, (_, _, _, _, x, y, angle) in zip(worlds, readings, strict=True)
        ]
        np.greater(info["coverage"], SUCCESS_COVERAGE, out=info["is_success"])
        info["block_pose"][...] = board.readings[:, 4:]
        info["agent_vel"][...] = board.readings[:, 2:4]
        if "n_contacts" in info:
            info["n_contacts"][...] = [world.physics.n_contacts for world in worlds]
        self._rules.observer.observe_all(worlds, board.readings, board.parts)
