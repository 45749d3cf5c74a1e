"""What each step of training learns from: windows drawn at random, half of them mirrored.

A batch is a function of the seed and the step alone. So a resumed run needs no state for it, and batches can be fetched
ahead, which they are where the demonstrations do not fit on the device.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from diffpolicy.config import ExperimentConfig
from diffpolicy.policy import Batch
from diffpolicy.tasks import load_task
from diffpolicy.training.windows import Windows

_DRAWN_AT_ONCE = 64
"""Steps whose windows are drawn by one call; part of what the seed means."""
_AHEAD = 3


class Batches:
    """The batches of a run. A context manager: leaving it ends the fetching ahead.

    Args:
        windows: what to draw from, with replacement; they go to the device if they fit there.
        config: batch size, seed, mirror, and whether padding counts.
        device: where batches are wanted.
        process: the number of this process, of several that learn together; each draws other windows.
        ahead: gather the next batches in a thread, while the device works; None: where the windows are not on it.
    """

    def __init__(
        self,
        windows: Windows,
        config: ExperimentConfig,
        device: torch.device | str,
        *,
        process: int = 0,
        ahead: bool | None = None,
    ) -> None:
        self.config, self.device = config, torch.device(device)
        self.windows = windows.to(self.device) if windows.fits(self.device) else windows
        self.mirror = load_task(config.policy.task).mirror if config.data.mirror else None
        self._generator, self._process = torch.Generator(), process
        self._drawn: tuple[int, Tensor, Tensor] | None = None
        ahead = self.windows.steps.device.type != self.device.type if ahead is None else ahead
        self._pool = ThreadPoolExecutor(1, "batches") if ahead else None
        self._ahead: deque[tuple[int, Future[tuple[Batch, Tensor]]]] = deque()

    def __enter__(self) -> Batches:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def draw(self, step: int) -> Batch:
        """The batch of a step, counted from 0."""
        if self._pool is None:
            return self._mirrored(*self._gathered(step))
        # Only the thread touches what was drawn; this one hands out steps and takes batches.
        while self._ahead and self._ahead[0][0] != step:  # another step than the next: begin anew from there
            self._ahead.popleft()[1].cancel()
        for later in range(step + len(self._ahead), step + _AHEAD):
            self._ahead.append((later, self._pool.submit(self._gathered, later)))
        return self._mirrored(*self._ahead.popleft()[1].result())

    def _gathered(self, step: int) -> tuple[Batch, Tensor]:
        """Windows on the device, and which of them to mirror."""
        index, coin = self._drawn_for(step)
        batch = self.windows.batch(index)
        if self.config.data.count_padding:
            del batch["mask"]
        if self._pool is not None:
            batch = _sent(batch, self.device)
        return batch, coin.to(self.device, non_blocking=True)

    def _drawn_for(self, step: int) -> tuple[Tensor, Tensor]:
        block, row = divmod(step, _DRAWN_AT_ONCE)
        if self._drawn is None or self._drawn[0] != block:
            # 32 bits are what torch's generator takes on the CPU; the odd factors keep seeds and processes apart.
            seed = 2_654_435_761 * self.config.training.seed + 40_503 * self._process + block
            generator = self._generator.manual_seed(seed % 2**32)
            shape = (_DRAWN_AT_ONCE, self.config.training.batch_size)
            index = torch.randint(len(self.windows), shape, generator=generator)
            self._drawn = (block, index, torch.rand(shape, generator=generator) < 0.5)
        return self._drawn[1][row], self._drawn[2][row]

    def _mirrored(self, batch: Batch, coin: Tensor) -> Batch:
        reflected = self.mirror(batch["obs"], batch["action"]) if self.mirror is not None else None
        if reflected is None:
            return batch

        def choose(mirrored: Tensor, original: Tensor) -> Tensor:
            return torch.where(coin.view(-1, *[1] * (original.ndim - 1)), mirrored, original)

        batch["obs"] = {key: choose(reflected[0][key], value) for key, value in batch["obs"].items()}
        batch["action"] = choose(reflected[1], batch["action"])
        return batch


def _sent(batch: Batch, device: torch.device) -> Batch:
    def send(value: Tensor) -> Tensor:
        # From pinned memory a card takes it by itself, while the processor goes on.
        return (value.pin_memory() if device.type == "cuda" else value).to(device, non_blocking=True)

    sent = Batch(obs={key: send(value) for key, value in batch["obs"].items()}, action=send(batch["action"]))
    if "mask" in batch:
        sent["mask"] = send(batch["mask"])
    return sent
