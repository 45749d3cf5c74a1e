"""What all objectives are: a way from data to noise, what the network says of it, and what that is worth."""

from __future__ import annotations

import math
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
    def schedule(self, steps: int, start: float = 1.0) -> tuple[float, ...]:
        """The times at which so many steps look, the noisiest first; the last leads to the data.

        Args:
            steps: how many.
            start: the time of the first, above 0 (data) up to 1 (noise), or as near to it as there is one.

        Raises:
            ConfigError: there are not so many.
        """

    @abstractmethod
    def line(self, t: float) -> tuple[float, float]:
        """A coordinate u, 0 at the data, and a scale, 1 there, such that scale x_t = x_0 + u (a direction)."""

    @abstractmethod
    def noise_level(self, t: float) -> float:
        """The standard deviation of the noise in x_t."""

    def rates(self, t: float, dtype: torch.dtype = torch.float32) -> tuple[float, float]:
        """How much of the data and how much noise there is at one time, signal and sigma, as computed in this type."""
        one, none, time = (
            torch.ones(1, 1, 1, dtype=dtype),
            torch.zeros(1, 1, 1, dtype=dtype),
            torch.tensor([t], dtype=dtype),
        )
        return float(self.corrupt(one, none, time)), float(self.corrupt(none, one, time))

    def change(self, t: float) -> tuple[float, float]:
        """How signal and sigma change along a way of length 1 from data to noise.

        Here along a quarter of a circle, signal = cos(pi s / 2) and sigma = sin(pi s / 2): what holds where their squares
        add up to 1.
        """
        signal, sigma = self.rates(t, torch.float64)
        return -math.pi / 2 * sigma, math.pi / 2 * signal

    def score(self, output: Tensor, x: Tensor, t: float) -> Tensor:
        """The gradient of log p_t(x | y) by x that an output at (x, t) names.

        With D = E[x_0 | x_t] the data that the output implies, it is (signal D - x) / sigma^2: Tweedie's formula (Efron
        2011), eq. 3 of Karras et al. 2022 where the signal is 1.

        Raises:
            ConfigError: the objective is not denoised.
        """
        first, second, third = self.implied(t, torch.float64)
        signal, sigma = self.rates(t, torch.float64)
        # As weights in double precision: in near pure noise epsilon implies data of thousands, of which most cancels.
        return (signal * first / third - 1) / sigma**2 * x + signal * second / third / sigma**2 * output

    def velocity(self, output: Tensor, x: Tensor, t: float, limit: float | None = None) -> Tensor:
        """dx/ds of the probability flow: how a state moves with the noise, s from 0 at the data to 1 at the noise.

        With D the data that the output implies and e = (x - signal D) / sigma the noise, it is signal' D + sigma' e, with
        the rates' `change` along s. For `Flow` s is the time, and this is what the network says (Liu et al. 2022, eq. 1);
        else s is the angle arcsin(sigma) in quarter circles, and this is pi / 2 times the `v` of Salimans and Ho 2022,
        appendix D.

        Args:
            output: what the network says at (x, t).
            x: the state.
            t: the time, from 0 (data) to 1 (noise).
            limit: the data are held within [-limit, limit], as samplers hold them.

        Raises:
            ConfigError: the objective is not denoised.
        """
        first, second, third = self.implied(t, torch.float64)
        (signal, sigma), (signal_change, sigma_change) = self.rates(t, torch.float64), self.change(t)
        data = (first * x + second * output) / third
        if limit is not None:
            data = data.clamp(-limit, limit)
        return sigma_change / sigma * x + (signal_change - sigma_change * signal / sigma) * data

    def scale_seen(self, t: float) -> float:
        """What `seen` multiplies a state by, for one time."""
        one = torch.ones(1, 1, 1, dtype=torch.float64)
        return float(self.seen(one, torch.tensor([t], dtype=torch.float64)))


def as_factor(t: Tensor, x: Tensor) -> Tensor:
    """Times as factors of x."""
    return t.to(x.dtype).view(-1, *[1] * (x.ndim - 1))
