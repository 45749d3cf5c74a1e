"""From noise to data in any number of network evaluations.

Every sampler here is a table: a step takes weighted sums of the state, the network's output, the data it implies, the
data that the step before implied, and fresh noise. The weights follow from the objective's schedule alone and are
computed once. The levels are exactly the ones asked for; diffusers' own spacing goes wrong in few steps (flow matching at
2 would spend one of them at the very end, and DDIM would start from a level that is not noise), while its arithmetic is
ours (a test compares the two).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from diffpolicy.config_objectives import SAMPLERS
from diffpolicy.diffusion.ddpm import DDPM
from diffpolicy.diffusion.noise import Generators, standard_normal
from diffpolicy.diffusion.objective import Objective
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

    The network sees scale_seen x. x_0 = (data_x x + data_output output) / data_over, held within the limit; then
    x = next_x x + next_data x_0 + next_previous (x_0 of the step before) + next_output output + next_noise noise.
    """

    t: float
    implied: Weights
    """data_x, data_output and data_over."""
    next_x: float
    next_data: float
    next_output: float = 0.0
    next_noise: float = 0.0
    next_previous: float = 0.0
    scale_seen: float = 1.0
    trial: bool = False
    """Whether the next state is only where the following evaluation looks, to mend it: no frame of the path."""


@torch.no_grad()
def sample(
    model: Model,
    objective: Objective,
    cond: Float[Tensor, "batch cond"],
    noise: Float[Tensor, "batch n horizon action"],
    *,
    sampler: str,
    steps: int,
    start: float = 1.0,
    generator: Generators = None,
    limit: float | None = 1.0,
) -> tuple[Float[Tensor, "batch n horizon action"], Float[Tensor, "frames batch n horizon action"]]:
    """Solve the reverse process from `noise` for `n` sequences per observation.

    Args:
        model: the network; called at most `steps` times on all batch * n sequences. Of one that is `Conditioned`, what does
            not depend on x is computed for all steps at once, and once per observation.
        objective: what the network was trained to say.
        cond: one encoded observation per row.
        noise: standard normal starting points; where the way starts later, states of that time.
        sampler: see `config_objectives.Sampler`.
        steps: network evaluations allowed; for a `DDPM` at most its number of levels.
        start: the time that the way starts from, above 0 (data) up to 1 (noise).
        generator: the source of the noise that `ddpm` adds on the way; one, or one per row.
        limit: estimates of the data are held within [-limit, limit], the demonstrated range after normalization.

    Returns:
        The sequences, and the solver's states from the noise (first) to the sequences (last).

    Raises:
        ConfigError: the number of steps is not possible, or the sampler does not solve this objective.
    """
    table = sampler_steps(objective, sampler, steps, start, noise.dtype)
    predict = conditioned(model, [step.t for step in table], cond, noise)
    # Buffers for all states and for the implied data: nothing else of a step's own arithmetic is allocated.
    path = noise.new_empty((len(table) + 1, *noise.shape))
    path[0].copy_(noise)
    data, previous = torch.empty_like(noise), torch.empty_like(noise)
    for index, step in enumerate(table):
        x, following = path[index], path[index + 1]
        output = objective.decode(predict(x if step.scale_seen == 1 else x * step.scale_seen, index), x)
        data_x, data_output, data_over = step.implied
        data, previous = previous, data
        # Two roundings, then the division: near pure noise it magnifies what the difference of the two has lost.
        torch.mul(output, data_output, out=data).add_(x if data_x == 1 else x * data_x)
        if data_over != 1:
            data.div_(data_over)
        if limit is not None:
            data.clamp_(-limit, limit)
        torch.mul(data, step.next_data, out=following)
        if step.next_x:
            following.add_(x, alpha=step.next_x)
        if step.next_previous:
            following.add_(previous, alpha=step.next_previous)
        if step.next_output:
            following.add_(output, alpha=step.next_output)
        if step.next_noise:
            fresh = standard_normal(tuple(x.shape), generator, x.device, x.dtype)
            following.add_(fresh, alpha=step.next_noise)
    if any(step.trial for step in table):
        path = path[[0, *(index + 1 for index, step in enumerate(table) if not step.trial)]]
    return path[-1], path


def noise_levels(objective: Objective, sampler: str, steps: int, start: float = 1.0) -> Float[Tensor, " frames"]:
    """The standard deviation of the noise in each frame of a path: that of the start first (1 at time 1), 0 last."""
    times = look_times(objective, sampler, steps, start)
    # What is not denoised looks at its own plan a second time, without noise.
    levels = [objective.noise_level(t) if sampler != "direct" or t == 1 else 0.0 for t in times]
    return torch.tensor([*levels, 0.0])


@lru_cache(maxsize=64)
def sampler_steps(
    objective: Objective, sampler: str, steps: int, start: float = 1.0, dtype: torch.dtype = torch.float32
) -> tuple[Step, ...]:
    """The table of a sampler, the noisiest step first, with the schedule's rates as they are in this type.

    Raises:
        ConfigError: the number of steps is not possible, or the sampler does not solve this objective.
    """
    times = look_times(objective, sampler, steps, start)
    if isinstance(objective, DDPM) and sampler in ("ddpm", "ddim"):
        return (_ancestral if sampler == "ddpm" else _ddim)(objective, times, dtype)
    return {"euler": _euler, "heun": _heun, "dpmpp_2m": _dpmpp_2m, "direct": _direct}[sampler](objective, times, dtype)


def look_times(objective: Objective, sampler: str, steps: int, start: float = 1.0) -> tuple[float, ...]:
    """The times of the frames of a path but the last, which holds no noise; from how many evaluations are allowed.

    Raises:
        ConfigError: steps or start are not possible, or the sampler does not solve this objective.
    """
    if not 0 < start <= 1:
        raise ConfigError(f"start is {start}; a way to the data starts at a time above 0, at most at 1, which is noise")
    if steps < 1:
        raise ConfigError(f"steps is {steps}; a sample takes at least one network evaluation")
    if sampler not in SAMPLERS[objective.name]:
        fits = ", ".join(SAMPLERS[objective.name])
        raise ConfigError(f"sampler {sampler!r} cannot solve {objective.name!r}; it is solved by {fits}")
    # The last interval of `heun`, which ends at the data, takes one evaluation; all others take two.
    return objective.schedule((steps + 1) // 2 if sampler == "heun" else steps, start)


@dataclass(frozen=True)
class _Interval:
    """From one time to the next along the line through the state and the data it implies (see `Objective.line`)."""

    t: float
    ratio: float
    """Of the coordinates at its end and its start; 0 where it ends at the data."""
    scale: float
    """Of the state at its end."""
    next_x: float
    implied: Weights
    scale_seen: float

    def step(self, data: float, previous: float = 0.0, *, trial: bool = False) -> Step:
        """With these shares of the data and of the data before."""
        weights = {"next_data": data / self.scale, "next_previous": previous / self.scale}
        return Step(self.t, self.implied, self.next_x, **weights, scale_seen=self.scale_seen, trial=trial)


def _intervals(objective: Objective, times: tuple[float, ...], dtype: torch.dtype) -> list[_Interval]:
    lines = [*(objective.line(t) for t in times), (0.0, 1.0)]
    return [
        _Interval(
            t,
            end / start,
            end_scale,
            end / start * scale / end_scale,
            objective.implied(t, dtype),
            objective.scale_seen(t),
        )
        for t, (start, scale), (end, end_scale) in zip(times, lines[:-1], lines[1:], strict=True)
    ]


def _euler(objective: Objective, times: tuple[float, ...], dtype: torch.dtype) -> tuple[Step, ...]:
    """Straight on, at the slope that the data imply."""
    return tuple(each.step(1 - each.ratio) for each in _intervals(objective, times, dtype))


def _heun(objective: Objective, times: tuple[float, ...], dtype: torch.dtype) -> tuple[Step, ...]:
    """Straight on, then mended by the mean of the slopes at both ends (Karras et al. 2022, algorithm 1).

    With y the state on its line, r the interval's ratio, D the data implied at its start and D' at its end, the mended
    end is y' = r y + (1 - r) D + (1 - r) / (2 r) (D' - D): it needs of the start no more than D.
    """
    intervals, steps = _intervals(objective, times, dtype), []
    for each, after in pairwise(intervals):
        steps.append(each.step(1 - each.ratio, trial=True))
        half = (1 - each.ratio) / (2 * each.ratio) / each.scale
        steps.append(Step(after.t, after.implied, 1.0, half, next_previous=-half, scale_seen=after.scale_seen))
    return (*steps, intervals[-1].step(1.0))


def _dpmpp_2m(objective: Objective, times: tuple[float, ...], dtype: torch.dtype) -> tuple[Step, ...]:
    """The data as a linear function of the coordinate's logarithm, through this estimate and the last (Lu et al. 2022,
    algorithm 2). The first interval has no last estimate, and the one that ends at the data no logarithm: they are
    Euler's.
    """
    steps: list[Step] = []
    before: float | None = None
    for each in _intervals(objective, times, dtype):
        length = -math.log(each.ratio) if each.ratio else None
        ahead = length / (2 * before) if length and before else 0.0
        whole = 1 - each.ratio
        steps.append(each.step(whole * (1 + ahead), -whole * ahead))
        before = length
    return tuple(steps)


def _direct(objective: Objective, times: tuple[float, ...], dtype: torch.dtype) -> tuple[Step, ...]:
    """What the network says is the plan; a second look sees it as the mean of plans with that look's share of noise."""
    following = [*(1 - t for t in times[1:]), 1.0]
    return tuple(
        Step(t, objective.implied(t, dtype), 0.0, share, scale_seen=objective.scale_seen(t))
        for t, share in zip(times, following, strict=True)
    )


def _ddim(ddpm: DDPM, times: tuple[float, ...], dtype: torch.dtype) -> tuple[Step, ...]:
    """Song et al. 2021, eq. 12 without noise. The noise is the one that the output names, whatever the limit does to x_0."""
    steps = []
    for t, until in pairwise((*times, 0.0)):
        signal, sigma = ddpm.rates(t, dtype)
        x, output, over = ddpm.implied(t, dtype)
        kept = ddpm.kept(until)
        to_noise = math.sqrt(1 - kept) / sigma
        next_x, next_output = to_noise * (1 - signal * x / over), -to_noise * signal * output / over
        steps.append(Step(t, (x, output, over), next_x, math.sqrt(kept), next_output))
    return tuple(steps)


def _ancestral(ddpm: DDPM, times: tuple[float, ...], dtype: torch.dtype) -> tuple[Step, ...]:
    """Ho et al. 2020, eq. 6 and 7: a draw from the posterior of the next state given this one and the data.

    Respacing (Nichol and Dhariwal 2021, section 4): as if there were only the levels we want.
    """
    steps = []
    for t, until in pairwise((*times, 0.0)):
        kept, kept_next = ddpm.kept(t), ddpm.kept(until)
        alpha = kept / kept_next
        data = math.sqrt(kept_next) * (1 - alpha) / (1 - kept)
        x = math.sqrt(alpha) * (1 - kept_next) / (1 - kept)
        variance = (1 - kept_next) / (1 - kept) * (1 - alpha)
        steps.append(Step(t, ddpm.implied(t, dtype), x, data, next_noise=math.sqrt(variance)))
    return tuple(steps)


def conditioned(model: Model, times: list[float], cond: Tensor, noise: Tensor) -> Callable[[Tensor, int], Tensor]:
    """The network at the k-th of the times, for x of the shape of `noise` (batch, n, horizon, action)."""
    t = torch.tensor(times, dtype=noise.dtype, device=noise.device)
    rows, n = noise.shape[:2]
    if isinstance(model, Conditioned):
        contexts = model.condition(t[:, None], cond)[:, :, None]  # (steps, batch, 1, context)
        return lambda x, k: model.denoise(x, contexts[k]).to(x.dtype)
    repeated = cond.repeat_interleave(n, dim=0)
    return lambda x, k: model(x.flatten(0, 1), t[k].expand(rows * n), repeated).to(x.dtype).unflatten(0, (rows, n))
