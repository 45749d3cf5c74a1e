"""`diffpolicy demos convert` says what was made and what was lost, and a mistake in one line."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from diffpolicy_demos import create_store, open_store

from diffpolicy.cli import main
from diffpolicy.commands.demos import run

pytest.importorskip("pyarrow", reason="LeRobot datasets need the extra 'lerobot'")

Episode = dict[str, np.ndarray]


@pytest.fixture
def store(tmp_path: Path, make_episode: Callable[..., Episode]) -> Path:
    with create_store(tmp_path / "a.zarr", attrs={"env_id": "diffpolicy/PushT-v0", "control_hz": 10}) as made:
        made.append_episode(make_episode(6))
    return tmp_path / "a.zarr"


def test_there_and_back(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["convert", str(store), str(tmp_path / "l"), "--no-video"])
    said = capsys.readouterr()
    assert f"converted: {tmp_path / 'l'}, LeRobot dataset v3.0, 1 episodes, 6 steps" in said.out
    assert "nothing was lost" in said.out
    assert said.err.strip() == ""
    run(["convert", str(tmp_path / "l"), str(tmp_path / "b"), "--to", "zarr2"])
    assert "zarr format 2, 1 episodes, 6 steps" in capsys.readouterr().out
    np.testing.assert_array_equal(open_store(tmp_path / "b")["pixels"][:], open_store(store)["pixels"][:])


def test_what_is_lost_is_said(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["convert", str(store), str(tmp_path / "l"), "--crf", "30", "--fps", "20", "--task", "Push [it]."])
    printed = capsys.readouterr().out
    assert "pixels: lossy: mean absolute error" in printed
    assert "frames a second: 20, as asked" in printed
    assert "nothing was lost" not in printed


def test_progress_counts_episodes(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    run(["convert", str(store), str(tmp_path / "b.zarr")])
    said = capsys.readouterr()
    assert [word for word in ("converting", "comparing", "1/1") if word not in said.err] == []
    assert "comparing" not in said.out


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--crf", "3", "--no-video"], "--crf is the quality of videos"),
        (["--to", "zarr2", "--fps", "10"], "are for LeRobot datasets"),
        (["--crf", "99"], "crf 99"),
        (["--to", "hdf5"], "hdf5"),
        (["--fps", "ten"], "ten"),
    ],
)
def test_a_mistake_is_one_line(
    store: Path, tmp_path: Path, options: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["demos", "convert", str(store), str(tmp_path / "b"), *options])
    assert caught.value.code in (1, 2)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.strip().count("\n") == 0, said.err
    assert expected in said.err
    assert not (tmp_path / "b").exists()


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(["convert", "--help"])
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    assert "For example" in printed
    assert "diffpolicy demos convert pusht pusht_lerobot" in printed
