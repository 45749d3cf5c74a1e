"""The window shows pictures in real time, survives its user, and says what it needs."""

import sys
import time
from collections.abc import Iterator
from types import ModuleType

import gymnasium as gym
import numpy as np
import pytest
from diffpolicy_envs.pusht.window import Window

PICTURE = np.zeros((64, 64, 3), dtype=np.uint8)
PICTURE[10, 40] = (255, 128, 0)


@pytest.fixture
def pygame(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Returns pygame, drawing on no screen."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    module = pytest.importorskip("pygame")
    yield module
    module.display.quit()


def test_the_picture_is_shown_as_it_is(pygame: ModuleType) -> None:
    window = Window(64, "Push-T", 1000)
    window.show(PICTURE)
    shown = pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)
    np.testing.assert_array_equal(shown, PICTURE)
    assert pygame.display.get_caption()[0] == "Push-T"


def test_pictures_keep_real_time(pygame: ModuleType) -> None:
    window = Window(64, "Push-T", 10)
    start = time.perf_counter()
    for _ in range(10):
        window.show(PICTURE)
    assert 0.9 <= time.perf_counter() - start <= 1.3


def test_no_sound_is_opened(pygame: ModuleType) -> None:
    Window(64, "Push-T", 10).show(PICTURE)
    assert pygame.display.get_init()
    assert pygame.mixer.get_init() is None


def test_a_window_closed_by_its_user_stays_closed(pygame: ModuleType) -> None:
    window = Window(64, "Push-T", 10)
    window.show(PICTURE)
    assert not window.closed_by_user
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    window.show(PICTURE)
    assert window.closed_by_user
    assert not pygame.display.get_init()
    start = time.perf_counter()
    for _ in range(20):
        window.show(PICTURE)
    assert time.perf_counter() - start < 0.5
    assert not pygame.display.get_init()


def test_closing_twice_is_closing_once(pygame: ModuleType) -> None:
    window = Window(64, "Push-T", 10)
    window.close()
    window.close()
    window.show(PICTURE)
    assert not pygame.display.get_init()
    assert not window.closed_by_user


def test_without_pygame_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(gym.error.DependencyNotInstalled) as caught:
        Window(64, "Push-T", 10)
    assert str(caught.value) == 'render_mode="human" needs pygame: pip install "diffpolicy[play]"'
