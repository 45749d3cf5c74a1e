"""Pictures show what the state says, at any size."""

import warnings
from typing import Any

import numpy as np
import pytest
from diffpolicy_envs.pusht import AGENT_RADIUS_PX, BLOCK_AREA_PX2, PushTEnv, block_corners, draw_scene
from diffpolicy_envs.pusht.render import (
    ACTION_RGB,
    AGENT_RGB,
    BLOCK_RGB,
    GOAL_RGB,
    GROUND_RGB,
    WALL_RGB,
    plan_colours,
)

STATE = np.array([100.0, 150.0, 300.0, 120.0, 0.4])


def share(picture: np.ndarray, colour: tuple[int, int, int]) -> float:
    """The share of a picture, in px^2 of the workspace, that has a colour up to smoothing."""
    near = np.abs(picture.astype(int) - colour).max(axis=-1) < 20
    return near.mean() * 512**2


@pytest.mark.parametrize("size_px", [96, 300, 512, 1024])
def test_areas_do_not_depend_on_the_size(size_px: int) -> None:
    picture = draw_scene(STATE, size_px=size_px)
    assert picture.shape == (size_px, size_px, 3)
    assert picture.dtype == np.uint8
    slack = 0.02 + 20 / size_px  # smoothed edges belong to no colour
    assert share(picture, BLOCK_RGB) == pytest.approx(BLOCK_AREA_PX2, rel=slack)
    assert share(picture, AGENT_RGB) == pytest.approx(np.pi * AGENT_RADIUS_PX**2, rel=slack)


def test_x_runs_right_and_y_down() -> None:
    picture = draw_scene(STATE)
    assert tuple(picture[150, 100]) == AGENT_RGB
    inside = block_corners(STATE[2:]).mean(axis=0).round().astype(int)
    assert tuple(picture[inside[1], inside[0]]) == BLOCK_RGB
    assert tuple(picture[256, 5]) == WALL_RGB
    assert tuple(picture[450, 450]) == GROUND_RGB
    assert tuple(picture[270, 242]) == GOAL_RGB


def test_agent_and_goal_are_drawn_as_asked() -> None:
    assert share(draw_scene(STATE, agent=False), AGENT_RGB) == 0
    moved = draw_scene(STATE, goal_pose=np.array([120.0, 400.0, 0.0]))
    assert tuple(moved[410, 120]) == GOAL_RGB
    assert tuple(moved[270, 242]) == GROUND_RGB


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5])
def test_scale_is_that_of_block_and_goal(scale: float) -> None:
    picture = draw_scene(STATE, goal_pose=np.array([150.0, 300.0, 0.2]), scale=scale)
    for colour in (BLOCK_RGB, GOAL_RGB):
        assert share(picture, colour) == pytest.approx(scale**2 * BLOCK_AREA_PX2, rel=0.07)
    assert share(picture, AGENT_RGB) == pytest.approx(np.pi * AGENT_RADIUS_PX**2, rel=0.07)
    # The origin of the block's frame, in the middle of the bar's outer edge, stays where it is.
    along = np.array([-np.sin(STATE[4]), np.cos(STATE[4])])
    inside, outside = ((STATE[2:4] + step * along).round().astype(int) for step in (3, -3))
    assert tuple(picture[inside[1], inside[0]]) == BLOCK_RGB
    assert tuple(picture[outside[1], outside[0]]) == GROUND_RGB


def test_the_goal_can_be_left_out() -> None:
    assert share(draw_scene(STATE), GOAL_RGB) > 5000
    assert share(draw_scene(STATE, goal=False), GOAL_RGB) == 0


@pytest.mark.parametrize("size_px", [96, 512])
def test_the_action_is_marked_where_it_aims(size_px: int) -> None:
    action = np.array([400.0, 60.0])
    changed = (draw_scene(STATE, size_px=size_px, action=action) != draw_scene(STATE, size_px=size_px)).any(axis=-1)
    rows, columns = np.nonzero(changed)
    centre_px = (np.array([columns.mean(), rows.mean()]) + 0.5) * 512 / size_px - 0.5
    np.testing.assert_allclose(centre_px, action, atol=512 / size_px / 2)
    assert np.hypot(columns - columns.mean(), rows - rows.mean()).max() * 512 / size_px < 20
    if size_px == 512:
        assert tuple(draw_scene(STATE, action=action)[60, 400]) == ACTION_RGB


def test_a_plan_darkens_from_its_first_step_to_its_last() -> None:
    plan = np.stack([np.linspace(350, 470, 7), np.linspace(300, 480, 7)], axis=1)
    picture = draw_scene(STATE, plan=plan)
    at_steps = [tuple(picture[round(y), round(x)].tolist()) for x, y in plan.tolist()]
    assert at_steps == plan_colours(7)
    # Luminance as readers of every kind see it.
    brightness = np.array(at_steps) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(brightness) < -5).all()
    between = picture[round(plan[:2, 1].mean()), round(plan[:2, 0].mean())]
    assert tuple(between) == plan_colours(7)[0]


@pytest.mark.parametrize("steps", [0, 1, 2, 300])
def test_plans_of_any_length_are_drawn(steps: int) -> None:
    plan = np.full((steps, 2), 450.0)
    assert (draw_scene(STATE, plan=plan) != draw_scene(STATE)).any() == (steps > 0)


def test_a_plan_may_leave_the_picture() -> None:
    wild = np.array([[1e12, -1e12], [450.0, 450.0], [-1e9, 450.0]])
    picture = draw_scene(STATE, plan=wild)
    assert tuple(picture[450, 450].tolist()) == plan_colours(3)[1]


@pytest.mark.parametrize(
    ("name", "overlay"),
    [
        ("plan", np.zeros(2)),
        ("plan", np.zeros((4, 3))),
        ("plan", np.full((3, 2), np.nan)),
        ("action", np.array([np.inf, 0.0])),
        ("action", np.zeros((1, 2))),
        ("scale", 0.0),
    ],
)
def test_overlays_that_make_no_sense_are_refused_by_name(name: str, overlay: Any) -> None:
    # A run with shapes checked refuses the wrong shape itself, as a TypeError.
    with pytest.raises((ValueError, TypeError), match=rf"{name}: expected|parameter '{name}'"):
        draw_scene(STATE, **{name: overlay})


def test_overlays_leave_no_trace_in_later_pictures() -> None:
    before = draw_scene(STATE)
    draw_scene(STATE, action=np.array([256.0, 256.0]), plan=np.array([[0.0, 0.0], [512.0, 512.0]]))[:] = 0
    np.testing.assert_array_equal(draw_scene(STATE), before)


def test_edges_are_smooth() -> None:
    colours = np.unique(draw_scene(STATE).reshape(-1, 3), axis=0)
    assert len(colours) > 20


def test_drawing_is_pure() -> None:
    state = STATE.copy()
    first = draw_scene(state)
    np.testing.assert_array_equal(first, draw_scene(state))
    np.testing.assert_array_equal(state, STATE)


def test_render_draws_the_current_state_at_the_asked_size() -> None:
    env = PushTEnv(render_mode="rgb_array", render_size_px=200)
    env.reset(seed=0)
    obs, *_ = env.step([300.0, 300.0])
    np.testing.assert_array_equal(env.render(), draw_scene(obs, size_px=200))


def test_render_without_a_mode_draws_nothing_and_says_so() -> None:
    env = PushTEnv()
    env.reset(seed=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert env.render() is None
    assert any("rgb_array" in str(warning.message) for warning in caught)
