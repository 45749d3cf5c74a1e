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

from . import engine
from .geometry import AGENT_RADIUS_PX, BAR_PX, STEM_PX

CONTROL_PERIOD_S: Final = 0.1
SUB_STEPS: Final = 10
SUB_STEP_S: Final = 0.01
STIFFNESS_PER_S2: Final = 100.0
DAMPING_PER_S: Final = 20.0
WALL_RADIUS_PX: Final = 2.0
# In the order in which the published code adds the walls from corner to corner: where the block is pressed into a corner of
# the table, the order in which the engine meets them decides how it gives way.
WALL_CORNERS_PX: Final = ((5.0, 506.0), (5.0, 5.0), (506.0, 5.0), (506.0, 506.0))


class PhysicsState:
    """A moment of a table, from which it goes on exactly as it did: where it was set, and every target since.

    That is all that determines it, also in another process. An image of the engine's memory spares replaying the targets
    when the state is restored into the table that it came from; copies and pickles do without.
    """

    __slots__ = ("_image", "agent_velocity", "contact_points", "exact", "scale", "start", "targets")

    def __init__(
        self,
        start: tuple[float, ...],
        agent_velocity: tuple[float, float],
        exact: bool,
        targets: array,
        scale: float,
        contact_points: int,
        image: engine.Image | None = None,
    ) -> None:
        self.start, self.agent_velocity, self.exact = start, agent_velocity, exact
        self.targets, self.scale, self.contact_points = targets, scale, contact_points
        self._image = image

    def __reduce__(self) -> tuple[Any, ...]:
        saved = (self.start, self.agent_velocity, self.exact, self.targets, self.scale, self.contact_points)
        return PhysicsState, saved


class PushTPhysics:
    """The simulated table: a position-controlled disc, a T-shaped block and four walls.

    Every set of the state starts from a table as new, since a used one remembers contacts: the same state then leads
    to the same future bit for bit, whatever happened before. Copies and pickles go on exactly alike.

    Args:
        count_contacts: Count the contact points of each step. A callback from the physics into Python costs about
            as much as the physics, so it is off by default.
        scale: Size of the block, as a multiple of the published one; its mass stays, its moment grows with the square.
    """

    def __init__(self, *, count_contacts: bool = False, scale: float = 1.0) -> None:
        self._count_contacts = count_contacts
        self.scale = scale
        self._build()
        self.set_state(np.array([256.0, 400.0, 256.0, 300.0, 0.0]))

    def _build(self) -> None:
        """Builds the space with the bodies at rest; the order of the shapes is the published one."""
        self._space = space = pymunk.Space()
        direct = engine.available()
        if direct:
            engine.warm_up(space)
        space.gravity = (0, 0)
        space.damping = 0
        ends = zip(WALL_CORNERS_PX, WALL_CORNERS_PX[1:] + WALL_CORNERS_PX[:1], strict=True)
        space.add(*(pymunk.Segment(space.static_body, a, b, WALL_RADIUS_PX) for a, b in ends))
        self._agent = agent = pymunk.Body(body_type=pymunk.Body.KINEMATIC)
        # The places where the published code adds the bodies before it moves them. They matter: the engine keeps the
        # first boxes in its search tree, and with them the order in which overlaps at the start are resolved.
        agent.position = (256, 400)
        space.add(agent, pymunk.Circle(agent, AGENT_RADIUS_PX))
        # The published moment is twice the bar's: the stem's was computed from the bar's vertices.
        bar, stem = (_rectangle(box, self.scale) for box in (BAR_PX, STEM_PX))
        self._block = block = pymunk.Body(1, 2 * pymunk.moment_for_poly(1, bar))
        shapes = [pymunk.Poly(block, corners) for corners in (bar, stem)]
        # The mean of the two centres, not of the two masses: (0, 45).
        block.center_of_gravity = (shapes[0].center_of_gravity + shapes[1].center_of_gravity) / 2
        block.position = (256, 300)
        space.add(block, *shapes)
        if self._count_contacts:
            space.on_collision(0, 0, post_solve=self._on_contact)
        make_stepper, make_reader = (
            (engine.make_stepper, engine.make_reader) if direct else (_public_stepper, _public_reader)
        )
        self._advance, self._read = make_stepper(space, agent), make_reader(agent, block)
        self._memory = engine.EngineMemory(space, agent, block) if direct else None
        self._as_new = self._memory.save() if self._memory else None

    def _on_contact(self, arbiter: pymunk.Arbiter, space: pymunk.Space, data: Any) -> None:
        self._contact_points += len(arbiter.contact_point_set.points)

    def set_state(self, state: Float[np.ndarray, "5"], agent_velocity: tuple[float, float] = (0.0, 0.0)) -> None:
        """Sets exactly this state without advancing time, the block at rest.

        Args:
            state: Agent x, y, block x, y (px), block angle (rad), finite.
            agent_velocity: Velocity of the agent, px/s.
        """
        self._set(tuple(state.tolist()), agent_velocity, exact=True)

    def set_start(self, start: Float[np.ndarray, "5"]) -> None:
        """Sets a published start: position before angle, which moves the block, then one sub-step.

        Both public benchmarks start their episodes so; the state that results is not the five numbers given.

        Args:
            start: Agent x, y, block x, y (px), block angle (rad), finite.
        """
        self._set(tuple(start.tolist()), (0.0, 0.0), exact=False)

    def _set(self, start: tuple[float, ...], agent_velocity: tuple[float, float], *, exact: bool) -> None:
        # An image of the table as new is put back in 10 us; building one takes 270.
        if self._memory is None or not self._memory.restore(self._as_new):
            self._build()
        self._start, self._agent_velocity, self._exact = start, agent_velocity, exact
        self._targets, self._contact_points = array("d"), 0
        agent_x, agent_y, block_x, block_y, angle = start
        self._agent.position, self._agent.velocity = (agent_x, agent_y), agent_velocity
        if exact:
            # The angle first: turning happens about the centre of gravity and so would move the position.
            self._block.angle = angle
            self._block.position = (block_x, block_y)
        else:
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
        advance = self._advance
        x, y, vx, vy, *_ = self._read()
        for _ in range(SUB_STEPS):
            vx += (STIFFNESS_PER_S2 * (target_x_px - x) - DAMPING_PER_S * vx) * SUB_STEP_S
            vy += (STIFFNESS_PER_S2 * (target_y_px - y) - DAMPING_PER_S * vy) * SUB_STEP_S
            advance(vx, vy, SUB_STEP_S)
            # Nothing pushes a kinematic body, so the engine moves it by this same sum: asking it back would only cost.
            x += vx * SUB_STEP_S
            y += vy * SUB_STEP_S

    def save(self) -> PhysicsState:
        """Returns this moment; velocities, contacts and the solver's memory included."""
        image = self._memory.save() if self._memory else None
        targets = self._targets[:]
        return PhysicsState(
            self._start, self._agent_velocity, self._exact, targets, self.scale, self._contact_points, image
        )

    def restore(self, state: PhysicsState) -> None:
        """Goes back to a saved moment; what follows is what followed then, bit for bit.

        Raises:
            ValueError: If the state is of a block of another scale.
        """
        if state.scale != self.scale:
            raise ValueError(f"state: of a block of scale {state.scale:g}; this table's is {self.scale:g}")
        if self._memory is not None and self._memory.restore(state._image):
            self._start, self._agent_velocity, self._exact = state.start, state.agent_velocity, state.exact
            self._targets = state.targets[:]
        else:
            self._set(state.start, state.agent_velocity, exact=state.exact)
            for target_x_px, target_y_px in zip(state.targets[::2], state.targets[1::2], strict=True):
                self.step(target_x_px, target_y_px)
            if self._memory is not None:
                state._image = self._memory.save()
        self._contact_points = state.contact_points

    # A copy replays its original's way from the last set state: pymunk's own pickles do not go on alike from contact.

    def __getstate__(self) -> dict[str, Any]:
        return {"count_contacts": self._count_contacts, "scale": self.scale, "state": self.save()}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        self._count_contacts, self.scale = saved["count_contacts"], saved["scale"]
        self._build()
        self.restore(saved["state"])

    def read(self) -> engine.Reading:
        """Returns agent x, y (px), its velocity (px/s), block x, y (px) and angle (rad, in [0, 2 pi)), in one call."""
        agent_x, agent_y, velocity_x, velocity_y, block_x, block_y, angle = self._read()
        angle %= math.tau
        # The remainder of a tiny negative angle rounds to 2 pi itself.
        return agent_x, agent_y, velocity_x, velocity_y, block_x, block_y, angle if angle < math.tau else 0.0

    @property
    def agent_position_px(self) -> tuple[float, float]:
        """Agent x and y, px."""
        return self.read()[:2]

    @property
    def agent_velocity_px_per_s(self) -> tuple[float, float]:
        """Velocity of the agent, px/s."""
        return self.read()[2:4]

    @property
    def block_pose(self) -> tuple[float, float, float]:
        """Block x, y (px) and angle (rad, in [0, 2 pi))."""
        return self.read()[4:]

    @property
    def contact_lines_px(self) -> list[tuple[float, float, float, float]]:
        """Where the block touched agent or walls in the last sub-step: x, y to x, y, px.

        Each line runs along the contact's normal, from 2 px before the point on one body to 2 px past that on the other:
        what pymunk draws, and the published pictures show.
        """
        lines: list[tuple[float, float, float, float]] = []
        self._block.each_arbiter(_collect_lines, lines)
        return lines

    @property
    def n_contacts(self) -> int:
        """Contact points per sub-step in the last step, rounded up, as the human demonstrations define them.

        Raises:
            AttributeError: If contacts are not counted.
        """
        if not self._count_contacts:
            raise AttributeError("contacts are not counted; build PushTPhysics with count_contacts=True")
        return math.ceil(self._contact_points / SUB_STEPS)


def _collect_lines(arbiter: pymunk.Arbiter, lines: list[tuple[float, float, float, float]]) -> None:
    contact = arbiter.contact_point_set
    out_x, out_y = 2 * contact.normal
    for (ax, ay), (bx, by) in ((point.point_a, point.point_b) for point in contact.points):
        lines.append((ax - out_x, ay - out_y, bx + out_x, by + out_y))


def _public_stepper(space: pymunk.Space, agent: pymunk.Body) -> Any:
    def step(velocity_x: float, velocity_y: float, period_s: float) -> None:
        agent.velocity = (velocity_x, velocity_y)
        space.step(period_s)

    return step


def _public_reader(agent: pymunk.Body, block: pymunk.Body) -> Any:
    def read() -> engine.Reading:
        return (*agent.position, *agent.velocity, *block.position, block.angle)

    return read


def _rectangle(box: tuple[float, float, float, float], scale: float) -> list[tuple[float, float]]:
    left, bottom, right, top = (scale * side for side in box)
    return [(left, bottom), (right, bottom), (right, top), (left, top)]
