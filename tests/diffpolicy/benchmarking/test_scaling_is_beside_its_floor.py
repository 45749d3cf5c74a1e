"""Times against sizes: every size is timed, and the floor follows from what was counted."""

import time

import pytest
import torch
from rich.console import Console

from diffpolicy.benchmarking import scaling
from diffpolicy.benchmarking.scaling import Load, Scaling, compare_scaling
from diffpolicy.benchmarking.scaling_report import print_scaling
from diffpolicy.benchmarking.start_up import INTERPRETER, compare_start_up
from diffpolicy.benchmarking.timing import Contestant


def lasting(seconds: float) -> Contestant:
    def play(_: int) -> float:
        time.sleep(seconds)
        return seconds

    return play


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> dict[str, Scaling]:
    """A machine of a trillion operations and of a hundred billion bytes a second."""
    monkeypatch.setattr(scaling, "matrix_products", lambda flops, *_: lasting(flops / 1e12))
    monkeypatch.setattr(scaling, "copies", lambda n_bytes, *_: lasting(n_bytes / 1e11))
    loads = [
        Load(size, size * 10**9, 4 * 10**8, {"a": lasting(0.001 * size), "b": lasting(0.002 * size)}) for size in (1, 8)
    ]
    common = {"dtype": torch.float32, "device": torch.device("cpu"), "working_set": 1, "rounds": 2}
    ways = {"both": lambda a, b: a + b, "either": max}
    return {name: compare_scaling("sizes", loads, floor, **common) for name, floor in ways.items()}


def test_floors_are_counted(found: dict[str, Scaling]) -> None:
    assert [point.floor_us for point in found["both"].points] == pytest.approx([1000 + 4000, 8000 + 4000])
    assert [point.floor_us for point in found["either"].points] == pytest.approx([4000, 8000])


def test_every_size_of_everybody_is_timed(found: dict[str, Scaling]) -> None:
    points = found["both"].points
    assert [point.size for point in points] == [1, 8]
    for point in points:
        medians = {name: spread.median for name, spread in point.times_us.items()}
        assert medians == pytest.approx({"a": 1000 * point.size, "b": 2000 * point.size})


def test_it_is_printed(found: dict[str, Scaling]) -> None:
    console = Console(width=100)
    with console.capture() as captured:
        print_scaling([found["either"]], console)
    said = captured.get()
    assert "Against sizes" in said
    (line,) = (line.split() for line in said.splitlines() if line.startswith("8"))
    assert line == ["8", "8", "(8-8)", "16", "(16-16)", "8"]


def test_starting_costs_little_beside_what_is_not_imported() -> None:
    found = compare_start_up(2)
    times = {name: spread.median for name, spread in found.times_us.items()}
    assert times[INTERPRETER] < times["diffpolicy --help"] < times["import torch"]
    assert found.ratios[f"import torch / {INTERPRETER}"].rounds == 2
