"""Pictures show what the state says, at any size."""

import warnings

import numpy as np
import pytest
from diffpolicy_envs.pusht import AGENT_RADIUS_PX, BLOCK_AREA_PX2, PushTEnv, block_corners, draw_scene
from diffpolicy_envs.pusht.render import AGENT_RGB, BLOCK_RGB, GOAL_RGB, GROUND_RGB, WALL_RGB

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
