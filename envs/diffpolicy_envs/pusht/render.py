"""Pictures of Push-T for people: smooth edges, calm colours, any size.

A drawing depends on nothing but the state, so records, rollouts and plans are all drawn by this one function.
"""

import math
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from .geometry import AGENT_RADIUS_PX, GOAL_POSE, WORKSPACE_PX, block_corners
from .physics import WALL_CORNERS_PX, WALL_RADIUS_PX

Colour = tuple[int, int, int]

GROUND_RGB: Final = (255, 255, 255)
GOAL_RGB: Final = (144, 238, 144)
BLOCK_RGB: Final = (119, 136, 153)
AGENT_RGB: Final = (65, 105, 225)
WALL_RGB: Final = (211, 211, 211)

# OpenCV draws to 1/16 of a pixel when coordinates carry four fractional bits.
_FRACTION_BITS: Final = 4


def draw_scene(
    state: Float[np.ndarray, "5"],
    *,
    size_px: int = WORKSPACE_PX,
    goal_pose: Float[np.ndarray, "3"] = GOAL_POSE,
    agent: bool = True,
) -> UInt8[np.ndarray, "size size 3"]:
    """Draws walls, goal, block and agent.

    x runs to the right and y down, as in the published pictures; the whole workspace fills the picture.

    Args:
        state: Agent x, y, block x, y (px) and block angle (rad).
        size_px: Width and height of the picture, at least 1 px.
        goal_pose: Where to draw the goal: x, y (px) and angle (rad).
        agent: Whether to draw the agent.

    Returns:
        A new RGB picture.

    Raises:
        ValueError: If the state is not five finite numbers, or the size is not positive.
    """
    state = np.asarray(state, dtype=np.float64)
    if state.shape != (5,) or not np.isfinite(state).all():
        raise ValueError(f"state: expected five finite numbers (agent x, y, block x, y, angle), found {state}")
    if size_px < 1:
        raise ValueError(f"size_px: expected at least 1, found {size_px}")
    # OpenCV's smooth edges are about a pixel wide, too much for a small picture: draw that larger, then shrink it.
    oversampling = math.ceil(WORKSPACE_PX / size_px)
    drawn_px = size_px * oversampling
    scale = drawn_px / WORKSPACE_PX
    picture = np.full((drawn_px, drawn_px, 3), GROUND_RGB, dtype=np.uint8)
    wall_width = max(1, round(2 * WALL_RADIUS_PX * scale))
    walls = _to_fixed_point(np.array(WALL_CORNERS_PX), scale)
    cv2.polylines(picture, [walls], True, WALL_RGB, wall_width, cv2.LINE_AA, _FRACTION_BITS)
    _fill(picture, block_corners(goal_pose), scale, GOAL_RGB)
    _fill(picture, block_corners(state[2:]), scale, BLOCK_RGB)
    if agent:
        centre = _to_fixed_point(state[:2], scale).tolist()
        radius = round(AGENT_RADIUS_PX * scale * 2**_FRACTION_BITS)
        cv2.circle(picture, centre, radius, AGENT_RGB, cv2.FILLED, cv2.LINE_AA, _FRACTION_BITS)
    return picture if oversampling == 1 else cv2.resize(picture, (size_px, size_px), interpolation=cv2.INTER_AREA)


def _fill(
    picture: UInt8[np.ndarray, "size size 3"], corners_px: Float[np.ndarray, "corners 2"], scale: float, colour: Colour
) -> None:
    cv2.fillPoly(picture, [_to_fixed_point(corners_px, scale)], colour, cv2.LINE_AA, _FRACTION_BITS)


def _to_fixed_point(points_px: Float[np.ndarray, "*batch 2"], scale: float) -> np.ndarray:
    """Returns workspace points as OpenCV's integers.

    The published pictures put the point (x, y) px at the centre of pixel (x, y) of 512; other sizes are that resized.
    """
    return np.round(((points_px + 0.5) * scale - 0.5) * 2**_FRACTION_BITS).astype(np.int32)
