"""What every backbone is: a network model(x, t, cond) in two parts, so that a sampler can do one of them ahead."""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """x (batch, horizon, action), t (batch,) in [0, 1] with 1 pure noise, cond (batch, cond) to (batch, horizon,
    outputs)."""

    def forward(
        self,
        x: Float[Tensor, "batch horizon action"],
        t: Float[Tensor, " batch"],
        cond: Float[Tensor, "batch cond"],
    ) -> Float[Tensor, "batch horizon output"]:
        return self.denoise(x, self.condition(t, cond))

    @abstractmethod
    def condition(
        self, t: Float[Tensor, "*times"], cond: Float[Tensor, "*rows cond"]
    ) -> Float[Tensor, "*both context"]:
        """All that does not depend on x: t and cond broadcast, so that one call serves every step of a sampler."""

    @abstractmethod
    def denoise(
        self, x: Float[Tensor, "*batch horizon action"], context: Float[Tensor, "*rows context"]
    ) -> Float[Tensor, "*batch horizon output"]:
        """The network's output, given what `condition` returned; the context broadcasts over sequences."""
