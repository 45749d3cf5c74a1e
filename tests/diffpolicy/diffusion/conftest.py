"""What tests of noise and its removal share: the objectives by name, and networks that know the answer."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from diffpolicy.config import DDPMConfig, EDMConfig, FlowConfig, MixtureConfig, RegressionConfig
from diffpolicy.diffusion import Objective, build_objective

OBJECTIVES: dict[str, tuple[Any, dict[str, Any]]] = {
    "flow": (FlowConfig, {}),
    "epsilon": (DDPMConfig, {"prediction": "epsilon"}),
    "v": (DDPMConfig, {"prediction": "v"}),
    "sample": (DDPMConfig, {"prediction": "sample"}),
    "edm": (EDMConfig, {}),
    "mse": (RegressionConfig, {"error": "squared"}),
    "l1": (RegressionConfig, {"error": "absolute"}),
    "two_looks": (RegressionConfig, {"second_look": 0.1}),
    "mixture": (MixtureConfig, {}),
}


class Oracle:
    """A network that says what implies the x_0 it believes in, and remembers what it was asked.

    It believes in given data, or in what a function makes of the state and the time.
    """

    def __init__(self, objective: Objective, belief: Tensor | Callable[[Tensor, float], Tensor]) -> None:
        self.objective, self.belief = objective, belief
        self.times: list[Tensor] = []
        self.seen: list[Tensor] = []

    def __call__(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        self.times.append(t)
        self.seen.append(x)
        time = float(t[0])
        assert (t == time).all()
        first, second, third = self.objective.implied(time, x.dtype)
        seen = self.objective.scale_seen(time)
        state = x / seen if seen else torch.full_like(x, torch.nan)
        x0 = self.belief.flatten(0, 1) if isinstance(self.belief, Tensor) else self.belief(state, time)
        return (third * x0 - (first * state if first else 0.0)) / second


class Gaussian:
    """Data from N(mean, std^2), of which all is known in closed form."""

    mean, std = 0.4, 0.3

    def __init__(self, objective: Objective) -> None:
        self.objective = objective

    def rates(self, t: float) -> tuple[float, float]:
        """How much of the data and how much noise there is at a time."""
        one, none, time = torch.ones(1, 1, 1).double(), torch.zeros(1, 1, 1).double(), torch.tensor([t]).double()
        return float(self.objective.corrupt(one, none, time)), float(self.objective.corrupt(none, one, time))

    def expected(self, x: Tensor, t: float) -> Tensor:
        """E[x_0 | x_t]: what the best network there is implies."""
        signal, sigma = self.rates(t)
        gain = signal * self.std**2 / (signal**2 * self.std**2 + sigma**2)
        return self.mean + gain * (x - signal * self.mean)

    def flowed(self, x: Tensor, t: float = 1.0) -> Tensor:
        """Where the probability flow leads from a state: to the same quantile of the data."""
        signal, sigma = self.rates(t)
        return self.mean + self.std * (x - signal * self.mean) / (signal**2 * self.std**2 + sigma**2) ** 0.5


@pytest.fixture
def objective_named() -> Callable[..., Objective]:
    """One of `OBJECTIVES`; further arguments go to its config."""

    def build(name: str, **changes: object) -> Objective:
        config, named = OBJECTIVES[name]
        return build_objective(config(**{**named, **changes}))

    return build


@pytest.fixture
def oracle() -> type[Oracle]:
    return Oracle


@pytest.fixture
def gaussian() -> type[Gaussian]:
    return Gaussian


@pytest.fixture
def no_cond() -> Callable[[int], Tensor]:
    """An observation of one number a row, for networks that ignore it."""
    return lambda rows: torch.zeros(rows, 1)
