"""From the features of an observation history to the vector that conditions a backbone."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn


class VectorEncoder(nn.Module):
    """Concatenates all features of all observation steps, as the paper conditions its U-Net (section 3.1).

    It has no weights: state and keypoints are already few numbers, and the backbone's first layer mixes them.

    Args:
        shapes: the shape of one step of each feature, by key; the order of the keys is the order in `cond`.
        obs_horizon: observation steps.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], obs_horizon: int) -> None:
        super().__init__()
        self.keys = tuple(shapes)
        self.cond_dim = obs_horizon * sum(math.prod(shape) for shape in shapes.values())

    def forward(self, features: Mapping[str, Tensor]) -> Float[Tensor, "batch cond"]:
        return torch.cat([features[key].flatten(1) for key in self.keys], dim=-1)
