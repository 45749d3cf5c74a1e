"""The training loss is what the formulas say, and an action that the mask leaves out has no part in it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from diffpolicy.config import ExperimentConfig
from diffpolicy.policy import Batch, DiffusionPolicy

Tiny = Callable[..., ExperimentConfig]
Make = Callable[..., DiffusionPolicy]

OBJECTIVES: dict[str, dict[str, Any]] = {
    "flow": {},
    **{p: {"objective": {"name": "ddpm", "prediction": p}, "sampler": "ddim"} for p in ("epsilon", "v", "sample")},
}


class OnePlan(nn.Module):
    """A network that says the same whatever it is shown, so that its gradient tells which errors count."""

    def __init__(self, horizon: int = 16, action_dim: int = 2) -> None:
        super().__init__()
        self.plan = nn.Parameter(torch.zeros(horizon, action_dim))

    def forward(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        return self.plan.expand_as(x)


def batch(rows: int = 6, seed: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    return Batch(
        obs={"state": torch.rand(rows, 2, 5, generator=g) * 300},
        action=torch.rand(rows, 16, 2, generator=g) * 512,
        mask=torch.rand(rows, 16, generator=g) < 0.3,
    )


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_loss_of_a_network_that_says_nothing(tiny: Tiny, make_policy: Make, name: str) -> None:
    """It is the target's mean square: by hand, with the generator's times and noise."""
    policy = make_policy(tiny(policy=OBJECTIVES[name]))
    policy.backbone = OnePlan()
    b, g = batch(), seeded()
    del b["mask"]
    x0 = policy.normalizer.normalize("action", b["action"])
    if name == "flow":
        torch.randn(6, generator=g)
        target = torch.randn(x0.shape, generator=g) - x0
    else:
        level = torch.randint(100, (6,), generator=g)
        noise = torch.randn(x0.shape, generator=g)
        a = policy.objective.alphas_cumprod[level].view(-1, 1, 1)
        target = {"epsilon": noise, "sample": x0, "v": a.sqrt() * noise - (1 - a).sqrt() * x0}[name]
    torch.testing.assert_close(policy.loss(b, generator=seeded()), target.square().mean())


@pytest.mark.parametrize("name", OBJECTIVES)
def test_masked_actions_have_no_influence(tiny: Tiny, make_policy: Make, name: str) -> None:
    policy = make_policy(tiny(policy=OBJECTIVES[name]))
    policy.backbone = backbone = OnePlan()

    def value_and_gradient(b: Batch) -> tuple[Tensor, Tensor]:
        backbone.plan.grad = None
        loss = policy.loss(b, generator=seeded())
        loss.backward()
        assert backbone.plan.grad is not None
        return loss.detach(), backbone.plan.grad

    one, other = batch(), batch()
    other["action"] = torch.where(other["mask"][..., None], -777.0, other["action"])
    for found, expected in zip(value_and_gradient(other), value_and_gradient(one), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    counted = batch()
    counted["action"] = torch.where(one["mask"][..., None], counted["action"], counted["action"] + 50)
    if name != "epsilon":  # whose target is the noise alone
        assert not torch.equal(value_and_gradient(counted)[0], value_and_gradient(one)[0])


def test_loss_is_the_mean_over_what_is_left(tiny: Tiny, make_policy: Make) -> None:
    policy = make_policy(tiny())
    b = batch()
    seen: list[Tensor] = []
    policy.backbone.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
    loss = policy.loss(b, generator=seeded())
    x0, g = policy.normalizer.normalize("action", b["action"]), seeded()
    torch.randn(6, generator=g)
    errors = (seen[0] - (torch.randn(x0.shape, generator=g) - x0)).square()
    left = [errors[row, step] for row in range(6) for step in range(16) if not b["mask"][row, step]]
    assert len(left) < 6 * 16
    torch.testing.assert_close(loss, torch.stack(left).mean())


def test_a_mask_of_nothing_changes_nothing_and_one_of_all_gives_zero(tiny: Tiny, make_policy: Make) -> None:
    policy, b = make_policy(tiny()), batch()
    b["mask"] = torch.zeros(6, 16, dtype=torch.bool)
    masked = policy.loss(b, generator=seeded())
    del b["mask"]
    torch.testing.assert_close(policy.loss(b, generator=seeded()), masked)
    b["mask"] = torch.ones(6, 16, dtype=torch.bool)
    assert policy.loss(b, generator=seeded()) == 0


def test_observation_noise_reaches_the_network_and_nothing_else(tiny: Tiny, make_policy: Make) -> None:
    policy, b = make_policy(tiny()), batch()
    conds: list[Tensor] = []
    policy.backbone.register_forward_hook(lambda module, inputs, output: conds.append(inputs[2]))
    quiet = policy.loss(b, generator=seeded())
    assert policy.loss(b, generator=seeded(), observation_noise=0.0) == quiet
    assert policy.loss(b, generator=seeded(), observation_noise=0.5) != quiet
    added = conds[2] - conds[0]
    assert 0.4 < added.std() < 0.6
    assert abs(added.mean()) < 0.1


def test_the_seed_decides_the_loss(tiny: Tiny, make_policy: Make) -> None:
    policy, b = make_policy(tiny()), batch()
    values = [policy.loss(b, generator=seeded(seed), observation_noise=0.1) for seed in (1, 1, 2)]
    assert values[0] == values[1] != values[2]


def test_every_weight_learns(tiny: Tiny, make_policy: Make) -> None:
    policy = make_policy(tiny())
    policy.train()(batch(), generator=seeded(), observation_noise=0.01).backward()
    assert [name for name, p in policy.named_parameters() if p.grad is None or not p.grad.any()] == []
