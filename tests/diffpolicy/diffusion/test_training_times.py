"""Training looks along the path where the config says, and the generator alone decides."""

import math
from collections.abc import Callable

import pytest
import torch

from diffpolicy.diffusion import Objective

Build = Callable[..., Objective]

N = 100_000
CPU = torch.device("cpu")


def distance(values: torch.Tensor, cdf: Callable[[torch.Tensor], torch.Tensor]) -> float:
    """Kolmogorov and Smirnov's: the largest gap between what was drawn and the distribution."""
    ordered = values.double().sort().values
    return float((cdf(ordered) - (torch.arange(len(values)) + 0.5) / len(values)).abs().max())


# A gap that a right distribution exceeds once in a thousand seeds; the seed is fixed.
ALLOWED = 1.95 / math.sqrt(N)


def test_uniform_times_are_uniform(objective_named: Build) -> None:
    t = objective_named("flow", time_distribution="uniform").times(N, torch.Generator().manual_seed(0), CPU)
    assert t.min() >= 0
    assert t.max() <= 1
    assert distance(t, lambda v: v) < ALLOWED


def test_logit_normal_times_have_a_standard_normal_logit(objective_named: Build) -> None:
    t = objective_named("flow", time_distribution="logit_normal").times(N, torch.Generator().manual_seed(0), CPU)
    assert t.min() > 0
    assert t.max() < 1
    assert distance(t, lambda v: torch.special.ndtr(v.logit())) < ALLOWED
    assert distance(t, lambda v: v) > 10 * ALLOWED  # and are not uniform


def test_u_shaped_times_favour_both_ends(objective_named: Build) -> None:
    """Density proportional to cosh(4 (2 t - 1)), Lee et al. 2024, section 4.1; its integral, by the trapezoidal rule."""
    t = objective_named("flow", time_distribution="u_shaped").times(N, torch.Generator().manual_seed(0), CPU)
    assert t.min() >= 0
    assert t.max() <= 1
    grid = torch.linspace(0, 1, 10_001, dtype=torch.float64)
    below = torch.cat([torch.zeros(1).double(), torch.cumulative_trapezoid(torch.cosh(4 * (2 * grid - 1)), grid)])

    def cdf(v: torch.Tensor) -> torch.Tensor:
        place = (v * 10_000).clamp(max=9_999)
        left = place.long()
        return torch.lerp(below[left], below[left + 1], place - left) / below[-1]

    assert distance(t, cdf) < ALLOWED
    assert distance(t, lambda v: v) > 10 * ALLOWED  # and are not uniform
    assert distance(1 - t, cdf) < ALLOWED


def test_edm_looks_at_log_normal_noise(objective_named: Build) -> None:
    """Karras et al. 2022, section 5: ln sigma is normal with mean -1.2 and deviation 1.2, as far as sampling asks."""
    edm = objective_named("edm")
    t = edm.times(N, torch.Generator().manual_seed(0), CPU).double()
    assert t.min() == 0  # the five in 100,000 below sigma_min are held there
    assert t.max() <= 1
    inside = t[(t > 0) & (t < 1)]
    assert len(inside) > 0.999 * N
    one, none = torch.ones(len(inside), 1, dtype=torch.float64), torch.zeros(len(inside), 1, dtype=torch.float64)
    sigma = (edm.corrupt(none, one, inside) / edm.corrupt(one, none, inside))[:, 0]
    assert distance(sigma, lambda v: torch.special.ndtr((v.log() + 1.2) / 1.2)) < ALLOWED


@pytest.mark.parametrize("levels", [1, 7, 100])
def test_every_level_is_drawn_equally_often(objective_named: Build, levels: int) -> None:
    t = objective_named("epsilon", train_timesteps=levels).times(N, torch.Generator().manual_seed(0), CPU)
    level = t.double() * levels
    assert (level - level.round()).abs().max() < 1e-4
    counts = torch.bincount(level.round().long(), minlength=levels + 1)
    assert counts[0] == 0
    assert len(counts) == levels + 1
    expected = N / levels
    assert (counts[1:] - expected).abs().max() <= 5 * math.sqrt(expected)


@pytest.mark.parametrize("name", ["flow", "epsilon", "edm", "two_looks"])
def test_the_generator_alone_decides(objective_named: Build, name: str) -> None:
    objective = objective_named(name)
    before = torch.get_rng_state()
    first, again, other = (objective.times(100, torch.Generator().manual_seed(s), CPU) for s in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)
