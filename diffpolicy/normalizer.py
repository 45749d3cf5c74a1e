"""Linear maps between the units of the world and [-1, 1], kept with the weights so that neither travels alone."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn


class Normalizer(nn.Module):
    """Maps each number's demonstrated range [low, high] onto [-1, 1], key by key.

    A number that never varied maps to 0, and back to its one value. Values outside the range map outside [-1, 1].

    Args:
        shapes: the shape of one step of each key.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__()
        self.keys = tuple(shapes)
        for key, shape in shapes.items():
            self.register_buffer(_name(key, "center"), torch.zeros(shape))
            self.register_buffer(_name(key, "half_range"), torch.ones(shape))

    def fit(self, key: str, values: Num[Tensor, "steps *shape"]) -> None:
        """Take the range of `key` from recorded values."""
        values = values.float()
        low, high = values.amin(dim=0), values.amax(dim=0)
        half = (high - low) / 2
        self.get_buffer(_name(key, "center")).copy_((high + low) / 2)
        self.get_buffer(_name(key, "half_range")).copy_(torch.where(half > 1e-6, half, torch.zeros_like(half)))

    def normalize(self, key: str, values: Num[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """World units to [-1, 1]; float32 whatever came in."""
        half = self.get_buffer(_name(key, "half_range"))
        # A number that never varied has no range to divide by, and what is generated for it must not move it.
        return (values.float() - self.get_buffer(_name(key, "center"))) / torch.where(
            half > 0, half, torch.ones_like(half)
        )

    def unnormalize(self, key: str, values: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """[-1, 1] to world units: the inverse of `normalize` within the demonstrated range."""
        return values * self.get_buffer(_name(key, "half_range")) + self.get_buffer(_name(key, "center"))


def _name(key: str, part: str) -> str:
    # Keys such as `observation.state` are common elsewhere, but a dot in a buffer's name would mean a submodule.
    return f"{key.replace('.', '/')}_{part}"
