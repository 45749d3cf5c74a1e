"""Windows over episodes: all demonstrations as a few tensors, and a batch as one gather.

No worker processes and no Python per sample: a two-dimensional task fits in memory many times over, on the device too.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from diffpolicy_demos import Store
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from diffpolicy.config import DataConfig
from diffpolicy.errors import ConfigError
from diffpolicy.policy import Batch

_LAID_OUT_BYTES = 1 << 28
_STEPS_AT_ONCE = 512


@dataclass(frozen=True)
class Windows:
    """One window per recorded step t of the chosen episodes.

    Observations are those of steps t - obs_horizon + 1 .. t, actions those of t - obs_horizon + 1 .. t - obs_horizon +
    pred_horizon, clamped to the episode. `mask` in a batch marks the clamped actions.
    """

    obs: dict[str, Tensor]
    action: Tensor
    steps: Int[Tensor, " windows"]
    """The recorded step of each window."""
    first: Int[Tensor, " windows"]
    last: Int[Tensor, " windows"]
    """First and last recorded step of the window's episode."""
    obs_horizon: int
    pred_horizon: int

    def __len__(self) -> int:
        return len(self.steps)

    def batch(self, index: Int[Tensor, " batch"], device: torch.device | str | None = None) -> Batch:
        """The windows of these numbers, on a device (where the windows are, unless given)."""
        index = index.to(self.steps.device)
        batch = self._gathered(index) if self._laid_out is None else self._from_rows(*self._laid_out, index)
        if device is not None:
            batch["obs"] = {key: value.to(device) for key, value in batch["obs"].items()}
            batch["action"], batch["mask"] = batch["action"].to(device), batch["mask"].to(device)
        return batch

    def _gathered(self, index: Int[Tensor, " batch"]) -> Batch:
        start = self.steps[index, None] - self.obs_horizon + 1
        first, last = self.first[index, None], self.last[index, None]
        seen = start + torch.arange(self.obs_horizon, device=start.device)
        acted = start + torch.arange(self.pred_horizon, device=start.device)
        seen = torch.minimum(torch.maximum(seen, first), last)
        clamped = torch.minimum(torch.maximum(acted, first), last)
        obs = {key: _gather(value, seen) for key, value in self.obs.items()}
        return Batch(obs=obs, action=_gather(self.action, clamped), mask=clamped != acted)

    @cached_property
    def _laid_out(self) -> tuple[Float[Tensor, "windows numbers"], Bool[Tensor, "windows horizon"]] | None:
        """All windows side by side, one row each, and their masks: a batch is then one gather instead of a dozen calls.

        None for pictures, and where the rows would take more memory than they are worth.
        """
        values = (*self.obs.values(), self.action)
        numbers = sum(count for count, _ in self._parts)
        if any(value.dtype != torch.float32 for value in values) or 4 * numbers * len(self) > _LAID_OUT_BYTES:
            return None
        every = self._gathered(torch.arange(len(self), device=self.steps.device))
        return torch.cat([value.flatten(1) for value in (*every["obs"].values(), every["action"])], 1), every["mask"]

    def _from_rows(
        self,
        rows: Float[Tensor, "windows numbers"],
        masks: Bool[Tensor, "windows horizon"],
        index: Int[Tensor, " batch"],
    ) -> Batch:
        *obs, action = rows.index_select(0, index).split_with_sizes([count for count, _ in self._parts], dim=1)
        *shapes, acted = (shape for _, shape in self._parts)
        return Batch(
            obs={key: seen.view(-1, *shape) for key, seen, shape in zip(self.obs, obs, shapes, strict=True)},
            action=action.view(-1, *acted),
            mask=masks.index_select(0, index),
        )

    @cached_property
    def _parts(self) -> list[tuple[int, tuple[int, ...]]]:
        """How many numbers of a row belong to each key, the actions last, and their shape."""
        values = zip(self._horizons, (*self.obs.values(), self.action), strict=True)
        return [(horizon * math.prod(value.shape[1:]), (horizon, *value.shape[1:])) for horizon, value in values]

    @property
    def _horizons(self) -> tuple[int, ...]:
        return (*[self.obs_horizon] * len(self.obs), self.pred_horizon)

    def fits(self, device: torch.device) -> bool:
        """Whether a device has room for all recorded steps beside a network; elsewhere batches travel one by one."""
        if device.type != "cuda":
            return True
        size = sum(value.nbytes for value in (*self.obs.values(), self.action))
        return size < 0.5 * torch.cuda.mem_get_info(device)[0]

    def to(self, device: torch.device | str) -> Windows:
        """The same windows on another device."""
        return dataclasses.replace(
            self,
            obs={key: value.to(device) for key, value in self.obs.items()},
            action=self.action.to(device),
            steps=self.steps.to(device),
            first=self.first.to(device),
            last=self.last.to(device),
        )


def make_windows(
    obs: Mapping[str, np.ndarray | Tensor],
    action: np.ndarray | Tensor,
    episode_ends: np.ndarray,
    *,
    episodes: np.ndarray | None = None,
    obs_horizon: int,
    pred_horizon: int,
) -> Windows:
    """Lay windows over recorded arrays.

    Args:
        obs: (steps, *shape) by key; all recorded steps, of which windows use those of `episodes`.
        action: (steps, action).
        episode_ends: one past each episode's last step.
        episodes: the numbers of the episodes to use; None: all.
        obs_horizon: observation steps of a window.
        pred_horizon: action steps of a window.
    """
    starts = np.concatenate([[0], episode_ends[:-1]])
    chosen = np.arange(len(episode_ends)) if episodes is None else np.sort(episodes)
    lengths = (episode_ends - starts)[chosen]
    steps = [np.arange(starts[i], episode_ends[i]) for i in chosen]
    return Windows(
        obs={key: torch.as_tensor(value) for key, value in obs.items()},
        action=torch.as_tensor(action),
        steps=torch.as_tensor(np.concatenate(steps) if steps else np.zeros(0, dtype=np.int64)),
        first=torch.as_tensor(np.repeat(starts[chosen], lengths)),
        last=torch.as_tensor(np.repeat(episode_ends[chosen] - 1, lengths)),
        obs_horizon=obs_horizon,
        pred_horizon=pred_horizon,
    )


def split_episodes(n_episodes: int, config: DataConfig) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the training and of the held-out episodes, by the config's seed.

    Raises:
        ConfigError: nothing would be left to train on.
    """
    order = np.random.default_rng(config.split_seed).permutation(n_episodes)
    held_out, rest = order[: config.validation_episodes], order[config.validation_episodes :]
    if not len(rest):
        raise ConfigError(
            f"data.validation_episodes is {config.validation_episodes}, but the store has {n_episodes} episodes: none is "
            "left to train on; lower it"
        )
    return np.sort(rest[: config.max_episodes]), np.sort(held_out)


def load_windows(
    store: Store, config: DataConfig, observations: tuple[str, ...], *, obs_horizon: int, pred_horizon: int
) -> tuple[Windows, Windows]:
    """Read the keys a policy needs into memory, checked, and lay training and held-out windows over them.

    Raises:
        ConfigError: the store lacks an observation the policy asks for, or has too few episodes.
        StoreError: a value is not finite.
    """
    missing = [key for key in observations if key not in store.keys]
    if missing:
        raise ConfigError(
            f"policy.observations or policy.image_encoder.supervision: {store.path} has no "
            f"{', '.join(map(repr, missing))}; it has {', '.join(store.keys)}"
        )
    train, held_out = split_episodes(store.n_episodes, config)
    store.check_values((*observations, "action"))
    obs = read_steps(store, (*observations, "action"), store.n_steps)
    action = obs.pop("action")
    both = (
        make_windows(
            obs, action, store.episode_ends, episodes=episodes, obs_horizon=obs_horizon, pred_horizon=pred_horizon
        )
        for episodes in (train, held_out)
    )
    train_windows, held_out_windows = both
    return train_windows, held_out_windows


def read_steps(
    store: Store, keys: Sequence[str], stop: int, on_steps: Callable[[int], None] = lambda _: None
) -> dict[str, Shaped[Tensor, "steps ..."]]:
    """The first steps of some keys in memory, uint8 or float32.

    A stretch at a time, since some stores hold pictures as numbers of four bytes.

    Args:
        store: where they are.
        keys: what to read.
        stop: how many steps, at least 1.
        on_steps: called with the number of steps read since the last call.

    Raises:
        StoreError: a file is damaged or missing.
    """
    values = {}
    for key in keys:
        first = store.read(key, 0, 1)
        dtype = torch.uint8 if first.dtype == np.uint8 else torch.float32
        values[key] = torch.empty((stop, *first.shape[1:]), dtype=dtype)
    for start in range(0, stop, _STEPS_AT_ONCE):
        end = min(start + _STEPS_AT_ONCE, stop)
        for key, value in values.items():
            value[start:end] = torch.from_numpy(store.read(key, start, end))
        on_steps(end - start)
    return values


def _gather(
    steps: Shaped[Tensor, "steps ..."], index: Int[Tensor, "batch horizon"]
) -> Shaped[Tensor, "batch horizon ..."]:
    # Indexing by a matrix copies pictures byte by byte; whole rows at a time take a tenth of that.
    return steps.index_select(0, index.flatten()).unflatten(0, index.shape)
