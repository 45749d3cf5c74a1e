"""The floor: Push-T's bodies on pymunk's public interface, with nothing around them.

Ten sub-steps of this are what a Push-T environment written on that interface cannot go below. It is built here, from the
published numbers, rather than borrowed from the environment, which is free to reach the engine by shorter ways.
"""

from __future__ import annotations

import time

import numpy as np
import pymunk
from diffpolicy_envs.pusht import AGENT_RADIUS_PX
from diffpolicy_envs.pusht.geometry import BAR_PX, STEM_PX
from diffpolicy_envs.pusht.physics import (
    DAMPING_PER_S,
    STIFFNESS_PER_S2,
    SUB_STEP_S,
    SUB_STEPS,
    WALL_CORNERS_PX,
    WALL_RADIUS_PX,
)
from jaxtyping import Float


def time_bare_steps(state: Float[np.ndarray, "5"], actions: Float[np.ndarray, "steps 2"]) -> float:
    """Returns seconds per control step of the physics alone.

    The controller is solved beforehand, which it can be since nothing pushes the agent: what is timed is setting its
    velocity and `Space.step`, ten times a control step.

    Args:
        state: Where to start, at rest: agent x, y, block x, y (px), angle (rad).
        actions: Targets of the agent, px.
    """
    space, agent = _build(state)
    velocities = agent_velocities(state[:2], actions).tolist()
    began = time.perf_counter()
    for velocity in velocities:
        agent.velocity = velocity
        space.step(SUB_STEP_S)
    return (time.perf_counter() - began) / len(actions)


def agent_velocities(
    position_px: Float[np.ndarray, "2"], actions: Float[np.ndarray, "steps 2"]
) -> Float[np.ndarray, "sub_steps 2"]:
    """Returns the velocities, px/s, that the controller gives an agent at rest; sub_steps = 10 steps."""
    position, velocity = position_px.copy(), np.zeros(2)
    velocities = np.zeros((len(actions) * SUB_STEPS, 2))
    for index in range(len(velocities)):
        pull = STIFFNESS_PER_S2 * (actions[index // SUB_STEPS] - position) - DAMPING_PER_S * velocity
        velocity = velocity + pull * SUB_STEP_S
        position += velocity * SUB_STEP_S
        velocities[index] = velocity
    return velocities


def _build(state: Float[np.ndarray, "5"]) -> tuple[pymunk.Space, pymunk.Body]:
    space = pymunk.Space()
    space.damping = 0
    ends = zip(WALL_CORNERS_PX, WALL_CORNERS_PX[1:] + WALL_CORNERS_PX[:1], strict=True)
    space.add(*(pymunk.Segment(space.static_body, a, b, WALL_RADIUS_PX) for a, b in ends))
    agent = pymunk.Body(body_type=pymunk.Body.KINEMATIC)
    agent.position = state[:2].tolist()
    bar, stem = (
        [(left, low), (right, low), (right, high), (left, high)] for left, low, right, high in (BAR_PX, STEM_PX)
    )
    block = pymunk.Body(1, 2 * pymunk.moment_for_poly(1, bar))
    shapes = [pymunk.Poly(block, corners) for corners in (bar, stem)]
    block.center_of_gravity = (shapes[0].center_of_gravity + shapes[1].center_of_gravity) / 2
    block.angle = float(state[4])
    block.position = state[2:4].tolist()
    space.add(agent, pymunk.Circle(agent, AGENT_RADIUS_PX), block, *shapes)
    return space, agent
