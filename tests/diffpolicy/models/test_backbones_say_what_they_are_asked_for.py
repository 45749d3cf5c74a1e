"""A backbone says as many numbers of each action as its objective asks for, which need not be as many as an action has."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from diffpolicy.config import MixtureConfig
from diffpolicy.diffusion import build_objective, sample

Small = Callable[..., nn.Module]

NAMES = ["mlp", "transformer", "unet1d", "ensemble"]


def inputs(rows: int = 3, action_dim: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(1)
    x, cond = torch.randn(rows, 8, action_dim, generator=g), torch.randn(rows, 5, generator=g)
    return x, torch.rand(rows, generator=g), cond


@pytest.mark.parametrize(("action_dim", "outputs"), [(2, 1), (2, 25), (7, 75), (3, 2)])
@pytest.mark.parametrize("name", NAMES)
def test_each_action_gets_so_many_numbers(small: Small, name: str, action_dim: int, outputs: int) -> None:
    output = small(name, action_dim=action_dim, outputs=outputs)(*inputs(action_dim=action_dim))
    assert output.shape == (3, 8, outputs)
    assert output.isfinite().all()
    # Each is a number of its own, in every row and at every step.
    assert torch.pdist(output.permute(2, 0, 1).flatten(1)).min() > 1e-3 if outputs > 1 else output.std() > 0


@pytest.mark.parametrize("name", NAMES)
def test_unless_asked_otherwise_as_many_as_an_action_has(small: Small, name: str) -> None:
    x, t, cond = inputs()
    torch.manual_seed(0)
    plain = small(name)
    torch.manual_seed(0)
    asked = small(name, outputs=2)
    assert plain.state_dict().keys() == asked.state_dict().keys()
    assert torch.equal(plain(x, t, cond), asked(x, t, cond))


@pytest.mark.parametrize("name", NAMES)
def test_more_numbers_cost_only_the_last_layer(small: Small, name: str) -> None:
    """All of x, t and cond matter to each of them, through the same features."""
    few, many = small(name), small(name, outputs=25)
    changed = {
        key
        for key, value in many.state_dict().items()
        if value.shape != few.state_dict().get(key, torch.empty(0)).shape
    }
    assert changed
    assert all("output" in key.split(".") for key in changed)
    x, t, cond = inputs(rows=1)
    for gradient in torch.autograd.functional.jacobian(lambda *a: many(*a), (x, t, cond)):
        per_output = gradient.flatten(0, 2).flatten(1).abs()
        assert (per_output > 1e-9).float().mean() > 0.99


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_times_and_sequences_broadcast(small: Small, name: str) -> None:
    backbone = small(name, outputs=11)
    g = torch.Generator().manual_seed(0)
    x, cond, times = torch.randn(4, 6, 8, 2, generator=g), torch.randn(4, 5, generator=g), torch.tensor([1.0, 0.1])
    contexts = backbone.condition(times[:, None], cond)
    for k, t in enumerate(times):
        together = backbone.denoise(x, contexts[k, :, None])
        assert together.shape == (4, 6, 8, 11)
        for n in range(6):
            torch.testing.assert_close(together[:, n], backbone(x[:, n], t.expand(4), cond), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_mixture_is_sampled_of_any_backbone(small: Small, name: str) -> None:
    """Conditioned ahead or not, a plan is one of the means that the network says of its row."""
    mixture = build_objective(MixtureConfig(modes=3))
    backbone = small(name, outputs=mixture.outputs(2))
    g = torch.Generator().manual_seed(0)
    noise, cond = torch.randn(4, 6, 8, 2, generator=g), torch.randn(4, 5, generator=g)
    ahead, _ = sample(backbone, mixture, cond, noise, sampler="direct", steps=1, limit=None)
    plain, _ = sample(lambda *a: backbone(*a), mixture, cond, noise, sampler="direct", steps=1, limit=None)
    torch.testing.assert_close(ahead, plain, rtol=1e-5, atol=1e-5)
    said = backbone(torch.zeros(4, 8, 2), torch.ones(4), cond)
    means = said[..., :6].unflatten(-1, (3, 2)).permute(0, 2, 1, 3)
    distance = (ahead[:, :, None] - means[:, None]).abs().amax(dim=(-2, -1)).amin(dim=-1)
    assert distance.max() < 1e-5
