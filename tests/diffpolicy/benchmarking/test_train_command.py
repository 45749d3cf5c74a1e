"""`diffpolicy bench train` measures steps, their parts and their growth for both networks, and what compiling brings."""

import json
from pathlib import Path
from typing import Any

import pytest

from diffpolicy.benchmarking.our_training import experiment, open_windows
from diffpolicy.benchmarking.timing import Comparison, spread
from diffpolicy.benchmarking.training_speed import Compiled
from diffpolicy.cli import main
from diffpolicy.training.learner import new_policy

pytestmark = pytest.mark.usefixtures("own_folder", "small_limits")

OURS, PLAIN, PRODUCTS = "diffpolicy", "plain PyTorch", "its operations, as matrix products"


def bench(*options: str) -> dict[str, Any]:
    main(["bench", "train", "--quick", "--out", "results/train.json", *options])
    written: dict[str, Any] = json.loads(Path("results/train.json").read_text())
    return written


def test_the_mlp(capsys: pytest.CaptureFixture[str]) -> None:
    found = bench("--backbone", "mlp")
    assert (found["benchmark"], found["quick"], found["device"]) == ("training", True, "cpu")
    (network,) = found["networks"].values()
    steps = network["steps"]
    assert (steps["network"], steps["experiment"], steps["batch"], steps["precision"]) == ("mlp", "demo", 8, "bfloat16")
    assert steps["parameters"] == pytest.approx(4.9e6, rel=0.01)
    assert steps["n_bytes"] == 40 * steps["parameters"]
    times, ratios = steps["comparison"]["times_us"], steps["comparison"]["ratios"]
    assert ratios[f"{PLAIN} / {OURS}"]["rounds"] == 2
    assert 0 < times[PRODUCTS]["median"] < times[PLAIN]["median"]
    assert set(network["parts"]) == {"batch", "forward", "backward", "clip, optimizer, average"}
    batches, widths = network["scaling"]
    assert [point["size"] for point in batches["points"]] == [2, 4]
    assert batches["points"][1]["flops"] == 2 * batches["points"][0]["flops"]
    assert batches["points"][1]["n_bytes"] == batches["points"][0]["n_bytes"]
    assert widths["points"][1]["n_bytes"] > widths["points"][0]["n_bytes"]
    assert "compiled" not in network
    said = capsys.readouterr().out
    for place in (
        "times as fast as plain PyTorch",
        "bfloat16 matrix rate",
        "clip, optimizer, average",
        "Against width",
    ):
        assert place in said


@pytest.mark.slow
def test_both_networks() -> None:
    networks = bench()["networks"]
    assert networks["unet1d"]["steps"]["parameters"] == pytest.approx(65.7e6, rel=0.01)
    assert networks["unet1d"]["steps"]["flops"] > 50 * networks["mlp"]["steps"]["flops"]


@pytest.mark.slow
def test_compiling() -> None:
    found = bench("--backbone", "mlp", "--only", "steps", "--compile")["networks"]["mlp"]
    assert set(found) == {"steps", "compiled"}
    assert found["compiled"]["compile_s"] > 0.5


def test_when_a_compilation_has_paid() -> None:
    nothing = Comparison("", {"a": spread([1.0])}, {})
    assert Compiled(30.0, 1500.0, nothing).break_even_steps == pytest.approx(20_000)
    assert Compiled(30.0, 0.0, nothing).break_even_steps is None
    assert Compiled(30.0, -2.0, nothing).break_even_steps is None


@pytest.mark.parametrize(("network", "width", "weights"), [("mlp", 32, 300_000), ("unet1d", 8, 1_000_000)])
def test_networks_of_other_widths(network: str, width: int, weights: int) -> None:
    """The bundled demonstrations fit them all; everything but the width is as shipped."""
    config = experiment(network, batch=8, width=width)
    policy = new_policy(config, open_windows(config))
    assert policy.obs_shapes == {"state": (5,)}
    assert sum(weight.numel() for weight in policy.parameters()) < weights
    shipped = experiment(network, batch=8)
    assert config.training == shipped.training
    assert config.policy.objective == shipped.policy.objective


@pytest.mark.parametrize("batch", ["0", "-3"])
def test_no_windows(batch: str, complaint: Any) -> None:
    assert f"--batch is {batch}; expected at least 1" in complaint("bench", "train", "--batch", batch)


def test_nothing_to_compile_with(complaint: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch import nn

    def no_compiler(self: nn.Module) -> None:
        def refuse(*_: Any) -> None:
            raise RuntimeError("no g++\nnor anything else")

        self.forward = refuse

    monkeypatch.setattr(nn.Module, "compile", no_compiler)
    said = complaint("bench", "train", "--quick", "--backbone", "mlp", "--only", "parts", "--compile")
    assert "--compile: torch.compile fails here (no g++); install a C++ compiler" in said
