"""Rectified flow: a straight line from data to noise, and its velocity as the thing to learn."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from diffpolicy.config import FlowConfig


class Flow:
    """x_t = (1 - t) x_0 + t noise; the network predicts dx/dt = noise - x_0 (Liu et al. 2022, eq. 1).

    All methods take x, x_0, noise and output of one shape (batch, ...), and t (batch,) in (0, 1].
    """

    def __init__(self, config: FlowConfig) -> None:
        self.config = config

    def times(self, n: int, generator: torch.Generator | None, device: torch.device) -> Float[Tensor, " n"]:
        """Draw the times of a training batch."""
        if self.config.time_distribution == "uniform":
            return torch.rand(n, generator=generator, device=device)
        # Esser et al. 2024, eq. 19: the middle of the path, where the velocity is hardest to tell, is seen most.
        return torch.sigmoid(torch.randn(n, generator=generator, device=device))

    def corrupt(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t on the way from x_0 to noise."""
        return torch.lerp(x0, noise, _as(t, x0))

    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the network should say at (x_t, t)."""
        return noise - x0

    def denoised(self, x: Tensor, t: Tensor, output: Tensor) -> Tensor:
        """The x_0 that an output implies."""
        return x - _as(t, x) * output

    def implied(self, t: float, dtype: torch.dtype = torch.float32) -> tuple[float, float, float]:
        """`denoised` as weights, for one time: x_0 = (first x + second output) / third; the same for every type."""
        return 1.0, -t, 1.0

    def output_of(self, x: Tensor, t: Tensor, x0: Tensor) -> Tensor:
        """The output that implies x_0: the inverse of `denoised`."""
        return (x - x0) / _as(t, x)


def _as(t: Tensor, x: Tensor) -> Tensor:
    return t.to(x.dtype).view(-1, *[1] * (x.ndim - 1))
