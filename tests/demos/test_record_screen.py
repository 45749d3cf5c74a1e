"""What a person at the mouse sees fits its place, says where the recording is, and comes in real time."""

import dataclasses
import time

import numpy as np
import pytest
from diffpolicy_demos.record import Phase, Status
from diffpolicy_demos.record_panel import PANEL, SMALLEST_TABLE_PX, draw_screen, panel_width_px
from diffpolicy_demos.record_sheet import Sheet
from diffpolicy_demos.record_window import Metronome
from diffpolicy_envs.pusht import draw_scene

STATE = np.array([120.0, 380.0, 300.0, 200.0, 2.0])
SIZES_PX = (SMALLEST_TABLE_PX, 640, 1000)

#: The longest that every field gets.
FULL = Status(
    phase=Phase.RECORDING,
    episode=9999,
    wanted=9999,
    kept=999,
    seed=2_147_483_648,
    steps=9999,
    max_steps=9999,
    coverage=1.0,
    best_coverage=1.0,
    agent_px=(120.0, 380.0),
    pointer_must_leave=False,
    notice="Episode 9999 kept: 9999 steps, best coverage 100%.",
)


def screen(status: Status, size_px: int = 640, store: str = "runs/mouse.zarr") -> np.ndarray:
    return draw_screen(draw_scene(STATE, size_px=size_px), status, store)


@pytest.mark.parametrize("size_px", SIZES_PX)
@pytest.mark.parametrize("phase", list(Phase))
def test_no_word_touches_the_edge(phase: Phase, size_px: int) -> None:
    """Nor runs into what stands beside or below it: between the parts of the panel there is always a free row."""
    for leave in (False, True):
        status = dataclasses.replace(FULL, phase=phase, pointer_must_leave=leave and phase is Phase.WAITING)
        picture = screen(status, size_px, store="/home/somebody/with/a/long/name/" * 4 + "mouse.zarr")
        assert picture.shape == (size_px, size_px + panel_width_px(size_px), 3)
        assert picture.dtype == np.uint8
        zoom = size_px / 640
        panel = picture[:, size_px + round(3 * zoom) :]
        margin = round(14 * zoom)
        for edge in (panel[:, -margin:], panel[:margin], panel[-round(8 * zoom) :], panel[:, : round(14 * zoom)]):
            assert (edge == PANEL).all()
        for y in (57, 84, 130, 196, 295, 343, 394, 408, 570):  # between headline, phase, advice, numbers, keys, notice
            assert (panel[round(y * zoom)] == PANEL).all(), y


@pytest.mark.parametrize("size_px", SIZES_PX)
def test_pairs_of_numbers_stay_apart(size_px: int) -> None:
    """Between the left and the right one there is always a free column."""
    zoom = size_px / 640
    picture = screen(FULL, size_px)
    gap = picture[round(300 * zoom) : round(392 * zoom), size_px + round(144 * zoom) : size_px + round(156 * zoom)]
    assert (gap == PANEL).all(axis=(0, 2)).any()


def test_every_phase_shows_on_the_table_itself() -> None:
    """That is where the eyes are; the middle, where the work is done, stays as it is while there is some."""
    table = draw_scene(STATE, size_px=640)
    seen = {phase: screen(dataclasses.replace(FULL, phase=phase))[:, :640] for phase in Phase}
    waiting = screen(dataclasses.replace(FULL, phase=Phase.WAITING, pointer_must_leave=True))[:, :640]
    pictures = [*seen.values(), waiting]
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)
    np.testing.assert_array_equal(seen[Phase.RECORDING][5:-5, 5:-5], table[5:-5, 5:-5])
    for phase in (Phase.SUCCEEDED, Phase.OUT_OF_TIME):
        np.testing.assert_array_equal(seen[phase][5:570, 5:-5], table[5:570, 5:-5])
    changed = (seen[Phase.WAITING] != table).any(axis=2)
    y, x = np.nonzero(changed)
    centre = (STATE[:2] + 0.5) * 640 / 512
    radius = np.hypot(x + 0.5 - centre[0], y + 0.5 - centre[1])
    assert radius.min() > 15 * 640 / 512  # a ring round the agent, not over it
    assert radius.max() < 50


def test_the_bar_grows_with_coverage_and_keeps_the_best() -> None:
    def filled(coverage: float, best: float) -> tuple[int, int]:
        row = screen(dataclasses.replace(FULL, coverage=coverage, best_coverage=best))[275, 640 + 24 : 640 + 276]
        empty = (row == row[-2]).all(axis=1)
        now = (row == row[8]).all(axis=1)
        return int(now.sum()), int((~empty).sum())

    for share in (0.2, 0.5, 0.8):
        now, best = filled(share, 0.9)
        assert abs(now - share * 252) <= 8  # its end is round
        assert abs(best - 0.9 * 252) <= 8
    assert filled(0.3, 0.3)[0] < filled(0.4, 0.4)[0]


def test_a_path_too_long_is_shown_by_its_end() -> None:
    sheet = Sheet(np.zeros((10, 10, 3), np.uint8), 1.0)
    path = "/home/somebody/" * 10 + "mouse.zarr"
    shown = sheet.end_of(path, 200, 12)
    assert shown.startswith("…")
    assert path.endswith(shown[1:])
    assert 180 < sheet.length(shown, 12) <= 200
    assert sheet.end_of("mouse.zarr", 200, 12) == "mouse.zarr"


def test_a_beat_keeps_real_time_and_does_not_hurry_after_a_delay() -> None:
    clock = [0.0]

    def work(seconds: float) -> None:
        assert seconds >= 0.0
        clock[0] += seconds

    wait = Metronome(0.125, lambda: clock[0], work)
    beats = []
    for busy_s in (0.0625, 0.03125, 0.0, 0.5, 0.0, 0.0625):
        work(busy_s)
        wait()
        beats.append(clock[0])
    # The loop's own work does not add up; after half a second of it the next beat is a whole period away again.
    assert beats == [0.125, 0.25, 0.375, 0.875, 1.0, 1.125]


def test_the_clock_is_the_real_one() -> None:
    wait, start = Metronome(0.05), time.perf_counter()
    for _ in range(4):
        wait()
    assert 0.199 <= time.perf_counter() - start <= 2.0
