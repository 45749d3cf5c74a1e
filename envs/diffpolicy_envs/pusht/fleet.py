"""All worlds of a vector environment, wherever they are: some in this process, the others in workers, one board for all.

Whoever uses it does not see the processes: each call goes to every world and comes back in the worlds' order.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from .checks import require_count
from .lanes import Board, Lanes, Rules
from .workers import Workers, share_memory
from .world import PushTState, Start


class Fleet:
    """Worlds that are stepped together by one or more processes, this one included.

    Every method raises `WorkerError` if a worker died, failed or did not answer. After that, and after any exception that
    interrupts a method while there are workers, all of them are stopped and the fleet is closed.

    Args:
        rules: What holds for every world.
        num_envs: Number of worlds.
        workers: Number of processes that step worlds, this one included.
        timeout_s: How long another process may take for an answer.

    Raises:
        ValueError: If there are more workers than worlds, or more than one where the system is not POSIX.
    """

    def __init__(self, rules: Rules, num_envs: int, workers: int, timeout_s: float) -> None:
        require_count("workers", workers)
        if workers > num_envs:
            raise ValueError(
                f"workers: found {workers}, expected at most num_envs, {num_envs}: each steps one world or more"
            )
        if workers > 1 and os.name != "posix":
            raise ValueError(
                f"workers: found {workers}, but processes share memory on POSIX systems only; use workers=1"
            )
        if not timeout_s > 0:
            raise ValueError(f"timeout_s: expected a positive number of seconds, found {timeout_s!r}")
        ends = [num_envs * (worker + 1) // workers for worker in range(workers)]
        self._shares = list(zip([0, *ends[:-1]], ends, strict=True))
        self._workers: Workers | None = None
        size_bytes = Board.size_bytes(rules, num_envs)
        if workers == 1:
            self.board = Board.over(rules, num_envs, bytearray(size_bytes))
        else:
            descriptor, memory = share_memory(size_bytes)
            try:
                self.board = Board.over(rules, num_envs, memory)
                self._workers = Workers(rules, num_envs, self._shares[1:], descriptor, timeout_s)
            finally:
                os.close(descriptor)
        self._lanes = Lanes(rules, self.board.rows(*self._shares[0]))

    def step(self) -> None:
        """Takes the step that the board's actions say."""
        self._call("step", [()] * len(self._shares))

    def begin(self, start: Start, seeds: Sequence[int | None], chosen: Bool[np.ndarray, "worlds"]) -> None:
        """Starts episodes in the chosen worlds, with a seed or None for each world."""
        self._call("begin", [(start, seeds[first:end], chosen[first:end].tolist()) for first, end in self._shares])

    def save(self) -> tuple[PushTState, ...]:
        """Returns the moment of each world."""
        return tuple(state for states in self._call("save", [()] * len(self._shares)) for state in states)

    def restore(self, states: Sequence[PushTState]) -> None:
        """Goes back to a saved moment in each world."""
        self._call("restore", [(tuple(states[first:end]),) for first, end in self._shares])

    def generators(self) -> list[tuple[np.random.Generator, int]]:
        """Returns each world's generator, a copy where it is in a worker, and the seed that it began with."""
        return [pair for pairs in self._call("generators", [()] * len(self._shares)) for pair in pairs]

    def close(self) -> None:
        """Stops the workers, if there are any."""
        if self._workers is not None:
            self._workers.close()

    @property
    def closed(self) -> bool:
        """Whether the workers were stopped."""
        return self._workers is not None and self._workers.closed

    def _call(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Calls a method of the lanes of every process, with the arguments for each; returns what each returned."""
        if self._workers is None:
            return [getattr(self._lanes, method)(*arguments[0])]
        try:
            self._workers.call(method, arguments[1:])
            own = getattr(self._lanes, method)(*arguments[0])
            return [own, *self._workers.answers()]
        except BaseException:
            # An answer may have been read in part, or is still to come: nothing more can be agreed with these workers.
            self._workers.kill()
            raise
