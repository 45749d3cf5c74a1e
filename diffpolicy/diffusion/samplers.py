"""From noise to data, by diffusers' schedulers, for any number of network evaluations.

A sampler takes any `model(x, t, cond)`. It asks the schedulers for exactly the levels it wants, because their defaults go
wrong in few steps: flow matching at 2 steps would spend one of them at the very end, and DDIM would start from a level
that is not noise.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from diffusers import DDIMScheduler, DDPMScheduler, FlowMatchEulerDiscreteScheduler
from jaxtyping import Float
from torch import Tensor

from diffpolicy.diffusion.ddpm import DDPM
from diffpolicy.diffusion.flow import Flow
from diffpolicy.errors import ConfigError

Model = Callable[[Tensor, Tensor, Tensor], Tensor]


@torch.no_grad()
def sample(
    model: Model,
    objective: DDPM | Flow,
    cond: Float[Tensor, "batch cond"],
    noise: Float[Tensor, "batch n horizon action"],
    *,
    sampler: str,
    steps: int,
    generator: torch.Generator | list[torch.Generator] | None = None,
    limit: float | None = 1.0,
) -> tuple[Float[Tensor, "batch n horizon action"], Float[Tensor, "frames batch n horizon action"]]:
    """Solve the reverse process from `noise` for `n` sequences per observation.

    Args:
        model: the network; called `steps` times on all batch * n sequences.
        objective: what the network was trained to say.
        cond: one encoded observation per row.
        noise: standard normal starting points.
        sampler: `euler` for a `Flow`; `ddpm` (ancestral, Ho et al. 2020, algorithm 2) or `ddim` (deterministic, Song et
            al. 2021, eq. 12) for a `DDPM`.
        steps: network evaluations; for a `DDPM` at most its number of levels.
        generator: the source of the noise that `ddpm` adds on the way; one, or one per row.
        limit: estimates of the data are held within [-limit, limit], the demonstrated range after normalization.

    Returns:
        The sequences, and the solver's states from the noise (first) to the sequences (last): steps + 1 frames.

    Raises:
        ConfigError: the number of steps is not possible, or the sampler does not solve this objective.
    """
    rows, n = noise.shape[:2]
    cond = cond.repeat_interleave(n, dim=0)

    def predict(x: Tensor, t: float) -> Tensor:
        flat = x.flatten(0, 1)
        times = torch.full((rows * n,), t, device=x.device, dtype=x.dtype)
        return model(flat, times, cond).to(x.dtype).view_as(x)

    if steps < 1:
        raise ConfigError(f"steps is {steps}; a sample takes at least one network evaluation")
    if isinstance(objective, Flow) and sampler == "euler":
        path = _euler(predict, objective, noise, steps, limit)
    elif isinstance(objective, DDPM) and sampler in ("ddpm", "ddim"):
        path = _levels(predict, objective, noise, steps, limit, sampler, generator)
    else:
        raise ConfigError(f"sampler {sampler!r} cannot solve {type(objective).__name__}; flow: euler; ddpm: ddpm, ddim")
    return path[-1], torch.stack(path)


def noise_levels(objective: DDPM | Flow, steps: int) -> Float[Tensor, " frames"]:
    """The standard deviation of the noise in each frame of a path: 1 in the first, 0 in the last."""
    if isinstance(objective, Flow):
        return torch.linspace(1, 0, steps + 1)
    remaining = (1 - objective.alphas_cumprod[_spaced_levels(objective.levels, steps)]).sqrt()
    return torch.cat([remaining.flip(0), torch.zeros(1)])


def _spaced_levels(levels: int, steps: int) -> Tensor:
    """Evenly spaced noise levels that begin at pure noise, whatever the number of steps ("trailing" spacing)."""
    return torch.linspace(levels / steps, levels, steps).round().long() - 1


def _euler(
    predict: Callable[[Tensor, float], Tensor], flow: Flow, noise: Tensor, steps: int, limit: float | None
) -> list[Tensor]:
    scheduler = FlowMatchEulerDiscreteScheduler()
    # Equal steps from 1; the scheduler's own spacing would end with a step of a thousandth.
    sigmas = torch.linspace(1, 1 / steps, steps)
    scheduler.set_timesteps(sigmas=sigmas.tolist(), device=noise.device)
    path = [noise]
    for time, sigma in zip(scheduler.timesteps, sigmas.tolist(), strict=True):
        x = path[-1]
        output = predict(x, sigma)
        if limit is not None:
            t = torch.full((len(x),), sigma, device=x.device)
            output = flow.output_of(x, t, flow.denoised(x, t, output).clamp(-limit, limit))
        path.append(scheduler.step(output, time, x).prev_sample)
    if limit is not None:  # the last step lands on the clamped estimate up to rounding
        path[-1] = path[-1].clamp(-limit, limit)
    return path


def _levels(
    predict: Callable[[Tensor, float], Tensor],
    ddpm: DDPM,
    noise: Tensor,
    steps: int,
    limit: float | None,
    sampler: str,
    generator: torch.Generator | list[torch.Generator] | None,
) -> list[Tensor]:
    if steps > ddpm.levels:
        raise ConfigError(f"steps is {steps}, but the policy was trained on {ddpm.levels} noise levels; ask for fewer")
    # The scheduler is made for just the levels we want (respacing, Nichol and Dhariwal 2021, section 4), since diffusers'
    # own arithmetic skips or repeats levels where steps does not divide their number.
    levels = _spaced_levels(ddpm.levels, steps)
    kind = {"ddpm": DDPMScheduler, "ddim": DDIMScheduler}[sampler]
    scheduler = kind(
        num_train_timesteps=steps,
        prediction_type={"v": "v_prediction"}.get(ddpm.config.prediction, ddpm.config.prediction),
        clip_sample=limit is not None,
        clip_sample_range=limit or 1.0,
    )
    scheduler.alphas_cumprod = ddpm.alphas_cumprod[levels].to(noise.dtype)
    scheduler.set_timesteps(steps)
    path = [noise]
    for index in reversed(range(steps)):
        x = path[-1]
        output = predict(x, (int(levels[index]) + 1) / ddpm.levels)
        path.append(scheduler.step(output, index, x, generator=generator).prev_sample)
    return path
