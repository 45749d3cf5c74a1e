"""Processes that run episodes beside the parent's own. All take their seeds from one counter, so that none idles.

They are fresh interpreters, for threads and torch live in the parent, and they read the checkpoint while the parent still
looks at it. What they say goes through pipes between own processes. Ctrl-C is the parent's to handle, and ends all at once.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch

from diffpolicy.checkpoint import load_checkpoint
from diffpolicy.errors import CheckpointError, ConfigError, ObservationError
from diffpolicy.evaluation.rollout import Round, rounds
from diffpolicy.evaluation.world import RolloutSettings

_PATIENCE_S = 5.0
# What a user can mend is raised by the parent as it was in the worker; the rest is a defect and brings its traceback.
_MISTAKES = (CheckpointError, ConfigError, ObservationError, OSError, torch.OutOfMemoryError)


@dataclass(frozen=True)
class Job:
    """What all processes of an evaluation do together.

    Attributes:
        identity: of the checkpoint that the parent read.
        seeds: of all episodes, the parent's included.
        settings: the world and the manner of acting.
        film: videos to write, by seed.
    """

    identity: str
    seeds: Sequence[int]
    settings: RolloutSettings
    film: Mapping[int, Path]


class Workers:
    """Worker processes, which start to import and to read the checkpoint at once. Leaving the context ends them.

    Args:
        count: how many; none is fine.
        checkpoint: the policy's folder.
        device: where their networks run.
    """

    def __init__(self, count: int, checkpoint: Path, device: str) -> None:
        self._processes: dict[Connection, Any] = {}
        self._working: list[Connection] = []
        context = multiprocessing.get_context("spawn")
        self._taken = context.Value("q", 0) if count else None
        try:
            with _undisturbed(), _single_threaded():
                for _ in range(count):
                    ours, theirs = context.Pipe()
                    process = context.Process(target=_serve, args=(checkpoint, device, self._taken, theirs))
                    process.start()
                    theirs.close()
                    self._processes[ours] = process
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def begin(self, job: Job) -> Iterable[int]:
        """Tell the workers what to do. Returns the seeds that fall to the parent: each is taken when it is asked for."""
        for connection in self._processes:
            with suppress(OSError):  # of one that died; what it had to say is heard with the rounds
                connection.send(job)
            self._working.append(connection)
        return job.seeds if self._taken is None else _next_seeds(job.seeds, self._taken)

    def rounds(self, *, to_the_end: bool) -> Iterator[Round]:
        """What the workers have done since: all that they have told by now, or, to the end, all that they will.

        Raises:
            ConfigError: a worker died.
            RuntimeError: a worker failed; its traceback is a note of the error.
        """
        while self._working:
            ready = set(wait(self._working, None if to_the_end else 0))
            if not ready:
                return
            for connection in [each for each in self._working if each in ready]:
                try:
                    said = connection.recv()
                except (EOFError, OSError):
                    raise ConfigError(
                        "a worker process died, perhaps for want of memory; use fewer --workers"
                    ) from None
                if isinstance(said, Exception):
                    raise said
                if said is None:
                    self._working.remove(connection)
                else:
                    yield said

    def _end(self) -> None:
        for process in self._processes.values():
            process.terminate()
        for connection, process in self._processes.items():
            connection.close()
            process.join(_PATIENCE_S)
            if process.exitcode is None:
                process.kill()
                process.join()
        self._processes.clear()
        self._working.clear()


def _next_seeds(seeds: Sequence[int], taken: Any) -> Iterator[int]:
    """The seeds that fall to one of the processes that share a counter."""
    while True:
        with taken.get_lock():
            index = taken.value
            taken.value = index + 1
        if index >= len(seeds):
            return
        yield seeds[index]


def _serve(checkpoint: Path, device: str, taken: Any, connection: Connection) -> None:
    """What a worker process runs: its episodes, told round by round; then None, or the error that stopped it."""
    try:
        _run_episodes(checkpoint, device, taken, connection)
        connection.send(None)
    except (EOFError, ConnectionError):  # the parent is gone
        return
    except _MISTAKES as error:
        connection.send(error)
    except Exception as error:
        told = RuntimeError(f"a worker process failed: {type(error).__name__}: {error}")
        told.add_note(traceback.format_exc())
        connection.send(told)


def _run_episodes(checkpoint: Path, device: str, taken: Any, connection: Connection) -> None:
    policy, meta = load_checkpoint(checkpoint, device)
    policy.eval().requires_grad_(False)
    job = connection.recv()
    if meta["identity"] != job.identity:
        raise CheckpointError(f"{checkpoint}: replaced while the evaluation started; run it again")
    for each in rounds(policy, _next_seeds(job.seeds, taken), job.settings, film=job.film):
        connection.send(each)


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Processes started within compute on one thread each; torch must not start more even while it is loaded."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Processes started within inherit that Ctrl-C is ignored: it is the parent's to handle, also while they import.

    `kill` waits until they are started: one that is left without the words it is started with complains at length.
    """
    if threading.current_thread() is not threading.main_thread():  # where Python allows no handlers
        yield
        return
    killed: list[int] = []
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda number, _: killed.append(number)),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if killed:
            signal.raise_signal(signal.SIGTERM)
