"""Promises of the closed-loop film: the world and the plan where they are, the plan before fading, nothing of the future."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from diffpolicy.visualization.closed_loop import closed_loop_frames
from diffpolicy.visualization.loop import checked_loop

MOMENTS, HORIZON = 7, 6
LOOKS = np.array([0, 3])
GREY = 245
# Where the two squares lie on a frame of the reference width: left of the world, left of the plans, top, side.
WORLD_LEFT, PLANS_LEFT, TOP, SIDE = 24, 552, 110, 504


def level(y_px: float, x0: float = 60.0, x1: float = 450.0) -> np.ndarray:
    """A plan that runs from left to right at one height."""
    return np.stack([np.linspace(x0, x1, HORIZON), np.full(HORIZON, y_px)], axis=-1)


def film(**changes: Any) -> list[np.ndarray]:
    options: dict[str, Any] = {
        "plans": np.stack([level(100), level(200)]),
        "looks": LOOKS,
        "coverage": np.linspace(0.1, 0.7, MOMENTS),
        **changes,
    }
    scenes = options.pop("scenes", [np.full((64, 64, 3), GREY, np.uint8)] * MOMENTS)
    return list(closed_loop_frames(scenes, **options))


def ink(frame: np.ndarray, y_px: float, left: int = PLANS_LEFT) -> float:
    """How dark a square is along a line at some height of the workspace, away from its ends."""
    row = TOP + round(y_px * SIDE / 512)
    return float(255 - frame[row - 1 : row + 2, left + 120 : left + 380].mean())


def test_a_frame_a_scene_of_one_even_size_with_the_world_twice() -> None:
    scenes = [np.full((64, 64, 3), 150 + 10 * k, np.uint8) for k in range(MOMENTS)]
    frames = film(scenes=iter(scenes))
    assert len(frames) == MOMENTS
    assert {frame.shape for frame in frames} == {(776, 1280, 3)}
    for k, frame in enumerate(frames):
        for left in (WORLD_LEFT, PLANS_LEFT):
            assert np.all(frame[TOP + 400, left + 40] == 150 + 10 * k)
        assert np.all(frame[TOP + 400, WORLD_LEFT + SIDE + 10] == 255), "between the two lies the page"


def test_the_plan_is_drawn_over_its_world_alone_and_replaced_at_the_next_look() -> None:
    frames = film()
    for frame in frames:
        assert ink(frame, 100, WORLD_LEFT) == ink(frame, 200, WORLD_LEFT) == 255 - GREY
    assert ink(frames[0], 100) > 60
    assert ink(frames[0], 200) == 255 - GREY
    assert ink(frames[3], 200) > 60


def test_what_the_plan_before_gave_up_fades_until_the_next_look() -> None:
    looks, moments = np.array([0, 3, 8]), 10
    frames = film(
        plans=np.stack([level(100), level(200), level(300)]),
        looks=looks,
        coverage=np.zeros(moments),
        scenes=[np.full((64, 64, 3), GREY, np.uint8)] * moments,
        speed=0.5,
    )
    given_up = [ink(frame, 100) for frame in frames[3:]]
    assert given_up[0] < ink(frames[0], 100), "fainter than while it was followed"
    assert all(later < sooner for sooner, later in pairwise(given_up[:6]))
    assert given_up[5] == 255 - GREY, "two plans ago is forgotten"


def test_other_samples_are_fainter_than_the_plan_and_fade_while_it_is_followed() -> None:
    others = np.stack([[level(300), level(300)], [level(400), level(400)]])
    frames = film(samples=others)
    assert 255 - GREY + 5 < ink(frames[0], 300) < ink(frames[0], 100)
    assert ink(frames[2], 300) < ink(frames[1], 300) < ink(frames[0], 300)
    assert ink(frames[3], 300) == 255 - GREY
    assert ink(frames[3], 400) > 255 - GREY + 5


def test_the_agents_way_grows() -> None:
    way = np.stack([np.linspace(60, 450, MOMENTS), np.full(MOMENTS, 400.0)], axis=-1)
    inks = [ink(frame, 400) for frame in film(agent_px=way)]
    assert inks[0] == 255 - GREY
    assert inks[-1] > inks[3] > inks[0]


def test_a_frame_tells_nothing_of_what_comes_after_it() -> None:
    coverage = np.linspace(0.1, 0.7, MOMENTS)
    other = coverage.copy()
    other[4:] = 0.99
    one = film(agent_px=np.full((MOMENTS, 2), 256.0))
    two = film(
        agent_px=np.concatenate([np.full((4, 2), 256.0), np.full((MOMENTS - 4, 2), 90.0)]),
        coverage=other,
    )
    assert all(np.array_equal(a, b) for a, b in zip(one[:4], two[:4], strict=True))
    assert not np.array_equal(one[4], two[4])
    replaced = film(plans=np.stack([level(100), level(440)]), agent_px=np.full((MOMENTS, 2), 256.0))
    assert all(np.array_equal(a, b) for a, b in zip(one[:3], replaced[:3], strict=True))
    assert not np.array_equal(one[3], replaced[3])


@pytest.mark.parametrize(
    ("speed", "since", "place"), [(1, 0, 1.0), (1, 2, 3.0), (3, 1, 4.0), (1.5, 1, 2.5), (3, 2, 5.0)]
)
def test_a_plan_is_followed_from_its_first_executed_action_at_its_speed(speed: float, since: int, place: float) -> None:
    """Along a straight plan the target's place is known; beyond the last action it stays there."""
    loop = checked_loop(level(100, 0, HORIZON - 1)[None], np.array([0]), None, None, slice(1, 4), speed, MOMENTS)
    bid, left = loop.followed(0, since)
    assert bid == pytest.approx([place, 100])
    assert left[0] == pytest.approx(bid)
    assert np.array_equal(left[1:], loop.plans[0, int(place) + 1 :])


def test_each_moment_belongs_to_the_last_look() -> None:
    loop = checked_loop(np.zeros((3, HORIZON, 2)), np.array([0, 2, 3]), None, None, None, 1, MOMENTS)
    assert [loop.at(moment) for moment in range(5)] == [(0, 0), (0, 1), (1, 0), (2, 0), (2, 1)]
    assert [loop.lasts(look) for look in range(3)] == [2, 1, 4]


REFUSALS = [
    ({"plans": np.zeros((2, HORIZON, 3))}, r"plans: expected shape \(looks, horizon, 2\)"),
    ({"plans": np.zeros((2, 1, 2))}, "at least 2 actions"),
    ({"looks": np.array([0, 7])}, r"looks: expected 2 rising moments.*below 7, found \[0, 7\]"),
    ({"looks": np.array([1, 3])}, "looks: .*the first 0"),
    ({"looks": np.array([0, 0])}, "looks: expected 2 rising"),
    ({"looks": np.array([0])}, "looks: expected 2 rising"),
    ({"looks": np.array([0.0, 3.0])}, "looks"),
    ({"coverage": np.full(MOMENTS, 95.0)}, "coverage: expected shares"),
    ({"coverage": np.full(MOMENTS, np.nan)}, "coverage: expected finite"),
    ({"samples": np.zeros((1, 8, HORIZON, 2))}, r"samples: expected shape \(2, samples, 6, 2\)"),
    ({"agent_px": np.zeros((3, 2))}, r"agent_px: expected shape \(7, 2\)"),
    ({"executed": slice(3, 9)}, "executed: .* <= 6"),
    ({"speed": 0}, "speed: expected a number above 0"),
    ({"width_px": 200}, "width_px"),
    ({"scenes": [np.zeros((8, 8, 3), np.uint8)] * 2}, "scenes: expected 7, .* found 2"),
    ({"scenes": [np.zeros((8, 8, 3), np.uint8)] * 8}, "scenes: expected 7, .* found more"),
    ({"scenes": [np.zeros((8, 8, 3))] * 7}, "scenes: expected uint8"),
]


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(("wrong", "words"), REFUSALS)
def test_wrong_arguments_are_refused_in_one_line(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        film(**wrong)
    assert "\n" not in str(caught.value)
