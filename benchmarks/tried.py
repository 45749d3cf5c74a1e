"""Ways of acting that were tried and have not earned a place in the package. The benchmark keeps a row for each."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from diffpolicy.evaluation.controller import Controller, read_off
from diffpolicy.policy import DiffusionPolicy


class MostCoherent(Controller):
    """Of several plans, follow the one that best goes on with the plan before (backward coherence, Liu et al. 2024).

    Args:
        policy: what plans.
        samples: plans to choose from each time.
        **manner: as a controller's.
    """

    def __init__(self, policy: DiffusionPolicy, *, samples: int, **manner: Any) -> None:
        self._samples = samples
        super().__init__(policy, **manner)

    def noise(self) -> Float[torch.Tensor, "n horizon action"]:
        """Each sample's own."""
        shape = (self._samples, self.policy.config.pred_horizon, self.policy.action_dim)
        return torch.randn(shape, generator=self.generator)

    def choose(self, plans: Float[np.ndarray, "n horizon action"]) -> Float[np.ndarray, "horizon action"]:
        """The closest to what is left of the plan before, over the time that both cover; the first if none is."""
        rest, config = self.rest(), self.policy.config
        ahead = np.arange(config.obs_horizon - 1, config.pred_horizon)
        shared = ahead[ahead + self.action_horizon * self.speed <= config.pred_horizon - 1]
        if rest is None or not len(shared):
            return plans[0]
        return plans[((plans[:, shared] - rest[shared]) ** 2).mean(axis=(1, 2)).argmin()]


class KeptNoise(Controller):
    """Start each plan from noise that is correlated with the noise of the plan before.

    Args:
        policy: what plans.
        kept: that correlation, from 0 to below 1.
        **manner: as a controller's.
    """

    def __init__(self, policy: DiffusionPolicy, *, kept: float, **manner: Any) -> None:
        self._kept = kept
        super().__init__(policy, **manner)

    def reset(self, seed: int | None = None) -> None:
        """Forget everything, the noise too."""
        super().reset(seed)
        self._noise: torch.Tensor | None = None

    def noise(self) -> Float[torch.Tensor, "n horizon action"]:
        """As large as fresh noise."""
        fresh = super().noise()
        if self._noise is not None:
            fresh = self._kept * self._noise + (1 - self._kept**2) ** 0.5 * fresh
        self._noise = fresh
        return fresh


class EnsembledOverTime(Controller):
    """Do at each moment the mean of what all plans since the start have said of it, as far as they reach (Zhao et al. 2023).

    Args:
        policy: what plans.
        decay: a plan that is k plans older weighs exp(-decay k).
        **manner: as a controller's.
    """

    def __init__(self, policy: DiffusionPolicy, *, decay: float, **manner: Any) -> None:
        self._decay = decay
        super().__init__(policy, **manner)

    def reset(self, seed: int | None = None) -> None:
        """Forget everything, the plans too."""
        super().reset(seed)
        self._plans: list[np.ndarray] = []

    def actions(self, plan: Float[np.ndarray, "horizon action"]) -> Float[np.ndarray, "steps action"]:
        """The mean over this plan and those before it, where they still speak of these moments."""
        own = super().actions(plan)
        self._plans = [plan, *self._plans]
        place = self.policy.config.obs_horizon - 1 + np.arange(len(own)) * self.speed
        total, weights = np.zeros_like(own), np.zeros((len(own), 1))
        for age, older in enumerate(self._plans):
            at = place + age * self.action_horizon * self.speed
            weight = np.exp(-self._decay * age) * (at <= len(plan) - 1)[:, None]
            total += weight * read_off(older, at)
            weights += weight
            if not weight.any():
                self._plans = self._plans[:age]
                break
        return total / weights
