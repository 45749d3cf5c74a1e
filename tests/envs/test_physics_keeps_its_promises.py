"""Exact set and get, one future per state, the controller's closed form, and the task's mirror."""

import copy
import pickle

import numpy as np
import pytest
from diffpolicy_envs.pusht import PushTPhysics, mirror_action, mirror_state


def state_of(physics: PushTPhysics) -> np.ndarray:
    return np.array(physics.agent_position_px + physics.block_pose)


def pushes(seed: int, count: int, low: float = 130.0, high: float = 380.0) -> list[list[float]]:
    return np.random.default_rng(seed).uniform(low, high, (count, 2)).tolist()


def test_set_state_is_read_back_exactly() -> None:
    physics = PushTPhysics()
    rng = np.random.default_rng(0)
    for _ in range(200):
        state = np.array([*rng.uniform(0, 512, 4), rng.uniform(0, 2 * np.pi)])
        physics.set_state(state)
        np.testing.assert_allclose(state_of(physics), state, rtol=0, atol=1e-12)
        assert physics.agent_velocity_px_per_s == (0.0, 0.0)


def test_the_past_leaves_no_trace_in_a_set_state() -> None:
    fresh, used = PushTPhysics(), PushTPhysics()
    for target in pushes(0, 50):
        used.step(*target)
    state = np.array([220.0, 210.0, 256.0, 256.0, 0.7])
    fresh.set_state(state)
    used.set_state(state)
    for target in pushes(1, 200):
        fresh.step(*target)
        used.step(*target)
        np.testing.assert_array_equal(state_of(fresh), state_of(used))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda physics: pickle.loads(pickle.dumps(physics))])
@pytest.mark.parametrize("exact", [True, False])
def test_a_copy_taken_in_contact_goes_on_bit_for_bit(duplicate, exact: bool) -> None:
    physics = PushTPhysics(count_contacts=True)
    set_up = physics.set_state if exact else physics.set_start
    set_up(np.array([220.0, 210.0, 256.0, 256.0, 0.7]))
    in_contact = 0
    for target in pushes(2, 60):
        physics.step(*target)
        twin = duplicate(physics)
        np.testing.assert_array_equal(state_of(twin), state_of(physics))
        in_contact += physics.n_contacts > 0
    assert in_contact > 5
    for target in pushes(3, 100):
        physics.step(*target)
        twin.step(*target)
        np.testing.assert_array_equal(state_of(twin), state_of(physics))


def test_agent_follows_the_published_spring() -> None:
    """Each sub-step is linear in (p - target, v): the agent's way is a matrix power, whatever it pushes."""
    sub_step = np.array([[1 - 0.01, 0.01 - 0.002], [-1.0, 0.8]])
    physics = PushTPhysics()
    physics.set_state(np.array([100.0, 250.0, 256.0, 230.0, 0.3]))
    target = np.array([400.0, 240.0])
    deviation = np.array([[100.0, 250.0] - target, [0.0, 0.0]])
    for steps in range(1, 11):
        physics.step(*target.tolist())
        position, velocity = np.linalg.matrix_power(sub_step, 10 * steps) @ deviation
        np.testing.assert_allclose(physics.agent_position_px, target + position, atol=1e-9)
        np.testing.assert_allclose(physics.agent_velocity_px_per_s, velocity, atol=1e-8)
    block_x, block_y, _ = physics.block_pose
    assert np.hypot(block_x - 256.0, block_y - 230.0) > 20.0


def test_a_block_that_nothing_touches_stays() -> None:
    physics = PushTPhysics()
    state = np.array([60.0, 60.0, 300.0, 300.0, 1.0])
    physics.set_state(state)
    for target in pushes(4, 100, 30.0, 120.0):
        physics.step(*target)
    np.testing.assert_allclose(physics.block_pose, state[2:], rtol=0, atol=1e-12)


def test_the_mirrored_world_follows_the_mirrored_trajectory() -> None:
    """Away from the walls, where the mirror is exact; rounding grows in contact, so for a while."""
    original, mirrored = PushTPhysics(), PushTPhysics()
    moved = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        state = np.array([256.0, 160.0, *rng.uniform(230, 280, 2), rng.uniform(0, 2 * np.pi)])
        original.set_state(state)
        mirrored.set_state(mirror_state(state))
        action = state[:2]
        for _ in range(20):
            action = np.clip(action + rng.normal(0, 12, 2) + (state[2:4] - action) * 0.1, 150, 350)
            original.step(*action.tolist())
            mirrored.step(*mirror_action(action).tolist())
            expected, found = mirror_state(state_of(original)), state_of(mirrored)
            np.testing.assert_allclose(found[:4], expected[:4], rtol=0, atol=1e-6)
            assert abs((found[4] - expected[4] + np.pi) % (2 * np.pi) - np.pi) < 1e-8
        moved.append(np.abs(state_of(original)[2:4] - state[2:4]).max())
    assert np.median(moved) > 1.0


def test_counting_contacts_does_not_change_the_world() -> None:
    plain, counting = PushTPhysics(), PushTPhysics(count_contacts=True)
    counts = []
    for physics in (plain, counting):
        physics.set_state(np.array([220.0, 210.0, 256.0, 256.0, 0.7]))
    for target in pushes(5, 100):
        plain.step(*target)
        counting.step(*target)
        counts.append(counting.n_contacts)
        np.testing.assert_array_equal(state_of(plain), state_of(counting))
    assert min(counts) == 0
    assert max(counts) >= 1
    with pytest.raises(AttributeError, match="count_contacts=True"):
        _ = plain.n_contacts
