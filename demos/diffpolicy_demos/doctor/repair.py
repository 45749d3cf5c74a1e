"""Writes a new store without what the doctor found to be an error; the old one is never touched.

What follows from the rest (keypoints from states, a wrapped angle) is computed anew. What does not is left out: nothing
is made up.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from diffpolicy_envs.pusht import WORKSPACE_PX, wrap_angle
from jaxtyping import Bool, Shaped
from rich.progress import Progress

from diffpolicy_demos.doctor.findings import Diagnosis, Finding, steps_text, stretches_of
from diffpolicy_demos.doctor.patient import Patient, open_patient
from diffpolicy_demos.doctor.pictures import as_bytes
from diffpolicy_demos.doctor.pusht import expected_keypoints, pusht_parts
from diffpolicy_demos.doctor.record import SHORT_STEPS
from diffpolicy_demos.errors import StoreError
from diffpolicy_demos.opening import create_store
from diffpolicy_demos.schema import WRITER_ATTR
from diffpolicy_demos.store import Store

#: Root attribute of a repaired store: where it comes from.
REPAIRED_FROM_ATTR = "repaired_from"

# Findings of these kinds, when they are errors, cost the episode; in an episode with those of `_CUTS` the marked steps
# are left out, and what is before and after becomes an episode each. A gap lies before its step, which stays.
_DROPS = ("unreadable", "nonfinite", "outside", "other_world", "duplicate", "pictures_late")
_CUTS = ("bad_frame", "wrong_action", "pictures")
_GAP = "gap"
_MOST_CUT = 0.5  # a picture wrong here and there is cut out; an episode of wrong pictures is no episode

Arrays = dict[str, Shaped[np.ndarray, "steps ..."]]


@dataclass(frozen=True)
class Treatment:
    """What became of one episode.

    Attributes:
        episode: Its index in the old store.
        becomes: Its index in the new store; several where it was cut, none where it was left out.
        done: What was done; empty where it was copied as it is.
    """

    episode: int
    becomes: tuple[int, ...]
    done: tuple[str, ...]


@dataclass(frozen=True)
class Repair:
    """What became of a store.

    Attributes:
        path: The new store.
        treatments: One for every episode of the old store that could be found, in order.
        left_out: Arrays of the old store that could not be used.
    """

    path: str
    treatments: tuple[Treatment, ...]
    left_out: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The repair as plain data."""
        return {
            "path": self.path,
            "left_out": list(self.left_out),
            "episodes": [
                {"episode": one.episode, "becomes": list(one.becomes), "done": list(one.done)}
                for one in self.treatments
            ],
        }


def check_target(target: str | os.PathLike[str]) -> Path:
    """Checks that a repaired store can be written to a place, before the long examination.

    Raises:
        StoreError: There is something already, or it is a URL.
    """
    if "://" in os.fspath(target):
        raise StoreError(f"{os.fspath(target)}: URLs are read only; repair into a folder and upload that")
    folder = Path(target).expanduser()
    if folder.exists() or folder.is_symlink():
        raise StoreError(
            f"{folder}: exists already; --fix writes a new store and never changes one: choose another path"
        )
    return folder


def repair(
    diagnosis: Diagnosis, target: str | os.PathLike[str], progress: Progress | None = None, *, trim_idle: bool = False
) -> Repair:
    """Writes a new store (zarr format 3) from what is sound in an examined one.

    It appears under its name when it is complete.

    Args:
        diagnosis: What the doctor found, pictures included.
        target: A path where there is nothing yet.
        progress: Where to show how far the writing is, in episodes.
        trim_idle: Cut idle stretches at the beginning and the end of episodes.

    Raises:
        StoreError: The target is taken, nothing would be left, or the old store has changed since.
    """
    folder = check_target(target)
    patient = open_patient(diagnosis.path)
    lost = {index for one in diagnosis.findings if one.kind == "layout" for index in one.episodes}
    chart = _Chart(diagnosis, patient, trim_idle)
    if not any(chart.pieces(index) for index in patient.spans):
        raise StoreError(
            f"{patient.path}: nothing would be left: every episode has errors that cannot be repaired; see the findings"
        )
    draft = folder.with_name(f".{folder.name}.repairing-{os.getpid()}")
    treatments = [Treatment(index, (), ("left out: its ends are broken",)) for index in sorted(lost)]
    try:
        attrs = {name: value for name, value in patient.attrs.items() if name != WRITER_ATTR}
        with create_store(draft, _arrays_of(patient), {**attrs, REPAIRED_FROM_ATTR: patient.path}) as new:
            for index in (progress or Progress(disable=True)).track(patient.spans, description="writing"):
                treatments.append(_treat(patient, chart, index, new))
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Repair(str(folder), tuple(sorted(treatments, key=lambda one: one.episode)), tuple(patient.unusable))


def _arrays_of(patient: Patient) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Shape of one step and dtype of every array of the new store."""
    pictures = patient.pictures()
    return {
        key: (tuple(array.shape[1:]), np.dtype(np.uint8) if key in pictures else array.dtype)
        for key, array in patient.arrays.items()
    }


class _Chart:
    """What is to be done to each episode, as the findings say."""

    def __init__(self, diagnosis: Diagnosis, patient: Patient, trim_idle: bool) -> None:
        self.pusht = bool(diagnosis.world)
        self._lengths = patient.lengths
        self._found = {
            index: [one for one in diagnosis.findings if index in one.episodes[-1:]] for index in patient.spans
        }
        self._trim_idle = trim_idle

    def why_dropped(self, index: int) -> str:
        """Why an episode is left out as a whole; empty where it is not."""
        for one in self._errors(index):
            if one.kind in _DROPS:
                return one.found if one.kind != "duplicate" else f"the same as episode {one.episodes[0]}"
        if self._wrong(index).mean() > _MOST_CUT:
            return "most of its steps are wrong"
        return "" if self.pieces(index) else f"no piece of {SHORT_STEPS} steps or more is left"

    def pieces(self, index: int) -> list[tuple[int, int]]:
        """First step and one past the last of what is kept, in order; none where the episode is left out."""
        wrong = self._wrong(index)
        if any(one.kind in _DROPS for one in self._errors(index)) or wrong.mean() > _MOST_CUT:
            return []
        gaps = (stretch for one in self._errors(index) if one.kind == _GAP for stretch in one.steps)
        begins = {step for first, last in gaps for step in range(first, last + 1)}
        pieces: list[tuple[int, int]] = []
        for first, last in stretches_of(np.flatnonzero(~wrong & ~self._idle_ends(index))):
            inner = sorted(step for step in begins if first < step <= last)
            pieces += list(zip([first, *inner], [*inner, last + 1], strict=True))
        # A short episode that was never cut is short as it was recorded.
        whole = [(0, self._lengths[index])]
        return pieces if pieces == whole else [piece for piece in pieces if piece[1] - piece[0] >= SHORT_STEPS]

    def repairs(self, index: int) -> list[str]:
        """Kinds of findings that are repaired in place; warnings and notes too where nothing is lost by it."""
        kinds = ("angle_range", "action_range", "keypoints", "agent_pos", "picture_range")
        return [kind for kind in kinds if any(one.kind == kind for one in self._found[index])]

    def _errors(self, index: int) -> list[Finding]:
        return [one for one in self._found[index] if one.severity == "error"]

    def _wrong(self, index: int) -> Bool[np.ndarray, " steps"]:
        """The steps that cannot stay."""
        wrong = np.zeros(self._lengths[index], dtype=bool)
        for one in self._errors(index):
            for first, last in one.steps if one.kind in _CUTS else ():
                wrong[first : last + 1] = True
        return wrong

    def _idle_ends(self, index: int) -> Bool[np.ndarray, " steps"]:
        """The steps of waits at the beginning and the end, but for the one next to the motion."""
        steps = self._lengths[index]
        idle = np.zeros(steps, dtype=bool)
        for one in self._found[index] if self._trim_idle else ():
            for first, last in one.steps if one.kind == "idle" else ():
                idle[first:last] |= first == 0
                idle[first + 1 : last + 1] |= last == steps - 1
        return idle


def _treat(patient: Patient, chart: _Chart, index: int, new: Store) -> Treatment:
    """Copies what is kept of one episode."""
    if why := chart.why_dropped(index):
        return Treatment(index, (), (f"left out: {why}",))
    arrays: Arrays = {key: patient.read(key, index) for key in patient.arrays}
    done = _repaired(arrays, patient, chart, index)
    pieces, steps = chart.pieces(index), patient.lengths[index]
    becomes = []
    for first, stop in pieces:
        becomes.append(new.n_episodes)
        info = dict(patient.infos.get(index, {}))
        if (first, stop) != (0, steps):
            info |= {"cut_from_episode": index, "cut_from_step": first}
        new.append_episode({key: values[first:stop] for key, values in arrays.items()}, info=info or None)
    if pieces != [(0, steps)]:
        kept = steps_text(tuple((first, stop - 1) for first, stop in pieces))
        done.append(f"cut: kept the steps {kept} of {steps}")
    return Treatment(index, tuple(becomes), tuple(done))


def _repaired(arrays: Arrays, patient: Patient, chart: _Chart, index: int) -> list[str]:
    """Computes anew what follows from the rest, in place; says what."""
    done, kinds = [], chart.repairs(index)
    for key in patient.pictures():
        pictures, scaled = as_bytes(arrays[key])
        arrays[key] = pictures  # whole numbers in float32, as the public set has them, only take space
        if "picture_range" in kinds:
            done.append(f"{key}: {'scaled' if scaled else 'clipped'} to 0 to 255")
    if not chart.pusht:
        return done
    if "angle_range" in kinds:
        arrays["state"] = _with(arrays["state"], wrap_angle(np.asarray(arrays["state"][:, 4])))
        done.append("angles wrapped")
    if "action_range" in kinds:
        arrays["action"] = np.clip(arrays["action"], 0, WORKSPACE_PX).astype(arrays["action"].dtype)
        done.append("actions clipped")
    if "keypoints" in kinds:
        known: Mapping[str, np.ndarray] = pusht_parts(patient, index) | {"state": arrays["state"]}
        expected = expected_keypoints(known)
        if expected is not None:
            arrays["keypoints"] = expected.astype(arrays["keypoints"].dtype)
            done.append("keypoints computed from the states")
    if "agent_pos" in kinds:
        arrays["agent_pos"] = arrays["state"][:, :2].astype(arrays["agent_pos"].dtype)
        done.append("agent_pos taken from the states")
    return done


def _with(states: Shaped[np.ndarray, "steps 5"], angles: Shaped[np.ndarray, " steps"]) -> Shaped[np.ndarray, "steps 5"]:
    """States with other angles; one that rounds to 2 pi is 0."""
    changed = states.copy()
    changed[:, 4] = angles
    changed[:, 4] = np.where(changed[:, 4] >= 2 * np.pi, 0, changed[:, 4])
    return changed
