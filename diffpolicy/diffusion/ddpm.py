"""Denoising diffusion on a discrete noise schedule: the paper's objective and its two common reparametrizations."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from diffpolicy.config import DDPMConfig


class DDPM:
    """x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) noise, a_t the schedule's cumulative product (Ho et al. 2020, eq. 4).

    The network predicts the noise (`epsilon`), sqrt(a_t) noise - sqrt(1 - a_t) x_0 (`v`, Salimans and Ho 2022), or x_0
    (`sample`). Of T levels, level k = 0 .. T-1 has the time t = (k + 1) / T.
    """

    def __init__(self, config: DDPMConfig) -> None:
        # Here: importing it takes a second, which other objectives need not wait for.
        from diffusers import DDPMScheduler

        self.config = config
        # The linear schedules were published for 1,000 levels; of fewer, each adds more, so that the last is noise still.
        first, last = (min(beta * 1000 / config.train_timesteps, 0.999) for beta in (1e-4, 0.02))
        schedule = DDPMScheduler(config.train_timesteps, first, last, config.beta_schedule)
        self.alphas_cumprod: Tensor = schedule.alphas_cumprod
        self.levels = config.train_timesteps

    def times(self, n: int, generator: torch.Generator | None, device: torch.device) -> Float[Tensor, " n"]:
        """Draw the times of a training batch, each level equally often."""
        level = torch.randint(self.levels, (n,), generator=generator, device=device)
        return (level + 1) / self.levels

    def corrupt(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t on the way from x_0 to noise."""
        signal, sigma = self._rates(t, x0)
        return signal * x0 + sigma * noise

    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the network should say at (x_t, t)."""
        if self.config.prediction == "epsilon":
            return noise
        if self.config.prediction == "sample":
            return x0
        signal, sigma = self._rates(t, x0)
        return signal * noise - sigma * x0

    def denoised(self, x: Tensor, t: Tensor, output: Tensor) -> Tensor:
        """The x_0 that an output implies."""
        signal, sigma = self._rates(t, x)
        if self.config.prediction == "epsilon":
            return (x - sigma * output) / signal
        return output if self.config.prediction == "sample" else signal * x - sigma * output

    def implied(self, t: float, dtype: torch.dtype = torch.float32) -> tuple[float, float, float]:
        """`denoised` as weights, for one time and an x of this type: x_0 = (first x + second output) / third."""
        signal, sigma = self.rates(t, dtype)
        if self.config.prediction == "epsilon":
            return 1.0, -sigma, signal
        return (0.0, 1.0, 1.0) if self.config.prediction == "sample" else (signal, -sigma, 1.0)

    def output_of(self, x: Tensor, t: Tensor, x0: Tensor) -> Tensor:
        """The output that implies x_0: the inverse of `denoised`."""
        signal, sigma = self._rates(t, x)
        if self.config.prediction == "epsilon":
            return (x - signal * x0) / sigma
        return x0 if self.config.prediction == "sample" else (signal * x - x0) / sigma

    def rates(self, t: float, dtype: torch.dtype = torch.float32) -> tuple[float, float]:
        """How much of the data and how much noise there is at one time, as computed in this type."""
        signal, sigma = self._rates(torch.tensor([t]), torch.empty(1, dtype=dtype))
        return float(signal), float(sigma)

    def _rates(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        level = (t * self.levels).round().long() - 1
        a = self.alphas_cumprod.to(x.device, x.dtype)[level].view(-1, *[1] * (x.ndim - 1))
        return a.sqrt(), (1 - a).sqrt()
