"""PushTVectorEnv gives what Gymnasium's SyncVectorEnv gives for PushTEnv, bit for bit, in one process or several."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from diffpolicy_envs.pusht import GOAL_POSE, OBS_TYPES, PushTEnv
from gymnasium.vector import AutoresetMode

ENV_ID = "diffpolicy/PushT-v0"
WORLDS = 5
VARYING = {"variations": {"goal_pose": "random", "scale": "random"}, "count_contacts": True}


def assert_same_bits(found: Any, expected: Any, where: str = "") -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key in expected:
            assert_same_bits(found[key], expected[key], f"{where}.{key}")
    elif isinstance(expected, tuple) or (isinstance(expected, np.ndarray) and expected.dtype == object):
        for index, (one, other) in enumerate(zip(found, expected, strict=True)):
            assert_same_bits(one, other, f"{where}[{index}]")
    elif expected is None:
        assert found is None, where
    else:
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape), where
        assert found.tobytes() == expected.tobytes(), where


@contextmanager
def side_by_side(workers: int, mode: AutoresetMode, **arguments: Any) -> Iterator[tuple[gym.vector.VectorEnv, ...]]:
    arguments = {"num_envs": WORLDS, "max_episode_steps": 8, **arguments}
    kwargs = {"vector_kwargs": {"autoreset_mode": mode}}
    expected = gym.make_vec(ENV_ID, vectorization_mode="sync", **kwargs, **arguments)
    found = gym.make_vec(ENV_ID, workers=workers, autoreset_mode=mode, **arguments)
    try:
        yield found, expected
    finally:
        found.close()
        expected.close()


def play(found: gym.vector.VectorEnv, expected: gym.vector.VectorEnv, steps: int = 26) -> tuple[int, int]:
    """Plays both alike, checks every bit, and returns how many episodes ended by success and by the time limit."""
    rng = np.random.default_rng(0)
    assert_same_bits(found.reset(seed=3), expected.reset(seed=3), "reset")
    # Two worlds that are at their goal already: their episodes end by success in the next step.
    solved = {"state": [50.0, 450.0, *GOAL_POSE]}
    chosen = np.array([False, True, False, True, False])
    both = [
        env.reset(seed=[None, 8, 9, None, 2], options={**solved, "reset_mask": chosen}) for env in (found, expected)
    ]
    assert_same_bits(both[0], both[1], "masked reset")
    successes = cuts = 0
    for step in range(steps):
        actions = rng.uniform(-100, 600, (WORLDS, 2))
        now, reference = found.step(actions), expected.step(actions)
        assert_same_bits(now, reference, f"step {step}")
        _, _, terminations, truncations, _ = reference
        successes, cuts = successes + int(terminations.sum()), cuts + int(truncations.sum())
        if found.metadata["autoreset_mode"] is AutoresetMode.DISABLED and (terminations | truncations).any():
            options = {"reset_mask": terminations | truncations}
            assert_same_bits(found.reset(options=dict(options)), expected.reset(options=dict(options)), f"reset {step}")
    assert found.np_random_seed == expected.np_random_seed
    assert [rng.bit_generator.state for rng in found.np_random] == [r.bit_generator.state for r in expected.np_random]
    return successes, cuts


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("obs_type", OBS_TYPES)
def test_in_one_process(obs_type: str, mode: AutoresetMode) -> None:
    with side_by_side(1, mode, obs_type=obs_type) as envs:
        successes, cuts = play(*envs)
    assert successes >= 2
    assert cuts >= 2 * WORLDS


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize(
    ("obs_type", "keypoint_set"), [("state", "human"), ("keypoints", "corners"), ("pixels", "human")]
)
def test_where_goal_and_scale_vary(obs_type: str, keypoint_set: str, mode: AutoresetMode) -> None:
    with side_by_side(1, mode, obs_type=obs_type, keypoint_set=keypoint_set, **VARYING) as envs:
        assert play(*envs)[1] >= 2 * WORLDS


# Five worlds are not a multiple of two or three.
@pytest.mark.parametrize(
    ("workers", "mode", "arguments"),
    [
        (2, AutoresetMode.NEXT_STEP, {}),
        (3, AutoresetMode.SAME_STEP, {"obs_type": "keypoints", **VARYING}),
        (3, AutoresetMode.NEXT_STEP, {"obs_type": "pixels_agent_pos"}),
        (2, AutoresetMode.DISABLED, {"obs_type": "pixels", "pixels_size_px": (20, 30), **VARYING}),
        (5, AutoresetMode.SAME_STEP, {}),
    ],
)
def test_in_several_processes(workers: int, mode: AutoresetMode, arguments: dict[str, Any]) -> None:
    with side_by_side(workers, mode, **arguments) as envs:
        assert play(*envs)[1] >= 2 * WORLDS


@pytest.mark.parametrize(
    "options",
    [
        {"protocol": "diffusion_policy"},
        {"state": [100.0, 120.0, 200.0, 300.0, 1.0]},
        {"goal_pose": [200.0, 250.0, 1.0], "scale": 1.2},
        {"goal_pose": "random", "protocol": "gym_pusht"},
    ],
)
def test_with_reset_options(options: dict[str, Any]) -> None:
    with side_by_side(1, AutoresetMode.NEXT_STEP, **VARYING) as (found, expected):
        for seed in (5, [4, None, 2, 1, 0], None):
            assert_same_bits(found.reset(seed=seed, options=options), expected.reset(seed=seed, options=dict(options)))


def test_without_a_seed_worlds_start_apart() -> None:
    env = gym.make_vec(ENV_ID, num_envs=WORLDS)
    first, _ = env.reset()
    second, _ = env.reset()
    assert len({state.tobytes() for state in (*first, *second)}) == 2 * WORLDS


@pytest.mark.parametrize("workers", [1, 2])
def test_saved_states_go_on_alike_in_any_environment(workers: int) -> None:
    rng = np.random.default_rng(1)
    warm_up, actions = rng.uniform(50, 450, (8, WORLDS, 2)), rng.uniform(50, 450, (10, WORLDS, 2))
    env = gym.make_vec(ENV_ID, num_envs=WORLDS, workers=workers, count_contacts=True, max_episode_steps=None)
    env.reset(seed=0)
    for action in warm_up:
        env.step(action)
    states = env.get_state()
    expected = [env.step(action) for action in actions]
    seen, info = env.set_state(states)
    assert_same_bits(seen, np.stack([PushTEnv().set_state(state)[0] for state in states]))
    assert info["_coverage"].all()
    assert_same_bits(tuple(env.step(action) for action in actions), tuple(expected))
    # Worlds carried over to a single environment, and back.
    single = PushTEnv(count_contacts=True)
    single.set_state(states[WORLDS - 1])
    for action, (seen, rewards, *_) in zip(actions, expected, strict=True):
        obs, reward, *_ = single.step(action[-1])
        assert obs.tobytes() == seen[-1].tobytes()
        assert reward == rewards[-1]
    env.set_state([single.get_state()] * WORLDS)
    _, _, _, _, info = env.step(np.tile([200.0, 200.0], (WORLDS, 1)))
    np.testing.assert_array_equal(info["coverage"], single.step([200.0, 200.0])[4]["coverage"])
    env.close()


def test_a_restored_moment_has_the_whole_time_limit_before_it() -> None:
    env = gym.make_vec(ENV_ID, num_envs=2, max_episode_steps=3)
    env.reset(seed=0)
    states = env.get_state()
    away = np.full((2, 2), 20.0)
    for _ in range(3):
        *_, truncations, _ = env.step(away)
    assert truncations.all()
    seen, _ = env.set_state(states)
    # Not the autoreset that the ended episodes were due: the restored ones go on.
    cut = [env.step(away)[3].all() for _ in range(3)]
    assert cut == [False, False, True]
    env.set_state(states)
    np.testing.assert_array_equal(env.get_state()[0].physics.start, states[0].physics.start)
    assert seen.shape == (2, 5)
