"""`diffpolicy export` writes one file and says how well it agrees, or says in one line why not and leaves nothing."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from diffpolicy.cli import main

Complaint = Callable[..., str]
Make = Callable[..., Path]
DDPM = {"objective": {"name": "ddpm", "train_timesteps": 5}, "sampler": "ddpm", "steps": 5}


def files(folder: Path) -> list[str]:
    """All below a folder but the checkpoint's own."""
    found = (str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())
    return sorted(name for name in found if not name.startswith("checkpoint"))


def test_one_file_and_how_well_it_agrees(
    make_checkpoint: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = make_checkpoint("checkpoint.v1", policy={"steps": 1})
    main(["export", str(checkpoint)])
    said = capsys.readouterr()
    assert said.err == ""
    (name,) = files(tmp_path)
    assert re.fullmatch(r"runs/export-.*checkpoint\.v1\.pt2", name)
    assert f"written: {name}\n" in said.out
    found = re.search(
        r"differ from the policy's by at most (\S+) in the actions' units, (\S+) of their range", said.out
    )
    assert found
    assert 0 <= float(found[2]) < 1e-4
    state, noise = torch.zeros(1, 2, 5), torch.zeros(1, 1, 16, 2)
    assert torch.export.load(name).module()([state], noise).shape == noise.shape


def test_help_needs_no_torch() -> None:
    code = (
        "import sys\n"
        "from diffpolicy.cli import main\n"
        "try:\n    main(['export', '--help'])\n"
        "except SystemExit:\n    print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert "policy.json" in done.stdout
    assert done.stdout.endswith("False\n")


MISTAKES: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "another ending": ({}, ["--out", "policy.onnx"], "policy.onnx: the name of an exported policy ends in .pt2"),
    "a folder": ({}, ["--out", "folder.pt2"], "folder.pt2: is a folder"),
    "below a file": ({}, ["--out", "file/policy.pt2"], "File exists: file"),
    "no steps": ({}, ["--steps", "0"], "steps is 0"),
    "too many steps": (DDPM, ["--sampler", "ddim", "--steps", "6"], "steps is 6, but the policy was trained on 5"),
    "noise on the way": (DDPM, [], "sampler 'ddpm' draws noise at every step"),
    "for another policy": (DDPM, ["--sampler", "direct"], "sampler 'direct' cannot solve 'ddpm'"),
    "unknown sampler": ({}, ["--sampler", "huen"], "ddim"),
}


@pytest.mark.parametrize(("policy", "options", "place"), MISTAKES.values(), ids=MISTAKES)
def test_what_cannot_be_exported(
    policy: dict[str, Any], options: list[str], place: str, make_checkpoint: Make, complaint: Complaint, tmp_path: Path
) -> None:
    (tmp_path / "folder.pt2").mkdir()
    (tmp_path / "file").write_text("not a folder")
    assert place in complaint("export", make_checkpoint(policy=policy), *options)
    assert files(tmp_path) == ["file"]


def test_a_checkpoint_that_is_not_there(complaint: Complaint, tmp_path: Path) -> None:
    assert "did you mean 'pusht-state'" in complaint("export", "pusht-stat")
    assert "CHECKPOINT" in complaint("export")
    assert files(tmp_path) == []


def test_no_space_keeps_the_earlier_file(make_checkpoint: Make, complaint: Complaint, tmp_path: Path) -> None:
    (tmp_path / "policy.pt2").write_text("an earlier one")
    (tmp_path / "policy.pt2.partial").symlink_to("/dev/full")
    said = complaint("export", make_checkpoint(policy={"steps": 1}), "--out", "policy.pt2")
    assert "No space left on device" in said
    assert files(tmp_path) == ["policy.pt2"]
    assert (tmp_path / "policy.pt2").read_text() == "an earlier one"
