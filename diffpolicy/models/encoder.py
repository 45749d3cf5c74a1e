"""From the features of an observation history to the vector that conditions a backbone."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from diffpolicy.config import ImageEncoderConfig
from diffpolicy.errors import ConfigError
from diffpolicy.models.image import ImageEncoder

# Beyond, the backbone's first layer would outgrow all others, and would have to learn anew for every place in the picture.
_PIXELS_AS_NUMBERS = 32 * 32


class VectorEncoder(nn.Module):
    """Concatenates all features of each observation step, as the paper conditions its U-Net (section 3.1).

    It has no weights: state and keypoints are already few numbers, and the backbone's first layer mixes them.

    Args:
        shapes: the shape of one step of each feature, by key; the order of the keys is the order in `cond`.
        obs_horizon: observation steps.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], obs_horizon: int) -> None:
        super().__init__()
        self.keys = tuple(shapes)
        self.cond_dim = obs_horizon * sum(math.prod(shape) for shape in shapes.values())

    def forward(self, features: Mapping[str, Tensor]) -> Float[Tensor, "batch steps features"]:
        return torch.cat([features[key].reshape(*features[key].shape[:2], -1) for key in self.keys], dim=-1)


class ObservationEncoder(nn.Module):
    """Numbers as they are, and beside them what an image encoder sees in each picture.

    Pictures are all features of shape (height, width, 3), if an image encoder is configured.

    Args:
        shapes: the shape of one step of each feature, by key; in each step of `cond` numbers come first, then pictures.
        obs_horizon: observation steps.
        config: how pictures are seen; None: as numbers, which is for small ones.

    Raises:
        ConfigError: there are no pictures for the image encoder, or large ones and no image encoder, or one network is to
            be shared by cameras of different sizes.
    """

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], obs_horizon: int, config: ImageEncoderConfig | None = None
    ) -> None:
        super().__init__()
        cameras = {key: shape for key, shape in shapes.items() if is_picture(shape)}
        if config is None:
            _refuse_large(cameras)
            cameras = {}
        elif not cameras:
            found = ", ".join(f"{key} {shape}" for key, shape in shapes.items())
            raise ConfigError(
                f"policy.image_encoder is given, but no feature is a picture (height, width, 3): found {found}; leave it out"
            )
        elif config.shared and len(set(cameras.values())) > 1:
            found = ", ".join(f"{key} {shape}" for key, shape in cameras.items())
            raise ConfigError(
                f"policy.image_encoder.shared: cameras of different sizes cannot share a network: found {found}; set it to "
                "false"
            )
        self.obs_horizon = obs_horizon
        self.numbers = tuple(key for key in shapes if key not in cameras)
        self.pictures = tuple(cameras)
        self.vector = VectorEncoder({key: shapes[key] for key in self.numbers}, obs_horizon)
        self.cond_dim = self.vector.cond_dim
        # A list, since a camera's name may be none that a module can have.
        self.cameras = nn.ModuleList()
        if config is not None:
            self.cond_dim += len(cameras) * obs_horizon * config.features
            own = list(cameras.values())[: 1 if config.shared else None]
            self.cameras.extend(ImageEncoder(config, shape) for shape in own)

    def forward(
        self, features: Mapping[str, Tensor], generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch cond"]:
        """Encode normalized numbers (batch, obs_horizon, *shape) and pictures, which are uint8: one step after another.

        The generator is the source of the augmentation of pictures in training.
        """
        parts = [self.vector(features)] if self.numbers else []
        for index, key in enumerate(self.pictures):
            camera = self.cameras[index % len(self.cameras)]
            parts.append(camera(features[key], generator))
        return torch.cat(parts, dim=-1).flatten(1)


class Supervision(nn.Module):
    """Has the image encoder say, by one linear layer, what a recording knows of each step: training's second question.

    Args:
        shapes: the shape of one step of each thing to tell, by key.
        encoder: whose features of pictures it is told from.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], encoder: ObservationEncoder) -> None:
        super().__init__()
        self.shapes = dict(shapes)
        self.steps = encoder.obs_horizon
        # Within a step, what is seen in pictures comes after the numbers.
        self.first = encoder.vector.cond_dim // self.steps
        width = encoder.cond_dim // self.steps - self.first
        self.tell = nn.Linear(width, sum(math.prod(shape) for shape in shapes.values()))

    def forward(self, cond: Float[Tensor, "batch cond"], told: Mapping[str, Tensor]) -> Float[Tensor, ""]:
        """The mean squared error, given what the encoder made of the observations and the truth, normalized."""
        features = cond.unflatten(1, (self.steps, -1))[..., self.first :]
        truth = torch.cat([told[key].flatten(2) for key in self.shapes], dim=-1)
        return (self.tell(features).float() - truth).square().mean()


def is_picture(shape: tuple[int, ...]) -> bool:
    """Whether one step of this shape is a picture: (height, width, 3)."""
    return len(shape) == 3 and shape[-1] == 3


def _refuse_large(cameras: Mapping[str, tuple[int, ...]]) -> None:
    for key, (height, width, _) in cameras.items():
        if height * width > _PIXELS_AS_NUMBERS:
            raise ConfigError(
                f"policy.image_encoder is missing: {key!r} is a picture of {height} x {width}, too many numbers to be seen "
                "one by one; give `image_encoder: {}` for the default network"
            )
