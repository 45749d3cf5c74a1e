"""No permission and no space are told in one line, before the work where possible, and what was there stays."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from diffpolicy.checkpoint import load_policy
from diffpolicy.cli import main

Complaint = Callable[..., str]


@pytest.mark.parametrize("command", ["train", "eval", "visualize", "demo"])
def test_a_path_below_a_file(
    command: str,
    experiment: Callable[..., str],
    make_checkpoint: Callable[..., Path],
    complaint: Complaint,
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("not a folder")
    out = tmp_path / "file" / "below"
    config = experiment()
    arguments = {
        "train": [config, "--device", "cpu"],
        "eval": [make_checkpoint(), "--episodes", "1"],
        "visualize": [make_checkpoint()],
        "demo": ["--config", config, "--demos", "demos.zarr"],
    }[command]
    said = complaint(command, *arguments, "--out", out)
    assert "Not a directory" in said
    assert str(tmp_path / "file") in said


def test_no_space_for_the_result_keeps_the_old_one(make_checkpoint: Callable[..., Path], complaint: Complaint) -> None:
    out = Path("out")
    main(["eval", str(make_checkpoint()), "--episodes", "1", "--max-steps", "1", "--workers", "1", "--out", str(out)])
    before = (out / "eval.json").read_text()
    (out / "eval.json.partial").symlink_to("/dev/full")
    said = complaint("eval", "checkpoint", "--episodes", "2", "--max-steps", "1", "--workers", "1", "--out", out)
    assert "No space left on device" in said
    assert (out / "eval.json").read_text() == before
    assert json.loads(before)["episodes"] == 1


def test_no_space_for_a_checkpoint_keeps_the_old_one(experiment: Callable[..., str], tmp_path: Path) -> None:
    config = experiment()
    main(["train", config, "--out", "run", "--device", "cpu", "--training.steps", "2"])
    size = (tmp_path / "run" / "last" / "model.safetensors").stat().st_size
    before = {path: path.read_bytes() for path in (tmp_path / "run" / "last").iterdir()}

    def limit_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2))

    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "diffpolicy.cli",
            "train",
            "--resume",
            "run",
            "--device",
            "cpu",
            "--training.steps",
            "4",
        ],
        capture_output=True,
        text=True,
        preexec_fn=limit_files,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert "File too large" in done.stderr
    assert {path: path.read_bytes() for path in (tmp_path / "run" / "last").iterdir()} == before
    assert not (tmp_path / "run" / "last.partial").exists()
    load_policy(tmp_path / "run")
