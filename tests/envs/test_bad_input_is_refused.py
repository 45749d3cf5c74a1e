"""Bad input is refused in one clear line and leaves the world as it was."""

import gymnasium as gym
import numpy as np
import pytest
from diffpolicy_envs.pusht import PushTEnv, draw_scene, sample_start

pytestmark = pytest.mark.usefixtures("without_shape_checks")

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
        (np.eye(2, dtype=bool), "bool"),
        (np.array([1.0, None]), "object"),
        (np.array(5.0), r"shape \(\)"),
        (np.zeros((1000, 2)), r"shape \(1000, 2\)"),
        ([10**400, 1.0], "object"),
        ("a long story " * 100, "str"),
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
    assert len(str(error.value)) < 300
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
        ({"obs_type": None}, ["'state'", "None"]),
        ({"render_mode": "rgb"}, ["'human', 'rgb_array', None", "'rgb'"]),
        ({"render_mode": 1}, ["'rgb_array'", "None"]),
        ({"render_size_px": 0}, ["at least 1"]),
        ({"render_size_px": -3}, ["-3"]),
        ({"render_size_px": 96.0}, ["whole number", "96.0"]),
        ({"render_size_px": True}, ["whole number", "True"]),
        ({"keypoint_set": "corner"}, ["'human', 'corners'", "did you mean 'corners'"]),
        ({"keypoint_set": None}, ["'human', 'corners'", "None"]),
        ({"pixels_size_px": 0}, ["at least 1", "0"]),
        ({"pixels_size_px": (96, 96, 3)}, ["(height, width)", "(96, 96, 3)"]),
        ({"pixels_size_px": "96"}, ["'96'"]),
        ({"pixels_size_px": (True, 96)}, ["True"]),
        ({"overlays": ["gaol"]}, ["'goal', 'action', 'plan'", "did you mean 'goal'"]),
        ({"overlays": "path"}, ["'goal', 'action', 'plan'", "'path'"]),
        ({"overlays": [None]}, ["'goal', 'action', 'plan'", "None"]),
    ],
)
def test_unknown_arguments_are_refused_with_the_valid_ones(arguments: dict, named: list[str]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))) as error:
        PushTEnv(**arguments)
    assert all(name in str(error.value) for name in named), str(error.value)
    assert "\n" not in str(error.value)


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
        ({"state": [100.0, 100.0, 1e9, 250.0, 0.0]}, ["block", "[-256, 768]"]),
        ({"state": [100.0, 512.5, 250.0, 250.0, 0.0]}, ["agent", "512.5", "[0, 512]"]),
        ({"state": np.eye(5, dtype=bool)}, ["5 finite numbers", "bool"]),
        ({3: 1}, ["'protocol'", "3"]),
        (["protocol"], ["'protocol'", "list"]),
        ("gym_pusht", ["'protocol'", "str"]),
    ],
)
def test_bad_options_name_the_valid_ones_and_leave_the_world(options: dict, named: list[str]) -> None:
    env, undisturbed = PushTEnv(), PushTEnv()
    for world in (env, undisturbed):
        world.reset(seed=0)
    with pytest.raises(ValueError, match="options") as error:
        env.reset(seed=1, options=options)
    assert all(name in str(error.value) for name in named), str(error.value)
    assert "\n" not in str(error.value)
    np.testing.assert_array_equal(env.step([300.0, 300.0])[0], undisturbed.step([300.0, 300.0])[0])
    np.testing.assert_array_equal(env.reset()[0], undisturbed.reset()[0])


@pytest.mark.parametrize(
    ("seed", "options"),
    [(-1, {}), (1.0, {}), ("7", {}), ([7], {}), (np.array([7]), {}), (2**32, {"protocol": "diffusion_policy"})],
)
def test_bad_seeds_are_refused_and_leave_the_generator(seed: object, options: dict) -> None:
    env, undisturbed = PushTEnv(), PushTEnv()
    for world in (env, undisturbed):
        world.reset(seed=0)
    with pytest.raises(ValueError, match="seed: expected an integer of at least 0"):
        env.reset(seed=seed, options=options)
    np.testing.assert_array_equal(env.step([300.0, 300.0])[0], undisturbed.step([300.0, 300.0])[0])
    np.testing.assert_array_equal(env.reset()[0], undisturbed.reset()[0])


def test_any_whole_number_from_zero_is_a_seed() -> None:
    env = PushTEnv()
    np.testing.assert_array_equal(env.reset(seed=np.int64(7))[0], env.reset(seed=7)[0])
    assert env.observation_space.contains(env.reset(seed=2**200)[0])
    largest = env.reset(seed=2**32 - 1, options={"protocol": "diffusion_policy"})[0]
    assert env.observation_space.contains(largest)


def test_a_protocol_refuses_what_it_cannot_draw() -> None:
    with pytest.raises(ValueError, match=r"2\*\*32 - 1"):
        sample_start("diffusion_policy", np.random.default_rng(0), 2**32)
    with pytest.raises(ValueError, match="gym_pusht, diffusion_policy"):
        sample_start("other", np.random.default_rng(0))


@pytest.mark.parametrize(
    "state",
    [
        None,
        "here",
        STATE[:4],
        [*STATE[:4], np.inf],
        [np.nan, *STATE[1:]],
        [1e9, *STATE[1:]],
        np.zeros((5, 5), dtype=bool),
    ],
)
def test_a_displacement_to_nowhere_is_refused_and_moves_nothing(state: object) -> None:
    env, undisturbed = PushTEnv(), PushTEnv()
    for world in (env, undisturbed):
        world.reset(seed=0)
    with pytest.raises(ValueError, match=r"state: .*expected") as error:
        env.displace(state)
    assert "\n" not in str(error.value)
    for _ in range(3):
        np.testing.assert_array_equal(env.step([300.0, 300.0])[0], undisturbed.step([300.0, 300.0])[0])


@pytest.mark.parametrize(
    "plan", [[1.0, 2.0], np.zeros((3, 3)), 5.0, np.zeros((2, 3, 2)), "abc", [[None, 1.0]], object()]
)
def test_a_plan_of_another_shape_is_refused(plan: object) -> None:
    env = PushTEnv()
    env.reset(seed=0)
    env.show_plan([[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(ValueError, match=r"plan: expected .*\(steps, 2\)"):
        env.show_plan(plan)
    env.show_plan(None)


@pytest.mark.parametrize("method", ["step", "render"])
def test_an_environment_must_be_reset_first(method: str) -> None:
    env = PushTEnv(render_mode="rgb_array")
    arguments = ([1.0, 2.0],) if method == "step" else ()
    with pytest.raises(gym.error.ResetNeeded, match="reset"):
        getattr(env, method)(*arguments)


@pytest.mark.parametrize(
    ("state", "size_px"), [(np.zeros(4), 96), (np.full(5, np.nan), 96), (np.zeros(5), 0), (np.zeros(5), -3)]
)
def test_nothing_is_drawn_of_a_bad_state_or_at_a_bad_size(state: np.ndarray, size_px: int) -> None:
    # A run with shapes checked refuses the wrong shape itself, as a TypeError.
    with pytest.raises((ValueError, TypeError), match=r"(?i)expected"):
        draw_scene(state, size_px=size_px)
