"""A world and a policy for tests of the rollout, in which every number says where it comes from.

An observation is (seed, step). An action is (seed, step of the plan, index in the plan) of the row that it was planned in;
the world refuses one that was planned for another episode or belongs to another time.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch

from diffpolicy.config import PolicyConfig
from diffpolicy.evaluation.world import RolloutSettings
from diffpolicy.policy import DiffusionPolicy

OBS_HORIZON, PRED_HORIZON = 2, 12
Event = tuple[str, list[int]]


class Ledger(gym.Env):
    """An episode lasts 1 + seed % 13 steps. Every second seed succeeds at its end, the others run out of time."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - Gymnasium's own
    opened: ClassVar[list["Ledger"]] = []
    events: ClassVar[list[Event]] = []

    def __init__(self, render_mode: str | None = None, delay: int = 0, action_horizon: int = 4) -> None:
        self.render_mode, self.delay, self.action_horizon = render_mode, delay, action_horizon
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = gym.spaces.Box(-np.inf, np.inf, (3,), np.float64)
        self.closed, self.starts = False, 0
        self.opened.append(self)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        assert seed is not None
        self.seed, self.time, self.starts = seed, 0, self.starts + 1
        self.seen = np.array([seed, 0.0])  # the same array for the whole episode
        return self.seen, {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.events.append(("step", [self.seed]))
        seed, planned, index = (int(number) for number in action)
        assert seed == self.seed
        assert index == self.time - planned + OBS_HORIZON - 1
        assert planned == 0 or self.delay <= self.time - planned < self.delay + self.action_horizon
        self.time += 1
        self.seen[1] = self.time
        over, succeeds = self.time == steps_of(self.seed), self.seed % 2 == 0
        return self.seen, float(planned), over and succeeds, over and not succeeds, {"is_success": over and succeeds}

    def render(self) -> np.ndarray:
        return np.full((32, 32, 3), min(255, 10 * self.time), np.uint8)

    def close(self) -> None:
        self.closed = True


gym.register("tests/Ledger-v0", entry_point=Ledger)


def steps_of(seed: int) -> int:
    """How long the episode of a seed lasts."""
    return 1 + seed % 13


class Scribe(DiffusionPolicy):
    """A policy that plans as the world expects it, and draws from each generator it is given."""

    obs_shapes: Any = {"clock": (2,)}  # noqa: RUF012 - never changed
    action_dim = 3
    device = torch.device("cpu")  # type: ignore[assignment]

    def __init__(self, action_horizon: int = 4) -> None:
        torch.nn.Module.__init__(self)  # no network: the plans are known
        self.config = PolicyConfig(
            obs_horizon=OBS_HORIZON,
            pred_horizon=PRED_HORIZON,
            action_horizon=action_horizon,
        )
        self.batches: list[list[int]] = []
        self.noise: list[list[tuple[float, float]]] = []

    def sample(
        self, obs: Mapping[str, np.ndarray], generator: Sequence[torch.Generator], noise: torch.Tensor, **_: Any
    ) -> torch.Tensor:
        now = torch.as_tensor(obs["clock"])[:, -1]
        self.batches.append(now[:, 0].int().tolist())
        Ledger.events.append(("plan", self.batches[-1]))
        later = [float(torch.rand((), generator=g)) for g in generator]
        self.noise.append(list(zip(noise.sum(dim=(1, 2, 3)).tolist(), later, strict=True)))
        plans = torch.cat([now[:, None].expand(-1, PRED_HORIZON, 2), torch.zeros(len(now), PRED_HORIZON, 1)], dim=-1)
        plans[:, :, 2] = torch.arange(PRED_HORIZON)
        return plans[:, None].expand(-1, noise.shape[1], -1, -1)


def settings(delay: int = 0, action_horizon: int = 4, **changes: Any) -> RolloutSettings:
    """Of a rollout of the scribe in the ledger."""
    own = {"delay": delay, "action_horizon": action_horizon}
    return RolloutSettings("tests/Ledger-v0", env_kwargs=own, **own, **changes)


def watched(seeds: Sequence[int], when: Callable[[], int]) -> Any:
    """An iterator over the seeds, and a list that it fills: what `when` said as each was taken."""
    told: list[int] = []

    def queue() -> Any:
        for seed in seeds:
            told.append(when())
            yield seed

    return queue(), told
