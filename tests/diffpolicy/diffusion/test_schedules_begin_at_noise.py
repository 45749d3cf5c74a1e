"""Where a sample looks: as often as asked, from pure noise down; and the noise schedules of DDPM are the published ones."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from diffpolicy.diffusion import Objective

Build = Callable[..., Objective]


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 50, 100])
@pytest.mark.parametrize("name", ["flow", "epsilon", "v", "sample", "edm"])
def test_as_many_times_as_asked_from_pure_noise_down(objective_named: Build, name: str, steps: int) -> None:
    objective = objective_named(name)
    times = objective.schedule(steps)
    assert len(times) == steps
    assert abs(times[0] - 1) < 1e-12
    assert abs(objective.noise_level(times[0]) - 1) < 1e-3
    assert list(times) == sorted(set(times), reverse=True)
    assert times[-1] > -1e-12


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 10, 100])
@pytest.mark.parametrize("name", ["flow", "epsilon"])
def test_times_are_evenly_spread(objective_named: Build, name: str, steps: int) -> None:
    """Those of a DDPM lie on a grid of 1/100, half a cell off at most."""
    even = 1 - torch.arange(steps, dtype=torch.float64) / steps
    found = torch.tensor(objective_named(name).schedule(steps), dtype=torch.float64)
    assert (found - even).abs().max() < (1e-12 if name == "flow" else 0.005 + 1e-6)


def rates(ddpm: Objective, levels: int) -> tuple[Tensor, Tensor]:
    """How much of the data and how much noise there is at each level, the cleanest first."""
    t = (torch.arange(levels, dtype=torch.float64) + 1) / levels
    one, none = torch.ones(levels, 1, dtype=torch.float64), torch.zeros(levels, 1, dtype=torch.float64)
    return ddpm.corrupt(one, none, t)[:, 0], ddpm.corrupt(none, one, t)[:, 0]


@pytest.mark.parametrize("levels", [10, 100, 1000])
@pytest.mark.parametrize("schedule", ["squaredcos_cap_v2", "linear", "scaled_linear"])
def test_last_level_is_noise_and_variance_is_kept(objective_named: Build, schedule: str, levels: int) -> None:
    """Sampling starts from pure noise, so training must end there, whatever the number of levels."""
    signal, sigma = rates(objective_named("epsilon", beta_schedule=schedule, train_timesteps=levels), levels)
    torch.testing.assert_close(signal.square() + sigma.square(), torch.ones_like(signal), rtol=0, atol=1e-12)
    assert (signal.diff() < 0).all()
    assert signal[0] > 0.98
    assert signal[-1] < 0.03  # of the published schedules, scaled_linear keeps most: 0.027


def test_cosine_schedule_is_the_published_one(objective_named: Build) -> None:
    """Nichol and Dhariwal 2021, eq. 17, but for the last level, whose beta they hold below 0.999."""
    signal, _ = rates(objective_named("epsilon"), 100)
    t = torch.arange(101, dtype=torch.float64) / 100
    f = torch.cos((t + 0.008) / 1.008 * math.pi / 2).square()
    torch.testing.assert_close(signal.square()[:-1], (f[1:] / f[0])[:-1], rtol=0, atol=1e-6)


def test_linear_schedule_is_the_published_one(objective_named: Build) -> None:
    """Ho et al. 2020, section 4: betas from 1e-4 to 0.02 in 1,000 levels."""
    signal, _ = rates(objective_named("epsilon", beta_schedule="linear", train_timesteps=1000), 1000)
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    torch.testing.assert_close(signal.square(), (1 - betas).cumprod(0), rtol=0, atol=1e-6)
