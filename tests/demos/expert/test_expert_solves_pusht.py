"""The expert succeeds from the published starts, moves as people do, keeps to what it was asked, and repeats itself."""

import gymnasium as gym
import numpy as np
import pytest
from diffpolicy_demos.expert import PushTExpert
from diffpolicy_demos.expert.collect import demonstrate, demonstrations
from diffpolicy_envs import PUSHT_ID

TUNING_SEEDS = 500_000

# Planning is hundreds of thousands of small calls, each of which the checker of annotations would stop at.
pytestmark = pytest.mark.usefixtures("without_shape_checks")


@pytest.mark.parametrize("protocol", ["gym_pusht", "diffusion_policy"])
def test_it_succeeds_from_published_starts(protocol: str) -> None:
    found = [demonstrate(TUNING_SEEDS + i, protocol=protocol) for i in range(6)]
    assert all(episode.info["success"] for episode in found)
    assert np.median([len(episode.arrays["action"]) for episode in found]) <= 120


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["gym_pusht", "diffusion_policy"])
def test_it_succeeds_nearly_always_within_the_time_limit(protocol: str) -> None:
    found = [demonstrate(TUNING_SEEDS + i, protocol=protocol) for i in range(100)]
    assert sum(episode.info["success"] for episode in found) >= 99
    assert np.median([len(episode.arrays["action"]) for episode in found]) <= 110


def test_its_targets_are_bounded_and_smooth() -> None:
    for seed in range(3):
        episode = demonstrate(TUNING_SEEDS + seed)
        target = np.vstack([episode.arrays["state"][0, :2], episode.arrays["action"]]).astype(np.float64)
        assert target.min() >= 0
        assert target.max() <= 512
        moves = np.diff(target, axis=0)
        speed = np.linalg.norm(moves, axis=1)
        assert speed.max() <= 20.0 + 1e-3
        # It gains speed by 6 px a step; only where its way has a corner is it slower for a step.
        straight = (moves[1:] * moves[:-1]).sum(axis=1) > 0.999 * speed[1:] * speed[:-1]
        assert np.diff(speed)[straight].max() <= 6.0 + 1e-3
        assert straight.mean() > 0.4


@pytest.mark.parametrize("mode", ["left", "right"])
def test_it_walks_round_the_side_that_it_is_asked_for(mode: str) -> None:
    modes = [demonstrate(TUNING_SEEDS + seed, mode=mode).info["mode"] for seed in range(4)]  # type: ignore[arg-type]
    assert set(modes) <= {mode, "direct"}
    assert mode in modes


def test_left_keeps_the_block_on_the_right_hand() -> None:
    """From above the block to below it, the way on the screen's right turns clockwise, and is the walker's left."""
    start = np.array([256.0, 60.0, 256.0, 300.0, 0.8])
    turned = {}
    for mode in ("left", "right"):
        env = gym.make(PUSHT_ID)
        obs, _ = env.reset(options={"state": start})
        act = PushTExpert(mode)  # type: ignore[arg-type]
        act.reset(seed=0)
        bearings = []
        while act.decisions < 2:
            obs = env.step(act(obs))[0]
            bearings.append(np.arctan2(obs[1] - obs[3], obs[0] - obs[2]))
        turned[mode] = np.unwrap(bearings)[-1] - bearings[0]
        assert act.mode == mode
    assert turned["left"] > 2.0 > -2.0 > turned["right"]


def test_unasked_it_uses_both_sides() -> None:
    modes = {demonstrate(TUNING_SEEDS + seed).info["mode"] for seed in range(10)}
    assert {"left", "right"} <= modes


def test_the_same_seed_gives_the_same_episode_whatever_the_workers() -> None:
    alone, shared = demonstrations(7, noise_px=2.0), demonstrations(7, workers=2, noise_px=2.0)
    for _ in range(3):
        one, other = next(alone), next(shared)
        assert one.info == other.info
        assert one.arrays.keys() == other.arrays.keys()
        for key, values in one.arrays.items():
            np.testing.assert_array_equal(values, other.arrays[key])
    shared.close()


def test_noise_moves_what_is_done_and_the_record_says_both() -> None:
    quiet, noisy = demonstrate(3), demonstrate(3, noise_px=4.0)
    assert "executed_action" not in quiet.arrays
    off = noisy.arrays["executed_action"] - noisy.arrays["action"]
    inside = (noisy.arrays["executed_action"] > 0) & (noisy.arrays["executed_action"] < 512)
    assert 2.0 < off[inside].std() < 6.0
    env = gym.make(PUSHT_ID)
    obs, _ = env.reset(seed=3)
    for state, action in zip(noisy.arrays["state"], noisy.arrays["executed_action"], strict=True):
        np.testing.assert_allclose(obs, state, atol=0.5)
        obs = env.step(action)[0]


def test_it_pushes_onto_another_goal() -> None:
    goal = (330.0, 200.0, 2.5)
    env = gym.make(PUSHT_ID, variations={"goal_pose": goal}, max_episode_steps=300)
    obs, _ = env.reset(seed=11)
    act, done, terminated = PushTExpert(goal_pose=goal), False, False
    while not done:
        obs, _, terminated, truncated, _ = env.step(act(obs["state"]))
        done = terminated or truncated
    assert terminated


def test_an_unknown_mode_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(ValueError, match="'left', 'right' or None"):
        PushTExpert("up")  # type: ignore[arg-type]
