"""How episodes went from moment to moment: kept beside `eval.json`, in `episodes.npz`, for pictures of an evaluation.

`eval.json` is for people and tables; these are plain arrays, never unpickled.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from diffpolicy.errors import ConfigError
from diffpolicy.evaluation.metrics import EpisodeRecord

FILE = "episodes.npz"
POSES = ("block_pose", "goal_pose")
"""What a world may tell of its start, and this keeps."""


@dataclass(frozen=True)
class EpisodeTrace:
    """One episode.

    Attributes:
        seed: where it started from.
        rewards: of its steps.
        coverage: share of the goal covered, at the start and after each step; None where the world reports none.
        start: what is known of the start: `block_pose` and `goal_pose` (x, y in px, angle in rad), `agent_px` (x, y).
    """

    seed: int
    rewards: Float[np.ndarray, "steps"]
    coverage: Float[np.ndarray, "moments"] | None
    start: Mapping[str, np.ndarray]


def start_of(info: Mapping[str, Any], seen: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What an episode's first moment tells of where things are.

    Args:
        info: What the world says of itself.
        seen: The observation by the policy's keys.
    """
    start = {key: np.array(info[key], dtype=np.float64) for key in POSES if key in info}
    agent = next((seen[key] for key in ("agent_pos", "state") if key in seen), None)
    if start and agent is not None:  # in a world that tells no poses, these two numbers may be anything
        start["agent_px"] = np.array(agent[:2], dtype=np.float64)
    return start


def write_traces(traces: Sequence[EpisodeTrace], folder: Path) -> Path:
    """Write `episodes.npz` into a folder, whole or not at all.

    It holds `seeds` (episodes,), `rewards` (episodes, steps) and, where the world tells them, `coverage` (episodes,
    steps + 1) and of the start `block_pose` and `goal_pose` (episodes, 3), `agent_px` (episodes, 2). What comes after an
    episode's end is NaN.
    """
    arrays: dict[str, Any] = {"seeds": np.array([trace.seed for trace in traces])}
    arrays["rewards"] = _padded([trace.rewards for trace in traces])
    covered = [trace.coverage for trace in traces if trace.coverage is not None]
    if len(covered) == len(traces):
        arrays["coverage"] = _padded(covered)
    for key in (*POSES, "agent_px"):
        told = [trace.start[key] for trace in traces if key in trace.start]
        if len(told) == len(traces) and len({one.shape for one in told}) == 1:
            arrays[key] = np.stack(told)
    folder.mkdir(parents=True, exist_ok=True)
    partial, final = folder / f"{FILE}.partial", folder / FILE
    with partial.open("wb") as file:
        np.savez_compressed(file, **arrays)
    partial.replace(final)
    return final


def read_traces(folder: Path, records: Sequence[EpisodeRecord]) -> dict[str, np.ndarray]:
    """The arrays of `episodes.npz` in a folder.

    Args:
        folder: Of the evaluation.
        records: Those of its `eval.json`.

    Raises:
        ConfigError: it is missing, damaged, or about other episodes than `eval.json`.
    """
    path = folder / FILE
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        seeds, rewards = arrays["seeds"].tolist(), arrays["rewards"]
        steps, best = np.isfinite(rewards).sum(axis=1).tolist(), np.nanmax(rewards, axis=1).tolist()
        found = list(zip(seeds, steps, best, strict=True))
    except FileNotFoundError:
        raise ConfigError(f"{path}: missing; `diffpolicy eval` writes it") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{path}: damaged ({error!r}); evaluate again") from None
    if found != [(one.seed, one.steps, one.score) for one in records]:
        raise ConfigError(f"{path}: about other episodes than eval.json; evaluate again")
    return arrays


def _padded(rows: Sequence[np.ndarray]) -> Float[np.ndarray, "rows longest"]:
    padded = np.full((len(rows), max(map(len, rows))), np.nan)
    for row, values in zip(padded, rows, strict=True):
        row[: len(values)] = values
    return padded
