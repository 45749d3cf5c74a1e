"""An expert for Push-T: a planner that tries pushes in the true physics and does the best, again and again.

It gives demonstrations without people and without a learned policy. It sees the five numbers of the state and is called
like a policy, one observation at a time. Its choices depend on the state alone, but for the way round the block, which
it can be asked for or draws: consistent demonstrations are easier to learn from than clever ones.
"""

import math
from collections import deque
from itertools import pairwise
from typing import Final, Literal

import numpy as np
from diffpolicy_envs.pusht import PushTPhysics
from diffpolicy_envs.pusht.geometry import PUBLISHED_GOAL, WORKSPACE_PX, Point, Pose, block_corners, to_block_frame
from jaxtyping import Float

from diffpolicy_demos.expert.pushes import PUSHES, Push, Trial, lead_of, to_world, try_push
from diffpolicy_demos.expert.routes import Route, routes, way_out

Mode = Literal["left", "right"]
MODES: Final = ("left", "right")

# The agent keeps so far inside the workspace's edge when it walks round the block.
_EDGE_PX: Final = 10.0
_ACCELERATION_PX: Final = 6.0
_SLOWEST_PX: Final = 1.0
# A push is over when the agent has come this near to its end, or after so many steps of waiting.
_ARRIVED_PX: Final = 2.0
_PATIENCE: Final = 6
# Where one way round is longer than the other by more than this, nobody would take it unasked.
_DETOUR_PX: Final = 150.0


class PushTExpert:
    """Acts in Push-T from its state, planning one push at a time.

    Example:
        act = PushTExpert(mode="left")
        act.reset(seed=7)
        action = act(obs)  # obs: agent x, y, block x, y, angle

    Args:
        mode: Which way round the block the first walk goes, seen from the agent: "left" keeps the block on its right
            hand. None draws one, unless the other way is much shorter.
        speed_px: Most that the target moves in a step on the way; people: median 8, 95th percentile 27.
        push_speed_px: Most that it moves in a step while pushing.
        goal_pose: Goal x, y (px) and angle (rad).
    """

    def __init__(
        self,
        mode: Mode | None = None,
        speed_px: float = 20.0,
        push_speed_px: float = 12.0,
        goal_pose: Pose = PUBLISHED_GOAL,
    ) -> None:
        if mode is not None and mode not in MODES:
            raise ValueError(f"mode: found {mode!r}, expected 'left', 'right' or None")
        self._asked, self._speed_px, self._push_speed_px = mode, speed_px, push_speed_px
        self._goal = goal_pose
        self._goal_corners: list[Point] = [(x, y) for x, y in block_corners(np.array(goal_pose)).tolist()]
        self._table = PushTPhysics()
        self.reset(seed=0)

    def reset(self, seed: int | np.random.SeedSequence) -> None:
        """Begins an episode; the seed decides the mode that is drawn where none was asked for."""
        self._drawn: Mode = MODES[int(np.random.default_rng(seed).integers(2))]
        self._targets: deque[Point] = deque()
        self._waited = 0
        self.mode: str | None = None
        self.decisions = 0

    def __call__(self, obs: Float[np.ndarray, "5"]) -> Float[np.ndarray, "2"]:
        """Returns the next target position, px.

        Args:
            obs: Agent x, y, block x, y (px) and block angle (rad).
        """
        agent_x, agent_y, *pose = obs.tolist()
        if not self._targets and not self._waits_for((agent_x, agent_y)):
            self._plan((agent_x, agent_y), (pose[0], pose[1], pose[2]))
        if self._targets:
            self._target = self._targets.popleft()
        return np.clip(np.array(self._target), 0.0, float(WORKSPACE_PX))

    def _waits_for(self, agent: Point) -> bool:
        """The agent follows its target with a lag of two steps; a push is done when it has arrived."""
        if self.decisions == 0 or self._waited >= _PATIENCE or math.dist(agent, self._target) < _ARRIVED_PX:
            self._waited = 0
            return False
        self._waited += 1
        return True

    def _plan(self, agent: Point, pose: Pose) -> None:
        """Tries every push and queues the targets of the best one, the way there included."""
        self.decisions += 1
        from_block = to_block_frame(pose, agent)
        out = way_out(*from_block)
        best: tuple[Push, Trial, Route] | None = None
        for push in PUSHES:
            x, y = to_world(pose, push.approach)
            if not (_EDGE_PX < x < WORKSPACE_PX - _EDGE_PX and _EDGE_PX < y < WORKSPACE_PX - _EDGE_PX):
                continue
            route = self._choose_way(routes(from_block, push.approach, out))
            way_px = route.length_px + math.dist(push.approach, push.touch)
            trial = try_push(self._table, pose, push, way_px / self._speed_px + 3, self._goal, self._goal_corners)
            if best is None or trial.score > best[1].score:
                best = push, trial, route
        if best is None:  # the block fills the corner of the table that the agent would need
            self._targets.append((WORKSPACE_PX / 2, WORKSPACE_PX / 2))
            return
        push, trial, route = best
        if self.mode is None and route.side:
            self.mode = "left" if route.side > 0 else "right"
        lead = lead_of(push)
        end = (lead[0] + trial.length_px * push.direction[0], lead[1] + trial.length_px * push.direction[1])
        begin = self._target if self.decisions > 1 else agent
        way = [to_world(pose, corner) for corner in (*route.corners, lead)]
        self._targets.extend(paced([begin, *way], self._speed_px))
        self._targets.extend(paced([way[-1], to_world(pose, end)], self._push_speed_px))

    def _choose_way(self, ways: list[Route]) -> Route:
        """The shorter way, but on the first walk the one asked for, or drawn if it is no great detour."""
        shorter = min(ways, key=lambda route: route.length_px)
        if len(ways) == 1 or self.mode is not None:
            return shorter
        wanted = next(route for route in ways if (route.side > 0) == ((self._asked or self._drawn) == "left"))
        if self._asked is None and wanted.length_px - shorter.length_px > _DETOUR_PX:
            return shorter
        return wanted


def paced(corners: list[Point], speed_px: float) -> list[Point]:
    """Returns targets along a line of corners, its start left out: speeding up evenly, slowing down before the end.

    Args:
        corners: The line, px.
        speed_px: Most that the target moves in a step.
    """
    legs = list(pairwise(corners))
    total, done, speed = sum(math.dist(a, b) for a, b in legs), 0.0, 0.0
    targets: list[Point] = []
    while done < total - 1e-6:
        stopping = math.sqrt(2 * _ACCELERATION_PX * (total - done))
        speed = min(speed_px, speed + _ACCELERATION_PX, max(_SLOWEST_PX, stopping), total - done)
        done += speed
        targets.append(_point_along(legs, done))
    return targets


def _point_along(legs: list[tuple[Point, Point]], along: float) -> Point:
    for a, b in legs[:-1]:
        if along <= math.dist(a, b):
            break
        along -= math.dist(a, b)
    else:
        a, b = legs[-1]
    length = math.dist(a, b)
    share = min(1.0, along / length) if length else 1.0
    return a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])
