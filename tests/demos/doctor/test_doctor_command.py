"""`diffpolicy demos doctor` and the pages of `inspect`, as one types them."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from diffpolicy_demos import StoreError, open_store
from diffpolicy_demos.doctor.findings import KINDS, SEVERITIES

from diffpolicy.commands.demos import run
from diffpolicy.errors import ConfigError

Episode = dict[str, np.ndarray]


@pytest.fixture
def sound(numbers: list[Episode], write: Callable[..., Path]) -> str:
    return str(write(numbers))


@pytest.fixture
def spoilt(clean: list[Episode], write: Callable[..., Path]) -> str:
    clean[1]["keypoints"][5] += 30
    clean[2]["state"][20, :2] += 40
    clean[3]["action"][-1] = [10.0, 500.0]
    return str(write(clean))


def test_text(spoilt: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run(["doctor", spoilt])
    assert stop.value.code == 1
    printed = capsys.readouterr()
    assert printed.err.strip() == ""
    for expected in (
        "8 episodes, 320 steps; 3 errors, 1 warning, no notes",
        "episode 1, step 5: off by up to",
        "episode 2, step 20: up to",
        "or let --fix do so",
        "replay: 7 of 8 episodes within 0.001 px open loop",
    ):
        assert expected in printed.out
    assert printed.out.index("error") < printed.out.index("warning  actions that jump")


def test_exit_code_without_errors(sound: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(["doctor", sound])
    assert "nothing to complain of" in capsys.readouterr().out


def test_json(spoilt: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run(["doctor", spoilt, "--json"])
    assert stop.value.code == 1
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {
        "path", "world", "episodes", "steps", "sound", "counts", "checked", "not_checked", "findings", "drift", "fix",
    }  # fmt: skip
    assert (found["path"], found["world"], found["episodes"], found["steps"]) == (spoilt, "Push-T", 8, 320)
    assert (found["sound"], found["fix"]) == (False, None)
    assert found["counts"] == {"error": 3, "warning": 1, "note": 0}
    for one in found["findings"]:
        assert set(one) == {"kind", "severity", "episodes", "steps", "found", "amount", "unit", "advice"}
        assert one["kind"] in KINDS
        assert one["severity"] in SEVERITIES
        assert all(0 <= first <= last < 40 for first, last in one["steps"])
    assert [drift["episode"] for drift in found["drift"]] == list(range(8))
    assert {"open_loop_px", "open_loop_at", "open_loop_rad", "one_step_px", "one_step_at"} < set(found["drift"][0])


def test_fix(spoilt: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code then speaks of the new store."""
    target = tmp_path / "new.zarr"
    run(["doctor", spoilt, "--fix", str(target)])
    printed = capsys.readouterr().out
    assert "episode 1 -> 1: keypoints computed from the states" in printed
    assert "episode 2 -> 2, 3: cut: kept the steps 0-19, 21-39 of 40" in printed
    assert "6 copied as they are, 2 treated" in printed
    assert open_store(target).n_episodes == 9
    with pytest.raises(StoreError, match="exists already"):
        run(["doctor", spoilt, "--fix", str(target)])
    run(["doctor", spoilt, "--json", "--fix", str(tmp_path / "newer.zarr")])
    found = json.loads(capsys.readouterr().out)
    assert found["fix"]["sound"] is True
    assert {"episode": 2, "becomes": [2, 3], "done": ["cut: kept the steps 0-19, 21-39 of 40"]} in found["fix"][
        "episodes"
    ]


def test_pages(spoilt: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["doctor", spoilt, "--html", str(tmp_path / "doctor.html")])
    assert "Findings" in (tmp_path / "doctor.html").read_text()
    run(["inspect", spoilt, "--html", str(tmp_path / "inspect.html"), "--video", "0", "3"])
    page = (tmp_path / "inspect.html").read_text()
    assert page.count('src="data:video/mp4;base64,') == 2
    assert "episode 3" in page
    assert "coverage at the end" in capsys.readouterr().out


def test_mistakes(spoilt: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give --html FILE too"):
        run(["inspect", spoilt, "--video", "0"])
    page = tmp_path / "page.html"
    with pytest.raises(StoreError, match="no episode 8; it has 0 to 7"):
        run(["inspect", spoilt, "--html", str(page), "--video", "8"])
    assert not page.exists()
    with pytest.raises(OSError, match="No such file or directory"):
        run(["doctor", spoilt, "--html", str(tmp_path / "nowhere" / "page.html")])


def test_charts_are_only_imported_for_pages() -> None:
    code = "import sys, diffpolicy.commands.demos; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run(["doctor", "--help"])
    assert stop.value.code == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "exit code is 0 where nothing is an error, 1 otherwise" in printed
    assert "diffpolicy demos doctor pusht" in printed
