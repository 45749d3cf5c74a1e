"""The learning rate is a function of the step alone: a straight rise, half a cosine down to nothing, no jumps."""

from itertools import pairwise

import pytest

from diffpolicy.config import TrainingConfig
from diffpolicy.training.learner import learning_rate


def rates(**changes: float) -> list[float]:
    settings = TrainingConfig(**changes)  # type: ignore[arg-type]
    return [learning_rate(step, settings) for step in range(settings.steps)]


def test_warm_up_is_a_straight_line_to_the_peak() -> None:
    found = rates(steps=1000, warmup_steps=100, learning_rate=2e-3)
    for step in range(100):
        assert found[step] == pytest.approx(2e-3 * (step + 1) / 100)
    assert found[99] == found[100] == 2e-3 == max(found)


def test_cosine_falls_from_the_peak_to_nothing() -> None:
    found = rates(steps=1100, warmup_steps=100, learning_rate=1e-3)
    down = found[100:]
    assert all(later < earlier for earlier, later in pairwise(down))
    assert down[500] == pytest.approx(0.5e-3)
    assert down[250] == pytest.approx(1e-3 * (2 + 2**0.5) / 4)
    assert 0 < down[-1] < 1e-8
    assert learning_rate(1100, TrainingConfig(steps=1100, warmup_steps=100)) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("warmup_steps", [0, 1, 100, 999, 1000, 2000])
def test_every_step_has_a_rate_and_none_jumps(warmup_steps: int) -> None:
    found = rates(steps=1000, warmup_steps=warmup_steps, learning_rate=1.0)
    assert all(0 < rate <= 1 for rate in found[:-1])
    assert 0 <= found[-1] <= 1
    if 100 <= warmup_steps <= 900:
        assert max(abs(b - a) for a, b in pairwise(found)) <= 0.0101
    assert found[0] == (1.0 if warmup_steps == 0 else pytest.approx(1 / warmup_steps))
