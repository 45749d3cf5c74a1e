"""Ways for the agent round the block without touching it, in the block's frame.

The block's convex hull, widened by the agent and some room, is a ring of six corners that is safe to walk on. A way
leads out of the ring if it begins inside, round it to the left or to the right where it stands between, and ends outside.
"""

import math
from typing import Final, NamedTuple

from diffpolicy_envs.pusht.geometry import AGENT_RADIUS_PX, Point, distance_to_block

CLEARANCE_PX: Final = 7.0

# The hull's corners and outward normals follow the outline's direction: x right, y down, so clockwise on the screen.
_HULL: Final[list[Point]] = [(-60.0, 0.0), (60.0, 0.0), (60.0, 30.0), (15.0, 120.0), (-15.0, 120.0), (-60.0, 30.0)]
_MIDDLE: Final[Point] = (0.0, 45.0)
_EXITS: Final = 32
_EXIT_STEP_PX: Final = 3.0
# A way out that would rub the block costs as many px of detour as this times the overlap.
_RUBBING: Final = 20.0


class Route(NamedTuple):
    """A way to a place: its corners, the start left out; its length, px; and the side it goes round the block.

    `side` is 1 where the block is passed clockwise on the screen, -1 counter-clockwise, 0 where it is not in between.
    """

    side: int
    length_px: float
    corners: list[Point]


def _widen(hull: list[Point], by: float) -> tuple[list[Point], list[tuple[float, float, float]]]:
    """Returns the corners of the widened hull, and each side as (normal x, normal y, offset)."""
    sides = []
    for (ax, ay), (bx, by_) in zip(hull, hull[1:] + hull[:1], strict=True):
        length = math.hypot(bx - ax, by_ - ay)
        nx, ny = (by_ - ay) / length, -(bx - ax) / length
        sides.append((nx, ny, nx * ax + ny * ay + by))
    corners = []
    for (mx, my, m), (nx, ny, n) in zip(sides[-1:] + sides[:-1], sides, strict=True):
        determinant = mx * ny - my * nx
        corners.append(((m * ny - n * my) / determinant, (mx * n - nx * m) / determinant))
    return corners, sides


_RING, _SIDES = _widen(_HULL, AGENT_RADIUS_PX + CLEARANCE_PX)
_RING_ANGLES: Final = [math.atan2(y - _MIDDLE[1], x - _MIDDLE[0]) for x, y in _RING]


def is_inside_ring(x: float, y: float) -> bool:
    """Tells whether a point of the block's frame is nearer to the hull than the ring."""
    return all(nx * x + ny * y < offset - 0.5 for nx, ny, offset in _SIDES)


def way_out(x: float, y: float) -> Point | None:
    """Returns where to leave the ring from a point inside it, by the shortest way that does not rub the block; or None.

    Args:
        x: Agent x in the block's frame, px.
        y: Agent y, px.
    """
    if not is_inside_ring(x, y):
        return None
    near = distance_to_block(x, y)
    best, place = math.inf, (x, y)
    for k in range(_EXITS):
        angle = math.tau * k / _EXITS
        dx, dy = math.cos(angle), math.sin(angle)
        along, rubbing = _EXIT_STEP_PX, 0.0
        while along < best and is_inside_ring(x + along * dx, y + along * dy):
            # One that begins in touch, or overlapping, may stay so for as long as it moves away.
            free = min(AGENT_RADIUS_PX + 1, near + along / 2)
            rubbing = max(rubbing, free - distance_to_block(x + along * dx, y + along * dy))
            along += _EXIT_STEP_PX
        if along + _RUBBING * rubbing < best:
            best, place = along + _RUBBING * rubbing, (x + along * dx, y + along * dy)
    return place


def routes(start: Point, place: Point, out: Point | None) -> list[Route]:
    """Returns the ways from a start to a place outside the ring: one, or one round each side.

    Args:
        start: Agent x, y in the block's frame, px.
        place: Where to go, likewise.
        out: What `way_out` returns for the start; it is the same for all places.
    """
    before = [] if out is None else [out]
    begin = start if out is None else out
    if not _crosses_ring(begin, place):
        return [_route(0, start, [*before, place])]
    found = []
    first, last = (math.atan2(y - _MIDDLE[1], x - _MIDDLE[0]) for x, y in (begin, place))
    for side in (1, -1):
        span = (side * (last - first)) % math.tau
        turns = sorted(
            ((side * (angle - first)) % math.tau, corner) for angle, corner in zip(_RING_ANGLES, _RING, strict=True)
        )
        stops = [(0.0, begin), *((turn, corner) for turn, corner in turns if turn < span), (span, place)]
        found.append(_route(side, start, before + _pulled_tight(stops)[1:]))
    return found


def _route(side: int, start: Point, corners: list[Point]) -> Route:
    return Route(side, sum(math.dist(a, b) for a, b in zip([start, *corners], corners, strict=False)), corners)


def _pulled_tight(stops: list[tuple[float, Point]]) -> list[Point]:
    """Leaves out corners that a straight line may skip without passing the block on the other side.

    Args:
        stops: How far round the block each corner is from the first, rad, and the corner.
    """

    def may_follow(i: int, j: int) -> bool:
        return stops[j][0] - stops[i][0] < math.pi and not _crosses_ring(stops[i][1], stops[j][1])

    kept, i = [stops[0][1]], 0
    while i < len(stops) - 1:
        i = next(j for j in range(len(stops) - 1, i, -1) if j == i + 1 or may_follow(i, j))
        kept.append(stops[i][1])
    return kept


def _crosses_ring(a: Point, b: Point) -> bool:
    """Tells whether a straight line passes through the inside of the ring; its own sides do not count."""
    enter, leave = 0.0, 1.0
    for nx, ny, offset in _SIDES:
        from_side, to_side = (nx * x + ny * y - offset + 0.5 for x, y in (a, b))
        if from_side > 0 and to_side > 0:
            return False
        if from_side > 0:
            enter = max(enter, from_side / (from_side - to_side))
        elif to_side > 0:
            leave = min(leave, from_side / (from_side - to_side))
        if enter >= leave:
            return False
    return leave - enter > 1e-9
