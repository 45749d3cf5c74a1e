"""The doctor's vocabulary: what can be wrong with a record, how bad it is, and what to do about it.

Checks only say what they found; titles, units and advice stand here once, for the terminal, JSON, the page and repairs.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from diffpolicy_demos.replay import EpisodeDrift

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)


@dataclass(frozen=True)
class Kind:
    """One sort of finding.

    Attributes:
        title: What is wrong, in a few words.
        advice: What to do.
        unit: Of a finding's `amount`.
    """

    title: str
    advice: str
    unit: str = ""


_LEAVE_OUT = "leave the episode out, or let --fix do so"
_CUT = "cut the episode there, or let --fix do so"

KINDS: dict[str, Kind] = {
    "layout": Kind("the layout is broken", "write the store again; --fix salvages the episodes that are whole"),
    "unreadable": Kind(
        "stored data are damaged or missing", f"restore the files from a copy; else {_LEAVE_OUT}", "steps"
    ),
    "info": Kind("what is known beside the steps is damaged", "the steps can be used; restore meta/ from a copy"),
    "nonfinite": Kind("NaN or infinity", f"{_LEAVE_OUT}: no value can be put in its place", "values"),
    "range": Kind("numbers outside the range that the store declares", "check units and calibration", "values"),
    "outside": Kind("positions outside the world", f"{_LEAVE_OUT}; check the units (px)", "px"),
    "angle_range": Kind("angles outside [0, 2 pi)", "wrap them, or let --fix do so", "rad"),
    "action_range": Kind("actions outside [0, 512]", "clip them as the environment does, or let --fix do so", "px"),
    "gap": Kind(
        "states that do not follow from those before", f"steps are missing or two records were joined: {_CUT}", "px"
    ),
    "bad_frame": Kind(
        "single states that belong elsewhere", f"the record goes on as if they were not there: {_CUT}", "px"
    ),
    "wrong_action": Kind("actions that are not what moved the agent", f"{_CUT}", "px"),
    "other_world": Kind(
        "actions do not lead to the states",
        "check the order of the two, the rate and the units; no policy can learn from these: " + _LEAVE_OUT,
        "% of the steps",
    ),
    "drift": Kind(
        "open-loop replay strays from the record", "good to train on; start replays from states of the record", "px"
    ),
    "keypoints": Kind(
        "keypoints that do not match their state", "compute them from the states, or let --fix do so", "px"
    ),
    "agent_pos": Kind(
        "agent_pos that does not match its state", "compute it from the states, or let --fix do so", "px"
    ),
    "pictures": Kind(
        "pictures that do not show their state", f"{_CUT}; check that both were recorded at once", "pixels"
    ),
    "pictures_late": Kind(
        "pictures that show a neighbouring step", "shift the pictures by that step and write the store again", "steps"
    ),
    "another_look": Kind(
        "pictures are drawn in another way",
        "train and evaluate with pictures of one look: these are not the environment's",
    ),
    "picture_range": Kind("pictures not in 0 to 255", "store them as uint8, 0 to 255, or let --fix do so"),
    "blank": Kind(
        "pictures of one colour", "check the camera; train without pictures or leave the episodes out", "steps"
    ),
    "frozen": Kind("pictures stand still while the robot moves", "check the camera; leave the episodes out", "steps"),
    "duplicate": Kind(
        "episodes recorded twice", "keep one of each: copies in training and validation flatter the result"
    ),
    "near_duplicate": Kind("episodes that are almost the same", "keep both only if that was meant"),
    "action_jump": Kind(
        "actions that jump", "no hand does this: look at the steps; a limit on speed in recording helps"
    ),
    "jump": Kind(
        "values that jump", "look at the steps: a dropped message or two records joined look like this", "times"
    ),
    "idle": Kind(
        "nothing moves",
        "a policy learns to wait there: leave it out (--fix --trim-idle cuts beginnings and ends)",
        "steps",
    ),
    "short": Kind("very short episodes", "probably stray recordings: leave them out", "steps"),
    "untouched": Kind("the block is never moved", "leave the episodes out: they show nothing of the task", "px"),
    "after_success": Kind("the record goes on after success", "cut there if the policy should stop", "steps"),
    "constant": Kind(
        "numbers that never change", "fine for a policy, but it learns nothing of them: is a sensor unplugged?"
    ),
}


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Attributes:
        kind: Key of `KINDS`.
        severity: "error": unfit to train on as it is; "warning": look at it; "note": good to know.
        found: What was found, in numbers.
        episodes: Which episodes; none where it concerns the whole store. Two for copies: the first, then its copy.
        steps: First and last step of each stretch, counted in the last of the episodes; none where all are meant.
        amount: How much, in the kind's unit; to compare findings of one kind.
    """

    kind: str
    severity: Severity
    found: str
    episodes: tuple[int, ...] = ()
    steps: tuple[tuple[int, int], ...] = ()
    amount: int | float | None = None

    @property
    def advice(self) -> str:
        """What to do about it."""
        return KINDS[self.kind].advice

    def as_json(self) -> dict[str, Any]:
        """The finding as plain data."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "episodes": list(self.episodes),
            "steps": [list(stretch) for stretch in self.steps],
            "found": self.found,
            "amount": self.amount,
            "unit": KINDS[self.kind].unit,
            "advice": self.advice,
        }


@dataclass(frozen=True)
class Diagnosis:
    """Everything that the doctor found in one store.

    Attributes:
        path: Where the store is.
        world: The environment whose checks were made; empty where only the general ones were.
        lengths: Steps by episode; only of those whose ends make sense.
        checked: What was checked.
        not_checked: What was not, and why.
        findings: What was found, errors first.
        drifts: How each episode replays, where the world is known.
    """

    path: str
    world: str
    lengths: dict[int, int]
    checked: tuple[str, ...]
    not_checked: tuple[str, ...]
    findings: tuple[Finding, ...]
    drifts: tuple[EpisodeDrift, ...] = field(default=())

    @property
    def sound(self) -> bool:
        """Whether nothing is an error."""
        return not self.of("error")

    def of(self, severity: Severity) -> tuple[Finding, ...]:
        """The findings of one severity."""
        return tuple(finding for finding in self.findings if finding.severity == severity)

    def as_json(self) -> dict[str, Any]:
        """The diagnosis as plain data."""
        return {
            "path": self.path,
            "world": self.world or None,
            "episodes": len(self.lengths),
            "steps": sum(self.lengths.values()),
            "sound": self.sound,
            "counts": {severity: len(self.of(severity)) for severity in SEVERITIES},
            "checked": list(self.checked),
            "not_checked": list(self.not_checked),
            "findings": [finding.as_json() for finding in self.findings],
            "drift": [
                {
                    "episode": drift.episode,
                    "steps": drift.steps,
                    "open_loop_px": drift.drift_px,
                    "open_loop_at": drift.worst_step,
                    "open_loop_rad": drift.drift_rad,
                    "one_step_px": drift.one_step_px,
                    "one_step_at": drift.one_step_at,
                }
                for drift in self.drifts
            ],
        }


def stretches_of(steps: Iterable[int] | np.ndarray) -> tuple[tuple[int, int], ...]:
    """Joins neighbouring steps: (3, 4, 5, 9) becomes ((3, 5), (9, 9)).

    Args:
        steps: Step numbers in any order.
    """
    ordered = sorted({int(step) for step in steps})
    found: list[tuple[int, int]] = []
    for step in ordered:
        if found and step == found[-1][1] + 1:
            found[-1] = (found[-1][0], step)
        else:
            found.append((step, step))
    return tuple(found)


def steps_text(steps: tuple[tuple[int, int], ...], shown: int = 4) -> str:
    """Stretches of steps in words: "3-5, 9"; those that do not fit are counted."""
    words = [str(first) if first == last else f"{first}-{last}" for first, last in steps[:shown]]
    return ", ".join(words) + (f" and {len(steps) - shown} more" if len(steps) > shown else "")


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Errors first, then by kind as `KINDS` lists them, then by episode."""
    kinds = list(KINDS)
    return tuple(
        sorted(findings, key=lambda one: (SEVERITIES.index(one.severity), kinds.index(one.kind), one.episodes))
    )
