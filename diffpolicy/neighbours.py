"""What people did from states like this one: the recorded moments nearest to an observation, as the policy sees nearness.

A picture of p(x | y) is judged by what was demonstrated near y, and near means what the policy can tell apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from diffpolicy_demos import Store
from jaxtyping import Bool, Float, Int
from torch import Tensor

from diffpolicy.errors import ConfigError
from diffpolicy.policy import DiffusionPolicy
from diffpolicy.training.windows import Windows, make_windows, read_steps

_AT_ONCE = 256


@dataclass(frozen=True)
class Neighbours:
    """Recorded moments near an observation, the nearest first.

    Attributes:
        actions: what was done there, aligned with a plan x: the first belongs to the oldest observation.
        distances: root mean square difference of what conditions the network, in the policy's normalized features.
        episodes: the demonstration of each.
        steps: the recorded step within it.
        mirrored: whether it is the mirror image that is near.
        typical_distance: the median distance of all recorded moments, to judge the others by.
    """

    actions: Float[np.ndarray, "neighbours horizon action"]
    distances: Float[np.ndarray, "neighbours"]
    episodes: Int[np.ndarray, "neighbours"]
    steps: Int[np.ndarray, "neighbours"]
    mirrored: Bool[np.ndarray, "neighbours"]
    typical_distance: float

    def __len__(self) -> int:
        return len(self.distances)


def recorded_windows(
    store: Store, policy: DiffusionPolicy, on_steps: Callable[[int], None] = lambda _: None
) -> Windows:
    """All windows of a store, of what the policy observes and does.

    Args:
        store: the demonstrations.
        policy: whose keys and horizons count.
        on_steps: called with the number of steps read since the last call.

    Raises:
        ConfigError: the store lacks what the policy observes, or holds it in another shape.
        StoreError: a file is damaged or missing.
    """
    keys = (*policy.obs_shapes, "action")
    if missing := [key for key in keys if key not in store.keys]:
        raise ConfigError(
            f"{store.path} has no {', '.join(map(repr, missing))}, which this policy observes or does; it has "
            f"{', '.join(store.keys)}; name other demonstrations with --demos"
        )
    store.check_values(keys)
    values = read_steps(store, keys, store.n_steps, on_steps)
    for key, shape in {**policy.obs_shapes, "action": (policy.action_dim,)}.items():
        if tuple(values[key].shape[1:]) != shape:
            raise ConfigError(
                f"{store.path}: {key!r} has shape {tuple(values[key].shape[1:])} a step, but this policy's is {shape}; "
                "name other demonstrations with --demos"
            )
    action = values.pop("action")
    config = policy.config
    return make_windows(
        values, action, store.episode_ends, obs_horizon=config.obs_horizon, pred_horizon=config.pred_horizon
    )


@torch.no_grad()
def nearest_windows(
    policy: DiffusionPolicy,
    windows: Windows,
    history: Mapping[str, np.ndarray],
    *,
    n: int = 32,
    apart: int = 8,
    mirror: bool = False,
    every: int = 1,
    on_windows: Callable[[int], None] = lambda _: None,
) -> Neighbours:
    """Find the recorded moments whose observation is nearest.

    Moments too close to the end of their episode for a whole plan are left out: nobody did what is missing there.

    Args:
        policy: nearness is that of `policy.encode`, which works for numbers and for pictures.
        windows: where to look.
        history: y, (obs_horizon, *shape) by key, in the world's units.
        n: how many at most.
        apart: at most one moment within so many steps of a demonstration, or one of them would be counted many times.
        mirror: look among the mirror images too, where the task has a mirror.
        every: compare one of so many moments; pictures take long to compare, and moments close together show the same.
        on_windows: called with the number of windows compared since the last call.

    Raises:
        ConfigError: no episode is as long as a plan, or the numbers are out of range.
    """
    if min(n, apart, every) < 1:
        raise ConfigError(f"n is {n}, apart is {apart} and every is {every}; all must be at least 1")
    reach = windows.steps - windows.obs_horizon + windows.pred_horizon
    whole = torch.nonzero(reach <= windows.last).flatten()[::every]
    if not len(whole):
        raise ConfigError(f"no demonstration is as long as a plan of {windows.pred_horizon} actions; nothing is near")
    here = policy.encode(policy.checked({key: value[None] for key, value in history.items()}))
    views, actions = [], []
    for part in whole.split(_AT_ONCE):
        batch = windows.batch(part, policy.device)
        both = [(batch["obs"], batch["action"])]
        reflected = policy.task.mirror(*both[0]) if mirror else None
        both += [] if reflected is None else [reflected]
        views.append([_distance(policy.encode(obs), here) for obs, _ in both])
        actions.append([action.cpu() for _, action in both])
        on_windows(len(part))
    # Every window, then every mirror image.
    distance = torch.cat([view for column in zip(*views, strict=True) for view in column]).double().numpy()
    action = torch.cat([view for column in zip(*actions, strict=True) for view in column]).double().numpy()
    first, step = (values[whole].numpy() for values in (windows.first, windows.steps))
    times = len(distance) // len(whole)
    first, step = np.tile(first, times), np.tile(step, times)
    chosen = _spaced(distance, first, step, n, apart)
    return Neighbours(
        actions=action[chosen],
        distances=distance[chosen],
        episodes=np.unique(windows.first.numpy(), return_inverse=True)[1][
            np.searchsorted(windows.steps.numpy(), step[chosen])
        ],
        steps=step[chosen] - first[chosen],
        mirrored=chosen >= len(whole),
        typical_distance=float(np.median(distance)),
    )


def _distance(cond: Float[Tensor, "windows cond"], here: Float[Tensor, "one cond"]) -> Float[Tensor, " windows"]:
    return (cond - here).square().mean(dim=1).sqrt().cpu()


def _spaced(
    distance: Float[np.ndarray, "views"],
    first: Int[np.ndarray, "views"],
    step: Int[np.ndarray, "views"],
    n: int,
    apart: int,
) -> Int[np.ndarray, "chosen"]:
    """The nearest views, no two of which lie within `apart` steps of one episode; a mirror image is of its episode."""
    free = np.ones(len(distance), dtype=bool)
    chosen: list[int] = []
    for view in np.argsort(distance, kind="stable"):
        if free[view]:
            chosen.append(int(view))
            if len(chosen) == n:
                break
            free &= (first != first[view]) | (np.abs(step - step[view]) >= apart)
    return np.array(chosen)
