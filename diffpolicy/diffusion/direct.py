"""Policies that are not denoised, in the same frame, because the question is what generative modelling buys.

They see nothing of the state they start from: `regression` gives the same plan for all noise, `mixture` lets it choose a
mode.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from diffpolicy.config import MixtureConfig, RegressionConfig
from diffpolicy.diffusion.objective import Objective, as_factor
from diffpolicy.errors import ConfigError


class _Direct(Objective):
    """One look at pure noise, of which the network sees nothing."""

    looks = 1

    def times(self, n: int, generator: torch.Generator | None, device: torch.device) -> Float[Tensor, " n"]:
        return torch.ones(n, device=device)

    def corrupt(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        return torch.lerp(x0, noise, as_factor(t, x0))

    def seen(self, x: Tensor, t: Tensor) -> Tensor:
        return x * as_factor(t < 1, x)

    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        return x0

    def implied(self, t: float, dtype: torch.dtype = torch.float32) -> tuple[float, float, float]:
        return 0.0, 1.0, 1.0

    def schedule(self, steps: int, start: float = 1.0) -> tuple[float, ...]:
        if steps != self.looks:
            raise ConfigError(f"steps is {steps}, but this policy takes {self.looks}: it is not denoised")
        if start != 1:
            raise ConfigError("a policy that is not denoised cannot start warm: it sees nothing of where it starts")
        return (1.0,)

    def line(self, t: float) -> tuple[float, float]:
        return t, 1.0

    def noise_level(self, t: float) -> float:
        return t

    def score(self, output: Tensor, x: Tensor, t: float) -> Tensor:
        raise self._no_field()

    def velocity(self, output: Tensor, x: Tensor, t: float, limit: float | None = None) -> Tensor:
        raise self._no_field()

    def _no_field(self) -> ConfigError:
        return ConfigError(
            f"objective {self.name!r} is not denoised: it has neither score nor velocity; ask a policy of flow, ddpm or edm"
        )


class Regression(_Direct):
    """The plan by least squared or absolute error. With a second look it is mended once (Pan et al. 2025, algorithm 1).

    That look is trained on plans mixed with a share t of noise, and used on the first look's plan times 1 - t, without
    noise.
    """

    name = "regression"

    def __init__(self, config: RegressionConfig) -> None:
        self.config, self.looks = config, config.looks

    def times(self, n: int, generator: torch.Generator | None, device: torch.device) -> Float[Tensor, " n"]:
        """Each look equally often."""
        if self.config.second_look is None:
            return super().times(n, generator, device)
        second = torch.rand(n, generator=generator, device=device) < 0.5
        return torch.where(second, self.config.second_look, 1.0)

    def error(self, off: Tensor) -> Tensor:
        return off.square() if self.config.error == "squared" else off.abs()

    def schedule(self, steps: int, start: float = 1.0) -> tuple[float, ...]:
        return super().schedule(steps, start) + (() if self.config.second_look is None else (self.config.second_look,))


class Mixture(_Direct):
    """Some plans with a weight each, Gaussian around each (Bishop 1994, eq. 22 to 26); the loss is the negative
    log-likelihood.

    In use a mode is drawn by its weight, and its mean is the plan: the noise around it was the spread of what people did.
    """

    name = "mixture"

    def __init__(self, config: MixtureConfig) -> None:
        self.config = config

    def outputs(self, action_dim: int) -> int:
        """For each mode a mean and a spread of each number, and its share of the logit, which is one for the whole plan."""
        return self.config.modes * (2 * action_dim + 1)

    def loss(
        self,
        output: Tensor,
        x0: Tensor,
        noise: Tensor,
        t: Tensor,
        weight: Float[Tensor, "batch horizon 1"] | None = None,
    ) -> Float[Tensor, ""]:
        """Per number of a plan, so that plans of all lengths weigh alike."""
        logits, means, spreads = self.parts(output)
        off = (x0[:, :, None] - means) / spreads
        logs = -0.5 * off.square() - spreads.log() - 0.5 * math.log(math.tau)
        if weight is not None:
            logs = logs * weight[..., None]
        joint = logits.log_softmax(dim=-1) + logs.sum(dim=(1, 3))
        counted = x0.numel() if weight is None else (weight.sum() * x0.shape[-1]).clamp(min=1)
        return -joint.logsumexp(dim=-1).sum() / counted

    def decode(self, output: Tensor, x: Tensor) -> Tensor:
        """The mean of the mode that the first number of x, as a quantile, falls into."""
        logits, means, _ = self.parts(output)
        share = torch.special.ndtr(x[..., 0, 0])[..., None]
        mode = (logits.softmax(dim=-1).cumsum(dim=-1) < share).sum(dim=-1).clamp(max=self.config.modes - 1)
        index = mode[..., None, None, None].expand(*means.shape[:-2], 1, means.shape[-1])
        return means.gather(-2, index).squeeze(-2)

    def parts(self, output: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (..., modes), means and spreads (..., horizon, modes, action)."""
        k = self.config.modes
        action_dim = (output.shape[-1] // k - 1) // 2
        means, spreads, logits = output.split((k * action_dim, k * action_dim, k), dim=-1)
        spread = torch.nn.functional.softplus(spreads.unflatten(-1, (k, -1))) + self.config.least_std
        return logits.mean(dim=-2), means.unflatten(-1, (k, -1)), spread
