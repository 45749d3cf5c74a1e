"""Which observations are seen and which actions executed is exactly the drawing in `policy.py`, with any delay."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from diffpolicy.config import PolicyConfig
from diffpolicy.errors import ConfigError, ObservationError
from diffpolicy.evaluation.controller import Controller
from diffpolicy.policy import DiffusionPolicy


class Diary(DiffusionPolicy):
    """A policy whose observation is the time and whose plan says when it was made and which of its actions is which."""

    obs_shapes = {"clock": (1,)}  # noqa: RUF012 - never changed
    action_dim = 2

    def __init__(self, obs_horizon: int = 2, pred_horizon: int = 8, action_horizon: int = 4) -> None:
        torch.nn.Module.__init__(self)  # no network: the plans are known
        self.config = PolicyConfig(
            obs_horizon=obs_horizon,
            pred_horizon=pred_horizon,
            action_horizon=action_horizon,
        )
        self.seen: list[list[float]] = []
        self.noise: list[tuple[float, float]] = []
        self.asked: list[dict[str, Any]] = []

    def sample(
        self, obs: Mapping[str, np.ndarray], generator: list[torch.Generator], noise: torch.Tensor, **choices: Any
    ) -> torch.Tensor:
        assert obs["clock"].shape == (1, self.config.obs_horizon, 1)
        history = obs["clock"][0, :, 0].tolist()
        self.seen.append(history)
        self.noise.append((float(noise.sum()), float(torch.rand((), generator=generator[0]))))
        self.asked.append(choices)
        index = torch.arange(self.config.pred_horizon)
        return torch.stack([torch.full_like(index, int(history[-1])), index], dim=-1)[None, None].double()


def drive(controller: Controller, steps: int, first: int = 0) -> list[tuple[int, int]]:
    """The (time of planning, index in the plan) of each executed action."""
    actions = [controller({"clock": np.array([float(t)])}) for t in range(first, first + steps)]
    return [(int(action[0]), int(action[1])) for action in actions]


def test_the_drawing() -> None:
    policy = Diary()
    assert drive(Controller(policy), 9) == [(0, 1), (0, 2), (0, 3), (0, 4), (4, 1), (4, 2), (4, 3), (4, 4), (8, 1)]
    assert policy.seen == [[0, 0], [3, 4], [7, 8]]


@pytest.mark.parametrize("obs_horizon", [1, 2, 3])
@pytest.mark.parametrize("action_horizon", range(1, 9))
@pytest.mark.parametrize("delay", range(8))
def test_every_action_belongs_to_its_own_time(obs_horizon: int, action_horizon: int, delay: int) -> None:
    policy = Diary(obs_horizon, 8, 1)
    room = 8 - obs_horizon + 1
    if action_horizon + delay > room:
        with pytest.raises(ConfigError, match=rf"action_horizon {action_horizon} with delay {delay} .* {room} actions"):
            Controller(policy, action_horizon=action_horizon, delay=delay)
        return
    executed = drive(Controller(policy, action_horizon=action_horizon, delay=delay), 40)
    for t, (planned, index) in enumerate(executed):
        assert index == t - planned + obs_horizon - 1  # x[0] belongs to the oldest observation
        assert planned == 0 or delay <= t - planned < delay + action_horizon
    plans = sorted({planned for planned, _ in executed})
    assert executed[0] == (0, obs_horizon - 1)
    for planned in plans[1:]:
        assert executed.index((planned, delay + obs_horizon - 1)) == planned + delay
    assert np.diff(plans).tolist() == [action_horizon] * (len(plans) - 1)


@pytest.mark.parametrize(("action_horizon", "delay"), [(0, 0), (-1, 3), (1, -1), (8, 0), (4, 4)])
def test_what_does_not_fit_is_refused(action_horizon: int, delay: int) -> None:
    with pytest.raises(ConfigError, match=r"does not fit: a plan holds 7 actions"):
        Controller(Diary(), action_horizon=action_horizon, delay=delay)


def test_the_first_observation_fills_the_history_and_reset_forgets() -> None:
    policy = Diary(obs_horizon=3)
    controller = Controller(policy)
    drive(controller, 6)
    assert policy.seen == [[0, 0, 0], [2, 3, 4]]
    controller.reset()
    assert drive(controller, 2, first=50) == [(50, 2), (50, 3)]
    assert policy.seen[-1] == [50, 50, 50]


def test_noise_comes_from_the_seed_of_the_reset() -> None:
    policy = Diary(action_horizon=1)
    controller = Controller(policy, seed=5)
    drive(controller, 3)
    controller.reset()
    drive(controller, 3)
    controller.reset(seed=6)
    drive(controller, 3)
    assert policy.noise[:3] == policy.noise[3:6]
    assert len(set(policy.noise)) == 6


def test_steps_and_sampler_reach_the_policy() -> None:
    policy = Diary()
    drive(Controller(policy, steps=3, sampler="ddim"), 1)
    assert policy.asked == [{"steps": 3, "sampler": "ddim", "guess": None, "warm_start": 0.0}]


def test_a_bare_array_is_the_one_observation() -> None:
    controller = Controller(Diary())
    assert controller(np.array([7.0])).tolist() == [7, 1]


def test_the_agents_position_is_taken_from_the_state(tiny: Any, make_policy: Any) -> None:
    policy = make_policy(tiny(policy={"observations": ["agent_pos"]}))
    whole, part = Controller(policy), Controller(policy)
    state = np.array([100.0, 200.0, 300.0, 250.0, 1.0])
    assert np.array_equal(whole({"state": state}), part({"agent_pos": state[:2]}))


BAD_OBSERVATIONS: dict[str, tuple[Any, str]] = {
    "of another shape": ({"state": np.zeros(4)}, r"'state' has shape \(4,\); expected \(5,\)"),
    "with a batch axis": ({"state": np.zeros((1, 5))}, r"'state' has shape \(1, 5\)"),
    "with NaN": ({"state": np.array([1, 2, np.nan, 4, 5])}, "'state' holds what is no finite number"),
    "infinite": ({"state": np.full(5, np.inf)}, "'state' holds what is no finite number"),
    "of words": ({"state": np.array(list("abcde"))}, "'state' holds what is no finite number"),
    "of another name": ({"position": np.zeros(5)}, "lacks 'state'.*found position"),
    "empty": ({}, "lacks 'state'.*found nothing"),
    "a bare array of another shape": (np.zeros(3), r"'state' has shape \(3,\)"),
}


@pytest.mark.parametrize(("obs", "message"), BAD_OBSERVATIONS.values(), ids=BAD_OBSERVATIONS)
@pytest.mark.parametrize("steps_before", [0, 3])
def test_an_observation_that_cannot_be_trusted_is_refused(
    obs: Any, message: str, steps_before: int, tiny: Any, make_policy: Any
) -> None:
    policy = make_policy(tiny())
    controller, untroubled = Controller(policy), Controller(policy)
    good = [np.array([100.0 + t, 200.0, 300.0, 250.0, 1.0]) for t in range(20)]
    for state in good[:steps_before]:
        controller(state)
        untroubled(state)
    with pytest.raises(ObservationError, match=message):
        controller(obs)
    for state in good[steps_before:]:  # nothing of it is remembered
        assert np.array_equal(controller(state), untroubled(state))


def test_a_bare_array_for_two_keys_is_refused(tiny: Any, make_policy: Any) -> None:
    policy = make_policy(tiny(policy={"observations": ["keypoints", "agent_pos"]}))
    with pytest.raises(ObservationError, match=r"bare array.*keypoints, agent_pos"):
        Controller(policy)(np.zeros(5))


def test_an_environment_may_reuse_its_arrays() -> None:
    controller, reused = Controller(Diary()), np.array([1.0])
    controller.observe({"clock": reused, "unseen": np.zeros(3)})
    reused[:] = 2.0
    controller.observe({"clock": reused})
    assert controller.history()["clock"].tolist() == [[1.0], [2.0]]
    assert set(controller.history()) == {"clock"}


def test_a_plan_may_be_followed_faster() -> None:
    controller = Controller(Diary(pred_horizon=12), action_horizon=4, speed=1.5)
    actions = [controller({"clock": np.array([float(t)])}) for t in range(8)]
    assert [float(action[1]) for action in actions] == [1.0, 2.5, 4.0, 5.5] * 2
    assert [float(action[0]) for action in actions] == [0.0] * 4 + [4.0] * 4


def test_a_faster_plan_may_be_late() -> None:
    controller = Controller(Diary(pred_horizon=16), action_horizon=3, speed=2.0, delay=2)
    actions = [controller({"clock": np.array([float(t)])}) for t in range(9)]
    assert [(int(action[0]), float(action[1])) for action in actions] == [
        (0, 1.0), (0, 3.0), (0, 5.0), (0, 7.0), (0, 9.0), (3, 5.0), (3, 7.0), (3, 9.0), (6, 5.0)
    ]  # fmt: skip


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan"), 2.5])
def test_a_speed_that_does_not_fit_is_refused(speed: float) -> None:
    with pytest.raises(ConfigError, match="speed"):
        Controller(Diary(), action_horizon=4, speed=speed)
