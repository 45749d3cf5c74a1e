"""Bad input to a vector environment is refused in one clear line before any world is changed."""

import gymnasium as gym
import numpy as np
import pytest
from diffpolicy_envs.pusht import PushTEnv, PushTVectorEnv
from diffpolicy_envs.pusht.checks import checked_seeds

GOOD = [[200.0, 200.0], [300.0, 100.0], [50.0, 60.0]]


def with_fault(world: int, value: float) -> list[list[float]]:
    actions = [list(action) for action in GOOD]
    actions[world][1] = value
    return actions


@pytest.fixture(scope="module")
def both() -> list[PushTVectorEnv]:
    """Two environments that every test leaves alike: one is given bad input, the other is not."""
    return [PushTVectorEnv(num_envs=3, variations={"scale": 1.0}) for _ in range(2)]


def assert_undisturbed(both: list[PushTVectorEnv]) -> None:
    for _ in range(3):
        seen = [env.step(GOOD)[0]["state"] for env in both]
        np.testing.assert_array_equal(*seen)
    np.testing.assert_array_equal(both[0].reset()[0]["state"], both[1].reset()[0]["state"])


@pytest.mark.parametrize(
    ("actions", "complaint"),
    [
        (with_fault(1, np.nan), r"actions\[1\].*nan"),
        (with_fault(2, -np.inf), r"actions\[2\].*inf"),
        (GOOD[:2], r"shape \(3, 2\), found shape \(2, 2\)"),
        (GOOD[0], r"found shape \(2,\)"),
        ([[1.0, 2.0], [1.0], [2.0, 3.0]], r"shape \(3, 2\)"),
        (None, "NoneType"),
        ([["1", "2"]] * 3, "list"),
        ([[True, False]] * 3, "bool"),
        ([[1j, 2.0]] * 3, "complex"),
    ],
)
def test_bad_actions_name_the_fault_and_move_nothing(
    both: list[PushTVectorEnv], actions: object, complaint: str
) -> None:
    for env in both:
        env.reset(seed=0)
    with pytest.raises(ValueError, match=complaint) as error:
        both[0].step(actions)
    assert "\n" not in str(error.value)
    assert_undisturbed(both)


@pytest.mark.parametrize(
    ("seed", "options", "complaint"),
    [
        (None, {"protocol": "diffusion-policy"}, "did you mean 'diffusion_policy'"),
        (None, {"reset_masks": None}, "did you mean 'reset_mask'"),
        (None, {"state": [1.0, 2.0]}, "5 finite numbers"),
        (None, {"goal_pose": "random"}, "variations"),
        (None, {"reset_mask": np.zeros(3, bool)}, "none"),
        (None, {"reset_mask": np.ones(2, bool)}, r"shape \(2,\)"),
        (None, {"reset_mask": np.ones(3)}, "float64"),
        (None, {"reset_mask": [True, True, True]}, "list"),
        (-1, None, "seed of world 0.*-1"),
        ([1, 2], None, "3 seeds.*2"),
        ([1, 2, -5], None, "seed of world 2.*-5"),
        (2**32 - 2, {"protocol": "diffusion_policy"}, "seed of world 2.*4294967296"),
    ],
)
def test_bad_resets_name_the_fault_and_change_nothing(
    both: list[PushTVectorEnv], seed: object, options: dict | None, complaint: str
) -> None:
    for env in both:
        env.reset(seed=0)
    with pytest.raises((ValueError, TypeError), match=complaint) as error:
        both[0].reset(seed=seed, options=options)
    assert "\n" not in str(error.value)
    assert_undisturbed(both)


@pytest.mark.parametrize("seed", ["7", 1.5, [0.5, 1, 2], {"a": 1}])
def test_seeds_are_integers(seed: object) -> None:
    with pytest.raises(ValueError, match="integer"):
        checked_seeds(seed, 3, below=None)
    assert checked_seeds(np.array([3, 1, 2]), 3, below=None) == [3, 1, 2]


def test_bad_states_are_refused_by_number(both: list[PushTVectorEnv]) -> None:
    for env in both:
        env.reset(seed=0)
    states = both[0].get_state()
    with pytest.raises(ValueError, match=r"expected 3.*found 2"):
        both[0].set_state(states[:2])
    other = PushTEnv(variations={"goal_pose": [200.0, 200.0, 0.0]})
    other.reset(seed=0)
    with pytest.raises(ValueError, match=r"states\[2\].*goal_pose"):
        both[0].set_state([*states[:2], other.get_state()])
    with pytest.raises((ValueError, TypeError), match=r"(?i)states"):
        both[0].set_state([*states[:2], [1.0, 2.0, 3.0, 4.0, 5.0]])
    assert_undisturbed(both)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"num_envs": 0}, "num_envs.*at least 1"),
        ({"workers": 0}, "workers.*at least 1"),
        ({"workers": 4}, "workers.*num_envs, 3"),
        ({"max_episode_steps": 0}, "max_episode_steps.*at least 1"),
        ({"timeout_s": 0.0}, "timeout_s.*positive"),
        ({"timeout_s": float("nan")}, "timeout_s.*positive"),
        ({"autoreset_mode": "nextstep"}, "did you mean 'NextStep'"),
        ({"render_mode": "human"}, "'rgb_array', None"),
        ({"overlays": ("goals",)}, "did you mean 'goal'"),
        ({"obs_type": "keypoint"}, "did you mean 'keypoints'"),
        ({"variations": {"colour": 1}}, "'goal_pose', 'scale'"),
    ],
)
def test_bad_arguments_are_refused_with_the_valid_ones(arguments: dict, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as error:
        PushTVectorEnv(**{"num_envs": 3, **arguments})
    assert "\n" not in str(error.value)


def test_worlds_must_be_reset_before_anything_else() -> None:
    env = PushTVectorEnv(num_envs=3, render_mode="rgb_array")
    for call in (lambda: env.step(GOOD), env.render, env.get_state):
        with pytest.raises(gym.error.ResetNeeded, match=r"\[0, 1, 2\]"):
            call()
    with pytest.raises(gym.error.ResetNeeded, match=r"\[0, 2\]|\[0, 1, 2\]"):
        env.reset(options={"reset_mask": np.array([False, True, False])})


def test_ended_worlds_must_be_reset_where_nothing_does_so_by_itself() -> None:
    env = PushTVectorEnv(num_envs=3, autoreset_mode="Disabled", max_episode_steps=2)
    env.reset(seed=0)
    env.step(GOOD)
    env.reset(options={"reset_mask": np.array([False, True, False])})
    env.step(GOOD)
    with pytest.raises(gym.error.ResetNeeded, match=r"\[0, 2\].*reset_mask"):
        env.step(GOOD)
    env.reset(options={"reset_mask": np.array([True, False, True])})
    env.step(GOOD)
