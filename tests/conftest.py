"""What all tests may ask for."""

import sys
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))
from browser import Browser, find_chromium

# How long an example takes says more of a busy machine than of what is tested.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.fixture
def without_shape_checks() -> Iterator[None]:
    """The test-time checker of annotations must not speak before the messages under test, nor slow down what counts."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture
def browser(_chromium: Browser) -> Iterator[Browser]:
    """A Chromium for pages, `browser.open(path)`, see `tests/browser.py`; its tabs are closed after the test."""
    yield _chromium
    _chromium.close_pages()


@pytest.fixture(scope="session")
def _chromium() -> Iterator[Browser]:
    """One for all tests: it takes a second to start."""
    if find_chromium() is None:
        pytest.skip("needs a Chromium on the PATH: apt-get install chromium")
    with Browser() as found:
        yield found
