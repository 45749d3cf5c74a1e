"""The shapes of Push-T as numbers and pure functions: outline, keypoints, coverage, mirror.

Everything that must agree on where the block is (reward, drawing, features, augmentation) takes it from here.
Arrays may carry any batch shape. The constants are read-only arrays: copy them (`numpy.array`, `torch.tensor`).

Frames: the workspace has x to the right and y down, in px; angles turn x towards y, in rad. In the block's frame the
bar's outer edge lies on y = 0 and the stem points along +y. A pose (x, y, angle) places the block's frame.
"""

import math
from typing import Final

import numpy as np
from jaxtyping import Float

Point = tuple[float, float]
Pose = tuple[float, float, float]


def _constant(values: list[Point] | Pose) -> Float[np.ndarray, "..."]:
    """Returns the values as a float64 array that nobody can change under the simulation's feet."""
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array


WORKSPACE_PX: Final = 512
AGENT_RADIUS_PX: Final = 15.0
SUCCESS_COVERAGE: Final = 0.95
PUBLISHED_GOAL: Final[Pose] = (256.0, 256.0, math.pi / 4)
GOAL_POSE: Final = _constant(PUBLISHED_GOAL)

# The block is two rectangles that touch along one edge and do not overlap. (x_min, y_min, x_max, y_max), px.
BAR_PX: Final = (-60.0, 0.0, 60.0, 30.0)
STEM_PX: Final = (-15.0, 30.0, 15.0, 120.0)
BLOCK_AREA_PX2: Final = 120.0 * 30.0 + 30.0 * 90.0

_OUTLINE: Final[list[Point]] = [
    (-60.0, 0.0),
    (60.0, 0.0),
    (60.0, 30.0),
    (15.0, 30.0),
    (15.0, 120.0),
    (-15.0, 120.0),
    (-15.0, 30.0),
    (-60.0, 30.0),
]
BLOCK_CORNERS: Final = _constant(_OUTLINE)
"""The eight corners of the block's outline in order around it, in the block's frame, px; shape (8, 2)."""

KEYPOINTS: Final = _constant(
    [
        (9.2698, 90.0410),
        (-60.9835, -1.1867),
        (60.9128, -1.3934),
        (-0.2705, 25.5436),
        (-14.0649, 122.8159),
        (39.0027, 32.8574),
        (-39.9664, 32.7297),
        (-16.8243, 62.8632),
        (23.5415, -1.7003),
    ]
)
"""The nine points of the public human demonstrations, measured from them, in the block's frame, px; shape (9, 2)."""

# A block and a goal whose centres are farther apart than twice this cannot overlap.
_CENTRE: Final[Point] = (0.0, 45.0)
_REACH_PX: Final = math.hypot(15.0, 75.0)


def wrap_angle(angle_rad: Float[np.ndarray, "*batch"]) -> Float[np.ndarray, "*batch"]:
    """Brings angles into [0, 2 pi).

    Args:
        angle_rad: Angles, rad, any finite values.

    Returns:
        The same directions, float64, each at least 0 and less than 2 pi.
    """
    wrapped = np.mod(np.asarray(angle_rad, dtype=np.float64), math.tau)
    # The remainder of a tiny negative angle rounds to 2 pi itself.
    return np.where(wrapped >= math.tau, 0.0, wrapped)


def transform_points(
    points_px: Float[np.ndarray, "*#batch points 2"], pose: Float[np.ndarray, "*batch 3"]
) -> Float[np.ndarray, "*batch points 2"]:
    """Places points of the block's frame in the workspace.

    Args:
        points_px: Points in the block's frame, px; the same for all poses, or some for each.
        pose: Block x, y (px) and angle (rad).

    Returns:
        The points in the workspace, px, float64.
    """
    points, pose = np.asarray(points_px, dtype=np.float64), np.asarray(pose, dtype=np.float64)
    cos, sin = np.cos(pose[..., 2:]), np.sin(pose[..., 2:])
    x = pose[..., 0:1] + cos * points[..., 0] - sin * points[..., 1]
    y = pose[..., 1:2] + sin * points[..., 0] + cos * points[..., 1]
    return np.stack([x, y], axis=-1)


def block_corners(pose: Float[np.ndarray, "*batch 3"], scale: float = 1.0) -> Float[np.ndarray, "*batch 8 2"]:
    """Returns the eight corners of the block's outline at a pose, in the workspace, px (order of `BLOCK_CORNERS`)."""
    return transform_points(scale * BLOCK_CORNERS, pose)


def block_keypoints(pose: Float[np.ndarray, "*batch 3"], scale: float = 1.0) -> Float[np.ndarray, "*batch 9 2"]:
    """Returns the nine keypoints of the human demonstrations at a block pose, in the workspace, px."""
    return transform_points(scale * KEYPOINTS, pose)


def to_block_frame(pose: Pose, point: Point) -> Point:
    """Gives a point of the workspace in the block's frame, px; plain numbers, for loops over single points."""
    cos, sin = math.cos(pose[2]), math.sin(pose[2])
    dx, dy = point[0] - pose[0], point[1] - pose[1]
    return cos * dx + sin * dy, cos * dy - sin * dx


def distance_to_block(x_px: float, y_px: float, scale: float = 1.0) -> float:
    """Returns how far a point of the block's frame is from the block, px; 0 inside it."""
    distance = math.inf
    for left, low, right, high in (BAR_PX, STEM_PX):
        dx = max(scale * left - x_px, 0.0, x_px - scale * right)
        dy = max(scale * low - y_px, 0.0, y_px - scale * high)
        distance = min(distance, math.hypot(dx, dy))
    return distance


def mirror_pose(pose: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
    """Reflects a block pose in the line through the goal along its stem, which maps the task onto itself.

    (x, y, angle) becomes (512 - y, 512 - x, pi/2 - angle). The walls stand at 5 and 506 px, so a mirrored world is
    one pixel off near them. Keypoints of a mirrored world come from its pose: four of the nine have no partner.

    Args:
        pose: Block x, y (px) and angle (rad).

    Returns:
        The reflected pose, float64, its angle in [0, 2 pi).
    """
    pose = np.asarray(pose, dtype=np.float64)
    return np.concatenate([mirror_action(pose[..., :2]), wrap_angle(math.pi / 2 - pose[..., 2:])], axis=-1)


def mirror_action(action_px: Float[np.ndarray, "*batch 2"]) -> Float[np.ndarray, "*batch 2"]:
    """Reflects a target position, or any point of the workspace, as `mirror_pose` does; px, float64."""
    return WORKSPACE_PX - np.asarray(action_px, dtype=np.float64)[..., ::-1]


def mirror_state(state: Float[np.ndarray, "*batch 5"]) -> Float[np.ndarray, "*batch 5"]:
    """Reflects a state (agent x, y, block x, y, angle) as `mirror_pose` does; px and rad, float64."""
    state = np.asarray(state, dtype=np.float64)
    return np.concatenate([mirror_action(state[..., :2]), mirror_pose(state[..., 2:])], axis=-1)


def coverage(
    pose: Float[np.ndarray, "*batch 3"],
    goal_pose: Float[np.ndarray, "*#batch 3"] = GOAL_POSE,
    scale: float | Float[np.ndarray, "*#batch"] = 1.0,
) -> Float[np.ndarray, "*batch"]:
    """Returns how much of the goal the block covers: area(block and goal) / area(goal), in [0, 1].

    In the goal's frame each goal rectangle is a box, and the part of a polygon inside a box has the area
    -sum over the polygon's edges of the integral of (y clamped to the box) dx, x running inside the box. No case is
    special: edges that coincide, as when the block lies exactly on the goal, need no care. Bar and stem only
    touch, so what the two boxes hold adds up.

    Args:
        pose: Block x, y (px) and angle (rad).
        goal_pose: Where the goal's outline lies, likewise; one for all, or one a pose.
        scale: Size of block and goal as a multiple of the published one; one for all, or one a pose.

    Returns:
        The covered share, a float64 array of the batch's shape (of no dimension for a single pose).
    """
    pose, goal = np.asarray(pose, dtype=np.float64), np.asarray(goal_pose, dtype=np.float64)
    cos, sin = np.cos(goal[..., 2]), np.sin(goal[..., 2])
    # Measured in units of the scale, block and goal have the published size.
    offset = (pose[..., :2] - goal[..., :2]) / np.asarray(scale)[..., None]
    origin_x = cos * offset[..., 0] + sin * offset[..., 1]
    origin_y = cos * offset[..., 1] - sin * offset[..., 0]
    corners = block_corners(np.stack([origin_x, origin_y, pose[..., 2] - goal[..., 2]], axis=-1))
    start, end = corners, np.roll(corners, -1, axis=-2)
    area = np.zeros(pose.shape[:-1])
    for box in (BAR_PX, STEM_PX):
        area -= _area_under_edges(start, end, box).sum(axis=-1)
    return np.asarray(np.clip(area / BLOCK_AREA_PX2, 0.0, 1.0))


def _area_under_edges(
    start: Float[np.ndarray, "*batch 2"], end: Float[np.ndarray, "*batch 2"], box: tuple[float, float, float, float]
) -> Float[np.ndarray, "*batch"]:
    """Returns the signed area between each edge and the box's lower side, counted inside the box; px^2."""
    left, bottom, right, top = box
    run = end[..., 0] - start[..., 0]
    slope = np.divide(end[..., 1] - start[..., 1], run, out=np.zeros_like(run), where=run != 0)
    from_x, to_x = np.clip(start[..., 0], left, right), np.clip(end[..., 0], left, right)
    from_y = start[..., 1] + slope * (from_x - start[..., 0])
    to_y = end[..., 1] - slope * (end[..., 0] - to_x)
    low, high = np.minimum(from_y, to_y), np.maximum(from_y, to_y)
    # The mean of the clamped height along a straight edge: its share inside the box, and its share above it.
    inside_low, inside_high = np.clip(low, bottom, top), np.clip(high, bottom, top)
    inside = (inside_high - inside_low) * ((inside_low + inside_high) / 2 - bottom)
    above = (high - np.clip(high, low, np.maximum(low, top))) * (top - bottom)
    level = np.clip(low, bottom, top) - bottom
    rise = high - low
    height = np.divide(inside + above, rise, out=level, where=rise > 0)
    return (to_x - from_x) * height


def coverage_of_pose(
    x_px: float, y_px: float, angle_rad: float, goal_pose: Pose = PUBLISHED_GOAL, scale: float = 1.0
) -> float:
    """Returns `coverage` of one pose given as plain numbers; the same formula, made for a call in every step.

    Plain floats, since the cost of numpy's calls dominates on so few numbers: measured on one core, a pose near the
    goal takes 6 us here and 100 us in `coverage`, which overtakes this only in batches (1.5 us a pose in 1000).

    Args:
        x_px: Block x, px.
        y_px: Block y, px.
        angle_rad: Block angle, rad.
        goal_pose: Goal x, y (px) and angle (rad).
        scale: Size of block and goal as a multiple of the published one.

    Returns:
        The covered share of the goal, in [0, 1].
    """
    goal_x, goal_y, goal_angle = goal_pose
    cos, sin = math.cos(goal_angle), math.sin(goal_angle)
    offset_x, offset_y = (x_px - goal_x) / scale, (y_px - goal_y) / scale
    origin_x, origin_y = cos * offset_x + sin * offset_y, cos * offset_y - sin * offset_x
    cos, sin = math.cos(angle_rad - goal_angle), math.sin(angle_rad - goal_angle)
    centre_x, centre_y = origin_x - sin * _CENTRE[1], origin_y + cos * _CENTRE[1]
    if math.hypot(centre_x - _CENTRE[0], centre_y - _CENTRE[1]) >= 2 * _REACH_PX:
        return 0.0
    corners = [(origin_x + cos * u - sin * v, origin_y + sin * u + cos * v) for u, v in _OUTLINE]
    area = 0.0
    end_x, end_y = corners[-1]
    for x, y in corners:
        start_x, start_y, end_x, end_y = end_x, end_y, x, y
        if start_x < end_x:
            area -= _area_under_edge(start_x, start_y, end_x, end_y)
        elif start_x > end_x:
            area += _area_under_edge(end_x, end_y, start_x, start_y)
    # Where the block only touches the goal, rounding can leave a little less than nothing.
    return min(max(0.0, area / BLOCK_AREA_PX2), 1.0)


def _area_under_edge(from_x: float, from_y: float, to_x: float, to_y: float) -> float:
    """Returns the area that both boxes of the goal hold under an edge that runs to the right; px^2."""
    area = 0.0
    slope = (to_y - from_y) / (to_x - from_x)
    for left, bottom, right, top in (BAR_PX, STEM_PX):
        x0 = left if from_x < left else from_x
        x1 = right if to_x > right else to_x
        if x0 >= x1:
            continue
        low, high = from_y + slope * (x0 - from_x), to_y - slope * (to_x - x1)
        if low > high:
            low, high = high, low
        if high <= bottom:
            continue
        if low >= top:
            area += (x1 - x0) * (top - bottom)
        elif low >= bottom and high <= top:
            area += (x1 - x0) * ((low + high) / 2 - bottom)
        else:
            inside_low, inside_high = max(low, bottom), min(high, top)
            inside = (inside_high - inside_low) * ((inside_low + inside_high) / 2 - bottom)
            above = max(high - top, 0.0) * (top - bottom)
            area += (x1 - x0) * (inside + above) / (high - low)
    return area
