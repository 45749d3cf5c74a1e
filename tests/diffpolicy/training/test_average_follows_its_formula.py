"""The average of the weights has a closed form where the weights do, and a resumed one goes on as if never stopped."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from diffpolicy.training.ema import EMA


def parameters(*values: float) -> list[nn.Parameter]:
    return [nn.Parameter(torch.tensor([value, 2 * value], dtype=torch.float64)) for value in values]


def decay(step: int, ceiling: float, power: float) -> float:
    return min(ceiling, 1 - (1 + step) ** -power)


@pytest.mark.parametrize(("ceiling", "power"), [(0.999, 0.75), (0.9, 0.75), (0.5, 2.0), (0.0, 0.75)])
def test_constant_weights_are_approached_by_the_product_of_decays(ceiling: float, power: float) -> None:
    ema = EMA(parameters(5.0), decay=ceiling, power=power)
    for step in range(1, 31):
        ema.update(parameters(1.0))
        left = math.prod(decay(k, ceiling, power) for k in range(1, step + 1))
        torch.testing.assert_close(ema.averages[0], torch.tensor([1 + 4 * left, 2 + 8 * left], dtype=torch.float64))
    assert ema.step == 30


def test_weights_on_a_ramp_are_followed_at_a_distance() -> None:
    """With a constant decay d, weights that grow by 1 a step are d (1 - d^k) / (1 - d) ahead after k steps."""
    ema, d = EMA(parameters(0.0), decay=0.9, power=100.0), 0.9
    for step in range(1, 61):
        ema.update(parameters(float(step)))
        behind = d * (1 - d**step) / (1 - d)
        torch.testing.assert_close(ema.averages[0][0], torch.tensor(step - behind, dtype=torch.float64))


def test_early_averages_follow_closely_and_late_ones_smooth() -> None:
    ema = EMA(parameters(0.0), decay=0.999, power=0.75)
    taken = []
    for _ in range(20_000):
        before = float(ema.averages[0][0])
        ema.update(parameters(1.0 + before))  # a step of the average is then the share it takes of new weights
        taken.append(float(ema.averages[0][0]) - before)
    assert taken[0] == pytest.approx(2**-0.75)
    assert taken[-1] == pytest.approx(1e-3)
    assert all(later <= earlier + 1e-9 for earlier, later in pairwise(taken))


def test_loaded_averages_go_on_from_their_step() -> None:
    whole = EMA(parameters(0.0, 3.0), decay=0.999, power=0.75)
    for k in range(10):
        whole.update(parameters(float(k), -float(k)))
    resumed, forgetful = (EMA(parameters(9.0, 9.0), decay=0.999, power=0.75) for _ in range(2))
    resumed.load(whole.averages, whole.step)
    forgetful.load(whole.averages, 0)
    for ema in (whole, resumed, forgetful):
        ema.update(parameters(50.0, 60.0))
    assert all(map(torch.equal, resumed.averages, whole.averages))
    assert not torch.equal(forgetful.averages[0], whole.averages[0])
    assert resumed.step == 11


def test_averages_share_no_memory_with_weights() -> None:
    weights, target = parameters(1.0), parameters(7.0)
    ema = EMA(weights, decay=0.9, power=0.75)
    source = [torch.tensor([3.0, 6.0], dtype=torch.float64)]
    with torch.no_grad():
        weights[0].add_(100)
    assert ema.averages[0].tolist() == [1, 2]
    ema.load(source, 5)
    source[0].add_(100)
    ema.copy_to(target)
    assert target[0].tolist() == [3, 6]
    with torch.no_grad():
        target[0].add_(100)
    assert ema.averages[0].tolist() == [3, 6]


def test_weights_of_another_network_are_refused() -> None:
    ema = EMA(parameters(1.0, 2.0), decay=0.9, power=0.75)
    with pytest.raises(RuntimeError, match="same number of tensors"):
        ema.copy_to(parameters(1.0))
