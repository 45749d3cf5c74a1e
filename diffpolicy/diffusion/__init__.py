"""Objectives (how data becomes noise and what the network learns of it) and samplers (the way back).

An objective is small: see `Objective`. Time runs from 0 (data) to 1 (noise) for all of them, so that networks, pictures
and tests treat them alike. The schedule of `ddpm` is diffusers'.
"""

from __future__ import annotations

from diffpolicy.config import DDPMConfig, EDMConfig, FlowConfig, MixtureConfig, RegressionConfig
from diffpolicy.diffusion.ddpm import DDPM
from diffpolicy.diffusion.direct import Mixture, Regression
from diffpolicy.diffusion.edm import EDM
from diffpolicy.diffusion.flow import Flow
from diffpolicy.diffusion.noise import Generators, standard_normal
from diffpolicy.diffusion.objective import Objective
from diffpolicy.diffusion.samplers import look_times, noise_levels, sample, sampler_steps

__all__ = [
    "DDPM",
    "EDM",
    "Flow",
    "Generators",
    "Mixture",
    "Objective",
    "Regression",
    "build_objective",
    "look_times",
    "noise_levels",
    "sample",
    "sampler_steps",
    "standard_normal",
]


def build_objective(config: FlowConfig | DDPMConfig | EDMConfig | RegressionConfig | MixtureConfig) -> Objective:
    """The one place that knows which config belongs to which objective."""
    factories = {
        FlowConfig: Flow,
        DDPMConfig: DDPM,
        EDMConfig: EDM,
        RegressionConfig: Regression,
        MixtureConfig: Mixture,
    }
    return factories[type(config)](config)
