"""What tests of noise and its removal share: the objectives by name, and a network that knows the answer."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from diffpolicy.config import DDPMConfig, FlowConfig
from diffpolicy.diffusion import DDPM, Flow, build_objective


class Oracle:
    """A network that says exactly what implies x_0, and remembers what it was asked."""

    def __init__(self, objective: DDPM | Flow, x0: Tensor) -> None:
        self.objective, self.x0 = objective, x0
        self.times: list[Tensor] = []

    def __call__(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        self.times.append(t)
        return self.objective.output_of(x, t, self.x0.flatten(0, 1))


@pytest.fixture
def objective_named() -> Callable[..., DDPM | Flow]:
    """`flow`, or a DDPM by what it predicts; further arguments go to its config."""

    def build(name: str, **changes: object) -> DDPM | Flow:
        config = FlowConfig(**changes) if name == "flow" else DDPMConfig(prediction=name, **changes)  # type: ignore[arg-type]
        return build_objective(config)

    return build


@pytest.fixture
def oracle() -> type[Oracle]:
    return Oracle


@pytest.fixture
def no_cond() -> Callable[[int], Tensor]:
    """An observation of one number a row, for networks that ignore it."""
    return lambda rows: torch.zeros(rows, 1)
