"""Promises of the denoising pictures: true ends, bounded motion, colours that follow time, clear refusals."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from diffpolicy.visualization import denoising_frames, denoising_strip, plan_picture
from diffpolicy.visualization.denoising import film_positions, state_at
from diffpolicy.visualization.plans import PAGE_WIDTH, PANEL
from diffpolicy.visualization.style import time_colours

WIDTH_PX = 320


def film(path: np.ndarray, scene: np.ndarray, **options: Any) -> list[np.ndarray]:
    return list(denoising_frames(path, scene, **{"frames": 6, "width_px": WIDTH_PX, **options}))


def world_part(picture: np.ndarray, width_px: int = WIDTH_PX) -> np.ndarray:
    """The square that shows the world, without heading and colour bar."""
    left, top, side = (round(edge * width_px / PAGE_WIDTH) for edge in PANEL)
    return picture[top : top + side, left : left + side]


def test_last_frame_is_the_picture_of_the_plans(path: np.ndarray, scene: np.ndarray) -> None:
    options: dict[str, Any] = {"agent_px": np.array([80.0, 256.0]), "executed": slice(1, 9)}
    last = film(path, scene, **options)[-1]
    plans = plan_picture(path[-1], scene, width_px=WIDTH_PX, **options)
    assert np.array_equal(world_part(last), world_part(plans))


def test_last_frame_forgets_the_noise(path: np.ndarray, scene: np.ndarray) -> None:
    other = path.copy()
    other[:-1] = np.random.default_rng(9).normal(256, 256, path[:-1].shape)
    one, two = film(path, scene), film(other, scene)
    assert np.array_equal(one[-1], two[-1])
    assert not np.array_equal(one[0], two[0])


def test_first_frame_is_the_noise(path: np.ndarray, scene: np.ndarray) -> None:
    frames = film(path, scene)
    noise = plan_picture(path[0], scene, width_px=WIDTH_PX)
    assert np.array_equal(world_part(frames[0]), world_part(noise))
    assert not np.array_equal(world_part(frames[0]), world_part(frames[-1]))


def test_every_frame_moves_and_has_one_even_size(path: np.ndarray, scene: np.ndarray) -> None:
    frames = film(path, scene, frames=16)
    assert len(frames) == 16
    assert {(frame.shape, str(frame.dtype)) for frame in frames} == {(frames[0].shape, "uint8")}
    height, width, _ = frames[0].shape
    assert width == WIDTH_PX
    assert height % 2 == 0
    assert all(not np.array_equal(a, b) for a, b in pairwise(frames))


def test_drawing_twice_gives_the_same_bytes(path: np.ndarray, scene: np.ndarray) -> None:
    options: dict[str, Any] = {"executed": slice(1, 9), "noise_levels": np.linspace(1, 0, 6), "nfe": 5}
    for one, two in zip(film(path, scene, **options), film(path, scene, **options), strict=True):
        assert np.array_equal(one, two)


def test_noise_outside_the_workspace_stays_inside_the_panel(path: np.ndarray, scene: np.ndarray) -> None:
    far = path.copy()
    far[0] = 256 + 40 * (path[0] - 256)
    near, beyond = film(path, scene)[0], film(far, scene)[0]
    left, top, side = (round(edge * WIDTH_PX / PAGE_WIDTH) for edge in PANEL)
    outside = np.ones(near.shape[:2], dtype=bool)
    outside[top : top + side + 1, left : left + side + 1] = False
    assert np.array_equal(near[outside], beyond[outside])


def test_colours_follow_time(scene: np.ndarray) -> None:
    """Along one plan from left to right, the pixels run through the time colours in order."""
    horizon = 16
    plan = np.stack([np.linspace(40, 472, horizon), np.full(horizon, 400.0)], axis=-1)[None]
    empty = np.full_like(scene, 255)
    picture = world_part(plan_picture(plan, empty, width_px=640), 640).astype(float)
    row = picture[np.argmin(picture.sum(axis=(1, 2)))]
    inked = np.flatnonzero(row.sum(axis=-1) < 3 * 235)[5:-5]  # The ends are rounded.
    assert len(inked) > 400
    # What lies under a nearly opaque line is white, so compare with the colours at the same opacity.
    shades = 255 * (1 - 0.95 * (1 - time_colours(256)[:, :3]))
    nearest = np.linalg.norm(row[inked][:, None] - shades[None], axis=-1).argmin(axis=1) / 255
    expected = (inked - 32 - 40) / 432
    assert np.abs(nearest - np.clip(expected, 0, 1)).max() < 0.1
    assert np.corrcoef(nearest, expected)[0, 1] > 0.99


def test_time_colours_run_from_dark_blue_to_light_orange() -> None:
    """Lightness rises all the way, so the order survives grey print and colour blindness."""
    colours = time_colours(64)[:, :3]
    assert np.all(np.diff(colours @ [0.2126, 0.7152, 0.0722]) > 0)
    assert colours[0].argmax() == 2
    assert colours[-1].argmax() == 0


def test_executed_actions_are_drawn_stronger(scene: np.ndarray) -> None:
    horizon = 16
    plan = np.stack([np.linspace(40, 472, horizon), np.full(horizon, 400.0)], axis=-1)[None]
    empty = np.full_like(scene, 255)

    def ink(executed: slice) -> np.ndarray:
        picture = world_part(plan_picture(plan, empty, executed=executed, width_px=640), 640)
        return (255.0 - picture[420:445]).sum(axis=(0, 2))

    early, late = ink(slice(0, 8)), ink(slice(8, 16))
    assert early[80:260].sum() > 1.2 * late[80:260].sum()
    assert late[330:460].sum() > 1.2 * early[330:460].sum()


def test_agent_and_trail_are_drawn_where_they_are(path: np.ndarray, scene: np.ndarray) -> None:
    bare = world_part(plan_picture(path[-1], scene, width_px=640), 640)
    marked = world_part(plan_picture(path[-1], scene, agent_px=np.array([400.0, 60.0]), width_px=640), 640)
    rows, columns = np.nonzero((bare != marked).any(axis=-1))
    assert columns.mean() == pytest.approx(32 + 400, abs=8)
    assert 32 + 30 < rows.min() < rows.max() < 32 + 130
    trail = np.array([[300.0, 480.0], [450.0, 480.0]])
    walked = world_part(plan_picture(path[-1], scene, trail_px=trail, width_px=640), 640)
    rows, columns = np.nonzero((bare != walked).any(axis=-1))
    assert rows.mean() == pytest.approx(32 + 480, abs=2)
    assert (columns.min(), columns.max()) == pytest.approx((32 + 300, 32 + 450), abs=4)


def test_long_lines_stay_for_one_sample_and_give_way_for_many() -> None:
    """The share of inked pixels in pure noise: one path must show, sixty-four must not cover the world."""
    noise = np.random.default_rng(5).normal(256, 200, (64, 16, 2))
    empty = np.full((64, 64, 3), 255, np.uint8)

    def inked(samples: int) -> float:
        return float((world_part(plan_picture(noise[:samples], empty, width_px=640), 640).min(axis=-1) < 200).mean())

    assert inked(1) > 0.01
    assert inked(64) < 0.15


@pytest.mark.parametrize(("states", "frames"), [(11, 50), (11, 12), (2, 40), (6, 6), (101, 48), (101, 101), (101, 150)])
def test_film_positions_hold_the_ends_and_every_state_when_they_can(states: int, frames: int) -> None:
    positions = film_positions(states, frames)
    assert positions[0] == 0
    assert positions[-1] == states - 1
    assert np.all(np.diff(positions) > 0)
    if frames >= states:
        assert set(range(states)) <= set(positions.tolist())
        assert abs(len(positions) - frames) <= states / 2
    else:
        assert len(positions) == frames
        assert np.array_equal(positions, np.round(positions)), "states are skipped, never blended"


def test_states_between_are_smooth_bounded_and_exact_at_the_states() -> None:
    states = np.random.default_rng(0).normal(size=(7, 5, 3))
    for k in range(7):
        assert np.array_equal(state_at(states, float(k)), states[k])
    fine = np.array([state_at(states, p) for p in np.linspace(0, 6, 601)])
    for k in range(6):
        part = fine[100 * k : 100 * k + 101]
        assert np.all(part >= np.minimum(states[k], states[k + 1]) - 1e-12)
        assert np.all(part <= np.maximum(states[k], states[k + 1]) + 1e-12)
    speed = np.diff(fine, axis=0)
    assert np.abs(np.diff(speed, axis=0)).max() < 0.1 * np.abs(speed).max(), "no jolt at a state"


def test_motion_at_constant_speed_is_kept() -> None:
    states = np.arange(6.0)[:, None] * [1.0, -2.0]
    assert np.allclose(state_at(states, 2.3), [2.3, -4.6])


@pytest.mark.parametrize(("panels", "count"), [(2, 2), (3, 3), (5, 5), ([0, 3, 4, 5], 4), ([2], 1)])
def test_strip_has_the_panels_asked_for(path: np.ndarray, panels: Any, count: int) -> None:
    """Counted by a patch of its own colour in the scene, once in every panel."""
    scene = np.full((128, 128, 3), 255, np.uint8)
    scene[100:116, 8:24] = (0, 255, 0)
    strip = denoising_strip(path * 0 + 256, scene, panels=panels, panel_px=160)
    assert strip.shape[1] == 160 * count
    green = (strip == (0, 255, 0)).all(axis=-1).any(axis=0)
    assert np.count_nonzero(np.diff(green.astype(int)) == 1) == count


def test_strip_shows_the_chosen_states(path: np.ndarray, scene: np.ndarray) -> None:
    by_count = denoising_strip(path, scene, panels=3, panel_px=160)
    by_index = denoising_strip(path, scene, panels=[0, 2, 5], panel_px=160)
    other = denoising_strip(path, scene, panels=[0, 3, 5], panel_px=160)
    assert np.array_equal(by_count, by_index)
    changed = np.flatnonzero((by_index != other).any(axis=(0, 2)))
    assert changed.min() >= 155
    assert changed.max() <= 325, "only the middle panel differs"


REFUSALS = [
    ({"path": np.zeros((6, 12, 2))}, r"path: expected shape \(frames, samples, horizon, 2\), found \(6, 12, 2\)"),
    ({"path": np.zeros((6, 8, 12, 3))}, r"path: expected shape .* found \(6, 8, 12, 3\)"),
    ({"path": np.zeros((6, 0, 12, 2))}, "path: expected shape"),
    ({"path": np.zeros((1, 8, 12, 2))}, "path: .* at least 2"),
    ({"path": np.full((6, 8, 12, 2), np.nan)}, "path: expected finite .* 1152 of 1152"),
    ({"path": "noise"}, "path: expected numbers"),
    ({"scene": np.zeros((8, 8, 3))}, r"scene: expected uint8 .* found float64 of shape \(8, 8, 3\)"),
    ({"scene": np.zeros((8, 8), np.uint8)}, r"scene: .* found uint8 of shape \(8, 8\)"),
    ({"agent_px": np.zeros(3)}, r"agent_px: expected shape \(2,\), found \(3,\)"),
    ({"agent_px": np.array([1.0, np.inf])}, "agent_px: expected finite"),
    ({"executed": slice(8, 14)}, r"executed: .* <= 12"),
    ({"executed": slice(4, 4)}, "executed"),
    ({"executed": slice(0, 8, 2)}, "executed"),
    ({"noise_levels": np.ones(5)}, r"noise_levels: expected shape \(6,\), found \(5,\)"),
    ({"workspace_px": 0.0}, "workspace_px"),
    ({"period_s": -0.1}, "period_s"),
]


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize("draw", [denoising_frames, denoising_strip])
@pytest.mark.parametrize(("wrong", "words"), REFUSALS)
def test_wrong_arguments_are_refused_in_one_line(
    draw: Callable[..., Any], wrong: dict[str, Any], words: str, path: np.ndarray, scene: np.ndarray
) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        draw(**{"path": path, "scene": scene, **wrong})
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("without_shape_checks")
def test_wrong_counts_are_refused(path: np.ndarray, scene: np.ndarray) -> None:
    for panels in (1, 7, [], [6], [-1]):
        with pytest.raises(ValueError, match="panels"):
            denoising_strip(path, scene, panels=panels)
    with pytest.raises(ValueError, match="frames"):
        denoising_frames(path, scene, frames=1)
    with pytest.raises(ValueError, match="at least 2 actions"):
        denoising_frames(path[:, :, :1], scene)
    with pytest.raises(ValueError, match="at least 2 actions"):
        denoising_strip(path[:, :, :1], scene)
    with pytest.raises(ValueError, match="width_px"):
        denoising_frames(path, scene, width_px=60)
    with pytest.raises(ValueError, match="panel_px"):
        denoising_strip(path, scene, panel_px=20)
    with pytest.raises(ValueError, match=r"plans: expected shape \(samples, horizon, 2\)"):
        plan_picture(path, scene)
    with pytest.raises(ValueError, match="trail_px"):
        plan_picture(path[-1], scene, trail_px=np.zeros((4, 3)))
