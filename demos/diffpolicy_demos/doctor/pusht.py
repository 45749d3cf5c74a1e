"""What can be wrong with a record of Push-T: numbers outside its world, parts that contradict each other, odd endings.

The world is known exactly, so most of this is a calculation and not an opinion.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import zarr
from diffpolicy_envs import PUSHT_ID
from diffpolicy_envs.pusht import (
    GOAL_POSE,
    KEYPOINT_SETS,
    SUCCESS_COVERAGE,
    WORKSPACE_PX,
    coverage,
    transform_points,
)
from jaxtyping import Float

from diffpolicy_demos.doctor.findings import Finding, stretches_of
from diffpolicy_demos.doctor.patient import Patient
from diffpolicy_demos.replay import HIGH_PX, HIGH_SCALE, LOW_PX, LOW_SCALE, States, scale_of
from diffpolicy_demos.schema import ENV_ATTR, ENV_KWARGS_ATTR

#: What a hand with a mouse does not do in 0.1 s; the fastest of the public human record is 136 px.
JUMP_PX = 200.0
#: Within this the keypoints are the state's, whatever the rounding; the public record is off by less in most frames.
KEYPOINTS_AGREE_PX = 0.1

_KEYPOINTS_WARN_PX, _KEYPOINTS_WRONG_PX = 1.0, 5.0
_ROUNDING_RAD = 1e-6  # 2 pi itself, in float32, is a little more
_SETTLED_STEPS = 10  # people let go a moment after success
_UNTOUCHED_PX, _UNTOUCHED_RAD = 1.0, 0.01

Parts = Mapping[str, np.ndarray]


def is_pusht(attrs: Mapping[str, Any], arrays: Mapping[str, zarr.Array]) -> bool:
    """Whether a store is a record of Push-T: it says so, or says nothing and has the shapes of the published one."""
    shapes = {key: array.shape[1:] for key, array in arrays.items()}
    if shapes.get("state") != (5,) or shapes.get("action") != (2,):
        return False
    return str(attrs.get(ENV_ATTR, PUSHT_ID)).rpartition(":")[2] == PUSHT_ID


def pusht_parts(patient: Patient, index: int) -> dict[str, np.ndarray]:
    """One episode's numbers, with the goal and the scale that it had, wherever the store says so.

    They are arrays where observations showed them; else the episode's information or the environment's arguments may
    name them.

    Raises:
        StoreError: Some of the numbers cannot be read.
    """
    parts = patient.parts(index)
    kwargs = patient.attrs.get(ENV_KWARGS_ATTR)
    fixed = kwargs.get("variations") if isinstance(kwargs, Mapping) else None
    for name, width in (("goal_pose", 3), ("scale", 1)):
        for source in (patient.infos.get(index), fixed):
            value = _numbers(source.get(name), width) if isinstance(source, Mapping) else None
            if value is not None and name not in parts:
                parts[name] = np.tile(value, (patient.lengths[index], 1))
    return parts


def _numbers(value: object, count: int) -> Float[np.ndarray, " count"] | None:
    """So many finite numbers, or None for anything else, such as "random"."""
    try:
        numbers = np.asarray(value, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count and np.isfinite(numbers).all() else None


def goal_of(parts: Parts) -> Float[np.ndarray, "3"]:
    """The goal pose of an episode, from the array `goal_pose` where the store has one."""
    return np.asarray(parts["goal_pose"][0], dtype=np.float64) if "goal_pose" in parts else GOAL_POSE


def expected_keypoints(parts: Parts) -> Float[np.ndarray, "steps points 2"] | None:
    """The keypoints that an episode's states ask for; None for a set of points that is not known.

    Args:
        parts: An episode's arrays, `state` and `keypoints` among them.
    """
    for points in KEYPOINT_SETS.values():
        if parts["keypoints"].shape[1:] == points.shape:
            pose = np.asarray(parts["state"], dtype=np.float64)[:, 2:]
            return transform_points(scale_of(parts) * points, pose)
    return None


def check_ranges(index: int, parts: Parts) -> Iterator[Finding]:
    """Positions within the observation space, angles in [0, 2 pi), actions in the action space; no great leaps."""
    states, actions = (np.asarray(parts[key], dtype=np.float64) for key in ("state", "action"))
    beyond = np.maximum(LOW_PX - states[:, :4], states[:, :4] - HIGH_PX).max(axis=1)
    if (beyond > 0).any():
        text = f"state: up to {beyond.max():.3g} px outside [{LOW_PX:g}, {HIGH_PX:g}]"
        yield _of(index, "outside", "error", text, beyond > 0, float(beyond.max()))
    scale = scale_of(parts)
    if not LOW_SCALE <= scale <= HIGH_SCALE:
        text = f"scale: {scale:g}; the environment has {LOW_SCALE:g} to {HIGH_SCALE:g}"
        yield Finding("outside", "error", text, (index,))
    turned = np.maximum(-states[:, 4], states[:, 4] - 2 * np.pi)
    if (turned > _ROUNDING_RAD).any():
        text = f"state: angles from {states[:, 4].min():.4g} to {states[:, 4].max():.4g}"
        yield _of(index, "angle_range", "error", text, turned > _ROUNDING_RAD, float(turned.max()))
    beyond = np.maximum(-actions, actions - WORKSPACE_PX).max(axis=1)
    if (beyond > 0).any():
        text = f"action: up to {beyond.max():.3g} px outside [0, {WORKSPACE_PX}]"
        yield _of(index, "action_range", "error", text, beyond > 0, float(beyond.max()))
    leaps = np.hypot(*np.diff(np.clip(actions, 0, WORKSPACE_PX), axis=0).T)
    if (leaps > JUMP_PX).any():
        text = f"action: {leaps.max():.0f} px in one step at step {int(leaps.argmax()) + 1}"
        yield _of(index, "action_jump", "warning", text, np.append(False, leaps > JUMP_PX), float(leaps.max()))


def check_parts(index: int, parts: Parts) -> Iterator[Finding]:
    """Keypoints and a stored agent position that say the same as the state."""
    expected = expected_keypoints(parts) if "keypoints" in parts else None
    if expected is not None:
        off = np.abs(np.asarray(parts["keypoints"], dtype=np.float64) - expected).max(axis=(1, 2))
        grades = (
            ("error", _KEYPOINTS_WRONG_PX, np.inf),
            ("warning", _KEYPOINTS_WARN_PX, _KEYPOINTS_WRONG_PX),
            ("note", KEYPOINTS_AGREE_PX, _KEYPOINTS_WARN_PX),
        )
        for severity, low, high in grades:
            wrong = (off > low) & (off <= high)
            if wrong.any():
                worst = float(off[wrong].max())
                yield _of(index, "keypoints", severity, f"off by up to {worst:.3g} px", wrong, worst)
    if "agent_pos" in parts:
        off = np.abs(np.asarray(parts["agent_pos"], dtype=np.float64) - parts["state"][:, :2]).max(axis=1)
        if (off > KEYPOINTS_AGREE_PX).any():
            text = f"off by up to {off.max():.3g} px"
            yield _of(index, "agent_pos", "error", text, off > KEYPOINTS_AGREE_PX, float(off.max()))


def check_course(index: int, parts: Parts) -> Iterator[Finding]:
    """An episode that moves the block, and ends where it succeeded."""
    states = np.asarray(parts["state"], dtype=np.float64)
    moved = np.abs(states[:, 2:4] - states[0, 2:4]).max()
    turned = np.abs((states[:, 4] - states[0, 4] + np.pi) % (2 * np.pi) - np.pi).max()
    if moved < _UNTOUCHED_PX and turned < _UNTOUCHED_RAD:
        text = f"it moves {moved:.2g} px in {len(states)} steps"
        yield Finding("untouched", "warning", text, (index,), amount=float(moved))
    covered = coverage_of(parts)
    success = np.flatnonzero(covered > SUCCESS_COVERAGE)
    if len(success) and len(states) - 1 - success[0] > _SETTLED_STEPS:
        beyond = len(states) - 1 - int(success[0])
        text = (
            f"{beyond} steps after coverage {covered[success[0]]:.3f} at step {success[0]}; ends at {covered[-1]:.3f}"
        )
        yield Finding("after_success", "note", text, (index,), ((int(success[0]) + 1, len(states) - 1),), float(beyond))


def coverage_of(parts: Parts) -> Float[np.ndarray, " steps"]:
    """The covered share of the goal at every step of an episode, in [0, 1]."""
    states: States = np.asarray(parts["state"], dtype=np.float64)
    return coverage(states[:, 2:], goal_of(parts), scale_of(parts))


def _of(index: int, kind: str, severity: Any, found: str, where: np.ndarray, amount: float) -> Finding:
    return Finding(kind, severity, found, (index,), stretches_of(np.flatnonzero(where)), amount)
