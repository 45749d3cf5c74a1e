"""A policy that has stood still for as long as its patience lasts plans from full noise, until something moves again."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from diffpolicy.errors import ConfigError
from diffpolicy.evaluation.controller import Controller
from diffpolicy.policy import DiffusionPolicy

Make = Callable[..., DiffusionPolicy]
Tiny = Callable[..., Any]
PATIENCE, EVERY, HERE = 6, 2, np.array([250.0, 250.0, 200.0, 200.0, 1.0])
FAR = np.array([370.0, 250.0, 290.0, 200.0, 1.0])


def scales(policy: DiffusionPolicy, states: list[np.ndarray], **choices: Any) -> list[float]:
    """The size of the noise at each look, in sizes of the policy's own first noise."""
    controllers = [Controller(policy, seed=3, noise_scale=0.5, **choices), Controller(policy, seed=3, noise_scale=1.0)]
    found = []
    for state in states:
        for controller in controllers:
            controller.observe(state)
        noise, whole = (controller.start()[0] for controller in controllers)
        found.append(float((noise / whole).mean()))
        torch.testing.assert_close(noise, found[-1] * whole)
    return found


@pytest.fixture
def policy(tiny: Tiny, make_policy: Make) -> DiffusionPolicy:
    return make_policy(tiny(policy={"action_horizon": EVERY, "patience": PATIENCE}))


def test_it_stands_still_and_looks_farther(policy: DiffusionPolicy) -> None:
    looks = PATIENCE // EVERY  # the present one is one more
    found = scales(policy, [HERE] * (looks + 3))
    assert found == pytest.approx([0.5] * looks + [1.0] * 3)


def test_a_move_ends_it_for_as_long_again(policy: DiffusionPolicy) -> None:
    looks = PATIENCE // EVERY
    found = scales(policy, [HERE] * (looks + 2) + [FAR] * (looks + 1))
    assert found == pytest.approx([0.5] * looks + [1.0, 1.0] + [0.5] * looks + [1.0])


def test_going_to_and_fro_is_a_move(policy: DiffusionPolicy) -> None:
    assert scales(policy, [HERE, FAR] * 10) == pytest.approx([0.5] * 20)


def test_trembling_is_none(policy: DiffusionPolicy) -> None:
    rng = np.random.default_rng(0)
    trembling = [HERE + np.array([*rng.normal(0, 3, 2), 0, 0, 0]) for _ in range(8)]
    assert scales(policy, trembling)[-1] == pytest.approx(1.0)


def test_none_is_none(policy: DiffusionPolicy) -> None:
    assert scales(policy, [HERE] * 20, patience=0) == pytest.approx([0.5] * 20)


def test_a_reset_forgets(policy: DiffusionPolicy) -> None:
    controller = Controller(policy, noise_scale=0.5)
    for _ in range(10):
        controller.observe(HERE)
        stuck = controller.start()[0]
    controller.reset()
    controller.observe(HERE)
    assert controller.start()[0].std() < 0.8 * stuck.std()


def test_what_cannot_be(policy: DiffusionPolicy) -> None:
    with pytest.raises(ConfigError, match="patience is -1"):
        Controller(policy, patience=-1)
