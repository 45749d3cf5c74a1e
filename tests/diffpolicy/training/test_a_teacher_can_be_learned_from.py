"""A run may learn another policy's plans; whether that one fits is told before it begins, and it resumes like any other."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffpolicy_demos import create_store, open_store

from diffpolicy.checkpoint import load_policy
from diffpolicy.errors import CheckpointError, ConfigError
from diffpolicy.training.loop import validation_loss
from diffpolicy.training.windows import load_windows

Make = Callable[..., Path]
DDIM = {"objective": {"name": "ddpm"}, "sampler": "ddim"}
MIXTURE = {"objective": {"name": "mixture"}, "sampler": "direct", "steps": 1}


@pytest.mark.parametrize("training", [{}, {"draws": 3, "precision": "bfloat16"}], ids=["once", "thrice, in bfloat16"])
def test_a_run_with_a_teacher_resumes_bit_for_bit(
    training: dict[str, Any],
    tmp_path: Path,
    make_store: Any,
    make_checkpoint: Make,
    tiny: Any,
    run_training: Any,
    same_run: Any,
) -> None:
    store, teacher = make_store(), str(make_checkpoint("teacher"))
    config = tiny(training={"teacher": teacher, **training}, policy={"backbone": {"dropout": 0.5}})
    run_training(config, store, tmp_path / "whole")
    part = run_training(config, store, tmp_path / "parts", stop_after=2)
    assert part.interrupted
    run_training(config, store, tmp_path / "parts", resume=tmp_path / "parts" / "last")
    same_run(tmp_path / "whole", tmp_path / "parts")
    untaught = tiny(training=training, policy={"backbone": {"dropout": 0.5}})
    run_training(untaught, store, tmp_path / "alone")
    taught, alone = (load_policy(tmp_path / name).state_dict() for name in ("whole", "alone"))
    assert [name for name in taught if not torch.equal(taught[name], alone[name])] != []
    with pytest.raises(CheckpointError, match=r"its training\.teacher is .*teacher, not None; a resumed run keeps it"):
        run_training(untaught, store, tmp_path / "parts", resume=tmp_path / "parts" / "last")


@pytest.mark.parametrize("teacher", [DDIM, MIXTURE, {"backbone": {"width": 24}}, {"steps": 5}, {"action_horizon": 2}])
def test_a_teacher_may_be_of_another_kind(
    teacher: dict[str, Any], tmp_path: Path, make_store: Any, make_checkpoint: Make, tiny: Any, run_training: Any
) -> None:
    checkpoint = make_checkpoint("teacher", policy=teacher)
    result = run_training(tiny(training={"teacher": str(checkpoint)}), make_store(), tmp_path / "run")
    assert result.step == 4


def test_a_teacher_may_see_less_than_is_read(
    tmp_path: Path, make_store: Any, make_checkpoint: Make, tiny: Any, run_training: Any
) -> None:
    both = tiny(policy={"observations": ["keypoints", "state"]}, training={"teacher": str(make_checkpoint("teacher"))})
    assert run_training(both, make_store(), tmp_path / "run").step == 4


def test_a_pupil_comes_to_plan_as_its_teacher_does(
    tmp_path: Path, make_store: Any, make_checkpoint: Make, tiny: Any, run_training: Any
) -> None:
    """From the same noise, where a teacher's plans have nothing to do with what was recorded."""
    checkpoint, store = make_checkpoint("teacher", policy={"steps": 10}), make_store()
    network = {"name": "mlp", "width": 64, "blocks": 1, "cond_width": 32}
    training = {"steps": 400, "batch_size": 64, "log_every": 100, "learning_rate": 3e-3, "validate_every": 1000}
    config = tiny(policy={"backbone": network, "steps": 10}, training=training | {"teacher": str(checkpoint)})
    run_training(config, store, tmp_path / "run")
    teacher, pupil = load_policy(checkpoint), load_policy(tmp_path / "run")
    obs = {"state": torch.from_numpy(open_store(store)["state"][:20])[:, None].expand(-1, 2, -1)}
    noise = torch.randn(20, 4, 16, 2, generator=torch.Generator().manual_seed(0))
    wanted, other = (teacher.sample(obs, noise=each) for each in (noise, noise.flip(1)))
    found = pupil.sample(obs, noise=noise)
    assert float((found - wanted).square().mean()) < 0.5 * float((other - wanted).square().mean())


def test_the_loss_on_held_out_windows_is_the_one_that_is_trained(
    tmp_path: Path, make_store: Any, make_checkpoint: Make, tiny: Any, run_training: Any
) -> None:
    store, checkpoint = make_store(), make_checkpoint("teacher")
    config = tiny(training={"teacher": str(checkpoint), "validate_every": 4})
    run_training(config, store, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    (logged,) = [line["validation_loss"] for line in lines if "validation_loss" in line]
    held_out = load_windows(open_store(store), config.data, ("state",), obs_horizon=2, pred_horizon=16)[1]
    policy = load_policy(tmp_path / "run")
    with_teacher = validation_loss(policy, held_out, config.training, load_policy(checkpoint))
    assert logged == pytest.approx(with_teacher, rel=1e-5)
    assert logged != pytest.approx(validation_loss(policy, held_out, config.training), rel=1e-2)


UNLIKE: dict[str, tuple[dict[str, Any], str]] = {
    "observation": (
        {"observations": ["keypoints"]},
        r"it observes keypoints \(9, 2\), but this run reads state \(5,\)",
    ),
    "one more": ({"observations": ["state", "agent_pos"]}, r"it observes agent_pos \(2,\), but this run reads state"),
    "obs_horizon": ({"obs_horizon": 3}, "its obs_horizon is 3, this run's 2; it must plan the same steps"),
    "pred_horizon": ({"pred_horizon": 12}, "its pred_horizon is 12, this run's 16"),
    "noise on the way": (
        {"objective": {"name": "ddpm", "train_timesteps": 5}, "sampler": "ddpm"},
        "its sampler 'ddpm' draws noise on the way, .* train it with one that draws none",
    ),
}


@pytest.mark.parametrize(("policy", "message"), UNLIKE.values(), ids=UNLIKE)
def test_a_teacher_that_does_not_fit_is_told_before_training_begins(
    policy: dict[str, Any],
    message: str,
    tmp_path: Path,
    make_store: Any,
    make_checkpoint: Make,
    tiny: Any,
    run_training: Any,
) -> None:
    config = tiny(training={"teacher": str(make_checkpoint("teacher", policy=policy))})
    with pytest.raises(CheckpointError, match=rf"^training\.teacher '.*teacher': {message}") as refused:
        run_training(config, make_store(), tmp_path / "run")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_a_teacher_of_other_actions_is_told(
    tmp_path: Path, make_checkpoint: Make, tiny: Any, run_training: Any
) -> None:
    store = create_store(tmp_path / "arms.zarr")
    for _ in range(2):
        store.append_episode({"state": np.full((10, 5), 100.0), "action": np.full((10, 3), 200.0)})
    config = tiny(data={"mirror": False}, training={"teacher": str(make_checkpoint("teacher"))})
    with pytest.raises(CheckpointError, match="its action_dim is 2, this run's 3"):
        run_training(config, tmp_path / "arms.zarr", tmp_path / "run")


def test_a_teacher_that_is_not_there_is_told(tmp_path: Path, make_store: Any, tiny: Any, run_training: Any) -> None:
    config = tiny(training={"teacher": "pusht-stat"})
    with pytest.raises(CheckpointError, match=r"^training\.teacher: no checkpoint 'pusht-stat'.*'pusht-state'"):
        run_training(config, make_store(), tmp_path / "run")


@pytest.mark.parametrize("policy", [DDIM, MIXTURE])
def test_only_a_flow_has_a_teacher(policy: dict[str, Any], tiny: Any) -> None:
    name = policy["objective"]["name"]
    with pytest.raises(ConfigError, match=rf"training\.teacher is 'pusht-state', but policy\.objective is '{name}'"):
        tiny(policy=policy, training={"teacher": "pusht-state"})
