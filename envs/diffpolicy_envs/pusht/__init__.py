"""Push-T: push the T-shaped block onto its outline. The published benchmark as a Gymnasium environment.

This file only re-exports: the environment is in `env.py`, the shapes and the mirror in `geometry.py`.
"""

from .env import OBS_TYPES, PushTEnv
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
from .physics import CONTROL_PERIOD_S, PushTPhysics
from .render import draw_scene
from .starts import PROTOCOLS, sample_start

__all__ = [
    "AGENT_RADIUS_PX",
    "BLOCK_AREA_PX2",
    "BLOCK_CORNERS",
    "CONTROL_PERIOD_S",
    "GOAL_POSE",
    "KEYPOINTS",
    "OBS_TYPES",
    "PROTOCOLS",
    "SUCCESS_COVERAGE",
    "WORKSPACE_PX",
    "PushTEnv",
    "PushTPhysics",
    "block_corners",
    "block_keypoints",
    "coverage",
    "coverage_of_pose",
    "draw_scene",
    "mirror_action",
    "mirror_pose",
    "mirror_state",
    "sample_start",
    "transform_points",
    "wrap_angle",
]
