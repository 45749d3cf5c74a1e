"""Pictures of what the policy does, from plain arrays: no policy, no environment and no torch is needed here."""

from diffpolicy.visualization.denoising import denoising_frames, denoising_strip
from diffpolicy.visualization.plans import plan_picture
from diffpolicy.visualization.rollout import rollout_frames
from diffpolicy.visualization.video import write_picture, write_video

__all__ = [
    "denoising_frames",
    "denoising_strip",
    "plan_picture",
    "rollout_frames",
    "write_picture",
    "write_video",
]
