"""What a person at the mouse sees: the table, and beside it in words where the recording is and which keys do what.

Pictures in, pictures out, no window: everything that the screen will show can be looked at, and tested, without one.
"""

from typing import Final

import numpy as np
from diffpolicy_envs.pusht import AGENT_RADIUS_PX, CONTROL_PERIOD_S, SUCCESS_COVERAGE, WORKSPACE_PX
from jaxtyping import UInt8

from diffpolicy_demos.record import Phase, Status, percent
from diffpolicy_demos.record_sheet import INK, Colour, Number, Sheet

#: Below this the type is too small to read.
SMALLEST_TABLE_PX: Final = 480

PANEL: Final = (247, 248, 250)
MUTED: Final = (107, 114, 128)
FAINT: Final = (165, 171, 181)
HAIRLINE: Final = (213, 216, 222)
WHITE: Final = (255, 255, 255)
BLUE: Final = (59, 76, 192)
RED: Final = (200, 30, 30)
GREEN: Final = (20, 128, 74)
AMBER: Final = (166, 91, 0)

# The layout's unit is a pixel of a table of this size.
_TABLE: Final = 640
_WIDTH: Final = 300
_LEFT: Final = _TABLE + 24
_RIGHT: Final = _TABLE + _WIDTH - 24
_MIDDLE: Final = (_LEFT + _RIGHT) / 2 + 8

_PHASES: Final[dict[Phase, tuple[str, Colour, str]]] = {
    Phase.WAITING: ("Waiting", BLUE, "Move the pointer onto the blue disc: it follows, and recording begins."),
    Phase.RECORDING: ("Recording", RED, "Push the block onto the green outline."),
    Phase.SUCCEEDED: ("Success", GREEN, "The block covers its goal. Keep the episode, or discard it?"),
    Phase.OUT_OF_TIME: ("Time is up", AMBER, "Keep the episode, or discard it?"),
    Phase.ENDED: ("Ended", MUTED, "Everything that was kept is on disk."),
}
_LEAVE_FIRST: Final = "The pointer is on the blue disc already: move it off, then on again."
_DECIDING: Final = frozenset({Phase.SUCCEEDED, Phase.OUT_OF_TIME})
_RECORDED: Final = _DECIDING | {Phase.RECORDING}
_KEYS: Final = (
    ("Enter", "keep (a click does too)", _RECORDED),
    ("Esc", "discard, same start again", _RECORDED),
    ("N", "another start", _RECORDED | {Phase.WAITING}),
    ("U", "take the last one back", frozenset({Phase.WAITING})),
    ("Q", "end", _RECORDED | {Phase.WAITING}),
)


def panel_width_px(table_px: int) -> int:
    """Returns the width of the panel beside a table of this size."""
    return round(_WIDTH * table_px / _TABLE)


def draw_screen(
    table: UInt8[np.ndarray, "height height 3"], status: Status, store: str
) -> UInt8[np.ndarray, "height width 3"]:
    """Puts the panel beside the table, and marks on the table what the eyes, which are on it, must not miss.

    Args:
        table: A picture of the table (RGB), at least `SMALLEST_TABLE_PX` px wide.
        status: What to tell.
        store: What to call the store.

    Returns:
        A new picture (RGB), wider than the table by `panel_width_px`.
    """
    height, width = len(table), len(table) + panel_width_px(len(table))
    screen = np.full((height, width, 3), PANEL, dtype=np.uint8)
    screen[:, :height] = table
    sheet = Sheet(screen, height / _TABLE)
    sheet.bar(_TABLE, 0, _TABLE + 1, _TABLE, HAIRLINE)
    _mark_table(sheet, status)
    _write_phase(sheet, status, store)
    _write_numbers(sheet, status)
    _write_keys(sheet, status)
    return sheet.finished()


def _mark_table(sheet: Sheet, status: Status) -> None:
    """A ring round an agent that waits to be taken hold of, else a frame of the phase's colour; a banner to decide."""
    name, colour, _ = _PHASES[status.phase]
    if status.phase is Phase.WAITING:
        x, y = ((at + 0.5) * _TABLE / WORKSPACE_PX for at in status.agent_px)
        sheet.disc(x, y, 2 * AGENT_RADIUS_PX, AMBER if status.pointer_must_leave else colour, width=2.5)
        return
    for box in ((0, 0, _TABLE, 5), (0, _TABLE - 5, _TABLE, _TABLE), (0, 0, 5, _TABLE), (_TABLE - 5, 0, _TABLE, _TABLE)):
        sheet.bar(*box, colour)
    if status.phase in _DECIDING:
        words = f"{name}: Enter keeps, Esc discards"
        half = sheet.length(words, 17, bold=True) / 2 + 22
        sheet.box(_TABLE / 2 - half, 572, _TABLE / 2 + half, 612, 20, colour)
        sheet.text(_TABLE / 2, 592, words, 17, WHITE, bold=True, anchor="mm")


def _write_phase(sheet: Sheet, status: Status, store: str) -> None:
    name, colour, advice = _PHASES[status.phase]
    sheet.text(_LEFT, 28, f"Episode {status.episode}", 24, bold=True)
    if status.wanted is not None:
        sheet.text(_RIGHT, 34, f"of {status.wanted}", 15, MUTED, anchor="ra")
    sheet.text(_LEFT, 62, sheet.end_of(store, _RIGHT - _LEFT, 12), 12, MUTED)
    sheet.box(_LEFT, 92, _RIGHT, 124, 7, colour)
    sheet.disc(_LEFT + 18, 108, 5, WHITE)
    sheet.text(_LEFT + 34, 108, name, 15, WHITE, bold=True, anchor="lm")
    sheet.paragraph(_LEFT, 136, _RIGHT - _LEFT, _LEAVE_FIRST if status.pointer_must_leave else advice, 13)


def _write_numbers(sheet: Sheet, status: Status) -> None:
    sheet.text(_LEFT, 208, "Coverage", 12, MUTED)
    if status.steps:
        sheet.text(_RIGHT, 208, f"best {percent(status.best_coverage)}", 12, MUTED, anchor="ra")
    sheet.text(_LEFT, 224, percent(status.coverage), 32, bold=True)
    _draw_coverage(sheet, 270, status)
    limit = "" if status.max_steps is None else f" of {status.max_steps}"
    _write_pair(sheet, 302, "Steps", f"{status.steps}{limit}", "Time", f"{status.steps * CONTROL_PERIOD_S:.1f} s")
    _write_pair(sheet, 350, "Kept now", f"{status.kept}", "Seed", f"{status.seed}")


def _draw_coverage(sheet: Sheet, y: Number, status: Status) -> None:
    """A bar, paler up to the best so far, with a mark where the goal counts as reached."""
    width = _RIGHT - _LEFT
    now = GREEN if status.phase is Phase.SUCCEEDED else BLUE
    sheet.box(_LEFT, y, _RIGHT, y + 10, 5, HAIRLINE)
    for share, colour in ((status.best_coverage, FAINT), (status.coverage, now)):
        if share > 0:
            sheet.box(_LEFT, y, max(_LEFT + share * width, _LEFT + 10), y + 10, 5, colour)
    mark = _LEFT + SUCCESS_COVERAGE * width
    sheet.bar(mark - 1, y - 5, mark + 1, y + 15, GREEN)


def _write_pair(sheet: Sheet, y: Number, left: str, left_value: str, right: str, right_value: str) -> None:
    for x, label, value in ((_LEFT, left, left_value), (_MIDDLE, right, right_value)):
        sheet.text(x, y, label, 12, MUTED)
        sheet.text(x, y + 17, value, 15)


def _write_keys(sheet: Sheet, status: Status) -> None:
    """What every key does, pale where it does nothing now, and below it what happened last."""
    sheet.bar(_LEFT, 400, _RIGHT, 401, HAIRLINE)
    for row, (key, does, phases) in enumerate(_KEYS):
        possible = status.phase in phases and (key != "U" or status.kept > 0)
        colour, y = INK if possible else FAINT, 416 + 30 * row
        sheet.box(_LEFT, y, _LEFT + 52, y + 23, 5, FAINT if possible else HAIRLINE)
        sheet.box(_LEFT + 1, y + 1, _LEFT + 51, y + 22, 4, WHITE)
        sheet.text(_LEFT + 26, y + 11.5, key, 12, colour, bold=True, anchor="mm")
        sheet.text(_LEFT + 64, y + 11.5, does, 13, colour, anchor="lm")
    sheet.paragraph(_LEFT, 584, _RIGHT - _LEFT, status.notice, 13)
