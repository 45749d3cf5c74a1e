"""What all tests may ask for."""

from collections.abc import Iterator

import jaxtyping
import pytest
from hypothesis import settings

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
