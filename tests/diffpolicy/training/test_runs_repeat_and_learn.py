"""The same seed gives the same run, another seed another; and what the settings promise about batches holds."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffpolicy_demos import create_store, open_store

from diffpolicy.checkpoint import load_checkpoint, load_policy
from diffpolicy.errors import CheckpointError, ConfigError
from diffpolicy.policy import DiffusionPolicy
from diffpolicy.training.batches import Batches
from diffpolicy.training.learner import learning_rate
from diffpolicy.training.windows import Windows, load_windows


def test_one_seed_one_run(tmp_path: Path, make_store: Any, tiny: Any, run_training: Any, same_run: Any) -> None:
    store = make_store()
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run_training(tiny(training={"seed": seed}), store, tmp_path / name)
    same_run(tmp_path / "a", tmp_path / "b")
    weights = [load_checkpoint(tmp_path / name / "last")[0].state_dict() for name in "ac"]
    assert not torch.equal(weights[0]["backbone.embed_action.weight"], weights[1]["backbone.embed_action.weight"])


def test_the_loss_falls_where_there_is_something_to_learn(
    tmp_path: Path, make_store: Any, tiny: Any, run_training: Any
) -> None:
    network = {"name": "mlp", "width": 64, "blocks": 1, "cond_width": 32}
    training = {"steps": 300, "batch_size": 64, "log_every": 50, "learning_rate": 3e-3, "validate_every": 1000}
    run_training(tiny(policy={"backbone": network}, training=training), make_store(), tmp_path / "run")
    losses = [json.loads(line)["loss"] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert len(losses) == 6
    assert losses[-1] < 0.6 * losses[0]


def test_bfloat16_rounds_but_the_weights_stay_float32(
    tmp_path: Path, make_store: Any, tiny: Any, run_training: Any, read_state: Any
) -> None:
    store = make_store()
    for precision in ("bfloat16", "float32"):
        run_training(tiny(training={"precision": precision}), store, tmp_path / precision)
    rounded, exact = (read_state(tmp_path / name)["tensors"] for name in ("bfloat16", "float32"))
    assert {value.dtype for value in rounded.values()} == {torch.float32}
    name = "weights/backbone.embed_action.weight"
    assert not torch.equal(rounded[name], exact[name])
    torch.testing.assert_close(rounded[name], exact[name], atol=0.05, rtol=0)


def test_a_diverging_run_stops_and_says_so(tmp_path: Path, make_store: Any, tiny: Any, run_training: Any) -> None:
    training = {"steps": 200, "learning_rate": 1e30, "gradient_clip": 1e30, "weight_decay": 1e6, "log_every": 1}
    with pytest.raises(ConfigError, match=r"loss is (nan|inf) at step \d+: .*lower training.learning_rate"):
        run_training(tiny(training=training), make_store(), tmp_path / "run")


def test_the_learning_rate_warms_up_and_ends_at_zero(tiny: Any) -> None:
    settings = tiny(training={"steps": 110, "warmup_steps": 10, "learning_rate": 0.5}).training
    rates = [learning_rate(step, settings) for step in range(111)]
    assert rates[:10] == pytest.approx([0.05 * (i + 1) for i in range(10)])
    assert rates[10] == pytest.approx(0.5)
    assert rates[60] == pytest.approx(0.25)
    assert rates[110] == pytest.approx(0.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_init_from_takes_weights_and_normalizer(
    tmp_path: Path, make_store: Any, make_checkpoint: Callable[..., Path], tiny: Any, run_training: Any
) -> None:
    store, checkpoint = make_store(), make_checkpoint()
    run_training(tiny(), store, tmp_path / "run", init_from=checkpoint, stop_after=0)
    expected = load_policy(checkpoint).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in load_policy(tmp_path / "run").state_dict().items())
    run_training(tiny(), store, tmp_path / "new", stop_after=0)
    fitted = load_policy(tmp_path / "new").state_dict()
    assert not torch.equal(fitted["normalizer.action_center"], expected["normalizer.action_center"])


@pytest.mark.parametrize(
    "policy", [{"backbone": {"width": 32}}, {"observations": ["keypoints", "agent_pos"]}, {"obs_horizon": 3}]
)
def test_init_from_refuses_another_network_or_other_observations(
    policy: dict[str, Any], tmp_path: Path, make_store: Any, make_checkpoint: Any, tiny: Any, run_training: Any
) -> None:
    with pytest.raises(CheckpointError, match=r"--init-from .*differ") as caught:
        run_training(tiny(policy=policy), make_store(), tmp_path / "run", init_from=make_checkpoint())
    assert "\n" not in str(caught.value)


@pytest.fixture
def windows(make_store: Callable[..., Path], tiny: Any) -> Windows:
    """Windows over a small store."""
    store = open_store(make_store(steps=40))
    return load_windows(store, tiny().data, ("state",), obs_horizon=2, pred_horizon=16)[0]


def unmirrored(windows: Windows, config: Any, step: int) -> Any:
    data = dataclasses.replace(config.data, mirror=False, count_padding=False)
    return Batches(windows, dataclasses.replace(config, data=data), "cpu").draw(step)


@pytest.mark.parametrize("mirror", [True, False])
def test_half_of_the_windows_are_mirrored_by_the_task(
    mirror: bool, windows: Windows, tiny: Any, make_policy: Callable[..., DiffusionPolicy]
) -> None:
    config = tiny(data={"mirror": mirror, "count_padding": False}, training={"batch_size": 2000})
    policy = make_policy(config)
    batch, plain = Batches(windows, config, "cpu").draw(3), unmirrored(windows, config, 3)
    reflected, reflected_action = policy.task.mirror(plain["obs"], plain["action"])
    mirrored = (batch["action"] == reflected_action).flatten(1).all(1)
    kept = (batch["action"] == plain["action"]).flatten(1).all(1)
    assert torch.equal(mirrored, ~kept)
    assert torch.equal(batch["obs"]["state"][mirrored], reflected["state"][mirrored])
    assert torch.equal(batch["obs"]["state"][kept], plain["obs"]["state"][kept])
    assert torch.equal(batch["mask"], plain["mask"])
    assert mirrored.float().mean().item() == pytest.approx(0.5 if mirror else 0.0, abs=0.04)


def test_padding_counts_only_when_asked(
    tmp_path: Path, windows: Windows, tiny: Any, make_policy: Callable[..., DiffusionPolicy]
) -> None:
    for counted in (True, False):
        config = tiny(
            data={"count_padding": counted, "mirror": False, "observation_noise": 0}, training={"batch_size": 256}
        )
        policy = make_policy(config)
        batch, padded = Batches(windows, config, "cpu").draw(0), unmirrored(windows, config, 0)["mask"]
        assert padded.any()
        assert not padded.all(1).any()
        gradient = _gradient_at_output(policy, batch)
        assert (gradient[padded].abs().max() > 0).item() is counted
        assert gradient[~padded].abs().max() > 0


def _gradient_at_output(policy: DiffusionPolicy, batch: Any) -> torch.Tensor:
    kept: list[torch.Tensor] = []

    def keep(_module: object, _args: object, output: torch.Tensor) -> None:
        output.retain_grad()
        kept.append(output)

    hook = policy.backbone.register_forward_hook(keep)
    policy.loss(batch, generator=torch.Generator().manual_seed(1)).backward()
    hook.remove()
    assert kept[0].grad is not None
    return kept[0].grad


def test_a_store_of_one_constant_action_trains(tmp_path: Path, tiny: Any, run_training: Any) -> None:
    store = create_store(tmp_path / "still.zarr")
    for _ in range(2):
        store.append_episode({"state": np.full((10, 5), 100.0), "action": np.full((10, 2), 200.0)})
    run_training(tiny(data={"mirror": False}), tmp_path / "still.zarr", tmp_path / "run")
    x = load_policy(tmp_path / "run").sample({"state": torch.full((1, 2, 5), 100.0)})
    assert torch.isfinite(x).all()
    assert float((x - 200).abs().max()) <= 1.0
