"""Objectives (how data becomes noise and what the network learns of it) and samplers (the way back).

An objective is small: `times`, `corrupt`, `target`, `denoised`, and `implied`, which is the same as weights. Time runs from
0 (data) to 1 (noise) for all of them, so that networks, pictures and tests treat them alike. The schedules themselves are
diffusers'.
"""

from __future__ import annotations

from diffpolicy.config import DDPMConfig, FlowConfig
from diffpolicy.diffusion.ddpm import DDPM
from diffpolicy.diffusion.flow import Flow
from diffpolicy.diffusion.noise import Generators, standard_normal
from diffpolicy.diffusion.samplers import noise_levels, sample, sampler_steps

__all__ = [
    "DDPM",
    "Flow",
    "Generators",
    "build_objective",
    "noise_levels",
    "sample",
    "sampler_steps",
    "standard_normal",
]


def build_objective(config: DDPMConfig | FlowConfig) -> DDPM | Flow:
    """The one place that knows which config belongs to which objective."""
    return DDPM(config) if isinstance(config, DDPMConfig) else Flow(config)
