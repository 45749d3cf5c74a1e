"""`diffpolicy bench sample` measures plans, latency, growth and start, and refuses what has no plain loop."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from diffpolicy.benchmarking import plain_sampling
from diffpolicy.cli import main

pytestmark = pytest.mark.usefixtures("own_folder", "small_limits")

OURS, PLAIN = "diffpolicy", "plain diffusers loop"


def bench(*options: object) -> dict[str, Any]:
    main(["bench", "sample", "--quick", "--out", "results/sample.json", *map(str, options)])
    written: dict[str, Any] = json.loads(Path("results/sample.json").read_text())
    return written


def test_everything(make_checkpoint: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    found = bench(make_checkpoint())
    assert (found["benchmark"], found["quick"], found["device"]) == ("sampling", True, "cpu")
    assert {"torch", "diffusers"} <= set(found["versions"])
    plans = [(one["sampler"], one["rows"], one["steps"]) for one in found["plans"]]
    assert plans == [("euler", 1, 2), ("euler", 64, 2), ("ddim", 1, 2), ("ddim", 64, 2)]
    for one in found["plans"]:
        assert one["difference"] <= 1e-4
        ratio, times = one["comparison"]["ratios"][f"{PLAIN} / {OURS}"], one["comparison"]["times_us"]
        assert ratio["rounds"] == 3
        assert 0.5 * ratio["median"] < times[PLAIN]["median"] / times[OURS]["median"] < 2 * ratio["median"]
    latency = found["latency"]
    assert 0 < latency["median_ms"] <= latency["percentile_99_ms"] <= latency["longest_ms"]
    assert (latency["plans"], latency["period_ms"]) == (20, 100.0)
    steps, samples = found["scaling"]
    assert [point["size"] for point in steps["points"]] == [1, 2]
    assert [point["size"] for point in samples["points"]] == [1, 4]
    assert samples["points"][1]["flops"] > samples["points"][0]["flops"]
    assert set(found["start"]["times_us"]) >= {"import diffpolicy", "diffpolicy --help"}
    said = capsys.readouterr().out
    for place in ("times as fast", "99% within", "Against steps of a plan", "diffpolicy --help", "written: results/"):
        assert place in said


def test_only_what_was_asked_for(make_checkpoint: Callable[..., Path]) -> None:
    found = bench(make_checkpoint(), "--only", "latency")
    assert not {"plans", "scaling", "start"} & set(found)
    assert found["latency"]["plans"] == 20


def test_a_policy_that_denoises_by_ddim(make_checkpoint: Callable[..., Path]) -> None:
    ddim = make_checkpoint(policy={"objective": {"name": "ddpm", "prediction": "sample"}, "sampler": "ddim"})
    found = bench(ddim, "--only", "plans")
    assert [(one["sampler"], one["rows"]) for one in found["plans"]] == [("ddim", 1), ("ddim", 64)]


def test_a_sampler_without_a_plain_loop(make_checkpoint: Callable[..., Path], complaint: Callable[..., str]) -> None:
    ancestral = make_checkpoint(policy={"objective": {"name": "ddpm"}, "sampler": "ddpm"})
    assert "sampler 'ddpm': no plain loop to compare with" in complaint("bench", "sample", ancestral, "--quick")


def test_ways_that_differ_are_not_timed(make_checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    sound = plain_sampling.PlainSampler.sample

    def wrong(self: Any, *arguments: Any, **choices: Any) -> torch.Tensor:
        return sound(self, *arguments, **choices) + 1.0  # px

    monkeypatch.setattr(plain_sampling.PlainSampler, "sample", wrong)
    with pytest.raises(RuntimeError, match=r"plans differ by .*; expected at most 0.0001"):
        bench(make_checkpoint(), "--only", "plans")
    assert not Path("results/sample.json").exists()
