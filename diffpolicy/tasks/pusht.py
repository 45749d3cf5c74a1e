"""Push-T as the policy sees it: corners instead of an angle, and a mirror that doubles every demonstration.

An angle jumps by 2 pi where nothing happens in the world; the block's eight corners move smoothly and say where its edges
are, which is what pushing is about. The mirror is the reflection in the line through the goal's stem.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from diffpolicy_envs.pusht.geometry import BLOCK_CORNERS, KEYPOINTS, WORKSPACE_PX
from jaxtyping import Float, UInt8
from torch import Tensor

from diffpolicy.errors import ConfigError
from diffpolicy.tasks import Observation


class PushT:
    """Features and mirror for the keys `state`, `keypoints`, `agent_pos` (px, rad) and `pixels`; see the environment."""

    workspace_px = float(WORKSPACE_PX)

    def features(self, obs: Observation) -> Observation:
        """`state` becomes the agent's position and the block's eight corners (18 numbers, px); others pass."""
        return {key: state_features(value) if key == "state" else value for key, value in obs.items()}

    def mirror(self, obs: Observation, action: Float[Tensor, "*batch 2"]) -> tuple[Observation, Tensor]:
        """Reflect positions by (x, y) -> (512 - y, 512 - x) and angles by a -> pi/2 - a.

        Pictures are reflected with what they show.

        Raises:
            ConfigError: an observation whose mirror image is not known, or a picture that is not square.
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
    return torch.cat([state[..., :2], _place("corners", state[..., 2:5]).flatten(-2)], dim=-1)


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
    frame = _frame("keypoints", keypoints.dtype, keypoints.device)
    center, frame_center = keypoints.mean(dim=-2), frame.mean(dim=0)
    a, b = frame - frame_center, keypoints - center[..., None, :]
    sine = (a[:, 0] * b[..., 1] - a[:, 1] * b[..., 0]).sum(dim=-1)
    cosine = (a * b).sum(dim=(-2, -1))
    angle = torch.atan2(sine, cosine)
    position = center - _rotate(frame_center, angle)
    mirrored = torch.cat([mirror_position(position), (math.pi / 2 - angle)[..., None]], dim=-1)
    return _place("keypoints", mirrored)


def mirror_pixels(pixels: UInt8[Tensor, "*batch height width 3"]) -> UInt8[Tensor, "*batch width height 3"]:
    """The pictures of the mirrored table, exact to the pixel: row and column change places, counted from the far corner.

    What is drawn there anew differs a little: see the test of pictures and their mirror images.

    Raises:
        ConfigError: the pictures are not square, so the line through the goal's stem is not their diagonal.
    """
    height, width = pixels.shape[-3:-1]
    if height != width:
        raise ConfigError(
            f"data.mirror: 'pixels' are {height} x {width}; only square pictures have a mirror image here: set it to false"
        )
    # In memory anew: half of a batch is taken from these, and picking from views that run crosswise takes twice as long.
    return pixels.transpose(-3, -2).flip((-3, -2)).contiguous()


_MIRRORS = {
    "state": mirror_state,
    "keypoints": mirror_keypoints,
    "agent_pos": mirror_position,
    "pixels": mirror_pixels,
}


def _place(points: str, pose: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch points 2"]:
    return pose[..., None, :2] + _rotate(_frame(points, pose.dtype, pose.device), pose[..., 2:3])


# Kept, since sending it to a device waits for all that the device has yet to do, which training must not at each step.
@lru_cache
def _frame(points: str, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "points 2"]:
    """Corners or keypoints in the block's own frame, px."""
    return torch.tensor({"corners": BLOCK_CORNERS, "keypoints": KEYPOINTS}[points], dtype=dtype, device=device)


def _rotate(points: Tensor, angle: Tensor) -> Tensor:
    sine, cosine = angle.sin(), angle.cos()
    x, y = points[..., 0], points[..., 1]
    return torch.stack([cosine * x - sine * y, sine * x + cosine * y], dim=-1)


TASK = PushT()
