"""What the policy sees of Push-T, and its mirror, are those of the world's own geometry."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from diffpolicy_envs.pusht import geometry
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from diffpolicy.errors import ConfigError
from diffpolicy.tasks import load_task
from diffpolicy.tasks.pusht import TASK, mirror_keypoints, mirror_position, mirror_state, state_features

PARTNERS = [1, 0, 7, 6, 5, 4, 3, 2]
"""The corner that each corner of the block is reflected onto."""

STATES = st.tuples(*[st.floats(0, 512)] * 4, st.floats(-10, 10)).map(lambda s: torch.tensor(s, dtype=torch.float64))


def random_states(*batch: int, seed: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.rand(*batch, 5, generator=g, dtype=torch.float64) * torch.tensor([512, 512, 512, 512, math.tau])


def corners_of(features: Tensor) -> Tensor:
    return features[..., 2:].unflatten(-1, (8, 2))


@given(STATES)
def test_the_mirror_is_the_worlds_own(state: Tensor) -> None:
    found, expected = mirror_state(state).numpy(), geometry.mirror_state(state.numpy())
    np.testing.assert_allclose(found[:4], expected[:4], rtol=0, atol=1e-12)
    turn = (found[4] - expected[4] + np.pi) % (2 * np.pi) - np.pi
    assert abs(turn) < 1e-12
    np.testing.assert_allclose(mirror_position(state[:2]).numpy(), geometry.mirror_action(state[:2].numpy()), atol=0)


@given(STATES)
def test_two_reflections_are_none(state: Tensor) -> None:
    obs = {"state": state, "agent_pos": state[:2], "keypoints": keypoints_of(state)}
    twice, action = TASK.mirror(*TASK.mirror(obs, state[2:4]))
    torch.testing.assert_close(action, state[2:4], rtol=0, atol=1e-12)
    torch.testing.assert_close(twice["agent_pos"], obs["agent_pos"], rtol=0, atol=1e-12)
    torch.testing.assert_close(twice["keypoints"], obs["keypoints"], rtol=0, atol=1e-9)
    torch.testing.assert_close(state_features(twice["state"]), state_features(state), rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mirrored_angles_lie_in_one_turn(dtype: torch.dtype) -> None:
    """Just above pi/2 the mirrored angle is just below 0, whose remainder rounds to a whole turn."""
    quarter = torch.tensor(math.pi / 2, dtype=dtype)
    above, below = (torch.nextafter(quarter, torch.tensor(end, dtype=dtype)) for end in (2.0, 1.0))
    angles = torch.cat([torch.stack([quarter, above, below]), torch.linspace(-20, 20, 1001, dtype=dtype)])
    mirrored = mirror_state(torch.cat([torch.zeros(len(angles), 4, dtype=dtype), angles[:, None]], dim=1))[:, 4]
    assert ((mirrored >= 0) & (mirrored < math.tau)).all()


@given(STATES)
def test_features_are_the_agent_and_the_outline(state: Tensor) -> None:
    features = state_features(state)
    assert features.shape == (18,)
    assert torch.equal(features[:2], state[:2])
    np.testing.assert_allclose(
        corners_of(features).numpy(), geometry.block_corners(state[2:].numpy()), rtol=0, atol=1e-9
    )


@given(STATES)
def test_features_of_a_mirrored_state_are_the_reflected_corners(state: Tensor) -> None:
    """Left and right change places, so each corner lies where its partner is reflected to."""
    mirrored, original = corners_of(state_features(mirror_state(state))), corners_of(state_features(state))
    torch.testing.assert_close(mirrored[PARTNERS], mirror_position(original), rtol=0, atol=1e-9)


def test_features_do_not_jump_where_the_angle_does() -> None:
    below, above = (torch.tensor([100.0, 100, 200, 200, angle]) for angle in (math.tau - 1e-4, 1e-4))
    assert (state_features(below) - state_features(above)).abs().max() < 0.03


def keypoints_of(state: Tensor) -> Tensor:
    return torch.from_numpy(geometry.block_keypoints(state[..., 2:].double().numpy())).to(state.dtype)


@given(STATES)
def test_mirrored_keypoints_are_those_of_the_mirrored_pose(state: Tensor) -> None:
    expected = geometry.block_keypoints(geometry.mirror_pose(state[2:].numpy()))
    np.testing.assert_allclose(mirror_keypoints(keypoints_of(state)).numpy(), expected, rtol=0, atol=1e-9)


def test_keypoints_in_single_precision_are_mirrored_to_a_thousandth_of_a_pixel() -> None:
    states = random_states(200)
    expected = geometry.block_keypoints(geometry.mirror_pose(states[:, 2:].numpy()))
    found = mirror_keypoints(keypoints_of(states).float())
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-3)


def test_the_mirror_keeps_the_coverage() -> None:
    near_goal = random_states(500)
    goal = torch.from_numpy(geometry.GOAL_POSE.copy())
    near_goal[:, 2:] = goal + (torch.rand(500, 3, dtype=torch.float64) - 0.5) * torch.tensor([80.0, 80.0, 1.5])
    before = geometry.coverage(near_goal[:, 2:].numpy())
    assert before.std() > 0.05
    after = geometry.coverage(mirror_state(near_goal)[:, 2:].numpy())
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-9)


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "state_features": state_features,
    "mirror_state": mirror_state,
    "mirror_keypoints": lambda states: mirror_keypoints(keypoints_of(states)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_any_batch_shape(name: str) -> None:
    states = random_states(2, 3, 4)
    whole = FUNCTIONS[name](states)
    for index in np.ndindex(2, 3, 4):
        torch.testing.assert_close(whole[index], FUNCTIONS[name](states[index]), rtol=0, atol=1e-9)


def test_the_task_applies_both_to_its_keys() -> None:
    states = random_states(3, 2).float()
    obs = {"state": states, "keypoints": keypoints_of(states), "agent_pos": states[..., :2]}
    features = TASK.features(obs)
    assert {key: tuple(value.shape) for key, value in features.items()} == {
        "state": (3, 2, 18),
        "keypoints": (3, 2, 9, 2),
        "agent_pos": (3, 2, 2),
    }
    assert torch.equal(features["keypoints"], obs["keypoints"])
    mirrored, action = TASK.mirror(obs, states[..., 2:4])
    assert torch.equal(mirrored["state"], mirror_state(states))
    assert torch.equal(mirrored["agent_pos"], mirror_position(states[..., :2]))
    assert torch.equal(action, mirror_position(states[..., 2:4]))


def test_an_observation_without_a_known_mirror_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"cannot mirror 'touch', only state, .*, pixels; set it to false"):
        load_task("pusht").mirror({"touch": torch.zeros(1, 3)}, torch.zeros(1, 2))
