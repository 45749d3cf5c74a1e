"""Perturbed environments are environments like others: refused input, copies, specs, and what they are for, recovery."""

import copy
import doctest
import math
import pickle

import diffpolicy_envs.pusht.perturb
import gymnasium as gym
import numpy as np
import pytest
from diffpolicy_envs.pusht import Perturb, PushTEnv

ENV_ID = "diffpolicy/PushT-v0"


def actions(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(60, 450, (count, 2))


def play(env: gym.Env, seed: int, count: int = 60) -> list[np.ndarray]:
    return [env.reset(seed=seed)[0], *(env.step(action)[0] for action in actions(seed, count))]


@pytest.mark.parametrize("when", [{"at": (3,)}, {"probability": 0.6}])
def test_a_refused_action_takes_back_the_kick(when: dict) -> None:
    env, undisturbed = Perturb(PushTEnv(), **when), Perturb(PushTEnv(), **when)
    env.reset(seed=2)
    undisturbed.reset(seed=2)
    for action in actions(2, 20):
        before = env.unwrapped.get_state()
        with pytest.raises(ValueError, match="action"):
            env.step([math.nan, 0.0])
        assert env.unwrapped.get_state().physics.targets == before.physics.targets
        np.testing.assert_array_equal(env.step(action)[0], undisturbed.step(action)[0])


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_is_kicked_alike(duplicate) -> None:
    env = Perturb(gym.make(ENV_ID), probability=0.2)
    play(env, 3, 20)
    twin = duplicate(env)
    for action in actions(9, 40):
        (one, *_, told), (other, *_, again) = env.step(action), twin.step(action)
        np.testing.assert_array_equal(one, other)
        assert told["perturbed"] is again["perturbed"]
    np.testing.assert_array_equal(env.reset()[0], twin.reset()[0])


def test_the_spec_makes_the_same_environment_again() -> None:
    env = Perturb(gym.make(ENV_ID), at=[30, 4, 4], shift_px=25.0, turn_rad=0.3)
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    np.testing.assert_array_equal(play(env, 6), play(again, 6))
    both = Perturb(Perturb(gym.make(ENV_ID), at=(5,)), target="agent", at=(9,))
    assert [spec.kwargs["target"] for spec in both.spec.additional_wrappers] == ["block", "agent"]


@pytest.mark.usefixtures("without_shape_checks")
def test_one_is_registered_so_that_an_evaluation_can_name_it() -> None:
    named = gym.make("diffpolicy_envs:diffpolicy/PushTPerturbed-v0", at=(5, 9), shift_px=30.0, obs_type="keypoints")
    made = Perturb(gym.make(ENV_ID, obs_type="keypoints"), at=(5, 9), shift_px=30.0)
    assert named.spec.max_episode_steps == 300
    for found, expected in zip(play(named, 4), play(made, 4), strict=True):
        np.testing.assert_array_equal(found["keypoints"], expected["keypoints"])
    usual = gym.make("diffpolicy_envs:diffpolicy/PushTPerturbed-v0")
    usual.reset(seed=1)
    assert [step for step in range(80) if usual.step([30, 30])[4]["perturbed"]] == [60]


def test_recovery_can_be_measured() -> None:
    """Who sits still never recovers; who plans ahead with saved states wins back what the kick took."""
    state = [380.0, 120.0, 256.0, 262.0, math.pi / 4]
    gains = {}
    for plans in (False, True):
        env = Perturb(PushTEnv(), at=(1,), shift_px=30.0)
        rng = np.random.default_rng(0)
        env.reset(seed=0, options={"state": state})
        resting = np.array(state[:2])
        before = env.step(resting)[4]["coverage"]
        after = env.step(resting)[4]["coverage"]
        assert after < before - 0.1
        best = after
        for _ in range(10 if plans else 40):
            for action in _best_of(env.unwrapped, rng) if plans else [resting]:
                best = max(best, env.step(action)[4]["coverage"])
        gains[plans] = (best - after) / (before - after)
    assert gains[False] == 0.0
    assert gains[True] > 0.5


def _best_of(env: PushTEnv, rng: np.random.Generator) -> np.ndarray:
    """Returns, of 60 random pushes through the block's surroundings, the one that ends best."""
    moment, centre = env.get_state(), env._world.physics.block_pose[:2]
    tried = []
    for _ in range(60):
        from_, to = np.array(centre) + rng.uniform(-130, 130, (2, 2))
        push = np.concatenate([np.tile(from_, (4, 1)), np.linspace(from_, to, 6)])
        tried.append((max(env.step(action)[4]["coverage"] for action in push), push))
        env.set_state(moment)
    return max(tried, key=lambda pair: pair[0])[1]


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({}, ["at, probability", "neither"]),
        ({"at": (1,), "probability": 0.1}, ["at, probability", "both"]),
        ({"at": (-1,)}, ["at:", "-1"]),
        ({"at": (True,)}, ["at:", "True"]),
        ({"at": 50}, ["at:", "50", "(50, 120)"]),
        ({"at": "12"}, ["at:", "'12'"]),
        ({"at": (1.5,)}, ["at:", "1.5"]),
        ({"at": ()}, ["at:", "none"]),
        ({"probability": -0.1}, ["probability:", "-0.1"]),
        ({"probability": math.nan}, ["probability:", "nan"]),
        ({"probability": 1.5}, ["probability:", "1.5"]),
        ({"probability": 0}, ["probability:", "(0, 1]"]),
        ({"probability": "often"}, ["probability:", "'often'"]),
        ({"at": (1,), "shift_px": -1.0}, ["shift_px:", "[0, 512]", "-1"]),
        ({"at": (1,), "shift_px": math.inf}, ["shift_px:", "inf"]),
        ({"at": (1,), "shift_px": None}, ["shift_px:", "None"]),
        ({"at": (1,), "turn_rad": math.nan}, ["turn_rad:", "nan"]),
        ({"at": (1,), "turn_rad": 7.0}, ["turn_rad:", "7"]),
        ({"at": (1,), "shift_px": 0.0}, ["shift_px, turn_rad", "both are 0"]),
        ({"at": (1,), "target": "agent", "turn_rad": 0.1}, ["turn_rad", "disc"]),
        ({"at": (1,), "target": "blok"}, ["'block'", "'agent'", "did you mean 'block'"]),
        ({"at": (1,), "target": None}, ["target", "'agent'", "None"]),
    ],
)
def test_bad_arguments_are_refused_in_one_line(arguments: dict, named: list[str]) -> None:
    with pytest.raises(ValueError, match="expected") as error:
        Perturb(PushTEnv(), **arguments)
    assert all(name in str(error.value) for name in named), str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize("env", [None, 3])
def test_another_environment_is_refused(env: object) -> None:
    with pytest.raises(ValueError, match="expected PushTEnv"):
        Perturb(env, at=(1,))
    with pytest.raises(ValueError, match=r"found CartPoleEnv, expected PushTEnv"):
        Perturb(gym.make("CartPole-v1"), at=(1,))


def test_a_step_before_the_reset_is_refused() -> None:
    with pytest.raises(gym.error.ResetNeeded, match="reset"):
        Perturb(PushTEnv(), at=(0,)).step([1.0, 2.0])


def test_the_example_in_the_docstring_does_what_it_says() -> None:
    found = doctest.testmod(diffpolicy_envs.pusht.perturb)
    assert found.attempted > 5
    assert found.failed == 0
