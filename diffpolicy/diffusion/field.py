"""What a network says of the space between noise and data: the score there, and the velocity of the probability flow.

Samplers follow this field without ever naming it. It is asked here at any states, not only at those on the way.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from diffpolicy.diffusion.objective import Objective
from diffpolicy.diffusion.samplers import Model, conditioned


@torch.no_grad()
def score(
    model: Model,
    objective: Objective,
    cond: Float[Tensor, "batch cond"],
    x: Float[Tensor, "batch n horizon action"],
    t: float,
) -> Float[Tensor, "batch n horizon action"]:
    """The gradient of log p_t(x | y) at states x of noise time t: see `Objective.score`.

    Args:
        model: the network.
        objective: what it was trained to say.
        cond: one encoded observation per row.
        x: states, normalized.
        t: the time, above 0 (data) up to 1 (noise).

    Raises:
        ConfigError: the objective is not denoised.
    """
    return objective.score(_said(model, objective, cond, x, t), x, t)


@torch.no_grad()
def velocity(
    model: Model,
    objective: Objective,
    cond: Float[Tensor, "batch cond"],
    x: Float[Tensor, "batch n horizon action"],
    t: float,
    limit: float | None = 1.0,
) -> Float[Tensor, "batch n horizon action"]:
    """The velocity of the probability flow at states x of noise time t: see `Objective.velocity`.

    Args:
        model: the network.
        objective: what it was trained to say.
        cond: one encoded observation per row.
        x: states, normalized.
        t: the time, above 0 (data) up to 1 (noise).
        limit: estimates of the data are held within [-limit, limit], as `sample` holds them.

    Raises:
        ConfigError: the objective is not denoised.
    """
    return objective.velocity(_said(model, objective, cond, x, t), x, t, limit)


def _said(model: Model, objective: Objective, cond: Tensor, x: Tensor, t: float) -> Tensor:
    scale = objective.scale_seen(t)
    return conditioned(model, [t], cond, x)(x if scale == 1 else x * scale, 0)
