"""A residual network over the flattened action sequence, modulated by time and observation.

A plan of 16 two-dimensional actions is 32 numbers: three matrix products wide enough learn it faster on a CPU than
convolutions or attention over so short a sequence. Modulation follows adaLN-Zero (Peebles and Xie 2023, section 3.2).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from diffpolicy.config import MLPConfig
from diffpolicy.models.time_embedding import TimeEmbedding


class MLPBackbone(nn.Module):
    """See the module's text. Starts as the zero function, and each block as the identity."""

    def __init__(self, config: MLPConfig, *, horizon: int, action_dim: int, cond_dim: int) -> None:
        super().__init__()
        size, width, cond_width = horizon * action_dim, config.width, config.cond_width
        self.embed_time = nn.Sequential(TimeEmbedding(cond_width), nn.Linear(cond_width, cond_width))
        self.embed_cond = nn.Sequential(nn.Linear(cond_dim, cond_width), nn.SiLU(), nn.Linear(cond_width, cond_width))
        self.embed_action = nn.Linear(size, width)
        self.embed_both = nn.Linear(cond_width, width)
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = _zeroed(nn.Linear(cond_width, 2 * width))
        self.output = _zeroed(nn.Linear(width, size))

    def forward(
        self,
        x: Float[Tensor, "batch horizon action"],
        t: Float[Tensor, " batch"],
        cond: Float[Tensor, "batch cond"],
    ) -> Float[Tensor, "batch horizon action"]:
        c = nn.functional.silu(self.embed_time(t) + self.embed_cond(cond))
        h = self.embed_action(x.flatten(1)) + self.embed_both(c)
        for block in self.blocks:
            h = block(h, c)
        shift, scale = self.modulation(c).chunk(2, dim=-1)
        return self.output(_modulate(self.norm(h), shift, scale)).view_as(x)


class _Block(nn.Module):
    def __init__(self, config: MLPConfig) -> None:
        super().__init__()
        hidden = config.expansion * config.width
        self.norm = nn.LayerNorm(config.width, elementwise_affine=False)
        self.modulation = _zeroed(nn.Linear(config.cond_width, 3 * config.width))
        self.layers = nn.Sequential(
            nn.Linear(config.width, hidden), nn.SiLU(), nn.Dropout(config.dropout), nn.Linear(hidden, config.width)
        )

    def forward(self, h: Tensor, c: Tensor) -> Tensor:
        shift, scale, gate = self.modulation(c).chunk(3, dim=-1)
        return torch.addcmul(h, gate, self.layers(_modulate(self.norm(h), shift, scale)))


def _modulate(h: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return torch.addcmul(shift, h, 1 + scale)


def _zeroed(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
