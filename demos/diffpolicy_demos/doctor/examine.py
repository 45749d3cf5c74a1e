"""Is a record any good? Examines a store from its layout to whether its actions lead to its states.

Each check is a file of its own; here they are put in order, and what one has found unusable the next does not see.
"""

import os
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float
from rich.progress import Progress

from diffpolicy_demos.doctor import pusht as pusht_findings
from diffpolicy_demos.doctor.findings import Diagnosis, Finding, in_order
from diffpolicy_demos.doctor.patient import Patient, open_patient
from diffpolicy_demos.doctor.pictures import Painter, check_pictures, state_painter
from diffpolicy_demos.doctor.record import IDLE_STEPS, RecordChecks, check_values
from diffpolicy_demos.doctor.replay import ReplayChecks
from diffpolicy_demos.errors import StoreError
from diffpolicy_demos.replay import EpisodeDrift, moving_actions, playable, scale_of

_MOVING = 0.01  # of the range, in one step


@dataclass
class _Examination:
    """What has been found so far."""

    findings: list[Finding]
    checked: list[str] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)
    drifts: list[EpisodeDrift] = field(default_factory=list)


def diagnose(
    path_or_name: str | os.PathLike[str],
    progress: Progress | None = None,
    *,
    pictures: bool = True,
    idle_steps: int = IDLE_STEPS,
) -> Diagnosis:
    """Examines a store. Nothing in it is changed.

    Args:
        path_or_name: As for `open_store`; also a store that `open_store` refuses.
        progress: Where to show how far the examination is.
        pictures: Whether to look at pictures, which takes most of the time.
        idle_steps: Steps without any motion that are worth a finding, at least 1.

    Raises:
        StoreError: There is no zarr group at all, or `idle_steps` is below 1.
    """
    if idle_steps < 1:
        raise StoreError(f"idle steps: found {idle_steps}; expected at least 1")
    progress = progress or Progress(disable=True)
    patient = open_patient(path_or_name)
    pusht = pusht_findings.is_pusht(patient.attrs, patient.arrays)
    seen = _Examination(list(patient.findings), ["layout", "episode ends"])
    if patient.spans:
        usable = _examine_numbers(patient, seen, pusht, idle_steps, progress)
        if pusht:
            _examine_pusht(patient, seen, usable, progress)
        else:
            seen.not_checked.append("what the world allows: only Push-T is known (state of 5 numbers, action of 2)")
        _examine_pictures(patient, seen, usable, pusht, pictures, progress)
    world = "Push-T" if pusht else ""
    return Diagnosis(
        patient.path,
        world,
        patient.lengths,
        tuple(seen.checked),
        tuple(seen.not_checked),
        in_order(seen.findings),
        tuple(seen.drifts),
    )


def _examine_numbers(
    patient: Patient, seen: _Examination, pusht: bool, idle_steps: int, progress: Progress
) -> list[int]:
    """Checks that need no knowledge of the world; returns the episodes whose numbers can be used."""
    found, damaged = check_values(patient, progress, declared=not pusht)
    seen.findings += found
    usable = [index for index in patient.spans if index not in damaged]
    # Of these the world itself tells what is a jump.
    judged_by_world = ("action", "executed_action", "state", "agent_pos", "keypoints") if pusht else ()
    seen.findings += RecordChecks(patient, usable, idle_steps, judged_by_world).findings()
    seen.checked += ["damaged and missing chunks", "NaN and infinity", "lengths", "jumps", "idle stretches", "copies"]
    return usable


def _examine_pusht(patient: Patient, seen: _Examination, usable: list[int], progress: Progress) -> None:
    replays = ReplayChecks()
    for index in progress.track(usable, description="replaying"):
        parts = pusht_findings.pusht_parts(patient, index)
        seen.findings += pusht_findings.check_ranges(index, parts)
        seen.findings += [*pusht_findings.check_parts(index, parts), *pusht_findings.check_course(index, parts)]
        if not playable(parts):
            continue
        states = parts["state"].astype(np.float64)
        found, drift = replays.findings(index, states, moving_actions(parts), scale_of(parts))
        seen.findings += found
        seen.drifts += [drift] if drift is not None else []
    seen.checked += ["ranges", "keypoints against states", "success and contact", "replay, one step and open loop"]


def _examine_pictures(
    patient: Patient, seen: _Examination, usable: list[int], pusht: bool, pictures: bool, progress: Progress
) -> None:
    keys = patient.pictures()
    if not keys:
        return
    if not pictures:
        seen.not_checked.append("pictures: left out as asked")
        return
    moving = _moving(patient, usable)
    painter = _painter(patient, usable) if pusht else None
    for key in keys:
        # A camera of another view is no business of the environment's.
        seen.findings += check_pictures(patient, key, moving, painter if key == "pixels" else None, progress)
    seen.checked.append("pictures against states" if pusht and "pixels" in keys else "pictures")


def _moving(patient: Patient, usable: list[int]) -> Bool[np.ndarray, " steps"]:
    """Whether the robot moved much since the step before, for every step of the store."""
    moving = np.zeros(patient.n_steps, dtype=bool)
    key = "state" if "state" in patient.arrays else "action"
    rows = {index: patient.read(key, index).reshape(patient.lengths[index], -1).astype(np.float64) for index in usable}
    if not rows:
        return moving
    every = np.concatenate(list(rows.values()))
    span = np.maximum(every.max(axis=0) - every.min(axis=0), 1e-12)
    for index, values in rows.items():
        start, stop = patient.spans[index]
        moving[start + 1 : stop] = (np.abs(np.diff(values, axis=0)) > _MOVING * span).any(axis=1)
    return moving


def _painter(patient: Patient, usable: list[int]) -> Painter:
    states: Float[np.ndarray, "steps 5"] = np.full((patient.n_steps, 5), np.nan)
    goals, scales = np.tile(pusht_findings.GOAL_POSE, (patient.n_steps, 1)), np.ones(patient.n_steps)
    for index in usable:
        parts, (start, stop) = pusht_findings.pusht_parts(patient, index), patient.spans[index]
        states[start:stop] = parts["state"]
        goals[start:stop], scales[start:stop] = pusht_findings.goal_of(parts), scale_of(parts)
    return state_painter(states, goals, scales)
