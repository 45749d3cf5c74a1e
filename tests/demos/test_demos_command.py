"""`diffpolicy demos` prints what the package finds, imports no torch, and lets mistakes through as one-line errors."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from diffpolicy_demos import StoreError, create_store, open_store

from diffpolicy.cli import main
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


@pytest.fixture
def still(tmp_path: Path) -> Path:
    """An agent that is told to stay where it is, and the same with one step that says otherwise."""
    still = np.tile([100.0, 100.0, 300.0, 300.0, 0.5], (6, 1))
    moved = still.copy()
    moved[4, 1] += 3
    made = create_store(tmp_path / "a.zarr")
    made.append_episode({"state": still, "action": still[:, :2]})
    made.append_episode({"state": moved, "action": still[:, :2]})
    return tmp_path / "a.zarr"


def test_replay(still: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The agent stays, and the record that says otherwise is off by what it says."""
    run(["replay", str(still)])
    assert "1 of 2 episodes (50.0%) within 0.001 px; worst 3 px (episode 1), median 1.5 px" in capsys.readouterr().out
    run(["replay", str(still), "--episodes", "0"])
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


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], "a command is missing; there are: download, collect, record, inspect, "),
        (["downlaod"], "no command 'downlaod'; did you mean 'download'?"),
        (["xyz"], "no command 'xyz'; there are: download, collect, record, inspect, "),
        (["--episodes", "3"], "no command '--episodes'"),
        (["inspect"], "PATH"),
        (["inspect", "a.zarr", "b.zarr"], "b.zarr"),
        (["inspect", "a.zarr", "--jsno"], "--jsno"),
        (["replay", "x", "--episode", "3"], "did you mean --episodes?"),
        (["replay", "x", "--episodes", "three"], "three"),
        (["download", "--form", "a.zip"], "--form"),
    ],
)
def test_a_slip_is_told_in_one_line(argv: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["demos", *argv])
    assert caught.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.endswith("\n")
    assert said.err.count("\n") == 1, said.err
    assert said.err.startswith("diffpolicy demos")
    assert expected in said.err
    assert "--help`" in said.err


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(["--help"])
    assert caught.value.code == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert all(f"\n  {name} " in printed.out for name in ("download", "inspect", "replay"))


@pytest.mark.parametrize("argv", [["inspect"], ["inspect", "--json"], ["replay"]])
def test_progress_is_seen_and_kept_out_of_the_output(
    argv: list[str], still: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal there is a bar that counts to its end; in a pipe nothing is left of it."""
    run([*argv[:1], str(still), *argv[1:]])
    in_a_pipe = capsys.readouterr()
    assert in_a_pipe.err.strip() == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    run([*argv[:1], str(still), *argv[1:]])
    on_a_terminal = capsys.readouterr()
    done = ("replaying", "2/2") if argv[0] == "replay" else ("reading action", "reading state", "100%")
    assert [word for word in done if word not in on_a_terminal.err] == []
    assert "replaying" not in on_a_terminal.out
    assert "reading" not in on_a_terminal.out
    if "--json" in argv:
        assert json.loads(on_a_terminal.out) == json.loads(in_a_pipe.out)


def test_no_torch() -> None:
    code = "import sys, diffpolicy.commands.demos; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
