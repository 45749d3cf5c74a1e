"""Promises of the comparison: a panel a case, each its own, the spread as it is defined, and grids that fit a page."""

from typing import Any

import numpy as np
import pytest

from diffpolicy.visualization.comparison import Case, comparison_picture

GREEN = (0, 255, 0)


@pytest.fixture
def marked_scene() -> np.ndarray:
    """A white world with a patch of a colour that nothing else has."""
    scene = np.full((128, 128, 3), 255, np.uint8)
    scene[100:116, 8:24] = GREEN
    return scene


def bundle(height_px: float = 256.0, samples: int = 8, horizon: int = 6) -> np.ndarray:
    spread = np.linspace(-20, 20, samples)[:, None] if samples > 1 else np.zeros((1, 1))
    x = np.broadcast_to(np.linspace(150, 400, horizon), (samples, horizon))
    return np.stack([x, np.broadcast_to(height_px + spread, (samples, horizon))], axis=-1)


def drawn(cases: list[list[Case | None]], scene: np.ndarray, **options: Any) -> np.ndarray:
    names = {"rows": [f"row {k}" for k in range(len(cases))], "columns": [f"{k}" for k in range(len(cases[0]))]}
    return comparison_picture(cases, scene, **{**names, "panel_px": 200, **options})


def patches(picture: np.ndarray, axis: int) -> int:
    """How many separate patches there are along an axis of the page."""
    seen = (picture == GREEN).all(axis=-1).any(axis=1 - axis)
    return int(np.count_nonzero(np.diff(seen.astype(int)) == 1))


def test_the_caption_speaks_of_the_last_executed_action() -> None:
    """Two plans that part by 10 px an action lie 5 px from their mean each time."""
    plans = np.zeros((2, 6, 2))
    plans[0, :, 1] = 10 * np.arange(6)
    assert Case(plans, 10, slice(1, 5)).caption == ("1 mode  ·  spread 20 px", "10 network evaluations")
    assert Case(plans, 2).caption == ("1 mode  ·  spread 25 px", "2 network evaluations")
    assert Case(plans[:1], 1, slice(1, 5)).caption == ("one plan", "1 network evaluation")


def test_the_caption_tells_two_ways_apart() -> None:
    noise = np.random.default_rng(0).normal(0, 4, (80, 6, 2))
    side = np.where(np.arange(80) < 60, 100.0, -100.0)
    first, _ = Case(noise + side[:, None, None] * [0, 1], 10).caption
    assert first.startswith("2 modes (75%, 25%)")


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 4), (3, 2), (6, 6)])
def test_a_panel_for_each_case(rows: int, columns: int, marked_scene: np.ndarray) -> None:
    cases: list[list[Case | None]] = [[Case(bundle(), 10)] * columns for _ in range(rows)]
    picture = drawn(cases, marked_scene)
    assert (patches(picture, 0), patches(picture, 1)) == (rows, columns)


def test_none_leaves_a_place_empty(marked_scene: np.ndarray) -> None:
    case = Case(bundle(), 10)
    picture = drawn([[case, case], [case, None]], marked_scene)
    height, width, _ = picture.shape
    green = (picture == GREEN).all(axis=-1)
    corners = [green[: height // 2, : width // 2], green[: height // 2, width // 2 :]]
    corners += [green[height // 2 :, : width // 2], green[height // 2 :, width // 2 :]]
    assert [bool(corner.any()) for corner in corners] == [True, True, True, False]


def test_a_case_changes_its_own_panel_alone(marked_scene: np.ndarray) -> None:
    case = Case(bundle(), 10)
    one = drawn([[case, case, case]], marked_scene, rows=[""])
    two = drawn([[case, Case(bundle(350.0), 10), case]], marked_scene, rows=[""])
    changed = np.flatnonzero((one != two).any(axis=(0, 2)))
    assert one.shape[1] * 0.33 <= changed.min() < changed.max() <= one.shape[1] * 0.67


def test_only_as_many_are_drawn_as_asked_but_all_are_measured(marked_scene: np.ndarray) -> None:
    near, far = bundle(200.0, samples=4), bundle(400.0, samples=40)
    both = Case(np.concatenate([near, far]), 10, drawn=4)
    assert both.caption[0] != Case(near, 10).caption[0]
    one, two = (drawn([[case]], marked_scene, panel_px=330, rows=[""]) for case in (both, Case(near, 10)))
    below = (one != two).any(axis=(1, 2)).nonzero()[0]
    assert below.min() > 0.6 * one.shape[0], "only the caption differs"


def test_words_lie_over_the_edges_that_fade(marked_scene: np.ndarray) -> None:
    """Another caption changes pixels as dark as its type, not a veiled rest of it."""
    one = drawn([[Case(bundle(), 10)]], marked_scene, panel_px=330)
    two = drawn([[Case(bundle(), 88)]], marked_scene, panel_px=330)
    changed = (one != two).any(axis=-1)
    assert changed.any()
    assert min(one[changed].min(), two[changed].min()) < 140


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"columns": [], "cases": [[]]}, "cases: expected a grid from 1 by 1 to 6 by 6, found headings for 1 by 0"),
    ({"columns": list("abcdefg"), "cases": [[Case(bundle(), 1)] * 7]}, "6 by 6, found headings for 1 by 7"),
    ({"columns": ["a", "b"]}, "cases: expected 1 by 2, as there are headings, found rows of 1"),
    ({"cases": [[None]]}, "at least one"),
    ({"cases": [[Case(bundle() * np.nan, 1)]]}, "plans: expected finite"),
    (
        {"cases": [[Case(bundle(), 1), Case(bundle(horizon=8), 1)]], "columns": ["a", "b"]},
        r"plans of one length.*found \[6, 8\] actions",
    ),
    ({"cases": [[Case(bundle(), 1, slice(2, 9))]]}, "executed: .* <= 6"),
    ({"cases": [[Case(bundle(), 1, drawn=0)]]}, "drawn: expected at least 1"),
    ({"panel_px": 20}, "panel_px: expected at least 96, found 20"),
    ({"scene": np.zeros((8, 8, 3))}, "scene: expected uint8"),
    ({"agent_px": np.zeros(3)}, "agent_px"),
]


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(("wrong", "words"), REFUSALS)
def test_wrong_arguments_are_refused_in_one_line(wrong: dict[str, Any], words: str, scene: np.ndarray) -> None:
    options: dict[str, Any] = {"cases": [[Case(bundle(), 1)]], "scene": scene, "rows": [""], "columns": ["a"]}
    with pytest.raises(ValueError, match=words) as caught:
        comparison_picture(**{**options, **wrong})
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("without_shape_checks")
def test_plans_that_do_not_lie_in_a_plane_are_refused(scene: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"plans: expected shape \(samples, horizon, 2\)"):
        comparison_picture([[Case(bundle()[..., :1], 1)]], scene, rows=[""], columns=["a"])
