"""Goal and scale vary only where they are shown, as they were asked to, and leave the rest of the task alone."""

import math

import numpy as np
import pymunk
import pytest
from diffpolicy_envs.pusht import (
    GOAL_POSE,
    PushTEnv,
    PushTPhysics,
    block_corners,
    block_keypoints,
    coverage,
    sample_start,
    transform_points,
)

RANDOM_GOAL = {"goal_pose": "random"}
RANDOM_SCALE = {"scale": "random"}
BOTH = RANDOM_GOAL | RANDOM_SCALE
TABLE = (7.0, 504.0)

GOALS = [(256.0, 256.0, math.pi / 4), (100.0, 150.0, 0.0), (380.0, 300.0, 2.5), (250.0, 380.0, 4.0)]


def draw(variations: dict, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Goals and scales of many episodes."""
    env = PushTEnv(obs_type="keypoints", variations=variations)
    goals, scales = [], []
    for episode in range(count):
        observation, info = env.reset(seed=0 if episode == 0 else None)
        goals.append(observation["goal_pose"] if "goal_pose" in variations else info["goal_pose"])
        scales.append(observation["scale"][0] if "scale" in variations else 1.0)
    return np.array(goals), np.array(scales)


def evenness(values: np.ndarray, low: float, high: float) -> float:
    """Pearson's chi-squared of ten equal bins."""
    counts, _ = np.histogram(values, bins=10, range=(low, high))
    assert counts.sum() == len(values)
    return float(((counts - len(values) / 10) ** 2).sum() / (len(values) / 10))


@pytest.mark.parametrize("protocol", ["gym_pusht", "diffusion_policy"])
def test_a_varied_goal_leaves_every_published_start_as_it_is(protocol: str) -> None:
    plain, varied = PushTEnv(), PushTEnv(variations=RANDOM_GOAL)
    for seed in range(100):
        options = {"protocol": protocol}
        expected, _ = plain.reset(seed=seed, options=options)
        found, _ = varied.reset(seed=seed, options=options)
        np.testing.assert_array_equal(found["state"], expected)
        action = expected[2:4]
        np.testing.assert_array_equal(varied.step(action)[0]["state"], plain.step(action)[0])


def test_a_varied_scale_leaves_the_draw_of_the_start_as_it_is() -> None:
    """The agent stands where it would; the block's centre of gravity, about which it is turned, is nearer or farther."""
    env = PushTEnv(variations=BOTH)
    for seed in range(100):
        start = sample_start("gym_pusht", np.random.default_rng(seed), seed)
        found, _ = env.reset(seed=seed)
        arm = 45.0 * found["scale"][0]
        expected = start[2:4] + arm * np.array([np.sin(start[4]), 1.0 - np.cos(start[4])])
        np.testing.assert_array_equal(found["state"][:2], start[:2])
        np.testing.assert_allclose(found["state"][2:4], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("scale", [0.5, 0.8, 1.0, 1.25])
@pytest.mark.parametrize("goal", GOALS)
def test_a_block_on_a_varied_goal_covers_it_and_ends_the_episode(goal: tuple, scale: float) -> None:
    env = PushTEnv(variations={"goal_pose": goal, "scale": scale})
    away = max([(30.0, 30.0), (480.0, 480.0)], key=lambda corner: math.dist(corner, goal[:2]))
    _, info = env.reset(options={"state": [*away, *goal]})
    assert info["coverage"] == pytest.approx(1.0, abs=1e-12)
    assert info["is_success"]
    _, reward, terminated, _, info = env.step(np.array(away))
    assert terminated
    assert reward == 1.0
    # Where the published goal lies, nothing is to be won now.
    if goal != GOALS[0]:
        _, info = env.reset(options={"state": [*away, *GOAL_POSE]})
        assert not info["is_success"]
        assert info["coverage"] == pytest.approx(float(coverage(GOAL_POSE, np.array(goal), scale)), abs=1e-12)


def test_what_varies_is_shown_and_told() -> None:
    for obs_type in ("state", "keypoints", "pixels_agent_pos"):
        env = PushTEnv(obs_type=obs_type, variations=BOTH)
        seen = set()
        for seed in range(5):
            observation, info = env.reset(seed=seed)
            observation, _, _, _, told = env.step(np.array([256.0, 256.0]))
            for about in (info, told):
                np.testing.assert_array_equal(observation["goal_pose"], about["goal_pose"])
                np.testing.assert_array_equal(observation["scale"], [about["scale"]])
            if obs_type == "keypoints":
                expected = block_keypoints(told["block_pose"], told["scale"])
                np.testing.assert_allclose(observation["keypoints"], expected, rtol=0, atol=1e-12)
            seen.add((*told["goal_pose"], told["scale"]))
        assert len(seen) == 5
        for name in BOTH:
            assert (
                name not in PushTEnv(obs_type=obs_type, variations={n: BOTH[n] for n in BOTH if n != name}).reset()[0]
            )


def test_options_come_before_the_arguments_for_one_episode() -> None:
    goal = (150.0, 200.0, 1.0)
    env = PushTEnv(variations={"goal_pose": goal, "scale": 0.75})
    for options, expected_goal, expected_scale in [
        ({}, goal, 0.75),
        ({"goal_pose": GOALS[2], "scale": 1.2}, GOALS[2], 1.2),
        ({"goal_pose": "random"}, None, 0.75),
        ({"scale": "random"}, goal, None),
        (None, goal, 0.75),
    ]:
        observation, _ = env.reset(seed=1, options=options)
        found_goal, found_scale = tuple(observation["goal_pose"]), observation["scale"][0]
        assert (found_goal == expected_goal) if expected_goal else (found_goal not in GOALS and found_goal != goal)
        assert (
            (found_scale == expected_scale) if expected_scale else (found_scale != 0.75 and 0.75 <= found_scale < 1.25)
        )


def test_angles_of_goals_are_shown_below_two_pi() -> None:
    env = PushTEnv(variations=RANDOM_GOAL)
    for angle in (-1.0, 7.0, -1e-17, 2 * math.pi, 100.0):
        shown = env.reset(options={"goal_pose": (256.0, 256.0, angle)})[0]["goal_pose"][2]
        assert 0 <= shown < 2 * math.pi
        assert abs(np.exp(1j * shown) - np.exp(1j * angle)) < 1e-12


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize("variations", [RANDOM_GOAL, BOTH, {"goal_pose": "random", "scale": 1.5}])
def test_drawn_goals_lie_on_the_table_with_room_for_the_agent(variations: dict) -> None:
    goals, scales = draw(variations, 400)
    corners = np.stack([block_corners(goal, scale) for goal, scale in zip(goals, scales, strict=True)])
    assert corners.min() >= TABLE[0] + 30.0
    assert corners.max() <= TABLE[1] - 30.0
    # They come close to every wall.
    for axis in (0, 1):
        assert corners[..., axis].min() < TABLE[0] + 36.0
        assert corners[..., axis].max() > TABLE[1] - 36.0


@pytest.mark.usefixtures("without_shape_checks")
def test_drawn_goals_and_scales_cover_their_ranges_evenly() -> None:
    goals, scales = draw(BOTH, 1200)
    assert evenness(scales, 0.75, 1.25) < 30  # a chi-squared of 9 degrees of freedom is above in 1 of 2000
    # In the middle every pose fits at every scale, so there the draw is even in place and angle.
    middle = goals[(np.abs(goals[:, :2] - 255.5) < 60.0).all(axis=1)]
    assert len(middle) > 100
    for column, (low, high) in enumerate([(195.5, 315.5), (195.5, 315.5), (0.0, 2 * math.pi)]):
        assert evenness(middle[:, column], low, high) < 30


def test_the_same_seed_draws_the_same_goal_and_scale() -> None:
    first, second = PushTEnv(variations=BOTH), PushTEnv(variations=BOTH)
    for seed in (3, None, None):
        (one, _), (other, _) = first.reset(seed=seed), second.reset(seed=seed)
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])
    assert not np.array_equal(first.reset(seed=4)[0]["goal_pose"], second.reset(seed=5)[0]["goal_pose"])


@pytest.mark.parametrize("scale", [0.5, 0.9, 1.0, 1.5])
def test_the_scaled_block_is_the_published_one_scaled(scale: float) -> None:
    """Outline, centre of gravity and moment, as pymunk computes them and as plane geometry has them."""
    physics, published = PushTPhysics(scale=scale), PushTPhysics()
    block = physics._block
    assert block.mass == 1.0
    bar = [(scale * x, scale * y) for x, y in [(-60, 0), (60, 0), (60, 30), (-60, 30)]]
    assert block.moment == pytest.approx(2 * pymunk.moment_for_poly(1, bar), rel=1e-12)
    assert block.moment == pytest.approx(scale**2 * published._block.moment, rel=1e-12)
    np.testing.assert_allclose(block.center_of_gravity, (0.0, 45.0 * scale), rtol=1e-12, atol=1e-12)
    areas = sorted(shape.area for shape in block.shapes)
    np.testing.assert_allclose(areas, [scale**2 * 2700, scale**2 * 3600], rtol=1e-12)
    pose = np.array([250.0, 200.0, 0.7])
    physics.set_state(np.array([30.0, 30.0, *pose]))
    vertices = [block.local_to_world(vertex) for shape in block.shapes for vertex in shape.get_vertices()]
    for corner in block_corners(pose, scale):
        assert np.hypot(*(np.array(vertices) - corner).T).min() < 1e-9


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5])
def test_the_agent_touches_the_scaled_block_where_its_outline_is(scale: float) -> None:
    """Driven at the bar's outer edge and at the stem's end, it begins to move the block at its own radius from it."""
    for point, towards in [((0.0, 0.0), (0.0, 1.0)), ((0.0, 120.0), (0.0, -1.0)), ((-60.0, 15.0), (1.0, 0.0))]:
        pose = np.array([256.0, 200.0, 0.0])
        contact = transform_points(scale * np.array([point]), pose)[0]
        for gap, touches in ((15.5, False), (14.5, True)):
            physics = PushTPhysics(scale=scale, count_contacts=True)
            agent = contact - gap * np.array(towards)
            physics.set_state(np.array([*agent, *pose]))
            physics.step(*agent.tolist())
            assert (physics.n_contacts > 0) is touches
            assert bool(np.abs(np.array(physics.block_pose) - pose).max() > 1e-3) is touches


@pytest.mark.parametrize("name", ["goal_pose", "scale"])
@pytest.mark.parametrize("value", ["random", (256.0, 256.0, 1.0), 1.0])
def test_what_is_not_shown_cannot_vary(name: str, value: object) -> None:
    other = {"goal_pose": "scale", "scale": "goal_pose"}[name]
    for env in (PushTEnv(), PushTEnv(variations={other: "random"})):
        with pytest.raises(ValueError, match=rf"options\['{name}'\].*do not show the {name}.*variations=\{{'{name}'"):
            env.reset(seed=0, options={name: value})


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"goal_pose": (60.0, 256.0, 0.0)}, ["goal_pose", "leave the table", "[7, 504]"]),
        ({"goal_pose": (256.0, 256.0, 0.0), "scale": 9.0}, ["scale", "[0.5, 1.5]", "9"]),
        ({"goal_pose": (75.0, 256.0, 0.0), "scale": 1.5}, ["goal_pose", "leave the table"]),
        ({"goal_pose": (75.0, 256.0, 0.0), "scale": "random"}, ["goal_pose", "leave the table"]),
        ({"goal_pose": (1e300, 0.0, 0.0)}, ["goal_pose", "leave the table"]),
        ({"goal_pose": (256.0, 256.0)}, ["goal_pose", "3 finite numbers", "(2,)"]),
        ({"goal_pose": (256.0, np.nan, 0.0)}, ["goal_pose", "3 finite numbers", "nan"]),
        ({"goal_pose": "rand"}, ["goal_pose", "'random'", "'rand'"]),
        ({"goal_pose": None}, ["goal_pose", "3 finite numbers", "None"]),
        ({"scale": 0.49}, ["scale", "[0.5, 1.5]", "0.49"]),
        ({"scale": np.nan}, ["scale", "[0.5, 1.5]", "nan"]),
        ({"scale": "big"}, ["scale", "'random'", "'big'"]),
        ({"scale": True}, ["scale", "True"]),
        ({"scale": [1.0]}, ["scale", "[1.0]"]),
        ({"scale": 10**400}, ["scale", "[0.5, 1.5]"]),
        ({"scale": 1 + 0j}, ["scale", "[0.5, 1.5]"]),
        ({"scale": np.complex128(1)}, ["scale", "[0.5, 1.5]"]),
        ({"goal": "random"}, ["'goal_pose'", "'scale'", "did you mean 'goal_pose'"]),
    ],
)
def test_goals_and_scales_that_make_no_sense_are_refused(values: dict, named: list[str]) -> None:
    """As arguments and as options alike; a refused reset leaves the world as it was."""
    env, undisturbed = PushTEnv(variations=BOTH), PushTEnv(variations=BOTH)
    for world in (env, undisturbed):
        world.reset(seed=0)
    for attempt in (lambda: PushTEnv(variations=values), lambda: env.reset(seed=5, options=values)):
        with pytest.raises(ValueError, match=r"found|leave") as error:
            attempt()
        assert all(name in str(error.value) for name in named), str(error.value)
        assert "\n" not in str(error.value)
    found, expected = env.step([300.0, 300.0])[0], undisturbed.step([300.0, 300.0])[0]
    for key in expected:
        np.testing.assert_array_equal(found[key], expected[key])
    assert env.np_random.bit_generator.state == undisturbed.np_random.bit_generator.state


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize("found", ["random", ["goal_pose"], 3, {3: 1}])
def test_variations_must_be_named_with_their_values(found: object) -> None:
    with pytest.raises(ValueError, match=r"variations: found .* expected .*'goal_pose', 'scale'"):
        PushTEnv(variations=found)
