"""Charts are pictures of the size asked for, the same each time, and their marks are where the numbers are."""

import numpy as np
import pytest

from diffpolicy.benchmarking.charts import Curve, Measured, Panel, Row, curves_chart, rows_chart

BLUE, ORANGE = (0x3B, 0x4C, 0xC0), (0xD5, 0x5E, 0x00)


def measured(value: float) -> Measured:
    return Measured(value, 0.9 * value, 1.1 * value)


def panel(factor: float = 10.0, floor: bool = True) -> Panel:
    ours = Curve("ours", {size: measured(size) for size in (1.0, 10.0, 100.0)})
    theirs = Curve("theirs", {size: measured(factor * size) for size in (1.0, 10.0, 100.0)})
    return Panel("Title", "sizes", "seconds", [ours, theirs], {1.0: 0.5, 100.0: 50.0} if floor else {})


def places(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Rows and columns of the pixels of exactly a colour, outside of legends, which lie in the upper half of panels."""
    return np.argwhere((picture == colour).all(axis=-1))


def test_size_and_repetition() -> None:
    picture = curves_chart([panel(), panel(), panel()], width_px=800)
    assert picture.dtype == np.uint8
    assert picture.shape[1] == 800
    assert picture.shape[0] > curves_chart([panel(), panel()], width_px=800).shape[0]
    assert np.array_equal(picture, curves_chart([panel(), panel(), panel()], width_px=800))


def test_curves_are_straight_where_costs_are_proportional() -> None:
    """On logarithmic axes; whoever takes ten times as long lies above by the same length everywhere."""
    picture = curves_chart([panel()], width_px=1600)
    right = picture[:, int(0.62 * picture.shape[1]) :]  # beyond the legend
    blue, orange = (places(right, colour) for colour in (BLUE, ORANGE))
    for place in (blue, orange):
        slope, offset = np.polyfit(place[:, 1], place[:, 0], 1)
        assert slope < -0.1
        assert np.abs(slope * place[:, 1] + offset - place[:, 0]).max() < 25, "marks and line, and nothing else"
    columns = sorted(set(blue[:, 1]) & set(orange[:, 1]))
    apart = [blue[blue[:, 1] == x, 0].mean() - orange[orange[:, 1] == x, 0].mean() for x in columns]
    assert len(columns) > 100
    assert np.ptp(np.array(apart)) < 12
    assert min(apart) > 50


def test_the_floor_is_drawn_where_there_is_one() -> None:
    assert not np.array_equal(curves_chart([panel()]), curves_chart([panel(floor=False)]))


@pytest.mark.parametrize("ratio", [2.0, 30.0])
def test_rows_have_a_mark_for_each(ratio: float) -> None:
    rows = [Row(f"work {k}", {"ours": measured(10.0), "theirs": measured(10.0 * ratio)}, "x") for k in range(4)]
    picture = rows_chart("Title", "seconds", rows, width_px=1000)
    assert picture.shape[1] == 1000
    assert picture.shape[0] < rows_chart("Title", "seconds", rows * 2, width_px=1000).shape[0]
    below_legend = picture[64:]
    blue, orange = (places(below_legend, colour) for colour in (BLUE, ORANGE))
    assert blue[:, 1].max() < orange[:, 1].min(), "less is left of more"
    marked = sorted({row // 26 for row, _ in blue})
    assert marked == [0, 1, 2, 3]
