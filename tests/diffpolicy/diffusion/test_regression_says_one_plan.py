"""Cloning: the plan is what the network says of the observation, whatever the noise; a second look mends it once."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from diffpolicy.diffusion import Objective, noise_levels, sample
from diffpolicy.errors import ConfigError

Build = Callable[..., Objective]
Cond = Callable[[int], Tensor]

LOOKS = [("mse", 1), ("l1", 1), ("two_looks", 2)]
CPU = torch.device("cpu")


def draw(seed: int = 0) -> Tensor:
    return torch.randn(3, 2, 5, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Clone:
    """A network of all its arguments, which remembers what it saw and said."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []
        self.said: list[Tensor] = []
        self.times: list[float] = []

    def __call__(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        self.seen.append(x)
        self.times.append(float(t[0]))
        self.said.append(torch.sin(2 * x + 3 * t[:, None, None] + cond[:, :1, None]) * 0.7)
        return self.said[-1]


@pytest.mark.parametrize(("name", "looks"), LOOKS)
def test_the_plan_does_not_depend_on_the_noise(objective_named: Build, name: str, looks: int) -> None:
    objective, cond = objective_named(name), torch.arange(3.0)[:, None].double()
    plans = [
        sample(Clone(), objective, cond, draw(seed), sampler="direct", steps=looks, limit=limit)[0]
        for seed, limit in ((0, 1.0), (1, 1.0), (2, None))
    ]
    assert torch.equal(plans[0], plans[1])
    torch.testing.assert_close(plans[0], plans[2])
    assert torch.equal(plans[0][:, 0], plans[0][:, 1])  # all samples of an observation are one plan
    assert not torch.allclose(plans[0][0], plans[0][1], atol=1e-3)  # of another observation it is another


@pytest.mark.parametrize(("name", "looks"), LOOKS)
def test_what_the_network_says_last_is_the_plan(objective_named: Build, no_cond: Cond, name: str, looks: int) -> None:
    objective, noise, model = objective_named(name), draw(), Clone()
    x, path = sample(model, objective, no_cond(3), noise, sampler="direct", steps=looks)
    assert len(model.said) == looks
    torch.testing.assert_close(x.flatten(0, 1), model.said[-1])
    assert len(path) == len(noise_levels(objective, "direct", looks)) == looks + 1
    assert noise_levels(objective, "direct", looks).tolist() == [1.0] + [0.0] * looks, "a look at a plan sees no noise"
    assert torch.equal(path[0], noise)
    assert torch.equal(path[-1], x)


def test_the_first_look_sees_nothing_and_the_second_most_of_the_first_plan(
    objective_named: Build, no_cond: Cond
) -> None:
    model = Clone()
    sample(model, objective_named("two_looks"), no_cond(3), draw(), sampler="direct", steps=2)
    assert model.times == [1.0, 0.1]
    assert (model.seen[0] == 0).all()
    torch.testing.assert_close(model.seen[1], 0.9 * model.said[0], rtol=1e-12, atol=1e-12)
    other = Clone()
    sample(other, objective_named("two_looks", second_look=0.25), no_cond(3), draw(), sampler="direct", steps=2)
    torch.testing.assert_close(other.seen[1], 0.75 * other.said[0], rtol=1e-12, atol=1e-12)


def test_the_second_look_sees_the_plan_within_the_limit(objective_named: Build, no_cond: Cond) -> None:
    model = Clone()
    x, _ = sample(model, objective_named("two_looks"), no_cond(3), draw(), sampler="direct", steps=2, limit=0.05)
    assert model.said[0].abs().max() > 0.05
    torch.testing.assert_close(model.seen[1], 0.9 * model.said[0].clamp(-0.05, 0.05))
    assert x.abs().max() <= 0.05


def test_training_shows_the_same_two_looks(objective_named: Build) -> None:
    """Zeros at t = 1; at the second look the recorded plan, mixed with its share of noise. Each as often as the other."""
    objective, n = objective_named("two_looks"), 10_000
    t = objective.times(n, torch.Generator().manual_seed(0), CPU)
    second = t != 1
    torch.testing.assert_close(t[second], torch.full((int(second.sum()),), 0.1))
    assert abs(int(second.sum()) - n / 2) < 5 * (n / 4) ** 0.5
    x0, noise = torch.randn(2, n, 5, 2, generator=torch.Generator().manual_seed(1)).unbind()
    seen = objective.seen(objective.corrupt(x0, noise, t), t)
    assert (seen[~second] == 0).all()
    torch.testing.assert_close(seen[second], (0.9 * x0 + 0.1 * noise)[second])


@pytest.mark.parametrize("name", ["mse", "l1", "mixture"])
def test_training_with_one_look_shows_nothing_but_the_observation(objective_named: Build, name: str) -> None:
    objective, x = objective_named(name), draw()[:, 0]
    t = objective.times(3, None, CPU)
    assert (t == 1).all()
    assert (objective.seen(objective.corrupt(x, 2 * x, t), t) == 0).all()


@pytest.mark.parametrize(("name", "power"), [("mse", 2), ("two_looks", 2), ("l1", 1)])
def test_the_loss_is_the_mean_error_of_the_plan(objective_named: Build, name: str, power: int) -> None:
    objective, x0 = objective_named(name), draw()[:, 0]
    off = draw(1)[:, 0]
    for t in (torch.ones(3), objective.times(3, None, CPU)):
        found = objective.loss(x0 + off, x0, draw(2)[:, 0], t)
        torch.testing.assert_close(found, off.abs().pow(power).mean())


@pytest.mark.parametrize(("name", "looks"), [*LOOKS, ("mixture", 1)])
def test_any_other_number_of_steps_is_refused(objective_named: Build, no_cond: Cond, name: str, looks: int) -> None:
    for steps in {1, 2, 3, 10} - {looks}:
        way: dict[str, Any] = {"sampler": "direct", "steps": steps}
        with pytest.raises(ConfigError) as caught:
            sample(Clone(), objective_named(name), no_cond(3), draw(), **way)
        message = str(caught.value)
        assert f"steps is {steps}" in message
        assert f"takes {looks}" in message
        assert "\n" not in message


@pytest.mark.parametrize(("name", "middle"), [("mse", 0.3), ("l1", 0.6)])
def test_what_is_learned_of_two_ways_is_between_them_or_one(objective_named: Build, name: str, middle: float) -> None:
    """Least squares leads between the ways, where nobody went; least absolute error the way most people went."""
    objective = objective_named(name)
    g = torch.Generator().manual_seed(0)
    signs = torch.where(torch.arange(400) < 300, 1.0, -1.0)[:, None, None]  # three in four
    x0 = 0.6 * signs + 0.02 * torch.randn(400, 4, 2, generator=g)
    plan = torch.zeros(4, 2, requires_grad=True)
    optimizer = torch.optim.Adam([plan], lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        objective.loss(plan.expand_as(x0), x0, torch.zeros_like(x0), torch.ones(400)).backward()
        optimizer.step()
    assert (plan - middle).abs().max() < 0.03
