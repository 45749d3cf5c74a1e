"""A small world for the pictures: a light scene and plans that go two ways round a block."""

from collections.abc import Iterator

import jaxtyping
import numpy as np
import pytest


@pytest.fixture
def without_shape_checks() -> Iterator[None]:
    """The messages under test are the package's own, so the test-time checker of annotations must not speak first."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture
def scene() -> np.ndarray:
    picture = np.full((128, 128, 3), 255, np.uint8)
    picture[45:65, 40:90] = (119, 136, 153)
    return picture


@pytest.fixture
def path() -> np.ndarray:
    """Six states of eight sequences of twelve actions, from noise to two modes."""
    r = np.random.default_rng(3)
    along = np.linspace(0, 1, 12)[None, :, None]
    side = np.where(np.arange(8) % 2, 1.0, -1.0)[:, None, None]
    plans = np.array([80.0, 256.0]) + along * [340.0, 0.0] + np.sin(np.pi * along) * side * [0.0, 130.0]
    noise = r.normal(256, 256, plans.shape)
    level = np.linspace(1, 0, 6)[:, None, None, None]
    return level * noise + (1 - level) * plans
