"""What a policy learns of noise and data, and the samplers that lead from one to the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import pydantic

from diffpolicy.config_checks import STRICT_KEYS, positive

Sampler = Literal["euler", "heun", "dpmpp_2m", "ddpm", "ddim", "direct"]
"""`euler` (first order), `heun` (second order, two network evaluations an interval; Karras et al. 2022) and `dpmpp_2m`
(second order, one evaluation; Lu et al. 2022; for `flow` in its own time) belong to `flow`, `edm` and `ddpm`; `ddpm`
(stochastic) and `ddim` (deterministic) to `ddpm` alone; `direct` to what is not denoised: `regression` and `mixture`. In few
evaluations `heun` is worse than `euler`: its intervals are twice as long."""


@dataclass(frozen=True)
class FlowConfig:
    """Rectified flow (Liu et al. 2022; Lipman et al. 2023): the network predicts noise minus data."""

    __pydantic_config__ = STRICT_KEYS
    name: Literal["flow"] = "flow"
    time_distribution: Literal["uniform", "logit_normal", "u_shaped"] = "logit_normal"
    """Where training looks along the path; logit-normal favours the middle (Esser et al. 2024), u-shaped both ends, which is
    for a flow that is straight already (Lee et al. 2024)."""


@dataclass(frozen=True)
class DDPMConfig:
    """Denoising diffusion (Ho et al. 2020) on a diffusers noise schedule."""

    __pydantic_config__ = STRICT_KEYS
    name: Literal["ddpm"] = "ddpm"
    prediction: Literal["epsilon", "v", "sample"] = "epsilon"
    train_timesteps: int = 100
    beta_schedule: Literal["squaredcos_cap_v2", "linear", "scaled_linear"] = "squaredcos_cap_v2"

    def __post_init__(self) -> None:
        positive(self, "train_timesteps")


@dataclass(frozen=True)
class EDMConfig:
    """The preconditioned denoiser of Karras et al. 2022, with their distribution and spacing of noise levels (table 1)."""

    __pydantic_config__ = STRICT_KEYS
    name: Literal["edm"] = "edm"
    sigma_data: float = 0.5
    """Standard deviation of the data, here of normalized actions."""
    sigma_min: float = 0.002
    """The least noise that is trained on and solved from."""
    sigma_max: float = 80.0
    """The most: so much that the data in it does not count."""
    rho: float = 7.0
    """How closely the levels of a sample lie near the data."""
    log_mean: float = -1.2
    """Mean of the natural logarithm of training's noise levels."""
    log_std: float = 1.2
    """Its standard deviation."""

    def __post_init__(self) -> None:
        positive(self, "sigma_data", "sigma_min", "rho", "log_std")
        if not self.sigma_max > self.sigma_min:
            raise ValueError(f"sigma_max is {self.sigma_max}; it must be above sigma_min ({self.sigma_min})")


@dataclass(frozen=True)
class RegressionConfig:
    """Cloning: the network says the plan itself, from the observation alone. What generative policies are compared with."""

    __pydantic_config__ = STRICT_KEYS
    name: Literal["regression"] = "regression"
    error: Literal["squared", "absolute"] = "squared"
    """What is least in training: then the plan is the mean of what people did, or their median."""
    second_look: float | None = None
    """Share of noise, such as 0.1, at which a second evaluation mends the first one's plan: the minimal iterative policy
    (Pan et al. 2025). null: there is one evaluation."""

    def __post_init__(self) -> None:
        if self.second_look is not None and not 0 < self.second_look < 1:
            raise ValueError(f"second_look is {self.second_look}; it must lie between 0 and 1, or be null")

    @property
    def looks(self) -> int:
        """Network evaluations of a plan: no more and no fewer."""
        return 1 if self.second_look is None else 2


@dataclass(frozen=True)
class MixtureConfig:
    """A mixture density head (Bishop 1994): weights, means and spreads of some plans, from the observation alone."""

    __pydantic_config__ = STRICT_KEYS
    name: Literal["mixture"] = "mixture"
    modes: int = 5
    """Plans in the mixture (robomimic, Mandlekar et al. 2021: 5)."""
    least_std: float = 0.01
    """The least standard deviation of a mode, in normalized units; less would let the likelihood grow without bounds."""

    def __post_init__(self) -> None:
        positive(self, "modes", "least_std")


Objective = Annotated[
    FlowConfig | DDPMConfig | EDMConfig | RegressionConfig | MixtureConfig, pydantic.Field(discriminator="name")
]

SAMPLERS: dict[str, tuple[Sampler, ...]] = {
    "flow": ("euler", "heun", "dpmpp_2m"),
    "edm": ("dpmpp_2m", "euler", "heun"),
    "ddpm": ("ddpm", "ddim", "euler", "heun", "dpmpp_2m"),
    "regression": ("direct",),
    "mixture": ("direct",),
}
"""Which samplers solve which objective, the usual one first."""


def check_sampler(objective: Objective, sampler: Sampler, steps: int, warm_start: float = 0.0) -> None:
    """Refuse a sampler that does not solve the objective, or a number of network evaluations or a start it cannot have."""
    if sampler not in SAMPLERS[objective.name]:
        fits = " or ".join(SAMPLERS[objective.name])
        raise ValueError(f"sampler {sampler!r} cannot solve objective {objective.name!r}; use {fits}")
    if isinstance(objective, DDPMConfig) and steps > objective.train_timesteps:
        raise ValueError(f"steps {steps} exceeds objective.train_timesteps {objective.train_timesteps}")
    if isinstance(objective, DDPMConfig) and steps > max(1, round((1 - warm_start) * objective.train_timesteps)):
        raise ValueError(
            f"steps {steps} does not fit: warm_start {warm_start:g} leaves {1 - warm_start:.0%} of "
            f"objective.train_timesteps {objective.train_timesteps}; lower it"
        )
    if sampler == "direct" and warm_start:
        raise ValueError(
            f"warm_start is {warm_start:g}, but objective {objective.name!r} is not denoised and sees nothing of where it "
            "starts; set it to 0"
        )
    looks = objective.looks if isinstance(objective, RegressionConfig) else 1
    if sampler == "direct" and steps != looks:
        raise ValueError(f"steps is {steps}, but objective {objective.name!r} takes {looks} as it is configured")
