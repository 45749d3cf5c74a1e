"""Samplers agree with what can be computed otherwise: diffusers' own loops, a row alone."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor

from diffpolicy.diffusion import Objective, sample

Build = Callable[..., Objective]
Cond = Callable[[int], Tensor]


def nonlinear(x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
    """Some network: what it says is no matter, only that both loops ask the same one."""
    return torch.sin(3 * x + 2 * t[:, None, None]) + 0.3 * cond[:, :1, None]


def gentle(x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
    """One that does not magnify rounding errors: their growth would say nothing of a loop."""
    return torch.sin(0.3 * x + 2 * t[:, None, None]) + 0.3 * cond[:, :1, None]


def theirs(kind: Any, name: str, **more: Any) -> Any:
    prediction = {"v": "v_prediction"}.get(name, name)
    return kind(100, beta_schedule="squaredcos_cap_v2", prediction_type=prediction, timestep_spacing="trailing", **more)


def diffusers_loop(scheduler: Any, model: Any, noise: Tensor, cond: Tensor, steps: int, g: torch.Generator) -> Tensor:
    """All its states, the noise first."""
    scheduler.set_timesteps(steps)
    path = [noise]
    for level in scheduler.timesteps:
        x = path[-1]
        t = torch.full((len(x),), (int(level) + 1) / 100, dtype=x.dtype)
        path.append(scheduler.step(model(x, t, cond), int(level), x, generator=g).prev_sample)
    return torch.stack(path)


WAYS = [("ddim", DDIMScheduler), ("ddpm", DDPMScheduler)]


@pytest.mark.parametrize("steps", [100, 50, 10, 4, 1])
@pytest.mark.parametrize("name", ["epsilon", "v", "sample"])
@pytest.mark.parametrize(("sampler", "kind"), WAYS)
def test_diffusers_own_loop_gives_the_same(
    objective_named: Build, sampler: str, kind: Any, name: str, steps: int
) -> None:
    """Where the steps divide the levels, diffusers' trailing spacing is right, and ours must be the same, to 1e-5."""
    g = torch.Generator().manual_seed(1)
    noise, cond = torch.randn(5, 1, 6, 2, generator=g), torch.randn(5, 3, generator=g)
    own, other = (torch.Generator().manual_seed(2) for _ in range(2))
    _, ours = sample(gentle, objective_named(name), cond, noise, sampler=sampler, steps=steps, generator=own)
    expected = diffusers_loop(theirs(kind, name, clip_sample=True), gentle, noise[:, 0], cond, steps, other)
    # Pure noise holds 5e-4 of the data: what one rounding takes of epsilon there, the division magnifies 2,000 times.
    torch.testing.assert_close(ours[:, :, 0], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("steps", [100, 10, 1])
@pytest.mark.parametrize("name", ["epsilon", "v", "sample"])
@pytest.mark.parametrize(("sampler", "kind"), WAYS)
def test_each_step_is_diffusers_own_even_of_a_wild_network(
    objective_named: Build, sampler: str, kind: Any, name: str, steps: int
) -> None:
    """From each of our states diffusers goes to our next one: no error has time to grow."""
    g = torch.Generator().manual_seed(1)
    noise, cond = torch.randn(5, 1, 6, 2, generator=g), torch.randn(5, 3, generator=g)
    own, other = (torch.Generator().manual_seed(2) for _ in range(2))
    _, path = sample(nonlinear, objective_named(name), cond, noise, sampler=sampler, steps=steps, generator=own)
    scheduler = theirs(kind, name, clip_sample=True)
    scheduler.set_timesteps(steps)
    for level, x, following in zip(scheduler.timesteps, path[:-1, :, 0], path[1:, :, 0], strict=True):
        said = nonlinear(x, torch.full((len(x),), (int(level) + 1) / 100), cond)
        found = scheduler.step(said, int(level), x, generator=other).prev_sample
        torch.testing.assert_close(following, found, rtol=0, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 2, 7, 10, 100])
@pytest.mark.parametrize("model", [nonlinear, gentle])
def test_diffusers_own_loop_of_a_flow_gives_the_same(objective_named: Build, model: Any, steps: int) -> None:
    g = torch.Generator().manual_seed(1)
    noise, cond = torch.randn(5, 1, 6, 2, generator=g), torch.randn(5, 3, generator=g)
    ours, _ = sample(model, objective_named("flow"), cond, noise, sampler="euler", steps=steps, limit=None)
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=torch.linspace(1, 1 / steps, steps).tolist())
    x = noise[:, 0]
    for level, sigma in zip(scheduler.timesteps, scheduler.sigmas, strict=False):
        x = scheduler.step(model(x, sigma.expand(len(x)), cond), level, x).prev_sample
    torch.testing.assert_close(ours[:, 0], x, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("sampler", "name"),
    [("euler", "flow"), ("dpmpp_2m", "flow"), ("ddim", "v"), ("ddpm", "epsilon"), ("heun", "edm")],
)
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
