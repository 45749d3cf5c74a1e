"""The report as a reader has it: charts are drawn, films load and play, the slider moves, a heading sorts, all offline."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diffpolicy.cli import main

pytestmark = pytest.mark.slow

LOADED = """Promise.all([...document.querySelectorAll("video")].map(film => new Promise(done => {
  const told = () => done([film.videoWidth, film.duration]);
  film.readyState >= 1 ? told() : film.addEventListener("loadedmetadata", told);
  film.addEventListener("error", () => done(null));
})))"""
SEEDS = '[...document.querySelectorAll(".sortable tbody tr")].map(row => Number(row.cells[0].textContent))'
CANVAS = 'document.querySelector("canvas").toDataURL()'


@pytest.fixture
def page(make_checkpoint: Callable[..., Path], browser: Any) -> Any:
    """The report of a small evaluation, opened from disk."""
    choices = ["--episodes", "6", "--seed", "500000", "--max-steps", "6", "--workers", "1", "--out", "out"]
    main(["eval", str(make_checkpoint()), *choices])
    return browser.open(Path("out/report.html"), width=1200)


def test_it_works_without_a_network(page: Any) -> None:
    assert page.evaluate('[...document.querySelectorAll("svg[role=img]")].every(one => one.getBBox().width > 100)')
    # Of four charts one would be of solved episodes, and none was solved.
    assert page.evaluate('document.querySelectorAll("svg[role=img]").length') == 3
    films = page.evaluate(LOADED)
    assert len(films) == 5
    assert all(film is not None and film[0] == 400 and film[1] >= 0.6 for film in films)
    before = page.evaluate(CANVAS)
    page.evaluate('document.querySelector("input[type=range]").focus()')
    page.press("Home")
    page.evaluate("new Promise(done => setTimeout(done, 500))")
    assert page.evaluate(CANVAS) != before
    for width in (1200, 400):
        page.view(width, 900)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing sticks out"
    assert page.console_errors == []
    assert page.requests == []


def test_a_heading_sorts_up_and_down(page: Any) -> None:
    click = 'document.querySelector(".sortable th button").click()'
    page.evaluate(click)
    assert page.evaluate(SEEDS) == list(range(500_000, 500_006))
    assert page.evaluate('document.querySelector(".sortable th").getAttribute("aria-sort")') == "ascending"
    page.evaluate(click)
    assert page.evaluate(SEEDS) == list(range(500_005, 499_999, -1))
    assert page.evaluate('document.querySelectorAll(".sortable [aria-sort]").length') == 1
