"""The denoiser of Karras et al. 2022: preconditioned, so that the network sees and says numbers of unit variance."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from diffpolicy.config import EDMConfig
from diffpolicy.diffusion.objective import Objective, as_factor


class EDM(Objective):
    """y = x_0 + s noise, D(y, s) = c_skip y + c_out F(c_in y, ln s) (Karras et al. 2022, eq. 7); the network is F.

    Our state is x_t = y / sqrt(1 + s^2), which has unit variance at the noise end and is x_0 at the other, as pictures of
    paths want it. The time t runs evenly along ln s, from 0 at sigma_min to 1 at sigma_max.
    """

    name = "edm"

    def __init__(self, config: EDMConfig) -> None:
        self.config = config
        self.log_min, self.log_max = math.log(config.sigma_min), math.log(config.sigma_max)

    def times(self, n: int, generator: torch.Generator | None, device: torch.device) -> Float[Tensor, " n"]:
        """ln s is normal (section 5), held within the range that sampling asks about."""
        log_sigma = self.config.log_mean + self.config.log_std * torch.randn(n, generator=generator, device=device)
        return ((log_sigma - self.log_min) / (self.log_max - self.log_min)).clamp(0, 1)

    def corrupt(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        sigma = self._sigmas(t, x0)
        return (x0 + sigma * noise) / (1 + sigma.square()).sqrt()

    def seen(self, x: Tensor, t: Tensor) -> Tensor:
        """c_in y."""
        variance = self._sigmas(t, x).square()
        return x * ((1 + variance) / (variance + self.config.sigma_data**2)).sqrt()

    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """(x_0 - c_skip y) / c_out: with it, the paper's weight of a squared error of D is 1 for F (eq. 8)."""
        sigma, data = self._sigmas(t, x0), self.config.sigma_data
        return (sigma * x0 - data**2 * noise) / (data * (sigma.square() + data**2).sqrt())

    def implied(self, t: float, dtype: torch.dtype = torch.float32) -> tuple[float, float, float]:
        sigma, data = self._sigma(t), self.config.sigma_data
        total = sigma**2 + data**2
        return data**2 / total * math.sqrt(1 + sigma**2), sigma * data / math.sqrt(total), 1.0

    def schedule(self, steps: int, start: float = 1.0) -> tuple[float, ...]:
        """Levels evenly spaced in s^(1 / rho) (eq. 5)."""
        first, last = self._sigma(start) ** (1 / self.config.rho), self.config.sigma_min ** (1 / self.config.rho)
        sigmas = [(first + k / max(1, steps - 1) * (last - first)) ** self.config.rho for k in range(steps)]
        return tuple((math.log(sigma) - self.log_min) / (self.log_max - self.log_min) for sigma in sigmas)

    def line(self, t: float) -> tuple[float, float]:
        sigma = self._sigma(t)
        return sigma, math.sqrt(1 + sigma**2)

    def noise_level(self, t: float) -> float:
        sigma = self._sigma(t)
        return sigma / math.sqrt(1 + sigma**2)

    def _sigma(self, t: float) -> float:
        return math.exp(self.log_min + t * (self.log_max - self.log_min))

    def _sigmas(self, t: Tensor, x: Tensor) -> Tensor:
        return as_factor(torch.exp(self.log_min + t * (self.log_max - self.log_min)), x)
