"""What counts as the same state, when two trajectories part, and what the block touched then."""

import gymnasium as gym
import numpy as np
import pytest
from diffpolicy_envs import PUSHT_ID
from diffpolicy_envs.pusht import AGENT_RADIUS_PX, BLOCK_CORNERS, transform_points

from diffpolicy.benchmarking.bare_physics import agent_velocities, time_bare_steps
from diffpolicy.benchmarking.environment import (
    agent_gap_px,
    contact_rich_episodes,
    state_difference,
    summarize,
    wall_gaps_px,
)
from diffpolicy.benchmarking.peer_gym_pusht import roll_out

MIDDLE = np.array([100.0, 100.0, 256.0, 256.0, 0.3])


def test_angles_are_compared_modulo_a_turn() -> None:
    a = np.array([[1.0, 2.0, 3.0, 4.0, 0.1]] * 3)
    b = a + np.array([[0, 0, 0, 0, 2 * np.pi], [0, 0, 0, 0, -0.2 - 4 * np.pi], [0, 0, -7.0, 0, 1.0]])
    assert state_difference(a, b) == pytest.approx([0.0, 0.2, 7.0], abs=1e-12)
    assert state_difference(b, a) == pytest.approx([0.0, 0.2, 7.0], abs=1e-12)


def test_the_gap_to_the_agent() -> None:
    """In the block's frame the distances are plain; moving and turning both bodies changes none of them."""
    agents = np.array([[0.0, -40.0], [100.0, 15.0], [63.0, -4.0], [0.0, 60.0], [40.0, 60.0]])
    expected = np.array([40.0, 40.0, 5.0, 0.0, 25.0]) - AGENT_RADIUS_PX
    rng = np.random.default_rng(0)
    for pose in rng.uniform([0, 0, 0], [512, 512, 6.28], (20, 3)):
        states = np.column_stack([transform_points(agents, pose), np.tile(pose, (5, 1))])
        assert agent_gap_px(states) == pytest.approx(expected, abs=1e-9)


def test_the_gaps_to_the_walls() -> None:
    upright = np.array([0.0, 0.0, 200.0, 300.0, 0.0])
    corners = BLOCK_CORNERS + upright[2:4]
    low, high = corners.min(axis=0), corners.max(axis=0)
    assert wall_gaps_px(upright) == pytest.approx([*(low - 7), *(504 - high)])
    upright[2] = 60.0
    assert wall_gaps_px(upright).min() == pytest.approx(-7.0)


def _still(count: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    return np.tile(MIDDLE, (count, steps + 1, 1)), np.zeros((count, steps))


def test_what_is_the_same_is_told_as_the_same() -> None:
    states, rewards = _still(3, 5)
    found = summarize(states, states, rewards, rewards, [7, 8, 9])
    assert (found.count, found.steps) == (3, 5)
    assert (found.within_share, found.identical_share, found.largest, found.partings) == (1.0, 1.0, 0.0, ())
    assert found.agrees


def test_partings_are_found() -> None:
    ours, rewards = _still(4, 10)
    theirs, their_rewards = ours.copy(), rewards.copy()
    theirs[1, 3, 2] += 1e-9  # as good as the same
    theirs[2, 4:, 0] += 1e-7
    theirs[2, 6:, 0] += 5.0  # far apart by the end, but they parted at step 4
    their_rewards[2, 7] = 0.5  # where the states differ, rewards may
    their_rewards[3, 7] = 1e-4
    found = summarize(ours, theirs, rewards, their_rewards, [7, 8, 9, 10])
    assert (found.within_share, found.identical_share) == (0.75, 0.5)
    assert not found.agrees
    assert found.largest_reward == 1e-4
    (parting,) = found.partings
    assert (parting.seed, parting.step) == (9, 4)
    assert parting.difference == pytest.approx(1e-7)
    assert parting.largest == found.largest == pytest.approx(5.0)
    assert (parting.start_overlap_px, parting.walls_touched, parting.agent_touched) == (0.0, 0, False)


def test_a_parting_says_what_was_touched() -> None:
    ours, rewards = _still(1, 3)
    ours[0, 0] = [10.0, 10.0, 60.0, 300.0, 0.0]  # 7 px into a wall
    ours[0, 1] = [52.0, 0.0, 67.2, 7.1, 0.0]  # in a corner, the agent's centre 7.1 px beyond the bar
    theirs = ours.copy()
    theirs[0, 2:] += 1.0
    (parting,) = summarize(ours, theirs, rewards, rewards, [7]).partings
    assert parting.start_overlap_px == pytest.approx(7.0)
    assert (parting.step, parting.walls_touched, parting.agent_touched) == (2, 2, True)


def test_actions_are_the_same_each_time_and_touch_the_block() -> None:
    episodes, again = contact_rich_episodes(6, 60), contact_rich_episodes(6, 60)
    assert all(a.seed == b.seed and np.array_equal(a.actions, b.actions) for a, b in zip(episodes, again, strict=True))
    actions = np.array([episode.actions for episode in episodes])
    assert ((actions >= 0) & (actions <= 512)).all()
    env = gym.make(PUSHT_ID).unwrapped
    states = np.array([roll_out(env, episode.seed, episode.actions)[0] for episode in episodes])
    assert (agent_gap_px(states[1::2]) < 0.5).mean() > 0.4


def test_the_bare_physics_is_given_the_controllers_velocities() -> None:
    env = gym.make(PUSHT_ID).unwrapped
    (episode,) = contact_rich_episodes(1, 30)
    start, _ = env.reset(seed=episode.seed)
    seen = np.array([env.step(action)[4]["agent_vel"] for action in episode.actions])
    given = agent_velocities(start[:2], episode.actions)
    assert given[9::10] == pytest.approx(seen, abs=1e-9)
    assert np.abs(given).max() > 100
    assert 0 < time_bare_steps(start, episode.actions) < 0.1
