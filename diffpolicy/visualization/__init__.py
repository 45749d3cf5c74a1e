"""Pictures of what the policy does, from plain arrays: no policy, no environment and no torch is needed here."""

from diffpolicy.visualization.along_episode import along_episode_picture
from diffpolicy.visualization.closed_loop import closed_loop_frames
from diffpolicy.visualization.comparison import Case, comparison_picture
from diffpolicy.visualization.denoising import denoising_frames, denoising_strip
from diffpolicy.visualization.distribution import distribution_picture
from diffpolicy.visualization.episodes import episodes_picture
from diffpolicy.visualization.field import field_frames, field_picture
from diffpolicy.visualization.field_level import FieldLevel
from diffpolicy.visualization.plans import plan_picture
from diffpolicy.visualization.rollout import rollout_frames
from diffpolicy.visualization.video import write_picture, write_video

__all__ = [
    "Case",
    "FieldLevel",
    "along_episode_picture",
    "closed_loop_frames",
    "comparison_picture",
    "denoising_frames",
    "denoising_strip",
    "distribution_picture",
    "episodes_picture",
    "field_frames",
    "field_picture",
    "plan_picture",
    "rollout_frames",
    "write_picture",
    "write_video",
]
