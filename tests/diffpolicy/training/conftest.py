"""What tests of training share: a look at everything that decides how a run goes on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

TIMINGS = ("seconds", "samples_per_s")


def run_state(folder: Path) -> dict[str, Any]:
    """Weights, averages, moments, generator states and logged values of a run, without how long they took."""
    last = folder / "last"
    state = json.loads((last / "training.json").read_text())
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {
        "tensors": load_file(last / "training.safetensors") | load_file(last / "model.safetensors"),
        "state": {key: value for key, value in state.items() if key not in TIMINGS},
        "log": [{key: value for key, value in line.items() if key not in TIMINGS} for line in lines],
    }


@pytest.fixture
def same_run() -> Callable[[Path, Path], None]:
    """A function that asserts that two runs ended in the same place, bit for bit."""

    def check(one: Path, other: Path) -> None:
        a, b = run_state(one), run_state(other)
        assert a["tensors"].keys() == b["tensors"].keys()
        assert {name.split("/")[0] for name in a["tensors"]} >= {"weights", "exp_avg", "exp_avg_sq", "step"}
        assert [name for name in a["tensors"] if not torch.equal(a["tensors"][name], b["tensors"][name])] == []
        assert a["state"] == b["state"]
        assert a["state"]["generators"][0].keys() >= {"training", "torch"}
        assert a["log"] == b["log"]

    return check


@pytest.fixture
def read_state() -> Callable[[Path], dict[str, Any]]:
    """`run_state`, for tests that look at one run."""
    return run_state
