"""A robot of somebody else's: a world, its demonstrations and what a policy must know of it, all outside the package.

Seven joints follow seven targets. Two sensors: the joints, and four markers in space, (4, 3), that the joints move. Its
rewards are negative distances and it reports neither coverage nor success.
"""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from diffpolicy_demos import create_store
from torch import Tensor

GOAL = np.linspace(-0.5, 0.5, 7)
_MARKERS = np.random.default_rng(0).normal(size=(4, 3, 7))


def observe(joints: np.ndarray) -> dict[str, np.ndarray]:
    """What the two sensors show."""
    return {"joints": joints.astype(np.float32), "markers": (_MARKERS @ joints).astype(np.float32)}


class Reach(gym.Env):
    """Move the joints to where the goal is; solved within 0.3."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - Gymnasium declares it on the instance

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.action_space = gym.spaces.Box(-2, 2, (7,), np.float64)
        boxes = {key: gym.spaces.Box(-np.inf, np.inf, value.shape) for key, value in observe(GOAL).items()}
        self.observation_space = gym.spaces.Dict(boxes)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if options:
            raise ValueError(f"no options here, found {options}")
        self.joints = self.np_random.uniform(-1, 1, 7)
        return observe(self.joints), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert action.shape == (7,)
        self.joints = self.joints + np.clip(action - self.joints, -0.5, 0.5)
        distance = float(np.linalg.norm(self.joints - GOAL))
        return observe(self.joints), -distance, distance < 0.3, False, {}

    def render(self) -> np.ndarray:
        shade = np.clip(127 * (1 + self.joints), 0, 255).astype(np.uint8)
        return np.repeat(np.repeat(shade[None, :, None], 64, axis=0), 3, axis=2).repeat(16, axis=1)


if "toy/Reach-v0" not in gym.registry:
    gym.register("toy/Reach-v0", entry_point=Reach, max_episode_steps=25)


class Task:
    """The policy is shown the joints and the markers' heights; a mirror turns the first joint's sign about its goal."""

    def features(self, obs: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"joints": obs["joints"], "heights": obs["markers"][..., 2]}

    def mirror(self, obs: dict[str, Tensor], action: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        joints = self._turned(obs["joints"])
        markers = torch.einsum("mxj,...j->...mx", torch.tensor(_MARKERS, dtype=joints.dtype), joints)
        return {"joints": joints, "markers": markers}, self._turned(action)

    def _turned(self, joints: Tensor) -> Tensor:
        return torch.cat([2 * float(GOAL[0]) - joints[..., :1], joints[..., 1:]], dim=-1)


TASK = Task()


def record(path: Path, episodes: int = 20) -> None:
    """Demonstrations of going straight to the goal, ever more slowly."""
    store = create_store(path)
    env = Reach()
    for seed in range(episodes):
        obs, _ = env.reset(seed=seed)
        steps = []
        for _ in range(15):
            action = 0.7 * env.joints + 0.3 * GOAL
            steps.append({**obs, "action": action})
            obs, *_ = env.step(action)
        store.append_episode({key: np.stack([step[key] for step in steps]) for key in steps[0]})
