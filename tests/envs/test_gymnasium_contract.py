"""PushTEnv is a Gymnasium environment in every respect its users rely on."""

import copy
import importlib
import math
import pickle
import subprocess
import sys
import warnings

import diffpolicy_envs
import gymnasium as gym
import numpy as np
import pytest
from diffpolicy_envs.pusht import GOAL_POSE, OBS_TYPES, PushTEnv, block_keypoints, coverage
from gymnasium.utils.env_checker import check_env

ENV_ID = "diffpolicy/PushT-v0"

VARIED = {"goal_pose": "random", "scale": "random"}
KINDS = {
    **{obs_type: {"obs_type": obs_type} for obs_type in OBS_TYPES},
    "corners": {"obs_type": "keypoints", "keypoint_set": "corners"},
    "counted": {"count_contacts": True},
    **{f"{obs_type}, varied": {"obs_type": obs_type, "variations": VARIED} for obs_type in OBS_TYPES},
    "small pictures": {"obs_type": "pixels", "pixels_size_px": (48, 64), "draw_contacts": False},
}


def run(env: gym.Env, seed: int, steps: int = 60) -> list:
    env.action_space.seed(seed)
    trace = [env.reset(seed=seed)]
    trace += [env.step(env.action_space.sample()) for _ in range(steps)]
    return trace


def assert_same(a: object, b: object) -> None:
    if isinstance(a, dict):
        assert isinstance(b, dict)
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        np.testing.assert_array_equal(a, b)


class AsBare(gym.Wrapper):
    """A wrapped environment as Gymnasium's checker wants it: one that is its own `unwrapped`."""

    unwrapped = property(lambda self: self)
    spec = property(lambda self: self.env.spec)
    _np_random = property(lambda self: self.env.unwrapped._np_random)


@pytest.mark.parametrize("kind", KINDS)
def test_check_env_only_recommends_to_normalize_the_actions(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The checker opens every mode; a window is not for a test without a screen.
    monkeypatch.setitem(PushTEnv.metadata, "render_modes", ["rgb_array"])
    env = gym.make(ENV_ID, render_mode="rgb_array", **KINDS[kind])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        check_env(env.unwrapped)
    assert len(said) == 1
    assert "symmetric and normalized space" in str(said[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(AsBare(gym.wrappers.RescaleAction(env, np.float32(-1), np.float32(1))))


@pytest.mark.parametrize("kind", KINDS)
def test_stable_baselines_only_recommends_its_own_conventions(kind: str) -> None:
    """Actions between -1 and 1 and flat observations; with Gymnasium's wrappers for these, nothing is left."""
    checker = pytest.importorskip("stable_baselines3.common.env_checker", reason="stable-baselines3 is not installed")
    env = gym.make(ENV_ID, **KINDS[kind])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        checker.check_env(env)
    expected = ["symmetric and normalized Box action space"]
    if env.unwrapped.obs_type == "keypoints":
        expected.insert(0, "keypoints has an unconventional shape")
        env = gym.wrappers.FlattenObservation(env)
    for remark, found in zip(expected, said, strict=True):
        assert remark in str(found.message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checker.check_env(gym.wrappers.RescaleAction(env, np.float32(-1), np.float32(1)))


@pytest.mark.parametrize("kind", KINDS)
def test_the_spec_makes_the_same_environment_again(kind: str) -> None:
    env = gym.make(ENV_ID, **KINDS[kind])
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert again.observation_space == env.observation_space
    assert_same(run(env, 3, 20), run(again, 3, 20))


def test_made_with_no_import_of_its_own() -> None:
    code = "import gymnasium; env = gymnasium.make('diffpolicy_envs:diffpolicy/PushT-v0'); print(env.reset(seed=0)[0])"
    found = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert found.stderr == ""


def test_the_world_never_imports_torch() -> None:
    code = "import sys, diffpolicy_envs.pusht; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_registering_twice_is_silent() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        importlib.reload(diffpolicy_envs)
    assert gym.spec(ENV_ID).max_episode_steps == 300


def test_episode_is_cut_after_300_steps() -> None:
    env = gym.make(ENV_ID)
    env.reset(options={"state": [50.0, 50.0, 300.0, 300.0, 2.0]})
    flags = [env.step(np.array([50.0, 50.0]))[2:4] for _ in range(300)]
    assert flags[:-1] == [(False, False)] * 299
    assert flags[-1] == (False, True)


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_episode_bit_for_bit(kind: str) -> None:
    used = gym.make(ENV_ID, **KINDS[kind])
    run(used, seed=1)
    assert_same(run(used, seed=5), run(gym.make(ENV_ID, **KINDS[kind]), seed=5))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_taken_in_contact_goes_on_bit_for_bit_and_apart(kind: str, duplicate) -> None:
    env = PushTEnv(**KINDS[kind])
    env.reset(seed=2)
    pushed = 0
    for _ in range(12):
        before = env.unwrapped._world.physics.block_pose
        env.step(np.array(before[:2]))
        pushed += env.unwrapped._world.physics.block_pose != before
    assert pushed > 3
    twin = duplicate(env)
    actions = np.random.default_rng(0).uniform(100, 400, (40, 2))
    assert_same([env.step(action) for action in actions], [twin.step(action) for action in actions])
    assert_same(env.reset(), twin.reset())


@pytest.mark.parametrize("kind", KINDS)
def test_observations_stay_in_their_space_under_rough_play(kind: str) -> None:
    env = PushTEnv(**KINDS[kind])
    rng = np.random.default_rng(0)
    for seed in range(10):
        state = [*rng.uniform(0, 512, 4), rng.uniform(0, 2 * np.pi)]
        obs, _ = env.reset(options={"state": state}) if seed % 2 else env.reset(seed=seed)
        for _ in range(100):
            assert env.observation_space.contains(obs)
            obs, *_ = env.step(rng.choice([0.0, 256.0, 512.0], 2))


def test_observation_kinds_show_the_same_world() -> None:
    state_env, keypoint_env = PushTEnv(), PushTEnv(obs_type="keypoints")
    for (state, *_), (seen, *_) in zip(run(state_env, 4), run(keypoint_env, 4), strict=True):
        np.testing.assert_array_equal(seen["agent_pos"], state[:2])
        np.testing.assert_array_equal(seen["keypoints"], block_keypoints(state[2:]))
        assert state.dtype == seen["keypoints"].dtype == seen["agent_pos"].dtype == np.float64


def test_information_and_reward_agree_with_the_observation() -> None:
    env = PushTEnv()
    obs, info = env.reset(seed=0)
    assert set(info) == {"coverage", "is_success", "block_pose", "agent_vel", "goal_pose"}
    rewards = []
    for _ in range(200):
        obs, reward, terminated, truncated, info = env.step(obs[2:4])
        np.testing.assert_array_equal(info["block_pose"], obs[2:])
        np.testing.assert_array_equal(info["goal_pose"], GOAL_POSE)
        assert math.isclose(info["coverage"], coverage(obs[2:]), abs_tol=1e-12)
        assert reward == min(info["coverage"] / 0.95, 1.0)
        assert type(reward) is float
        assert terminated is info["is_success"] is (info["coverage"] > 0.95)
        assert truncated is False
        rewards.append(reward)
    assert max(rewards) > 0


def test_contacts_are_told_only_when_asked_for() -> None:
    env = PushTEnv(count_contacts=True)
    _, info = env.reset(options={"state": [150.0, 270.0, 256.0, 256.0, 0.0]})
    assert info["n_contacts"] == 0
    counts = [env.step([400.0, 270.0])[4]["n_contacts"] for _ in range(10)]
    assert max(counts) > 0


def test_covering_the_goal_ends_the_episode() -> None:
    env = PushTEnv()
    env.reset(options={"state": [50.0, 50.0, *GOAL_POSE]})
    _, reward, terminated, _, info = env.step([50.0, 50.0])
    assert terminated
    assert reward == 1.0
    assert info["coverage"] > 0.999


def test_actions_outside_the_box_are_clipped_to_it() -> None:
    traces = []
    for action in ([600.0, -40.0], [512.0, 0.0], [1e300, -1e300]):
        env = PushTEnv()
        env.reset(seed=0)
        traces.append([env.step(action)[0] for _ in range(10)])
    assert_same(traces[0], traces[1])
    assert_same(traces[0], traces[2])


def test_exact_state_is_the_first_observation() -> None:
    state = [101.5, 202.25, 303.0, 250.5, 6.0]
    obs, info = PushTEnv().reset(options={"state": state})
    np.testing.assert_allclose(obs, state, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(info["agent_vel"], [0.0, 0.0])


def test_vector_environments_agree_with_single_ones() -> None:
    vector = gym.make_vec(ENV_ID, num_envs=2, vectorization_mode="sync")
    first, _ = vector.reset(seed=[8, 9])
    np.testing.assert_array_equal(first, [PushTEnv().reset(seed=seed)[0] for seed in (8, 9)])
    vector.close()
