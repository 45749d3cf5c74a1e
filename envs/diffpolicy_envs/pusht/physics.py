"""The published Push-T simulation: bodies, controller, and exact access to the state.

The benchmark is this particular simulation, quirks included: the moment and centre of gravity of the block, the
absence of friction and the damping of 0 all look like mistakes, and correcting one would make every published
number incomparable. Chi et al., "Diffusion Policy", RSS 2023 (arXiv 2303.04137).
"""

import math
from array import array
from typing import Any, Final

import numpy as np
import pymunk
from jaxtyping import Float

from .geometry import AGENT_RADIUS_PX, BAR_PX, STEM_PX

CONTROL_PERIOD_S: Final = 0.1
SUB_STEPS: Final = 10
SUB_STEP_S: Final = 0.01
STIFFNESS_PER_S2: Final = 100.0
DAMPING_PER_S: Final = 20.0
WALL_RADIUS_PX: Final = 2.0
WALL_CORNERS_PX: Final = ((5.0, 5.0), (5.0, 506.0), (506.0, 506.0), (506.0, 5.0))


class PushTPhysics:
    """The simulated table: a position-controlled disc, a T-shaped block and four walls.

    Every set of the state builds a new pymunk space, since a used one remembers contacts: the same state then
    leads to the same future bit for bit, whatever happened before. Copies and pickles go on exactly alike.

    Args:
        count_contacts: Count the contact points of each step. A callback from the physics into Python costs about
            as much as the physics, so it is off by default.
    """

    def __init__(self, *, count_contacts: bool = False) -> None:
        self._count_contacts = count_contacts
        self.set_state(np.array([256.0, 400.0, 256.0, 300.0, 0.0]))

    def _build(self) -> None:
        """Builds the space with the bodies at rest; the order of the shapes is the published one."""
        self._contact_points = 0
        self._targets = array("d")
        self._space = pymunk.Space()
        self._space.gravity = (0, 0)
        self._space.damping = 0
        ends = zip(WALL_CORNERS_PX, WALL_CORNERS_PX[1:] + WALL_CORNERS_PX[:1], strict=True)
        self._space.add(*(pymunk.Segment(self._space.static_body, a, b, WALL_RADIUS_PX) for a, b in ends))
        self._agent = pymunk.Body(body_type=pymunk.Body.KINEMATIC)
        # The places where the published code adds the bodies before it moves them. They matter: the engine keeps the
        # first boxes in its search tree, and with them the order in which overlaps at the start are resolved.
        self._agent.position = (256, 400)
        self._space.add(self._agent, pymunk.Circle(self._agent, AGENT_RADIUS_PX))
        # The published moment is twice the bar's: the stem's was computed from the bar's vertices.
        self._block = pymunk.Body(1, 2 * pymunk.moment_for_poly(1, _rectangle(BAR_PX)))
        bar, stem = (pymunk.Poly(self._block, _rectangle(box)) for box in (BAR_PX, STEM_PX))
        # The mean of the two centres, not of the two masses: (0, 45).
        self._block.center_of_gravity = (bar.center_of_gravity + stem.center_of_gravity) / 2
        self._block.position = (256, 300)
        self._space.add(self._block, bar, stem)
        if self._count_contacts:
            self._space.on_collision(0, 0, post_solve=self._on_contact)

    def _on_contact(self, arbiter: pymunk.Arbiter, space: pymunk.Space, data: Any) -> None:
        self._contact_points += len(arbiter.contact_point_set.points)

    def set_state(self, state: Float[np.ndarray, "5"]) -> None:
        """Sets exactly this state, everything at rest, without advancing time.

        Args:
            state: Agent x, y, block x, y (px), block angle (rad), finite.
        """
        self._build()
        self._start, self._start_is_exact = np.array(state, dtype=np.float64), True
        agent_x, agent_y, block_x, block_y, angle = self._start.tolist()
        self._agent.position = (agent_x, agent_y)
        # The angle first: turning happens about the centre of gravity and so would move the position.
        self._block.angle = angle
        self._block.position = (block_x, block_y)

    def set_start(self, start: Float[np.ndarray, "5"]) -> None:
        """Sets a published start: position before angle, which moves the block, then one sub-step.

        Both public benchmarks start their episodes so; the state that results is not the five numbers given.

        Args:
            start: Agent x, y, block x, y (px), block angle (rad), finite.
        """
        self._build()
        self._start, self._start_is_exact = np.array(start, dtype=np.float64), False
        agent_x, agent_y, block_x, block_y, angle = self._start.tolist()
        self._agent.position = (agent_x, agent_y)
        self._block.position = (block_x, block_y)
        self._block.angle = angle
        self._space.step(SUB_STEP_S)

    def step(self, target_x_px: float, target_y_px: float) -> None:
        """Advances one control period of 0.1 s with the agent drawn to a target position.

        Args:
            target_x_px: Target x of the agent, px.
            target_y_px: Target y of the agent, px.
        """
        self._contact_points = 0
        self._targets.extend((target_x_px, target_y_px))
        agent, advance = self._agent, self._space.step
        (x, y), (vx, vy) = agent.position, agent.velocity
        for _ in range(SUB_STEPS):
            vx += (STIFFNESS_PER_S2 * (target_x_px - x) - DAMPING_PER_S * vx) * SUB_STEP_S
            vy += (STIFFNESS_PER_S2 * (target_y_px - y) - DAMPING_PER_S * vy) * SUB_STEP_S
            agent.velocity = (vx, vy)
            advance(SUB_STEP_S)
            # Nothing pushes a kinematic body, so pymunk moves it by this same sum: asking it back would only cost.
            x += vx * SUB_STEP_S
            y += vy * SUB_STEP_S

    # A copy replays its original's way from the last set state: pymunk's own pickles do not go on alike from contact.

    def __getstate__(self) -> dict[str, Any]:
        return {
            "count_contacts": self._count_contacts,
            "start": self._start,
            "start_is_exact": self._start_is_exact,
            "targets": self._targets,
        }

    def __setstate__(self, saved: dict[str, Any]) -> None:
        self._count_contacts = saved["count_contacts"]
        (self.set_state if saved["start_is_exact"] else self.set_start)(saved["start"])
        targets = saved["targets"]
        for target_x_px, target_y_px in zip(targets[::2], targets[1::2], strict=True):
            self.step(target_x_px, target_y_px)

    @property
    def agent_position_px(self) -> tuple[float, float]:
        """Agent x and y, px."""
        x, y = self._agent.position
        return x, y

    @property
    def agent_velocity_px_per_s(self) -> tuple[float, float]:
        """Velocity of the agent, px/s."""
        x, y = self._agent.velocity
        return x, y

    @property
    def block_pose(self) -> tuple[float, float, float]:
        """Block x, y (px) and angle (rad, in [0, 2 pi))."""
        x, y = self._block.position
        angle = self._block.angle % math.tau
        return x, y, angle if angle < math.tau else 0.0

    @property
    def n_contacts(self) -> int:
        """Contact points per sub-step in the last step, rounded up, as the human demonstrations define them.

        Raises:
            AttributeError: If contacts are not counted.
        """
        if not self._count_contacts:
            raise AttributeError("contacts are not counted; build PushTPhysics with count_contacts=True")
        return math.ceil(self._contact_points / SUB_STEPS)


def _rectangle(box: tuple[float, float, float, float]) -> list[tuple[float, float]]:
    left, bottom, right, top = box
    return [(left, bottom), (right, bottom), (right, top), (left, top)]
