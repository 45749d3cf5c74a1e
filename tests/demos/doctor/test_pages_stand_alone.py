"""The HTML pages need nothing from anywhere, show what was found, and let no store write markup into them."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from diffpolicy_demos import open_store
from diffpolicy_demos.doctor.examine import diagnose
from diffpolicy_demos.doctor.findings import KINDS
from diffpolicy_demos.inspect import describe
from diffpolicy_demos.pages.doctor import doctor_page
from diffpolicy_demos.pages.inspect import inspect_page

Episode = dict[str, np.ndarray]

_VOID = {"meta", "img", "br", "path", "use", "rect", "line", "circle"}


class _Checked(HTMLParser):
    """Follows the tags of a page: every one that opens closes, and where links lead."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.headings: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "action")]
        assert not any(name.startswith("on") for name, _ in attrs)
        assert tag not in ("script", "link", "iframe", "object")
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "h2":
            self.headings.append(data)


def check(page: str) -> list[str]:
    """Holds a page to standing alone; returns its headings."""
    checked = _Checked(page)
    assert "http" not in page
    assert "@import" not in page
    assert all(re.match(r"data:(image/png|video/mp4);base64,|#", link) for link in checked.links)
    identifiers = re.findall(r'\sid="([^"]+)"', page)
    assert len(identifiers) == len(set(identifiers)), "charts share a page"
    assert all(used in identifiers for used in re.findall(r"url\(#([^)]+)\)", page))
    assert "prefers-color-scheme: dark" in page
    assert not re.search(r"#0[1-9a-c]0[1-9a-c]0[1-9a-c]\b", page), "a colour of the charts without one of the page"
    return checked.headings


@pytest.fixture
def spoilt(clean: list[Episode], write: Callable[..., Path]) -> Path:
    clean[1]["keypoints"][5] += 30
    clean[2]["state"][20, :2] += 40
    clean[3]["action"][-1] = [10.0, 500.0]
    return write(clean, {"env_id": "diffpolicy/PushT-v0", "note": "<script>alert(1)</script>"})


def test_findings(spoilt: Path) -> None:
    found = diagnose(spoilt)
    page = doctor_page(found)
    assert check(page)[:3] == ["Findings", "Where they are", "How the episodes replay"]
    assert len(found.findings) == 4
    for one in found.findings:
        assert KINDS[one.kind].title in page
        assert one.found.replace("'", "&#x27;") in page
        assert one.advice in page
    assert page == doctor_page(found), "the same findings make the same page"


def test_a_page_without_findings(clean: list[Episode], write: Callable[..., Path]) -> None:
    page = doctor_page(diagnose(write(clean)))
    check(page)
    assert "Nothing to complain of." in page


def test_a_page_about_a_store_that_cannot_be_read(spoilt: Path) -> None:
    (spoilt / "meta/episode_ends/zarr.json").write_text("{}")
    page = doctor_page(diagnose(spoilt))
    assert check(page)[0] == "Findings"
    assert "the layout is broken" in page


def test_a_store_of_pusht(spoilt: Path) -> None:
    store = open_store(spoilt)
    page = inspect_page(store, describe(store), [(3, b"not really a film")])
    headings = check(page)
    for expected in ("Films", "Coverage over time", "Where the block starts", "Lengths", "Last pictures", "Arrays"):
        assert expected in headings
    assert page.count("<img ") == store.n_episodes
    assert page.count("<video ") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_states_are_drawn_where_there_was_no_camera(numbers: list[Episode], write: Callable[..., Path]) -> None:
    store = open_store(write(numbers))
    assert inspect_page(store, describe(store)).count("<img ") == store.n_episodes


def test_a_store_of_another_robot(robot: list[Episode], write: Callable[..., Path]) -> None:
    store = open_store(write(robot, {"env_id": "toy/Arm-v0"}))
    headings = check(inspect_page(store, describe(store)))
    assert "action over time" in headings
    assert "state over time" in headings
    assert "Last pictures" in headings
    assert "Coverage over time" not in headings
    check(doctor_page(diagnose(store.path)))


def test_odd_stores(write: Callable[..., Path]) -> None:
    """Episodes of one step, and numbers that never change or are not finite, still make a page."""
    store = open_store(write([{"action": np.ones((1, 3))}, {"action": np.ones((1, 3))}], {}))
    check(inspect_page(store, describe(store)))
    check(doctor_page(diagnose(store.path)))
