"""A small world for the pictures: a light scene and plans that go two ways round a block."""

import numpy as np
import pytest


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
