"""From pictures to features: a compact residual network, or one of your own, and a pooling of its grid.

A policy must know where things are to a fraction of a pixel, so the grid is not averaged: `spatial_softmax` says where in
the picture each of its points lies, and `attention` says besides what learned queries find there. Places are told in the
whole picture, wherever in it the part lay that training has the network see: shifts then teach it to look everywhere alike,
and do not blur where things are.
"""

from __future__ import annotations

import importlib

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from diffpolicy.config import ImageEncoderConfig, ImportedTrunkConfig, ResNetConfig
from diffpolicy.errors import ConfigError
from diffpolicy.models.augment import centre_crop, jitter_colours, random_crop
from diffpolicy.models.linear import Linear

_QUERIES = 32


class ImageEncoder(nn.Module):
    """Features of the pictures of one camera. In training it shows the network cropped, shifted and recoloured ones,
    and blurs what it says by noise.

    Args:
        config: Network, pooling and augmentation.
        shape: Height and width of a picture, and 3.

    Raises:
        ConfigError: The crop is larger than the picture, or the network cannot be loaded or gives no grid.
    """

    def __init__(self, config: ImageEncoderConfig, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.config = config
        self.whole_px, self.size_px = (shape[0], shape[1]), config.crop_px or (shape[0], shape[1])
        if self.size_px[0] > shape[0] or self.size_px[1] > shape[1]:
            raise ConfigError(
                f"policy.image_encoder.crop_px is {self.size_px}, larger than the pictures of {shape[0]} x {shape[1]}; "
                "lower it, or leave it out"
            )
        self.trunk = _build_trunk(config.trunk)
        grid = _grid_shape(self.trunk, self.size_px)
        pooling = {"spatial_softmax": SpatialSoftmax, "attention": AttentionPooling}[config.pooling]
        scale = (self.size_px[1] / self.whole_px[1], self.size_px[0] / self.whole_px[0])
        self.pooling = pooling(grid, config.features, scale)
        # Pictures are channels-last from here on; weights are not. These few are turned in no time, while a fused AdamW
        # multiplies weights and moments as they lie in memory, and what a checkpoint restores does not lie so.
        for parameter in self.parameters():
            parameter.data = parameter.data.contiguous()

    def forward(
        self, pictures: UInt8[Tensor, "batch steps height width 3"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch steps features"]:
        """Encode pictures; the generator is the source of a training's crops, shifts, colours and noise."""
        config = self.config
        if self.training and (config.shift_px or config.crop_px):
            parts, corner = random_crop(pictures, self.size_px, config.shift_px, generator)
        else:
            parts, corner = centre_crop(pictures, self.size_px)
        light = parts.float()
        if self.training and config.colour:
            light = jitter_colours(light, config.colour, generator)
        seen = light.div_(127.5).sub_(1).flatten(0, 1).permute(0, 3, 1, 2)  # channels-last by its strides, not copied
        middle = self._middle(corner).repeat_interleave(pictures.shape[1], dim=0)
        features = self.pooling(self.trunk(seen), middle).unflatten(0, pictures.shape[:2])
        if self.training and config.noise:
            noise = torch.randn(features.shape, generator=generator, device=features.device)
            features = features + config.noise * noise
        return features

    def _middle(self, corner: Int[Tensor, "batch 2"]) -> Float[Tensor, "batch 2"]:
        """Where in a whole picture, -1 to 1 from edge to edge, the middle of the part with this corner lies: x, y."""
        (height, width), (rows, columns) = self.whole_px, self.size_px
        x, y = corner.unbind(1)
        return torch.stack([(2 * x + columns) / width - 1, (2 * y + rows) / height - 1], dim=1)


class ResNet(nn.Module):
    """A strided stem, then stages of residual blocks (He et al. 2016, "Identity Mappings"), each at half the resolution."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        before = config.channels[0]
        # Twice as wide as its stride, so that nothing hides between two patches.
        layers: list[nn.Module] = [
            nn.Conv2d(3, before, 2 * config.stem_px, stride=config.stem_px, padding=config.stem_px // 2)
        ]
        for stage, (after, blocks) in enumerate(zip(config.channels, config.blocks, strict=True)):
            for block in range(blocks):
                layers.append(_Block(before, after, config.group_width, stride=2 if stage and not block else 1))
                before = after
        self.layers = nn.Sequential(*layers, _norm(before, config.group_width), nn.SiLU())

    def forward(self, pictures: Float[Tensor, "pictures 3 height width"]) -> Tensor:
        return self.layers(pictures)


class _Block(nn.Module):
    def __init__(self, before: int, after: int, group_width: int, stride: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(_norm(before, group_width), nn.SiLU())
        self.layers = nn.Sequential(
            nn.Conv2d(before, after, 3, stride=stride, padding=1),
            _norm(after, group_width),
            nn.SiLU(),
            nn.Conv2d(after, after, 3, padding=1),
        )
        self.skip = nn.Conv2d(before, after, 1, stride=stride, bias=False) if (before, stride) != (after, 1) else None

    def forward(self, x: Tensor) -> Tensor:
        h = self.enter(x)
        return self.layers(h) + (x if self.skip is None else self.skip(h))


def _norm(channels: int, group_width: int) -> nn.GroupNorm:
    return nn.GroupNorm(channels // group_width, channels)


class _Look(nn.Module):
    """Where some learned queries look: each one's shares of the grid's cells, and the mean of their places.

    The shares are a softmax over the query's map, at a learned temperature. Places run from -1 at the left (top) edge of the
    whole picture to 1 at the right (bottom); the grid is of a part of it, `scale` times as wide and as high.
    """

    def __init__(self, grid: tuple[int, int, int], queries: int, scale: tuple[float, float]) -> None:
        super().__init__()
        channels, rows, columns = grid
        self.maps = nn.Conv2d(channels, queries, 1)
        # At a sharpness of 1 all queries begin by looking everywhere, and hardly cease to. From e^3, what they told of the
        # block's place after 600 updates was five times as exact.
        self.log_sharpness = nn.Parameter(torch.full((queries, 1), 3.0))
        y, x = torch.meshgrid(_middles(rows), _middles(columns), indexing="ij")
        places = torch.stack([scale[0] * x.flatten(), scale[1] * y.flatten()])
        self.register_buffer("places", places, persistent=False)
        self.places: Tensor

    def forward(
        self, grid: Tensor, middle: Float[Tensor, "pictures 2"]
    ) -> tuple[Float[Tensor, "pictures queries cells"], Float[Tensor, "pictures queries 2"]]:
        # In single precision: rounded to bfloat16's 8 bits, shares do not sum to 1, and places move.
        logits = self.maps(grid).float().flatten(2) * self.log_sharpness.exp()
        shares = logits.softmax(dim=-1)
        return shares, (shares.unsqueeze(2) * self.places).sum(dim=-1) + middle[:, None]


class SpatialSoftmax(nn.Module):
    """Where in the picture each of some learned points lies (Finn et al. 2016, section IV-A): x and y in turn.

    Args:
        grid: Channels, rows and columns.
        features: Twice the number of points.
        scale: Width and height of the part that the grid is of, as shares of the whole picture's.
    """

    def __init__(self, grid: tuple[int, int, int], features: int, scale: tuple[float, float] = (1.0, 1.0)) -> None:
        super().__init__()
        self.look = _Look(grid, features // 2, scale)

    def forward(
        self, grid: Float[Tensor, "pictures channels rows columns"], middle: Float[Tensor, "pictures 2"]
    ) -> Float[Tensor, "pictures features"]:
        """`middle` is where in the whole picture the part's middle lies."""
        return self.look(grid, middle)[1].flatten(1)


class AttentionPooling(nn.Module):
    """Where a few learned queries look and what they find there, mixed into features.

    Args:
        grid: Channels, rows and columns.
        features: How many numbers come out.
        scale: As for `SpatialSoftmax`.
    """

    def __init__(self, grid: tuple[int, int, int], features: int, scale: tuple[float, float] = (1.0, 1.0)) -> None:
        super().__init__()
        self.look = _Look(grid, _QUERIES, scale)
        self.output = Linear(_QUERIES * (grid[0] + 2), features)

    def forward(
        self, grid: Float[Tensor, "pictures channels rows columns"], middle: Float[Tensor, "pictures 2"]
    ) -> Float[Tensor, "pictures features"]:
        """`middle` is where in the whole picture the part's middle lies."""
        shares, places = self.look(grid, middle)
        found = shares @ grid.flatten(2).transpose(1, 2)
        return self.output(torch.cat([places, found], dim=-1).flatten(1)).float()


def _middles(cells: int) -> Float[Tensor, " cells"]:
    """Where the cells' middles lie between the edges of a picture at -1 and 1."""
    return (torch.arange(cells) + 0.5) * (2 / cells) - 1


def _build_trunk(config: ResNetConfig | ImportedTrunkConfig) -> nn.Module:
    if isinstance(config, ResNetConfig):
        return ResNet(config)
    where = f"policy.image_encoder.trunk: {config.factory!r}"
    module_name, _, attribute = config.factory.partition(":")
    try:
        trunk = getattr(importlib.import_module(module_name), attribute)(**config.arguments)
    except Exception as error:  # whatever a user's own module does while it is imported and called
        raise ConfigError(
            f"{where} cannot be loaded: {error!r}; give 'your.module:function' and its arguments; a module of yours is "
            "found when its folder is on PYTHONPATH"
        ) from None
    if not isinstance(trunk, nn.Module):
        raise ConfigError(f"{where} returned {type(trunk).__name__}; expected a torch.nn.Module")
    return trunk


@torch.no_grad()
def _grid_shape(trunk: nn.Module, size_px: tuple[int, int]) -> tuple[int, int, int]:
    """Channels, rows and columns of what a network makes of one picture."""
    shape = (1, 3, *size_px)
    try:
        grid = trunk.eval()(torch.zeros(shape))
    except RuntimeError as error:
        raise ConfigError(
            f"policy.image_encoder.trunk: cannot see pictures {shape}: {' '.join(str(error).split())}"
        ) from None
    finally:
        trunk.train()
    if not isinstance(grid, Tensor) or grid.ndim != 4 or len(grid) != 1:
        found = tuple(grid.shape) if isinstance(grid, Tensor) else type(grid).__name__
        raise ConfigError(
            f"policy.image_encoder.trunk: gives {found} for pictures {shape}; expected a grid (1, channels, rows, columns)"
        )
    return grid.shape[1], grid.shape[2], grid.shape[3]
