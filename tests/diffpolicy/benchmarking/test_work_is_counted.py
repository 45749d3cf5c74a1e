"""Operations and bytes are those that a pencil finds, and grow as they must."""

from collections.abc import Callable

import pytest
import torch

from diffpolicy.benchmarking import machine_rate
from diffpolicy.benchmarking.counted_work import plan_bytes, plan_flops, training_flops, update_bytes
from diffpolicy.benchmarking.machine_rate import copies, matrix_products
from diffpolicy.config import ExperimentConfig
from diffpolicy.policy import DiffusionPolicy

CPU = torch.device("cpu")
# The tiny MLP: 16 actions of 2 numbers, 2 observations of 18 features, width 16, one block of 32, modulation from 8.
SIZE, COND, WIDTH, HIDDEN, CONTEXT = 32, 36, 16, 32, 8
MODULATED = 6 * WIDTH  # the first layer's, shift, scale and gate of the block, shift and scale before the output
DENOISE = [(SIZE, WIDTH), (WIDTH, HIDDEN), (HIDDEN, WIDTH), (WIDTH, SIZE)]
UNET = {"name": "unet1d", "channels": [8, 16], "groups": 4, "time_width": 8}


@pytest.fixture
def policy(tiny: Callable[..., ExperimentConfig], make_policy: Callable[..., DiffusionPolicy]) -> DiffusionPolicy:
    return make_policy(tiny())


def test_a_training_step(policy: DiffusionPolicy) -> None:
    """Two operations for each weight and window forwards, as many for its gradient, and for that of what comes in.

    The layers that take actions, time and observation have nobody to pass the last one on to.
    """
    first = [(SIZE, WIDTH), (CONTEXT, CONTEXT), (COND, CONTEXT)]
    later = [(CONTEXT, CONTEXT), (CONTEXT, MODULATED), *DENOISE[1:]]
    by_hand = sum(2 * a * b * 2 for a, b in first) + sum(2 * a * b * 3 for a, b in later)
    assert training_flops(policy, 1) == by_hand
    assert training_flops(policy, 256) == 256 * by_hand


def test_a_plan(policy: DiffusionPolicy) -> None:
    each_time = CONTEXT * CONTEXT  # of the embedding of time, which all observations share
    each_row = COND * CONTEXT + CONTEXT * CONTEXT
    each_pair, each_sample = CONTEXT * MODULATED, sum(a * b for a, b in DENOISE)
    for rows, n, steps in ((1, 1, 1), (1, 1, 10), (3, 1, 10), (3, 5, 4)):
        by_hand = 2 * (steps * each_time + rows * each_row + steps * rows * (each_pair + n * each_sample))
        assert plan_flops(policy, rows, n, steps) == by_hand


def test_the_bytes_of_a_plan(policy: DiffusionPolicy) -> None:
    denoise = 4 * sum(a * b + b for a, b in DENOISE)
    every = 4 * sum(weight.numel() for weight in policy.parameters())
    assert plan_bytes(policy, 1) == every
    assert plan_bytes(policy, 10) == every + 9 * denoise


def test_the_bytes_of_an_update(policy: DiffusionPolicy) -> None:
    weights = sum(weight.numel() for weight in policy.parameters())
    read, written = 1 + 5, 4  # the gradient for its norm; gradient, weight, moments, average; all but the gradient
    assert update_bytes(policy) == 4 * weights * (read + written)


def test_a_convolution(tiny: Callable[..., ExperimentConfig], make_policy: Callable[..., DiffusionPolicy]) -> None:
    """The lowest level's two middle blocks, whose shapes are the same all through: the difference they make is known."""
    changes = [{"backbone": UNET | {"kernel_size": kernel}} for kernel in (3, 5)]
    smaller, larger = (training_flops(make_policy(tiny(policy=change)), 4) for change in changes)
    # Pairs of channels of all convolutions with that kernel, by length; each counts forwards, and for two gradients.
    pairs = {16: 2 * 8 + 8 * 8 + 8 * 8 + 8 * 8 + 8 * 8, 8: 8 * 16 + 16 * 16 + 16 * 16 + 16 * 16 + 4 * 16 * 16}
    pairs[8] += 32 * 8 + 8 * 8 + 8 * 8 + 8 * 8
    more = 4 * 2 * (5 - 3) * sum(length * count for length, count in pairs.items())
    first = 4 * 2 * (5 - 3) * 16 * 2 * 8  # passes no gradient on
    assert larger - smaller == 3 * more - first


def test_the_better_size_is_the_machines_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sizes are told how many operations they are; who takes less for one counts."""
    told: list[int] = []

    def timed(device: torch.device, count: int, work: Callable[[], object]) -> float:
        told.append(count)
        return 1e-9 * len(told)

    monkeypatch.setattr(machine_rate, "seconds_on", timed)
    monkeypatch.setitem(machine_rate._SIZES, "cpu", (16, 32))
    assert matrix_products(10**9, torch.bfloat16, CPU)(0) == pytest.approx(1.0)
    assert told == [2 * 32**3, 2 * 32**3]


def test_limits_are_those_of_a_machine() -> None:
    """Between a very old and a very large processor; and what is twice as much takes twice as long, or nearly."""
    flops_per_s = 1e9 / matrix_products(10**9, torch.float32, CPU)(0)
    bytes_per_s = 1e9 / copies(10**9, 1 << 24, CPU)(0)
    assert 1e9 < flops_per_s < 1e14
    assert 1e8 < bytes_per_s < 1e13


def test_copies_move_what_they_count(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []

    def timed(device: torch.device, count: int, work: Callable[[], object]) -> float:
        counted.append(count)
        return 1e-9

    monkeypatch.setattr(machine_rate, "seconds_on", timed)
    assert copies(5, 1 << 20, CPU)(0) == pytest.approx(5e-9)
    assert counted[0] >= 1 << 28
    assert counted[0] % (1 << 20) == 0
