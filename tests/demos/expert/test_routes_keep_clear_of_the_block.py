"""Ways round the block: they arrive, touch nothing, take both sides, and no shorter way is missed."""

import math
from itertools import pairwise

import numpy as np
import pytest
from diffpolicy_demos.expert.pushes import PUSHES, to_world
from diffpolicy_demos.expert.routes import CLEARANCE_PX, is_inside_ring, routes, way_out
from diffpolicy_envs.pusht.geometry import AGENT_RADIUS_PX, BLOCK_CORNERS, distance_to_block, to_block_frame


def along(corners: list[tuple[float, float]], spacing_px: float = 2.0) -> np.ndarray:
    points = []
    for a, b in pairwise(corners):
        count = max(2, int(math.dist(a, b) / spacing_px))
        points += [np.array(a) + t * (np.array(b) - np.array(a)) for t in np.linspace(0, 1, count)]
    return np.array(points)


def outside(rng: np.random.Generator) -> tuple[float, float]:
    while True:
        x, y = rng.uniform((-250, -200), (250, 300)).tolist()
        if not is_inside_ring(x, y):
            return x, y


def test_ways_between_places_outside_stay_clear_and_arrive() -> None:
    rng = np.random.default_rng(0)
    two_sided = 0
    for _ in range(300):
        start, place = outside(rng), outside(rng)
        found = routes(start, place, way_out(*start))
        two_sided += len(found) == 2
        assert sorted(route.side for route in found) in ([0], [-1, 1])
        for route in found:
            assert route.corners[-1] == place
            points = along([start, *route.corners])
            nearest = min(distance_to_block(x, y) for x, y in points.tolist())
            assert nearest > AGENT_RADIUS_PX + CLEARANCE_PX - 2
            assert route.length_px == pytest.approx(
                sum(math.dist(a, b) for a, b in zip([start, *route.corners], route.corners, strict=False))
            )
            assert route.length_px >= math.dist(start, place) - 1e-9
            bearings = np.unwrap([math.atan2(y - 45.0, x) for x, y in points.tolist()])
            assert route.side * (bearings[-1] - bearings[0]) >= 0  # each way goes round the side that it says
    assert 50 < two_sided < 250


def test_the_two_ways_turn_to_opposite_sides() -> None:
    found = {route.side: route for route in routes((0.0, -100.0), (0.0, 250.0), None)}
    assert found[1].corners[0][0] > 0  # clockwise on the screen, y down: from above by the right
    assert found[-1].corners[0][0] < 0
    assert found[1].length_px == pytest.approx(found[-1].length_px)


def test_the_way_out_of_the_corner_does_not_rub_the_block() -> None:
    for start in [(33.0, 48.0), (-33.0, 48.0), (20.0, 136.0), (0.0, -16.0), (76.0, 10.0)]:
        out = way_out(*start)
        assert out is not None
        assert not is_inside_ring(*out)
        points = along([start, out])
        assert min(distance_to_block(x, y) for x, y in points.tolist()) > AGENT_RADIUS_PX - 1.5
    assert way_out(0.0, -60.0) is None


def test_pushes_cover_the_outline_and_can_be_reached() -> None:
    corners = BLOCK_CORNERS.tolist()
    for a, b in zip(corners, corners[1:] + corners[:1], strict=True):
        middle = ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)
        assert any(math.dist(push.touch, middle) < AGENT_RADIUS_PX + 12 for push in PUSHES)
    for push in PUSHES:
        assert math.hypot(*push.direction) == pytest.approx(1.0)
        assert distance_to_block(*push.touch) == pytest.approx(AGENT_RADIUS_PX, abs=0.6)
        ahead = (push.touch[0] + 5 * push.direction[0], push.touch[1] + 5 * push.direction[1])
        assert distance_to_block(*ahead) < AGENT_RADIUS_PX
        assert not is_inside_ring(*push.approach)
        points = along([push.approach, push.touch])
        assert min(distance_to_block(x, y) for x, y in points.tolist()) > AGENT_RADIUS_PX - 0.6


def test_frames_are_inverse_to_each_other() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        pose, point = tuple(rng.uniform(0, 500, 3).tolist()), tuple(rng.uniform(-100, 100, 2).tolist())
        np.testing.assert_allclose(to_block_frame(pose, to_world(pose, point)), point, atol=1e-9)  # type: ignore[arg-type]
