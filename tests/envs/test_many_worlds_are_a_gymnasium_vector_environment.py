"""PushTVectorEnv is a Gymnasium vector environment in every respect its users rely on."""

import copy
import pickle
import warnings

import gymnasium as gym
import numpy as np
import pytest
from diffpolicy_envs.pusht import GOAL_POSE, OBS_TYPES, PushTEnv, PushTVectorEnv
from gymnasium.vector import AutoresetMode

ENV_ID = "diffpolicy/PushT-v0"
AWAY = np.full((3, 2), 20.0)


def test_make_vec_gives_it_by_default_and_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make_vec(ENV_ID, num_envs=3)
        named = gym.make_vec(ENV_ID, num_envs=3, vectorization_mode="vector_entry_point", obs_type="keypoints")
    assert type(env) is type(named) is PushTVectorEnv
    assert env.spec is not None
    assert env.spec.id == ENV_ID
    assert env.num_envs == 3
    assert "keypoints" in named.single_observation_space.spaces
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP


@pytest.mark.parametrize(("arguments", "limit"), [({}, 300), ({"max_episode_steps": 7}, 7)])
def test_episodes_are_cut_at_the_time_limit(arguments: dict, limit: int) -> None:
    env = gym.make_vec(ENV_ID, num_envs=3, **arguments)
    env.reset(options={"state": [20.0, 20.0, 300.0, 300.0, 2.0]})
    cut = [env.step(AWAY)[3].tolist() for _ in range(limit)]
    assert cut == [[False] * 3] * (limit - 1) + [[True] * 3]


def test_without_a_time_limit_nothing_is_cut() -> None:
    env = gym.make_vec(ENV_ID, num_envs=3, max_episode_steps=None)
    env.reset(options={"state": [20.0, 20.0, 300.0, 300.0, 2.0]})
    assert not any(env.step(AWAY)[3].any() for _ in range(320))


@pytest.mark.parametrize("obs_type", OBS_TYPES)
def test_observations_lie_in_their_spaces(obs_type: str) -> None:
    env = PushTVectorEnv(num_envs=3, obs_type=obs_type, variations={"scale": "random"})
    single = PushTEnv(obs_type=obs_type, variations={"scale": "random"})
    assert env.single_observation_space == single.observation_space
    assert env.single_action_space == single.action_space
    assert env.action_space.shape == (3, 2)
    seen, _ = env.reset(seed=0)
    assert env.observation_space.contains(seen)
    for _ in range(5):
        seen, *_ = env.step(env.action_space.sample())
        assert env.observation_space.contains(seen)


def test_two_environments_with_the_same_seed_are_alike_bit_for_bit() -> None:
    actions = np.random.default_rng(0).uniform(0, 512, (400, 3, 2))
    traces = []
    for _ in range(2):
        env = PushTVectorEnv(num_envs=3, autoreset_mode="SameStep", max_episode_steps=50)
        env.reset(seed=4)
        traces.append([env.step(action) for action in actions])
    for first, second in zip(*traces, strict=True):
        assert all(a.tobytes() == b.tobytes() for a, b in zip(first[:4], second[:4], strict=True))
        assert first[4].keys() == second[4].keys()
        np.testing.assert_array_equal(first[4]["coverage"], second[4]["coverage"])


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_returned_is_the_callers_to_keep(workers: int) -> None:
    env = PushTVectorEnv(num_envs=3, workers=workers, autoreset_mode="SameStep", max_episode_steps=1)
    env.reset(seed=0)
    kept = env.step(AWAY)
    seen, rewards, _, truncations, infos = kept
    copies = copy.deepcopy(kept)
    for _ in range(3):
        env.step(AWAY + 200)
    np.testing.assert_array_equal(seen, copies[0])
    np.testing.assert_array_equal(infos["final_info"]["block_pose"], copies[4]["final_info"]["block_pose"])
    np.testing.assert_array_equal(infos["final_obs"][1], copies[4]["final_obs"][1])
    state = env.get_state()
    seen[:] = rewards[:] = infos["goal_pose"][:] = 0
    truncations[:] = False
    after = env.set_state(state)[1]
    np.testing.assert_array_equal(after["goal_pose"], np.tile(GOAL_POSE, (3, 1)))
    env.close()


def test_callers_options_and_mask_stay_as_they_were() -> None:
    env = PushTVectorEnv(num_envs=3)
    env.reset(seed=0)
    options = {"protocol": "gym_pusht", "reset_mask": np.array([True, False, False])}
    env.reset(options=options)
    assert set(options) == {"protocol", "reset_mask"}
    assert options["reset_mask"].tolist() == [True, False, False]


@pytest.mark.parametrize("workers", [1, 2])
def test_pictures_for_people_are_those_of_single_environments(workers: int) -> None:
    arguments = {"render_mode": "rgb_array", "render_size_px": 64, "overlays": ("goal", "action", "plan")}
    env = PushTVectorEnv(num_envs=3, workers=workers, max_episode_steps=2, **arguments)
    singles = [PushTEnv(**arguments) for _ in range(3)]
    plan = np.array([[100.0, 100.0], [200.0, 150.0], [300.0, 300.0]])
    env.reset(seed=0)
    for index, single in enumerate(singles):
        single.reset(seed=index)

    def assert_same_pictures() -> None:
        pictures = env.render()
        assert len(pictures) == 3
        for picture, single in zip(pictures, singles, strict=True):
            np.testing.assert_array_equal(picture, single.render())

    assert_same_pictures()
    env.show_plan([plan, None, plan])
    singles[0].show_plan(plan)
    singles[2].show_plan(plan)
    for action in ([300.0, 200.0], [400.0, 100.0]):
        env.step(np.tile(action, (3, 1)))
        for single in singles:
            single.step(action)
        assert_same_pictures()
    # The next episode begins: neither action nor plan is drawn any more.
    env.step(AWAY)
    for single in singles:
        single.reset()
    assert_same_pictures()
    env.close()


def test_without_a_render_mode_nothing_is_drawn() -> None:
    env = PushTVectorEnv(num_envs=2)
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="rgb_array"):
        assert env.render() is None


def test_gymnasiums_statistics_wrapper_counts_episodes() -> None:
    env = gym.wrappers.vector.RecordEpisodeStatistics(gym.make_vec(ENV_ID, num_envs=3, max_episode_steps=4))
    env.reset(seed=0)
    infos = [env.step(AWAY)[4] for _ in range(4)]
    assert infos[-1]["episode"]["l"].tolist() == [4, 4, 4]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, copy.copy, pickle.dumps])
def test_it_cannot_be_pickled_or_copied(duplicate) -> None:
    with pytest.raises(TypeError, match="get_state"):
        duplicate(PushTVectorEnv(num_envs=2))


@pytest.mark.parametrize("workers", [1, 2])
def test_closing_is_final_and_may_be_repeated(workers: int) -> None:
    env = PushTVectorEnv(num_envs=2, workers=workers)
    env.reset(seed=0)
    env.close()
    env.close()
    assert env.closed
    for call in (env.reset, lambda: env.step(AWAY[:2]), env.get_state, lambda: env.np_random):
        with pytest.raises(gym.error.ClosedEnvironmentError):
            call()
