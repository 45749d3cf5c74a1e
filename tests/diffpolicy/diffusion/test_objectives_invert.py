"""Objectives are identities: data becomes noise, and what the network should say gives the data back."""

import math
from collections.abc import Callable

import pytest
import torch

from diffpolicy.diffusion import DDPM, Flow

Build = Callable[..., DDPM | Flow]

NAMES = ["flow", "epsilon", "v", "sample"]
CPU = torch.device("cpu")


def draw(objective: DDPM | Flow, rows: int = 64, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """x_0, noise and times in float64, pure noise (t = 1) among them."""
    g = torch.Generator().manual_seed(seed)
    x0, noise = torch.randn(2, rows, 5, 3, generator=g, dtype=torch.float64).unbind()
    t = objective.times(rows, g, CPU).double()
    t[0] = 1.0
    return x0, noise, t


@pytest.mark.parametrize("name", NAMES)
def test_target_implies_the_data(objective_named: Build, name: str) -> None:
    objective = objective_named(name)
    x0, noise, t = draw(objective)
    found = objective.denoised(objective.corrupt(x0, noise, t), t, objective.target(x0, noise, t))
    # Epsilon divides by the signal's rate, 5e-4 in pure noise: float64's 1e-16 becomes about 1e-12.
    torch.testing.assert_close(found, x0, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", NAMES)
def test_output_of_is_the_inverse_of_denoised(objective_named: Build, name: str) -> None:
    objective = objective_named(name)
    x, output, t = draw(objective, seed=1)
    found = objective.output_of(x, t, objective.denoised(x, t, output))
    torch.testing.assert_close(found, output, rtol=0, atol=1e-11)
    wanted = objective.denoised(x, t, objective.output_of(x, t, output))
    torch.testing.assert_close(wanted, output, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", NAMES)
def test_target_is_the_output_that_implies_the_data(objective_named: Build, name: str) -> None:
    objective = objective_named(name)
    x0, noise, t = draw(objective, seed=2)
    said = objective.output_of(objective.corrupt(x0, noise, t), t, x0)
    torch.testing.assert_close(said, objective.target(x0, noise, t), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_each_row_has_a_time_of_its_own(objective_named: Build, name: str) -> None:
    objective = objective_named(name)
    x0, noise, t = draw(objective, rows=7)
    for method in (objective.corrupt, objective.target, objective.denoised, objective.output_of):
        arguments = (x0, noise, t) if method in (objective.corrupt, objective.target) else (x0, t, noise)
        one_by_one = [method(*(a[i : i + 1] for a in arguments)) for i in range(7)]
        torch.testing.assert_close(method(*arguments), torch.cat(one_by_one), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", NAMES)
def test_precision_of_the_data_is_kept(objective_named: Build, name: str, dtype: torch.dtype) -> None:
    objective = objective_named(name)
    x0, noise, _ = (a.to(dtype) for a in draw(objective))
    t = objective.times(len(x0), None, CPU)
    assert t.dtype == torch.float32
    for value in (objective.corrupt(x0, noise, t), objective.target(x0, noise, t), objective.denoised(x0, t, noise)):
        assert value.dtype == dtype


def test_flow_is_a_straight_line_and_its_target_the_velocity(objective_named: Build) -> None:
    flow = objective_named("flow")
    x0, noise, t = draw(flow)
    t = t * 0.9 + 0.05
    torch.testing.assert_close(flow.corrupt(x0, noise, torch.zeros_like(t)), x0, rtol=0, atol=0)
    torch.testing.assert_close(flow.corrupt(x0, noise, torch.ones_like(t)), noise, rtol=0, atol=0)
    change = flow.corrupt(x0, noise, t + 0.01) - flow.corrupt(x0, noise, t - 0.01)
    torch.testing.assert_close(change / 0.02, flow.target(x0, noise, t), rtol=0, atol=1e-12)


def rates(ddpm: DDPM | Flow, levels: int) -> tuple[torch.Tensor, torch.Tensor]:
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
