"""The conditional U-Net over time of Chi et al., Diffusion Policy, RSS 2023 (section 3.1, appendix B).

Time within the plan is the convolved axis; the embedding of the noise level and the observation enter every residual
block by feature-wise scale and shift (FiLM, Perez et al. 2018).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from diffpolicy.config import UNet1DConfig
from diffpolicy.models.backbone import Backbone
from diffpolicy.models.conv1d import Conv1d
from diffpolicy.models.linear import Linear
from diffpolicy.models.time_embedding import TimeEmbedding


class UNet1D(Backbone):
    """`len(channels)` levels; each but the last halves the horizon, which must be divisible accordingly."""

    def __init__(self, config: UNet1DConfig, *, horizon: int, action_dim: int, cond_dim: int, outputs: int) -> None:
        super().__init__()
        width, channels = config.time_width, config.channels
        self.embed_time = nn.Sequential(
            TimeEmbedding(width), Linear(width, 4 * width), nn.Mish(), Linear(4 * width, width)
        )
        self.parts: list[int] = []

        def block(before: int, after: int) -> _ResidualBlock:
            self.parts.append(2 * after)
            return _ResidualBlock(before, after, config.kernel_size, config.groups)

        levels = list(pairwise((action_dim, *channels)))
        self.down = nn.ModuleList()
        for index, (before, after) in enumerate(levels):
            last = index == len(levels) - 1
            shrink = nn.Identity() if last else Conv1d(after, after, 3, stride=2, padding=1)
            self.down.append(_Level(block(before, after), block(after, after), shrink))
        self.middle = nn.ModuleList([block(channels[-1], channels[-1]), block(channels[-1], channels[-1])])
        self.up = nn.ModuleList()
        for after, before in reversed(levels[1:]):
            grow = nn.ConvTranspose1d(after, after, 4, stride=2, padding=1)
            self.up.append(_Level(block(2 * before, after), block(after, after), grow))
        self.output = nn.Sequential(
            _conv_norm(channels[0], channels[0], config.kernel_size, config.groups),
            Conv1d(channels[0], outputs, 1),
        )
        # Scale and shift of all blocks, in the order in which they are built and passed.
        self.film = Linear(width + cond_dim, sum(self.parts))

    def condition(
        self, t: Float[Tensor, "*times"], cond: Float[Tensor, "*rows cond"]
    ) -> Float[Tensor, "*both context"]:
        embedded = self.embed_time(t)
        batch = torch.broadcast_shapes(embedded.shape[:-1], cond.shape[:-1])
        both = torch.cat([embedded.expand(*batch, -1), cond.expand(*batch, -1)], dim=-1)
        return self.film(nn.functional.mish(both))

    def denoise(
        self, x: Float[Tensor, "*batch horizon action"], context: Float[Tensor, "*rows context"]
    ) -> Float[Tensor, "*batch horizon output"]:
        rows = context.expand(*x.shape[:-2], -1).flatten(0, -2)
        films = iter(rows[..., None].split(self.parts, dim=1))
        h = x.flatten(0, -3).transpose(1, 2)
        skips = []
        for level in self.down:
            skip, h = level(h, next(films), next(films))
            skips.append(skip)
        for block in self.middle:
            h = block(h, next(films))
        for level in self.up:
            _, h = level(torch.cat([h, skips.pop()], dim=1), next(films), next(films))
        # The topmost skip stays unused, as in the published network.
        return self.output(h).transpose(1, 2).reshape(*x.shape[:-1], -1)


class _Level(nn.Module):
    """Two residual blocks, then a change of resolution."""

    def __init__(self, first: nn.Module, second: nn.Module, resize: nn.Module) -> None:
        super().__init__()
        self.first, self.second, self.resize = first, second, resize

    def forward(self, h: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """The features before and after the change of resolution."""
        h = self.second(self.first(h, first), second)
        return h, self.resize(h)


class _ResidualBlock(nn.Module):
    def __init__(self, before: int, after: int, kernel_size: int, groups: int) -> None:
        super().__init__()
        self.first = _conv_norm(before, after, kernel_size, groups)
        self.second = _conv_norm(after, after, kernel_size, groups)
        self.skip = Conv1d(before, after, 1) if before != after else nn.Identity()

    def forward(self, h: Tensor, film: Tensor) -> Tensor:
        scale, shift = film.chunk(2, dim=1)
        return self.second(torch.addcmul(shift, scale, self.first(h))) + self.skip(h)


def _conv_norm(before: int, after: int, kernel_size: int, groups: int) -> nn.Sequential:
    conv = Conv1d(before, after, kernel_size, padding=kernel_size // 2)
    return nn.Sequential(conv, nn.GroupNorm(groups, after), nn.Mish())
