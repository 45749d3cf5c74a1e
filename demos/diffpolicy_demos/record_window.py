"""A window round a recording session: events in, pictures out, ten control steps a second.

pygame is imported here alone, and only once a window is made: no other command needs it, nor a screen.
"""

import importlib
import os
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from diffpolicy_envs.pusht import WORKSPACE_PX
from gymnasium.error import DependencyNotInstalled
from jaxtyping import UInt8

from diffpolicy_demos.record import Command, RecordSession
from diffpolicy_demos.record_panel import SMALLEST_TABLE_PX, draw_screen, panel_width_px

# What a desktop keeps for its own bars and the window's frame.
_DESKTOP_BARS_PX: Final = 140
_LARGEST_BY_ITSELF_PX: Final = 960
_LEFT_BUTTON: Final = 1


class RecordWindow:
    """Shows a session and gathers what the person does.

    Args:
        title: What its frame says.
        table_px: Width and height of the table in it; None takes what fits the screen.

    Raises:
        gymnasium.error.DependencyNotInstalled: pygame is not installed.
        OSError: There is no screen.
    """

    def __init__(self, title: str, table_px: int | None = None) -> None:
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # it would greet on stdout
        try:
            self._pygame: Any = importlib.import_module("pygame")
        except ImportError as error:
            raise DependencyNotInstalled('recording needs pygame: pip install "diffpolicy[play]"') from error
        pygame = self._pygame
        try:
            # The display alone: pygame.init() would also open the sound, which machines without any are slow to refuse.
            pygame.display.init()
            # What SDL falls back to is a window that nobody can see, nor close.
            if pygame.display.get_driver() == "offscreen" and not os.environ.get("SDL_VIDEODRIVER"):
                raise pygame.error("neither X11 nor Wayland nor a display of the system's own answers")
            self.table_px = self._fitting() if table_px is None else table_px
            self._screen = pygame.display.set_mode((self.table_px + panel_width_px(self.table_px), self.table_px))
        except pygame.error as error:
            pygame.display.quit()
            raise OSError(f"recording needs a screen to open its window on, found none: {error}") from error
        pygame.display.set_caption(title)
        self._pointer: tuple[int, int] | None = None
        self._commands = {
            pygame.K_RETURN: Command.KEEP,
            pygame.K_KP_ENTER: Command.KEEP,
            pygame.K_BACKSPACE: Command.DISCARD,
            pygame.K_ESCAPE: Command.DISCARD,
            pygame.K_u: Command.UNDO,
            pygame.K_n: Command.NEXT,
            pygame.K_q: Command.QUIT,
        }

    @property
    def pointer_px(self) -> tuple[float, float] | None:
        """Where the pointer was last seen, in px of the workspace; beside the table that is outside it."""
        if self._pointer is None:
            return None
        x, y = self._pointer
        zoom = self.table_px / WORKSPACE_PX
        return (x + 0.5) / zoom - 0.5, (y + 0.5) / zoom - 0.5

    def commands(self) -> list[Command]:
        """Returns what the person has asked for since the last call, in that order."""
        pygame, found = self._pygame, []
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                found.append(Command.QUIT)
            elif event.type == pygame.MOUSEMOTION:
                self._pointer = event.pos
            elif event.type == pygame.KEYDOWN and event.key in self._commands:
                found.append(self._commands[event.key])
            elif event.type == pygame.MOUSEBUTTONDOWN and event.button == _LEFT_BUTTON:
                self._pointer = event.pos
                if event.pos[0] < self.table_px:
                    found.append(Command.CLICK)
        return found

    def show(self, picture: UInt8[np.ndarray, "height width 3"]) -> None:
        """Shows a picture (RGB) of the window's size."""
        # pygame's arrays run x first.
        self._pygame.surfarray.blit_array(self._screen, picture.swapaxes(0, 1))
        self._pygame.display.flip()

    def close(self) -> None:
        """Closes the window."""
        self._pygame.display.quit()

    def _fitting(self) -> int:
        desktop = self._pygame.display.Info()
        by_height = desktop.current_h - _DESKTOP_BARS_PX
        by_width = round((desktop.current_w - _DESKTOP_BARS_PX) / (1 + panel_width_px(1000) / 1000))
        return max(SMALLEST_TABLE_PX, min(by_height, by_width, _LARGEST_BY_ITSELF_PX))


class Metronome:
    """Waits until the next period begins, so that a loop keeps real time; after a delay it does not hurry.

    Args:
        period_s: Seconds from one beat to the next.
        now_s: Reads a clock.
        sleep: Lets so many seconds pass.
    """

    def __init__(
        self,
        period_s: float,
        now_s: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._period_s, self._now_s, self._sleep = period_s, now_s, sleep
        self._due_s = now_s()

    def __call__(self) -> None:
        """Waits for the next beat."""
        now_s = self._now_s()
        self._due_s = max(self._due_s + self._period_s, now_s)
        self._sleep(self._due_s - now_s)


def record(session: RecordSession, window: RecordWindow, store: str, wait: Callable[[], None]) -> None:
    """Runs a session in a window until it ends.

    Args:
        session: What is recorded.
        window: Where the person is.
        store: What to call the store on the screen.
        wait: Waits for the next control step, such as a `Metronome`.

    Raises:
        StoreError: An episode could not be written; those before it are on disk.
    """
    while not session.ended:
        for command in window.commands():
            if not session.ended:
                session.press(command)
        session.advance(window.pointer_px)
        window.show(draw_screen(session.draw(), session.status, store))
        wait()
