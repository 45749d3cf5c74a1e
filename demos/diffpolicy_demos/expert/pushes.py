"""The pushes that the expert chooses from, and what each would do, tried in a simulation of its own.

The block of Push-T stops where its push stops: the physics keeps no velocity from one sub-step to the next. A push is
therefore what it does per px that the agent travels, from any speed, and one trial shows every length of it at once.
"""

import math
from typing import Final, NamedTuple

import numpy as np
from diffpolicy_envs.pusht import PushTPhysics
from diffpolicy_envs.pusht.geometry import (
    AGENT_RADIUS_PX,
    BLOCK_CORNERS,
    SUCCESS_COVERAGE,
    Point,
    Pose,
    coverage_of_pose,
    distance_to_block,
)

from diffpolicy_demos.expert.routes import is_inside_ring

_SPACING_PX: Final = 10.0
_TURNS_RAD: Final = (-0.5, -0.25, 0.0, 0.25, 0.5)
_LEAD_PX: Final = 4.0
_LONGEST_PX: Final = 90.0
_TRIAL_SPEED_PX: Final = 12.0
_TRIAL_ACCELERATION_PX: Final = 6.0
# A trial ends when so many steps in a row brought nothing.
_PATIENCE: Final = 5
# Success is worth more than any progress; a little more coverage than asked for leaves room for a policy's error.
_SUCCESS_SCORE: Final = 100.0
_SUCCESS_MARGIN: Final = 0.005

_CORNERS: Final[list[Point]] = [(x, y) for x, y in BLOCK_CORNERS.tolist()]


class Push(NamedTuple):
    """A push in the block's frame, px: the agent's centre when it touches, its direction, and where its approach begins."""

    touch: Point
    direction: Point
    approach: Point


class Trial(NamedTuple):
    """What a push would bring: progress of the corners per step, px, and how far to go from the lead before the touch."""

    score: float
    length_px: float


def corner_distance(pose: Pose, goal_corners: list[Point]) -> float:
    """Returns the mean distance of the block's eight corners from the goal's, px."""
    x, y, angle = pose
    cos, sin = math.cos(angle), math.sin(angle)
    total = 0.0
    for (u, v), (goal_x, goal_y) in zip(_CORNERS, goal_corners, strict=True):
        total += math.hypot(x + cos * u - sin * v - goal_x, y + sin * u + cos * v - goal_y)
    return total / len(_CORNERS)


def try_push(
    table: PushTPhysics, pose: Pose, push: Push, steps_before: float, goal: Pose, goal_corners: list[Point]
) -> Trial:
    """Pushes the block in a simulation and finds the length with the most progress per step, the way there included.

    Args:
        table: A table to try it on; its state is overwritten.
        pose: Where the block lies.
        push: What to try.
        steps_before: Steps that the agent needs to get there.
        goal: The goal's pose.
        goal_corners: Its corners.
    """
    begin_x, begin_y = to_world(pose, lead_of(push))
    cos, sin = math.cos(pose[2]), math.sin(pose[2])
    dx = cos * push.direction[0] - sin * push.direction[1]
    dy = sin * push.direction[0] + cos * push.direction[1]
    before = corner_distance(pose, goal_corners)
    table.set_state(np.array((begin_x, begin_y, *pose)))
    best, idle, speed, travelled = Trial(-math.inf, 0.0), 0, 0.0, 0.0
    while idle <= _PATIENCE and travelled < _LONGEST_PX:
        speed = min(_TRIAL_SPEED_PX, speed + _TRIAL_ACCELERATION_PX)
        travelled += speed
        table.step(begin_x + travelled * dx, begin_y + travelled * dy)
        agent_x, agent_y, _, _, *after = table.read()
        length = (agent_x - begin_x) * dx + (agent_y - begin_y) * dy
        reached = (after[0], after[1], after[2])
        score = (before - corner_distance(reached, goal_corners)) / (steps_before + length / _TRIAL_SPEED_PX + 2)
        if coverage_of_pose(*reached, goal) > SUCCESS_COVERAGE + _SUCCESS_MARGIN:
            score += _SUCCESS_SCORE
        best, idle = (Trial(score, length), 0) if score > best.score else (best, idle + 1)
    return best


def lead_of(push: Push) -> Point:
    """Returns where a push begins, a little before the touch; block's frame, px."""
    return push.touch[0] - _LEAD_PX * push.direction[0], push.touch[1] - _LEAD_PX * push.direction[1]


def to_world(pose: Pose, point: Point) -> Point:
    """Places a point of the block's frame on the table, px."""
    cos, sin = math.cos(pose[2]), math.sin(pose[2])
    return pose[0] + cos * point[0] - sin * point[1], pose[1] + sin * point[0] + cos * point[1]


def _all_pushes() -> list[Push]:
    """Lists pushes along the outline that the agent can get to: straight in from outside the ring, touching nothing else."""
    found = []
    for a, b in zip(_CORNERS, _CORNERS[1:] + _CORNERS[:1], strict=True):
        length = math.dist(a, b)
        along = ((b[0] - a[0]) / length, (b[1] - a[1]) / length)
        # The outline runs clockwise on the screen, so the inside is on the right hand: (-y, x).
        inward = math.atan2(along[0], -along[1])
        count = max(1, int(length // _SPACING_PX))
        for k in range(count):
            at = (k + 0.5) * length / count
            touch = (
                a[0] + at * along[0] - AGENT_RADIUS_PX * math.cos(inward),
                a[1] + at * along[1] - AGENT_RADIUS_PX * math.sin(inward),
            )
            for turn in _TURNS_RAD:
                direction = (math.cos(inward + turn), math.sin(inward + turn))
                approach = _approach(touch, direction)
                if approach is not None:
                    found.append(Push(touch, direction, approach))
    return found


def _approach(touch: Point, direction: Point) -> Point | None:
    """Backs off from a touch until outside the ring; None where the block is in the way."""
    if distance_to_block(*touch) < AGENT_RADIUS_PX - 0.5:
        return None
    back = 0.0
    while True:
        back += 2.0
        x, y = touch[0] - back * direction[0], touch[1] - back * direction[1]
        if not is_inside_ring(x, y):
            return x, y
        if distance_to_block(x, y) < AGENT_RADIUS_PX + min(2.0, 0.3 * back):
            return None


PUSHES: Final = tuple(_all_pushes())
