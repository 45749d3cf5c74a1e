"""Promises of the picture of the field: arrows that point where they should, one scale, and clear refusals."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from diffpolicy.visualization.field import field_frames, field_picture
from diffpolicy.visualization.field_level import FieldLevel, checked_levels, grid_points, region_borders

CENTRE = np.array([256.0, 256.0])


def level(noise_level: float = 1.0, strength: float = 1.0, columns: int = 8) -> FieldLevel:
    """A normal distribution about the middle, and its score."""
    spread = 150.0 * noise_level
    samples = CENTRE + spread * np.random.default_rng(0).normal(size=(400, 2))

    def density(at: np.ndarray) -> np.ndarray:
        return np.exp(-0.5 * ((at - CENTRE) ** 2).sum(axis=-1) / spread**2)

    return FieldLevel(
        noise_level=noise_level,
        arrows=strength * (CENTRE - grid_points(columns, 512.0)) / spread**2,
        density=density(grid_points(64, 512.0)),
        samples_px=samples,
        density_at_samples=density(samples),
        trails_px=np.linspace(samples[:5], CENTRE + 0 * samples[:5], 4),
    )


@pytest.fixture
def empty() -> np.ndarray:
    return np.full((64, 64, 3), 255, np.uint8)


def test_a_panel_for_each_level(empty: np.ndarray) -> None:
    for count in (2, 3, 5):
        picture = field_picture([level(1 / (1 + k)) for k in range(count)], empty, panel_px=240)
        assert picture.shape[1] == 240 * count
        assert picture.dtype == np.uint8
    again = field_picture([level(1 / (1 + k)) for k in range(5)], empty, panel_px=240)
    assert np.array_equal(again, picture)


def test_another_field_at_one_level_changes_that_panel_alone(empty: np.ndarray) -> None:
    levels = [level(1.0), level(0.5), level(0.25)]
    # Turned, not scaled: the scale of colours is one for all panels.
    turned = replace(levels[1], arrows=levels[1].arrows[..., ::-1] * [1.0, -1.0])
    one, two = (field_picture(shown, empty, panel_px=240) for shown in (levels, [levels[0], turned, levels[2]]))
    columns = np.flatnonzero((one != two).any(axis=(0, 2)))
    assert 240 <= columns.min() < columns.max() < 480


def test_arrows_point_where_the_field_does(empty: np.ndarray) -> None:
    """Heads are wider than shafts: where all arrows point to the right, ink lies right of the cells' centres."""
    still = replace(level(0.5), samples_px=np.full((1, 2), -900.0), density_at_samples=np.ones(1))
    still = replace(still, trails_px=np.full((1, 1, 2), -900.0), density=np.ones((64, 64)))

    def lean(direction: tuple[float, float]) -> np.ndarray:
        shown = replace(still, arrows=np.broadcast_to(np.array(direction), (8, 8, 2)))
        picture = field_picture([shown, shown], empty, panel_px=660)[:, :660]
        # The world: below heading and band, scaled by 2 from 330 reference px.
        side = 2 * 330 / 1.125
        left, top = side / 16, 2 * 92 + side / 16
        rows, columns = np.nonzero(
            (picture[int(top) : int(top + side), int(left) : int(left + side)] < 200).any(axis=-1)
        )
        cell = side / 8
        return np.array([(columns % cell - cell / 2).mean(), (rows % cell - cell / 2).mean()])

    for direction in ((1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)):
        found = lean(direction)
        assert found @ direction > 1.5
        assert abs(found @ [direction[1], direction[0]]) < 1.0


def test_one_scale_for_all_levels_and_frames(empty: np.ndarray) -> None:
    """The first frame shows the same level, but what is strong beside it decides its colours."""
    calm, wild = level(1.0), level(0.5, strength=50.0)
    alone = next(field_frames([calm, calm], empty, width_px=320))
    beside = list(field_frames([calm, wild], empty, width_px=320))
    assert len(beside) == 2
    assert {frame.shape for frame in beside} == {alone.shape}
    assert not np.array_equal(alone, beside[0])
    assert not np.array_equal(beside[0], beside[1])


@pytest.mark.parametrize("quantity", ["score", "velocity"])
@pytest.mark.parametrize("strength", [0.0, 1e-12, 1.0, 1e9])
def test_any_strength_can_be_drawn(empty: np.ndarray, quantity: Any, strength: float) -> None:
    picture = field_picture([level(1.0, strength), level(0.1, strength)], empty, quantity=quantity, panel_px=160)
    assert picture.std() > 5


def test_regions_hold_the_samples_that_they_say() -> None:
    for noise in (1.0, 0.2):
        one = level(noise)
        for share, border in zip((0.95, 0.8, 0.5), region_borders(one), strict=True):
            assert np.mean(one.density_at_samples >= border) == pytest.approx(share, abs=0.01)


def test_grid_points_are_centres_from_the_top_left() -> None:
    points = grid_points(4, 512.0)
    assert points.shape == (4, 4, 2)
    assert points[0, 0].tolist() == [64.0, 64.0]
    assert points[0, 3].tolist() == [448.0, 64.0]


REFUSALS = [
    ({"arrows": np.zeros((8, 7, 2))}, r"levels\[1\].arrows: expected shape \(8, 8, 2\), found \(8, 7, 2\)"),
    ({"arrows": np.full((8, 8, 2), np.nan)}, r"levels\[1\].arrows: expected finite"),
    ({"density": np.zeros((8, 7))}, r"levels\[1\].density: expected a square"),
    ({"density": np.full((8, 8), -1.0)}, r"levels\[1\].density: expected a square of numbers that are at least 0"),
    ({"samples_px": np.zeros((400, 3))}, r"levels\[1\].samples_px: expected shape"),
    ({"density_at_samples": np.zeros(3)}, r"levels\[1\].density_at_samples: expected shape \(400,\), found \(3,\)"),
    ({"trails_px": np.zeros((4, 2))}, r"levels\[1\].trails_px: expected shape"),
]


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize("draw", [field_picture, field_frames])
@pytest.mark.parametrize(("wrong", "words"), REFUSALS)
def test_wrong_arrays_are_refused_in_one_line(
    draw: Callable[..., Any], wrong: dict[str, Any], words: str, empty: np.ndarray
) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        draw([level(), replace(level(), **wrong)], empty)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("without_shape_checks")
def test_too_little_is_refused(empty: np.ndarray) -> None:
    with pytest.raises(ValueError, match="levels: expected at least 2"):
        checked_levels([level()])
    with pytest.raises(ValueError, match="panel_px"):
        field_picture([level(), level()], empty, panel_px=20)
    with pytest.raises(ValueError, match="scene"):
        field_picture([level(), level()], empty[..., 0])
    with pytest.raises(ValueError, match="workspace_px"):
        field_picture([level(), level()], empty, workspace_px=0)
