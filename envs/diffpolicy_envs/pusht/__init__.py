"""Push-T: push the T-shaped block onto its outline. The published benchmark as a Gymnasium environment.

This file only re-exports: the environment is in `env.py`, many worlds at once in `vector.py`, the shapes in `geometry.py`.
"""

from .env import PushTEnv
from .geometry import (
    AGENT_RADIUS_PX,
    BLOCK_AREA_PX2,
    BLOCK_CORNERS,
    GOAL_POSE,
    KEYPOINTS,
    SUCCESS_COVERAGE,
    WORKSPACE_PX,
    block_corners,
    block_keypoints,
    coverage,
    coverage_of_pose,
    mirror_action,
    mirror_pose,
    mirror_state,
    transform_points,
    wrap_angle,
)
from .observations import KEYPOINT_SETS, OBS_TYPES
from .perturb import PERTURB_TARGETS, Perturb, make_perturbed
from .physics import CONTROL_PERIOD_S, PhysicsState, PushTPhysics
from .render import draw_scene
from .scene import OVERLAYS
from .starts import PROTOCOLS, sample_start
from .vector import PushTVectorEnv
from .workers import WorkerError
from .world import PushTState

__all__ = [
    "AGENT_RADIUS_PX",
    "BLOCK_AREA_PX2",
    "BLOCK_CORNERS",
    "CONTROL_PERIOD_S",
    "GOAL_POSE",
    "KEYPOINTS",
    "KEYPOINT_SETS",
    "OBS_TYPES",
    "OVERLAYS",
    "PERTURB_TARGETS",
    "PROTOCOLS",
    "SUCCESS_COVERAGE",
    "WORKSPACE_PX",
    "Perturb",
    "PhysicsState",
    "PushTEnv",
    "PushTPhysics",
    "PushTState",
    "PushTVectorEnv",
    "WorkerError",
    "block_corners",
    "block_keypoints",
    "coverage",
    "coverage_of_pose",
    "draw_scene",
    "make_perturbed",
    "mirror_action",
    "mirror_pose",
    "mirror_state",
    "sample_start",
    "transform_points",
    "wrap_angle",
]
