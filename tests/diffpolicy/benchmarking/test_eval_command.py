"""`diffpolicy bench eval` scores a policy in our worlds and in a peer's, and times both beside their parts."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diffpolicy.benchmarking import evaluation_speed
from diffpolicy.benchmarking.evaluation_speed import OURS, PEER, PRODUCTS, WORLDS
from diffpolicy.cli import main

pytestmark = pytest.mark.usefixtures("own_folder", "small_limits")

Complaint = Callable[..., str]
MakeCheckpoint = Callable[..., Path]


@pytest.fixture(autouse=True)
def _few_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation_speed, "LANES", 2)  # a process each, of the peer's


def bench(*options: object) -> dict[str, Any]:
    main(["bench", "eval", "--quick", "--workers", "1", "--out", "results/eval.json", *map(str, options)])
    written: dict[str, Any] = json.loads(Path("results/eval.json").read_text())
    return written


def test_a_twin(make_checkpoint: MakeCheckpoint, twin: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    found = bench(make_checkpoint(), "--peer", twin(), "--only", "comparison")
    assert (found["benchmark"], found["quick"]) == ("evaluation", True)
    assert found["peer"]["gym-pusht"] == "0.0"
    compared = found["comparison"]
    assert (compared["episodes"], compared["workers"], compared["lanes"]) == (4, 1, 2)
    assert compared["steps"] == 4 * 300
    assert compared["plans"] == 4 * -(-300 // 8)
    assert compared["flops"] > 0
    scores = {name: score["mean_score"] for name, score in compared["scores"].items()}
    assert scores[PEER] == pytest.approx(scores[OURS], abs=1e-6), "the same worlds, plans and noise"
    assert compared["same_episodes"] == 4
    times, ratios = compared["comparison"]["times_us"], compared["comparison"]["ratios"]
    assert set(times) == {OURS, PEER, WORLDS, PRODUCTS}
    assert ratios[f"{PEER} / {OURS}"]["rounds"] == 2
    assert times[WORLDS]["median"] < times[OURS]["median"]
    assert "scaling" not in found
    said = capsys.readouterr().out
    for place in ("4 episodes in 2 lanes", "times as fast as gym-pusht", "mean score", "written: results/eval.json"):
        assert place in said


def test_ours_alone(make_checkpoint: MakeCheckpoint, own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = bench(make_checkpoint(), "--no-peer")
    assert found["peer"] is None
    assert (set(found["comparison"]["scores"]), found["comparison"]["same_episodes"]) == ({OURS}, None)
    (growth,) = found["scaling"]
    assert growth["workers"] == 1
    assert list(growth["times_us"]) == ["1", "2"]
    assert "times as fast" not in capsys.readouterr().out
    assert not (own_folder / "cache").exists(), "nothing is installed"


MISTAKES: dict[str, tuple[list[str], list[str]]] = {
    "episodes": (["--no-peer", "--episodes", "0"], ["--episodes is 0"]),
    "workers": (["--no-peer", "--workers", "0"], ["--workers is 0"]),
    "both": (["--no-peer", "--peer", "python"], ["--no-peer and --peer"]),
    "no gym-pusht there": (["--peer", sys.executable], ["gym_pusht", "pip install gym-pusht==0.1.8"]),
    "no such python": (["--peer", "/nowhere/python"], ["/nowhere/python: cannot be started"]),
    "no such part": (["--only", "scalign"], ["--only", "scaling"]),
}


@pytest.mark.parametrize(("argv", "places"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(argv: list[str], places: list[str], make_checkpoint: MakeCheckpoint, complaint: Complaint) -> None:
    said = complaint("bench", "eval", make_checkpoint(), "--quick", *argv)
    assert [place for place in places if place not in said] == []


def test_a_policy_that_sees_what_the_peer_does_not_show(make_checkpoint: MakeCheckpoint, complaint: Complaint) -> None:
    keypoints = make_checkpoint(policy={"observations": ["keypoints", "agent_pos"]})
    said = complaint("bench", "eval", keypoints, "--quick", "--no-peer")
    assert "observes keypoints, agent_pos" in said
    assert "such as pusht-state" in said
