"""Processes that step worlds of a vector environment beside its own, over memory that all of them share.

They are fresh interpreters, as those of multiprocessing's "spawn", since threads and torch may live in the parent. But they
import this package alone and not the parent's main script: they start in half a second where that imports torch, and a
script needs no guard. Nothing of them outlives the parent: the memory has no name, and a closed pipe ends a worker.
"""

import json
import mmap
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import weakref
from collections.abc import Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, Final, NoReturn

from .lanes import Board, Lanes, Rules

_PROGRAM: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from diffpolicy_envs.pusht.workers import serve; serve(int(sys.argv[2]), int(sys.argv[3]))"
)
# Requests and answers over a pipe between own processes: this byte takes a step, no byte says that all went well.
_STEP: Final = b"s"
_DONE: Final = b""
# A start imports packages, perhaps from a slow disk: it is not held to shorter limits.
_START_TIMEOUT_S: Final = 60.0
_PATIENCE_S: Final = 2.0
# How long an answer is asked for again and again: shares take equally long, so it comes about when the parent is done.
_AWAKE_S: Final = 0.005


class WorkerError(RuntimeError):
    """A process of a vector environment died, failed or did not answer; the environment is closed."""


def share_memory(size_bytes: int) -> tuple[int, mmap.mmap]:
    """Returns zeroed memory and the file descriptor through which another process can map it; it has no name to leave."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("diffpolicy-pusht")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size_bytes)
    return descriptor, mmap.mmap(descriptor, size_bytes)


class Workers:
    """Worker processes, each with the lanes of some worlds.

    Args:
        rules: What holds for every world.
        num_envs: Number of worlds of the whole board.
        shares: First world and end of each worker's share.
        memory: The descriptor of the board's memory.
        timeout_s: How long an answer may take.

    Raises:
        WorkerError: If a worker does not start.
    """

    def __init__(
        self, rules: Rules, num_envs: int, shares: Sequence[tuple[int, int]], memory: int, timeout_s: float
    ) -> None:
        self._shares, self._timeout_s = list(shares), timeout_s
        self._connections: list[Connection] = []
        self._processes: list[subprocess.Popen] = []
        # Runs when this object is forgotten, and at the interpreter's exit.
        self._stop = weakref.finalize(self, _stop, self._connections, self._processes, os.getpid())
        try:
            for _ in shares:
                self._start(memory)
            self._request([(rules, num_envs, start, stop) for start, stop in self._shares])
            self._collect(max(timeout_s, _START_TIMEOUT_S))
        except BaseException:
            self.kill()
            raise

    def _start(self, memory: int) -> None:
        ours, theirs = Pipe()
        self._connections.append(ours)
        path = json.dumps([entry for entry in sys.path if isinstance(entry, str)])
        # Worlds multiply no matrices: threads for that would only cost start-up time and memory.
        single = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, path, str(theirs.fileno()), str(memory)],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **single},
                pass_fds=(theirs.fileno(), memory),
                # Ctrl-C in the terminal is the parent's to handle, also while a worker still imports.
                start_new_session=True,
            )
        self._processes.append(process)
        _keep_off_core(process.pid, len(self._shares))

    def call(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> None:
        """Asks every worker to call a method of its lanes, each with its own arguments; `answers` waits for it.

        Raises:
            WorkerError: If a worker is dead.
        """
        if method == "step":
            self._request([_STEP] * len(self._shares))
        else:
            self._request([(method, values) for values in arguments])

    def answers(self) -> list[Any]:
        """Waits until all have done what they were asked for, and returns what their methods returned.

        Raises:
            WorkerError: If one died, failed or took too long.
        """
        return self._collect(self._timeout_s)

    def close(self) -> None:
        """Stops all workers, if that has not happened yet."""
        self._stop()

    def kill(self) -> None:
        """Stops all workers at once, whatever they do."""
        for process in self._processes:
            process.kill()
        self.close()

    @property
    def closed(self) -> bool:
        """Whether the workers were stopped."""
        return not self._stop.alive

    def _request(self, messages: Sequence[object]) -> None:
        for worker, message in enumerate(messages):
            try:
                self._connections[worker].send(message)
            except OSError:
                self._fail_dead(worker)

    def _collect(self, timeout_s: float) -> list[Any]:
        answers: list[Any] = [None] * len(self._shares)
        waiting = {connection: worker for worker, connection in enumerate(self._connections)}
        deadline = time.monotonic() + timeout_s
        awake_until = time.monotonic() + _AWAKE_S
        while waiting:
            # Asked again for a while before sleeping: who sleeps is woken on the core of the worker that answers, and
            # stays there, in the way of its next step.
            ready = wait(list(waiting), 0)
            if not ready and time.monotonic() < awake_until:
                continue
            ready = ready or wait(list(waiting), max(0.0, deadline - time.monotonic()))
            if not ready:
                self._fail(next(iter(waiting.values())), f"did not answer within {timeout_s:g} s")
            for connection in ready:
                assert isinstance(connection, Connection)
                worker = waiting.pop(connection)
                try:
                    message = connection.recv()
                except (EOFError, OSError):
                    self._fail_dead(worker)
                if message != _DONE:
                    answers[worker], failure = message
                    if failure is not None:
                        self._fail(worker, *failure)
        return answers

    def _fail_dead(self, worker: int) -> NoReturn:
        try:
            code = self._processes[worker].wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._fail(worker, "closed its pipe")
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        self._fail(worker, how)

    def _fail(self, worker: int, what: str, details: str | None = None) -> NoReturn:
        start, stop = self._shares[worker]
        worlds = f"world {start}" if stop - start == 1 else f"worlds {start} to {stop - 1}"
        # Counted as `workers` counts them: the first is the parent's own process.
        error = WorkerError(
            f"worker {worker + 2} (process {self._processes[worker].pid}, {worlds}) {what}; the environment is closed, "
            "make another"
        )
        if details:
            error.add_note(details)
        raise error


def _keep_off_core(pid: int, workers: int) -> None:
    """Keeps a worker off the first usable core, if there are others enough, so that it leaves one to its parent.

    A process that is woken through a pipe is put on the core of the one that woke it, which is about to compute too: on two
    cores that took back the whole gain of the second process, in about every other run.
    """
    try:
        cores = sorted(os.sched_getaffinity(0))
        if workers < len(cores):
            os.sched_setaffinity(pid, cores[1:])
    except (AttributeError, OSError):  # not Linux, or not allowed: the scheduler's own choice is only slower
        pass


def _stop(connections: list[Connection], processes: list[subprocess.Popen], owner: int) -> None:
    """Ends workers: by closing their pipes, and those that do not end so by force."""
    for connection in connections:
        connection.close()
    if os.getpid() != owner:  # a fork's copies are not its children
        return
    deadline = time.monotonic() + _PATIENCE_S
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def serve(connection_descriptor: int, memory: int) -> None:
    """Is what a worker process runs: steps its lanes when told to, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Connection(connection_descriptor) as connection:
        try:
            rules, num_envs, start, stop = connection.recv()
            board = Board.over(rules, num_envs, mmap.mmap(memory, Board.size_bytes(rules, num_envs)))
            lanes = Lanes(rules, board.rows(start, stop))
            connection.send(_DONE)
            while True:
                connection.send(_answer(lanes, connection.recv()))
        except (EOFError, ConnectionError):
            return


def _answer(lanes: Lanes, message: Any) -> Any:
    try:
        if message == _STEP:
            lanes.step()
            return _DONE
        method, arguments = message
        return getattr(lanes, method)(*arguments), None
    except Exception as error:
        return None, (f"raised {type(error).__name__}: {error}", traceback.format_exc())
