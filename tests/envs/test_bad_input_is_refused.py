"""Bad input is refused in one clear line and leaves the world as it was."""

import gymnasium as gym
import numpy as np
import pytest
from diffpolicy_envs.pusht import PushTEnv, draw_scene, sample_start

STATE = [100.0, 100.0, 250.0, 250.0, 1.0]


@pytest.mark.parametrize(
    ("action", "complaint"),
    [
        ([np.nan, 10.0], "nan"),
        ([10.0, np.inf], "inf"),
        ([1.0, 2.0, 3.0], r"shape \(3,\)"),
        ([[1.0, 2.0]], r"shape \(1, 2\)"),
        (5.0, r"shape \(\)"),
        ([], r"shape \(0,\)"),
        ([[1.0], [1.0, 2.0]], "found"),
        (None, "NoneType"),
        (["1", "2"], "list"),
        ("12", "str"),
        ([True, False], "bool"),
        ([1j, 2.0], "complex"),
        ({"x": 1}, "dict"),
    ],
)
def test_bad_action_names_the_fault_and_moves_nothing(action: object, complaint: str) -> None:
    env, undisturbed = PushTEnv(), PushTEnv()
    for world in (env, undisturbed):
        world.reset(seed=0)
        world.step([200.0, 200.0])
    with pytest.raises(ValueError, match=complaint) as error:
        env.step(action)
    assert "action" in str(error.value)
    assert "\n" not in str(error.value)
    for _ in range(5):
        np.testing.assert_array_equal(env.step([300.0, 300.0])[0], undisturbed.step([300.0, 300.0])[0])


@pytest.mark.parametrize("kind", [list, tuple, np.float32, np.int64])
def test_any_two_real_numbers_are_an_action(kind: type) -> None:
    env = PushTEnv()
    env.reset(seed=0)
    expected = env.step(np.array([300.0, 200.0]))[0]
    env.reset(seed=0)
    action = kind([300, 200]) if kind in (list, tuple) else np.array([300, 200], dtype=kind)
    np.testing.assert_array_equal(env.step(action)[0], expected)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"obs_type": "keypoint"}, ["'state'", "'keypoints'", "did you mean 'keypoints'"]),
        ({"obs_type": "images"}, ["'state'", "'keypoints'"]),
        ({"render_mode": "human"}, ["'rgb_array'", "None"]),
        ({"render_size_px": 0}, ["at least 1"]),
        ({"render_size_px": -3}, ["-3"]),
    ],
)
def test_unknown_arguments_are_refused_with_the_valid_ones(arguments: dict, named: list[str]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))) as error:
        PushTEnv(**arguments)
    assert all(name in str(error.value) for name in named)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"protocol": "diffusion-policy"}, ["'gym_pusht'", "did you mean 'diffusion_policy'"]),
        ({"protocol": 3}, ["'gym_pusht'", "'diffusion_policy'"]),
        ({"sate": STATE}, ["'protocol'", "did you mean 'state'"]),
        ({"state": STATE, "protocol": "gym_pusht"}, ["excludes"]),
        ({"state": STATE[:4]}, ["5 finite numbers", "(4,)"]),
        ({"state": [*STATE[:4], np.nan]}, ["5 finite numbers", "nan"]),
        ({"state": None}, ["5 finite numbers", "None"]),
        ({"state": ["a", "b", "c", "d", "e"]}, ["5 finite numbers"]),
        ({"state": [100.0, 100.0, 1e9, 250.0, 0.0]}, ["[-256, 768]"]),
    ],
)
def test_bad_options_name_the_valid_ones_and_leave_the_world(options: dict, named: list[str]) -> None:
    env, undisturbed = PushTEnv(), PushTEnv()
    for world in (env, undisturbed):
        world.reset(seed=0)
    with pytest.raises(ValueError, match="options") as error:
        env.reset(seed=1, options=options)
    assert all(name in str(error.value) for name in named), str(error.value)
    np.testing.assert_array_equal(env.step([300.0, 300.0])[0], undisturbed.step([300.0, 300.0])[0])
    np.testing.assert_array_equal(env.reset()[0], undisturbed.reset()[0])


def test_seed_too_large_for_the_legacy_generator_is_refused() -> None:
    with pytest.raises(ValueError, match=r"2\*\*32 - 1"):
        PushTEnv().reset(seed=2**32, options={"protocol": "diffusion_policy"})
    with pytest.raises(ValueError, match="gym_pusht, diffusion_policy"):
        sample_start("other", np.random.default_rng(0))


@pytest.mark.parametrize("method", ["step", "render"])
def test_an_environment_must_be_reset_first(method: str) -> None:
    env = PushTEnv(render_mode="rgb_array")
    arguments = ([[1.0, 2.0]],) if method == "step" else ()
    with pytest.raises(gym.error.ResetNeeded, match="reset"):
        getattr(env, method)(*arguments)


@pytest.mark.parametrize(
    ("state", "size_px"), [(np.zeros(4), 96), (np.full(5, np.nan), 96), (np.zeros(5), 0), (np.zeros(5), -3)]
)
def test_nothing_is_drawn_of_a_bad_state_or_at_a_bad_size(state: np.ndarray, size_px: int) -> None:
    # A run with shapes checked refuses the wrong shape itself, as a TypeError.
    with pytest.raises((ValueError, TypeError), match=r"(?i)expected"):
        draw_scene(state, size_px=size_px)
