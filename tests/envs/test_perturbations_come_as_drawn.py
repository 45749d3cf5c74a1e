"""A kick comes when it was said to, is drawn reproducibly, is possible in the task, and changes nothing else."""

import math

import gymnasium as gym
import numpy as np
import pytest
from diffpolicy_envs.pusht import AGENT_RADIUS_PX, PERTURB_TARGETS, Perturb, PushTEnv, block_corners, transform_points
from shapely.geometry import Point, Polygon

CENTRE = np.array([[0.0, 45.0]])


def actions(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(60, 450, (count, 2))


def play(env: gym.Env, seed: int, count: int = 60) -> tuple[list[np.ndarray], list[dict]]:
    observations, infos = [env.reset(seed=seed)[0]], []
    for action in actions(seed, count):
        observation, _, _, _, info = env.step(action)
        observations.append(observation)
        infos.append(info)
    return observations, infos


@pytest.mark.parametrize("target", PERTURB_TARGETS)
@pytest.mark.parametrize("when", [{"at": (5, 30)}, {"probability": 0.1}])
def test_same_seed_same_kicks_bit_for_bit(target: str, when: dict) -> None:
    env = Perturb(PushTEnv(), target=target, **when)
    play(env, 1)
    (first, told), (second, again) = play(env, 7), play(Perturb(PushTEnv(), target=target, **when), 7)
    np.testing.assert_array_equal(first, second)
    for one, other in zip(told, again, strict=True):
        assert one["perturbed"] is other["perturbed"]
        if one["perturbed"]:
            np.testing.assert_array_equal(one["displacement"], other["displacement"])
    assert any(info["perturbed"] for info in told)
    assert not np.array_equal(first, play(env, 8)[0])


@pytest.mark.parametrize("protocol", ["gym_pusht", "diffusion_policy"])
def test_starts_are_those_without_the_wrapper_with_and_without_a_seed(protocol: str) -> None:
    options = {"protocol": protocol}
    plain, kicked = PushTEnv(variations={"goal_pose": "random"}), PushTEnv(variations={"goal_pose": "random"})
    wrapped = Perturb(kicked, probability=0.5)
    for seed in (3, None, None, 4, None):
        expected, found = plain.reset(seed=seed, options=options)[0], wrapped.reset(seed=seed, options=options)[0]
        for key in expected:
            np.testing.assert_array_equal(found[key], expected[key])
        for action in actions(0, 10):
            wrapped.step(action)
    assert plain.np_random.bit_generator.state == kicked.np_random.bit_generator.state


@pytest.mark.parametrize("target", PERTURB_TARGETS)
def test_nothing_happens_before_the_first_kick_and_it_comes_at_its_step(target: str) -> None:
    for seed in range(10):
        observations, infos = play(Perturb(PushTEnv(), target=target, at=(12, 40)), seed)
        plain, _ = play(PushTEnv(), seed)
        np.testing.assert_array_equal(observations[:13], plain[:13])
        assert [step for step, info in enumerate(infos) if info["perturbed"]] == [12, 40]
        assert not np.array_equal(observations[13], plain[13])
        assert all(("displacement" in info) is info["perturbed"] for info in infos)


def test_a_displaced_world_goes_on_as_one_that_was_set_so() -> None:
    """Between kicks the wrapper takes no part: the way after one is that of `displace` in a bare environment."""
    env, bare = Perturb(PushTEnv(), target="agent", at=(20,), shift_px=80.0), PushTEnv()
    (observations, infos), (plain, _) = play(env, 5), play(bare, 5, 20)
    np.testing.assert_array_equal(observations[:21], plain)
    state = plain[-1] + np.array([*infos[20]["displacement"][:2], 0.0, 0.0, 0.0])
    bare.displace(state)
    for action, expected in zip(actions(5, 60)[20:], observations[21:], strict=True):
        np.testing.assert_array_equal(bare.step(action)[0], expected)


def test_a_displaced_agent_keeps_its_velocity_and_a_displaced_block_its_place_until_touched() -> None:
    env = PushTEnv()
    env.reset(options={"state": [60.0, 60.0, 300.0, 300.0, 1.0]})
    velocity = env.step([200.0, 100.0])[4]["agent_vel"]
    env.displace([100.0, 50.0, 320.0, 310.0, 2.0])
    assert env.get_state().physics.agent_velocity == tuple(velocity)
    observation, *_ = env.step([100.0, 50.0])
    # It runs on, and the spring draws it back.
    assert ((observation[:2] - [100.0, 50.0]) * velocity > 1.0).all()
    np.testing.assert_allclose(observation[2:], [320.0, 310.0, 2.0], rtol=0, atol=1e-12)


@pytest.mark.usefixtures("without_shape_checks")
def test_probability_is_that_of_each_step() -> None:
    env = Perturb(PushTEnv(), target="agent", probability=0.2, shift_px=5.0)
    env.reset(seed=0)
    kicks = [env.step([100.0, 100.0])[4]["perturbed"] for _ in range(4000)]
    assert abs(np.mean(kicks) - 0.2) < 4 * math.sqrt(0.2 * 0.8 / 4000)
    assert abs(np.corrcoef(kicks[1:], kicks[:-1])[0, 1]) < 4 / math.sqrt(4000)
    always = Perturb(PushTEnv(), target="agent", probability=1)
    always.reset(seed=0)
    assert all(always.step([100.0, 100.0])[4]["perturbed"] for _ in range(20))


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5])
@pytest.mark.parametrize("target", PERTURB_TARGETS)
def test_what_comes_of_a_kick_is_possible(target: str, scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Judged by shapely, at the moment of displacing; big kicks, so that most draws near walls would not do."""
    inner = PushTEnv(variations={"scale": scale, "goal_pose": "random"})
    env = Perturb(inner, target=target, probability=0.3, shift_px=120.0, turn_rad=1.0 if target == "block" else 0.0)
    places: list[tuple[np.ndarray, np.ndarray]] = []
    displace = inner.displace

    def watched(state: tuple) -> None:
        agent_x, agent_y, _, _, *pose = inner._world.physics.read()
        places.append((np.array([agent_x, agent_y, *pose]), np.array(state)))
        displace(state)

    monkeypatch.setattr(inner, "displace", watched)
    told = []
    for seed in range(15):
        told += [info["displacement"] for info in play(env, seed)[1] if info["perturbed"]]
    assert len(places) == len(told) > 100
    for (before, after), change in zip(places, told, strict=True):
        outline = Polygon(block_corners(after[2:], scale))
        assert outline.distance(Point(after[:2])) >= AGENT_RADIUS_PX - 1e-9
        if target == "block":
            np.testing.assert_array_equal(after[:2], before[:2])
            assert outline.within(Polygon([(7, 7), (504, 7), (504, 504), (7, 504)]).buffer(1e-9))
            from_, to = (transform_points(scale * CENTRE, state[2:])[0] for state in (before, after))
        else:
            np.testing.assert_array_equal(after[2:], before[2:])
            assert ((after[:2] >= 7 + AGENT_RADIUS_PX) & (after[:2] <= 504 - AGENT_RADIUS_PX)).all()
            from_, to = before[:2], after[:2]
        np.testing.assert_allclose(np.append(to - from_, after[4] - before[4]), change, rtol=0, atol=1e-9)
        assert math.hypot(*change[:2]) <= 120.0 + 1e-9
        assert abs(change[2]) <= 1.0
    # The distance is the one asked for, but where only less of it was possible.
    assert np.mean([abs(math.hypot(*change[:2]) - 120.0) < 1e-9 for change in told]) > 0.9


@pytest.mark.usefixtures("without_shape_checks")
def test_directions_and_turns_are_drawn_evenly() -> None:
    env = Perturb(PushTEnv(), at=(0,), shift_px=20.0, turn_rad=0.4)
    changes = []
    for _ in range(1500):
        env.reset(options={"state": [50.0, 50.0, 256.0, 200.0, 0.0]}, seed=0 if not changes else None)
        changes.append(env.step([50.0, 50.0])[4]["displacement"])
    drawn = np.array(changes)
    directions = np.arctan2(drawn[:, 1], drawn[:, 0])
    for values, high in [(directions, math.pi), (drawn[:, 2], 0.4)]:
        counts, _ = np.histogram(values, bins=10, range=(-high, high))
        assert counts.sum() == 1500
        assert ((counts - 150) ** 2 / 150).sum() < 30  # a chi-squared of 9 degrees of freedom is above in 1 of 2000


def test_where_nothing_fits_nothing_happens() -> None:
    """The agent deep inside a block that is turned in place."""
    state = [256.0, 260.0, 256.0, 200.0, 0.0]
    env, plain = Perturb(PushTEnv(), at=(0,), shift_px=0.0, turn_rad=0.01), PushTEnv()
    env.reset(options={"state": state})
    plain.reset(options={"state": state})
    observation, _, _, _, info = env.step([256.0, 260.0])
    assert info["perturbed"] is False
    assert "displacement" not in info
    np.testing.assert_array_equal(observation, plain.step([256.0, 260.0])[0])
