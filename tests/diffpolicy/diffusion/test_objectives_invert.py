"""Objectives are identities: data becomes noise, and what the network should say gives the data back."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from diffpolicy.diffusion import Objective

Build = Callable[..., Objective]

DENOISING = ["flow", "epsilon", "v", "sample", "edm"]
ALL = [*DENOISING, "mse", "l1", "two_looks", "mixture"]
CPU = torch.device("cpu")


def draw(objective: Objective, rows: int = 64, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """x_0, noise and times in float64, pure noise (t = 1) among them."""
    g = torch.Generator().manual_seed(seed)
    x0, noise = torch.randn(2, rows, 5, 3, generator=g, dtype=torch.float64).unbind()
    t = objective.times(rows, g, CPU).double()
    t[0] = 1.0
    return x0, noise, t


def factors(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).view(-1, 1, 1)


@pytest.mark.parametrize("name", ALL)
def test_target_implies_the_data(objective_named: Build, name: str) -> None:
    objective = objective_named(name)
    x0, noise, t = draw(objective)
    x, target = objective.corrupt(x0, noise, t), objective.target(x0, noise, t)
    weights = zip(*(objective.implied(float(time), torch.float64) for time in t), strict=True)
    first, second, third = (factors(list(w)) for w in weights)
    # Epsilon divides by the signal's rate, 5e-4 in pure noise: float64's 1e-16 becomes about 1e-12.
    torch.testing.assert_close((first * x + second * target) / third, x0, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", DENOISING)
def test_states_lie_on_a_line_from_the_data(objective_named: Build, name: str) -> None:
    """Multiplied by its scale, x_t leaves x_0 in a direction that is the same for all t: what every solver here rests on."""
    objective = objective_named(name)
    x0, noise, t = draw(objective)
    coordinate, scale = (factors(list(w)) for w in zip(*(objective.line(float(time)) for time in t), strict=True))
    direction = noise - x0 if name == "flow" else noise
    # Relative to the end of the line: a scale of 2,000 magnifies what a state has been rounded by.
    left = (scale * objective.corrupt(x0, noise, t) - x0 - coordinate * direction) / scale
    torch.testing.assert_close(left, torch.zeros_like(left), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", DENOISING)
def test_the_line_starts_at_the_data_and_noise_grows_along_it(objective_named: Build, name: str) -> None:
    objective = objective_named(name)
    times = sorted(objective.schedule(50))
    lines = [objective.line(t) for t in times]
    levels = [objective.noise_level(t) for t in times]
    for values in ([u for u, _ in lines], levels):
        assert values[0] > 0
        assert values == sorted(set(values))
    assert lines[0][0] < 0.05
    assert abs(lines[0][1] - 1) < 0.01
    assert abs(levels[-1] - 1) < 1e-3


@pytest.mark.parametrize("name", ALL)
def test_noise_level_is_the_standard_deviation_of_the_noise(objective_named: Build, name: str) -> None:
    objective = objective_named(name)
    x0, noise, t = draw(objective)
    levels = factors([objective.noise_level(float(time)) for time in t])
    only = objective.corrupt(torch.zeros_like(x0), noise, t)
    torch.testing.assert_close(only, levels * noise, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_scale_seen_is_what_is_seen(objective_named: Build, name: str) -> None:
    objective = objective_named(name)
    x, _, t = draw(objective)
    scales = factors([objective.scale_seen(float(time)) for time in t])
    torch.testing.assert_close(objective.seen(x, t), scales * x, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_each_row_has_a_time_of_its_own(objective_named: Build, name: str) -> None:
    objective = objective_named(name)
    x0, noise, t = draw(objective, rows=7)
    for method, arguments in (
        (objective.corrupt, (x0, noise, t)),
        (objective.target, (x0, noise, t)),
        (objective.seen, (x0, t)),
    ):
        one_by_one = [method(*(a[i : i + 1] for a in arguments)) for i in range(7)]
        torch.testing.assert_close(method(*arguments), torch.cat(one_by_one), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ALL)
def test_precision_of_the_data_is_kept(objective_named: Build, name: str, dtype: torch.dtype) -> None:
    objective = objective_named(name)
    x0, noise, _ = (a.to(dtype) for a in draw(objective))
    t = objective.times(len(x0), None, CPU)
    assert t.dtype == torch.float32
    for value in (objective.corrupt(x0, noise, t), objective.target(x0, noise, t), objective.seen(x0, t)):
        assert value.dtype == dtype
        assert value.isfinite().all()


@pytest.mark.parametrize("name", [*DENOISING, "mse", "two_looks"])
def test_the_loss_is_the_mean_square_of_what_is_off(objective_named: Build, name: str) -> None:
    objective = objective_named(name)
    x0, noise, t = draw(objective)
    target = objective.target(x0, noise, t)
    assert objective.loss(target, x0, noise, t) == 0
    off = torch.randn(x0.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(objective.loss(target + off, x0, noise, t), off.square().mean())


@pytest.mark.parametrize("name", [*DENOISING, "mse", "l1", "two_looks"])
def test_only_actions_with_weight_count(objective_named: Build, name: str) -> None:
    objective, g = objective_named(name), torch.Generator().manual_seed(1)
    x0, noise, t = draw(objective)
    output = torch.randn(x0.shape, generator=g, dtype=torch.float64)
    counted = torch.rand(x0.shape[:2], generator=g) < 0.5
    weight = counted[..., None].double()
    loss = objective.loss(output, x0, noise, t, weight)
    off = (output - objective.target(x0, noise, t))[counted]
    torch.testing.assert_close(loss, off.abs().mean() if name == "l1" else off.square().mean())
    torch.testing.assert_close(objective.loss(output + 1e3 * (1 - weight), x0, noise, t, weight), loss)
    torch.testing.assert_close(
        objective.loss(output, x0, noise, t, torch.ones_like(weight)), objective.loss(output, x0, noise, t)
    )
    assert objective.loss(output, x0, noise, t, torch.zeros_like(weight)) == 0


def test_flow_is_a_straight_line_and_its_target_the_velocity(objective_named: Build) -> None:
    flow = objective_named("flow")
    x0, noise, t = draw(flow)
    t = t * 0.9 + 0.05
    torch.testing.assert_close(flow.corrupt(x0, noise, torch.zeros_like(t)), x0, rtol=0, atol=0)
    torch.testing.assert_close(flow.corrupt(x0, noise, torch.ones_like(t)), noise, rtol=0, atol=0)
    change = flow.corrupt(x0, noise, t + 0.01) - flow.corrupt(x0, noise, t - 0.01)
    torch.testing.assert_close(change / 0.02, flow.target(x0, noise, t), rtol=0, atol=1e-12)
