"""An episode's result depends on its seed alone: not on how many were asked for, on the workers, or on its neighbours."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from diffpolicy.checkpoint import load_policy
from diffpolicy.evaluation.controller import Controller
from diffpolicy.evaluation.evaluate import evaluate
from diffpolicy.evaluation.metrics import EpisodeRecord
from diffpolicy.evaluation.rollout import LANES, rollout, rounds
from diffpolicy.evaluation.world import RolloutSettings

Make = Callable[..., Path]
PUSHT = "diffpolicy_envs:diffpolicy/PushT-v0"
WIDE = {"width": 256, "cond_width": 64}  # in narrower products the rounding hardly depends on the number of rows
NARROW = {"width": 30, "cond_width": 10}  # of no power of two: what vectorized loops leave over is rounded otherwise
UNET = {"name": "unet1d", "channels": [8, 16], "groups": 4, "time_width": 16}
STOCHASTIC = {"objective": {"name": "ddpm", "train_timesteps": 4}, "sampler": "ddpm"}
POLICIES: dict[str, dict[str, Any]] = {
    "wide": {"backbone": WIDE},
    "noise on the way": {"backbone": WIDE, **STOCHASTIC},
    "narrow": {"backbone": NARROW},
    "convolutions": {"backbone": UNET},
    "warm": {"backbone": WIDE, "warm_start": 0.5},
}
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
SETTINGS = RolloutSettings(PUSHT, protocol="gym_pusht", action_horizon=4)


class Ending(gym.Wrapper):
    """Push-T whose episodes end at different times, so that lanes fall out of step."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.left = 3 + (seed or 0) % 11
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self.left -= 1
        obs, reward, terminated, truncated, info = self.env.step(action)
        return obs, reward, terminated, truncated or self.left == 0, info


@pytest.fixture
def out_of_step(monkeypatch: pytest.MonkeyPatch) -> None:
    make = gym.make
    monkeypatch.setattr(gym, "make", lambda *args, **kwargs: Ending(make(*args, **kwargs)))


@pytest.mark.usefixtures("out_of_step")
@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_more_episodes_change_no_earlier_one(policy: dict[str, Any], make_checkpoint: Make) -> None:
    checkpoint = make_checkpoint(policy=policy)
    choices = {"seed": 500_000, "action_horizon": 4}
    three, some, many = (evaluate(checkpoint, episodes=n, **choices) for n in (3, 51, 120))
    assert [result["rows_agree"] for result in (three, some, many)] == [True] * 3
    assert LANES < 120  # so that lanes are used again
    records = many["records"]
    assert records[:51] == some["records"]
    assert records[:3] == three["records"]
    assert [record["seed"] for record in records] == list(range(500_000, 500_120))
    assert [record["steps"] for record in records] == [3 + seed % 11 for seed in range(500_000, 500_120)]
    assert len({record["final_coverage"] for record in records}) > 50
    (alone,) = evaluate(checkpoint, episodes=1, seed=500_110, action_horizon=4)["records"]
    assert alone == records[110]


@pytest.mark.usefixtures("out_of_step")
def test_neighbours_and_their_order_change_nothing(make_checkpoint: Make) -> None:
    policy = load_policy(make_checkpoint(policy=POLICIES["wide"]))
    seeds = range(500_000, 500_100)
    forward, backward = rollout(policy, seeds, SETTINGS), rollout(policy, seeds[::-1], SETTINGS)
    assert backward == forward[::-1]
    assert rollout(policy, [*seeds[90:], seeds[3], seeds[3]], SETTINGS) == [*forward[90:], forward[3], forward[3]]


@pytest.mark.usefixtures("out_of_step")
@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=CUDA)])
def test_two_crews_do_the_same_as_one(device: str, policy: dict[str, Any], make_checkpoint: Make) -> None:
    loaded, seeds = load_policy(make_checkpoint(policy=policy), device), range(500_000, 500_150)

    def records(crews: int) -> dict[int, EpisodeRecord]:
        each = rounds(loaded, seeds, SETTINGS, crews=crews)
        return {record.seed: record for found in each for record in found.records}

    one, two = records(1), records(2)
    assert two == one
    assert sorted(two) == list(seeds)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wide", "noise on the way", "warm", "another controller"])
def test_workers_change_nothing(name: str, make_checkpoint: Make) -> None:
    policy, how = POLICIES.get(name, {}), {"controller": partial(Idle)} if name == "another controller" else {}
    checkpoint = make_checkpoint(policy=policy)
    told: dict[int, list[int]] = {1: [], 2: []}
    one, two = (
        evaluate(checkpoint, episodes=150, seed=500_000, max_steps=10, workers=n, on_episodes=told[n].append, **how)
        for n in (1, 2)
    )
    assert two["records"] == one["records"]
    assert one["mean_score"] == two["mean_score"]
    for counts in told.values():
        assert counts == sorted(counts)
        assert counts[-1] == 150


@pytest.mark.parametrize(
    "manner", [{}, {"noise_scale": 0.8}, {"warm_start": 0.5}, {"warm_start": 0.3, "noise_scale": 0.8}], ids=str
)
def test_one_robot_by_hand_does_the_same(manner: dict[str, Any], make_checkpoint: Make) -> None:
    checkpoint = make_checkpoint()
    policy = load_policy(checkpoint)
    choices: dict[str, Any] = {"action_horizon": 5, "delay": 2, "steps": 3, **manner}
    (record,) = rollout(policy, [500_000], RolloutSettings(PUSHT, protocol="gym_pusht", max_steps=30, **choices))
    env = gym.make(PUSHT, max_episode_steps=30)
    act = Controller(policy, seed=500_000, **choices)
    obs, _ = env.reset(seed=500_000, options={"protocol": "gym_pusht"})
    rewards, info, done = [], {}, False
    while not done:
        obs, reward, terminated, truncated, info = env.step(act(obs))
        rewards.append(reward)
        done = terminated or truncated
    assert record.steps == len(rewards)
    assert record.score == pytest.approx(max(rewards), abs=1e-3)
    assert record.final_coverage == pytest.approx(info["coverage"], abs=1e-3)


class Idle(Controller):
    """One who acts as a plan says of its first moment alone."""

    def actions(self, plan: np.ndarray) -> np.ndarray:
        return np.tile(super().actions(plan)[:1], (self.action_horizon, 1))


def test_each_manner_of_acting_is_another_way_there(make_checkpoint: Make) -> None:
    policy, found = load_policy(make_checkpoint()), {}
    manners: list[dict[str, Any]] = [{}, {"noise_scale": 0.5}, {"warm_start": 0.5}, {"controller": Idle}]
    for manner in manners:
        settings = RolloutSettings(PUSHT, protocol="gym_pusht", max_steps=30, action_horizon=4, **manner)
        found[str(manner)] = [record.final_coverage for record in rollout(policy, range(500_000, 500_010), settings)]
    assert len({tuple(coverages) for coverages in found.values()}) == len(manners)
    same = RolloutSettings(PUSHT, protocol="gym_pusht", max_steps=30, action_horizon=4, noise_scale=1.0, warm_start=0.0)
    again = [record.final_coverage for record in rollout(policy, range(500_000, 500_010), same)]
    assert again == found["{}"]
