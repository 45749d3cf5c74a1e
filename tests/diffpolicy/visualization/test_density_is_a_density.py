"""The density of an action agrees with closed forms, its regions hold what they say, and spread is what it is called."""

import numpy as np
import pytest

from diffpolicy.visualization.density import CELLS, bandwidth_px, kernel_density, mass_levels, spread_px

SIDE = 512.0
CELL_AREA = (SIDE / CELLS) ** 2
CENTRES = (np.arange(CELLS) + 0.5) * SIDE / CELLS


def test_one_point_gives_the_kernel_itself_in_its_place() -> None:
    density = kernel_density(np.array([[100.0, 300.0]]), 20.0, SIDE)
    x, y = np.meshgrid(CENTRES, CENTRES)
    expected = np.exp(-((x - 100) ** 2 + (y - 300) ** 2) / (2 * 20.0**2)) / (2 * np.pi * 20.0**2)
    assert np.allclose(density, expected, atol=1e-12)


def test_the_mass_is_one_and_half_of_it_outside_for_points_on_the_edge() -> None:
    inside = np.random.default_rng(0).normal(256, 30, (200, 2))
    assert kernel_density(inside, 8.0, SIDE).sum() * CELL_AREA == pytest.approx(1.0, abs=1e-6)
    edge = np.array([[0.0, 256.0]])
    assert kernel_density(edge, 8.0, SIDE).sum() * CELL_AREA == pytest.approx(0.5, abs=1e-3)


def test_a_gaussian_is_recovered_with_the_kernel_s_variance_added() -> None:
    """Normal points under a normal kernel: variances add."""
    points = np.random.default_rng(1).normal(256, 30, (4000, 2))
    density = kernel_density(points, 15.0, SIDE)
    variance = float((density.sum(axis=0) * (CENTRES - 256) ** 2).sum() * CELL_AREA)
    assert variance == pytest.approx(30**2 + 15**2, rel=0.06)


def test_regions_of_a_gaussian_end_at_the_levels_of_the_textbook() -> None:
    """In the plane the region of share p of a Gaussian ends where the density is (1 - p) of the highest."""
    density = kernel_density(np.array([[256.0, 256.0]]), 40.0, SIDE)
    levels = mass_levels(density, np.array([0.95, 0.8, 0.5]))
    assert levels / density.max() == pytest.approx([0.05, 0.2, 0.5], rel=0.03)
    for share, level in zip([0.95, 0.8, 0.5], levels, strict=True):
        assert density[density >= level].sum() / density.sum() == pytest.approx(share, abs=0.01)


def test_bandwidth_is_scotts_within_modes_and_never_below_the_grid() -> None:
    rng = np.random.default_rng(2)
    labels = np.repeat([0, 1], 500)
    points = rng.normal(0, 12, (1000, 2)) + np.where(labels, 100.0, 400.0)[:, None]
    assert bandwidth_px(points, labels, SIDE) == pytest.approx(12 * 1000 ** (-1 / 6), rel=0.05)
    assert bandwidth_px(points, np.zeros(1000, dtype=np.int64), SIDE) > 10 * 1000 ** (-1 / 6) * 12
    same = np.full((50, 2), 256.0)
    narrow = bandwidth_px(same, np.zeros(50, dtype=np.int64), SIDE)
    assert kernel_density(same, narrow, SIDE).sum() * CELL_AREA == pytest.approx(1.0, abs=0.01)


def test_spread_is_the_root_mean_square_distance_from_the_mean() -> None:
    plans = np.zeros((4, 3, 2))
    plans[:, 1] = [[10, 0], [-10, 0], [0, 10], [0, -10]]
    plans[:, 2] = [[30, 1], [30, -1], [-30, 1], [-30, -1]]
    assert spread_px(plans) == pytest.approx([0, 10, np.sqrt(901)])
    labels = np.array([0, 0, 1, 1])
    assert spread_px(plans, labels)[2] == pytest.approx(1.0)


def test_spread_squared_is_that_within_modes_and_that_between_them() -> None:
    rng = np.random.default_rng(4)
    plans, labels = rng.normal(size=(90, 5, 2)), rng.integers(0, 3, 90)
    means = np.stack([plans[labels == label].mean(axis=0) for label in range(3)])[labels]
    assert spread_px(plans) ** 2 == pytest.approx(spread_px(plans, labels) ** 2 + spread_px(means) ** 2)
