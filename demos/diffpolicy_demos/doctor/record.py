"""What can be wrong with anybody's record, whatever the robot: values, jumps, waits, copies.

Everything is judged against the record itself, for nothing is known of the world behind it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Shaped
from rich.progress import Progress

from diffpolicy_demos.doctor.findings import Finding, Severity, stretches_of
from diffpolicy_demos.doctor.patient import Patient
from diffpolicy_demos.schema import LAYOUT_ATTR

#: Steps without any motion that count as idle: 1 s of Push-T.
IDLE_STEPS = 10
#: An episode shorter than this shows nothing; a piece of a repaired one is dropped then.
SHORT_STEPS = 10

_STILL = 1e-3  # of the range that a number covers over the whole record
_MOST_NUMBERS = 64  # more numbers a step than this are no joint angles
_JUMP_TIMES, _JUMP_SHARE = 10.0, 0.25
_SAMPLES, _EQUAL, _NEAR = 24, 1e-6, 2e-3


def check_values(patient: Patient, progress: Progress, *, declared: bool) -> tuple[list[Finding], set[int]]:
    """Reads every array of numbers chunk by chunk: can it be read, and is it finite?

    Args:
        patient: The store.
        progress: Where to show how far the reading is.
        declared: Whether to check the ranges that the store declares; a world that is known has its own checks.

    Returns:
        Findings, and the episodes whose numbers cannot be used.
    """
    findings: list[Finding] = []
    damaged: set[int] = set()
    for key in patient.numbers():
        unreadable, nonfinite, outside = _faults(patient, key, progress)
        found = [
            *unreadable_findings(patient, key, unreadable),
            *_findings(patient, nonfinite, "nonfinite", "error", f"{key}: NaN or infinity in {{}} steps"),
        ]
        findings += found
        damaged |= {index for finding in found for index in finding.episodes}
        if declared:
            findings += _findings(patient, outside, "range", "warning", f"{key}: {{}} steps beyond the declared range")
    return findings, damaged


def unreadable_findings(patient: Patient, key: str, unreadable: Bool[np.ndarray, " steps"]) -> Iterator[Finding]:
    """Findings for steps whose chunks are damaged or lost.

    Args:
        patient: The store.
        key: The array.
        unreadable: Which steps of the store cannot be read.
    """
    for index, steps in patient.by_episode(np.flatnonzero(unreadable)).items():
        start = patient.spans[index][0]
        why = patient.why_unreadable(key, start + int(steps[0]), start + int(steps[-1]) + 1)
        text = f"{key}: {len(steps)} of {patient.lengths[index]} steps; {why}"
        yield Finding("unreadable", "error", text, (index,), stretches_of(steps), len(steps))


def _findings(
    patient: Patient, wrong: Bool[np.ndarray, " steps"], kind: str, severity: Severity, text: str
) -> Iterator[Finding]:
    for index, steps in patient.by_episode(np.flatnonzero(wrong)).items():
        yield Finding(kind, severity, text.format(len(steps)), (index,), stretches_of(steps), len(steps))


def _faults(
    patient: Patient, key: str, progress: Progress
) -> tuple[Bool[np.ndarray, " steps"], Bool[np.ndarray, " steps"], Bool[np.ndarray, " steps"]]:
    """Which steps of the store cannot be read, are not finite, and lie beyond the range that the store declares."""
    unreadable, nonfinite, outside = (np.zeros(patient.n_steps, dtype=bool) for _ in range(3))
    low, high = _declared(patient.attrs.get(LAYOUT_ATTR), key, _width(patient.arrays[key].shape))
    task = progress.add_task(f"reading {key}", total=patient.n_steps)
    for start, stop, values in patient.chunks(key):
        if values is None:
            unreadable[start:stop] = True
        else:
            rows = values.reshape(len(values), -1).astype(np.float64)
            nonfinite[start:stop] = ~np.isfinite(rows).all(axis=1)
            outside[start:stop] = ((rows < low) | (rows > high)).any(axis=1)
        progress.advance(task, stop - start)
    return unreadable, nonfinite, outside & ~nonfinite


def _declared(layout: Any, key: str, width: int) -> tuple[Float[np.ndarray, " width"], Float[np.ndarray, " width"]]:
    """Least and greatest value of each number of an array, as far as the store says; infinite where it says nothing."""
    low, high = np.full(width, -np.inf), np.full(width, np.inf)
    described = layout.get(key) if isinstance(layout, Mapping) else None
    ranges = described.get("ranges") if isinstance(described, Mapping) else None
    if not isinstance(ranges, list) or len(ranges) == 0 or width % len(ranges):
        return low, high
    for place, pair in enumerate(ranges):
        if isinstance(pair, list) and len(pair) == 2 and all(isinstance(side, int | float) for side in pair):
            # Rounding to float32 may carry a number past its bound.
            slack = 1e-6 * max(abs(pair[0]), abs(pair[1]))
            low[place :: len(ranges)], high[place :: len(ranges)] = pair[0] - slack, pair[1] + slack
    return low, high


@dataclass(frozen=True)
class _Motion:
    """How the numbers of one array move over the whole record."""

    low: Float[np.ndarray, " numbers"]
    high: Float[np.ndarray, " numbers"]
    usual: Float[np.ndarray, " numbers"]  # 99th percentile of the change in a step


class RecordChecks:
    """Checks for motion over whole episodes.

    Args:
        patient: The store.
        episodes: Those whose numbers can be used.
        idle_steps: Steps without motion that are worth a finding.
        skip_jumps: Keys whose jumps somebody who knows the world judges better.
    """

    def __init__(self, patient: Patient, episodes: list[int], idle_steps: int, skip_jumps: tuple[str, ...]) -> None:
        self._patient, self._episodes, self._idle_steps = patient, episodes, idle_steps
        # Whole numbers are counts and switches: they do jump.
        self._keys = [
            key
            for key in patient.numbers()
            if patient.arrays[key].dtype.kind == "f" and 1 <= _width(patient.arrays[key].shape) <= _MOST_NUMBERS
        ]
        self._jumping = [key for key in self._keys if key not in skip_jumps]
        self._moves = [key for key in ("action", "state", "agent_pos") if key in self._keys] or self._keys
        self._motion = {key: self._measure(key) for key in self._keys}

    def findings(self) -> list[Finding]:
        """All findings."""
        if not self._episodes:
            return []
        found = [*self._constants(), *self._short(), *self._copies()]
        for key in self._jumping:
            found += self._jumps(key)
        for index in self._episodes:
            found += self._idle(index)
        return found

    def _rows(self, key: str, index: int) -> Float[np.ndarray, "steps numbers"]:
        values = self._patient.read(key, index)
        return values.reshape(len(values), -1).astype(np.float64)

    def _measure(self, key: str) -> _Motion:
        width = _width(self._patient.arrays[key].shape)
        low, high, changes = np.full(width, np.inf), np.full(width, -np.inf), []
        for index in self._episodes:
            rows = self._rows(key, index)
            low, high = np.minimum(low, rows.min(axis=0)), np.maximum(high, rows.max(axis=0))
            changes.append(np.abs(np.diff(rows, axis=0)).astype(np.float32))
        every = np.concatenate(changes) if changes else np.zeros((0, width))
        return _Motion(low, high, np.percentile(every, 99, axis=0) if len(every) else np.zeros(width))

    def _constants(self) -> Iterator[Finding]:
        if sum(self._patient.lengths[index] for index in self._episodes) < 2:
            return
        for key in ("action", "state"):
            if key in self._motion:
                same = np.flatnonzero(self._motion[key].low == self._motion[key].high)
                for number in same.tolist():
                    text = f"{key}[{number}] is {self._motion[key].low[number]:g} in every step"
                    yield Finding("constant", "note", text)

    def _short(self) -> Iterator[Finding]:
        for index in self._episodes:
            steps = self._patient.lengths[index]
            if steps < SHORT_STEPS:
                yield Finding("short", "warning", f"{steps} steps", (index,), amount=steps)

    def _jumps(self, key: str) -> Iterator[Finding]:
        """Changes far above the usual, where few episodes have any: a gripper closes in all of them."""
        motion = self._motion[key]
        least = np.maximum(_JUMP_TIMES * motion.usual, _STILL * (motion.high - motion.low))
        jumps: dict[int, dict[int, float]] = {}
        having = np.zeros(len(motion.usual), dtype=np.int64)
        changes = {index: np.abs(np.diff(self._rows(key, index), axis=0)) for index in self._episodes}
        for change in changes.values():
            having += _far(change, least, motion.usual).any(axis=0)
        rare = (having <= max(1, _JUMP_SHARE * len(self._episodes))) & (motion.usual > 0)
        for index, change in changes.items():
            far = _far(change, least, motion.usual) & rare
            for step, number in np.argwhere(far).tolist():
                times = float(change[step, number] / motion.usual[number])
                jumps.setdefault(index, {})[step + 1] = max(times, jumps.get(index, {}).get(step + 1, 0.0))
        for index, steps in jumps.items():
            worst = max(steps, key=steps.__getitem__)
            text = f"{key} changes {steps[worst]:.0f} times as much as in 99% of all steps (step {worst})"
            yield Finding("jump", "warning", text, (index,), stretches_of(steps), steps[worst])

    def _idle(self, index: int) -> Iterator[Finding]:
        steps = self._patient.lengths[index]
        still = np.ones(steps - 1, dtype=bool)
        for key in self._moves:
            span = np.maximum(self._motion[key].high - self._motion[key].low, 1e-12)
            still &= (np.abs(np.diff(self._rows(key, index), axis=0)) <= _STILL * span).all(axis=1)
        found = [(first, last + 1) for first, last in stretches_of(np.flatnonzero(still))]
        found = [(first, last) for first, last in found if last - first >= self._idle_steps]
        if found:
            waits = [last - first for first, last in found]
            where = "the beginning" if found[0][0] == 0 else "the end" if found[-1][1] == steps - 1 else "the middle"
            text = f"{sum(waits)} of {steps} steps; the longest wait is {max(waits)}" + (
                f", at {where}" if len(found) == 1 else ""
            )
            yield Finding("idle", "warning", text, (index,), tuple(found), max(waits))

    def _copies(self) -> Iterator[Finding]:
        """Episodes whose motion, looked at in a few places, is the same."""
        if not self._moves or len(self._episodes) < 2:
            return
        signatures = np.stack([self._signature(index) for index in self._episodes])
        copied: set[int] = set()
        for place, signature in enumerate(signatures):
            if place in copied:
                continue  # its own copies are the first one's
            off = np.abs(signatures[place + 1 :] - signature).max(axis=1)
            for later in (np.flatnonzero(off < _NEAR) + place + 1).tolist():
                if later not in copied:
                    copied.add(later)
                    yield self._copy(self._episodes[place], self._episodes[later], float(off[later - place - 1]))

    def _copy(self, first: int, second: int, off: float) -> Finding:
        lengths = self._patient.lengths[first], self._patient.lengths[second]
        if (
            off < _EQUAL
            and lengths[0] == lengths[1]
            and all(np.array_equal(self._rows(key, first), self._rows(key, second)) for key in self._moves)
        ):
            return Finding("duplicate", "error", f"all {lengths[0]} steps are equal", (first, second))
        text = f"{lengths[0]} and {lengths[1]} steps; at most {off:.2%} of the range apart"
        return Finding("near_duplicate", "warning", text, (first, second), amount=off)

    def _signature(self, index: int) -> Float[np.ndarray, " samples"]:
        """The motion in `_SAMPLES` places, in units of the range, so that episodes of other lengths compare."""
        parts = []
        for key in self._moves:
            rows, motion = self._rows(key, index), self._motion[key]
            places = np.linspace(0, len(rows) - 1, _SAMPLES).round().astype(int)
            parts.append(((rows[places] - motion.low) / np.maximum(motion.high - motion.low, 1e-12)).ravel())
        return np.concatenate(parts)


def _width(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape[1:]))


def _far(
    change: Shaped[np.ndarray, "changes numbers"],
    least: Float[np.ndarray, " numbers"],
    usual: Float[np.ndarray, " numbers"],
) -> Bool[np.ndarray, "changes numbers"]:
    """Changes beyond the least, but for a full turn: an angle that wraps does not jump."""
    turns = np.abs(change - 2 * np.pi) <= np.minimum(usual, 1.0) + 1e-3
    return (change > least) & ~turns
