"""A residual network over the flattened action sequence, modulated by time and observation.

A plan of 16 two-dimensional actions is 32 numbers: three matrix products wide enough learn it faster on a CPU than
convolutions or attention over so short a sequence. Modulation follows adaLN-Zero (Peebles and Xie 2023, section 3.2).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import dropout, layer_norm, silu

from diffpolicy.config import MLPConfig
from diffpolicy.models.backbone import Backbone
from diffpolicy.models.linear import Linear
from diffpolicy.models.time_embedding import TimeEmbedding


class MLPBackbone(Backbone):
    """See the module's text. Starts as the zero function, and each block as the identity."""

    def __init__(self, config: MLPConfig, *, horizon: int, action_dim: int, cond_dim: int, outputs: int) -> None:
        super().__init__()
        size, width, cond_width = horizon * action_dim, config.width, config.cond_width
        self.embed_time = nn.Sequential(TimeEmbedding(cond_width), Linear(cond_width, cond_width))
        self.embed_cond = nn.Sequential(Linear(cond_dim, cond_width), nn.SiLU(), Linear(cond_width, cond_width))
        self.embed_action = Linear(size, width)
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.blocks))
        # What time and observation say to the first layer; then shift, scale and gate for each block, and shift and scale
        # before the output. One product gives all of it.
        self.parts = (width,) + 3 * config.blocks * (width,) + 2 * (width,)
        self.modulation = Linear(cond_width, sum(self.parts))
        for parameter in (self.modulation.weight, self.modulation.bias):
            nn.init.zeros_(parameter[width:])
        # Scales are learned as what they differ from one by.
        scales = [index % 3 == 2 for index in range(len(self.parts))]
        ones = torch.cat([torch.full((part,), float(scale)) for part, scale in zip(self.parts, scales, strict=True)])
        self.register_buffer("identity", ones, persistent=False)
        self.identity: Tensor
        self.outputs = (horizon, outputs)
        self.output = _zeroed(Linear(width, horizon * outputs))

    def condition(
        self, t: Float[Tensor, "*times"], cond: Float[Tensor, "*rows cond"]
    ) -> Float[Tensor, "*both context"]:
        c = silu(self.embed_time(t) + self.embed_cond(cond))
        return self.modulation(c, self.identity)

    def denoise(
        self, x: Float[Tensor, "*batch horizon action"], context: Float[Tensor, "*rows context"]
    ) -> Float[Tensor, "*batch horizon output"]:
        embedded, *modulations, shift, scale = context.split(self.parts, dim=-1)
        h = self.embed_action(x.flatten(-2)) + embedded
        for index, block in enumerate(self.blocks):
            h = block(h, *modulations[3 * index : 3 * index + 3])
        return self.output(torch.addcmul(shift, layer_norm(h, self.parts[:1]), scale)).unflatten(-1, self.outputs)


class _Block(nn.Module):
    def __init__(self, config: MLPConfig) -> None:
        super().__init__()
        self.width, self.dropout = (config.width,), config.dropout
        self.widen = Linear(config.width, config.expansion * config.width)
        self.narrow = Linear(config.expansion * config.width, config.width)

    def forward(self, h: Tensor, shift: Tensor, scale: Tensor, gate: Tensor) -> Tensor:
        hidden = silu(self.widen(torch.addcmul(shift, layer_norm(h, self.width), scale)))
        if self.training and self.dropout:
            hidden = dropout(hidden, self.dropout)
        return torch.addcmul(h, gate, self.narrow(hidden))


def _zeroed(layer: Linear) -> Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
