"""What tests of networks share: small ones of every kind, with weights that all matter."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from diffpolicy.config import MLPConfig, TransformerConfig, UNet1DConfig
from diffpolicy.models import build_backbone

SMALL = {
    "mlp": MLPConfig(width=16, blocks=2, cond_width=8),
    "transformer": TransformerConfig(width=16, blocks=2, heads=2, expansion=2),
    "unet1d": UNet1DConfig(channels=(8, 16, 24), kernel_size=3, groups=4, time_width=8),
    "ensemble": MLPConfig(width=16, blocks=2, cond_width=8),
}
MEMBERS = {"ensemble": 3}


@pytest.fixture
def small() -> Callable[..., nn.Module]:
    """A function that makes a small backbone for cond of 5 numbers; `perturbed` moves it away from its start."""

    def make(
        name: str, horizon: int = 8, action_dim: int = 2, *, outputs: int | None = None, perturbed: bool = True
    ) -> nn.Module:
        sizes = {"horizon": horizon, "action_dim": action_dim, "cond_dim": 5, "outputs": outputs}
        backbone = build_backbone(SMALL[name], **sizes, members=MEMBERS.get(name, 1))
        if perturbed:
            g = torch.Generator().manual_seed(0)
            with torch.no_grad():
                for parameter in backbone.parameters():
                    parameter.normal_(std=0.3, generator=g)
        return backbone.eval()

    return make
