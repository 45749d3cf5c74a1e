"""Promises of the denoising page: all it shows lies inside it, true to the arrays; what cannot be drawn is named."""

import base64
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import cv2
import numpy as np
import pytest
from diffpolicy_demos.pages.page import page

from diffpolicy.visualization.denoising_page import denoising_page, denoising_widget
from diffpolicy.visualization.style import time_colours


def data_of(html: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', html, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def decoded(data: dict[str, Any]) -> np.ndarray:
    numbers = np.frombuffer(base64.b64decode(data["path"]), "<i2").astype(float) * data["unit_px"]
    return numbers.reshape(data["states"], data["samples"], data["horizon"], 2)


def test_the_path_lies_inside_to_a_tenth_of_a_px(path: np.ndarray, scene: np.ndarray) -> None:
    assert np.abs(decoded(data_of(denoising_widget(path, scene))) - path).max() <= 0.05 + 1e-9


@pytest.mark.parametrize(("workspace_px", "largest"), [(1.0, 3.0), (512.0, 1e5), (2000.0, 9000.0)])
def test_other_sizes_and_far_noise_are_kept(
    workspace_px: float, largest: float, path: np.ndarray, scene: np.ndarray
) -> None:
    far = path / np.abs(path).max() * largest
    found = decoded(data_of(denoising_widget(far, scene, workspace_px=workspace_px)))
    assert np.abs(found - far).max() <= max(workspace_px / 5120, largest / 32767) / 2 * (1 + 1e-9)


def test_the_scene_lies_inside_without_loss(path: np.ndarray) -> None:
    scene = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    kind, _, content = data_of(denoising_widget(path, scene))["scene"].partition(",")
    assert kind == "data:image/png;base64"
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.array_equal(picture, scene)


def test_colours_are_those_of_time(path: np.ndarray, scene: np.ndarray) -> None:
    html = denoising_widget(path, scene)
    expected = np.round(255 * time_colours(12)[:, :3])
    data = data_of(html)
    points = [np.frombuffer(bytes.fromhex(colour[1:]), np.uint8) for colour, _, _ in data["points"]]
    assert np.array_equal(points, expected)
    bar = [
        np.frombuffer(bytes.fromhex(colour), np.uint8) for colour in re.findall(r"<i style=\"background:#(\w+)", html)
    ]
    assert np.array_equal(bar, expected)
    assert len(data["lines"]) == 11


def test_executed_actions_are_stronger_and_bracketed(path: np.ndarray, scene: np.ndarray) -> None:
    html = denoising_widget(path, scene, executed=slice(3, 9))
    _, alpha, width = zip(*data_of(html)["points"], strict=True)
    for strength in (np.array(alpha), np.array(width)):
        assert set(np.flatnonzero(strength == strength.max())) == set(range(3, 9))
    assert "<b>executed</b>" in html
    assert "left:25%;width:50%" in html
    assert "<b>executed</b>" not in denoising_widget(path, scene)


@pytest.mark.parametrize(("states", "dots"), [(2, 2), (11, 11), (25, 25), (101, 2)])
def test_solver_states_are_dots_as_long_as_they_can_be_told_apart(states: int, dots: int, scene: np.ndarray) -> None:
    path = np.random.default_rng(0).normal(256, 100, (states, 2, 4, 2))
    html = denoising_widget(path, scene)
    places = [float(place) for place in re.findall(r'<i data-step="\d+" style="left:([\d.]+)%', html)]
    assert len(places) == dots
    assert (places[0], places[-1]) == (0, 100)
    assert f'max="{states - 1}"' in html
    assert ("between dots" in html) == (dots == states)


def test_a_page_of_many_plans_is_small_and_asks_for_nothing(scene: np.ndarray) -> None:
    path = np.random.default_rng(0).normal(256, 200, (11, 64, 16, 2))
    html = denoising_page(path, scene, noise_levels=np.linspace(1, 0, 11), nfe=10, subtitle="pusht-state, step 3")
    assert len(html) < 200_000
    assert not re.search(
        r"https?:|//\w|@import|<link|fetch\(|src=[\"'](?!data:)|url\((?!data:)", _without_comments(html)
    )
    assert "64 samples · 10 network evaluations each" in html
    assert "pusht-state, step 3" in html


def _without_comments(html: str) -> str:
    """The page less the comments and the data, in whose letters anything may stand."""
    html = re.sub(r'"(path|scene)":"[^"]*"', "", html)
    return re.sub(r"(?m)(^|\s)// .*$", "", html)


def test_it_is_whole_html_alone_and_several_times_on_a_page(path: np.ndarray, scene: np.ndarray) -> None:
    widgets = [denoising_widget(path, scene, name=name) for name in ("first", 'of "<b>" & co')]
    for html in (denoising_page(path, scene, title="a < b"), page("two", widgets)):
        tags = Tags()
        tags.feed(html)
        assert tags.open == []
        assert len(tags.ids) == len(set(tags.ids))
    assert 'aria-label="of &quot;&lt;b&gt;&quot; &amp; co"' in html


class Tags(HTMLParser):
    """Which elements are still open, and the ids that were given."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in ("meta", "input", "img", "br", "path"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize("draw", [denoising_widget, denoising_page])
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"path": np.zeros((6, 12, 2))}, r"path: expected shape \(frames, samples, horizon, 2\), found \(6, 12, 2\)"),
        ({"path": np.zeros((1, 8, 12, 2))}, "path: .* at least 2"),
        ({"path": np.full((6, 8, 12, 2), np.nan)}, "path: expected finite"),
        ({"path": np.zeros((6, 8, 1, 2))}, "at least 2 actions"),
        ({"scene": np.zeros((8, 8, 3))}, "scene: expected uint8"),
        ({"agent_px": np.zeros(3)}, r"agent_px: expected shape \(2,\)"),
        ({"executed": slice(8, 14)}, "executed: .* <= 12"),
        ({"noise_levels": np.ones(5)}, r"noise_levels: expected shape \(6,\), found \(5,\)"),
        ({"workspace_px": 0.0}, "workspace_px"),
        ({"period_s": -0.1}, "period_s"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(
    draw: Callable[..., str], wrong: dict[str, Any], words: str, path: np.ndarray, scene: np.ndarray
) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        draw(**{"path": path, "scene": scene, **wrong})
    assert "\n" not in str(caught.value)
