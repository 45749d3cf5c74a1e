"""Networks: backbones `model(x, t, cond)` and the encoder that turns an observation into `cond`.

Every backbone takes x (batch, horizon, action), t (batch,) in [0, 1] with 1 pure noise, cond (batch, cond), and returns
the shape of x. They know nothing of objectives and samplers.
"""

from __future__ import annotations

from torch import nn

from diffpolicy.config import MLPConfig, UNet1DConfig
from diffpolicy.models.encoder import VectorEncoder
from diffpolicy.models.mlp import MLPBackbone
from diffpolicy.models.unet1d import UNet1D

__all__ = ["MLPBackbone", "UNet1D", "VectorEncoder", "build_backbone"]


def build_backbone(config: MLPConfig | UNet1DConfig, *, horizon: int, action_dim: int, cond_dim: int) -> nn.Module:
    """The one place that knows which config belongs to which network."""
    factory = {MLPConfig: MLPBackbone, UNet1DConfig: UNet1D}[type(config)]
    return factory(config, horizon=horizon, action_dim=action_dim, cond_dim=cond_dim)
