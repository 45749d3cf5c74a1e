"""Each planted defect of a Push-T record is found, at its episode and step, and nothing else is."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr
from diffpolicy_demos.doctor.examine import diagnose

Episode = dict[str, np.ndarray]
Finding = tuple[str, str, tuple[int, ...], tuple[tuple[int, int], ...]]
Told = Callable[..., set[Finding]]

STEPS = 40


def angle_over_a_turn(episodes: list[Episode]) -> None:
    episodes[2]["state"][4, 4] += 2 * np.pi


def action_beyond_the_table(episodes: list[Episode]) -> None:
    episodes[1]["action"][-1] = [520.0, 300.0]


def action_that_leaps(episodes: list[Episode]) -> None:
    episodes[3]["action"][-1] = [10.0, 500.0]


def steps_missing(episodes: list[Episode]) -> None:
    for key, values in episodes[1].items():
        episodes[1][key] = np.delete(values, slice(10, 15), axis=0)


def state_from_elsewhere(episodes: list[Episode]) -> None:
    episodes[4]["state"][8, :2] += 40


def state_beside_the_world(episodes: list[Episode]) -> None:
    episodes[4]["state"][8, 0] = 900


def action_of_another_step(episodes: list[Episode]) -> None:
    episodes[0]["action"][6] += [60, -50]


def actions_late(episodes: list[Episode]) -> None:
    episodes[2]["action"][1:] = episodes[2]["action"][:-1].copy()


def keypoints_off(episodes: list[Episode]) -> None:
    for step, off in ((3, 0.5), (9, 2.0), (30, 20.0)):
        episodes[5]["keypoints"][step, 4, 1] += off


def episode_twice(episodes: list[Episode]) -> None:
    episodes.append({key: values.copy() for key, values in episodes[6].items()})


def five_steps_only(episodes: list[Episode]) -> None:
    episodes[7] = {key: values[:5] for key, values in episodes[7].items()}


DEFECTS: dict[Callable[[list[Episode]], None], set[Finding]] = {
    angle_over_a_turn: {("angle_range", "error", (2,), ((4, 4),))},
    action_beyond_the_table: {
        ("action_range", "error", (1,), ((39, 39),)),
        ("action_jump", "warning", (1,), ((39, 39),)),
    },
    action_that_leaps: {("action_jump", "warning", (3,), ((39, 39),))},
    steps_missing: {("gap", "error", (1,), ((10, 10),))},
    state_from_elsewhere: {("bad_frame", "error", (4,), ((8, 8),))},
    state_beside_the_world: {("outside", "error", (4,), ((8, 8),))},
    action_of_another_step: {("wrong_action", "error", (0,), ((6, 6),))},
    actions_late: {("other_world", "error", (2,), ())},
    keypoints_off: {
        ("keypoints", "note", (5,), ((3, 3),)),
        ("keypoints", "warning", (5,), ((9, 9),)),
        ("keypoints", "error", (5,), ((30, 30),)),
    },
    episode_twice: {("duplicate", "error", (6, 8), ())},
    five_steps_only: {("short", "warning", (7,), ()), ("untouched", "warning", (7,), ())},
}


@pytest.mark.parametrize("plant", DEFECTS, ids=lambda plant: plant.__name__)
def test_planted_in_numbers(
    plant: Callable[[list[Episode]], None], numbers: list[Episode], write: Callable[..., Path], told: Told
) -> None:
    plant(numbers)
    found = diagnose(write(numbers))
    assert told(found) == DEFECTS[plant]
    assert found.sound == all(severity != "error" for _, severity, _, _ in DEFECTS[plant])


def test_a_clean_store_has_no_findings(clean: list[Episode], write: Callable[..., Path], told: Told) -> None:
    found = diagnose(write(clean))
    assert told(found) == set()
    assert found.sound
    assert [drift.drift_px for drift in found.drifts] == [0.0] * len(clean)
    assert "pictures against states" in found.checked


def test_actions_late_are_said_to_be_late(numbers: list[Episode], write: Callable[..., Path]) -> None:
    actions_late(numbers)
    numbers[3]["action"][:-1] = numbers[3]["action"][1:].copy()
    late, early = diagnose(write(numbers)).of("error")
    assert "fit if the actions are recorded one step late" in late.found
    assert "fit if the actions are recorded one step early" in early.found


def test_values_that_are_no_numbers(numbers: list[Episode], write: Callable[..., Path], told: Told) -> None:
    path = write(numbers)
    state = zarr.open_group(path, mode="r+")["data/state"]
    state[2 * STEPS + 7, 1] = np.nan
    state[2 * STEPS + 8, 3] = np.inf
    assert told(diagnose(path)) == {("nonfinite", "error", (2,), ((7, 8),))}


def test_waits(numbers: list[Episode], write: Callable[..., Path], told: Told, perform: Callable[..., Episode]) -> None:
    """The agent needs a while to come to rest, so the wait begins a little after the last new target."""
    actions = np.concatenate([numbers[1]["action"], np.tile(numbers[1]["action"][-1], (25, 1))])
    waited = perform(numbers[1]["state"][0], actions)
    del waited["pixels"]
    numbers[1] = waited
    path = write(numbers)
    ((kind, severity, episodes, ((first, last),)),) = told(diagnose(path))
    assert (kind, severity, episodes, last) == ("idle", "warning", (1,), len(actions) - 1)
    assert STEPS <= first <= STEPS + 12
    assert np.abs(np.diff(waited["state"][first:], axis=0)).max() < 0.5
    assert told(diagnose(path, idle_steps=last - first + 1)) == set()


def test_nearly_the_same_episode(
    numbers: list[Episode], write: Callable[..., Path], told: Told, perform: Callable[..., Episode]
) -> None:
    again = perform(numbers[3]["state"][0] + [0.2, 0, 0, 0, 0], numbers[3]["action"])
    del again["pixels"]
    path = write([*numbers, again])
    assert told(diagnose(path)) == {("near_duplicate", "warning", (3, 8), ())}


def test_going_on_after_success(
    numbers: list[Episode], write: Callable[..., Path], told: Told, perform: Callable[..., Episode]
) -> None:
    """The block lies on the goal from the first step, and the agent walks about elsewhere."""
    walk = np.linspace([60.0, 60.0], [400.0, 80.0], 30)
    done = perform(np.array([60.0, 60.0, 256.0, 256.0, np.pi / 4]), walk)
    del done["pixels"]
    expected = {("after_success", "note", (8,), ((1, 29),)), ("untouched", "warning", (8,), ())}
    assert told(diagnose(write([*numbers, done]))) == expected


def test_the_block_is_replayed_at_its_scale(numbers: list[Episode], write: Callable[..., Path], told: Told) -> None:
    """At its own scale a record follows; said to be of another, it is of another world."""
    for episode in numbers:
        episode["scale"] = np.full((STEPS, 1), 1.0)
    assert told(diagnose(write(numbers))) == set()
    numbers[2]["scale"][:] = 1.4
    numbers[3]["scale"][:] = 40.0
    kinds = {
        (kind, episodes)
        for kind, severity, episodes, _ in told(diagnose(write(numbers, name="b.zarr")))
        if severity == "error"
    }
    assert ("outside", (3,)) in kinds
    assert {episodes for _, episodes in kinds} == {(2,), (3,)}


def test_executed_actions_are_what_is_replayed(numbers: list[Episode], write: Callable[..., Path], told: Told) -> None:
    """With noise, the action to learn is not the one that moved the agent."""
    for seed, episode in enumerate(numbers):
        episode["executed_action"] = episode["action"].copy()
        episode["action"] += np.random.default_rng(seed).normal(0, 15, episode["action"].shape)
    assert told(diagnose(write(numbers))) == set()
