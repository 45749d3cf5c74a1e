"""A window that shows pictures in real time, for `render_mode="human"`.

pygame is imported here alone, and only once a window is made: training and evaluating need none of it, nor a screen.
"""

import importlib
from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled
from jaxtyping import UInt8


class Window:
    """A square window on the screen.

    A user may close it at any time. It then stays closed and `show` returns at once, so that what was running can finish;
    `closed_by_user` tells a loop that would rather end.

    Args:
        size_px: Width and height of the pictures that it will show.
        title: What its frame says.
        fps: Pictures a second, which `show` waits for.

    Raises:
        gymnasium.error.DependencyNotInstalled: If pygame is not installed.
    """

    def __init__(self, size_px: int, title: str, fps: int) -> None:
        try:
            self._pygame: Any = importlib.import_module("pygame")
        except ImportError as error:
            message = 'render_mode="human" needs pygame: pip install "diffpolicy[play]"'
            raise DependencyNotInstalled(message) from error
        # The display alone: pygame.init() would also open the sound, which machines without any are slow to refuse.
        self._pygame.display.init()
        self._screen = self._pygame.display.set_mode((size_px, size_px))
        self._pygame.display.set_caption(title)
        self._clock = self._pygame.time.Clock()
        self._fps = fps
        self._is_open = True
        self._closed_by_user = False

    @property
    def closed_by_user(self) -> bool:
        """Whether the user closed the window."""
        return self._closed_by_user

    def show(self, picture: UInt8[np.ndarray, "size size 3"]) -> None:
        """Shows a picture, after waiting until the one before was shown for its time.

        Returns at once, showing nothing, when the window was closed.

        Args:
            picture: RGB, of the window's size.
        """
        if not self._is_open:
            return
        if any(event.type == self._pygame.QUIT for event in self._pygame.event.get()):
            self._closed_by_user = True
            self.close()
            return
        # pygame's arrays run x first.
        self._pygame.surfarray.blit_array(self._screen, picture.swapaxes(0, 1))
        self._clock.tick(self._fps)
        self._pygame.display.flip()

    def close(self) -> None:
        """Closes the window, if it is open."""
        if self._is_open:
            self._is_open = False
            self._pygame.display.quit()
