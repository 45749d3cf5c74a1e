"""With a network that knows the data, every sampler arrives there, in no more evaluations than it was allowed."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from diffpolicy.config_objectives import SAMPLERS
from diffpolicy.diffusion import Objective, noise_levels, sample
from diffpolicy.errors import ConfigError

Build = Callable[..., Objective]
Cond = Callable[[int], Tensor]

DETERMINISTIC = ("euler", "heun", "dpmpp_2m")
SOLVED = [(s, name) for s in DETERMINISTIC for name in ("flow", "edm", "epsilon", "v", "sample")]
SOLVED += [("ddim", name) for name in ("epsilon", "v", "sample")]
WAYS = SOLVED + [("ddpm", name) for name in ("epsilon", "v", "sample")]
STEPS = [1, 2, 3, 7, 10, 100]
ROWS, N = 2, 3


def draw(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Data within the limit and standard normal noise, in float64."""
    g = torch.Generator().manual_seed(seed)
    x0 = torch.rand(ROWS, N, 4, 2, generator=g, dtype=torch.float64) * 1.8 - 0.9
    return x0, torch.randn(x0.shape, generator=g, dtype=torch.float64)


def intervals(sampler: str, steps: int) -> int:
    """Heun takes two evaluations for each but the last."""
    return (steps + 1) // 2 if sampler == "heun" else steps


@pytest.mark.parametrize("limit", [None, 1.0])
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize(("sampler", "name"), WAYS)
def test_an_oracle_is_followed_to_the_data(
    objective_named: Build, oracle: Any, no_cond: Cond, sampler: str, name: str, steps: int, limit: float | None
) -> None:
    objective, (x0, noise) = objective_named(name), draw()
    x, path = sample(oracle(objective, x0), objective, no_cond(ROWS), noise, sampler=sampler, steps=steps, limit=limit)
    assert x.dtype == torch.float64
    torch.testing.assert_close(x, x0, rtol=0, atol=1e-10)
    assert path.shape == (intervals(sampler, steps) + 1, *x0.shape)
    assert path.isfinite().all()
    assert torch.equal(path[0], noise)
    assert torch.equal(path[-1], x)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize(("sampler", "name"), WAYS)
def test_the_network_is_asked_no_more_often_than_allowed(
    objective_named: Build, oracle: Any, no_cond: Cond, sampler: str, name: str, steps: int
) -> None:
    """At the times of the schedule, from pure noise down: each once, but by Heun twice where an interval ends."""
    objective, (x0, noise) = objective_named(name), draw()
    model = oracle(objective, x0)
    sample(model, objective, no_cond(ROWS), noise, sampler=sampler, steps=steps)
    assert len(model.times) == (steps - 1 + steps % 2 if sampler == "heun" else steps)
    assert all(t.shape == (ROWS * N,) for t in model.times)
    first, *others = objective.schedule(intervals(sampler, steps))
    expected = [first, *(t for t in others for _ in range(2 if sampler == "heun" else 1))]
    assert [float(t[0]) for t in model.times] == expected
    # What it is shown is the state as the objective shows it.
    for t, seen in zip(model.times[:1], model.seen[:1], strict=True):
        torch.testing.assert_close(seen, objective.seen(noise.flatten(0, 1), t), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize(("sampler", "name"), SOLVED)
def test_frames_hold_the_noise_they_are_said_to(
    objective_named: Build, oracle: Any, no_cond: Cond, sampler: str, name: str, steps: int
) -> None:
    """Heun's trial states are no frames: they would be a second one of the same level."""
    objective, (x0, noise) = objective_named(name), draw()
    # From data that are 0 a frame is nothing but its noise.
    model = oracle(objective, torch.zeros_like(x0))
    _, path = sample(model, objective, no_cond(ROWS), noise, sampler=sampler, steps=steps, limit=None)
    levels = noise_levels(objective, sampler, steps).double()
    assert len(levels) == len(path)
    # A sample begins with noise of 1, whatever tiny rest of the data the schedule leaves there.
    torch.testing.assert_close(path, levels.view(-1, 1, 1, 1, 1) * noise, rtol=0, atol=5e-4)
    torch.testing.assert_close(path[1:], (levels[1:] / levels[0]).view(-1, 1, 1, 1, 1) * noise, rtol=0, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 3, 10, 100])
def test_ancestral_frames_are_distributed_as_the_forward_process(
    objective_named: Build, oracle: Any, no_cond: Cond, steps: int
) -> None:
    """With the true x_0, each step draws from q(x_{t-1} | x_t, x_0), so every frame from q(x_t | x_0)."""
    objective, n = objective_named("epsilon"), 40_000
    g = torch.Generator().manual_seed(5)
    noise = torch.randn(1, n, 1, 1, generator=g, dtype=torch.float64)
    model = oracle(objective, torch.full_like(noise, 0.7))
    _, path = sample(model, objective, no_cond(1), noise, sampler="ddpm", steps=steps, generator=g, limit=None)
    level = noise_levels(objective, "ddpm", steps).double()
    mean, std = path.flatten(1).mean(dim=1), path.flatten(1).std(dim=1)
    assert ((mean - 0.7 * (1 - level.square()).sqrt()).abs() <= 1e-3 + 5 * level / math.sqrt(n)).all()
    assert ((std - level).abs() <= 1e-6 + 5 * level / math.sqrt(2 * n)).all()


@pytest.mark.parametrize(("sampler", "name"), [("euler", "flow"), ("heun", "edm"), ("ddim", "v"), ("heun", "v")])
def test_noise_only_falls_from_one_to_zero(objective_named: Build, sampler: str, name: str) -> None:
    for most in (1, 2, 7, 50, 100):
        objective = objective_named(name, **({"train_timesteps": most} if name == "v" else {}))
        for steps in range(1, most + 1):
            level = noise_levels(objective, sampler, steps)
            assert level.shape == (intervals(sampler, steps) + 1,)
            assert abs(level[0] - 1) < 1e-3
            assert level[-1] == 0
            assert (level.diff() < 0).all()


@pytest.mark.parametrize("limit", [1.0, 0.5])
@pytest.mark.parametrize("steps", [1, 2, 10])
@pytest.mark.parametrize(("sampler", "name"), WAYS)
def test_results_stay_within_the_limit(
    objective_named: Build, no_cond: Cond, sampler: str, name: str, steps: int, limit: float
) -> None:
    objective, g = objective_named(name), torch.Generator().manual_seed(0)
    noise = torch.randn(4, 8, 4, 2, generator=g)

    def wild(x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        return 5e4 * torch.sin(7 * x + t[:, None, None])

    way: dict[str, Any] = {"sampler": sampler, "steps": steps}
    x, path = sample(wild, objective, no_cond(4), noise, **way, generator=g, limit=limit)
    assert path.isfinite().all()
    assert x.abs().max() <= limit
    free, _ = sample(wild, objective, no_cond(4), noise, **way, generator=g, limit=None)
    assert free.abs().max() > 1


@pytest.mark.parametrize("steps", [0, -1])
@pytest.mark.parametrize(("sampler", "name"), [*WAYS, ("direct", "mse"), ("direct", "mixture")])
def test_no_steps_are_refused(
    objective_named: Build, oracle: Any, no_cond: Cond, sampler: str, name: str, steps: int
) -> None:
    objective, (x0, noise) = objective_named(name), draw()
    with pytest.raises(ConfigError, match=f"^steps is {steps}; .* at least one.*$"):
        sample(oracle(objective, x0), objective, no_cond(ROWS), noise, sampler=sampler, steps=steps)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "euler", "dpmpp_2m"])
def test_more_steps_than_levels_are_refused(objective_named: Build, oracle: Any, no_cond: Cond, sampler: str) -> None:
    objective, (x0, noise) = objective_named("v", train_timesteps=10), draw()
    x, _ = sample(oracle(objective, x0), objective, no_cond(ROWS), noise, sampler=sampler, steps=10)
    torch.testing.assert_close(x, x0)
    with pytest.raises(ConfigError, match=r"steps is 11, but .* 10 noise levels"):
        sample(oracle(objective, x0), objective, no_cond(ROWS), noise, sampler=sampler, steps=11)


@pytest.mark.parametrize(
    ("name", "sampler"),
    [("flow", "ddpm"), ("flow", "ddim"), ("flow", "direct"), ("edm", "ddim"), ("epsilon", "dpm"), ("mse", "euler")],
)
def test_a_sampler_of_another_objective_is_refused(
    objective_named: Build, oracle: Any, no_cond: Cond, name: str, sampler: str
) -> None:
    objective, (x0, noise) = objective_named(name), draw()
    fits = ", ".join(SAMPLERS[objective.name])
    with pytest.raises(
        ConfigError, match=f"^sampler '{sampler}' cannot solve '{objective.name}'; it is solved by {fits}$"
    ):
        sample(oracle(objective, x0), objective, no_cond(ROWS), noise, sampler=sampler, steps=2)
