"""The film of an episode, from what its world showed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gymnasium as gym
import numpy as np

WIDTH_PX = 640


def write_film(
    path: Path, scenes: Sequence[np.ndarray], coverages: Sequence[float], env: gym.Env, width_px: int
) -> None:
    """Write the scenes of an episode as MP4, with the score below where the world reports coverage.

    Raises:
        OSError: the file cannot be written there.
    """
    # Here, because drawing takes a second to import, which every worker would spend and hardly any needs.
    from diffpolicy.visualization.rollout import rollout_frames
    from diffpolicy.visualization.video import write_video

    fps = env.metadata.get("render_fps", 10)
    scored = len(coverages) == len(scenes)
    frames = rollout_frames(scenes, np.array(coverages), period_s=1 / fps, width_px=width_px) if scored else scenes
    write_video(path, frames, fps=fps)
