"""The ways of acting that the benchmark tries do what their rows say."""

import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffpolicy.config import PolicyConfig
from diffpolicy.evaluation.controller import Controller
from diffpolicy.policy import DiffusionPolicy

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks"))

from tried import EnsembledOverTime, KeptNoise, MostCoherent

OBS_HORIZON, PRED_HORIZON = 3, 16
Timing = tuple[int, int, float]


class Echo(DiffusionPolicy):
    """A policy whose plans are the noise that it is given; it remembers them."""

    obs_shapes = {"clock": (1,)}  # noqa: RUF012 - never changed
    action_dim = 2

    def __init__(self, **acting: Any) -> None:
        torch.nn.Module.__init__(self)  # no network: the plans are known
        self.config = PolicyConfig(
            observations=("clock",),
            obs_horizon=OBS_HORIZON,
            pred_horizon=PRED_HORIZON,
            **{"action_horizon": 4} | acting,
        )
        self.plans: list[np.ndarray] = []

    def sample(self, obs: Mapping[str, np.ndarray], *, noise: torch.Tensor, **_: Any) -> torch.Tensor:
        self.plans.append(noise[0].numpy().astype(np.float64))
        return noise.double()


def drive(controller: Controller, steps: int) -> np.ndarray:
    return np.stack([controller({"clock": np.array([float(t)])}) for t in range(steps)])


def followed(plans: list[np.ndarray], timing: Timing, steps: int) -> tuple[np.ndarray, list[int]]:
    """What must be done at each step, and which plans are followed, from when each action of each plan is for."""
    action_horizon, delay, speed = timing

    def at(plan: np.ndarray, made: int, time: float) -> np.ndarray | None:
        """What a plan says of a moment, or None where it says nothing any more."""
        place = OBS_HORIZON - 1 + (time - made) * speed
        before = int(np.floor(place + 1e-9))
        if place > PRED_HORIZON - 1 + 1e-9:
            return None
        after, share = min(before + 1, PRED_HORIZON - 1), max(place - before, 0)
        return plan[before] + share * (plan[after] - plan[before])

    done, chosen = np.zeros((steps + 2 * PRED_HORIZON, 2)), []
    for number, candidates in enumerate(plans):
        now = number * action_horizon
        # The moments that the new plans' own actions are for, from the present on, as far as the plan before reaches.
        shared = []
        for index in range(OBS_HORIZON - 1, PRED_HORIZON if number else 0):
            time = now + (index - OBS_HORIZON + 1) / speed
            before = at(plans[number - 1][chosen[-1]], now - action_horizon, time)
            shared += [] if before is None else [(before, index)]
        off = [sum(float(((plan[index] - before) ** 2).sum()) for before, index in shared) for plan in candidates]
        chosen.append(off.index(min(off)))
        for time in range(now + delay if number else now, now + delay + action_horizon):
            action = at(candidates[chosen[-1]], now, time)
            assert action is not None
            done[time] = action
    return done[:steps], chosen


@pytest.mark.parametrize(
    "timing",
    [
        (4, 0, 1.0),
        (1, 0, 1.0),
        (8, 0, 1.0),
        (13, 0, 1.0),
        (3, 0, 1.5),
        (5, 0, 2.0),
        (4, 0, 0.7),
        (4, 3, 1.0),
        (3, 2, 1.5),
    ],
)
def test_the_plan_followed_is_the_closest_to_what_is_left_of_the_one_before(timing: Timing) -> None:
    action_horizon, delay, speed = timing
    policy = Echo()
    controller = MostCoherent(policy, samples=4, action_horizon=action_horizon, delay=delay, speed=speed, seed=3)
    done = drive(controller, 60)
    assert {plans.shape for plans in policy.plans} == {(4, PRED_HORIZON, 2)}
    expected, chosen = followed(policy.plans, timing, 60)
    np.testing.assert_allclose(done, expected, atol=1e-6)
    assert chosen[0] == 0  # nothing came before
    assert len(policy.plans) == -(-60 // action_horizon)
    assert len(set(chosen)) > 1


def test_a_plan_that_goes_on_with_the_one_before_is_followed() -> None:
    controller = MostCoherent(Echo(action_horizon=4), samples=3)
    rng = np.random.default_rng(0)
    controller.observe({"clock": np.zeros(1)})
    plan = rng.normal(size=(3, PRED_HORIZON, 2))
    controller.accept(plan)
    assert [controller.act().tolist() for _ in range(4)] == plan[0, OBS_HORIZON - 1 :][:4].tolist()
    for turn in (2, 1, 1, 0):
        going_on = np.concatenate([plan[0, 4:], rng.normal(size=(4, 2))])
        going_on[: OBS_HORIZON - 1] += 100  # what is past, and what lies beyond the plan before, does not count
        others = np.concatenate([going_on[:-4] + 0.01, going_on[-4:]])
        plan = np.stack([others, others, others])
        plan[turn] = going_on
        controller.accept(plan)
        followed = [controller.act().tolist() for _ in range(4)]
        assert followed == going_on[OBS_HORIZON - 1 :][:4].tolist()
        plan = going_on[None]


def test_where_nothing_is_left_of_the_plan_before_the_first_is_followed() -> None:
    whole = PRED_HORIZON - OBS_HORIZON + 1
    policy = Echo()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the mean of nothing is NaN, and said in a warning alone
        done = drive(MostCoherent(policy, samples=3, action_horizon=whole), 3 * whole)
    first = np.concatenate([plans[0, OBS_HORIZON - 1 :] for plans in policy.plans])
    np.testing.assert_array_equal(done, first)


def test_with_nothing_kept_all_noise_is_the_generators() -> None:
    controllers = [MostCoherent(Echo(), samples=3, seed=7), KeptNoise(Echo(), kept=0.0, seed=7)]
    for controller, samples in zip(controllers, (3, 1), strict=True):
        generator = torch.Generator().manual_seed(7)
        for _ in range(5):
            drawn = torch.randn(samples, PRED_HORIZON, 2, generator=generator)
            assert torch.equal(controller.start()[0], drawn)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_successive_noises_are_correlated_as_asked_and_no_larger(kept: float, scale: float) -> None:
    controllers = [KeptNoise(Echo(), kept=kept, noise_scale=scale, seed=seed) for seed in range(50)]
    drawn = [torch.cat([controller.start()[0] for controller in controllers]) for _ in range(100)]
    noises = torch.stack(drawn).flatten(1).double() / scale
    far_from_0 = 0.015 / (1 - kept) ** 0.5  # three standard errors of 160,000 numbers, fewer where they are alike
    assert abs(float(noises.mean())) < far_from_0
    assert noises.square().mean().item() == pytest.approx(1, abs=2 * far_from_0)
    assert noises[-1].square().mean().item() == pytest.approx(1, abs=0.12)  # it neither grows nor dies away
    for lag in (1, 2):
        correlation = float((noises[lag:] * noises[:-lag]).mean() / noises.square().mean())
        assert correlation == pytest.approx(kept**lag, abs=far_from_0)
    assert abs(float((noises[:, :800] * noises[:, 800:]).mean())) < far_from_0  # each sample has its own


@pytest.mark.parametrize(
    ("way", "how"), [(MostCoherent, {"samples": 3}), (KeptNoise, {"kept": 0.8}), (EnsembledOverTime, {"decay": 0.5})]
)
def test_a_reset_forgets(way: type[Controller], how: dict[str, Any]) -> None:
    policy = Echo()
    controller = way(policy, seed=1, **how)
    first = drive(controller, 20)
    controller.reset()
    np.testing.assert_array_equal(drive(controller, 20), first)
    controller.reset(seed=2)
    other = drive(controller, 20)
    np.testing.assert_array_equal(other, drive(way(policy, seed=2, **how), 20))
    np.testing.assert_array_equal(other[:4], policy.plans[10][0, OBS_HORIZON - 1 :][:4])  # the first of its plans
    assert not np.array_equal(other, first)


@pytest.mark.parametrize(("action_horizon", "speed"), [(4, 1.0), (2, 1.5), (14, 1.0)])
def test_an_ensemble_is_the_weighted_mean_of_what_plans_say_of_a_moment(action_horizon: int, speed: float) -> None:
    policy, decay = Echo(), 0.7
    controller = EnsembledOverTime(policy, decay=decay, action_horizon=action_horizon, speed=speed, seed=3)
    done = drive(controller, 30)
    for time, action in enumerate(done):
        said, weights = [], []
        for number, candidates in enumerate(policy.plans[: time // action_horizon + 1]):
            place = OBS_HORIZON - 1 + (time - number * action_horizon) * speed
            if place <= PRED_HORIZON - 1:
                before = int(place)
                after = min(before + 1, PRED_HORIZON - 1)
                said.append(candidates[0, before] + (place - before) * (candidates[0, after] - candidates[0, before]))
                weights.append(np.exp(-decay * (time // action_horizon - number)))
        np.testing.assert_allclose(action, np.average(said, axis=0, weights=weights), atol=1e-9)
    assert action_horizon == 14 or len(said) > 1
