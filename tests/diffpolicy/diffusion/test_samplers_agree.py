"""Samplers agree with what can be computed otherwise: a Gaussian's closed form, diffusers' own loops, a row alone."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch import Tensor

from diffpolicy.diffusion import DDPM, Flow, sample

Build = Callable[..., DDPM | Flow]
Cond = Callable[[int], Tensor]

MEAN, STD = 0.4, 0.3


def knows_the_gaussian(objective: DDPM | Flow) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The best network there is for data from N(MEAN, STD^2): it says E[x_0 | x_t]."""

    def model(x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        one, none = torch.ones_like(x), torch.zeros_like(x)
        signal, sigma = objective.corrupt(one, none, t), objective.corrupt(none, one, t)
        gain = signal * STD**2 / (signal.square() * STD**2 + sigma.square())
        return objective.output_of(x, t, MEAN + gain * (x - signal * MEAN))

    return model


@pytest.mark.parametrize(
    ("sampler", "name"), [("euler", "flow"), ("ddim", "epsilon"), ("ddim", "v"), ("ddim", "sample")]
)
def test_deterministic_samplers_converge_to_the_gaussian(
    objective_named: Build, no_cond: Cond, sampler: str, name: str
) -> None:
    """For Gaussian data the map from noise to data is linear, so noise of -1 and 1 tells its mean and its spread."""
    objective = objective_named(name) if name == "flow" else objective_named(name, train_timesteps=1000)
    noise = torch.tensor([-1.0, 1.0], dtype=torch.float64).view(1, 2, 1, 1)

    def error(steps: int) -> float:
        model = knows_the_gaussian(objective)
        x, _ = sample(model, objective, no_cond(1), noise, sampler=sampler, steps=steps, limit=None)
        low, high = x.flatten().tolist()
        return abs((low + high) / 2 - MEAN) + abs((high - low) / 2 - STD)

    coarse, fine = error(20), error(200)
    assert fine < 0.01
    assert fine < 0.2 * coarse  # of first order: ten times the steps, a tenth of the error


def test_ancestral_sampling_converges_to_the_gaussian(objective_named: Build, no_cond: Cond) -> None:
    objective, n = objective_named("epsilon", train_timesteps=1000), 40_000
    g = torch.Generator().manual_seed(0)
    noise = torch.randn(1, n, 1, 1, generator=g, dtype=torch.float64)

    def moments(steps: int) -> tuple[float, float]:
        model = knows_the_gaussian(objective)
        way: dict[str, Any] = {"sampler": "ddpm", "steps": steps, "generator": g, "limit": None}
        x, _ = sample(model, objective, no_cond(1), noise, **way)
        return float(x.mean()), float(x.std())

    mean, std = moments(200)
    assert abs(mean - MEAN) < 5 * STD / n**0.5
    assert abs(std - STD) < 0.01
    _, rough = moments(3)
    assert abs(rough - STD) > 3 * abs(std - STD)


def nonlinear(x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
    """Some network: what it says is no matter, only that both loops ask the same one."""
    return torch.sin(3 * x + 2 * t[:, None, None]) + 0.3 * cond[:, :1, None]


def diffusers_loop(scheduler: Any, noise: Tensor, cond: Tensor, steps: int, generator: torch.Generator) -> Tensor:
    scheduler.set_timesteps(steps)
    x = noise
    for level in scheduler.timesteps:
        t = torch.full((len(x),), (int(level) + 1) / 100, dtype=x.dtype)
        x = scheduler.step(nonlinear(x, t, cond), int(level), x, generator=generator).prev_sample
    return x


@pytest.mark.parametrize("steps", [100, 50, 10, 4, 1])
@pytest.mark.parametrize("name", ["epsilon", "v", "sample"])
@pytest.mark.parametrize(("sampler", "scheduler"), [("ddim", DDIMScheduler), ("ddpm", DDPMScheduler)])
def test_diffusers_own_loop_gives_the_same(
    objective_named: Build, sampler: str, scheduler: Any, name: str, steps: int
) -> None:
    """Where the steps divide the levels, diffusers' trailing spacing is right, and ours must be the same."""
    g = torch.Generator().manual_seed(1)
    noise, cond = torch.randn(5, 1, 6, 2, generator=g), torch.randn(5, 3, generator=g)
    objective = objective_named(name)
    ours, _ = sample(
        nonlinear, objective, cond, noise, sampler=sampler, steps=steps, generator=torch.Generator().manual_seed(2)
    )
    theirs = scheduler(
        num_train_timesteps=100,
        beta_schedule="squaredcos_cap_v2",
        prediction_type={"v": "v_prediction"}.get(name, name),
        timestep_spacing="trailing",
        clip_sample=True,
    )
    expected = diffusers_loop(theirs, noise[:, 0], cond, steps, torch.Generator().manual_seed(2))
    torch.testing.assert_close(ours[:, 0], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("sampler", "name"), [("euler", "flow"), ("ddim", "v"), ("ddpm", "epsilon")])
def test_a_row_with_its_own_generator_does_not_depend_on_the_others(
    objective_named: Build, sampler: str, name: str
) -> None:
    objective, g = objective_named(name), torch.Generator().manual_seed(3)
    noise, cond = torch.randn(4, 3, 6, 2, generator=g), torch.randn(4, 5, generator=g)

    def run(rows: list[int]) -> Tensor:
        generators = [torch.Generator().manual_seed(row) for row in rows]
        way: dict[str, Any] = {"sampler": sampler, "steps": 7, "generator": generators}
        return sample(nonlinear, objective, cond[rows], noise[rows], **way)[1]

    together = run([0, 1, 2, 3])
    for rows in ([2], [3, 0], [1, 2, 3, 0]):
        torch.testing.assert_close(run(rows), together[:, rows], rtol=0, atol=0)


def test_sequences_of_a_row_see_that_rows_observation(objective_named: Build) -> None:
    seen = []

    def model(x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        seen.append(cond)
        return torch.zeros_like(x)

    cond = torch.tensor([[1.0], [2.0]])
    sample(model, objective_named("flow"), cond, torch.zeros(2, 3, 4, 2), sampler="euler", steps=1)
    assert seen[0].flatten().tolist() == [1, 1, 1, 2, 2, 2]


def test_a_given_generator_is_the_only_source_of_noise(objective_named: Build, no_cond: Cond) -> None:
    objective, noise = objective_named("epsilon"), torch.randn(2, 2, 4, 2, generator=torch.Generator().manual_seed(0))
    before = torch.get_rng_state()

    def run(seed: int) -> Tensor:
        g = torch.Generator().manual_seed(seed)
        return sample(nonlinear, objective, no_cond(2), noise, sampler="ddpm", steps=5, generator=g)[0]

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))
    assert torch.equal(torch.get_rng_state(), before)
