"""The record of a run: a progress bar for people, `log.jsonl` for everything else, TensorBoard when it is installed."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from diffpolicy.config import TrainingConfig
from diffpolicy.errors import ConfigError


class RunLog:
    """Writes one line of JSON per logged step. A context manager: the progress bar lives inside it."""

    def __init__(
        self, folder: Path, settings: TrainingConfig, *, step: int, seconds: float, logged_step: int, enabled: bool
    ) -> None:
        self.settings, self.enabled = settings, enabled
        self.latest: dict[str, Any] = {}
        """The newest value of every quantity."""
        self.logged_step = logged_step
        """The step of the newest mean loss: the next is a mean over the steps since, also those before a resume."""
        self._step, self._seconds = step, seconds
        self._progress = Progress(
            TextColumn("[bold]train"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(),
            disable=not enabled,
        )
        self._task = self._progress.add_task("train", total=settings.steps, completed=step, status="")
        self._boards: Any = None
        if not enabled:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "log.jsonl"
        self._forget_after(step)
        if importlib.util.find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            self._boards = SummaryWriter(str(folder / "tensorboard"), purge_step=step)

    def __enter__(self) -> RunLog:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        if self._boards:
            self._boards.close()

    def training(self, step: int, loss_sum: float, learning_rate: float, seconds: float) -> None:
        """Record the mean loss since the last call, given its sum."""
        loss = loss_sum / (step - self.logged_step)
        if not math.isfinite(loss):
            raise ConfigError(f"the loss is {loss} at step {step}: training diverged; lower training.learning_rate")
        rate = (step - self._step) * self.settings.batch_size / max(seconds - self._seconds, 1e-9)
        self.logged_step, self._step, self._seconds = step, step, seconds
        self.event(step, loss=loss, learning_rate=learning_rate, samples_per_s=round(rate, 1), seconds=seconds)

    def moved(self, step: int) -> None:
        """Move the progress bar: a step of a large network can take seconds."""
        self._progress.update(self._task, completed=step)

    def event(self, step: int, **values: float | int | str) -> None:
        """Record quantities at a step."""
        if not self.enabled:
            return
        self.latest |= values
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            if self._boards and isinstance(value, (int, float)):
                self._boards.add_scalar(name, value, step)
        self._show(step)

    def _show(self, step: int) -> None:
        parts = [f"loss {self.latest['loss']:.4f}"] if "loss" in self.latest else []
        if "samples_per_s" in self.latest:
            parts.append(f"{self.latest['samples_per_s']:,.0f} samples/s")
        if "mean_score" in self.latest:
            parts.append(f"score {self.latest['mean_score']:.3f}")
        self._progress.update(self._task, completed=step, status="  ".join(parts))

    def _forget_after(self, step: int) -> None:
        """Drop the lines of steps that a resumed run is about to repeat, and a line cut off by a crash."""
        if not self._path.exists():
            return
        kept = []
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if entry["step"] <= step:
                kept.append(line)
                self.latest |= {k: v for k, v in entry.items() if k != "step"}
        self._path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def read_log(path: Path) -> dict[str, dict[int, float]]:
    """What a run's `log.jsonl` holds: for each quantity its values by step. A line cut off by a crash is passed over.

    Raises:
        OSError: it cannot be read.
    """
    found: dict[str, dict[int, float]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
            step = int(entry.pop("step"))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        for name, value in entry.items():
            if isinstance(value, (int, float)) and math.isfinite(value):
                found.setdefault(name, {})[step] = float(value)
    return found
