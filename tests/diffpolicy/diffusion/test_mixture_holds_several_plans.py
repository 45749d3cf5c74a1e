"""A mixture density: its loss is a likelihood, training finds the ways people went, and use draws them by their weights."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.nn.functional import softplus

from diffpolicy.diffusion import Objective, sample

Build = Callable[..., Objective]
Cond = Callable[[int], Tensor]

ROWS, HORIZON, ACTION, MODES = 6, 5, 3, 4


def draw(objective: Objective, seed: int = 0) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """An output, data, and the noise and time that a loss asks for in vain."""
    g = torch.Generator().manual_seed(seed)
    output = torch.randn(ROWS, HORIZON, objective.outputs(ACTION), generator=g, dtype=torch.float64)
    x0 = torch.randn(ROWS, HORIZON, ACTION, generator=g, dtype=torch.float64)
    return output, x0, {"noise": torch.full_like(x0, torch.nan), "t": torch.ones(ROWS)}


def density(output: Tensor, counted: Tensor | None = None) -> MixtureSameFamily:
    """Over whole plans of one row, or over the actions that count; read off the output here, not by `parts`."""
    means = output[:, : MODES * ACTION].unflatten(-1, (MODES, ACTION)).transpose(0, 1)
    spreads = softplus(output[:, MODES * ACTION : 2 * MODES * ACTION]) + 0.01
    spreads = spreads.unflatten(-1, (MODES, ACTION)).transpose(0, 1)
    logits = output[:, 2 * MODES * ACTION :].mean(dim=0)
    if counted is not None:
        means, spreads = means[:, counted], spreads[:, counted]
    return MixtureSameFamily(Categorical(logits=logits), Independent(Normal(means, spreads), 2))


def test_an_output_holds_a_mean_a_spread_and_a_logit_for_each_mode(objective_named: Build) -> None:
    for modes, action in ((1, 2), (4, 3), (5, 7)):
        assert objective_named("mixture", modes=modes).outputs(action) == modes * (2 * action + 1)
    for name in ("flow", "v", "edm", "mse", "two_looks"):
        assert objective_named(name).outputs(7) == 7


def test_the_loss_is_the_negative_log_likelihood_of_a_plan(objective_named: Build) -> None:
    mixture = objective_named("mixture", modes=MODES)
    output, x0, rest = draw(mixture)
    likelihoods = torch.stack([density(o).log_prob(x) for o, x in zip(output, x0, strict=True)])
    expected = -likelihoods.mean() / (HORIZON * ACTION)  # per number, so that plans of all lengths weigh alike
    torch.testing.assert_close(mixture.loss(output, x0, **rest), expected, rtol=1e-10, atol=0)


def test_only_actions_with_weight_count(objective_named: Build) -> None:
    mixture = objective_named("mixture", modes=MODES)
    output, x0, rest = draw(mixture)
    counted = torch.arange(HORIZON) < torch.tensor([5, 1, 2, 3, 4, 0])[:, None]
    weight = counted[..., None].double()
    likelihoods = [density(o, c).log_prob(x[c]) for o, x, c in zip(output, x0, counted, strict=True) if c.any()]
    expected = -torch.stack(likelihoods).sum() / (counted.sum() * ACTION)
    found = mixture.loss(output, x0, **rest, weight=weight)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=0)
    elsewhere = torch.where(weight > 0, x0, 1e3)
    torch.testing.assert_close(mixture.loss(output, elsewhere, **rest, weight=weight), found, rtol=1e-10, atol=0)
    every = mixture.loss(output, x0, **rest, weight=torch.ones_like(weight))
    torch.testing.assert_close(every, mixture.loss(output, x0, **rest), rtol=1e-12, atol=0)
    assert mixture.loss(output, x0, **rest, weight=torch.zeros_like(weight)) == 0


def test_no_mode_is_narrower_than_the_least(objective_named: Build) -> None:
    """Where a mode stands on the one plan there is, the likelihood would grow without bounds."""
    mixture = objective_named("mixture", modes=1, least_std=0.05)
    x0 = torch.full((1, HORIZON, ACTION), 0.3)
    output = torch.cat([x0, torch.full_like(x0, -1e4), torch.zeros(1, HORIZON, 1)], dim=-1)
    peak = -Normal(0.0, 0.05).log_prob(torch.tensor(0.0))
    torch.testing.assert_close(mixture.loss(output, x0, x0, torch.ones(1)), peak)


def fitted(mixture: Objective, x0: Tensor) -> Tensor:
    """The output for which the loss on these plans is least, as a network would say it that sees nothing."""
    g = torch.Generator().manual_seed(0)
    output = (0.1 * torch.randn(HORIZON, mixture.outputs(ACTION), generator=g)).requires_grad_()
    optimizer = torch.optim.Adam([output], lr=0.05)
    for _ in range(250):
        optimizer.zero_grad()
        mixture.loss(output.expand(len(x0), -1, -1), x0, x0, torch.ones(len(x0))).backward()
        optimizer.step()
    return output.detach()


@pytest.mark.parametrize("share", [0.5, 0.75])
def test_training_finds_both_ways_and_use_draws_them_by_their_weights(
    objective_named: Build, no_cond: Cond, share: float
) -> None:
    mixture, n = objective_named("mixture", modes=2), 20_000
    g = torch.Generator().manual_seed(1)
    signs = torch.where(torch.arange(400) < share * 400, 1.0, -1.0)[:, None, None]
    x0 = 0.6 * signs + 0.05 * torch.randn(400, HORIZON, ACTION, generator=g)
    output = fitted(mixture, x0)

    def network(x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        return output.expand(len(x), -1, -1)

    noise = torch.randn(1, n, HORIZON, ACTION, generator=g)
    x, path = sample(network, mixture, no_cond(1), noise, sampler="direct", steps=1)
    assert path.shape == (2, *noise.shape)
    one_way = x.mean(dim=(0, 2, 3)) > 0
    # Every plan is one of the two ways, wholly: none lies between, none changes on the way.
    assert (x - 0.6 * torch.where(one_way, 1.0, -1.0)[None, :, None, None]).abs().max() < 0.02
    assert abs(float(one_way.float().mean()) - share) < 5 * math.sqrt(share * (1 - share) / n) + 0.005


def test_modes_are_drawn_as_often_as_their_weights_say(objective_named: Build, no_cond: Cond) -> None:
    mixture, n = objective_named("mixture", modes=MODES), 40_000
    output, _, _ = draw(mixture)

    def network(x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        return output[cond[:, 0].long()]

    rows, g = torch.arange(ROWS)[:, None].double(), torch.Generator().manual_seed(2)
    noise = torch.randn(ROWS, n // ROWS, HORIZON, ACTION, generator=g, dtype=torch.float64)
    x, _ = sample(network, mixture, rows, noise, sampler="direct", steps=1, limit=None)
    for row in range(ROWS):
        modes = density(output[row]).component_distribution.mean
        distance = (x[row][:, None] - modes).abs().amax(dim=(2, 3))
        assert distance.amin(dim=1).max() < 1e-12  # each plan is the mean of a mode of its own row
        frequency = torch.bincount(distance.argmin(dim=1), minlength=MODES) / len(x[row])
        weight = density(output[row]).mixture_distribution.probs
        assert ((frequency - weight).abs() < 5 * (weight * (1 - weight) / len(x[row])).sqrt()).all()


def test_a_generator_decides_the_mode(objective_named: Build, no_cond: Cond) -> None:
    """The first number of the noise alone, so that noise kept from plan to plan keeps the mode."""
    mixture, g = objective_named("mixture", modes=MODES), torch.Generator().manual_seed(0)
    output, _, _ = draw(mixture)
    x = torch.randn(ROWS, HORIZON, ACTION, generator=g, dtype=torch.float64)
    other = torch.randn(x.shape, generator=g, dtype=torch.float64)
    other[:, 0, 0] = x[:, 0, 0]
    assert torch.equal(mixture.decode(output, x), mixture.decode(output, other))
    for far in (-40.0, 40.0):  # no quantile is beyond the modes
        other[:, 0, 0] = far
        assert mixture.decode(output, other).isfinite().all()
        mode = 0 if far < 0 else MODES - 1
        expected = output[..., mode * ACTION : (mode + 1) * ACTION]
        assert torch.equal(mixture.decode(output, other), expected)
