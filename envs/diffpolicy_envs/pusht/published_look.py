"""The shapes of the published pictures, px by px: how pymunk's debug drawing and pygame 2.1 colour 512 x 512 px.

The rounding is part of the look, and pygame has rounded otherwise since; here OpenCV draws what it drew then, faster and
without a window system. What of it is drawn when, and at which size, is decided in `pixels.py`.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from jaxtyping import Int32, UInt8

from .geometry import AGENT_RADIUS_PX, BAR_PX, STEM_PX, WORKSPACE_PX
from .physics import WALL_CORNERS_PX, WALL_RADIUS_PX
from .render import AGENT_RGB, BLOCK_RGB, GOAL_RGB, GROUND_RGB, WALL_RGB, Colour

Corner = tuple[int, int]
Line = tuple[int, int, int, int]

CONTACT_RGB: Final = (231, 76, 60)
OUTLINE_RADIUS_PX: Final = 2
AGENT_RADIUS: Final = round(AGENT_RADIUS_PX)
AGENT_CORE_RADIUS: Final = AGENT_RADIUS - 4

# Bar and stem, each clockwise on the screen, so that the inside of a side lies to its right.
_OUTLINES: Final = [
    corner
    for left, top, right, bottom in (BAR_PX, STEM_PX)
    for corner in ((left, top), (right, top), (right, bottom), (left, bottom))
]

# Half the width of each row of a disc, from its edge to its middle, by radius: pygame's discs lie around a corner between
# px and are circles of no radius.
_DISC_ROWS: Final = {
    2: (1, 2),
    11: (3, 5, 6, 8, 8, 9, 10, 10, 11, 11, 11),
    15: (3, 6, 8, 9, 10, 11, 12, 13, 13, 14, 14, 14, 15, 15, 15),
}

# OpenCV's finest fixed point; what must not fall on a tie between two px is moved off it by more than its rounding.
_FRACTION_BITS: Final = 16
_OFF_TIE: Final = 1 / 64


def draw_background(
    goal_pose: Sequence[float], scale: float
) -> tuple[UInt8[np.ndarray, "512 512 3"], UInt8[np.ndarray, "512 512"]]:
    """Draws what stays: goal and walls.

    Args:
        goal_pose: Where the goal is: x, y (px) and angle (rad).
        scale: Its size as a multiple of the published one.

    Returns:
        The picture, and the mask of the walls, which cover what lies on them.
    """
    walls = np.zeros((WORKSPACE_PX, WORKSPACE_PX), dtype=np.uint8)
    radius = round(WALL_RADIUS_PX)
    cap = _disc(radius)
    corners = [(round(x), round(y)) for x, y in WALL_CORNERS_PX]
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        wide, high = (radius, 0) if x0 == x1 else (0, radius)
        first, last = (min(x0, x1) - wide, min(y0, y1) - high), (max(x0, x1) + wide, max(y0, y1) + high)
        cv2.rectangle(walls, first, last, 1, cv2.FILLED)
        _stamp(walls, cap, cap, x0, y0)
    background = np.full((WORKSPACE_PX, WORKSPACE_PX, 3), GROUND_RGB, dtype=np.uint8)
    x, y, angle = goal_pose
    for part in _polygons(block_corners_px(x, y, angle, scale), outlined=False)[0]:
        cv2.fillConvexPoly(background, part, GOAL_RGB, cv2.LINE_8, _FRACTION_BITS)
    background[walls == 1] = WALL_RGB
    return background, walls


def block_corners_px(x: float, y: float, angle: float, scale: float) -> list[Corner]:
    """Returns the four corners of the bar and the four of the stem at a pose, as they are drawn: rounded to px."""
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    return [(round(x + cos * u - sin * v), round(y + sin * u + cos * v)) for u, v in _OUTLINES]


def draw_block(canvas: UInt8[np.ndarray, "height width 3"], corners: list[Corner]) -> None:
    """Draws bar, then stem, each an outline with a lighter inside.

    Args:
        canvas: The picture, or a part of it, which is drawn on.
        corners: As `block_corners_px` returns them, counted from the canvas' own corner.
    """
    outlines, insides = _polygons(corners, outlined=True)
    for outline, inside in zip(outlines, insides, strict=True):
        cv2.fillConvexPoly(canvas, outline, BLOCK_RGB, cv2.LINE_8, _FRACTION_BITS)
        cv2.fillConvexPoly(canvas, inside, _BLOCK_CORE_RGB, cv2.LINE_8, _FRACTION_BITS)


def draw_agent(canvas: UInt8[np.ndarray, "height width 3"], x: int, y: int) -> None:
    """Draws the agent: a disc with a lighter one on it.

    Args:
        canvas: The picture, or a part of it, which is drawn on.
        x: The agent's x, px, counted from the canvas' own corner; it may lie outside.
        y: Its y.
    """
    _stamp(canvas, _AGENT_SPRITE, _AGENT_MASK, x, y)


def draw_contacts(canvas: UInt8[np.ndarray, "height width 3"], lines: Sequence[Line]) -> None:
    """Draws contacts as pygame draws smooth lines: each step is shared by the two px that it passes between.

    Args:
        canvas: The picture, or a part of it, which is drawn on.
        lines: x, y, x, y of the ends, px, counted from the canvas' own corner; they may lie outside.
    """
    height, width = canvas.shape[:2]
    shares: dict[Corner, float] = {}
    for x0, y0, x1, y1 in lines:
        steps = max(abs(x1 - x0), abs(y1 - y0), 1)
        for step in range(steps + 1):
            x, y = x0 + (x1 - x0) * step / steps, y0 + (y1 - y0) * step / steps
            column, row = math.floor(x), math.floor(y)
            # Along the longer axis a step is whole, so at most one of the two has a fraction.
            beyond = (x - column) + (y - row)
            shares[row, column] = 1 - beyond
            if beyond > 0:
                shares[(row, column + 1) if x > column else (row + 1, column)] = beyond
    inside = [
        (row, column, share) for (row, column), share in shares.items() if 0 <= row < height and 0 <= column < width
    ]
    if inside:
        rows, columns, weights = zip(*inside, strict=True)
        weight = np.array(weights)[:, None]
        canvas[rows, columns] = (1 - weight) * canvas[rows, columns] + weight * np.array(CONTACT_RGB)


def _lighter(colour: Colour) -> Colour:
    red, green, blue = (min(round(1.2 * part), 255) for part in colour)
    return red, green, blue


def _disc(radius: int) -> UInt8[np.ndarray, "side side"]:
    """Returns pygame's disc as a mask."""
    halves = np.array(_DISC_ROWS[radius] + _DISC_ROWS[radius][::-1])[:, None]
    return (np.abs(np.arange(-radius, radius) + 0.5) < halves).astype(np.uint8)


def _agent_sprite() -> UInt8[np.ndarray, "side side 3"]:
    sprite = np.full((2 * AGENT_RADIUS, 2 * AGENT_RADIUS, 3), AGENT_RGB, dtype=np.uint8)
    rim = AGENT_RADIUS - AGENT_CORE_RADIUS
    sprite[rim:-rim, rim:-rim][_disc(AGENT_CORE_RADIUS) == 1] = _lighter(AGENT_RGB)
    return sprite


def _stamp(
    canvas: UInt8[np.ndarray, "height width *colours"],
    sprite: UInt8[np.ndarray, "side side *colours"],
    mask: UInt8[np.ndarray, "side side"],
    x: int,
    y: int,
) -> None:
    """Puts a sprite here, by its middle, as far as it lies on the canvas."""
    radius = len(mask) // 2
    left, top = max(x - radius, 0), max(y - radius, 0)
    part = canvas[top : max(y + radius, 0), left : max(x + radius, 0)]
    rows, columns = part.shape[:2]
    if rows and columns:
        from_sprite = np.s_[top - y + radius :, left - x + radius :]
        cv2.copyTo(sprite[from_sprite][:rows, :columns], mask[from_sprite][:rows, :columns], part)


def _polygons(corners: list[Corner], *, outlined: bool) -> Int32[np.ndarray, "2 2 8 2"]:
    """Returns the polygons that OpenCV has to fill to colour the px that pymunk colours.

    Of bar and stem, first with their outlines, then their insides alone; in OpenCV's fixed point. Each has eight points: at
    every corner, the end of one side and the beginning of the next.
    """
    offsets = []
    for first in (0, 4):
        before, here = corners[first + 2], corners[first + 3]
        dx, dy = here[0] - before[0], here[1] - before[1]
        # The last corner first, so that each side is looked at once; where a polygon begins makes no difference.
        for x, y in corners[first : first + 4]:
            next_dx, next_dy = x - here[0], y - here[1]
            offsets.append(_corner_offsets(dx, dy, next_dx, next_dy, outlined))
            here, dx, dy = (x, y), next_dx, next_dy
    turned = [corners[index] for index in (3, 0, 1, 2, 7, 4, 5, 6)]
    points = np.array(turned, dtype=np.int32)[:, None] * 2**_FRACTION_BITS
    return (points + np.concatenate(offsets, axis=1).reshape(2, 8, 2, 2)).reshape(2, 2, 8, 2)


# A corner looks the same wherever it is, and a block that moves meets few pairs of sides again and again.
@lru_cache(maxsize=2**15)
def _corner_offsets(dx0: int, dy0: int, dx1: int, dy1: int, outlined: bool) -> Int32[np.ndarray, "2 4"]:
    """Returns where, from the corner between two sides, the one ends and the other begins; outside, then inside.

    All of these have a whole coordinate along their side: only from such points are OpenCV's lines exact.

    Args:
        dx0: Extent in x of the side that ends here, px.
        dy0: Its extent in y.
        dx1: Extent in x of the side that begins here.
        dy1: Its extent in y.
        outlined: Whether an outline is drawn.

    Returns:
        For the outline and for the inside, x and y of the two points, in OpenCV's fixed point.
    """
    steep0, outside0, inside0 = _reach(dx0, dy0, outlined)
    steep1, outside1, inside1 = _reach(dx1, dy1, outlined)
    outer = [*_point(steep0, 0.0, outside0), *_point(steep1, 0.0, outside1)]
    # Where the inner lines meet: along either, x dy - y dx is what it is at the point next to the corner.
    c0, c1 = inside0 * (dy0 if steep0 else -dx0), inside1 * (dy1 if steep1 else -dx1)
    determinant = dx0 * dy1 - dy0 * dx1
    meet_x, meet_y = (dx0 * c1 - dx1 * c0) / determinant, (dy0 * c1 - dy1 * c0) / determinant
    inner: list[float] = []
    for steep, inside, dx, dy, ends in ((steep0, inside0, dx0, dy0, True), (steep1, inside1, dx1, dy1, False)):
        along, across, meet = (dy, dx, meet_y) if steep else (dx, dy, meet_x)
        whole = math.floor(meet) if (along > 0) == ends else math.ceil(meet)
        inner += _point(steep, float(whole), inside + whole * across / along)
    return np.rint(np.array([outer, inner]) * 2**_FRACTION_BITS).astype(np.int32)


def _point(steep: bool, along: float, across: float) -> tuple[float, float]:
    return (across, along) if steep else (along, across)


@lru_cache(maxsize=2**13)
def _reach(dx: int, dy: int, outlined: bool) -> tuple[bool, float, float]:
    """Returns how far from a side pygame colours px, and from where on its inside no longer.

    An outline is a line of 4 px across its shorter axis, in steps, together with a parallelogram around it whose ends are
    rounded to px. pygame fills a parallelogram, and the goal, row by row, cutting off fractions counted from the upper end
    of a side. Either colours what lies between two lines along the side; on each side the farther one counts.

    Args:
        dx: Extent of the side in x, px.
        dy: Extent in y, px.
        outlined: Whether an outline is drawn.

    Returns:
        Whether the side is steep, so that the rest is measured along x, not y; the offsets at which OpenCV, which colours
        the nearest px, colours the outermost of these px, and the first ones inside of them.
    """
    radius = OUTLINE_RADIUS_PX if outlined else 0
    length = math.hypot(dx, dy)
    wide, high = round(abs(dy) * radius / length), round(abs(dx) * radius / length)
    steep = abs(dx) <= abs(dy)
    slope = dx / dy if steep else dy / dx
    before = after = abs(wide - slope * high) if steep else abs(high - slope * wide)
    # Cutting off shifts both edges of a steep parallelogram one way; it lengthens the rows of a flat one at the lower edge.
    if steep and slope > 0:
        before += 1 - _OFF_TIE
    elif steep and slope < 0:
        after += 1 - _OFF_TIE
    elif slope:
        after += abs(slope) - _OFF_TIE
    if outlined:
        before, after = max(before, 1.5), max(after, 2.5 - _OFF_TIE)
    nearest = 0.5 - _OFF_TIE / 2
    before, after = nearest - before, after - nearest
    outside_is_after = dy > 0 if steep else dx < 0
    return (steep, after, before - 1) if outside_is_after else (steep, before, after + 1)


_BLOCK_CORE_RGB: Final = _lighter(BLOCK_RGB)
_AGENT_MASK: Final = _disc(AGENT_RADIUS)
_AGENT_SPRITE: Final = _agent_sprite()
