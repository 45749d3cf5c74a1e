"""What all objectives are: a way from data to noise, what the network says of it, and what that is worth."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor


class Objective(ABC):
    """Between data and noise, at times from 0 (data) to 1 (noise).

    Tensors x, x_0 and noise have one shape (batch, horizon, action), t has (batch,). A state is x_t = signal x_0 + sigma
    noise; it lies on a straight line from x_0 when multiplied by a number, so that all solvers are one (see `line`).
    """

    name: ClassVar[str]
    """As in its config."""

    def outputs(self, action_dim: int) -> int:
        """How many numbers the network says for each action."""
        return action_dim

    @abstractmethod
    def times(self, n: int, generator: torch.Generator | None, device: torch.device) -> Float[Tensor, " n"]:
        """Draw the times of a training batch."""

    @abstractmethod
    def corrupt(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t on the way from x_0 to noise."""

    def seen(self, x: Tensor, t: Tensor) -> Tensor:
        """What the network is shown of x_t."""
        return x

    @abstractmethod
    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the network should say at (x_t, t)."""

    def loss(
        self,
        output: Tensor,
        x0: Tensor,
        noise: Tensor,
        t: Tensor,
        weight: Float[Tensor, "batch horizon 1"] | None = None,
    ) -> Float[Tensor, ""]:
        """How far an output is from what it should be: its mean error, over the actions that have weight."""
        error = self.error(output - self.target(x0, noise, t))
        if weight is None:
            return error.mean()
        return (error * weight).sum() / (weight.sum() * error.shape[-1]).clamp(min=1)

    def error(self, off: Tensor) -> Tensor:
        """What being off by so much costs, number by number: the square."""
        return off.square()

    def decode(self, output: Tensor, x: Tensor) -> Tensor:
        """The part of an output that speaks of the one plan that grows from x: all of it, unless it speaks of several."""
        return output

    @abstractmethod
    def implied(self, t: float, dtype: torch.dtype = torch.float32) -> tuple[float, float, float]:
        """The x_0 that an output implies, as weights: x_0 = (first x + second output) / third, as computed in this type."""

    @abstractmethod
    def schedule(self, steps: int) -> tuple[float, ...]:
        """The times at which so many steps look, the noisiest first; the last leads to the data.

        Raises:
            ConfigError: there are not so many.
        """

    @abstractmethod
    def line(self, t: float) -> tuple[float, float]:
        """A coordinate u, 0 at the data, and a scale, 1 there, such that scale x_t = x_0 + u (a direction)."""

    @abstractmethod
    def noise_level(self, t: float) -> float:
        """The standard deviation of the noise in x_t."""

    def scale_seen(self, t: float) -> float:
        """What `seen` multiplies a state by, for one time."""
        one = torch.ones(1, 1, 1, dtype=torch.float64)
        return float(self.seen(one, torch.tensor([t], dtype=torch.float64)))


def as_factor(t: Tensor, x: Tensor) -> Tensor:
    """Times as factors of x."""
    return t.to(x.dtype).view(-1, *[1] * (x.ndim - 1))
