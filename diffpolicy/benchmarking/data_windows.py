"""One training window, gathered in four ways: from memory, through `Store.read`, from bare zarr arrays, by a `Dataset`.

All of them give the same numbers, which is what makes their times comparable; a test holds them to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffpolicy_demos import Store
from diffpolicy_demos.location import locate, open_root
from diffpolicy_demos.schema import DATA, policy_keys
from jaxtyping import Int, Shaped
from torch import Tensor
from torch.utils.data import Dataset

from diffpolicy.errors import ConfigError
from diffpolicy.training.windows import Windows, make_windows, read_steps

OBS_HORIZON = 2
PRED_HORIZON = 16

Read = Callable[[str, int, int], Shaped[np.ndarray, "steps ..."]]
"""Key, first step, one past the last step, to these steps."""


@dataclass(frozen=True)
class Recording:
    """The first episodes of a store, with windows over them in memory.

    Attributes:
        name: What to call the store.
        store: Where they are on disk.
        keys: What is observed in a window.
        windows: As training lays them, over the same episodes.
        episodes: How many of the store's episodes these are.
    """

    name: str
    store: Store
    keys: tuple[str, ...]
    windows: Windows
    episodes: int

    @property
    def window_bytes(self) -> int:
        """What one window gives a policy: observations and actions, in bytes."""
        seen = OBS_HORIZON * sum(value[0].nbytes for value in self.windows.obs.values())
        return seen + PRED_HORIZON * self.windows.action[0].nbytes


def observations(store: Store) -> list[tuple[str, ...]]:
    """What policies of a store may observe: its numbers, and its cameras, where it has them.

    Returns:
        One or two tuples of keys. The numbers are `state` alone where there is one, else all but the actions.

    Raises:
        ConfigError: The store has neither.
    """
    others = [key for key in store.stored_keys if key != "action"]
    cameras = tuple(key for key in others if store[key].ndim == 4 and store[key].shape[-1] == 3)
    numbers = ("state",) if "state" in others else tuple(key for key in others if key not in cameras)
    found = [keys for keys in (numbers, cameras) if keys]
    if not found:
        raise ConfigError(f"{store.path}: found nothing but actions; expected something to observe beside them")
    return found


def load_recording(
    name: str, store: Store, keys: tuple[str, ...], most_bytes: int, on_steps: Callable[[int], None] = lambda _: None
) -> Recording:
    """Reads as many of a store's first episodes into memory as fit, in the numbers that training keeps there.

    Args:
        name: What to call the store.
        store: The store.
        keys: The observations to read, beside the actions.
        most_bytes: Room for them; one episode is read in any case.
        on_steps: Called with the number of steps read since the last call.

    Raises:
        StoreError: A file is damaged or missing.
    """
    wanted = (*keys, "action")
    fitting = most_bytes // sum(value.nbytes for value in read_steps(store, wanted, 1).values())
    episodes = max(1, int(np.searchsorted(store.episode_ends, fitting, side="right")))
    arrays = read_steps(store, wanted, int(store.episode_ends[episodes - 1]), on_steps)
    action = arrays.pop("action")
    ends = store.episode_ends[:episodes]
    windows = make_windows(arrays, action, ends, obs_horizon=OBS_HORIZON, pred_horizon=PRED_HORIZON)
    return Recording(name, store, keys, windows, episodes)


def bare_read(store: Store) -> Read:
    """Reads a store's arrays with zarr and nothing else: opened once, sliced per window, numbers as they are stored.

    Raises:
        StoreError: The store is no longer where it was.
    """
    group = open_root(locate(store.path), "r")[DATA]
    arrays = {key: group[name] for key, name in policy_keys(group.array_keys()).items()}
    return lambda key, start, stop: np.asarray(arrays[key][start:stop])


def read_windows(recording: Recording, read: Read, index: Int[np.ndarray, " windows"]) -> list[dict[str, np.ndarray]]:
    """Reads windows one by one: observations by key, and `action`, all clamped to the episode.

    Args:
        recording: The windows.
        read: How to read steps.
        index: The windows' numbers.
    """
    steps, first, last = (
        values.numpy()[index] for values in (recording.windows.steps, recording.windows.first, recording.windows.last)
    )
    horizons = dict.fromkeys(recording.keys, OBS_HORIZON) | {"action": PRED_HORIZON}
    read_ones = []
    for step, low, high in zip(steps.tolist(), first.tolist(), last.tolist(), strict=True):
        one = {}
        for key, horizon in horizons.items():
            start = step - OBS_HORIZON + 1
            begin, end = max(start, low), min(start + horizon - 1, high)
            values = read(key, begin, end + 1)
            whole = len(values) == horizon
            one[key] = values if whole else values[np.clip(np.arange(start, start + horizon), begin, end) - begin]
        read_ones.append(one)
    return read_ones


class WindowDataset(Dataset[dict[str, Tensor]]):
    """The same windows for a PyTorch `DataLoader`: one window an item, slices of tensors in memory.

    Args:
        windows: Over numbers in memory.
    """

    def __init__(self, windows: Windows) -> None:
        # Lists of plain numbers: asking a tensor for one of its numbers takes longer than the slice.
        self._steps: Sequence[int] = windows.steps.tolist()
        self._first: Sequence[int] = windows.first.tolist()
        self._last: Sequence[int] = windows.last.tolist()
        self._arrays: Mapping[str, Tensor] = {**windows.obs, "action": windows.action}
        self._horizons = dict.fromkeys(windows.obs, windows.obs_horizon) | {"action": windows.pred_horizon}
        self._before = windows.obs_horizon - 1

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        start, low, high = self._steps[index] - self._before, self._first[index], self._last[index]
        return {key: _clamped(array, start, self._horizons[key], low, high) for key, array in self._arrays.items()}


def _clamped(array: Tensor, start: int, horizon: int, low: int, high: int) -> Tensor:
    if start >= low and start + horizon - 1 <= high:
        return array[start : start + horizon]
    return array[torch.arange(start, start + horizon).clamp(low, high)]
