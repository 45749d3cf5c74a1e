"""EDM is that of Karras et al. 2022, in whose own space, y = x_0 + sigma noise, table 1 is written."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from diffpolicy.diffusion import Objective

Build = Callable[..., Objective]

SIGMA_MIN, SIGMA_MAX = 0.002, 80.0
SIGMAS = torch.tensor([0.002, 0.01, 0.3, 0.5, 1.0, 7.0, 80.0], dtype=torch.float64)


def time_of(sigma: Tensor) -> Tensor:
    """Where our time runs: evenly along ln sigma."""
    return (sigma / SIGMA_MIN).log() / math.log(SIGMA_MAX / SIGMA_MIN)


def draw(rows: int, std: float = 1.0) -> tuple[Tensor, Tensor]:
    """x_0 of a standard deviation and noise, one plan of so many numbers for each of SIGMAS."""
    g = torch.Generator().manual_seed(0)
    x0, noise = torch.randn(2, len(SIGMAS), rows, 1, generator=g, dtype=torch.float64).unbind()
    return std * x0, noise


@pytest.mark.parametrize("steps", [2, 3, 10, 40])
def test_levels_are_those_of_equation_5(objective_named: Build, steps: int) -> None:
    edm = objective_named("edm")
    found = [edm.line(t)[0] for t in edm.schedule(steps)]
    share = torch.arange(steps, dtype=torch.float64) / (steps - 1)
    wanted = (SIGMA_MAX ** (1 / 7) + share * (SIGMA_MIN ** (1 / 7) - SIGMA_MAX ** (1 / 7))) ** 7
    torch.testing.assert_close(torch.tensor(found, dtype=torch.float64), wanted, rtol=1e-10, atol=0)


@pytest.mark.parametrize("sigma_data", [0.5, 0.3])
def test_preconditioning_is_that_of_table_1(objective_named: Build, sigma_data: float) -> None:
    edm, (x0, noise) = objective_named("edm", sigma_data=sigma_data), draw(100)
    t, sigma = time_of(SIGMAS), SIGMAS.view(-1, 1, 1)
    y = x0 + sigma * noise
    both = sigma**2 + sigma_data**2
    c_skip, c_out, c_in = sigma_data**2 / both, sigma * sigma_data / both.sqrt(), 1 / both.sqrt()
    x = edm.corrupt(x0, noise, t)
    torch.testing.assert_close(edm.seen(x, t), c_in * y, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(edm.target(x0, noise, t), (x0 - c_skip * y) / c_out, rtol=1e-8, atol=1e-8)
    said = torch.sin(5 * y)
    for row, time in enumerate(t.tolist()):
        first, second, third = edm.implied(time, torch.float64)
        denoised = (first * x[row] + second * said[row]) / third
        torch.testing.assert_close(denoised, (c_skip * y + c_out * said)[row], rtol=1e-10, atol=1e-12)


def test_the_papers_weight_of_an_error_is_one_for_the_network(objective_named: Build) -> None:
    """lambda(sigma) |D - x_0|^2, with lambda of table 1, is the square of how far the network is off (eq. 8)."""
    edm, (x0, noise) = objective_named("edm"), draw(100)
    off = torch.sin(7 * x0)
    for row, (sigma, time) in enumerate(zip(SIGMAS.tolist(), time_of(SIGMAS).tolist(), strict=True)):
        one = slice(row, row + 1)
        t = torch.tensor([time], dtype=torch.float64)
        output = edm.target(x0[one], noise[one], t) + off[one]
        first, second, third = edm.implied(time, torch.float64)
        denoised = (first * edm.corrupt(x0[one], noise[one], t) + second * output) / third
        papers = (sigma**2 + 0.5**2) / (sigma * 0.5) ** 2 * (denoised - x0[one]).square().mean()
        torch.testing.assert_close(edm.loss(output, x0[one], noise[one], t), papers, rtol=1e-6, atol=0)


@pytest.mark.parametrize("sigma_data", [0.5, 0.3])
def test_the_network_sees_and_says_numbers_of_unit_variance(objective_named: Build, sigma_data: float) -> None:
    edm, n = objective_named("edm", sigma_data=sigma_data), 40_000
    x0, noise = draw(n, sigma_data)
    t = time_of(SIGMAS)
    for value in (edm.seen(edm.corrupt(x0, noise, t), t), edm.target(x0, noise, t)):
        assert (value.std(dim=1) - 1).abs().max() < 5 / math.sqrt(2 * n)


def test_states_are_the_papers_with_unit_variance_at_the_noise(objective_named: Build) -> None:
    edm, (x0, noise) = objective_named("edm"), draw(100)
    sigma = SIGMAS.view(-1, 1, 1)
    x = edm.corrupt(x0, noise, time_of(SIGMAS))
    torch.testing.assert_close(x * (1 + sigma**2).sqrt(), x0 + sigma * noise, rtol=1e-10, atol=1e-12)
    assert abs(edm.noise_level(1.0) - 1) < 1e-4
    assert abs(edm.noise_level(0.0) - SIGMA_MIN) < 1e-6
