"""Pictures are compared with the states they should show, and with each other."""

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


def of_another_episode(episodes: list[Episode]) -> None:
    episodes[1]["pixels"][9] = episodes[2]["pixels"][33]


def one_step_late(episodes: list[Episode]) -> None:
    episodes[2]["pixels"][1:] = episodes[2]["pixels"][:-1].copy()


def black(episodes: list[Episode]) -> None:
    episodes[3]["pixels"][20:22] = 0


def of_another_look(episodes: list[Episode]) -> None:
    for episode in episodes:
        episode["pixels"] = 255 - episode["pixels"]


@pytest.mark.parametrize(
    ("plant", "expected"),
    [
        (of_another_episode, {("pictures", "error", (1,), ((9, 9),))}),
        (black, {("blank", "warning", (3,), ((20, 21),))}),
        (of_another_look, {("another_look", "warning", (), ())}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_planted_in_pictures(
    plant: Callable[[list[Episode]], None],
    expected: set[Finding],
    clean: list[Episode],
    write: Callable[..., Path],
    told: Told,
) -> None:
    plant(clean)
    assert told(diagnose(write(clean))) == expected


def test_pictures_of_the_step_before(clean: list[Episode], write: Callable[..., Path]) -> None:
    """Where hardly anything moved from one step to the next, nobody can tell; elsewhere all are found."""
    one_step_late(clean)
    (finding,) = diagnose(write(clean)).findings
    assert (finding.kind, finding.severity, finding.episodes) == ("pictures_late", "error", (2,))
    assert "show the previous step" in finding.found
    assert finding.steps[0][0] > 0
    assert sum(last - first + 1 for first, last in finding.steps) > STEPS / 2


def test_a_state_that_the_picture_contradicts(clean: list[Episode], write: Callable[..., Path], told: Told) -> None:
    """Both checks that can know of it find it."""
    clean[4]["state"][8, :2] += 40
    expected = {("bad_frame", "error", (4,), ((8, 8),)), ("pictures", "error", (4,), ((8, 8),))}
    assert told(diagnose(write(clean))) == expected


def test_contact_points_are_no_defect(clean: list[Episode], write: Callable[..., Path], told: Told) -> None:
    """Red dots are drawn where bodies touch; a state alone does not tell where."""
    reds = [(picture[..., 0].astype(int) - picture[..., 1:].max(axis=-1) > 25).sum() for picture in clean[0]["pixels"]]
    assert max(reds) > 0
    assert told(diagnose(write(clean))) == set()


@pytest.mark.parametrize("divisor", [255, 100])
def test_ranges(clean: list[Episode], write: Callable[..., Path], told: Told, divisor: float) -> None:
    """Scaled to 0..1 they are recognised and still compared; beyond 255 they are out of range."""
    for episode in clean:
        episode["pixels"] = episode["pixels"].astype(np.float32)
    path = write(clean)
    pixels = zarr.open_group(path, mode="r+")["data/img"]
    pixels[:] = pixels[:] / 255 if divisor == 255 else pixels[:]
    if divisor == 100:
        pixels[3 * STEPS + 5, 0, 0, 0] = 300
        pixels[3 * STEPS + 6, 0, 0, 0] = np.nan
        expected = {("picture_range", "error", (3,), ((5, 6),))}
    else:
        expected = {("picture_range", "error", (index,), ((0, STEPS - 1),)) for index in range(len(clean))}
    assert told(diagnose(path)) == expected


def test_a_camera_that_stands_still(robot: list[Episode], write: Callable[..., Path], told: Told) -> None:
    robot[2]["camera"][20:45] = robot[2]["camera"][20]
    assert told(diagnose(write(robot, {"env_id": "toy/Arm-v0"}))) == {("frozen", "warning", (2,), ((21, 44),))}


def test_pictures_may_be_left_out(clean: list[Episode], write: Callable[..., Path], told: Told) -> None:
    of_another_episode(clean)
    found = diagnose(write(clean), pictures=False)
    assert told(found) == set()
    assert found.not_checked == ("pictures: left out as asked",)
