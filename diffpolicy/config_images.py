"""How a policy sees pictures: the network that turns each into features, and how it is shown them in training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pydantic

from diffpolicy.config_checks import STRICT_KEYS, not_negative, positive, shares


@dataclass(frozen=True)
class ResNetConfig:
    """Our own compact residual network (He et al. 2016) with group norm, small enough to be trained on a CPU."""

    __pydantic_config__ = STRICT_KEYS
    name: Literal["resnet"] = "resnet"
    stem_px: int = 4
    """Pixels along each side that the first convolution makes one of; even. It sees twice as many."""
    channels: tuple[int, ...] = (32, 64)
    """Features at each stage; each stage but the first halves height and width. Of 96 pixels the default leaves 12 cells: 6
    located the block five times worse when tried, and 24 no better."""
    blocks: tuple[int, ...] = (1, 1)
    """Residual blocks of each stage."""
    group_width: int = 16
    """Features that are normalized together. Measured: PyTorch's kernel takes ten times as long for 8 of them as for 16."""

    def __post_init__(self) -> None:
        positive(self, "stem_px", "group_width")
        if self.stem_px % 2:
            raise ValueError(
                f"stem_px is {self.stem_px}; it must be even, so that what is seen twice is so on both sides"
            )
        if not self.channels or any(c <= 0 or c % self.group_width for c in self.channels):
            raise ValueError(
                f"channels is {self.channels}; give one or more, multiples of group_width ({self.group_width})"
            )
        if len(self.blocks) != len(self.channels) or min(self.blocks) < 1:
            raise ValueError(
                f"blocks is {self.blocks}; give at least 1 for each of the {len(self.channels)} stages in channels"
            )


@dataclass(frozen=True, kw_only=True)
class ImportedTrunkConfig:
    """A network of your own, pretrained or not.

    `factory(**arguments)` returns a module from pictures, (pictures, 3, height, width) in [-1, 1], to a grid of features,
    (pictures, channels, rows, columns). Its weights are trained unless it freezes them, and are kept in the checkpoint.
    Averages are taken of weights alone, so a batch norm in it must not learn.
    """

    __pydantic_config__ = STRICT_KEYS
    name: Literal["imported"] = "imported"
    factory: str
    """`your.module:function`"""
    arguments: dict[str, Any] = field(default_factory=dict)
    """What the factory is called with."""


Trunk = Annotated[ResNetConfig | ImportedTrunkConfig, pydantic.Field(discriminator="name")]


@dataclass(frozen=True)
class ImageEncoderConfig:
    """From a picture to a few numbers: a network, then a pooling of its grid; and what training does to pictures."""

    __pydantic_config__ = STRICT_KEYS
    trunk: Trunk = field(default_factory=ResNetConfig)
    pooling: Literal["spatial_softmax", "attention"] = "spatial_softmax"
    """What becomes of the grid: points in the picture (Finn et al. 2016), or these and what is seen there, mixed."""
    features: int = 128
    """Numbers for each picture; with `spatial_softmax` the x and y of half as many points."""
    shared: bool = False
    """One network for all cameras, or one for each."""
    shift_px: int = 4
    """Training shifts the pictures of a window by up to this, edges repeated (Kostrikov et al. 2021); 0: never."""
    crop_px: tuple[int, int] | None = None
    """Height and width that the network sees, cut out at random in training and from the middle in use (Chi et al. 2023: 84
    of 96); null: all."""
    colour: float = 0.0
    """Training multiplies brightness, contrast and saturation each by a factor within this of 1."""
    noise: float = 0.0
    """Standard deviation of the noise that training adds to the features; with `spatial_softmax` 1 is half of the picture.
    As noise on numbers does, it keeps a policy from trusting what it will never see again exactly."""
    supervision: tuple[str, ...] = ()
    """Recorded keys, such as `state`, whose features the encoder must also tell from each step's pictures, by one linear
    layer. Training alone reads them; in use the policy sees pictures."""
    supervision_weight: float = 10.0
    """Of that error beside the denoising's, both squared and in normalized units."""

    def __post_init__(self) -> None:
        positive(self, "features")
        not_negative(self, "shift_px", "noise")
        positive(self, "supervision_weight")
        shares(self, "colour")
        if self.pooling == "spatial_softmax" and self.features % 2:
            raise ValueError(f"features is {self.features}; it must be even: spatial_softmax gives points, x and y")
        if self.crop_px is not None and min(self.crop_px) < 1:
            raise ValueError(f"crop_px is {self.crop_px}; height and width must be positive")
