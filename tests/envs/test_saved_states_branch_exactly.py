"""A saved moment brings the same future bit for bit: many times, elsewhere, later, whatever happened in between."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from diffpolicy_envs.pusht import OBS_TYPES, PushTEnv, PushTState, block_corners, engine

VARIED = {"goal_pose": "random", "scale": "random"}

# Reset arguments by what is hard about the moments that follow.
STARTS: dict[str, dict[str, Any]] = {
    "in the open": {"seed": 0},
    "in contact": {"options": {"state": [235.0, 215.0, 256.0, 230.0, 0.4]}},
    "against a wall": {"options": {"state": [60.0, 250.0, 20.0, 250.0, 1.6]}},
    "in a corner": {"options": {"state": [100.0, 100.0, 40.0, 30.0, 0.8]}},
    "agent inside the block": {"options": {"state": [256.0, 260.0, 256.0, 200.0, 0.0]}},
    "published start over a wall": {"seed": 200, "options": {"protocol": "diffusion_policy"}},
    "published start in the agent": {"seed": 6, "options": {"protocol": "gym_pusht"}},
}


def pushes(env: PushTEnv, seed: int, count: int) -> np.ndarray:
    """Targets around where the block is now, so that most steps touch it."""
    centre = np.array(env._world.physics.block_pose[:2])
    return centre + np.random.default_rng(seed).uniform(-90, 90, (count, 2))


def play(env: PushTEnv, actions: np.ndarray) -> list:
    return [env.step(action) for action in actions]


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


def test_the_wild_starts_are_what_they_are_called() -> None:
    env = PushTEnv()
    _, info = env.reset(**STARTS["published start over a wall"])
    corners = block_corners(info["block_pose"])
    assert corners.min() < 5 or corners.max() > 506
    observation, _ = env.reset(**STARTS["published start in the agent"])
    later, *_ = env.step(observation[:2])
    np.testing.assert_array_equal(later[:2], observation[:2])
    assert np.abs(later[2:4] - observation[2:4]).max() > 1


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("count_contacts", [False, True])
def test_a_hundred_branches_leave_the_moment_as_it_was(start: str, count_contacts: bool) -> None:
    env = PushTEnv(count_contacts=count_contacts)
    env.reset(**STARTS[start])
    play(env, pushes(env, 0, 7))
    moment = env.get_state()
    shown = env.set_state(moment)
    future = pushes(env, 1, 30)
    expected = play(env, future)
    for branch in range(100):
        assert_same(env.set_state(moment), shown)
        play(env, pushes(env, branch + 2, 10))
    assert_same(env.set_state(moment), shown)
    assert_same(play(env, future), expected)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("way", ["here", "elsewhere", "pickled", "refused by the engine"])
def test_restored_futures_are_the_originals(start: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saved before each of ten steps, among them the first after the start, when overlaps are pushed apart."""
    env = PushTEnv(count_contacts=True)
    env.reset(**STARTS[start])
    actions, moments, told = pushes(env, 0, 40), [], []
    for action in actions[:10]:
        moments.append(env.get_state())
        told.append(env.step(action))
    told += play(env, actions[10:])
    if way == "refused by the engine":
        monkeypatch.setattr(engine.EngineMemory, "restore", lambda self, image: False)
    other = PushTEnv(count_contacts=True) if way == "elsewhere" else env
    for step, moment in reversed(list(enumerate(moments))):
        other.set_state(pickle.loads(pickle.dumps(moment)) if way == "pickled" else moment)
        assert_same(play(other, actions[step:]), told[step:])


@pytest.mark.parametrize("obs_type", OBS_TYPES)
def test_what_is_shown_at_a_restored_moment_is_what_was_shown_then(obs_type: str) -> None:
    env = PushTEnv(obs_type=obs_type, count_contacts=True, variations=VARIED)
    observation, info = env.reset(seed=5)
    for action in pushes(env, 0, 40):
        moment = env.get_state()
        env.step([256.0, 256.0])
        assert_same(env.set_state(moment), (observation, info))
        observation, _, _, _, info = env.step(action)
    env.reset(seed=6)
    env.set_state(moment)
    assert_same(env.step(action)[0], observation)


def test_moments_of_other_scales_and_goals_come_back_whole() -> None:
    env = PushTEnv(variations=VARIED, count_contacts=True)
    moments, told = [], []
    for seed in range(6):
        env.reset(seed=seed)
        play(env, pushes(env, seed, 8))
        moments.append(env.get_state())
        told.append(play(env, pushes(env, seed + 100, 20)))
        env.set_state(moments[-1])
    assert len({moment.scale for moment in moments}) == len({moment.goal_pose for moment in moments}) == 6
    for order in ([3, 1, 4, 0, 5, 2], [0, 0, 5, 5, 1, 1]):
        for seed in order:
            env.set_state(moments[seed])
            assert_same(play(env, pushes(env, seed + 100, 20)), told[seed])


def test_a_moment_after_a_displacement_comes_back() -> None:
    env = PushTEnv()
    env.reset(seed=1)
    play(env, pushes(env, 0, 5))
    env.displace([200.0, 205.0, 256.0, 230.0, 0.4])
    play(env, pushes(env, 1, 5))
    moment, future = env.get_state(), pushes(env, 2, 30)
    expected = play(env, future)
    env.set_state(moment)
    assert_same(play(env, future), expected)
    other = PushTEnv()
    other.set_state(pickle.loads(pickle.dumps(moment)))
    assert_same(play(other, future), expected)


@pytest.mark.parametrize("between", [{"seed": 9}, {"options": {"state": [100.0, 100.0, 300.0, 300.0, 2.0]}}])
def test_a_moment_saved_after_going_back_holds_the_whole_way(between: dict[str, Any]) -> None:
    """Another episode lies between; what is saved then must tell of the first one, in another environment too."""
    env, other = PushTEnv(), PushTEnv()
    env.reset(seed=8)
    play(env, pushes(env, 0, 20))
    first = env.get_state()
    env.reset(**between)
    play(env, pushes(env, 1, 20))
    env.set_state(first)
    play(env, pushes(env, 2, 20))
    second, future = env.get_state(), pushes(env, 3, 20)
    other.set_state(pickle.loads(pickle.dumps(second)))
    assert_same(play(other, future), play(env, future))


@pytest.mark.parametrize("direct", [True, False])
def test_a_pickled_moment_goes_on_alike_in_a_fresh_process(direct: bool, tmp_path: Path) -> None:
    env = PushTEnv(variations=VARIED)
    env.reset(seed=2)
    play(env, pushes(env, 0, 25))
    moment, future = env.get_state(), pushes(env, 1, 40)
    (tmp_path / "moment").write_bytes(pickle.dumps((moment, future)))
    code = f"""
import pickle
from diffpolicy_envs.pusht import PushTEnv, engine
if not {direct}:
    engine.available = lambda: False
moment, future = pickle.load(open("moment", "rb"))
env = PushTEnv(variations={VARIED!r})
env.set_state(moment)
pickle.dump([env.step(action) for action in future], open("told", "wb"))
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert_same(pickle.loads((tmp_path / "told").read_bytes()), play(env, future))


def test_the_generator_is_no_part_of_a_moment() -> None:
    env, twin = PushTEnv(), PushTEnv()
    env.reset(seed=0)
    moment = env.get_state()
    twin.reset(seed=0)
    assert_same(env.reset(), twin.reset())
    env.set_state(moment)
    assert_same(env.reset(), twin.reset())


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize("found", [None, "moment", [1.0, 2.0, 3.0, 4.0, 5.0], {"physics": 1}])
def test_what_is_no_saved_moment_is_refused(found: object) -> None:
    env, undisturbed = PushTEnv(), PushTEnv()
    env.reset(seed=0)
    undisturbed.reset(seed=0)
    with pytest.raises(ValueError, match=r"state: expected what get_state\(\) returned, found"):
        env.set_state(found)
    assert_same(env.step([300.0, 300.0]), undisturbed.step([300.0, 300.0]))


def test_moments_whose_goal_or_scale_would_not_be_shown_are_refused() -> None:
    varied = PushTEnv(variations=VARIED)
    varied.reset(seed=0)
    env, undisturbed = PushTEnv(), PushTEnv()
    env.reset(seed=0)
    undisturbed.reset(seed=0)
    for may_vary, missing in [({}, "goal_pose"), ({"goal_pose": "random"}, "scale"), ({"scale": 1.0}, "goal_pose")]:
        env = PushTEnv(variations=may_vary)
        env.reset(seed=0)
        with pytest.raises(ValueError, match=rf"state: its {missing} is .* variations="):
            env.set_state(varied.get_state())
    env = PushTEnv()
    env.reset(seed=0)
    varied.set_state(env.get_state())
    assert isinstance(env.get_state(), PushTState)
    assert_same(env.step([300.0, 300.0]), undisturbed.step([300.0, 300.0]))


def test_there_is_nothing_to_save_before_the_first_reset() -> None:
    with pytest.raises(gym.error.ResetNeeded, match="get_state"):
        PushTEnv().get_state()
    with pytest.raises(gym.error.ResetNeeded, match="displace"):
        PushTEnv().displace([100.0, 100.0, 256.0, 256.0, 0.0])
