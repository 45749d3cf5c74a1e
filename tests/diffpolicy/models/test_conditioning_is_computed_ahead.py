"""What does not depend on x is computed once: for all steps of a sampler, and for all sequences of an observation."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from diffpolicy.config import FlowConfig
from diffpolicy.diffusion import build_objective, sample

Small = Callable[..., nn.Module]
NAMES = ["mlp", "transformer", "unet1d"]


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", NAMES)
def test_forward_is_denoise_of_condition(small: Small, name: str) -> None:
    backbone = small(name)
    x, t, cond = numbers(4, 8, 2), torch.rand(4), numbers(4, 5)
    assert torch.equal(backbone(x, t, cond), backbone.denoise(x, backbone.condition(t, cond)))


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_times_and_sequences_broadcast(small: Small, name: str) -> None:
    backbone = small(name)
    times, cond, x = torch.tensor([1.0, 0.5, 0.1]), numbers(4, 5), numbers(4, 6, 8, 2, seed=1)
    contexts = backbone.condition(times[:, None], cond)
    assert contexts.shape[:2] == (3, 4)
    for k, t in enumerate(times):
        together = backbone.denoise(x, contexts[k, :, None])
        for n in range(6):
            alone = backbone(x[:, n], t.expand(4), cond)
            torch.testing.assert_close(together[:, n], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_sampler_conditions_once_and_gets_the_same(small: Small, name: str) -> None:
    backbone, flow = small(name), build_objective(FlowConfig())
    noise, cond = numbers(3, 4, 8, 2), numbers(3, 5)
    calls = []
    condition = backbone.condition
    backbone.condition = lambda *a: (calls.append(a), condition(*a))[1]  # type: ignore[assignment]
    ahead, path = sample(backbone, flow, cond, noise, sampler="euler", steps=5)
    assert len(calls) == 1
    del backbone.condition
    plain, _ = sample(lambda x, t, c: backbone(x, t, c), flow, cond, noise, sampler="euler", steps=5)
    torch.testing.assert_close(ahead, plain, rtol=1e-5, atol=1e-5)
    assert path.shape == (6, *noise.shape)
