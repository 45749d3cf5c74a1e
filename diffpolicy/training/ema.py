"""The running average of the weights, which is what a policy is released and evaluated with."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class EMA:
    """Exponential moving average whose decay rises as 1 - (1 + step)^-power up to a ceiling.

    Early on the average follows the weights closely, later it smooths over 1 / (1 - decay) steps. Its step is part of a
    checkpoint: an average that forgets it would follow the weights closely once more after a resume.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], *, decay: float, power: float) -> None:
        self.averages = [parameter.detach().clone() for parameter in parameters]
        self.decay, self.power, self.step = decay, power, 0

    @torch.no_grad()
    def update(self, parameters: Iterable[nn.Parameter]) -> None:
        """Move the average towards the weights."""
        self.step += 1
        decay = min(self.decay, 1 - (1 + self.step) ** -self.power)
        torch._foreach_lerp_(self.averages, [p.detach() for p in parameters], 1 - decay)

    @torch.no_grad()
    def copy_to(self, parameters: Iterable[nn.Parameter]) -> None:
        """Set the weights of another module to the average."""
        torch._foreach_copy_(list(parameters), self.averages)

    def load(self, averages: Iterable[Tensor], step: int) -> None:
        """Continue from a checkpoint."""
        self.averages, self.step = [average.clone() for average in averages], step
