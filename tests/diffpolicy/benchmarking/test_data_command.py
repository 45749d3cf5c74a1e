"""`diffpolicy bench data` finds what there is to read, prints and writes it, and tells mistakes in one line."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffpolicy_demos import create_store

from diffpolicy.benchmarking import data_speed
from diffpolicy.cli import main
from diffpolicy.commands import bench_data

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.fixture(autouse=True)
def _nothing_bundled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_data, "bundled_stores", dict)
    monkeypatch.setattr(data_speed, "_BATCHES", 2)  # turns are short here: nothing is quoted


def record(path: Path, steps: int = 30) -> Path:
    rng = np.random.default_rng(0)
    with create_store(path) as store:
        episode = {
            "joints": rng.normal(size=(steps, 7)),
            "camera": rng.integers(256, size=(steps, 6, 8, 3), dtype="u1"),
        }
        store.append_episode(episode | {"action": rng.normal(size=(steps, 7))})
    return path


def bench(*options: str) -> dict[str, Any]:
    main(["bench", "data", "--quick", "--out", "results/data.json", *options])
    written: dict[str, Any] = json.loads(Path("results/data.json").read_text())
    return written


def told(reading: dict[str, Any]) -> tuple[str, list[str], int]:
    return reading["store"], reading["keys"], reading["comparison"]["ratios"]["Store.read / plain zarr"]["rounds"]


def test_a_robot_of_your_own(capsys: pytest.CaptureFixture[str]) -> None:
    record(Path("mine.zarr"))
    found = bench("mine.zarr")
    assert [told(one) for one in found["readings"]] == [("mine.zarr", ["joints"], 3), ("mine.zarr", ["camera"], 3)]
    assert found["machine"]["cores"] >= 1
    assert {"zarr", "torch"} <= set(found["versions"])
    said = capsys.readouterr().out
    for place in ("mine.zarr: joints", "mine.zarr: camera", "Store.read", "written: results/data.json"):
        assert place in said


def test_nothing_at_hand_makes_a_store_and_removes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "made here").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "made here"))
    found = bench()
    assert [told(one)[:2] for one in found["readings"]] == [
        ("made on the spot", ["state"]),
        ("made on the spot", ["pixels"]),
    ]
    assert "diffpolicy demos download" in capsys.readouterr().out
    assert list((tmp_path / "made here").glob("**/*.zarr")) == []


def test_what_is_at_hand_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    human = record(tmp_path / "own-data" / "pusht" / "pusht_cchi_v7_replay.zarr")
    assert human.is_dir()
    bundled = {"pusht-twin": record(tmp_path / "twin.zarr")}
    for module in ("diffpolicy.commands.bench_data", "diffpolicy_demos.location"):
        monkeypatch.setattr(f"{module}.bundled_stores", lambda: bundled)
    assert [one["store"] for one in bench()["readings"]] == ["pusht", "pusht", "pusht-twin", "pusht-twin"]


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; from diffpolicy.cli import main\n"
        "try: main(['bench', 'data', '--help'])\n"
        "finally: print('imported:', sorted(set(sys.modules) & {'torch', 'diffusers', 'accelerate'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    assert done.stdout.splitlines()[-1] == "imported: []"


MISTAKES: dict[str, tuple[list[str], list[str]]] = {
    "no such store": (["mine.zar"], ["mine.zar", "did you mean 'mine.zarr'"]),
    "no such name": (["pusht-expret"], ["pusht-expret", "available"]),
    "two stores": (["mine.zarr", "other.zarr"], ["other.zarr"]),
}


@pytest.mark.parametrize(("argv", "places"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(argv: list[str], places: list[str], complaint: Callable[..., str]) -> None:
    record(Path("mine.zarr"))
    said = complaint("bench", "data", "--quick", *argv)
    assert [place for place in places if place not in said] == []


def test_damage_is_told_and_the_old_result_stays(complaint: Callable[..., str]) -> None:
    store = record(Path("mine.zarr"))
    (store / "data" / "joints" / "c" / "0" / "0").unlink()
    Path("data.json").write_text("{}")
    assert "data/joints" in complaint("bench", "data", "mine.zarr", "--quick", "--out", "data.json")
    assert Path("data.json").read_text() == "{}"
