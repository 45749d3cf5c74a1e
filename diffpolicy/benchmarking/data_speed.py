"""How many training windows a second: from memory as training samples them, from disk, and by what others use.

A window is drawn at random, as in training: two observations and sixteen actions of one episode. All ways
give the same numbers, and a plain copy of as many bytes shows what the machine could do at that moment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import torch
from torch.utils.data import DataLoader, RandomSampler

from diffpolicy.benchmarking.data_windows import Read, Recording, WindowDataset, bare_read, read_windows
from diffpolicy.benchmarking.timing import Comparison, Contestant, compare, seconds_per

MEMORY: Final = "memory"  # as training samples it
STORE: Final = "Store.read"
ZARR: Final = "plain zarr"
COPY: Final = "memory copy"
WORKERS: Final = (0, 2)
BATCH: Final = 256

_BATCHES: Final = 16
_FROM_DISK: Final = 16  # windows a turn: of the published pictures, one takes 10 ms


@dataclass(frozen=True)
class Reading:
    """What was measured on one store with one set of observations.

    Attributes:
        store: What the store is called.
        keys: What is observed in a window.
        episodes: Of the store's first episodes, how many were in memory.
        windows: Over them.
        window_bytes: What one window gives a policy.
        comparison: Microseconds for a window.
        left_out: Contestant to why it could not take part.
    """

    store: str
    keys: tuple[str, ...]
    episodes: int
    windows: int
    window_bytes: int
    comparison: Comparison
    left_out: dict[str, str]

    def windows_per_s(self, contestant: str) -> float:
        """The median."""
        return 1e6 / self.comparison.times_us[contestant].median

    def bytes_per_s(self, contestant: str) -> float:
        """The median, of the bytes that reach a policy, whatever a store keeps them in."""
        return self.window_bytes * self.windows_per_s(contestant)

    def as_json(self) -> dict[str, Any]:
        """Everything, with both rates, as plain data."""
        names = list(self.comparison.times_us)
        rates = {"windows_per_s": self.windows_per_s, "bytes_per_s": self.bytes_per_s}
        return asdict(self) | {rate: {name: of(name) for name in names} for rate, of in rates.items()}


def loader_name(workers: int) -> str:
    """What a `DataLoader` is called among the contestants."""
    return f"DataLoader, {workers} workers"


def compare_reading(recording: Recording, rounds: int, on_round: Callable[[], None] = lambda: None) -> Reading:
    """Lets the ways to read windows take turns.

    The disk's contestants read 16 windows a turn, one by one, from files that the operating system may well have in
    its memory by then; the others 16 batches of 256. A loader's turn is an epoch from its first request to its last
    batch; its processes are started before. Training's own batches hold the mask of clamped actions besides.

    Args:
        recording: The windows.
        rounds: Timed rounds, at least 1.
        on_round: Called after each of them.

    Raises:
        StoreError: A file is damaged or missing.
    """
    contestants = {
        MEMORY: _from_memory(recording),
        STORE: _from_disk(recording, recording.store.read),
        ZARR: _from_disk(recording, bare_read(recording.store)),
        COPY: _copy(recording),
    }
    loaders, left_out = _loaders(recording)  # their processes end with them, when this returns
    contestants |= loaders
    pairs = [(name, MEMORY) for name in contestants if name != MEMORY] + [(STORE, ZARR), (MEMORY, COPY)]
    what = f"one window of {' and '.join(recording.keys)}"
    comparison = compare(what, contestants, pairs, rounds=rounds, on_round=on_round)
    windows = recording.windows
    return Reading(
        recording.name,
        recording.keys,
        recording.episodes,
        len(windows),
        recording.window_bytes,
        comparison,
        left_out,
    )


def _from_memory(recording: Recording) -> Contestant:
    windows, generator = recording.windows, torch.Generator().manual_seed(0)

    def batches() -> None:
        for _ in range(_BATCHES):
            windows.batch(torch.randint(len(windows), (BATCH,), generator=generator))

    return lambda _: seconds_per(_BATCHES * BATCH, batches)


def _from_disk(recording: Recording, read: Read) -> Contestant:
    def play(index: int) -> float:
        # Seeded by the round: both of the disk's contestants read the same windows in it.
        drawn = np.random.default_rng(index).integers(len(recording.windows), size=_FROM_DISK)
        return seconds_per(_FROM_DISK, lambda: read_windows(recording, read, drawn))

    return play


def _copy(recording: Recording) -> Contestant:
    """Copies a batch's bytes from anywhere in the record into memory that is there already."""
    recorded = max((*recording.windows.obs.values(), recording.windows.action), key=lambda value: value.nbytes)
    size = BATCH * recording.window_bytes
    source = recorded.numpy().reshape(-1).view(np.uint8)
    if len(source) < size:
        source = np.resize(source, size)
    target, rng = np.empty(size, np.uint8), np.random.default_rng(0)

    def copies() -> None:
        for start in rng.integers(len(source) - size + 1, size=_BATCHES).tolist():
            np.copyto(target, source[start : start + size])

    return lambda _: seconds_per(_BATCHES * BATCH, copies)


def _loaders(recording: Recording) -> tuple[dict[str, Contestant], dict[str, str]]:
    """A contestant for each number of workers, and why another could not be started."""
    found: dict[str, Contestant] = {}
    left_out: dict[str, str] = {}
    for workers in WORKERS:
        contestant = _loader(recording, workers)
        try:
            contestant(0)
        except (RuntimeError, OSError) as error:  # workers send batches through shared memory, which may be too small
            left_out[loader_name(workers)] = " ".join(str(error).split())
        else:
            found[loader_name(workers)] = contestant
    return found, left_out


def _loader(recording: Recording, workers: int) -> Contestant:
    dataset = WindowDataset(recording.windows)
    sampler = RandomSampler(dataset, replacement=True, num_samples=_BATCHES * BATCH)
    loader = DataLoader(dataset, BATCH, sampler=sampler, num_workers=workers, persistent_workers=workers > 0)

    def epoch() -> None:
        for _ in loader:
            pass

    return lambda _: seconds_per(_BATCHES * BATCH, epoch)
