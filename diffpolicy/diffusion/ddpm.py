"""Denoising diffusion on a discrete noise schedule: the paper's objective and its two common reparametrizations."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from diffpolicy.config import DDPMConfig
from diffpolicy.diffusion.objective import Objective
from diffpolicy.errors import ConfigError


class DDPM(Objective):
    """x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) noise, a_t the schedule's cumulative product (Ho et al. 2020, eq. 4).

    The network predicts the noise (`epsilon`), sqrt(a_t) noise - sqrt(1 - a_t) x_0 (`v`, Salimans and Ho 2022), or x_0
    (`sample`). Of T levels, level k = 0 .. T-1 has the time t = (k + 1) / T.
    """

    name = "ddpm"

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
        """Each level equally often."""
        level = torch.randint(self.levels, (n,), generator=generator, device=device)
        return (level + 1) / self.levels

    def corrupt(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        signal, sigma = self._rates(t, x0)
        return signal * x0 + sigma * noise

    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        if self.config.prediction == "epsilon":
            return noise
        if self.config.prediction == "sample":
            return x0
        signal, sigma = self._rates(t, x0)
        return signal * noise - sigma * x0

    def implied(self, t: float, dtype: torch.dtype = torch.float32) -> tuple[float, float, float]:
        signal, sigma = self.rates(t, dtype)
        if self.config.prediction == "epsilon":
            return 1.0, -sigma, signal
        return (0.0, 1.0, 1.0) if self.config.prediction == "sample" else (signal, -sigma, 1.0)

    def schedule(self, steps: int, start: float = 1.0) -> tuple[float, ...]:
        """Evenly spaced levels that begin at the start, whatever the number of steps ("trailing" spacing)."""
        first = max(1, round(start * self.levels))
        if steps > first:
            trained = f"the policy was trained on {self.levels} noise levels"
            left = "" if start == 1 else f", of which a warm start leaves {first}"
            raise ConfigError(f"steps is {steps}, but {trained}{left}; ask for fewer")
        levels = torch.linspace(first / steps, first, steps).round().long()
        return tuple((levels.flip(0) / self.levels).tolist())

    def line(self, t: float) -> tuple[float, float]:
        kept = self.kept(t)
        return ((1 - kept) / kept) ** 0.5, kept**-0.5

    def noise_level(self, t: float) -> float:
        return (1 - self.kept(t)) ** 0.5

    def kept(self, t: float) -> float:
        """a_t in double precision; 1 at the data."""
        level = round(t * self.levels) - 1
        return 1.0 if level < 0 else float(self.alphas_cumprod.double()[level])

    def _rates(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        level = (t * self.levels).round().long() - 1
        a = self.alphas_cumprod.to(x.device, x.dtype)[level].view(-1, *[1] * (x.ndim - 1))
        return a.sqrt(), (1 - a).sqrt()
