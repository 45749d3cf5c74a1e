"""`diffpolicy demos` prints what the package finds, imports no torch, and lets mistakes through as one-line errors."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from diffpolicy_demos import StoreError, create_store, open_store

from diffpolicy.commands.demos import run

Episode = dict[str, np.ndarray]


@pytest.fixture
def store(tmp_path: Path, make_episode: Callable[..., Episode]) -> Path:
    made = create_store(tmp_path / "a.zarr")
    made.append_episode(make_episode(12))
    made.append_episode(make_episode(8))
    return tmp_path / "a.zarr"


def test_inspect(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["inspect", str(store)])
    assert "2 episodes, 20 steps" in capsys.readouterr().out
    run(["inspect", str(store), "--json"])
    described = json.loads(capsys.readouterr().out)
    assert described["steps"] == 20
    assert described["lengths"] == [12, 8]


def test_replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An agent that is told to stay where it is stays, and a record that says otherwise is off by what it says."""
    still = np.tile([100.0, 100.0, 300.0, 300.0, 0.5], (6, 1))
    moved = still.copy()
    moved[4, 1] += 3
    made = create_store(tmp_path / "a.zarr")
    made.append_episode({"state": still, "action": still[:, :2]})
    made.append_episode({"state": moved, "action": still[:, :2]})
    run(["replay", str(tmp_path / "a.zarr")])
    assert "1 of 2 episodes (50.0%) within 0.001 px; worst 3 px (episode 1), median 1.5 px" in capsys.readouterr().out
    run(["replay", str(tmp_path / "a.zarr"), "--episodes", "0"])
    assert "1 of 1 episodes (100.0%)" in capsys.readouterr().out


def test_mistakes_are_raised_as_they_are(store: Path) -> None:
    for argv, message in (
        (["inspect", "psuht"], "did you mean 'pusht'"),
        (["replay", str(store), "--episodes", "2"], "no episode 2"),
        (["download", "--from", "nowhere.zip"], r"nowhere.zip: no such file"),
    ):
        with pytest.raises(StoreError, match=message):
            run(argv)


@pytest.mark.human
@pytest.mark.slow
def test_download(
    human_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DIFFPOLICY_DATA", str(human_set.parent.parent))
    run(["download"])
    assert "there already, and right" in capsys.readouterr().out
    assert open_store("pusht").n_episodes == 206


@pytest.mark.parametrize("argv", [[], ["download"], ["inspect"], ["replay"]])
def test_help_has_examples(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run([*argv, "--help"])
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    assert "For example" in printed
    assert f"diffpolicy demos {argv[0] if argv else 'replay'}" in printed


def test_nonsense_is_not_a_success() -> None:
    with pytest.raises(SystemExit) as caught:
        run(["inspekt"])
    assert caught.value.code not in (0, None)


def test_no_torch() -> None:
    code = "import sys, diffpolicy.commands.demos; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
