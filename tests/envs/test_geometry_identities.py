"""Coverage, mirror and keypoints obey the identities of plane geometry."""

import numpy as np
import pytest
import shapely
from diffpolicy_envs.pusht import (
    BLOCK_AREA_PX2,
    BLOCK_CORNERS,
    GOAL_POSE,
    KEYPOINTS,
    block_corners,
    block_keypoints,
    coverage,
    coverage_of_pose,
    mirror_action,
    mirror_pose,
    mirror_state,
    wrap_angle,
)
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import MultiPolygon, Polygon, box

POSES = st.tuples(st.floats(-50, 562), st.floats(-50, 562), st.floats(-20, 20))


def random_poses(count: int, spread_px: float, spread_rad: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return GOAL_POSE + rng.uniform(-1, 1, (count, 3)) * [spread_px, spread_px, spread_rad]


def shapely_block(pose: np.ndarray) -> MultiPolygon:
    cos, sin = np.cos(pose[2]), np.sin(pose[2])
    parts = []
    for x0, y0, x1, y1 in [(-60, 0, 60, 30), (-15, 30, 15, 120)]:
        corners = np.array(box(x0, y0, x1, y1).exterior.coords[:-1])
        parts.append(Polygon(corners @ np.array([[cos, sin], [-sin, cos]]) + pose[:2]))
    return parts[0].union(parts[1])


def shapely_outlines(poses: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Blocks as shapely's polygons, one a pose, from the outline turned and moved as complex numbers."""
    outline = np.array(shapely_block(np.zeros(3)).exterior.coords) @ np.array([1.0, 1j])
    placed = scales[:, None] * outline * np.exp(1j * poses[:, 2:]) + poses[:, :2] @ np.array([[1.0], [1j]])
    return shapely.polygons(np.stack([placed.real, placed.imag], axis=-1))


@pytest.mark.parametrize(("spread_px", "spread_rad"), [(150.0, np.pi), (30.0, 0.5), (3.0, 0.05)])
def test_coverage_agrees_with_shapely(spread_px: float, spread_rad: float) -> None:
    """10,000 poses over the three spreads; half the goals are the published one, the others lie anywhere at any scale."""
    count = 3334
    rng = np.random.default_rng(3)
    goals, scales = np.tile(GOAL_POSE, (count, 1)), np.ones(count)
    goals[::2] = rng.uniform((50.0, 50.0, -10.0), (450.0, 450.0, 10.0), (count // 2, 3))
    scales[::2] = rng.uniform(0.5, 1.5, count // 2)
    offsets = random_poses(count, spread_px, spread_rad, seed=4) - GOAL_POSE
    poses = goals + offsets * np.stack([scales, scales, np.ones(count)], axis=1)
    blocks, targets = shapely_outlines(poses, scales), shapely_outlines(goals, scales)
    expected = shapely.area(shapely.intersection(blocks, targets)) / shapely.area(targets)
    assert np.mean(expected > 0) > 0.2
    np.testing.assert_allclose(coverage(poses, goals, scales), expected, rtol=0, atol=1e-9)
    one_by_one = zip(poses.tolist(), goals.tolist(), scales.tolist(), strict=True)
    found = [coverage_of_pose(*pose, goal_pose=tuple(goal), scale=scale) for pose, goal, scale in one_by_one]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


@given(POSES, POSES, st.floats(0.5, 1.5))
def test_coverage_of_a_scaled_world_is_that_of_the_world(pose: tuple, goal: tuple, scale: float) -> None:
    """Everything scaled together covers the same share; and no share is below none or above all."""
    scaled, scaled_goal = ((scale * x, scale * y, angle) for x, y, angle in (pose, goal))
    expected = coverage_of_pose(*pose, goal_pose=goal)
    assert 0.0 <= expected <= 1.0
    assert abs(coverage_of_pose(*scaled, goal_pose=scaled_goal, scale=scale) - expected) < 1e-9
    assert abs(coverage(np.array(scaled), np.array(scaled_goal), scale) - expected) < 1e-9


def test_a_block_that_only_touches_the_goal_covers_none_of_it() -> None:
    """Rounding must not make it less than none: a pose where it did."""
    assert coverage_of_pose(150.0, 172.29399055555556, 0.0) == 0.0
    touching = np.array(
        [[x, y, turn * np.pi / 4] for x in range(100, 400, 13) for y in range(100, 400, 13) for turn in range(8)]
    )
    assert coverage(touching).min() == 0.0
    assert min(coverage_of_pose(*pose) for pose in touching.tolist()) == 0.0


@given(POSES, st.floats(0.5, 1.5))
def test_corners_and_keypoints_scale_about_the_blocks_origin(pose: tuple, scale: float) -> None:
    placed = np.array(pose)
    for points in (block_corners, block_keypoints):
        expected = placed[:2] + scale * (points(placed) - placed[:2])
        np.testing.assert_allclose(points(placed, scale), expected, rtol=0, atol=1e-9)


def test_published_threshold_decides_as_shapely_does() -> None:
    poses = random_poses(3000, 3.0, 0.05, seed=1)
    goal = shapely_block(GOAL_POSE)
    expected = np.array([shapely_block(pose).intersection(goal).area / goal.area > 0.95 for pose in poses])
    assert 0.1 < expected.mean() < 0.9
    np.testing.assert_array_equal(coverage(poses) > 0.95, expected)


def test_turns_by_right_angles_agree_with_shapely() -> None:
    """Edges that run along the goal's own, or coincide with them, are the hard case of clipping."""
    turns = np.arange(4) * np.pi / 2
    shifts = np.array([0.0, 15.0, 30.0, 60.0, 90.0, 120.0])
    grid = np.array([[x, y, turn] for x in shifts for y in shifts for turn in turns])
    goal = shapely_block(np.zeros(3))
    expected = [shapely_block(pose).intersection(goal).area / goal.area for pose in grid]
    np.testing.assert_allclose(coverage(grid, np.zeros(3)), expected, rtol=0, atol=1e-9)
    single = [coverage_of_pose(*pose, goal_pose=(0.0, 0.0, 0.0)) for pose in grid.tolist()]
    np.testing.assert_allclose(single, expected, rtol=0, atol=1e-9)


def test_coverage_is_one_at_the_goal_and_zero_far_away() -> None:
    assert coverage(GOAL_POSE) == 1.0
    assert coverage_of_pose(*GOAL_POSE.tolist()) == 1.0
    assert coverage(GOAL_POSE + np.array([200.0, 0.0, 0.0])) == 0.0
    assert coverage_of_pose(50.0, 400.0, 0.0) == 0.0


@given(POSES, POSES)
def test_coverage_is_symmetric_in_block_and_goal(pose: tuple, goal: tuple) -> None:
    there, back = coverage(np.array(pose), np.array(goal)), coverage(np.array(goal), np.array(pose))
    assert abs(there - back) < 1e-9
    assert abs(there - coverage_of_pose(*pose, goal_pose=goal)) < 1e-9
    assert 0.0 <= there <= 1.0


@given(POSES)
def test_mirror_keeps_coverage(pose: tuple) -> None:
    assert abs(coverage(mirror_pose(np.array(pose))) - coverage(np.array(pose))) < 1e-9


@given(POSES)
def test_mirror_reflects_the_outline(pose: tuple) -> None:
    """The mirrored pose's outline is the reflection of the outline, corner for partner corner."""
    reflected = mirror_action(block_corners(np.array(pose)))
    partners = [1, 0, 7, 6, 5, 4, 3, 2]
    np.testing.assert_allclose(block_corners(mirror_pose(np.array(pose)))[partners], reflected, atol=1e-9)


@given(st.tuples(st.floats(0, 512), st.floats(0, 512)), POSES)
def test_mirror_is_an_involution(agent: tuple, pose: tuple) -> None:
    state = np.array([*agent, *pose])
    state[4:] = wrap_angle(state[4:])
    twice = mirror_state(mirror_state(state))
    np.testing.assert_allclose(twice[:4], state[:4], atol=1e-12)
    assert abs((twice[4] - state[4] + np.pi) % (2 * np.pi) - np.pi) < 1e-12
    np.testing.assert_allclose(mirror_action(mirror_action(np.array(agent))), agent, atol=1e-12)


def test_mirror_keeps_the_goal() -> None:
    np.testing.assert_allclose(mirror_pose(GOAL_POSE), GOAL_POSE, atol=1e-12)


@given(st.floats(-1e6, 1e6))
def test_wrapped_angles_are_the_same_direction_below_two_pi(angle: float) -> None:
    wrapped = wrap_angle(np.array(angle))
    assert 0 <= wrapped < 2 * np.pi
    assert abs(np.exp(1j * wrapped) - np.exp(1j * angle)) < 1e-9


def test_wrapping_never_reaches_two_pi() -> None:
    angles = np.array([-1e-17, -0.0, 2 * np.pi, -2 * np.pi, np.nextafter(2 * np.pi, 7)])
    assert np.all((wrap_angle(angles) >= 0) & (wrap_angle(angles) < 2 * np.pi))


def test_functions_take_any_batch_shape() -> None:
    poses = random_poses(24, 60.0, 1.0)
    batch = poses.reshape(2, 3, 4, 3)
    states = np.concatenate([batch[..., :2], batch], axis=-1)
    assert mirror_state(states).shape == (2, 3, 4, 5)
    for function in (coverage, block_corners, block_keypoints, mirror_pose):
        one_by_one = np.stack([function(pose) for pose in poses])
        np.testing.assert_allclose(function(batch).reshape(one_by_one.shape), one_by_one, rtol=0, atol=1e-12)


def test_outline_encloses_the_area_of_both_rectangles() -> None:
    assert Polygon(BLOCK_CORNERS).area == BLOCK_AREA_PX2


@pytest.mark.parametrize("constant", [BLOCK_CORNERS, KEYPOINTS, GOAL_POSE])
def test_constants_cannot_be_changed_by_accident(constant: np.ndarray) -> None:
    with pytest.raises(ValueError, match="read-only"):
        constant[0] = 0.0
