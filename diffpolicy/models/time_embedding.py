"""How a network is told the noise level."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class TimeEmbedding(nn.Module):
    """Sines and cosines of the time at geometric frequencies (Vaswani et al. 2017, section 3.5).

    Args:
        width: features, half of them sines.
        scale: t in [0, 1] is multiplied by it first, so that the fastest sine resolves about 1 / scale.
    """

    def __init__(self, width: int, scale: float = 1000.0) -> None:
        super().__init__()
        half = width // 2
        frequencies = torch.exp(-math.log(10_000.0) * torch.arange(half) / max(half - 1, 1))
        self.register_buffer("frequencies", scale * frequencies, persistent=False)
        self.frequencies: Tensor

    def forward(self, t: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch width"]:
        angles = t[..., None] * self.frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=-1)
