"""Training as plain code does it: a DataLoader, single precision, AdamW as it comes, an average kept by a Python loop.

The loss is the policy's own and the network has PyTorch's own layers, so what is compared is the manner of training. Plain
code is spared the mirror, which would cost it Python for every window.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from diffpolicy.benchmarking.data_windows import WindowDataset
from diffpolicy.benchmarking.plain_network import in_plain_style
from diffpolicy.config import ExperimentConfig
from diffpolicy.policy import Batch, DiffusionPolicy
from diffpolicy.training.windows import Windows


class PlainTraining:
    """A policy and all that its training keeps.

    Args:
        config: The experiment; its precision does not count here.
        windows: What to learn from.
        policy: Where to begin; it is copied.
    """

    def __init__(self, config: ExperimentConfig, windows: Windows, policy: DiffusionPolicy) -> None:
        settings = config.training
        self.policy = in_plain_style(copy.deepcopy(policy)).train()
        self.averaged = copy.deepcopy(self.policy).requires_grad_(False)
        self._settings, self._noise = settings, config.data.observation_noise
        self._optimizer = torch.optim.AdamW(
            self.policy.parameters(),
            lr=settings.learning_rate,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
        )
        loader = DataLoader(WindowDataset(windows), settings.batch_size, shuffle=True, drop_last=True)
        self._batches = _endless(loader)

    def step(self) -> float:
        """Draws a batch, updates the weights and their average, and returns the loss."""
        numbers = {key: value.to(self.policy.device) for key, value in next(self._batches).items()}
        return self.learn(Batch(action=numbers.pop("action"), obs=numbers))

    def learn(self, batch: Batch) -> float:
        """Updates the weights and their average with a batch, and returns the loss."""
        loss = self.policy(batch, observation_noise=self._noise)
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self._settings.gradient_clip)
        self._optimizer.step()
        with torch.no_grad():
            for average, weight in zip(self.averaged.parameters(), self.policy.parameters(), strict=True):
                average.mul_(self._settings.ema_decay).add_(weight, alpha=1 - self._settings.ema_decay)
        return loss.item()


def _endless(loader: DataLoader[dict[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
    while True:
        yield from loader
