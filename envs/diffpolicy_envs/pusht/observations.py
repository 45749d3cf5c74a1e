"""What a policy is shown of a world: spaces, and the numbers or pictures in them, for one world or many at once."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from gymnasium import spaces
from jaxtyping import Float

from .checks import POSITION_HIGH_PX, POSITION_LOW_PX, SCALE_HIGH, SCALE_LOW, require_one_of, shown
from .engine import Reading
from .geometry import BLOCK_CORNERS, KEYPOINTS, WORKSPACE_PX, transform_points
from .world import PushTWorld

OBS_TYPES: Final = ("state", "keypoints", "pixels", "pixels_agent_pos")
KEYPOINT_SETS: Final[Mapping[str, Float[np.ndarray, "points 2"]]] = {"human": KEYPOINTS, "corners": BLOCK_CORNERS}

KEYPOINT_LOW_PX: Final = -512.0
KEYPOINT_HIGH_PX: Final = 1024.0

Observation = np.ndarray | dict[str, np.ndarray]

# Where a reading (agent x, y, its velocity, block x, y, angle) holds the state.
_STATE_COLUMNS: Final = [0, 1, 4, 5, 6]


class Observer:
    """Turns worlds into observations of one kind.

    Args:
        obs_type: One of `OBS_TYPES`.
        keypoint_set: "human", the nine points of the human demonstrations, or "corners", the eight of the outline.
        pixels_size_px: Height and width of pictures, or one number for both.
        draw_contacts: Whether pictures show where the block touches.
        shown: What varies between episodes and is therefore shown beside: "goal_pose", "scale".

    Raises:
        ValueError: If a name is not valid or a size is not positive.
    """

    def __init__(
        self,
        obs_type: str,
        keypoint_set: str,
        pixels_size_px: int | Sequence[int],
        draw_contacts: bool,
        shown: Sequence[str],
    ) -> None:
        require_one_of("obs_type", obs_type, OBS_TYPES)
        require_one_of("keypoint_set", keypoint_set, KEYPOINT_SETS)
        self.obs_type, self._shown, self._draw_contacts = obs_type, tuple(shown), draw_contacts
        self._points = KEYPOINT_SETS[keypoint_set]
        self._size_px = _checked_size(pixels_size_px)
        parts = self._spaces()
        # A bare array where there is only one part, as is the custom of Gymnasium's environments.
        self._bare = len(parts) == 1
        self.space: spaces.Space[Any] = next(iter(parts.values())) if self._bare else spaces.Dict(dict(parts.items()))

    def observe(self, world: PushTWorld, reading: Reading) -> Observation:
        """Returns one world's observation, new arrays.

        Args:
            world: The world, which pictures are painted of.
            reading: What its physics reads now.
        """
        agent_x, agent_y, _, _, *pose = reading
        parts: dict[str, np.ndarray] = {}
        if self.obs_type == "state":
            parts["state"] = np.array((agent_x, agent_y, *pose))
        elif self.obs_type == "keypoints":
            parts["keypoints"] = transform_points(world.scale * self._points, np.array(pose))
        else:
            parts["pixels"] = world.paint(self._size_px, contacts=self._draw_contacts)
        if self.obs_type in ("keypoints", "pixels_agent_pos"):
            parts["agent_pos"] = np.array((agent_x, agent_y))
        if "goal_pose" in self._shown:
            parts["goal_pose"] = np.array(world.goal_pose)
        if "scale" in self._shown:
            parts["scale"] = np.array((world.scale,))
        return parts[self.obs_type] if self._bare else parts

    def observe_all(
        self, worlds: Sequence[PushTWorld], readings: Float[np.ndarray, "worlds 7"], out: Mapping[str, np.ndarray]
    ) -> None:
        """Writes the observations of many worlds into arrays by part, one row a world; each is what `observe` returns.

        Args:
            worlds: The worlds.
            readings: What their physics read now, a row each.
            out: An array for each of `parts()`, of its shape with the worlds in front, and its type.
        """
        if "state" in out:
            out["state"][...] = readings[:, _STATE_COLUMNS]
        if "keypoints" in out:
            # Scaled as `observe` scales them: any other order of the products would differ in the last bit.
            points = np.array([world.scale for world in worlds])[:, None, None] * self._points
            out["keypoints"][...] = transform_points(points, readings[:, 4:])
        if "pixels" in out:
            for row, world in zip(out["pixels"], worlds, strict=True):
                row[...] = world.paint(self._size_px, contacts=self._draw_contacts)
        if "agent_pos" in out:
            out["agent_pos"][...] = readings[:, :2]
        if "goal_pose" in out:
            out["goal_pose"][...] = [world.goal_pose for world in worlds]
        if "scale" in out:
            out["scale"][...] = [(world.scale,) for world in worlds]

    def parts(self) -> dict[str, spaces.Box]:
        """Returns the space of each part by name; a bare observation is the part of its `obs_type`'s name."""
        return self._spaces()

    def assemble(self, parts: Mapping[str, np.ndarray]) -> Observation:
        """Returns the observation that these parts make: a dictionary, or the bare array of the only part."""
        return parts[self.obs_type] if self._bare else dict(parts)

    def _spaces(self) -> dict[str, spaces.Box]:
        parts: dict[str, spaces.Box] = {}
        if self.obs_type == "state":
            low = np.array([POSITION_LOW_PX] * 4 + [0.0])
            parts["state"] = spaces.Box(low, np.array([POSITION_HIGH_PX] * 4 + [math.tau]), dtype=np.float64)
        elif self.obs_type == "keypoints":
            parts["keypoints"] = spaces.Box(KEYPOINT_LOW_PX, KEYPOINT_HIGH_PX, self._points.shape, np.float64)
        else:
            parts["pixels"] = spaces.Box(0, 255, (*self._size_px, 3), np.uint8)
        if self.obs_type in ("keypoints", "pixels_agent_pos"):
            parts["agent_pos"] = spaces.Box(POSITION_LOW_PX, POSITION_HIGH_PX, (2,), np.float64)
        if "goal_pose" in self._shown:
            high = np.array([WORKSPACE_PX, WORKSPACE_PX, math.tau], dtype=np.float64)
            parts["goal_pose"] = spaces.Box(np.zeros(3), high, dtype=np.float64)
        if "scale" in self._shown:
            parts["scale"] = spaces.Box(SCALE_LOW, SCALE_HIGH, (1,), np.float64)
        return parts


def _checked_size(found: object) -> tuple[int, int]:
    sizes = found if isinstance(found, (tuple, list)) else (found, found)
    if len(sizes) != 2 or any(isinstance(size, bool) or not isinstance(size, int) or size < 1 for size in sizes):
        raise ValueError(
            f"pixels_size_px: expected a whole number of at least 1, or (height, width), found {shown(found)}"
        )
    return sizes[0], sizes[1]
