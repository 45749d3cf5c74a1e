"""A run that was stopped and resumed ends where an uninterrupted one ends, bit for bit on the CPU."""

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from diffpolicy.checkpoint import load_checkpoint
from diffpolicy.cli import main
from diffpolicy.errors import CheckpointError

VARIANTS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "dropout draws from torch's own generator": {"policy": {"backbone": {"dropout": 0.5}}},
    "bfloat16": {"training": {"precision": "bfloat16"}},
    "several draws": {"training": {"draws": 3}},
    "edm": {"policy": {"objective": {"name": "edm"}, "sampler": "heun"}},
    "two looks": {"policy": {"objective": {"name": "regression", "second_look": 0.2}, "sampler": "direct"}},
    "modes": {"policy": {"objective": {"name": "mixture"}, "sampler": "direct", "steps": 1}},
    "unet and ddpm": {
        "policy": {
            "backbone": {"name": "unet1d", "channels": [8, 16], "groups": 4, "time_width": 8},
            "objective": {"name": "ddpm", "train_timesteps": 10},
            "sampler": "ddpm",
        }
    },
    "stopped between two log lines": {"training": {"log_every": 4}},
    "stopped in the middle of everything": {"training": {"steps": 9, "log_every": 4, "checkpoint_every": 5}},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_two_steps_and_then_the_rest_equal_all_in_one_go(
    changes: dict[str, Any], tmp_path: Path, make_store: Any, tiny: Any, run_training: Any, same_run: Any
) -> None:
    store, config = make_store(), tiny(**changes)
    whole = run_training(config, store, tmp_path / "whole")
    part = run_training(config, store, tmp_path / "parts", stop_after=2)
    assert (part.step, part.interrupted, whole.interrupted) == (2, True, False)
    rest = run_training(config, store, tmp_path / "parts", resume=tmp_path / "parts" / "last")
    assert (rest.step, rest.interrupted) == (whole.step, False) == (config.training.steps, False)
    same_run(tmp_path / "whole", tmp_path / "parts")


def test_validation_and_evaluation_in_between_change_nothing(
    tmp_path: Path, make_store: Any, tiny: Any, run_training: Any, same_run: Any, read_state: Any
) -> None:
    looked = []

    def evaluate(policy: Any) -> dict[str, float]:
        state = {"state": torch.full((3, 2, 5), 200.0)}
        looked.append(policy.sample(state, generator=torch.Generator().manual_seed(1)))
        return {"mean_score": 0.1 * len(looked), "success_rate": 0.0}

    store = make_store()
    changes = {"policy": {"backbone": {"dropout": 0.5}}}
    config = tiny(**changes, training={"evaluate_every": 1, "validate_every": 1})
    run_training(config, store, tmp_path / "whole", evaluate=evaluate)
    assert len(looked) == 4
    looked.clear()
    run_training(config, store, tmp_path / "parts", evaluate=evaluate, stop_after=2)
    run_training(config, store, tmp_path / "parts", evaluate=evaluate, resume=tmp_path / "parts" / "last")
    same_run(tmp_path / "whole", tmp_path / "parts")
    run_training(tiny(**changes, training={"validate_every": 100}), store, tmp_path / "blind")
    seen, blind = read_state(tmp_path / "whole"), read_state(tmp_path / "blind")
    assert all(torch.equal(blind["tensors"][name], value) for name, value in seen["tensors"].items())
    assert {name for line in seen["log"] for name in line} >= {"loss", "validation_loss", "mean_score"}
    assert (tmp_path / "whole" / "best" / "config.json").is_file()


def test_ctrl_c_writes_a_checkpoint_that_goes_on_exactly(
    tmp_path: Path, make_store: Any, tiny: Any, run_training: Any, same_run: Any
) -> None:
    store, config = make_store(), tiny(training={"steps": 250, "log_every": 7, "checkpoint_every": 1000})
    before = signal.getsignal(signal.SIGINT)
    watcher = threading.Thread(target=_interrupt_once_training, args=(tmp_path / "parts" / "log.jsonl",))
    watcher.start()
    part = run_training(config, store, tmp_path / "parts")
    watcher.join()
    assert part.interrupted
    assert 0 < part.step < 250
    assert signal.getsignal(signal.SIGINT) is before
    run_training(config, store, tmp_path / "parts", resume=tmp_path / "parts" / "last")
    run_training(config, store, tmp_path / "whole")
    same_run(tmp_path / "whole", tmp_path / "parts")


def _interrupt_once_training(log: Path) -> None:
    while not (log.exists() and log.stat().st_size):
        threading.Event().wait(0.002)
    os.kill(os.getpid(), signal.SIGINT)


def test_the_command_line_resumes_as_the_api_does(
    tmp_path: Path, make_store: Any, tiny: Any, tiny_plain: Any, run_training: Any, same_run: Any
) -> None:
    store = make_store()
    changes = {"data": {"path": str(store)}}
    run_training(tiny(**changes), store, tmp_path / "whole")
    for name, spelled in (("a", ["--resume", str(tmp_path / "a")]), ("b", [f"--resume={tmp_path / 'b' / 'last'}"])):
        run_training(tiny(**changes), store, tmp_path / name, stop_after=2)
        main(["train", *spelled, "--device", "cpu"])
        same_run(tmp_path / "whole", tmp_path / name)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny_plain(**changes)))
    main(["train", str(tmp_path / "tiny.yaml"), "--out", str(tmp_path / "c"), "--device", "cpu"])
    same_run(tmp_path / "whole", tmp_path / "c")


def test_a_line_cut_off_by_a_crash_and_repeated_steps_leave_the_log(
    tmp_path: Path, make_store: Any, tiny: Any, run_training: Any, same_run: Any
) -> None:
    store, config = make_store(), tiny()
    run_training(config, store, tmp_path / "whole")
    run_training(config, store, tmp_path / "parts", stop_after=2)
    with (tmp_path / "parts" / "log.jsonl").open("a") as log:
        log.write(json.dumps({"step": 3, "loss": 1.0}) + '\n{"step": 4, "lo')
    run_training(config, store, tmp_path / "parts", resume=tmp_path / "parts" / "last")
    same_run(tmp_path / "whole", tmp_path / "parts")


def test_the_average_is_what_a_checkpoint_holds_and_it_goes_on(
    tmp_path: Path, make_store: Any, tiny: Any, run_training: Any, read_state: Any
) -> None:
    run_training(tiny(), make_store(), tmp_path / "run")
    tensors, state = (read_state(tmp_path / "run")[part] for part in ("tensors", "state"))
    assert state["ema_step"] == 4
    averaged, _ = load_checkpoint(tmp_path / "run" / "last")
    different = [
        name for name, value in averaged.named_parameters() if not torch.equal(value, tensors[f"weights/{name}"])
    ]
    assert different


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"policy": {"action_horizon": 4}}, r"policy\.action_horizon is 8, not 4"),
        ({"training": {"batch_size": 7}}, r"training\.batch_size is 8, not 7"),
        ({"training": {"seed": 9}}, r"training\.seed is 0, not 9"),
        ({"data": {"observation_noise": 0.5}}, r"data\.observation_noise is 0\.01, not 0\.5"),
        ({"training": {"steps": 1}}, r"at step 2 already, past training\.steps 1"),
    ],
)
def test_a_resumed_run_is_the_same_experiment(
    tmp_path: Path, make_store: Any, tiny: Any, run_training: Any, changes: dict[str, Any], named: str
) -> None:
    store = make_store()
    run_training(tiny(), store, tmp_path / "run", stop_after=2)
    with pytest.raises(CheckpointError, match=named):
        run_training(tiny(**changes), store, tmp_path / "run", resume=tmp_path / "run" / "last")


def test_a_resumed_run_may_look_more_often_and_run_longer(
    tmp_path: Path, make_store: Any, tiny: Any, run_training: Any
) -> None:
    store = make_store()
    run_training(tiny(), store, tmp_path / "run", stop_after=2)
    longer = tiny(training={"steps": 6, "log_every": 2, "checkpoint_every": 3}, evaluation={"seed": 7})
    assert run_training(longer, store, tmp_path / "run", resume=tmp_path / "run" / "last").step == 6


def test_resuming_needs_the_training_state(
    tmp_path: Path, make_store: Any, make_checkpoint: Callable[..., Path], tiny: Any, run_training: Any
) -> None:
    store = make_store()
    run_training(tiny(), store, tmp_path / "run", stop_after=2)
    released = make_checkpoint()
    with pytest.raises(CheckpointError, match=r"training\.safetensors is missing.*--init-from"):
        run_training(tiny(), store, tmp_path / "run", resume=released)
    (tmp_path / "run" / "last" / "training.safetensors").write_bytes(b"\x10" * 100)
    with pytest.raises(CheckpointError, match=r"training\.safetensors: altered since it was written"):
        run_training(tiny(), store, tmp_path / "run", resume=tmp_path / "run" / "last")
