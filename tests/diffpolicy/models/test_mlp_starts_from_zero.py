"""The MLP begins as the zero function and its blocks as the identity, so that training starts from a known place."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from diffpolicy.config import MLPConfig
from diffpolicy.models import MLPBackbone

X, T, COND = torch.randn(3, 8, 2, generator=torch.Generator().manual_seed(0)), torch.rand(3), torch.ones(3, 5)
SIZES = {"horizon": 8, "action_dim": 2, "cond_dim": 5, "outputs": 2}


def test_a_new_network_says_zero(small: Callable[..., nn.Module]) -> None:
    assert (small("mlp", perturbed=False)(X, T, COND) == 0).all()


def test_a_new_network_learns_at_its_output_first(small: Callable[..., nn.Module]) -> None:
    backbone = small("mlp", perturbed=False)
    (backbone(X, T, COND) - 1).square().mean().backward()
    moved = {name for name, p in backbone.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved == {"output.weight", "output.bias"}


@pytest.mark.parametrize("blocks", [1, 3])
def test_new_blocks_are_the_identity(blocks: int) -> None:
    backbone = MLPBackbone(MLPConfig(width=16, blocks=blocks, cond_width=8), **SIZES)
    assert len(backbone.blocks) == blocks
    h = torch.randn(3, 16)
    context = backbone.condition(torch.rand(3), torch.randn(3, 5))
    _, *modulations, shift, scale = context.split(backbone.parts, dim=-1)
    for index, block in enumerate(backbone.blocks):
        assert torch.equal(block(h, *modulations[3 * index : 3 * index + 3]), h)
    assert (shift == 0).all()
    assert (scale == 1).all()


def test_dropout_works_in_training_only() -> None:
    config = MLPConfig(width=16, blocks=1, cond_width=8, dropout=0.5)
    backbone = MLPBackbone(config, **SIZES)
    for parameter in backbone.parameters():
        nn.init.normal_(parameter, std=0.3)
    backbone.train()
    assert not torch.equal(backbone(X, T, COND), backbone(X, T, COND))
    backbone.eval()
    assert torch.equal(backbone(X, T, COND), backbone(X, T, COND))
