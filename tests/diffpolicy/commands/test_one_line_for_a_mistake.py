"""A user's mistake is told in one line that names the place, with no traceback and an exit code that is not 0."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

Complaint = Callable[..., str]


def _damage_store(kind: str, folder: Path) -> None:
    root = zarr.open_group(folder, mode="r+")
    if kind == "no actions":
        del root["data/action"]
    elif kind == "no ends":
        del root["meta/episode_ends"]
    elif kind == "ragged":
        root["data/state"].resize((30, 5))
    elif kind == "NaN":
        root["data/state"][25, 3] = np.nan
    elif kind == "infinite action":
        root["data/action"][25, 0] = np.inf
    elif kind == "unordered":
        ends = root["meta/episode_ends"][:]
        root["meta/episode_ends"][:] = ends[::-1]


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("no actions", "action"),
        ("no ends", "meta/episode_ends"),
        ("ragged", "state"),
        ("NaN", "'state'"),
        ("infinite action", "'action'"),
        ("unordered", "episode_ends"),
    ],
)
def test_a_damaged_store(
    kind: str, place: str, experiment: Callable[..., str], complaint: Complaint, tmp_path: Path
) -> None:
    config = experiment()
    _damage_store(kind, tmp_path / "demos.zarr")
    said = complaint("train", config, "--out", tmp_path / "run", "--device", "cpu")
    assert "demos.zarr" in said
    assert place in said
    assert not (tmp_path / "run").exists()


CONFIG_MISTAKES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "unknown key": ({"training": {"qwzx": 1}}, ["tiny.yaml", "training.qwzx", "--help"]),
    "misspelt key": ({"training": {"batchsize": 8}}, ["tiny.yaml", "training.batchsize", "did you mean 'batch_size'"]),
    "wrong type": ({"training": {"steps": "many"}}, ["tiny.yaml", "training.steps", "'many'"]),
    "horizons": ({"policy": {"action_horizon": 16}}, ["tiny.yaml", "policy", "action_horizon 16 does not fit"]),
    "zero": ({"training": {"batch_size": 0}}, ["tiny.yaml", "batch_size is 0"]),
    "sampler": ({"policy": {"sampler": "ddim"}}, ["tiny.yaml", "'ddim' cannot solve objective 'flow'"]),
    "backbone": ({"policy": {"backbone": {"name": "mpl"}}}, ["tiny.yaml", "policy.backbone", "mlp"]),
    "task": ({"policy": {"task": "pushd"}}, ["policy.task", "did you mean 'pusht'"]),
    "own task": ({"policy": {"task": "nowhere:TASK"}}, ["policy.task", "nowhere"]),
    "observation": ({"policy": {"observations": ["pixels"]}}, ["policy.observations", "'pixels'", "keypoints"]),
    "no store": ({"data": {"path": "nowhere/demos.zarr"}}, ["nowhere/demos.zarr"]),
    "no known set": ({"data": {"path": "pushd"}}, ["pushd", "did you mean 'pusht'"]),
    "not downloaded": ({"data": {"path": "pusht"}}, ["own-data", "diffpolicy demos download"]),
    "all held out": ({"data": {"path": "demos.zarr", "validation_episodes": 9}}, ["validation_episodes", "9"]),
    "the world shows something else": (
        {"policy": {"observations": ["keypoints", "agent_pos"]}, "evaluation": {"episodes": 2}},
        ["PushT-v0", "env_kwargs", "keypoints, agent_pos"],
    ),
    "no such world": ({"evaluation": {"episodes": 2, "env": "PushU-v0"}}, ["'PushU-v0'"]),
    "no such protocol": ({"evaluation": {"episodes": 2, "protocol": "gym_push"}}, ["gym_pusht"]),
}


@pytest.mark.parametrize(("changes", "places"), CONFIG_MISTAKES.values(), ids=CONFIG_MISTAKES)
def test_a_config_that_cannot_be_used(
    changes: dict[str, Any], places: list[str], experiment: Callable[..., str], complaint: Complaint, tmp_path: Path
) -> None:
    experiment()
    said = complaint("train", experiment(**changes), "--out", tmp_path / "run", "--device", "cpu")
    assert [place for place in places if place not in said] == []
    assert not (tmp_path / "run" / "last").exists()


@pytest.mark.parametrize(
    ("option", "places"),
    [
        (["--training.steps", "0"], ["steps is 0"]),
        (["--training.steps", "few"], ["--training.steps", "few"]),
        (["--training.stesp", "3"], ["--training.stesp", "did you mean --training.steps"]),
        (["--policy.action-horizon", "99"], ["action_horizon 99 does not fit"]),
        (["--policy.sampler", "huen"], ["--policy.sampler", "euler"]),
        (["--policy.members", "0"], ["members is 0"]),
        (["--training.draws", "0"], ["draws is 0"]),
        (["--training.teacher", "nowhere/run"], ["training.teacher", "nowhere/run"]),
        (["--device", "cuda"], ["device 'cuda'", "cpu"]),
        (["--device", "gpu"], ["device 'gpu'", "cpu"]),
        (["--init-from", "nowhere/run"], ["nowhere/run"]),
        (["--data.path", "nowhere.zarr"], ["nowhere.zarr"]),
    ],
)
def test_an_option_that_does_not_fit(
    option: list[str], places: list[str], experiment: Callable[..., str], complaint: Complaint, tmp_path: Path
) -> None:
    said = complaint("train", experiment(), "--out", tmp_path / "run", *option)
    assert [place for place in places if place not in said] == []


def test_an_experiment_that_is_not_there(complaint: Complaint, tmp_path: Path) -> None:
    assert "did you mean 'pusht_state_mlp'" in complaint("train", "pusht_state_mpl")
    assert "nothing.yaml" in complaint("train", "nothing.yaml")
    assert "pusht_state_mlp" in complaint("train")
    (tmp_path / "torn.yaml").write_text("policy: {steps: [1, 2")
    assert "torn.yaml: not readable as YAML" in complaint("train", "torn.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n- 2\n")
    assert "list.yaml: found list" in complaint("train", "list.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    assert "binary.yaml: not readable as YAML" in complaint("train", "binary.yaml")


def test_a_run_is_not_overwritten_and_not_resumed_from_nothing(
    experiment: Callable[..., str], complaint: Complaint, tmp_path: Path
) -> None:
    from diffpolicy.cli import main

    config = experiment()
    main(["train", config, "--out", "run", "--device", "cpu", "--training.steps", "1"])
    before = sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "run").rglob("*"))
    assert "--resume run" in complaint("train", config, "--out", "run", "--device", "cpu")
    assert before == sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "run").rglob("*"))
    assert "elsewhere: config.json is missing" in complaint("train", "--resume", "elsewhere")
    assert "its policy.action_horizon is 8, not 3" in complaint(
        "train", "--resume", "run", "--policy.action-horizon", "3", "--device", "cpu"
    )
    (tmp_path / "run" / "last" / "training.json").unlink()
    assert "training.json is missing" in complaint("train", "--resume", "run", "--device", "cpu")


EVAL_MISTAKES: dict[str, tuple[list[str], list[str]]] = {
    "episodes": (["--episodes", "0"], ["episodes is 0"]),
    "steps": (["--steps", "0"], ["steps is 0"]),
    "max steps": (["--max-steps", "0"], ["max_steps is 0"]),
    "workers": (["--workers", "0"], ["workers is 0"]),
    "sampler": (["--sampler", "ddpm"], ["'ddpm' cannot solve"]),
    "action horizon": (["--action-horizon", "16"], ["action_horizon 16"]),
    "delay": (["--delay", "-1"], ["delay -1"]),
    "noise scale": (["--noise-scale", "-1"], ["noise_scale is -1.0", "0 or more"]),
    "noise scale that is none": (["--noise-scale", "nan"], ["noise_scale is nan", "0 or more"]),
    "warm start": (["--warm-start", "1"], ["warm_start is 1.0", "less than 1"]),
    "warm start below 0": (["--warm-start", "-0.5"], ["warm_start is -0.5", "at least 0"]),
    "half a step": (["--steps", "1.5"], ["--steps", "1.5"]),
    "seed": (["--seed", "-1"], ["seed -1"]),
    "protocol": (["--protocol", "gym_push"], ["gym_push'", "gym_pusht"]),
    "device": (["--device", "cuda:0"], ["device 'cuda:0'"]),
    "film": (["--film", "2"], ["--film 2", "0 to 1"]),
    "no such world": (["--env", "PushU-v0"], ["'PushU-v0'"]),
    "env kwargs not JSON": (["--env-kwargs", "at=60"], ["--env-kwargs: not JSON", '{"at": [60]}']),
    "env kwargs no object": (["--env-kwargs", "[60]"], ["found [60]", "expected a JSON object"]),
    "env kwargs unknown": (["--env-kwargs", '{"obs_tipe": "state"}'], ["obs_tipe"]),
    "unknown option": (["--episode", "3"], ["--episode", "did you mean --episodes"]),
}


@pytest.mark.parametrize(("options", "places"), EVAL_MISTAKES.values(), ids=EVAL_MISTAKES)
def test_an_evaluation_that_cannot_be(
    options: list[str], places: list[str], make_checkpoint: Callable[..., Path], complaint: Complaint
) -> None:
    said = complaint("eval", make_checkpoint(), "--episodes", "2", "--workers", "1", "--max-steps", "2", *options)
    assert [place for place in places if place not in said] == []


VISUALIZE_MISTAKES: dict[str, tuple[list[str], list[str]]] = {
    "beyond the episode": (["--at", "301"], ["--at 301", "ended at step 300"]),
    "before it": (["--at", "-1"], ["--at is -1"]),
    "no sequences": (["--n", "0"], ["--n is 0"]),
    "steps": (["--steps", "0"], ["steps is 0"]),
    "seed": (["--seed", "-1"], ["seed -1"]),
    "device": (["--device", "cuda"], ["device 'cuda'"]),
}


@pytest.mark.parametrize(("options", "places"), VISUALIZE_MISTAKES.values(), ids=VISUALIZE_MISTAKES)
def test_a_picture_that_cannot_be(
    options: list[str], places: list[str], make_checkpoint: Callable[..., Path], complaint: Complaint
) -> None:
    said = complaint("visualize", make_checkpoint(), *options)
    assert [place for place in places if place not in said] == []


@pytest.mark.parametrize("command", ["eval", "visualize"])
def test_more_steps_than_noise_levels(command: str, make_checkpoint: Callable[..., Path], complaint: Complaint) -> None:
    checkpoint = make_checkpoint(policy={"objective": {"name": "ddpm", "train_timesteps": 5}, "sampler": "ddim"})
    one = ["--episodes", "1", "--workers", "1"] if command == "eval" else []
    said = complaint(command, checkpoint, "--steps", "6", *one)
    assert "steps is 6, but the policy was trained on 5 noise levels" in said


@pytest.mark.parametrize("command", ["eval", "visualize"])
def test_a_checkpoint_that_cannot_be_used(
    command: str, make_checkpoint: Callable[..., Path], complaint: Complaint, tmp_path: Path
) -> None:
    assert "'pusht-stat'" in complaint(command, "pusht-stat")
    (tmp_path / "empty").mkdir()
    assert "empty: no checkpoint in it" in complaint(command, "empty")
    for name, damage, message in (
        ("a", lambda f: (f / "model.safetensors").unlink(), "a: model.safetensors is missing"),
        ("b", lambda f: (f / "config.json").unlink(), "b: config.json is missing"),
        ("c", lambda f: (f / "model.safetensors").write_bytes(b"zero"), "c/model.safetensors: altered"),
        ("d", lambda f: (f / "config.json").write_text("{}"), "d/config.json: not a checkpoint's config"),
    ):
        damage(make_checkpoint(name))
        assert message in complaint(command, name)


@pytest.mark.parametrize("command", ["eval", "visualize"])
def test_a_world_that_shows_something_else(
    command: str, make_checkpoint: Callable[..., Path], complaint: Complaint
) -> None:
    checkpoint = make_checkpoint(
        policy={"observations": ["keypoints", "agent_pos"]}, evaluation={"env_kwargs": {"obs_type": "state"}}
    )
    said = complaint(command, checkpoint)
    assert "keypoints, agent_pos" in said
    assert "obs_type" in said


def test_a_demo_that_cannot_be(experiment: Callable[..., str], complaint: Complaint, tmp_path: Path) -> None:
    assert "--episodes is 0" in complaint("demo", "--episodes", "0")
    assert "diffpolicy demos download" in complaint("demo", "--demos", "pusht")
    assert "nowhere.zarr" in complaint("demo", "--demos", "nowhere.zarr")
    assert "no experiment 'dmeo'" in complaint("demo", "--config", "dmeo")


def test_demos_that_cannot_be(complaint: Complaint) -> None:
    assert "nowhere.zarr" in complaint("demos", "inspect", "nowhere.zarr")
