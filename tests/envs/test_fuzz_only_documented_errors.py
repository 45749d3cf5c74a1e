"""Whatever comes in, in whatever order: a documented error in one line that changes nothing, or a moment of the task."""

import functools
import math
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from diffpolicy_envs.pusht import PushTEnv
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.usefixtures("without_shape_checks")

BOTH = {"goal_pose": "random", "scale": "random"}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "corners": {"obs_type": "keypoints", "keypoint_set": "corners"},
    "goals": {"variations": {"goal_pose": (200.0, 300.0, 1.0)}, "count_contacts": True},
    "all varied": {"obs_type": "keypoints", "variations": BOTH},
    "pictures": {"obs_type": "pixels_agent_pos", "variations": {"scale": 0.75}},
}


class Stubborn:
    """Refuses to be an array as a tensor that requires its gradient does."""

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        raise RuntimeError("call detach() first")

    def __repr__(self) -> str:
        return "Stubborn\n" * 100


NUMBERS = st.one_of(
    st.floats(), st.integers(), st.sampled_from([10**400, -0.0, 5e-324, 1e308, np.float32(3), np.int8(5)])
)
ODD = st.sampled_from(
    [
        *(None, True, "", "random", "gym_pusht", "1,2", b"12", 1j, math.nan, object, Stubborn()),
        *({}, {"x": 1}, set(), [], (), [[1], [1, 2]]),
        *(np.array(3.0), np.array([True, False]), np.array([1.0, None]), np.zeros((2, 2)), np.zeros(0)),
        *(np.array(["1", "2"]), np.array([1, 2], dtype="datetime64[s]"), np.eye(9, dtype=bool), np.complex64(2)),
    ]
)
JUNK = st.one_of(ODD, NUMBERS, st.text(max_size=8), st.lists(NUMBERS, max_size=6), st.lists(ODD, max_size=3))


def mostly(valid: st.SearchStrategy, junk: st.SearchStrategy = JUNK) -> st.SearchStrategy:
    return st.one_of(valid, valid, valid, valid, junk)


def floats(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False)


ACTIONS = mostly(
    st.one_of(
        st.tuples(floats(0, 512), floats(0, 512)),
        st.lists(st.integers(-(2**63), 2**63), min_size=2, max_size=2),
        st.tuples(floats(-1e308, 1e308), floats(0, 512)).map(np.array),
        st.tuples(st.integers(0, 512), st.integers(0, 512)).map(lambda pair: np.array(pair, dtype=np.float32)),
    ),
)
# Near the middle at least as often as anywhere, so that things touch.
INSIDE, ANYWHERE = (st.one_of(floats(150, 360), floats(low, high)) for low, high in [(0, 512), (-256, 768)])
STATES = st.tuples(INSIDE, INSIDE, ANYWHERE, ANYWHERE, st.one_of(floats(-7, 7), floats(-1e308, 1e308)))
GOALS = st.one_of(st.just("random"), st.tuples(floats(140, 370), floats(140, 370), floats(-1e9, 1e9)))
SCALES = st.one_of(st.just("random"), floats(0.5, 1.5))
OPTIONS = st.one_of(
    st.none(),
    st.fixed_dictionaries({"protocol": mostly(st.sampled_from(["gym_pusht", "diffusion_policy"]))}),
    st.fixed_dictionaries({"state": mostly(STATES)}, optional={"goal_pose": mostly(GOALS), "scale": mostly(SCALES)}),
    st.fixed_dictionaries({}, optional={"goal_pose": mostly(GOALS), "scale": mostly(SCALES), "state": STATES}),
    st.dictionaries(st.one_of(st.text(max_size=5), st.sampled_from(["state", "stat", 3, None])), JUNK, max_size=2),
    JUNK,
)
SEEDS = mostly(st.one_of(st.none(), st.integers(0, 2**33)))
CALLS = st.one_of(
    st.tuples(st.just("reset"), SEEDS, OPTIONS),
    st.tuples(st.just("step"), ACTIONS),
    st.tuples(st.just("step"), ACTIONS),
    st.tuples(st.just("step"), ACTIONS),
    st.tuples(st.just("displace"), mostly(STATES)),
    st.tuples(st.just("get_state")),
    st.tuples(st.just("set_state"), mostly(st.just("saved"))),
    st.tuples(st.just("show_plan"), mostly(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=3))),
)


def everything_of(env: PushTEnv) -> bytes:
    """All that decides what the environment will do."""
    generator = None if env._np_random is None else env._np_random.bit_generator.state
    return pickle.dumps((env._world.save(), env._world.physics.read(), generator, env._was_reset))


def assert_possible(env: PushTEnv, observation: object, info: dict[str, Any]) -> None:
    parts = observation if isinstance(observation, dict) else {"": observation}
    assert all(np.isfinite(part).all() for part in parts.values())
    assert env.observation_space.contains(observation), observation
    assert np.isfinite(env._world.physics.read()).all()
    assert 0.0 <= info["coverage"] <= 1.0
    assert 0.0 <= info["block_pose"][2] < 2 * math.pi
    assert 0.0 <= info["goal_pose"][2] < 2 * math.pi
    assert np.isfinite(info["agent_vel"]).all()


def call(env: PushTEnv, name: str, arguments: list[Any], saved: list[Any]) -> None:
    if name == "reset":
        assert_possible(env, *env.reset(seed=arguments[0], options=arguments[1]))
    elif name == "step":
        observation, reward, terminated, truncated, info = env.step(*arguments)
        assert_possible(env, observation, info)
        assert 0.0 <= reward <= 1.0
        assert terminated is info["is_success"]
        assert truncated is False
    elif name == "get_state":
        saved.append(env.get_state())
    elif name == "set_state":
        wanted = saved[-1] if saved and isinstance(arguments[0], str) and arguments[0] == "saved" else arguments[0]
        assert_possible(env, *env.set_state(wanted))
    else:
        getattr(env, name)(*arguments)


def refusal(attempt: Callable[[], object]) -> str | None:
    """Returns what an attempt was refused with; any other error, or a warning, ends the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            attempt()
        except (ValueError, gym.error.ResetNeeded) as error:
            return str(error)
    return None


def play(kind: str, calls: list[tuple]) -> None:
    env, saved = PushTEnv(**KINDS[kind]), []
    for name, *arguments in calls:
        before = everything_of(env)
        said = refusal(functools.partial(call, env, name, arguments, saved))
        if said is not None:
            assert 0 < len(said) < 500
            assert "\n" not in said
            assert everything_of(env) == before


RUN = {"suppress_health_check": list(HealthCheck), "derandomize": True}


@settings(max_examples=300, **RUN)
@given(st.sampled_from(list(KINDS)), st.lists(CALLS, min_size=1, max_size=12))
def test_a_few_hundred_ways_to_call_the_environment(kind: str, calls: list[tuple]) -> None:
    play(kind, calls)


@pytest.mark.slow
@settings(max_examples=1_250, **RUN)
@given(st.sampled_from(list(KINDS)), st.lists(CALLS, min_size=8, max_size=12))
def test_ten_thousand_ways_to_call_the_environment(kind: str, calls: list[tuple]) -> None:
    play(kind, calls)


@settings(max_examples=150, **RUN)
@given(st.dictionaries(st.sampled_from(["obs_type", "keypoint_set", "pixels_size_px", "variations", "overlays"]), JUNK))
def test_arguments_are_refused_or_taken(arguments: dict[str, Any]) -> None:
    said = refusal(lambda: assert_possible(env := PushTEnv(**arguments), *env.reset(seed=0)))
    assert said is None or ("\n" not in said and any(name in said for name in arguments)), said


@settings(max_examples=60, **RUN)
@given(STATES, floats(0.5, 1.5), st.sampled_from([(0.0, 0.0), (512.0, 512.0), (0.0, 512.0), (-1e9, 256.0)]))
def test_a_long_push_from_any_state_stays_within_bounds(state: tuple, scale: float, target: tuple) -> None:
    """The agent drives through the block into a corner, from wherever a state may be set."""
    env = PushTEnv(obs_type="keypoints", variations={"scale": scale})
    assert_possible(env, *env.reset(options={"state": state}))
    for aim in (state[2:4], target, state[2:4], target):
        for _ in range(15):
            observation, _, _, _, info = env.step(aim)
            assert_possible(env, observation, info)
