"""Where the best network there is is known in closed form, samplers arrive at the distribution, at the order they claim."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from diffpolicy.diffusion import Objective, sample

Build = Callable[..., Objective]
Cond = Callable[[int], Tensor]

ORDERS = [("euler", 1), ("heun", 2), ("dpmpp_2m", 2)]
# The factor by which half as long intervals lessen the error, about 2 and 4, and what is still taken for it: at the end of
# a flow, where the logarithm of its time has no end, dpmpp_2m comes to 4 but slowly.
FACTORS = {1: (1.8, 2.2), 2: (3.2, 4.7)}
# Of EDM's error sigma_min leaves a part that no number of steps mends: here it is too small to see.
CHANGES: dict[str, dict[str, object]] = {
    "edm": {"sigma_min": 1e-4},
    "v": {"train_timesteps": 1000, "beta_schedule": "linear"},
    "epsilon": {"train_timesteps": 1000, "beta_schedule": "linear"},
    "sample": {"train_timesteps": 1000, "beta_schedule": "linear"},
}
NOISE = torch.tensor([-1.5, -1.0, 0.3, 1.0, 2.0], dtype=torch.float64).view(1, -1, 1, 1)


def solved(model: Any, objective: Objective, cond: Tensor, sampler: str, intervals: int) -> tuple[Tensor, Tensor]:
    """A sample from NOISE and its path, in so many intervals, without a limit."""
    steps = 2 * intervals - 1 if sampler == "heun" else intervals
    return sample(model, objective, cond, NOISE, sampler=sampler, steps=steps, limit=None)


def within(coarse: float, fine: float, order: int) -> bool:
    low, high = FACTORS[order]
    return low < coarse / fine < high


@pytest.mark.parametrize("name", ["flow", "edm"])
@pytest.mark.parametrize(("sampler", "order"), ORDERS)
def test_the_error_of_a_sample_falls_at_the_order(
    objective_named: Build, oracle: Any, gaussian: Any, no_cond: Cond, sampler: str, order: int, name: str
) -> None:
    objective = objective_named(name, **CHANGES.get(name, {}))
    data = gaussian(objective)

    def error(intervals: int) -> float:
        x, _ = solved(oracle(objective, data.expected), objective, no_cond(1), sampler, intervals)
        return float((x - data.flowed(NOISE)).abs().max())

    coarse, fine = error(200), error(400)
    assert fine < 0.01
    assert within(coarse, fine, order), coarse / fine


@pytest.mark.parametrize("name", ["flow", "edm", "epsilon", "v", "sample"])
@pytest.mark.parametrize(("sampler", "order"), ORDERS)
def test_the_error_on_the_way_falls_at_the_order(
    objective_named: Build, oracle: Any, gaussian: Any, no_cond: Cond, sampler: str, order: int, name: str
) -> None:
    """Four fifths down: DDPM's noise ends like a square root, so that its last interval, to the data, is of no order."""
    objective = objective_named(name, **CHANGES.get(name, {}))
    data = gaussian(objective)

    def error(intervals: int) -> float:
        _, path = solved(oracle(objective, data.expected), objective, no_cond(1), sampler, intervals)
        frame = 4 * intervals // 5
        # Both states have the same quantile among states of their time if they lead to the same data.
        reached = data.flowed(path[frame], objective.schedule(intervals)[frame])
        return float((reached - data.flowed(NOISE)).abs().max())

    coarse, fine = error(100), error(200)
    assert within(coarse, fine, order), coarse / fine


@pytest.mark.parametrize("name", ["flow", "edm", "epsilon", "v", "sample"])
def test_in_ten_evaluations_the_second_order_is_worth_it(
    objective_named: Build, oracle: Any, gaussian: Any, no_cond: Cond, name: str
) -> None:
    objective = objective_named(name)
    data = gaussian(objective)

    def error(sampler: str) -> float:
        x, _ = sample(
            oracle(objective, data.expected), objective, no_cond(1), NOISE, sampler=sampler, steps=10, limit=None
        )
        return float((x - data.flowed(NOISE)).abs().max())

    assert error("dpmpp_2m") < 0.9 * error("euler")


@pytest.mark.parametrize(
    ("sampler", "name"), [("euler", "flow"), ("ddim", "epsilon"), ("ddim", "v"), ("ddim", "sample"), ("heun", "edm")]
)
def test_deterministic_samplers_converge_to_the_gaussian(
    objective_named: Build, oracle: Any, gaussian: Any, no_cond: Cond, sampler: str, name: str
) -> None:
    """For Gaussian data the map from noise to data is linear, so noise of -1 and 1 tells its mean and its spread."""
    objective = objective_named(name, **({"train_timesteps": 1000} if sampler == "ddim" else {}))
    data = gaussian(objective)
    noise = torch.tensor([-1.0, 1.0], dtype=torch.float64).view(1, 2, 1, 1)

    def error(steps: int) -> float:
        model = oracle(objective, data.expected)
        x, _ = sample(model, objective, no_cond(1), noise, sampler=sampler, steps=steps, limit=None)
        low, high = x.flatten().tolist()
        return abs((low + high) / 2 - data.mean) + abs((high - low) / 2 - data.std)

    coarse, fine = error(20), error(200)
    assert fine < 0.01
    assert fine < 0.2 * coarse  # of first order: ten times the steps, a tenth of the error


def test_ancestral_sampling_converges_to_the_gaussian(
    objective_named: Build, oracle: Any, gaussian: Any, no_cond: Cond
) -> None:
    objective, n = objective_named("epsilon", train_timesteps=1000), 40_000
    data, g = gaussian(objective), torch.Generator().manual_seed(0)
    noise = torch.randn(1, n, 1, 1, generator=g, dtype=torch.float64)

    def moments(steps: int) -> tuple[float, float]:
        way: dict[str, Any] = {"sampler": "ddpm", "steps": steps, "generator": g, "limit": None}
        x, _ = sample(oracle(objective, data.expected), objective, no_cond(1), noise, **way)
        return float(x.mean()), float(x.std())

    mean, std = moments(200)
    assert abs(mean - data.mean) < 5 * data.std / n**0.5
    assert abs(std - data.std) < 0.01
    _, rough = moments(3)
    assert abs(rough - data.std) > 3 * abs(std - data.std)
