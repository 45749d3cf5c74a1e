"""A robot of somebody else's: a world, its demonstrations and what a policy must know of it, all outside the package.

Seven joints follow seven targets. Its sensors: the joints, four markers in space, (4, 3), that the joints move, and two
small cameras. Its rewards are negative distances and it reports neither coverage nor success.
"""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from diffpolicy_demos import create_store
from torch import Tensor

CAMERAS = ("wrist_camera", "front_camera")
GOAL = np.linspace(-0.5, 0.5, 7)
_MARKERS = np.random.default_rng(0).normal(size=(4, 3, 7))
_ACROSS = np.linspace(-1, 1, 8)[None, :, None]
_DOWN = np.linspace(-1, 1, 8)[:, None, None]


def picture(joints: np.ndarray, shown: slice) -> np.ndarray:
    """What a camera sees, (8, 8, 3) uint8: three joints, one a colour, tilt the light from top to bottom.

    From left to right it tilts with how far the first joint is from its goal, so the task's mirror swaps left and right.
    """
    light = joints[shown] * _DOWN + (joints[0] - GOAL[0]) * _ACROSS
    return np.clip(127.5 + 40 * light, 0, 255).astype(np.uint8)


def observe(joints: np.ndarray) -> dict[str, np.ndarray]:
    """What the sensors show."""
    return {
        "joints": joints.astype(np.float32),
        "markers": (_MARKERS @ joints).astype(np.float32),
        "wrist_camera": picture(joints, slice(1, 4)),
        "front_camera": picture(joints, slice(4, 7)),
    }


class Reach(gym.Env):
    """Move the joints to where the goal is; solved within 0.3."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - Gymnasium declares it on the instance

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.action_space = gym.spaces.Box(-2, 2, (7,), np.float64)
        shown = observe(GOAL)
        numbers = {key: gym.spaces.Box(-np.inf, np.inf, shown[key].shape) for key in ("joints", "markers")}
        cameras = {key: gym.spaces.Box(0, 255, shown[key].shape, np.uint8) for key in CAMERAS}
        self.observation_space = gym.spaces.Dict(numbers | cameras)

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
    """The policy is shown the joints, the markers' heights and each camera's mean colour by quadrant.

    A mirror turns the first joint's sign about its goal.
    """

    def features(self, obs: dict[str, Tensor]) -> dict[str, Tensor]:
        quadrants = {key: self._quadrants(obs[key]) for key in CAMERAS}
        return {"joints": obs["joints"], "heights": obs["markers"][..., 2], **quadrants}

    def mirror(self, obs: dict[str, Tensor], action: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        joints = self._turned(obs["joints"])
        markers = torch.einsum("mxj,...j->...mx", torch.tensor(_MARKERS, dtype=joints.dtype), joints)
        cameras = {key: obs[key].flip(-2) for key in CAMERAS}
        return {"joints": joints, "markers": markers, **cameras}, self._turned(action)

    def _quadrants(self, image: Tensor) -> Tensor:
        """(*batch, 8, 8, 3) to (*batch, 12): top left, top right, bottom left, bottom right."""
        return image.float().unflatten(-2, (2, 4)).unflatten(-4, (2, 4)).mean(dim=(-4, -2)).flatten(-3)

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
