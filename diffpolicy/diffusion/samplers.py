"""From noise to data in any number of network evaluations.

Every sampler here is a table: a step takes weighted sums of the state, the network's output, the data it implies, and fresh
noise. The weights follow from the objective's schedule alone and are computed once. The levels are exactly the ones asked
for; diffusers' own spacing goes wrong in few steps (flow matching at 2 would spend one of them at the very end, and DDIM
would start from a level that is not noise), while its arithmetic is ours (a test compares the two).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from diffpolicy.diffusion.ddpm import DDPM
from diffpolicy.diffusion.flow import Flow
from diffpolicy.diffusion.noise import Generators, standard_normal
from diffpolicy.errors import ConfigError

Model = Callable[[Tensor, Tensor, Tensor], Tensor]
Weights = tuple[float, float, float]


@runtime_checkable
class Conditioned(Protocol):
    """A model(x, t, cond) that is denoise(x, condition(t, cond)): what does not depend on x can be computed ahead."""

    def condition(self, t: Tensor, cond: Tensor) -> Tensor: ...

    def denoise(self, x: Tensor, context: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Step:
    """One network evaluation at time t, and the way from there to the next state.

    x_0 = (data_x x + data_output output) / data_over, held within the limit; then
    x = next_x x + next_data x_0 + next_output output + next_noise noise.
    """

    t: float
    implied: Weights
    """data_x, data_output and data_over."""
    next_x: float
    next_data: float
    next_output: float = 0.0
    next_noise: float = 0.0


@torch.no_grad()
def sample(
    model: Model,
    objective: DDPM | Flow,
    cond: Float[Tensor, "batch cond"],
    noise: Float[Tensor, "batch n horizon action"],
    *,
    sampler: str,
    steps: int,
    generator: Generators = None,
    limit: float | None = 1.0,
) -> tuple[Float[Tensor, "batch n horizon action"], Float[Tensor, "frames batch n horizon action"]]:
    """Solve the reverse process from `noise` for `n` sequences per observation.

    Args:
        model: the network; called `steps` times on all batch * n sequences. Of one that is `Conditioned`, what does not
            depend on x is computed for all steps at once, and once per observation.
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
    table = sampler_steps(objective, sampler, steps, noise.dtype)
    predict = _conditioned(model, [step.t for step in table], cond, noise)
    # Buffers for all states and for the implied data: nothing else of a step's own arithmetic is allocated.
    path = noise.new_empty((len(table) + 1, *noise.shape))
    path[0].copy_(noise)
    data = torch.empty_like(noise)
    for index, step in enumerate(table):
        x, following = path[index], path[index + 1]
        output = predict(x, index)
        data_x, data_output, data_over = step.implied
        # Two roundings, then the division: near pure noise it magnifies what the difference of the two has lost.
        torch.mul(output, data_output, out=data).add_(x if data_x == 1 else x * data_x)
        if data_over != 1:
            data.div_(data_over)
        if limit is not None:
            data.clamp_(-limit, limit)
        torch.mul(data, step.next_data, out=following)
        if step.next_x:
            following.add_(x, alpha=step.next_x)
        if step.next_output:
            following.add_(output, alpha=step.next_output)
        if step.next_noise:
            fresh = standard_normal(tuple(x.shape), generator, x.device, x.dtype)
            following.add_(fresh, alpha=step.next_noise)
    return path[-1], path


def noise_levels(objective: DDPM | Flow, steps: int) -> Float[Tensor, " frames"]:
    """The standard deviation of the noise in each frame of a path: 1 in the first, 0 in the last."""
    if isinstance(objective, Flow):
        return torch.linspace(1, 0, steps + 1)
    remaining = (1 - objective.alphas_cumprod[_spaced_levels(objective.levels, steps)]).sqrt()
    return torch.cat([remaining.flip(0), torch.zeros(1)])


@lru_cache(maxsize=64)
def sampler_steps(
    objective: DDPM | Flow, sampler: str, steps: int, dtype: torch.dtype = torch.float32
) -> tuple[Step, ...]:
    """The table of a sampler, the noisiest step first, with the schedule's rates as they are in this type.

    Raises:
        ConfigError: the number of steps is not possible, or the sampler does not solve this objective.
    """
    if steps < 1:
        raise ConfigError(f"steps is {steps}; a sample takes at least one network evaluation")
    if isinstance(objective, Flow) and sampler == "euler":
        return tuple(_euler(objective, dtype, k / steps, (k - 1) / steps) for k in range(steps, 0, -1))
    if isinstance(objective, DDPM) and sampler in ("ddpm", "ddim"):
        if steps > objective.levels:
            raise ConfigError(
                f"steps is {steps}, but the policy was trained on {objective.levels} noise levels; ask for fewer"
            )
        step = {"ddpm": _ancestral, "ddim": _ddim}[sampler]
        # Respacing (Nichol and Dhariwal 2021, section 4): as if there were only the levels we want.
        levels = _spaced_levels(objective.levels, steps).tolist()
        kept = objective.alphas_cumprod.double()[levels].tolist()
        times = [(level + 1) / objective.levels for level in levels]
        following = [1.0, *kept[:-1]]
        table = [step(objective, dtype, t, a, b) for t, a, b in zip(times, kept, following, strict=True)]
        return tuple(reversed(table))
    raise ConfigError(f"sampler {sampler!r} cannot solve {type(objective).__name__}; flow: euler; ddpm: ddpm, ddim")


def _euler(flow: Flow, dtype: torch.dtype, t: float, until: float) -> Step:
    """Along the line through the state and the data it implies, whose slope is the velocity."""
    return Step(t, flow.implied(t, dtype), next_x=until / t, next_data=1 - until / t)


def _ddim(ddpm: DDPM, dtype: torch.dtype, t: float, kept: float, kept_next: float) -> Step:
    """Song et al. 2021, eq. 12 without noise. The noise is the one that the output names, whatever the limit does to x_0."""
    signal, sigma = ddpm.rates(t, dtype)
    x, output, over = ddpm.implied(t, dtype)
    to_noise = math.sqrt(1 - kept_next) / sigma
    next_x, next_output = to_noise * (1 - signal * x / over), -to_noise * signal * output / over
    return Step(t, (x, output, over), next_x, math.sqrt(kept_next), next_output)


def _ancestral(ddpm: DDPM, dtype: torch.dtype, t: float, kept: float, kept_next: float) -> Step:
    """Ho et al. 2020, eq. 6 and 7: a draw from the posterior of the next state given this one and the data."""
    alpha = kept / kept_next
    data = math.sqrt(kept_next) * (1 - alpha) / (1 - kept)
    x = math.sqrt(alpha) * (1 - kept_next) / (1 - kept)
    variance = (1 - kept_next) / (1 - kept) * (1 - alpha)
    return Step(t, ddpm.implied(t, dtype), x, data, next_noise=math.sqrt(variance))


def _spaced_levels(levels: int, steps: int) -> Tensor:
    """Evenly spaced noise levels that begin at pure noise, whatever the number of steps ("trailing" spacing)."""
    return torch.linspace(levels / steps, levels, steps).round().long() - 1


def _conditioned(model: Model, times: list[float], cond: Tensor, noise: Tensor) -> Callable[[Tensor, int], Tensor]:
    """The network at the k-th of the times, for x of the shape of `noise`."""
    t = torch.tensor(times, dtype=noise.dtype, device=noise.device)
    rows, n = noise.shape[:2]
    if isinstance(model, Conditioned):
        contexts = model.condition(t[:, None], cond)[:, :, None]  # (steps, batch, 1, context)
        return lambda x, k: model.denoise(x, contexts[k]).to(x.dtype)
    repeated = cond.repeat_interleave(n, dim=0)
    return lambda x, k: model(x.flatten(0, 1), t[k].expand(rows * n), repeated).to(x.dtype).view_as(x)
