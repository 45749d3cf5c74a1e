"""Rectified flow: a straight line from data to noise, and its velocity as the thing to learn."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from diffpolicy.config import FlowConfig
from diffpolicy.diffusion.objective import Objective, as_factor

_STEEPNESS = 4.0  # Lee et al. 2024, section 4.1


class Flow(Objective):
    """x_t = (1 - t) x_0 + t noise; the network predicts dx/dt = noise - x_0 (Liu et al. 2022, eq. 1)."""

    name = "flow"

    def __init__(self, config: FlowConfig) -> None:
        self.config = config

    def times(self, n: int, generator: torch.Generator | None, device: torch.device) -> Float[Tensor, " n"]:
        if self.config.time_distribution == "logit_normal":
            # Esser et al. 2024, eq. 19: the middle of the path, where the velocity is hardest to tell, is seen most.
            return torch.sigmoid(torch.randn(n, generator=generator, device=device))
        share = torch.rand(n, generator=generator, device=device)
        if self.config.time_distribution == "uniform":
            return share
        # Density proportional to cosh(a (2 t - 1)): the inverse of its distribution, sinh over sinh.
        return (torch.asinh((2 * share - 1) * math.sinh(_STEEPNESS)) / _STEEPNESS + 1) / 2

    def corrupt(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        return torch.lerp(x0, noise, as_factor(t, x0))

    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        return noise - x0

    def implied(self, t: float, dtype: torch.dtype = torch.float32) -> tuple[float, float, float]:
        return 1.0, -t, 1.0

    def schedule(self, steps: int, start: float = 1.0) -> tuple[float, ...]:
        return tuple(start * k / steps for k in range(steps, 0, -1))

    def line(self, t: float) -> tuple[float, float]:
        return t, 1.0

    def change(self, t: float) -> tuple[float, float]:
        return -1.0, 1.0

    def noise_level(self, t: float) -> float:
        return t
