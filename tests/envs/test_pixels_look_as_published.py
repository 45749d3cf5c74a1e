"""The pictures that policies observe look as the recorded ones, and depend on nothing but what they show."""

from typing import Any

import cv2
import numpy as np
import pytest
from diffpolicy_envs.pusht import GOAL_POSE, block_corners
from diffpolicy_envs.pusht.pixels import PixelPainter, draw_pixels
from diffpolicy_envs.pusht.published_look import (
    block_corners_px,
    draw_agent,
    draw_background,
    draw_block,
    draw_contacts,
)

STATE = np.array([100.0, 150.0, 300.0, 120.0, 0.4])
SIZES = [
    (96, 96),
    (84, 84),
    (128, 96),
    (64, 256),
    (1, 1),
    (3, 7),
    (97, 97),
    (224, 224),
    (511, 512),
    (600, 96),
    (700, 700),
]


def everything(
    state: np.ndarray, goal_pose: np.ndarray, scale: float, contacts: list[tuple[float, ...]], size_px: tuple[int, int]
) -> np.ndarray:
    """The published way: all of 512 x 512 px, then shrunk."""
    picture, walls = draw_background(goal_pose.tolist(), scale)
    picture = picture.copy()
    draw_block(picture, block_corners_px(*state[2:].tolist(), scale))
    draw_agent(picture, round(state[0]), round(state[1]))
    picture[walls == 1] = 211
    draw_contacts(picture, [tuple(map(round, line)) for line in contacts])
    return cv2.resize(picture, size_px[::-1])


@pytest.mark.human
def test_recorded_pictures_are_met(human: dict[str, Any]) -> None:
    frames = np.linspace(0, len(human["state"]) - 1, 500).astype(int)
    painter, recorded = PixelPainter(), human["img"]
    chunk_frames, chunk, held = recorded.chunks[0], np.empty(0), -1
    mean, far_off = [], []
    for frame in frames.tolist():
        if frame // chunk_frames != held:  # reading frame by frame would unpack every chunk three times
            held = frame // chunk_frames
            chunk = recorded[held * chunk_frames : (held + 1) * chunk_frames]
        off = np.abs(painter.paint(*human["state"][frame].tolist()) - chunk[frame % chunk_frames])
        mean.append(off.mean())
        far_off.append((off.max(axis=-1) > 16).mean())
    # Measured: 0.0085 grey levels and 0.016%, of which contacts, which the states do not tell, are a tenth.
    assert np.mean(mean) < 0.02
    assert np.mean(far_off) < 0.0005


@pytest.mark.parametrize("size_px", SIZES)
def test_tiles_are_as_good_as_everything(size_px: tuple[int, int]) -> None:
    rng = np.random.default_rng(size_px[0])
    for number in range(20):
        spread = (0, 512) if number < 15 else (-256, 768)
        state = np.append(rng.uniform(*spread, 4), rng.uniform(0, 2 * np.pi))
        goal_pose, scale = np.append(rng.uniform(100, 400, 2), rng.uniform(0, 6)), float(rng.uniform(0.5, 1.5))
        near = state[2] + rng.uniform(-60, 60), state[3] + rng.uniform(-60, 60)
        contacts = [(*near, near[0] + 3.0, near[1] - 2.0)] if number % 2 else []
        painted = PixelPainter(size_px, goal_pose, scale).paint(*state.tolist(), contacts)
        assert painted.shape == (*size_px, 3)
        assert painted.dtype == np.uint8
        off = np.abs(painted.astype(int) - everything(state, goal_pose, scale, contacts, size_px))
        assert off.max() <= 1


def test_a_picture_depends_on_its_arguments_alone() -> None:
    painter, rng = PixelPainter(), np.random.default_rng(0)
    first = painter.paint(*STATE.tolist())
    kept = first.copy()
    for state in rng.uniform(-50, 560, (20, 5)):
        painter.paint(*state.tolist(), [(*state[:2].tolist(), 256.0, 256.0)])
    first[:] = 0
    np.testing.assert_array_equal(painter.paint(*STATE.tolist()), kept)
    np.testing.assert_array_equal(draw_pixels(STATE), kept)
    np.testing.assert_array_equal(PixelPainter().paint(*STATE.tolist()), kept)


def test_contacts_change_only_what_is_near_them() -> None:
    line = (98.0, 163.0, 102.0, 167.0)
    without, with_contact = (
        draw_pixels(STATE, size_px=(512, 512)),
        draw_pixels(STATE, size_px=(512, 512), contacts=[line]),
    )
    rows, columns = np.nonzero((without != with_contact).any(axis=-1))
    assert set(zip(rows.tolist(), columns.tolist(), strict=True)) == {(163 + step, 98 + step) for step in range(5)}
    assert tuple(with_contact[165, 100]) == (231, 76, 60)


def test_a_contact_between_px_is_shared_by_two() -> None:
    on_white = draw_pixels(STATE, size_px=(512, 512), contacts=[(400.0, 400.0, 404.0, 402.0)])[399:404, 399:406, 2]
    expected = np.full((5, 7), 255)
    half = 255 - (255 - 60) // 2 - 1
    expected[1, 1:3], expected[2, 2:5], expected[3, 4:6] = (60, half), (half, 60, half), (half, 60)
    np.testing.assert_array_equal(on_white, expected)


def test_agent_and_block_have_two_tones_and_lie_on_the_goal() -> None:
    picture = draw_pixels(np.array([256.0, 400.0, *GOAL_POSE]), size_px=(512, 512))
    agent_row = picture[400, 256 - 16 : 256 + 16].tolist()
    tones = [[65, 105, 225], [78, 126, 255]]
    assert agent_row[0] == agent_row[-1] == [255, 255, 255]
    assert agent_row[1:-1] == [tones[0]] * 4 + [tones[1]] * 22 + [tones[0]] * 4
    inside = block_corners(GOAL_POSE).mean(axis=0).round().astype(int)
    assert picture[inside[1], inside[0]].tolist() == [143, 163, 184]
    x, y = block_corners(GOAL_POSE)[:2].mean(axis=0).round().astype(int)
    assert picture[y, x].tolist() == [119, 136, 153]
    # The outline reaches beyond the goal, so none of it shows.
    assert not (picture == (144, 238, 144)).all(axis=-1).any()


def test_walls_lie_on_everything_but_contacts() -> None:
    picture = draw_pixels(
        np.array([5.0, 300.0, 506.0, 200.0, 0.3]), size_px=(512, 512), contacts=[(3.0, 250.0, 7.0, 250.0)]
    )
    wall = [211, 211, 211]
    assert (picture[[249, 251], 3:8] == wall).all()
    assert (picture[250, 3:8] == (231, 76, 60)).all()
    assert (picture[10:500, 3:8] == wall).all(axis=-1).sum() == 490 * 5 - 5
    assert (picture[10:500, 504:509] == wall).all()


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5])
def test_goal_and_scale_are_as_asked(scale: float) -> None:
    goal_pose = np.array([200.0, 250.0, 2.5])
    away = np.array([-200.0, -200.0, 700.0, 700.0, 0.0])
    green = (draw_pixels(away, size_px=(512, 512), goal_pose=goal_pose, scale=scale) == (144, 238, 144)).all(axis=-1)
    area, perimeters = 6300 * scale**2, 540 * scale
    # pygame's polygons hold some of the px that their edges run through.
    assert area - perimeters / 8 < green.sum() < area + perimeters / 2
    rows, columns = np.nonzero(green)
    corners = block_corners(goal_pose, scale)
    np.testing.assert_allclose([columns.min(), rows.min()], corners.min(axis=0), atol=1.5)
    np.testing.assert_allclose([columns.max(), rows.max()], corners.max(axis=0), atol=1.5)


def test_what_lies_outside_is_not_drawn() -> None:
    empty = draw_pixels(np.array([-256.0, -256.0, 768.0, 768.0, 0.0]))
    np.testing.assert_array_equal(draw_pixels(np.array([768.0, 100.0, 100.0, -256.0, 1.0])), empty)
    assert (empty[1, 2:-2] == empty[1, 2]).all()
    assert (empty[2:-2, 2] == 255).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size_px": (0, 96)}, "size_px: expected"),
        ({"scale": 0.1}, "scale: expected a number of at least 0.25"),
        ({"scale": float("inf")}, "scale: expected"),
        ({"goal_pose": np.array([256.0, np.nan, 0.0])}, "goal_pose: expected three finite numbers"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_pixels(STATE, **arguments)
    with pytest.raises(ValueError, match="state: expected five finite numbers"):
        draw_pixels(np.array([1.0, 2.0, np.inf, 0.0, 0.0]))
