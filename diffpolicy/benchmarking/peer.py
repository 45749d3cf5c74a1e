"""Talking to a peer that cannot share our process: lines of JSON over pipes, under a time limit.

A peer's packages contradict ours, so it lives in an environment of its own. Whatever goes wrong over there (it will not
start, dies, hangs, answers rubbish) becomes one line here. Nothing is unpickled.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float


class PeerError(ChildProcessError):
    """A peer that cannot be made, started or understood; an `OSError`, so the command line tells it in one line."""


class Peer:
    """Another Python running a script that answers each line of JSON with one.

    Args:
        python: The interpreter that has the peer's packages.
        script: What it runs.
        hint: What a user can do when it fails; ends every message.
        timeout_s: How long one answer may take, s.

    Raises:
        PeerError: If the interpreter cannot be started.
    """

    def __init__(self, python: Path, script: Path, *, hint: str, timeout_s: float = 120.0) -> None:
        self.python = python
        self._hint = hint
        self._timeout_s = timeout_s
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process that writes it
        try:
            # -I: neither the script's folder nor a PYTHONPATH meant for us may put our packages in the peer's way.
            self._process = subprocess.Popen(
                [python, "-I", script],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                encoding="utf-8",
                errors="replace",
            )
        except OSError as error:
            self._said.close()
            raise PeerError(f"{python}: cannot be started ({error.strerror}); {hint}") from error

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process; closing twice does nothing."""
        self._process.kill()
        self._process.communicate()
        self._said.close()

    def ask(self, what: str, **details: Any) -> dict[str, Any]:
        """Sends a request and waits for the answer.

        Raises:
            PeerError: If none comes in time, the process is gone, or the answer is not one JSON object.
        """
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self._process.kill()  # which ends the waiting below, be it to write or to read

        watchdog = threading.Timer(self._timeout_s, give_up)
        watchdog.start()
        try:
            answer = self._exchange(json.dumps({"what": what, **details}))
        finally:
            watchdog.cancel()
        if late.is_set():
            raise PeerError(f"{self.python}: no answer to {what!r} within {self._timeout_s:g} s; {self._hint}")
        if not answer.endswith("\n"):
            code = self._process.wait()
            raise PeerError(f"{self.python}: ended with code {code} at {what!r}: {self._last_words()}; {self._hint}")
        try:
            found = json.loads(answer)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise PeerError(
                f"{self.python}: answered {what!r} with {answer[:60].strip()!r}, expected a JSON object; {self._hint}"
            )
        return found

    def ask_numbers(
        self, what: str, shapes: Mapping[str, Sequence[int]], **details: Any
    ) -> dict[str, Float[np.ndarray, "..."]]:
        """Sends a request and returns the arrays of the answer.

        Args:
            what: The request.
            shapes: Name to shape of each array that the answer must hold.
            details: What else belongs to the request, as plain data.

        Returns:
            The named arrays, finite, float64.

        Raises:
            PeerError: As `ask`, and if an array is missing, of another shape, or not finite.
        """
        answer = self.ask(what, **details)
        return {name: self._checked(what, name, answer.get(name), tuple(shape)) for name, shape in shapes.items()}

    def _checked(self, what: str, name: str, found: object, shape: tuple[int, ...]) -> Float[np.ndarray, "..."]:
        try:
            numbers = np.asarray(found, dtype=np.float64)
        except (TypeError, ValueError):
            numbers = np.array(np.nan)
        if numbers.shape != shape or not np.isfinite(numbers).all():
            raise PeerError(
                f"{self.python}: answered {what!r} with {name} = {str(found)[:60]}, "
                f"expected finite numbers of shape {shape}; {self._hint}"
            )
        return numbers

    def _exchange(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except OSError:  # gone; what it said and its exit code tell why
            return ""
        return self._process.stdout.readline()

    def _last_words(self) -> str:
        self._said.seek(0)
        lines = [line for line in self._said.read().decode(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip() if lines else "it said nothing"
