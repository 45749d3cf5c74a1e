"""Does each recorded state follow from the one before, by the recorded action? Finds joints, strays and wrong actions.

One step of the physics is played from every recorded state. In an honest record of Push-T it lands within a pixel of the
next state (the engine's memory of contacts is all that a state does not hold), so anything else is told apart from it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from diffpolicy_demos.doctor.findings import Finding, Severity, stretches_of
from diffpolicy_demos.replay import (
    ACTION_HIGH_PX,
    COASTS_S,
    KEEPS,
    Actions,
    EpisodeDrift,
    Player,
    States,
    Velocity,
    agent_velocities,
    differences,
    starting_velocity,
)

# One step from a recorded state lands this close. In the public human record the block is 1.0 px and 0.011 rad off at
# worst, and the agent, which nothing pushes, 3e-5 px; a recorder may have rounded to whole px.
_AGENT_FOLLOWS_PX, _BLOCK_FOLLOWS_PX, _BLOCK_FOLLOWS_RAD = 1.0, 5.0, 0.1
#: Open loop, an episode that stays this close replays.
REPLAYS_PX = 1e-3

_STRAYS_PX = 1.0
_OTHER_WORLD_SHARE = 0.2
_SHIFT_AGREES_PX = 0.5


@dataclass
class _Course:
    """Where an episode's states do not follow: step -> how far off, px."""

    gaps: dict[int, float] = field(default_factory=dict)
    strays: dict[int, float] = field(default_factory=dict)
    wrong_actions: dict[int, float] = field(default_factory=dict)


class ReplayChecks:
    """Replays episodes and tells what does not follow."""

    def __init__(self) -> None:
        self._player = Player()

    def findings(
        self, index: int, states: States, actions: Actions, scale: float
    ) -> tuple[list[Finding], EpisodeDrift | None]:
        """Examines one episode.

        Args:
            index: The episode.
            states: Its states, finite and within the observation space.
            actions: Its actions.
            scale: Size of the block.

        Returns:
            Findings, and how the episode replays; None where its steps do not follow from each other at all.
        """
        self._player.scale = scale
        course = self._walk(states, actions)
        broken = len(course.gaps) + len(course.strays) + len(course.wrong_actions)
        if broken > max(3, _OTHER_WORLD_SHARE * (len(states) - 1)):
            share = 100 * broken / (len(states) - 1)
            text = f"{share:.0f}% of the steps do not follow from the one before{_shift_text(states, actions)}"
            return [Finding("other_world", "error", text, (index,), amount=share)], None
        found = [
            *_told(index, "gap", course.gaps, "away from where the step before leads"),
            *_told(index, "bad_frame", course.strays, "away from where the steps before and after agree"),
            *_told(index, "wrong_action", course.wrong_actions, "away from the target that explains the next states"),
        ]
        drift = self._player.drift(index, states, actions)
        if drift.drift_px > REPLAYS_PX and not found:
            text = f"{drift.drift_px:.3g} px at step {drift.worst_step}, {drift.drift_rad:.2g} rad"
            severity: Severity = "note" if drift.drift_px <= _STRAYS_PX else "warning"
            found.append(Finding("drift", severity, text, (index,), amount=drift.drift_px))
        return found, drift

    def _walk(self, states: States, actions: Actions) -> _Course:
        """Plays each step from the record, and where it does not arrive finds out why."""
        course = _Course()
        trusted, velocity = states.copy(), starting_velocity(states, actions)
        for step in range(len(states) - 1):
            played, after = self._player.step(trusted[step], velocity, actions[step])
            off = _off(states[step + 1], played)
            if off <= 1:
                velocity = after
                continue
            off_px = float(differences(states[step + 1], played)[0])
            if self._leads_on(played, after, states, actions, step + 1):
                course.strays[step + 1], trusted[step + 1], velocity = off_px, played, after
            elif (explained := self._explained(trusted[step], velocity, states, actions, step)) is not None:
                target, velocity = explained
                course.wrong_actions[step] = float(np.abs(target - actions[step]).max())
            else:
                course.gaps[step + 1] = off_px
                velocity = starting_velocity(states[step + 1 :], actions[step + 1 :])
        return course

    def _leads_on(
        self, state: Float[np.ndarray, "5"], velocity: Velocity, states: States, actions: Actions, step: int
    ) -> bool:
        """Whether the record goes on from a state as if that had been its state at a step."""
        if step + 1 >= len(states):
            return False
        return _off(states[step + 1], self._player.step(state, velocity, actions[step])[0]) <= 1

    def _explained(
        self, state: Float[np.ndarray, "5"], velocity: Velocity, states: States, actions: Actions, step: int
    ) -> tuple[Float[np.ndarray, "2"], Velocity] | None:
        """The target, and the velocity after it, that would have led to the next state and on; None if none does."""
        target = (states[step + 1, :2] - KEEPS * state[:2] - COASTS_S * np.array(velocity)) / (1 - KEEPS)
        if target.min() < -1 or target.max() > ACTION_HIGH_PX + 1:
            return None
        played, after = self._player.step(state, velocity, target)
        if _off(states[step + 1], played) > 1:
            return None
        follows = step + 2 >= len(states) or self._leads_on(states[step + 1], after, states, actions, step + 1)
        return (target, after) if follows else None


def _off(recorded: Float[np.ndarray, "5"], played: Float[np.ndarray, "5"]) -> float:
    """How far apart two states are, in units of what an honest record allows."""
    agent_px, block_px = np.abs(recorded[:4] - played[:4]).reshape(2, 2).max(axis=1).tolist()
    _, off_rad = differences(recorded, played)
    return max(agent_px / _AGENT_FOLLOWS_PX, block_px / _BLOCK_FOLLOWS_PX, float(off_rad) / _BLOCK_FOLLOWS_RAD)


def _told(index: int, kind: str, steps: dict[int, float], what: str) -> Iterator[Finding]:
    if steps:
        worst = max(steps.values())
        yield Finding(kind, "error", f"up to {worst:.3g} px {what}", (index,), stretches_of(steps), worst)


def _shift_text(states: States, actions: Actions) -> str:
    """Says so where the actions fit if they are taken one step earlier or later: a slip of whoever recorded them."""
    for shift, advice in ((1, "one step late: action t led to state t"), (-1, "one step early")):
        moved = np.roll(actions, -shift, axis=0)
        velocities = agent_velocities(states, moved)
        behind = states[:, :2] - moved
        off = np.abs(moved + KEEPS * behind + COASTS_S * velocities - np.roll(states[:, :2], -1, axis=0)).max(axis=1)
        if len(off) > 4 and np.median(off[2:-2]) < _SHIFT_AGREES_PX:  # the ends are rolled round
            return f"; they fit if the actions are recorded {advice}"
    return ""
