"""A plan as plain code makes it: diffusers' scheduler, and the network called with time and observation at every step.

It does the same job as `DiffusionPolicy.sample`, noise, features and units included, but for checking what it is given.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor

from diffpolicy.benchmarking.plain_network import in_plain_style
from diffpolicy.config import DDPMConfig
from diffpolicy.errors import ConfigError
from diffpolicy.policy import DiffusionPolicy


class PlainSampler:
    """A policy's plans by a plain loop.

    Args:
        policy: Its `sampler` is euler or ddim; it is copied.

    Raises:
        ConfigError: Its sampler is another.
    """

    def __init__(self, policy: DiffusionPolicy) -> None:
        self._policy = in_plain_style(copy.deepcopy(policy)).eval()
        self._loop = _loop(policy)

    @torch.no_grad()
    def sample(self, obs: Mapping[str, Tensor], n: int, *, steps: int, generator: torch.Generator) -> Tensor:
        """Plans (batch, n, pred_horizon, action) in the world's units, as `DiffusionPolicy.sample` draws them."""
        policy = self._policy
        cond = policy.encode(dict(obs)).repeat_interleave(n, dim=0)
        shape = (len(cond), policy.config.pred_horizon, policy.action_dim)
        noise = torch.randn(shape, generator=generator, device=generator.device).to(policy.device)

        def predict(x: Tensor, t: float) -> Tensor:
            return policy.backbone(x, torch.full((len(x),), t, device=x.device), cond)

        x = self._loop(predict, noise, steps)
        return policy.normalizer.unnormalize("action", x).unflatten(0, (-1, n))


_Predict = Callable[[Tensor, float], Tensor]
_Loop = Callable[[_Predict, Tensor, int], Tensor]


def _loop(policy: DiffusionPolicy) -> _Loop:
    objective = policy.config.objective
    if policy.config.sampler == "euler":
        flow = FlowMatchEulerDiscreteScheduler()
        return lambda predict, noise, steps: _euler(flow, predict, noise, steps)
    if policy.config.sampler == "ddim" and isinstance(objective, DDPMConfig):
        ddim = DDIMScheduler(
            objective.train_timesteps,
            beta_schedule=objective.beta_schedule,
            prediction_type={"v": "v_prediction"}.get(objective.prediction, objective.prediction),
            timestep_spacing="trailing",
        )
        return lambda predict, noise, steps: _ddim(ddim, predict, noise, steps)
    raise ConfigError(f"sampler {policy.config.sampler!r}: no plain loop to compare with, only for euler and ddim")


def _euler(scheduler: FlowMatchEulerDiscreteScheduler, predict: _Predict, x: Tensor, steps: int) -> Tensor:
    # Left to itself, the scheduler would take other levels than ours, and its last step would be nearly nothing.
    sigmas = torch.linspace(1, 1 / steps, steps).tolist()
    scheduler.set_timesteps(sigmas=sigmas, device=x.device)
    for time, sigma in zip(scheduler.timesteps, sigmas, strict=True):
        output = predict(x, sigma)
        data = (x - sigma * output).clamp(-1, 1)
        x = scheduler.step((x - data) / sigma, time, x).prev_sample
    return x


def _ddim(scheduler: DDIMScheduler, predict: _Predict, x: Tensor, steps: int) -> Tensor:
    scheduler.set_timesteps(steps, device=x.device)
    for time in scheduler.timesteps:
        output = predict(x, (int(time) + 1) / scheduler.config.num_train_timesteps)
        x = scheduler.step(output, time, x).prev_sample
    return x
