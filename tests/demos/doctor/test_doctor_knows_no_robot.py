"""Of a robot that is not known, everything general is checked and nothing of Push-T."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from diffpolicy_demos.doctor.examine import diagnose

Episode = dict[str, np.ndarray]
Finding = tuple[str, str, tuple[int, ...], tuple[tuple[int, int], ...]]
Told = Callable[..., set[Finding]]

ARM = {"env_id": "toy/Arm-v0"}


def test_a_clean_record(robot: list[Episode], write: Callable[..., Path], told: Told) -> None:
    found = diagnose(write(robot, ARM))
    assert told(found) == set()
    assert found.world == ""
    assert found.drifts == ()
    assert "pictures" in found.checked
    assert "only Push-T is known" in found.not_checked[0]


def test_the_shapes_of_pusht_under_another_name(numbers: list[Episode], write: Callable[..., Path], told: Told) -> None:
    """Five numbers and two do not make it Push-T where the store says otherwise."""
    for episode in numbers:
        episode["keypoints"] += 100
    assert told(diagnose(write(numbers, ARM))) == set()
    assert not diagnose(write(numbers, {}, name="unnamed.zarr")).sound


def jump(episodes: list[Episode]) -> None:
    episodes[1]["state"][30:, 2] += 3.0


def wait(episodes: list[Episode]) -> None:
    for key in ("state", "action"):
        episodes[2][key][25:45] = episodes[2][key][25]


def copy(episodes: list[Episode]) -> None:
    episodes.append({key: values.copy() for key, values in episodes[0].items()})


def unplug(episodes: list[Episode]) -> None:
    for episode in episodes:
        episode["state"][:, 3] = 0.25


@pytest.mark.parametrize(
    ("plant", "expected"),
    [
        (jump, {("jump", "warning", (1,), ((30, 30),))}),
        (wait, {("idle", "warning", (2,), ((25, 44),)), ("frozen", "warning", (2,), ())}),
        (copy, {("duplicate", "error", (0, 6), ())}),
        (unplug, {("constant", "note", (), ())}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_planted(
    plant: Callable[[list[Episode]], None],
    expected: set[Finding],
    robot: list[Episode],
    write: Callable[..., Path],
    told: Told,
) -> None:
    plant(robot)
    found = {one for one in told(diagnose(write(robot, ARM))) if one[0] != "jump" or plant is jump}
    assert found == {one for one in expected if one[0] != "frozen"}


def test_angles_that_wrap_do_not_jump(robot: list[Episode], write: Callable[..., Path], told: Told) -> None:
    robot[1]["state"][:, 4] = np.linspace(1, 9, 60) % (2 * np.pi)
    assert np.abs(np.diff(robot[1]["state"][:, 4])).max() > 6
    assert told(diagnose(write(robot, ARM))) == set()


def test_grippers_that_close_do_not_jump(robot: list[Episode], write: Callable[..., Path], told: Told) -> None:
    assert {np.abs(np.diff(episode["action"][:, 7])).max() for episode in robot} == {1.0}
    assert told(diagnose(write(robot, ARM))) == set()


def test_declared_ranges(robot: list[Episode], write: Callable[..., Path], told: Told) -> None:
    """What a store says of its own numbers is held against it; null says nothing."""
    ranges = {"layout": {"state": {"ranges": [[-1.5, 1.5]] * 6 + [None]}}}
    robot[3]["state"][10:, 5] += 0.9
    robot[3]["state"][:, 6] *= 5
    highest = robot[3]["state"][:, 5] > 1.5
    assert highest.any()
    found = {one for one in told(diagnose(write(robot, ARM | ranges))) if one[0] == "range"}
    ((_, severity, episodes, steps),) = found
    assert (severity, episodes) == ("warning", (3,))
    assert sum(last - first + 1 for first, last in steps) == highest.sum()
    for nonsense in ([1, 2], "wide", {"state": 3}, {"state": {"ranges": [[0, "a"]] * 7}}):
        kinds = {
            one[0] for one in told(diagnose(write(robot, ARM | {"layout": nonsense}, name=f"{id(nonsense)}.zarr")))
        }
        assert "range" not in kinds
