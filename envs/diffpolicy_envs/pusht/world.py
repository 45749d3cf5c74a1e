"""One table with its goal: what the single environment and the vector environment both step.

The physics knows of no goal, and Gymnasium's interfaces should not know how a start is drawn; this joins them.
"""

import math
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Float, UInt8

from .checks import checked_goal, checked_scale, checked_state, lies_on_table, require_one_of, require_options
from .geometry import PUBLISHED_GOAL, Pose, coverage_of_pose
from .physics import PhysicsState, PushTPhysics
from .pixels import PixelPainter
from .starts import PROTOCOLS, sample_start

VARIATIONS: Final = ("goal_pose", "scale")
RESET_OPTIONS: Final = ("protocol", "state", *VARIATIONS)

RANDOM: Final = "random"
RANDOM_SCALE: Final = (0.75, 1.25)
# Room for the agent between a drawn goal and the walls.
_GOAL_MARGIN_PX: Final = 30.0


@dataclass(frozen=True)
class PushTState:
    """A moment of a world, as `get_state` returns it: the table, the goal and the block's scale. It can be pickled."""

    physics: PhysicsState
    goal_pose: Pose
    scale: float


@dataclass(frozen=True)
class Start:
    """Checked reset options: where an episode may start."""

    protocol: str | None
    state: Float[np.ndarray, "5"] | None
    goal_pose: Pose | str
    scale: float | str


class PushTWorld:
    """A table, a goal and the block's scale.

    Args:
        count_contacts: Count contact points; a step then takes about twice as long.
    """

    def __init__(self, *, count_contacts: bool = False) -> None:
        self._count_contacts = count_contacts
        self.physics = PushTPhysics(count_contacts=count_contacts)
        self.goal_pose: Pose = PUBLISHED_GOAL
        self.scale = 1.0
        self._painter: PixelPainter | None = None

    def begin(self, start: Start, rng: np.random.Generator, seed: int | None) -> None:
        """Starts an episode; the start is drawn before goal and scale, so these do not change published starts.

        Args:
            start: Checked options.
            rng: The environment's generator, which the seed, if any, has already seeded.
            seed: The seed of the episode, which the protocol "diffusion_policy" draws from.
        """
        numbers = start.state if start.protocol is None else sample_start(start.protocol, rng, seed)
        assert numbers is not None
        scale = float(rng.uniform(*RANDOM_SCALE)) if isinstance(start.scale, str) else start.scale
        goal = _draw_goal(rng, scale) if isinstance(start.goal_pose, str) else start.goal_pose
        self._set_task(goal, scale)
        (self.physics.set_state if start.protocol is None else self.physics.set_start)(numbers)

    def save(self) -> PushTState:
        """Returns this moment exactly, velocities and contacts included."""
        return PushTState(self.physics.save(), self.goal_pose, self.scale)

    def restore(self, state: PushTState) -> None:
        """Goes back to a saved moment; what follows is what followed then, bit for bit."""
        self._set_task(state.goal_pose, state.scale)
        self.physics.restore(state.physics)

    def displace(self, state: Float[np.ndarray, "5"]) -> None:
        """Puts agent and block elsewhere; the agent keeps its velocity, contacts are forgotten."""
        self.physics.set_state(state, agent_velocity=self.physics.agent_velocity_px_per_s)

    def coverage(self, block_x: float, block_y: float, angle: float) -> float:
        """Returns how much of this world's goal the block covers at a pose (px, rad), in [0, 1]."""
        return coverage_of_pose(block_x, block_y, angle, self.goal_pose, self.scale)

    def paint(self, size_px: tuple[int, int], *, contacts: bool) -> UInt8[np.ndarray, "height width 3"]:
        """Returns the published picture of the world as it is.

        Args:
            size_px: Height and width.
            contacts: Whether to draw where the block touches.
        """
        if self._painter is None:
            self._painter = _shared_painter(size_px, self.goal_pose, self.scale)
        agent_x, agent_y, _, _, block_x, block_y, angle = self.physics.read()
        lines = self.physics.contact_lines_px if contacts else ()
        return self._painter.paint(agent_x, agent_y, block_x, block_y, angle, lines)

    def _set_task(self, goal_pose: Pose, scale: float) -> None:
        if scale != self.scale:
            self.physics = PushTPhysics(count_contacts=self._count_contacts, scale=scale)
        if (goal_pose, scale) != (self.goal_pose, self.scale):
            self._painter = None
        self.goal_pose, self.scale = goal_pose, scale


def checked_start(options: Mapping[str, Any] | None, variations: Mapping[str, Any]) -> Start:
    """Checks the options of a reset.

    Args:
        options: As given to `reset`: protocol or state, and what varies.
        variations: What may vary, with the value where an option says nothing.

    Raises:
        ValueError: If an option is unknown or makes no sense, with what is valid.
    """
    options = require_options("options", options, RESET_OPTIONS)
    if "state" in options and "protocol" in options:
        raise ValueError("options: 'state' sets the whole state and excludes 'protocol'; give one of them")
    for name in VARIATIONS:
        if name in options and name not in variations:
            raise ValueError(
                f"options[{name!r}]: observations of this environment do not show the {name}; make it with "
                f"variations={{{name!r}: 'random'}} (or a value), so that a policy can know"
            )
    state = protocol = None
    if "state" in options:
        state = checked_state("options['state']", options["state"])
    else:
        protocol = options.get("protocol", PROTOCOLS[0])
        require_one_of("options['protocol']", protocol, PROTOCOLS)
    goal, scale = _checked_variations("options", {**variations, **{k: options[k] for k in VARIATIONS if k in options}})
    return Start(protocol, state, goal, scale)


def checked_variations(found: object) -> dict[str, Any]:
    """Checks the argument `variations` of an environment: what may vary, and its value where a reset says nothing.

    Raises:
        ValueError: If a name is unknown or a value makes no sense.
    """
    variations = dict(require_options("variations", found, VARIATIONS))
    _checked_variations("variations", variations)
    return variations


def require_saved(what: str, state: object, variations: Mapping[str, Any]) -> None:
    """Refuses what is no saved moment, or one whose goal or scale an environment's observations would not show.

    Raises:
        ValueError: If it is not what `get_state` returned, or goal or scale is not the published one and may not vary.
    """
    if not isinstance(state, PushTState):
        raise ValueError(
            f"{what}: expected what get_state() returned, found {type(state).__name__}; "
            "five numbers are set by reset(options={'state': ...})"
        )
    published = {"goal_pose": PUBLISHED_GOAL, "scale": 1.0}
    for name in VARIATIONS:
        if name not in variations and getattr(state, name) != published[name]:
            raise ValueError(
                f"{what}: its {name} is {getattr(state, name)}, which observations of this environment do not show; make it "
                f"with variations={{{name!r}: ...}}"
            )


def require_all_saved(what: str, states: Sequence[object], count: int, variations: Mapping[str, Any]) -> None:
    """Refuses, by number, what `require_saved` refuses, and any other number of states than one a world.

    Raises:
        ValueError: If there are not as many, or one is refused.
    """
    if len(states) != count:
        raise ValueError(f"{what}: expected {count}, one for each world, found {len(states)}")
    for index, state in enumerate(states):
        require_saved(f"{what}[{index}]", state, variations)


def _checked_variations(where: str, values: Mapping[str, Any]) -> tuple[Pose | str, float | str]:
    if not values:  # the published task, known to be good: spares every reset the geometry below
        return PUBLISHED_GOAL, 1.0
    scale, goal = values.get("scale", 1.0), values.get("goal_pose", PUBLISHED_GOAL)
    if not (isinstance(scale, str) and scale == RANDOM):
        scale = checked_scale(f"{where}['scale']", scale)
    if not (isinstance(goal, str) and goal == RANDOM):
        if isinstance(goal, str):
            raise ValueError(f"{where}['goal_pose']: expected x, y (px) and angle (rad) or 'random', found {goal!r}")
        # A drawn scale may be any of its range, so the goal must fit the largest.
        goal = checked_goal(f"{where}['goal_pose']", goal, RANDOM_SCALE[1] if isinstance(scale, str) else scale)
    return goal, scale


# A painter keeps pictures of the empty table. Where many worlds share one, these stay in the processor's cache.
_painters: weakref.WeakValueDictionary[tuple[tuple[int, int], Pose, float], PixelPainter] = (
    weakref.WeakValueDictionary()
)


def _shared_painter(size_px: tuple[int, int], goal_pose: Pose, scale: float) -> PixelPainter:
    """Returns the painter for this task that is in use somewhere, or a new one; painting changes nothing in it."""
    key = (size_px, goal_pose, scale)
    painter = _painters.get(key)
    if painter is None:
        painter = _painters[key] = PixelPainter(size_px, np.array(goal_pose), scale)
    return painter


def _draw_goal(rng: np.random.Generator, scale: float) -> Pose:
    """Draws a goal evenly among the poses that leave the agent room on every side."""
    while True:
        x, y, angle = rng.uniform((0.0, 0.0, 0.0), (512.0, 512.0, math.tau)).tolist()
        if lies_on_table((x, y, angle), scale, margin_px=_GOAL_MARGIN_PX):
            return x, y, angle
