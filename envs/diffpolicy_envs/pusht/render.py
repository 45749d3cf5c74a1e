"""Pictures of Push-T for people: smooth edges, calm colours, any size.

A drawing depends on nothing but the state, so records, rollouts and plans are all drawn by this one function.
"""

import math
from functools import lru_cache
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
ACTION_RGB: Final = (200, 30, 30)
# A plan from its first step to its last: ever darker, so that its direction shows without seeing hues. From "plasma"
# (matplotlib), whose colours stay apart for colour-blind readers.
PLAN_RGB: Final = ((252, 166, 54), (225, 100, 98), (177, 42, 144), (106, 0, 168), (40, 8, 120))

PLAN_WIDTH_PX: Final = 2.5
PLAN_DOT_RADIUS_PX: Final = 3.5
ACTION_RADIUS_PX: Final = 7.0

# OpenCV draws to 1/16 of a pixel when coordinates carry four fractional bits.
_FRACTION_BITS: Final = 4
_FARTHEST_PX: Final = 10.0 * WORKSPACE_PX


def draw_scene(
    state: Float[np.ndarray, "5"],
    *,
    size_px: int = WORKSPACE_PX,
    goal_pose: Float[np.ndarray, "3"] = GOAL_POSE,
    scale: float = 1.0,
    goal: bool = True,
    agent: bool = True,
    action: Float[np.ndarray, "2"] | None = None,
    plan: Float[np.ndarray, "steps 2"] | None = None,
) -> UInt8[np.ndarray, "size size 3"]:
    """Draws walls, goal, block and agent, and over them what is asked for.

    x runs to the right and y down, as in the published pictures; the whole workspace fills the picture.

    Args:
        state: Agent x, y, block x, y (px) and block angle (rad).
        size_px: Width and height of the picture, at least 1 px.
        goal_pose: Where to draw the goal: x, y (px) and angle (rad).
        scale: Size of block and goal as a multiple of the published one, about the origin of the block's frame.
        goal: Whether to draw the goal.
        agent: Whether to draw the agent.
        action: The target that the agent is sent to: x, y (px); marked by a ring and a cross.
        plan: The targets of the steps to come: x, y (px) each; a path that darkens along it, with a dot at every step.

    Returns:
        A new RGB picture.

    Raises:
        ValueError: If the state is not five finite numbers, the size or the scale is not positive, or an overlay is not made
            of finite pairs.
    """
    state = np.asarray(state, dtype=np.float64)
    if state.shape != (5,) or not np.isfinite(state).all():
        raise ValueError(f"state: expected five finite numbers (agent x, y, block x, y, angle), found {state}")
    if size_px < 1:
        raise ValueError(f"size_px: expected at least 1, found {size_px}")
    if not 0 < scale < math.inf:
        raise ValueError(f"scale: expected a positive number, found {scale}")
    # OpenCV's smooth edges are about a pixel wide, too much for a small picture: draw that larger, then shrink it.
    oversampling = math.ceil(WORKSPACE_PX / size_px)
    drawn_px = size_px * oversampling
    zoom = drawn_px / WORKSPACE_PX
    goal_corners = block_corners(goal_pose, scale)
    picture = _background(drawn_px, tuple(goal_corners.ravel().tolist()) if goal else ()).copy()
    _fill(picture, block_corners(state[2:], scale), zoom, BLOCK_RGB)
    if agent:
        _draw_disc(picture, state[:2], AGENT_RADIUS_PX, zoom, AGENT_RGB)
    if plan is not None:
        _draw_plan(picture, _checked_points("plan", plan, (-1, 2)), zoom)
    if action is not None:
        _draw_action(picture, _checked_points("action", action, (2,)), zoom)
    return picture if oversampling == 1 else cv2.resize(picture, (size_px, size_px), interpolation=cv2.INTER_AREA)


# Walls and goal cost most of a picture, and stay while an episode is rendered; a few are kept, for they are large.
@lru_cache(maxsize=4)
def _background(drawn_px: int, goal_corners: tuple[float, ...]) -> UInt8[np.ndarray, "size size 3"]:
    """Returns the table, with a goal if corners of one are given; to be copied."""
    zoom = drawn_px / WORKSPACE_PX
    picture = np.full((drawn_px, drawn_px, 3), GROUND_RGB, dtype=np.uint8)
    walls = _to_fixed_point(np.array(WALL_CORNERS_PX), zoom)
    cv2.polylines(
        picture, [walls], True, WALL_RGB, max(1, round(2 * WALL_RADIUS_PX * zoom)), cv2.LINE_AA, _FRACTION_BITS
    )
    if goal_corners:
        _fill(picture, np.array(goal_corners).reshape(-1, 2), zoom, GOAL_RGB)
    return picture


def plan_colours(steps: int) -> list[Colour]:
    """Returns the colour of each step of a plan, first to last, so that a legend or a plot can agree with the pictures.

    Args:
        steps: Number of steps, at least 0.
    """
    along = np.linspace(0, len(PLAN_RGB) - 1, steps)
    parts = [np.interp(along, range(len(PLAN_RGB)), part) for part in zip(*PLAN_RGB, strict=True)]
    return [(round(red), round(green), round(blue)) for red, green, blue in np.transpose(parts).tolist()]


def _draw_plan(picture: UInt8[np.ndarray, "size size 3"], points_px: Float[np.ndarray, "steps 2"], zoom: float) -> None:
    colours = plan_colours(len(points_px))
    ends = _to_fixed_point(points_px, zoom).tolist()
    width = max(1, round(PLAN_WIDTH_PX * zoom))
    for start, end, colour in zip(ends, ends[1:], colours, strict=False):
        cv2.line(picture, start, end, colour, width, cv2.LINE_AA, _FRACTION_BITS)
    for point, colour in zip(points_px, colours, strict=True):
        _draw_disc(picture, point, PLAN_DOT_RADIUS_PX, zoom, colour)


def _draw_action(picture: UInt8[np.ndarray, "size size 3"], point_px: Float[np.ndarray, "2"], zoom: float) -> None:
    width = max(1, round(2 * zoom))
    centre = _to_fixed_point(point_px, zoom).tolist()
    radius = round(ACTION_RADIUS_PX * zoom * 2**_FRACTION_BITS)
    cv2.circle(picture, centre, radius, ACTION_RGB, width, cv2.LINE_AA, _FRACTION_BITS)
    for reach in ((ACTION_RADIUS_PX, 0.0), (0.0, ACTION_RADIUS_PX)):
        start, end = _to_fixed_point(np.array([point_px - reach, point_px + reach]), zoom).tolist()
        cv2.line(picture, start, end, ACTION_RGB, width, cv2.LINE_AA, _FRACTION_BITS)


def _draw_disc(
    picture: UInt8[np.ndarray, "size size 3"],
    centre_px: Float[np.ndarray, "2"],
    radius_px: float,
    zoom: float,
    colour: Colour,
) -> None:
    centre = _to_fixed_point(centre_px, zoom).tolist()
    radius = round(radius_px * zoom * 2**_FRACTION_BITS)
    cv2.circle(picture, centre, radius, colour, cv2.FILLED, cv2.LINE_AA, _FRACTION_BITS)


def _fill(
    picture: UInt8[np.ndarray, "size size 3"], corners_px: Float[np.ndarray, "corners 2"], zoom: float, colour: Colour
) -> None:
    cv2.fillPoly(picture, [_to_fixed_point(corners_px, zoom)], colour, cv2.LINE_AA, _FRACTION_BITS)


def _to_fixed_point(points_px: Float[np.ndarray, "*batch 2"], zoom: float) -> np.ndarray:
    """Returns workspace points as OpenCV's integers.

    The published pictures put the point (x, y) px at the centre of pixel (x, y) of 512; other sizes are that resized.
    """
    return np.round(((points_px + 0.5) * zoom - 0.5) * 2**_FRACTION_BITS).astype(np.int32)


def _checked_points(what: str, found: object, shape: tuple[int, ...]) -> Float[np.ndarray, "*batch 2"]:
    """Returns points, near enough for OpenCV's integers: noise that a plan begins as may lie anywhere.

    Raises:
        ValueError: If they have another shape (-1 stands for any number of points), or are not finite.
    """
    points = np.asarray(found, dtype=np.float64)
    fits = points.ndim == len(shape) and all(want in (-1, got) for want, got in zip(shape, points.shape, strict=True))
    if not fits or not np.isfinite(points).all():
        wanted = "(steps, 2)" if len(shape) == 2 else "(2,)"
        raise ValueError(
            f"{what}: expected finite numbers of shape {wanted}, found shape {points.shape}: {points.tolist()}"
        )
    return np.clip(points, -_FARTHEST_PX, _FARTHEST_PX)
