"""train, eval, visualize and demo do their whole work on a tiny store, and every file they announce is there."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import yaml
from PIL import Image

from diffpolicy.checkpoint import load_policy
from diffpolicy.cli import main
from diffpolicy.config_file import load_config


def announced(out: str) -> list[Path]:
    """Paths that a command says it wrote, each on a line of its own however long it is."""
    return [Path(word) for word in re.findall(r"^written: (.+)$", out, re.MULTILINE)]


def test_train_writes_a_run_that_its_own_config_repeats(
    experiment: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = experiment(evaluation={"episodes": 2})
    main(["train", config, "--device", "cpu", "--training.steps", "3"])
    run = tmp_path / "runs" / "tiny"
    said = capsys.readouterr()
    assert said.err == ""
    assert "trained 3 steps" in said.out
    assert f"diffpolicy eval {Path('runs/tiny')}" in said.out
    resolved = load_config(str(run / "config.yaml"))
    assert resolved.training.steps == 3
    assert resolved.policy.backbone.width == 16
    assert yaml.safe_load((run / "config.yaml").read_text())["data"]["path"].endswith("demos.zarr")
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3]
    assert [line["step"] for line in lines if "mean_score" in line] == [3]
    for checkpoint in ("last", "best"):
        card = (run / checkpoint / "card.md").read_text()
        assert "| training | 3 steps of 8" in card
        assert "| score |" in card
    main(["train", str(run / "config.yaml"), "--device", "cpu", "--out", "again"])
    first, again = (load_policy(folder / "last").state_dict() for folder in (run, Path("again")))
    assert all(bool((first[name] == again[name]).all()) for name in first)


def test_eval_writes_what_it_says(
    make_checkpoint: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "a folder" / ("far" * 40)
    options = ["--episodes", "3", "--seed", "500000", "--max-steps", "4", "--workers", "1", "--film", "0", "2"]
    acting = ["--noise-scale", "0.5", "--warm-start", "0.25"]
    main(["eval", str(make_checkpoint()), *options, *acting, "--protocol", "diffusion_policy", "--out", str(out)])
    said = capsys.readouterr().out
    files = announced(said)
    assert [path.name for path in files] == ["eval.json", "episode_000.mp4", "episode_002.mp4", "report.html"]
    assert all(path.stat().st_size > 500 for path in files)
    result = json.loads(files[0].read_text())
    assert (result["episodes"], result["protocol"]) == (3, "diffusion_policy")
    assert (result["noise_scale"], result["warm_start"]) == (0.5, 0.25)
    assert f"mean score {result['mean_score']:.3f}" in said
    assert "protocol diffusion_policy, seeds from 500000" in said


@pytest.mark.parametrize("steps", [1, 6])
def test_visualize_draws_the_denoising(
    steps: int, make_checkpoint: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["visualize", str(make_checkpoint()), "--at", "3", "--n", "5", "--steps", str(steps), "--out", "pictures"])
    files = announced(capsys.readouterr().out)
    pictures = ["denoising.gif", "denoising.mp4", "denoising.png", "plans.png"]
    assert [path.name for path in files] == [*pictures, "denoising.html"]
    with Image.open(files[0]) as gif:
        assert gif.n_frames > 3
    with av.open(str(files[1])) as film:
        assert sum(1 for _ in film.decode(video=0)) > 3
    for still in files[2:4]:
        with Image.open(still) as picture:
            assert np.asarray(picture.convert("L")).std() > 5
    assert f'max="{steps}"' in files[4].read_text(encoding="utf-8")


@pytest.mark.slow
def test_demo_does_it_all_and_never_overwrites(
    experiment: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = experiment()
    arguments = ["demo", "--config", config, "--demos", "demos.zarr", "--episodes", "2", "--out", "out"]
    (tmp_path / "out").mkdir()  # an earlier demo
    main(arguments)
    said = capsys.readouterr()
    assert said.err == ""
    names = ["policy/last", "report.html", "eval.json", "rollout.mp4", "denoising.gif", "denoising.png"]
    for name in names:
        assert f"  out-2/{name}\n" in said.out
        assert (tmp_path / "out-2" / name).exists()
    assert len(json.loads(Path("out-2/eval.json").read_text())["records"]) == 2
    assert list((tmp_path / "out").iterdir()) == []


def test_ctrl_c_ends_a_training_with_130_and_tells_the_way_on(experiment: Callable[..., str], tmp_path: Path) -> None:
    config = experiment(
        training={"steps": 100_000, "log_every": 5, "validate_every": 1_000_000, "checkpoint_every": 1_000_000}
    )
    command = [sys.executable, "-m", "diffpolicy.cli", "train", config, "--out", "run", "--device", "cpu"]
    environment: dict[str, Any] = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            deadline, log = time.monotonic() + 120, tmp_path / "run" / "log.jsonl"
            while process.poll() is None and not (log.exists() and log.stat().st_size) and time.monotonic() < deadline:
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert err == "stopping after what is in progress; press again to stop now\n"
    assert "go on with: diffpolicy train --resume run" in out
    state = json.loads((tmp_path / "run" / "last" / "training.json").read_text())
    assert 0 < state["step"] < 100_000
