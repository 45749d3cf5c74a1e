"""Heun's sampler is algorithm 1 of Karras et al. 2022; DPM-Solver++(2M) is diffusers' own, step by step."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, EDMDPMSolverMultistepScheduler
from torch import Tensor

from diffpolicy.diffusion import Objective, sample

Build = Callable[..., Objective]
Cond = Callable[[int], Tensor]
Denoiser = Callable[[Tensor, float], Tensor]

SIGMA_DATA = 0.5


def network(x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
    """Some network that is not linear: what it says is no matter, only that both loops ask the same one."""
    return torch.sin(0.8 * x + 2 * t[:, None, None]) + 0.3 * cond[:, :1, None]


def start(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Noise of five rows and what conditions them."""
    g = torch.Generator().manual_seed(1)
    return torch.randn(5, 1, 6, 2, generator=g, dtype=dtype), torch.randn(5, 3, generator=g, dtype=dtype)


def algorithm_1(denoise: Denoiser, y: Tensor, sigmas: list[float]) -> list[Tensor]:
    """As printed, without its churn, in y = x_0 + sigma noise; `sigmas` end in 0. All states, the first included."""
    states = [y]
    for now, following in pairwise(sigmas):
        y = states[-1]
        slope = (y - denoise(y, now)) / now
        ahead = y + (following - now) * slope
        if following:
            slope_there = (ahead - denoise(ahead, following)) / following
            ahead = y + (following - now) * (slope / 2 + slope_there / 2)
        states.append(ahead)
    return states


def karras_denoiser(edm: Objective, cond: Tensor) -> Denoiser:
    """Eq. 7 with table 1; the network is told our time, where the paper's is told ln(sigma) / 4."""
    times = {round(edm.line(t)[0], 12): t for t in (k for steps in range(1, 40) for k in edm.schedule(steps))}

    def denoise(y: Tensor, sigma: float) -> Tensor:
        both = sigma**2 + SIGMA_DATA**2
        t = torch.full((len(y),), times[round(sigma, 12)], dtype=y.dtype)
        said = network(y / both**0.5, t, cond)
        return SIGMA_DATA**2 / both * y + sigma * SIGMA_DATA / both**0.5 * said

    return denoise


@pytest.mark.parametrize("intervals", [1, 2, 3, 5, 18])
def test_heun_on_edm_is_karras_algorithm_1(objective_named: Build, intervals: int) -> None:
    edm, (noise, cond) = objective_named("edm", sigma_data=SIGMA_DATA), start()
    _, path = sample(network, edm, cond, noise, sampler="heun", steps=2 * intervals - 1, limit=None)
    sigmas = [edm.line(t)[0] for t in edm.schedule(intervals)] + [0.0]
    # Our states have unit variance at the noise end.
    scales = [(1 + sigma**2) ** 0.5 for sigma in sigmas]
    expected = algorithm_1(karras_denoiser(edm, cond), scales[0] * noise[:, 0], sigmas)
    assert len(path) == len(expected) == intervals + 1
    for state, y, scale in zip(path[:, :, 0], expected, scales, strict=True):
        torch.testing.assert_close(state, y / scale, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["flow", "v"])
@pytest.mark.parametrize("intervals", [1, 2, 5, 20])
def test_heun_elsewhere_is_algorithm_1_on_the_objectives_line(
    objective_named: Build, name: str, intervals: int
) -> None:
    objective, (noise, cond) = objective_named(name), start()
    _, path = sample(network, objective, cond, noise, sampler="heun", steps=2 * intervals - 1, limit=None)
    times = objective.schedule(intervals)
    lines = [*(objective.line(t) for t in times), (0.0, 1.0)]
    time_at = dict(zip((u for u, _ in lines), times, strict=False))
    scale_at = dict(lines)

    def denoise(y: Tensor, u: float) -> Tensor:
        first, second, third = objective.implied(time_at[u], y.dtype)
        x, t = y / scale_at[u], torch.full((len(y),), time_at[u], dtype=y.dtype)
        return (first * x + second * network(x, t, cond)) / third

    expected = algorithm_1(denoise, lines[0][1] * noise[:, 0], [u for u, _ in lines])
    for state, y, (_, scale) in zip(path[:, :, 0], expected, lines, strict=True):
        torch.testing.assert_close(state, y / scale, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 4, 10, 20, 50])
@pytest.mark.parametrize("name", ["epsilon", "v", "sample"])
def test_dpmpp_2m_on_ddpm_is_diffusers_own(objective_named: Build, name: str, steps: int) -> None:
    """Where the steps divide the levels their trailing spacing is ours. From each of our states they go to our next."""
    noise, cond = start(torch.float32)
    objective = objective_named(name)
    _, path = sample(network, objective, cond, noise, sampler="dpmpp_2m", steps=steps, limit=None)
    scheduler = DPMSolverMultistepScheduler(
        100,
        beta_schedule="squaredcos_cap_v2",
        prediction_type={"v": "v_prediction"}.get(name, name),
        algorithm_type="dpmsolver++",
        solver_order=2,
        timestep_spacing="trailing",
    )
    scheduler.set_timesteps(steps)
    times = [(int(level) + 1) / 100 for level in scheduler.timesteps]
    assert times == pytest.approx(objective.schedule(steps))
    for t, level, x, following in zip(times, scheduler.timesteps, path[:-1, :, 0], path[1:, :, 0], strict=True):
        said = network(x, torch.full((len(x),), t), cond)
        found = scheduler.step(said, level, x).prev_sample
        # At pure noise the data that epsilon implies are some 1,000 times as large, and so is their rounding.
        torch.testing.assert_close(following, found, rtol=0, atol=2e-6 * max(1.0, float(path.abs().max())))


@pytest.mark.parametrize("steps", [2, 4, 10, 20, 50])
def test_dpmpp_2m_on_edm_is_diffusers_own(objective_named: Build, steps: int) -> None:
    """Their loop from first to last, with their levels and preconditioning, in their space."""
    edm, (noise, cond) = objective_named("edm", sigma_data=SIGMA_DATA), start(torch.float32)
    _, path = sample(network, edm, cond, noise, sampler="dpmpp_2m", steps=steps, limit=None)
    scheduler = EDMDPMSolverMultistepScheduler(sigma_data=SIGMA_DATA, solver_order=2)
    scheduler.set_timesteps(steps)
    y = noise[:, 0] * scheduler.init_noise_sigma
    for index, t in enumerate(edm.schedule(steps)):
        sigma = scheduler.sigmas[index]
        torch.testing.assert_close(path[index, :, 0], y / (1 + sigma**2) ** 0.5, rtol=0, atol=1e-5)
        seen = scheduler.precondition_inputs(y, sigma)
        y = scheduler.step(network(seen, torch.full((len(y),), t), cond), scheduler.timesteps[index], y).prev_sample
    torch.testing.assert_close(path[-1, :, 0], y, rtol=0, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 2, 7, 10, 100])
@pytest.mark.parametrize("name", ["epsilon", "v", "sample"])
def test_euler_on_ddpm_is_ddim(objective_named: Build, name: str, steps: int) -> None:
    """Song et al. 2021, section 4.3: DDIM is Euler's method in x / sqrt(a_t)."""
    objective, (noise, cond) = objective_named(name), start()
    way: dict[str, Any] = {"steps": steps, "limit": None}
    _, euler = sample(network, objective, cond, noise, sampler="euler", **way)
    _, ddim = sample(network, objective, cond, noise, sampler="ddim", **way)
    torch.testing.assert_close(euler, ddim, rtol=1e-7, atol=1e-7)


def test_the_first_interval_of_dpmpp_2m_is_eulers(objective_named: Build) -> None:
    """It has no estimate before it; the second has, and uses it."""
    for name in ("flow", "edm", "v"):
        objective, (noise, cond) = objective_named(name), start()
        _, euler = sample(network, objective, cond, noise, sampler="euler", steps=5)
        _, second = sample(network, objective, cond, noise, sampler="dpmpp_2m", steps=5)
        assert torch.equal(euler[:2], second[:2])
        assert not torch.allclose(euler[2], second[2], atol=1e-3)
