"""Of one datum all is known: its score, its velocity, and where a sampler's step leads."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from diffpolicy.diffusion import Objective, look_times, sample
from diffpolicy.diffusion.field import score, velocity
from diffpolicy.errors import ConfigError

Build = Callable[..., Objective]
Cond = Callable[[int], Tensor]

DENOISED = ["flow", "epsilon", "v", "sample", "edm"]


def draw(rows: int = 3, n: int = 4) -> tuple[Tensor, Tensor]:
    """Data within the limit and noise, in float64."""
    g = torch.Generator().manual_seed(0)
    x0 = torch.rand(rows, n, 5, 2, generator=g, dtype=torch.float64) * 1.8 - 0.9
    return x0, torch.randn(x0.shape, generator=g, dtype=torch.float64)


def noised(objective: Objective, x0: Tensor, noise: Tensor, t: float) -> Tensor:
    flat = torch.full((x0[..., 0, 0].numel(),), t, dtype=x0.dtype)
    return objective.corrupt(x0.flatten(0, 1), noise.flatten(0, 1), flat).view_as(x0)


def way(objective: Objective, t: float) -> float:
    """How far along the way from data to noise a time is, from 0 to 1."""
    return t if objective.name == "flow" else math.asin(objective.noise_level(t)) * 2 / math.pi


@pytest.mark.parametrize("name", DENOISED)
def test_rates_are_those_of_the_states(objective_named: Build, name: str) -> None:
    objective, (x0, noise) = objective_named(name), draw()
    for t in objective.schedule(7):
        signal, sigma = objective.rates(t, torch.float64)
        assert sigma == pytest.approx(objective.noise_level(t), abs=1e-12)
        torch.testing.assert_close(noised(objective, x0, noise, t), signal * x0 + sigma * noise, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", DENOISED)
def test_the_score_of_one_datum_is_minus_the_noise_over_its_deviation(
    objective_named: Build, oracle: Any, no_cond: Cond, name: str
) -> None:
    """log N(x; signal x_0, sigma^2) has the gradient -(x - signal x_0) / sigma^2."""
    objective, (x0, noise) = objective_named(name), draw()
    for t in objective.schedule(7):
        found = score(oracle(objective, x0), objective, no_cond(3), noised(objective, x0, noise, t), t)
        expected = -noise / objective.noise_level(t)
        # Of pure noise epsilon names the data 2,000 times worse than itself, and what it is asked of here are data.
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", DENOISED)
def test_the_velocity_of_one_datum_is_how_its_state_moves(
    objective_named: Build, oracle: Any, no_cond: Cond, name: str
) -> None:
    """By finite differences along the way, which is 1 long; a schedule of many levels has neighbours close enough."""
    objective, (x0, noise) = (
        objective_named(name, **({"train_timesteps": 4000} if name in DENOISED[1:4] else {})),
        draw(),
    )
    for centre in (0.2, 0.5, 0.8):
        before, t, after = centre - 0.00025, centre, centre + 0.00025
        moved = noised(objective, x0, noise, after) - noised(objective, x0, noise, before)
        slope = moved / (way(objective, after) - way(objective, before))
        found = velocity(oracle(objective, x0), objective, no_cond(3), noised(objective, x0, noise, t), t)
        torch.testing.assert_close(found, slope, rtol=2e-3, atol=2e-3)


def test_the_velocity_of_a_flow_is_what_its_network_says(objective_named: Build, no_cond: Cond) -> None:
    flow, (_, noise) = objective_named("flow"), draw()
    said = velocity(lambda x, t, cond: torch.sin(x), flow, no_cond(3), noise, 0.4, limit=None)
    torch.testing.assert_close(said, torch.sin(noise), rtol=1e-10, atol=1e-10)


def test_the_score_of_epsilon_is_what_its_network_says_over_the_deviation(
    objective_named: Build, no_cond: Cond
) -> None:
    ddpm, (_, noise) = objective_named("epsilon"), draw()
    for t in (0.1, 1.0):
        said = score(lambda x, t, cond: torch.sin(x), ddpm, no_cond(3), noise, t)
        torch.testing.assert_close(said, -torch.sin(noise) / ddpm.noise_level(t), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 4, 10])
@pytest.mark.parametrize("name", DENOISED)
def test_a_step_against_the_velocity_is_the_samplers_next_state(
    objective_named: Build, no_cond: Cond, name: str, steps: int
) -> None:
    """Of any network. Euler's step of a flow is a straight line, else a turn about the origin by the angle between the
    levels (Salimans and Ho 2022, appendix D), the last one to the data.
    """
    objective, (_, noise) = objective_named(name), draw()

    def network(x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        return torch.sin(2 * x + t[:, None, None])

    _, path = sample(network, objective, no_cond(3), noise, sampler="euler", steps=steps)
    times = (*look_times(objective, "euler", steps), None)
    for (t, until), x, following in zip(pairwise(times), path[:-1], path[1:], strict=True):
        assert t is not None
        moving = velocity(network, objective, no_cond(3), x, t)
        length = way(objective, t) - (0.0 if until is None else way(objective, until))
        angle = length * math.pi / 2
        turned = math.cos(angle) * x - math.sin(angle) * 2 / math.pi * moving
        expected = x - length * moving if name == "flow" else turned
        # The sampler sets out from noise as if nothing of the data were in it; epsilon's schedule leaves 5e-4.
        torch.testing.assert_close(following, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["mse", "two_looks", "mixture"])
@pytest.mark.parametrize("asked", [score, velocity])
def test_what_is_not_denoised_has_no_field(
    objective_named: Build, no_cond: Cond, asked: Callable[..., Tensor], name: str
) -> None:
    objective, (_, noise) = objective_named(name), draw()
    with pytest.raises(ConfigError, match=f"^objective '{objective.name}' is not denoised: .* flow, ddpm or edm$"):
        asked(lambda x, t, cond: x, objective, no_cond(3), noise, 1.0)
