"""Networks: backbones `model(x, t, cond)` and the encoder that turns an observation into `cond`.

Every backbone is a `Backbone`. They know nothing of objectives and samplers.
"""

from __future__ import annotations

from diffpolicy.config import MLPConfig, TransformerConfig, UNet1DConfig
from diffpolicy.models.backbone import Backbone
from diffpolicy.models.encoder import ObservationEncoder, Supervision, VectorEncoder, is_picture
from diffpolicy.models.ensemble import Ensemble
from diffpolicy.models.mlp import MLPBackbone
from diffpolicy.models.transformer import TransformerBackbone
from diffpolicy.models.unet1d import UNet1D

__all__ = [
    "Backbone",
    "Ensemble",
    "MLPBackbone",
    "ObservationEncoder",
    "Supervision",
    "TransformerBackbone",
    "UNet1D",
    "VectorEncoder",
    "build_backbone",
    "is_picture",
]


def build_backbone(
    config: MLPConfig | UNet1DConfig | TransformerConfig,
    *,
    horizon: int,
    action_dim: int,
    cond_dim: int,
    obs_horizon: int = 1,
    outputs: int | None = None,
    members: int = 1,
) -> Backbone:
    """The one place that knows which config belongs to which network.

    `cond` holds `obs_horizon` steps in turn; `outputs` numbers are said of each action, as many as it has when None.
    Several `members` of the kind make an ensemble.
    """
    if members > 1:
        sizes = {"horizon": horizon, "action_dim": action_dim, "cond_dim": cond_dim, "obs_horizon": obs_horizon}
        return Ensemble([build_backbone(config, **sizes, outputs=outputs) for _ in range(members)])
    sizes = {"horizon": horizon, "action_dim": action_dim, "cond_dim": cond_dim, "outputs": outputs or action_dim}
    if isinstance(config, TransformerConfig):
        return TransformerBackbone(config, **sizes, obs_horizon=obs_horizon)
    return {MLPConfig: MLPBackbone, UNet1DConfig: UNet1D}[type(config)](config, **sizes)
