"""Promises of the pictures of p(x | y): every mode in its colour, what was demonstrated beside it, refusals in one line."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from diffpolicy.visualization.along_episode import PlannedMoment, along_episode_picture, certainty
from diffpolicy.visualization.distribution import distribution_picture
from diffpolicy.visualization.mode_panel import mode_colour, mode_name

WIDTH_PX = 800


@pytest.fixture
def two_ways() -> np.ndarray:
    """96 plans, two thirds of them above."""
    rng, along = np.random.default_rng(3), np.linspace(0, 1, 12)[None, :, None]
    side = np.where(np.arange(96) % 3, -1.0, 1.0)[:, None, None]
    bend = np.sin(np.pi * along) * (side * 130 + rng.normal(0, 6, (96, 1, 1)))
    return np.array([80.0, 256.0]) + along * [340.0, 0.0] + bend * [0.0, 1.0] + rng.normal(0, 1, (96, 12, 2))


def coloured(picture: np.ndarray, label: int) -> int:
    """How many pixels have exactly the colour of a mode."""
    return int((np.abs(picture - 255 * np.array(to_rgb(mode_colour(label)))).max(axis=-1) < 2).sum())


def test_each_mode_is_drawn_in_its_colour_and_no_other_is(two_ways: np.ndarray, scene: np.ndarray) -> None:
    picture = distribution_picture(two_ways, scene, width_px=WIDTH_PX)
    one = distribution_picture(two_ways[np.arange(96) % 3 == 0], scene, width_px=WIDTH_PX)
    assert picture.shape == one.shape
    assert picture.shape[1] == WIDTH_PX
    assert picture.shape[0] % 2 == 0
    assert [coloured(picture, label) > 30 for label in range(3)] == [True, True, False]
    assert [coloured(one, label) > 30 for label in range(3)] == [True, False, False]


def test_the_heavier_way_is_mode_a(two_ways: np.ndarray, scene: np.ndarray) -> None:
    """Above in the picture is A, two thirds; below is B. Its first panel is the left half of the page."""
    picture = distribution_picture(two_ways, np.full_like(scene, 255), width_px=WIDTH_PX)
    left = picture[: picture.shape[0] // 2, : WIDTH_PX // 2].astype(float)
    rows = [
        np.nonzero(np.abs(left - 255 * np.array(to_rgb(mode_colour(label)))).max(axis=-1) < 2)[0].mean()
        for label in (0, 1)
    ]
    assert rows[0] < rows[1] - 50


def test_demonstrations_are_drawn_beside_the_samples(two_ways: np.ndarray, scene: np.ndarray) -> None:
    below = two_ways[np.arange(96) % 3 == 0][:8]
    bare = distribution_picture(two_ways, scene, width_px=1072)
    both = distribution_picture(two_ways, scene, demonstrated=below, demonstrated_note="near", width_px=1608)
    assert both.shape[1] / both.shape[0] > bare.shape[1] / bare.shape[0]
    middle = both[: both.shape[0] // 2, 560:1080]
    assert coloured(middle, 1) > 30
    assert coloured(middle, 0) == 0


@pytest.mark.parametrize(("panels", "count"), [(3, 3), (5, 5), ([0, 4, 8, 11], 4), ([6], 1)])
def test_as_many_actions_are_shown_as_asked_for(panels: Any, count: int, two_ways: np.ndarray) -> None:
    """Counted by a patch of its own colour in the scene, pale in every small frame."""
    scene = np.full((128, 128, 3), 255, np.uint8)
    scene[50:78, 40:88] = (0, 255, 0)
    picture = distribution_picture(two_ways, scene, panels=panels, width_px=1072)
    pale = (np.abs(picture.astype(int) - (127, 255, 127)).max(axis=-1) < 3)[picture.shape[0] // 2 :]
    columns = np.flatnonzero(pale.any(axis=0))
    assert np.count_nonzero(np.diff(columns) > 30) + 1 == count


@pytest.mark.parametrize("samples", [1, 2, 40])
def test_plans_that_are_all_the_same_can_be_drawn(samples: int, two_ways: np.ndarray, scene: np.ndarray) -> None:
    same = np.repeat(two_ways[:1], samples, axis=0)
    assert distribution_picture(same, scene, width_px=WIDTH_PX).std() > 5
    assert distribution_picture(same + 5000.0, scene, width_px=WIDTH_PX).std() > 5


def test_more_modes_than_colours_are_grey_and_named_on() -> None:
    assert len({mode_colour(label) for label in range(5)}) == 5
    assert mode_colour(5) == mode_colour(30) == mode_colour(-1)
    assert [mode_name(label) for label in (0, 25, 26)] == ["A", "Z", "27"]


def moments(two_ways: np.ndarray, scene: np.ndarray) -> list[PlannedMoment]:
    """Two ways at first, of which the rarer is followed; then one."""
    below = two_ways[np.arange(96) % 3 == 0]
    return [PlannedMoment(8 * i, scene, two_ways if i < 2 else below, below[0]) for i in range(6)]


def test_certainty_comes_with_the_choice(two_ways: np.ndarray, scene: np.ndarray) -> None:
    known = certainty(moments(two_ways, scene))
    assert known.count.tolist() == [2, 2, 1, 1, 1, 1]
    assert known.steps.tolist() == [0, 8, 16, 24, 32, 40]
    assert known.weights[0] == pytest.approx([1 / 3, 2 / 3])
    assert known.weights[3].tolist() == [1.0, 0.0]
    assert known.weights.sum(axis=1) == pytest.approx(np.ones(6))
    assert known.spread_px[0] > 3 * known.within_px[0]
    assert known.spread_px[3] == pytest.approx(known.within_px[3])


def test_the_heaviest_comes_first_where_what_was_followed_is_not_known(two_ways: np.ndarray, scene: np.ndarray) -> None:
    known = certainty([PlannedMoment(0, scene, two_ways)])
    assert known.weights[0] == pytest.approx([2 / 3, 1 / 3])


def test_the_band_shows_the_second_mode_only_while_there_is_one(two_ways: np.ndarray, scene: np.ndarray) -> None:
    several = moments(two_ways, scene)
    picture = along_episode_picture(several, width_px=WIDTH_PX)
    sure = along_episode_picture(several[2:], width_px=WIDTH_PX)
    assert picture.shape == sure.shape
    blend = 0.85 * 255 * np.array(to_rgb(mode_colour(1))) + 0.15 * 255
    second = np.abs(picture - blend).max(axis=-1) < 3
    columns = np.flatnonzero(second.sum(axis=0) > 10)
    assert len(columns) > WIDTH_PX / 5
    assert columns.max() < 0.4 * WIDTH_PX, "two of the six moments"
    assert not (np.abs(sure - blend).max(axis=-1) < 3).any()


def test_a_single_moment_is_drawn_too(two_ways: np.ndarray, scene: np.ndarray) -> None:
    assert along_episode_picture([PlannedMoment(0, scene, two_ways)], width_px=WIDTH_PX).std() > 5


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"plans": np.zeros((6, 12))}, r"plans: expected shape \(samples, horizon, 2\)"),
    ({"plans": np.zeros((6, 1, 2)), "panels": 1}, "at least 2 actions"),
    ({"demonstrated": np.zeros((6, 11, 2))}, r"demonstrated: expected shape \(demonstrations, 12, 2\)"),
    ({"demonstrated": np.full((6, 12, 2), np.inf)}, "demonstrated: expected finite"),
    ({"panels": 0}, "panels: expected 1 to 8"),
    ({"panels": [12]}, "panels: .* from 0 to 11"),
    ({"scene": np.zeros((8, 8, 3))}, "scene: expected uint8"),
    ({"executed": slice(8, 14)}, r"executed: .* <= 12"),
]


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(("wrong", "words"), REFUSALS)
def test_wrong_arguments_are_refused_in_one_line(
    wrong: dict[str, Any], words: str, two_ways: np.ndarray, scene: np.ndarray
) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        distribution_picture(**{"plans": two_ways, "scene": scene, **wrong})
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("without_shape_checks")
def test_moments_that_are_none_are_refused(two_ways: np.ndarray, scene: np.ndarray) -> None:
    one = PlannedMoment(3, scene, two_ways)
    refused: list[tuple[Callable[[], Any], str]] = [
        (lambda: along_episode_picture([]), "moments: found none"),
        (lambda: certainty([one, one]), r"rising steps, found \[3, 3\]"),
        (lambda: along_episode_picture([one], panels=1), "panels: expected 2 to 8"),
        (lambda: along_episode_picture([one], period_s=0.0), "period_s"),
        (lambda: along_episode_picture([PlannedMoment(0, scene[..., 0], two_ways)]), "scene"),
    ]
    for draw, words in refused:
        with pytest.raises(ValueError, match=words):
            draw()
