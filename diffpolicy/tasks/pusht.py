"""Push-T as the policy sees it: corners instead of an angle, and a mirror that doubles every demonstration.

An angle jumps by 2 pi where nothing happens in the world; the block's eight corners move smoothly and say where its edges
are, which is what pushing is about. The mirror is the reflection in the line through the goal's stem.
"""

from __future__ import annotations

import math

import torch
from diffpolicy_envs.pusht.geometry import BLOCK_CORNERS, KEYPOINTS, WORKSPACE_PX
from jaxtyping import Float
from torch import Tensor

from diffpolicy.errors import ConfigError
from diffpolicy.tasks import Observation


class PushT:
    """Features and mirror for the keys `state`, `keypoints`, `agent_pos` (px, rad; see the environment)."""

    workspace_px = float(WORKSPACE_PX)

    def features(self, obs: Observation) -> Observation:
        """`state` becomes the agent's position and the block's eight corners (18 numbers, px); others pass."""
        return {key: state_features(value) if key == "state" else value for key, value in obs.items()}

    def mirror(self, obs: Observation, action: Float[Tensor, "*batch 2"]) -> tuple[Observation, Tensor]:
        """Reflect positions by (x, y) -> (512 - y, 512 - x) and angles by a -> pi/2 - a.

        Raises:
            ConfigError: an observation whose mirror image is not known.
        """
        if unknown := [key for key in obs if key not in _MIRRORS]:
            raise ConfigError(
                f"data.mirror: the task 'pusht' cannot mirror {', '.join(map(repr, unknown))}, only "
                f"{', '.join(_MIRRORS)}; set it to false"
            )
        return {key: _MIRRORS[key](value) for key, value in obs.items()}, mirror_position(action)

    def plan_px(self, action: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
        """Where in the workspace an action lies, for pictures: actions are positions already."""
        return action


def state_features(state: Float[Tensor, "*batch 5"]) -> Float[Tensor, "*batch 18"]:
    """Agent x, y, then x, y of the block's corners, in px."""
    return torch.cat([state[..., :2], _place(BLOCK_CORNERS, state[..., 2:5]).flatten(-2)], dim=-1)


def mirror_position(position: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
    """Reflect in the line through the goal's stem."""
    return WORKSPACE_PX - position.flip(-1)


def mirror_state(state: Float[Tensor, "*batch 5"]) -> Float[Tensor, "*batch 5"]:
    """Reflect agent and block; the block's angle stays in [0, 2 pi)."""
    angle = (math.pi / 2 - state[..., 4:]) % math.tau
    angle = torch.where(angle < math.tau, angle, 0)  # the remainder of a tiny negative angle rounds to 2 pi itself
    return torch.cat([mirror_position(state[..., :2]), mirror_position(state[..., 2:4]), angle], dim=-1)


def mirror_keypoints(keypoints: Float[Tensor, "*batch 9 2"]) -> Float[Tensor, "*batch 9 2"]:
    """The nine keypoints of the mirrored block.

    Four of them have no partner on the other side, so they are placed anew on the mirrored pose; the pose is the least
    squares fit of the nine points (Kabsch 1976, in the plane).
    """
    frame = torch.tensor(KEYPOINTS, dtype=keypoints.dtype, device=keypoints.device)
    center, frame_center = keypoints.mean(dim=-2), frame.mean(dim=0)
    a, b = frame - frame_center, keypoints - center[..., None, :]
    sine = (a[:, 0] * b[..., 1] - a[:, 1] * b[..., 0]).sum(dim=-1)
    cosine = (a * b).sum(dim=(-2, -1))
    angle = torch.atan2(sine, cosine)
    position = center - _rotate(frame_center, angle)
    mirrored = torch.cat([mirror_position(position), (math.pi / 2 - angle)[..., None]], dim=-1)
    return _place(KEYPOINTS, mirrored)


_MIRRORS = {"state": mirror_state, "keypoints": mirror_keypoints, "agent_pos": mirror_position}


def _place(points: object, pose: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch points 2"]:
    frame = torch.tensor(points, dtype=pose.dtype, device=pose.device)
    return pose[..., None, :2] + _rotate(frame, pose[..., 2:3])


def _rotate(points: Tensor, angle: Tensor) -> Tensor:
    sine, cosine = angle.sin(), angle.cos()
    x, y = points[..., 0], points[..., 1]
    return torch.stack([cosine * x - sine * y, sine * x + cosine * y], dim=-1)


TASK = PushT()
