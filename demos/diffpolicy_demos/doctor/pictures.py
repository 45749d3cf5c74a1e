"""Do recorded pictures show what was there? Read chunk by chunk, since all of them together fill gigabytes.

For any robot: a range of 0 to 255, no blank pictures, none that stand still while the robot moves. For Push-T each
picture is also compared with the one that the environment draws of the recorded state.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from diffpolicy_envs.pusht.pixels import PixelPainter
from jaxtyping import Bool, Float, Int, Shaped, UInt8
from rich.progress import Progress

from diffpolicy_demos.doctor.findings import Finding, Severity, stretches_of
from diffpolicy_demos.doctor.patient import Patient
from diffpolicy_demos.doctor.record import unreadable_findings

#: Draws the picture of a step of the store, of a given height and width.
Painter = Callable[[int, tuple[int, int]], UInt8[np.ndarray, "height width 3"]]

# Calibrated on the public human record at 96 x 96: against its own state no picture has more than 5 pixels that differ
# by so much (contact points aside), and with the block shifted by 4 px of 512 none has fewer than 24.
_DIFFERS, _MOST_PIXELS, _CALIBRATED_PX = 48, 14, 96
_RED = 25  # contact points are drawn in red, which nothing else is
_FROZEN_STEPS = 10
_MOST = 0.5
_FLAGS = ("unreadable", "bad_range", "fractions", "blank", "repeated")


@dataclass
class _Seen:
    """What was seen of each step's picture."""

    unreadable: Bool[np.ndarray, " steps"]
    bad_range: Bool[np.ndarray, " steps"]
    fractions: Bool[np.ndarray, " steps"]
    blank: Bool[np.ndarray, " steps"]
    repeated: Bool[np.ndarray, " steps"]  # equal to the one before
    differing: Int[np.ndarray, " steps"]  # pixels unlike the drawn ones; -1 where none was drawn
    shift: Int[np.ndarray, " steps"]  # the neighbouring step whose state a wrong picture shows: -1, 1, or 0 for none


def check_pictures(
    patient: Patient, key: str, moving: Bool[np.ndarray, " steps"], painter: Painter | None, progress: Progress
) -> list[Finding]:
    """Checks one array of pictures.

    Args:
        patient: The store.
        key: The array.
        moving: Whether the robot moved since the step before, for every step of the store.
        painter: Draws what a step's picture should be; None where that is not known.
        progress: Where to show how far the reading is.
    """
    steps = patient.n_steps
    flags = {name: np.zeros(steps, dtype=bool) for name in _FLAGS}
    seen = _Seen(**flags, differing=np.full(steps, -1, dtype=np.int64), shift=np.zeros(steps, dtype=np.int64))
    task, last = progress.add_task(f"looking at {key}", total=steps), None
    for start, stop, values in patient.chunks(key):
        if values is None:
            seen.unreadable[start:stop], last = True, None
        else:
            last = _look(seen, start, values, last, patient, painter)
        progress.advance(task, stop - start)
    return [*unreadable_findings(patient, key, seen.unreadable), *_told(patient, key, seen, moving)]


def as_bytes(values: Shaped[np.ndarray, "steps height width 3"]) -> tuple[UInt8[np.ndarray, "..."], bool]:
    """Pictures as uint8, and whether they were scaled to 0..1; what is outside 0 to 255 is clipped."""
    if values.dtype == np.uint8:
        return values, False
    low, high = values.min(), values.max()
    scaled = scaled_to_one(values)
    if not (low >= 0 and high <= 255):  # NaN is not either
        values = np.clip(np.nan_to_num(values), 0, 255)
    return np.rint(255 * values if scaled else values).astype(np.uint8), scaled


def scaled_to_one(values: Shaped[np.ndarray, "steps height width 3"]) -> bool:
    """Whether pictures look scaled to 0..1: none brighter than 1, and not all of them whole numbers."""
    return bool(values.dtype.kind == "f" and 0 < values.max() <= 1 and (values != np.rint(values)).any())


def _look(
    seen: _Seen,
    start: int,
    values: Shaped[np.ndarray, "steps height width 3"],
    last: UInt8[np.ndarray, "height width 3"] | None,
    patient: Patient,
    painter: Painter | None,
) -> UInt8[np.ndarray, "height width 3"]:
    """Takes note of a chunk of pictures; returns its last."""
    stop = start + len(values)
    flat = values.reshape(len(values), -1)
    low, high = flat.min(axis=1), flat.max(axis=1)
    seen.bad_range[start:stop] = ~((low >= 0) & (high <= 255))  # so written that NaN is out of range
    pictures, scaled = as_bytes(values)
    seen.fractions[start:stop] = scaled
    seen.blank[start:stop] = low == high
    before = pictures[:1] if last is None else last[None]
    same = (pictures == np.concatenate([before, pictures[:-1]])).all(axis=(1, 2, 3))
    seen.repeated[start:stop] = same
    seen.repeated[start] &= last is not None
    if painter is not None:
        for offset, picture in enumerate(pictures):
            _compare(seen, start + offset, picture, patient, painter)
    return pictures[-1]


def _compare(
    seen: _Seen, step: int, picture: UInt8[np.ndarray, "height width 3"], patient: Patient, painter: Painter
) -> None:
    height, width = picture.shape[:2]
    found = differing_pixels(picture, painter(step, (height, width)))
    seen.differing[step] = found
    if found > most_differing(height, width):
        for shift in (-1, 1):
            if 0 <= step + shift < patient.n_steps:
                other = differing_pixels(picture, painter(step + shift, (height, width)))
                if other <= most_differing(height, width):
                    seen.shift[step] = shift


def differing_pixels(recorded: UInt8[np.ndarray, "height width 3"], drawn: UInt8[np.ndarray, "height width 3"]) -> int:
    """How many pixels of two pictures differ clearly; red ones of the recorded, where bodies touch, do not count."""
    off = cv2.absdiff(recorded, drawn)
    if off.max() <= _DIFFERS:
        return 0
    red, green, blue = cv2.split(recorded)
    contact = cv2.subtract(red, cv2.max(green, blue)) > _RED
    return int(((off > _DIFFERS).any(axis=-1) & ~contact).sum())


def most_differing(height: int, width: int) -> float:
    """As many pixels of a right picture may differ: edges grow with the side of the picture, not with its area."""
    return _MOST_PIXELS * (height * width) ** 0.5 / _CALIBRATED_PX


def _told(patient: Patient, key: str, seen: _Seen, moving: Bool[np.ndarray, " steps"]) -> Iterator[Finding]:
    for steps, kind, what in (
        (seen.bad_range, "picture_range", "outside 0 to 255"),
        (seen.fractions & ~seen.bad_range, "picture_range", "look scaled to 0..1"),
        (seen.blank, "blank", "of one colour"),
    ):
        severity: Severity = "warning" if kind == "blank" else "error"
        for index, found in patient.by_episode(np.flatnonzero(steps)).items():
            text = f"{key}: {len(found)} of {patient.lengths[index]} pictures {what}"
            yield Finding(kind, severity, text, (index,), stretches_of(found), float(len(found)))
    yield from _frozen(patient, key, seen, moving)
    yield from _wrong(patient, key, seen)


def _frozen(patient: Patient, key: str, seen: _Seen, moving: Bool[np.ndarray, " steps"]) -> Iterator[Finding]:
    for index, found in patient.by_episode(np.flatnonzero(seen.repeated & moving & ~seen.blank)).items():
        stretches = tuple(
            (first, last) for first, last in stretches_of(found[found > 0]) if last - first + 1 >= _FROZEN_STEPS
        )
        if stretches:
            count = sum(last - first + 1 for first, last in stretches)
            text = f"{key}: {count} pictures equal the one before, although the robot moves"
            yield Finding("frozen", "warning", text, (index,), stretches, float(count))


def _wrong(patient: Patient, key: str, seen: _Seen) -> Iterator[Finding]:
    compared = (seen.differing >= 0) & ~seen.blank
    if not compared.any():
        return
    height, width = patient.arrays[key].shape[1:3]
    limit = most_differing(height, width)
    wrong = compared & (seen.differing > limit)
    unexplained = wrong & (seen.shift == 0)
    if unexplained.sum() > _MOST * compared.sum():
        text = f"{key}: in {unexplained.sum() / compared.sum():.0%} of the pictures more than {limit:.0f} pixels differ"
        text += f" from the environment's (median {np.median(seen.differing[compared]):.0f}); they were not compared"
        yield Finding("another_look", "warning", text)
        return
    for index, found in patient.by_episode(np.flatnonzero(wrong)).items():
        shifts = seen.shift[found + patient.spans[index][0]]
        counts = {shift: int((shifts == shift).sum()) for shift in (-1, 1)}
        shift = max(counts, key=counts.__getitem__)
        if len(found) > 3 and counts[shift] > _MOST * len(found):
            text = f"{key}: {counts[shift]} pictures show the {'next' if shift > 0 else 'previous'} step"
            yield Finding("pictures_late", "error", text, (index,), stretches_of(found), float(shift))
            continue
        worst = int(seen.differing[found + patient.spans[index][0]].max())
        text = f"{key}: {len(found)} picture{'s' if len(found) > 1 else ''}, up to {worst} of {height * width} pixels"
        yield Finding("pictures", "error", text, (index,), stretches_of(found), float(worst))


def state_painter(
    states: Float[np.ndarray, "steps 5"],
    goals: Float[np.ndarray, "steps 3"],
    scales: Float[np.ndarray, " steps"],
) -> Painter:
    """A painter of Push-T as its environment shows it.

    Args:
        states: The state of every step of the store; one that is not finite is drawn as nothing but the table.
        goals: The goal pose of every step.
        scales: The block's scale at every step.
    """
    painters: dict[tuple[float, ...], PixelPainter] = {}

    def paint(step: int, size_px: tuple[int, int]) -> UInt8[np.ndarray, "height width 3"]:
        task = (*goals[step].tolist(), float(scales[step]), *size_px)
        if task not in painters:
            painters.clear()  # goals change from episode to episode and never come back
            painters[task] = PixelPainter(size_px, goals[step], float(scales[step]))
        state = states[step] if np.isfinite(states[step]).all() else np.array([-999.0, -999.0, -999.0, -999.0, 0.0])
        return painters[task].paint(*state.tolist())

    return paint
