"""The field that a policy's plans follow out of the noise, in the world's units: the score, and the flow's velocity.

A plan lives in as many dimensions as it has numbers, a picture in two. `marginal` is what of the field can be drawn: the
field of one action over the plane, all other actions averaged over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from diffpolicy.diffusion import field
from diffpolicy.errors import ConfigError
from diffpolicy.policy import DiffusionPolicy

_POINTS_AT_ONCE = 2048

Observed = Mapping[str, Tensor | np.ndarray]
#: `score` or `velocity`.
PlanField = Callable[[DiffusionPolicy, Observed, Tensor, float], Tensor]


def score(
    policy: DiffusionPolicy, obs: Observed, x: Float[Tensor, "batch n horizon action"], t: float
) -> Float[Tensor, "batch n horizon action"]:
    """The gradient of log p_t(x | y), the density of plans with the noise of time t, at plans x.

    In normalized units u = (x - center) / half, where the network lives, it is that of `Objective.score`; by the chain rule
    the gradient by x is the one by u over half.

    Args:
        policy: whose.
        obs: y, (batch, obs_horizon, *shape) by key, in the world's units; arrays or tensors.
        x: plans with noise, in the world's units, such as the frames of a path of `policy.sample`.
        t: the time, above 0 (data) up to 1 (noise): that of a frame is in `diffusion.look_times`, and the noise in it is
            `policy.objective.noise_level(t)`, in half ranges.

    Returns:
        The score, in one over the world's units; 0 for a number that never varied, which no noise moves.

    Raises:
        ConfigError: the policy is not denoised, t is out of range, or the plans are not for these observations.
        ObservationError: an observation does not fit the policy.
    """
    half = policy.normalizer.get_buffer("action_half_range")
    found = _ask(field.score, policy, obs, x, t)
    return torch.where(half > 0, found / torch.where(half > 0, half, 1.0), 0.0)


def velocity(
    policy: DiffusionPolicy,
    obs: Observed,
    x: Float[Tensor, "batch n horizon action"],
    t: float,
    limit: float | None = 1.0,
) -> Float[Tensor, "batch n horizon action"]:
    """dx/ds at plans x: how they move with the noise along the probability flow, s from 0 (data) to 1 (noise).

    Denoising goes the other way: a plan that kept this velocity would move by minus it on the way from noise to data.

    Args:
        policy: whose.
        obs: y, (batch, obs_horizon, *shape) by key, in the world's units; arrays or tensors.
        x: plans with noise, in the world's units.
        t: the time, above 0 (data) up to 1 (noise); see `score`.
        limit: estimates of the data are held within this many half ranges, as in `policy.sample`; None: they are not.

    Returns:
        The velocity of `Objective.velocity`, in the world's units per unit of s.

    Raises:
        ConfigError: the policy is not denoised, t is out of range, or the plans are not for these observations.
        ObservationError: an observation does not fit the policy.
    """
    half = policy.normalizer.get_buffer("action_half_range")
    return half * _ask(field.velocity, policy, obs, x, t, limit)


def marginal(
    of: PlanField,
    policy: DiffusionPolicy,
    obs: Observed,
    states: Float[Tensor, "n horizon action"],
    points: Float[Tensor, "points action"],
    action: int,
    t: float,
    *,
    near: int = 16,
) -> Float[Tensor, "points action"]:
    """The field of one action alone, x_k, over the plane that it lies in.

    With the other actions averaged over, the score of a plan is the score of one action of it,

        grad_{x_k} log p_t(x_k | y) = E[ grad_{x_k} log p_t(x | y) | x_k ],

    and so is the velocity that carries p_t(x_k | y) along. For each point p the mean is taken over the `near` states whose
    action k lies nearest, with x_k put to p; the nearest weigh most (Epanechnikov's kernel, as wide as the distance to the
    next state after them). Exact for plans of one action. Of longer ones it is a mean over so many draws, and beyond the
    outermost states, where plans are bent to reach p, it is steeper than the density.

    Args:
        of: `score` or `velocity`.
        policy: whose.
        obs: y, one observation: (1, obs_horizon, *shape) by key.
        states: samples of p_t(x | y), in the world's units: a frame of a path of `policy.sample`, for the flow carries the
            density along, as exactly as its number of steps lets it.
        points: where to ask, in the world's units.
        action: k, which action of the plan.
        t: the time of that frame.
        near: states that the mean is taken over, at most all; the network sees `near` rows for each point.

    Raises:
        ConfigError: the policy is not denoised, or t, the action or the number of states is out of range.
        ObservationError: an observation does not fit the policy.
    """
    if not 0 <= action < policy.config.pred_horizon:
        raise ConfigError(
            f"action is {action}; a plan of this policy has actions 0 to {policy.config.pred_horizon - 1}"
        )
    if near < 1 or len(states) < near:
        raise ConfigError(f"near is {near}, of {len(states)} states; at least 1 is needed, and no more than there are")
    states, points = states.to(policy.device), points.to(policy.device, states.dtype)
    square = (points[:, None] - states[:, action]).square().sum(dim=-1)
    found = square.topk(min(near + 1, len(states)), largest=False)
    reach = found.values[:, -1:] * (1 + 1e-6) + 1e-12
    weight = (1 - found.values[:, :near] / reach).clamp(min=1e-6)
    plans = states[found.indices[:, :near]]
    plans[:, :, action] = points[:, None]
    said = of(policy, obs, plans.flatten(0, 1)[None], t)[0, :, action].unflatten(0, (len(points), near))
    return (weight[..., None] * said).sum(dim=1) / weight.sum(dim=1, keepdim=True)


def log_density(
    policy: DiffusionPolicy,
    plans: Float[Tensor, "n horizon action"],
    points: Float[Tensor, "points action"],
    action: int,
    t: float,
) -> Float[Tensor, " points"]:
    """log p_t(x_k | y) of one action, in the world's units, as samples of p(x | y) tell it without the network.

    x_t = signal x_0 + sigma noise makes of n plans a mixture of n normal distributions, 1/n sum N(x_k; signal x_0,
    sigma^2) in normalized units. Its gradient is what `marginal` of `score` must be.

    Args:
        policy: whose plans.
        plans: samples of p(x | y), in the world's units.
        points: where to ask, in the world's units.
        action: which action of the plans.
        t: the time, above 0 (data) up to 1 (noise).
    """
    half = policy.normalizer.get_buffer("action_half_range").cpu().double()
    varied = half > 0
    signal, sigma = policy.objective.rates(t, torch.float64)
    data, asked = (
        # Not every device has double precision.
        policy.normalizer.normalize("action", part.to(policy.device)).cpu().double()[:, varied]
        for part in (plans[:, action], points)
    )
    normal = torch.distributions.Normal(signal * data, sigma)
    # A part of the points at a time: of all, with all plans, there may be too many pairs to hold.
    logs = [normal.log_prob(part[:, None]).sum(dim=-1).logsumexp(dim=-1) for part in asked.split(_POINTS_AT_ONCE)]
    return torch.cat(logs) - np.log(len(plans)) - half[varied].log().sum()


@torch.no_grad()
def _ask(of: Callable[..., Tensor], policy: DiffusionPolicy, obs: Observed, x: Tensor, t: float, *more: Any) -> Tensor:
    """What the network says of plans, in normalized units; without dropout and in single precision, as of a sample."""
    observation = policy.checked(obs)
    rows, plan = len(next(iter(observation.values()))), (policy.config.pred_horizon, policy.action_dim)
    if x.ndim != 4 or len(x) != rows or tuple(x.shape[2:]) != plan:
        raise ConfigError(
            f"x has shape {tuple(x.shape)}; expected ({rows}, n, {plan[0]}, {plan[1]}), plans of this policy"
        )
    if not (0 <= t <= 1 and policy.objective.noise_level(t) > 0):
        raise ConfigError(
            f"t is {t}; it lies between data without noise, 0, where there is no field, and pure noise, 1"
        )
    with policy.in_use():
        noisy = policy.normalizer.normalize("action", x.to(policy.device))
        return of(policy.backbone, policy.objective, policy.encode(observation), noisy, t, *more)
