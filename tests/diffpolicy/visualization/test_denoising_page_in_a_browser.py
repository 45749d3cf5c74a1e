"""What a reader of the denoising page sees and does: looked at in a Chromium, where one is installed."""

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffpolicy_demos.pages.page import page as html_page
from PIL import Image

from diffpolicy.visualization.denoising import state_at
from diffpolicy.visualization.denoising_page import denoising_page, denoising_widget
from diffpolicy.visualization.plans import plan_picture
from diffpolicy.visualization.strokes import line_strength
from diffpolicy.visualization.style import time_colours

WIDGET = "document.querySelector('figure.denoising')"
LABEL = f"{WIDGET}.querySelector('.denoising-step').textContent"
SLIDER = f"{WIDGET}.querySelector('input')"
PLAYING = f"{WIDGET}.querySelector('button').getAttribute('aria-label') === 'Pause'"


@pytest.fixture
def opened(browser: Any, path: np.ndarray, scene: np.ndarray, tmp_path: Path) -> Callable[..., Any]:
    """A function that opens the page of the small world, unless told without any motion of its own."""
    file = tmp_path / "denoising.html"
    options: dict[str, Any] = {"agent_px": np.array([80.0, 256.0]), "executed": slice(1, 9)}
    file.write_text(denoising_page(path, scene, noise_levels=np.linspace(1, 0, 6), nfe=5, **options), encoding="utf-8")
    return lambda **reader: browser.open(file, **{"reduced_motion": True, **reader})


def canvas(page: Any, number: int = 0) -> np.ndarray:
    """Pixels of a widget's canvas."""
    address = page.evaluate(f"document.querySelectorAll('canvas')[{number}].toDataURL()")
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def go_to(page: Any, place: float) -> None:
    """Moves the slider as a hand would."""
    page.evaluate(f"{SLIDER}.value = {place}; {SLIDER}.dispatchEvent(new Event('input', {{bubbles: true}}))")


def test_it_draws_what_the_still_picture_draws(opened: Callable[..., Any], path: np.ndarray, scene: np.ndarray) -> None:
    """The canvas at the plan is matplotlib's picture, but for how edges and type are set: seen in blocks of 12 px."""
    drawn = canvas(opened(width=1000, height=1000)).astype(np.uint8)
    still = plan_picture(path[-1], scene, agent_px=np.array([80.0, 256.0]), executed=slice(1, 9), width_px=1280)
    panel = still[176:1328, 64:1216]
    small = [np.asarray(Image.fromarray(p).resize((48, 48), Image.Resampling.BOX)).astype(int) for p in (drawn, panel)]
    away = np.abs(small[0] - small[1])
    assert np.percentile(away, 99.5) < 10
    assert away.max() < 36


def test_colours_of_time_are_seen(opened: Callable[..., Any]) -> None:
    drawn = canvas(opened(width=1000, height=1000)).reshape(-1, 3)
    drawn = drawn[drawn.min(axis=-1) < 200]
    for colour in 255 * time_colours(12)[1:9, :3]:  # the executed actions are opaque for eight samples
        assert np.abs(drawn - colour).max(axis=-1).min() <= 3


def test_moving_the_slider_moves_the_picture_and_the_words(opened: Callable[..., Any]) -> None:
    page = opened()
    plans = canvas(page)
    assert page.evaluate(LABEL) == "Denoising step 5 of 5"
    go_to(page, 2.5)
    assert page.evaluate(LABEL) == "Denoising step 2 of 5"
    assert page.evaluate(f"{WIDGET}.innerText").count("noise level 0.50") == 1
    assert page.evaluate(f"{SLIDER}.getAttribute('aria-valuetext')") == "step 2 of 5, noise level 0.50"
    assert (canvas(page) != plans).any(axis=-1).mean() > 0.02
    go_to(page, 5)
    assert np.array_equal(canvas(page), plans)


def test_the_motion_is_that_of_the_film(opened: Callable[..., Any], path: np.ndarray) -> None:
    page = opened()
    places = np.linspace(0, 5, 41)
    found = page.evaluate(f"{places.tolist()}.map(place => {WIDGET}.denoising.stateAt(place))")
    stored = np.round(path * 10) / 10
    expected = [state_at(stored, place).ravel() for place in places]
    assert np.abs(np.array(found) - expected).max() < 1e-6


def test_lines_fade_as_in_the_film(opened: Callable[..., Any]) -> None:
    lengths = np.linspace(0, 5, 21)
    page = opened()
    for samples in (1, 3, 64):
        found = page.evaluate(f"{lengths.tolist()}.map(l => {WIDGET}.denoising.lineStrength(l, {samples}))")
        assert np.allclose(found, line_strength(lengths, samples))


def test_keys_go_from_state_to_state_and_play(opened: Callable[..., Any]) -> None:
    page = opened()
    place = f"Number({SLIDER}.value)"
    assert page.evaluate(f"document.activeElement === {SLIDER}"), "keys move it at once"
    page.evaluate(f"{WIDGET}.querySelector('button').focus()")
    page.press("Tab")
    assert page.evaluate(f"document.activeElement === {SLIDER}")
    assert page.evaluate(f"getComputedStyle({SLIDER}).outlineStyle") == "solid", "focus is seen"
    for key, expected in [
        ("Home", 0),
        ("ArrowLeft", 0),
        ("ArrowRight", 1),
        ("ArrowUp", 2),
        ("ArrowDown", 1),
        ("End", 5),
    ]:
        page.press(key)
        assert page.evaluate(place) == expected, key
    go_to(page, 2.5)
    page.press("ArrowRight")
    assert page.evaluate(place) == 3
    go_to(page, 2.5)
    page.press("ArrowLeft")
    assert page.evaluate(place) == 2
    page.press("Space")
    assert page.evaluate(PLAYING)
    page.press("Space")
    assert not page.evaluate(PLAYING)


def test_it_plays_once_by_itself_and_a_button_stops_it(opened: Callable[..., Any]) -> None:
    page = opened(reduced_motion=False)
    wait = f"new Promise(done => setInterval(() => {PLAYING} && done(), 20))"
    page.evaluate(wait)
    page.evaluate(f"{WIDGET}.querySelector('button').click()")
    stopped = page.evaluate(f"{SLIDER}.value")
    assert 0 <= float(stopped) < 5
    page.evaluate("new Promise(done => setTimeout(done, 150))")
    assert page.evaluate(f"{SLIDER}.value") == stopped
    page.evaluate(f"{WIDGET}.querySelector('button').click()")
    page.evaluate(f"new Promise(done => setInterval(() => {PLAYING} || done(), 20))")
    assert page.evaluate(LABEL) == "Denoising step 5 of 5"


def test_who_wants_less_motion_sees_the_plan_at_rest_and_whole_steps(opened: Callable[..., Any]) -> None:
    page = opened(reduced_motion=True)
    page.evaluate("new Promise(done => setTimeout(done, 300))")
    assert not page.evaluate(PLAYING)
    assert page.evaluate(LABEL) == "Denoising step 5 of 5"
    seen = page.evaluate(
        f"new Promise(done => {{ const seen = []; {WIDGET}.denoising.play();"
        f" const look = () => {{ seen.push({SLIDER}.value); seen.length < 30 ? requestAnimationFrame(look) : done(seen) }};"
        " look(); })"
    )
    assert all(float(place).is_integer() for place in seen)


def test_pointing_at_a_plan_lifts_it_off_the_others(opened: Callable[..., Any], path: np.ndarray) -> None:
    page = opened(width=1000, height=1000)
    before = canvas(page)
    box = page.evaluate("(b => [b.left, b.top, b.width])(document.querySelector('canvas').getBoundingClientRect())")
    x, y = np.array(box[:2]) + (path[-1, 3, 8] + 32) * box[2] / 576
    page.point(float(x), float(y))
    chosen = page.evaluate(f"{WIDGET}.querySelector('.denoising-chosen').textContent")
    number = int(chosen.split()[1]) - 1
    assert np.linalg.norm(path[-1, number] - path[-1, 3, 8], axis=-1).min() < 1
    assert (canvas(page) != before).any(axis=-1).mean() > 0.003
    page.point(2, 2)
    assert np.array_equal(canvas(page), before)


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_telephone_in_light_and_dark_without_a_word_to_the_network(
    dark: bool, opened: Callable[..., Any], tmp_path: Path
) -> None:
    page = opened(width=360, height=700, dark=dark, scale=3)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert len(canvas(page)) == 3 * page.evaluate("document.querySelector('canvas').clientWidth"), "crisp"
    page.screenshot(tmp_path / "seen.png")
    with Image.open(tmp_path / "seen.png") as picture:
        assert (np.asarray(picture.convert("L"))[0, 0] < 60) == dark
    assert canvas(page)[5, 5].min() == 255, "the scene stays a light picture"
    assert page.console_errors == []
    assert page.requests == []


def test_several_on_one_page_keep_to_themselves(
    browser: Any, path: np.ndarray, scene: np.ndarray, tmp_path: Path
) -> None:
    one, two = denoising_widget(path, scene, name="one"), denoising_widget(path[::5], scene, name="two")
    (tmp_path / "two.html").write_text(html_page("two", [one, two]), encoding="utf-8")
    page = browser.open(tmp_path / "two.html", reduced_motion=True)
    second = canvas(page, 1)
    go_to(page, 1)
    labels = "[...document.querySelectorAll('.denoising-step')].map(step => step.textContent)"
    assert page.evaluate(labels) == ["Denoising step 1 of 5", "Denoising step 1 of 1"]
    assert np.array_equal(canvas(page, 1), second)
    assert page.console_errors == []
