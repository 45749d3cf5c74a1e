"""Modes of known mixtures are found with their weights, and of one cloud there is one, whatever its shape and place."""

from collections.abc import Callable

import numpy as np
import pytest

from diffpolicy.visualization.modes import mode_reached, modes, nearest_mode

HORIZON = 16
ALONG = np.linspace(0.0, 1.0, HORIZON)


def way(height_px: float) -> np.ndarray:
    """A plan to the right, bent up or down."""
    return np.stack([100 + 300 * ALONG, 256 + height_px * np.sin(np.pi * ALONG)], axis=-1)


def cloud(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Smooth Gaussian variations of a plan, a few px of them, with a little that is rough."""
    shapes = np.stack([ALONG, ALONG**2, np.sin(np.pi * ALONG), np.sin(2 * np.pi * ALONG)])
    size_px = np.array([12.0, 8.0, 6.0, 3.0])[:, None]
    varied = np.einsum("st,nsc->ntc", shapes, rng.normal(size=(samples, 4, 2)) * size_px)
    return varied + rng.normal(scale=0.5, size=(samples, HORIZON, 2))


def mixture(
    rng: np.random.Generator, samples: int, weights: tuple[float, ...], heights_px: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Plans along several ways, and which way each is."""
    kind = rng.choice(len(weights), size=samples, p=weights)
    return np.stack([way(height) for height in heights_px])[kind] + cloud(rng, samples), kind


@pytest.mark.parametrize(
    ("weights", "heights_px"),
    [((0.5, 0.5), (120.0, -120.0)), ((0.9, 0.1), (120.0, -120.0)), ((0.5, 0.3, 0.2), (150.0, 0.0, -150.0))],
)
def test_weights_are_recovered_within_sampling_error(weights: tuple[float, ...], heights_px: tuple[float, ...]) -> None:
    """In nearly all of 20 draws every interval holds its weight; 95% each is what it promises."""
    held = []
    for seed in range(20):
        plans, kind = mixture(np.random.default_rng(seed), 400, weights, heights_px)
        found = modes(plans)
        assert len(found) == len(weights)
        truth = np.bincount(kind, minlength=len(weights)) / len(plans)
        assert np.allclose(found.weights, np.sort(truth)[::-1], atol=0.01)
        expected = np.sort(weights)[::-1]
        held.append((found.intervals[:, 0] <= expected) & (expected <= found.intervals[:, 1]))
    assert np.mean(held) >= 0.85


@pytest.mark.parametrize("samples", [64, 100, 400])
def test_two_ways_are_found_with_few_samples_and_many(samples: int) -> None:
    for seed in range(10):
        plans, kind = mixture(np.random.default_rng(seed), samples, (0.6, 0.4), (120.0, -120.0))
        found = modes(plans)
        assert len(found) == 2
        swapped = np.mean(kind == 0) < 0.5
        assert np.mean(found.labels == (1 - kind if swapped else kind)) > 0.98


def ball(rng: np.random.Generator, samples: int) -> np.ndarray:
    return rng.normal(scale=20.0, size=(samples, HORIZON, 2))


def line(rng: np.random.Generator, samples: int) -> np.ndarray:
    return way(0.0) + rng.normal(scale=40.0, size=(samples, 1, 1)) * np.ones((HORIZON, 2))


def arc(rng: np.random.Generator, samples: int) -> np.ndarray:
    angle = rng.normal(scale=0.8, size=(samples, 1))
    return 100 * ALONG[None, :, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1) + cloud(rng, samples)


@pytest.mark.parametrize("draw", [cloud, ball, line, arc])
@pytest.mark.parametrize("samples", [64, 256])
def test_one_cloud_is_one_mode(draw: Callable[..., np.ndarray], samples: int) -> None:
    seeds = 60 if samples == 64 else 10
    alone = [len(modes(draw(np.random.default_rng(seed), samples))) == 1 for seed in range(seeds)]
    assert np.mean(alone) >= 0.95


def test_an_overlap_that_leaves_no_valley_is_one_mode_and_one_that_does_is_two() -> None:
    """Two Gaussians have two peaks only from two standard deviations on; in between it depends on the samples."""

    def counts(height_px: float) -> list[int]:
        return [
            len(modes(mixture(np.random.default_rng(s), 400, (0.5, 0.5), (height_px, -height_px))[0]))
            for s in range(10)
        ]

    assert counts(6.0) == [1] * 10
    assert counts(60.0) == [2] * 10


def test_order_place_and_direction_do_not_matter() -> None:
    rng = np.random.default_rng(3)
    plans, _ = mixture(rng, 300, (0.7, 0.3), (90.0, -90.0))
    found = modes(plans)
    order = rng.permutation(len(plans))
    shuffled = modes(plans[order])
    assert np.array_equal(shuffled.labels, found.labels[order])
    assert np.array_equal(order[shuffled.medoids], found.medoids)
    angle = 0.7
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    for moved in (plans + np.array([50.0, -30.0]), plans @ turn, 3.0 * plans):
        again = modes(moved)
        assert np.array_equal(again.labels, found.labels)
        assert np.array_equal(again.medoids, found.medoids)


def test_a_representative_is_a_central_sample_of_its_mode() -> None:
    plans, _ = mixture(np.random.default_rng(5), 300, (0.7, 0.3), (90.0, -90.0))
    found = modes(plans)
    for label, medoid in enumerate(found.medoids):
        assert found.labels[medoid] == label
        own = plans[found.labels == label]
        from_centre = np.sqrt(((own - own.mean(axis=0)) ** 2).sum(axis=-1).mean(axis=-1))
        medoids_own = np.sqrt(((plans[medoid] - own.mean(axis=0)) ** 2).sum(axis=-1).mean())
        assert medoids_own < np.quantile(from_centre, 0.25)
    assert nearest_mode(np.stack([way(90.0), way(-90.0)]), plans, found).tolist() == [0, 1]


def test_a_plan_elsewhere_is_of_no_mode() -> None:
    plans, _ = mixture(np.random.default_rng(5), 300, (0.7, 0.3), (90.0, -90.0))
    found = modes(plans)
    assert mode_reached(plans, plans, found).tolist() == found.labels.tolist()
    others = np.stack([way(95.0), way(0.0), way(-85.0), way(-200.0)])
    assert mode_reached(others, plans, found).tolist() == [0, -1, 1, -1]


@pytest.mark.parametrize("samples", [1, 2, 5, 64])
def test_one_plan_said_many_times_is_one_mode(samples: int) -> None:
    repeated = np.repeat(way(50.0)[None], samples, axis=0)
    rounding = np.random.default_rng(0).normal(scale=1e-4, size=repeated.shape)
    found = modes(repeated + rounding)
    assert found.weights.tolist() == [1.0]
    assert set(found.labels) == {0}


def test_two_plans_said_many_times_are_two_modes() -> None:
    found = modes(np.concatenate([np.repeat(way(50.0)[None], 30, axis=0), np.repeat(way(-50.0)[None], 20, axis=0)]))
    assert found.weights.tolist() == [0.6, 0.4]
    assert found.labels.tolist() == [0] * 30 + [1] * 20


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("plans", "words"),
    [
        (np.zeros((5, 16)), r"plans: expected shape \(samples, horizon, 2\), found \(5, 16\)"),
        (np.full((5, 16, 2), np.nan), "plans: expected finite"),
        (np.zeros((4097, 2, 2)), "plans: found 4097; .* 4096"),
    ],
)
def test_what_are_no_plans_is_refused(plans: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        modes(plans)
