"""train, eval and demo leave a report; it says what lies in the folder, and what fails in it never costs the results."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from diffpolicy_envs.pusht.env import PushTEnv

from diffpolicy.cli import main

EVAL = ["--episodes", "4", "--seed", "500000", "--max-steps", "4", "--workers", "1", "--out", "out"]
EPISODES = ["Coverage over time", "Best and worst episodes", "The first plan, from noise", "Where episodes start"]
EPISODES += ["When episodes are solved", "Best rewards"]
TABLES = ["All 4 episodes", "How it was measured"]


def headings(page: Path) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", page.read_text())


def test_eval_leaves_one_and_it_can_be_made_anew(
    make_checkpoint: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["eval", str(make_checkpoint()), *EVAL])
    assert capsys.readouterr().out.endswith("written: out/report.html\n")
    page = Path("out/report.html")
    assert headings(page) == EPISODES + TABLES
    text, result = page.read_text(), json.loads(Path("out/eval.json").read_text())
    assert text.count("data:video/mp4;base64,") == 4
    assert "ended otherwise" not in text, "the same episodes, bit for bit"
    assert result["checkpoint"]["identity"] in text
    for record in result["records"]:
        assert f">{record['seed']}<" in text
    page.unlink()
    main(["visualize", "report", "out"])
    assert headings(page) == EPISODES + TABLES
    assert len(list(Path("out").glob("*.partial"))) == 0


def test_what_is_not_there_any_more_is_left_out_with_a_line(
    make_checkpoint: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = make_checkpoint()
    main(["eval", str(checkpoint), *EVAL])
    Path("out/episodes.npz").unlink()
    checkpoint.rename("elsewhere")
    main(["visualize", "report", "out"])
    assert headings(Path("out/report.html")) == ["When episodes are solved", "Best rewards", *TABLES, "Left out"]
    said = capsys.readouterr().out
    assert "the report is without films and plans: no checkpoint" in said
    assert "the report is without how episodes went: out/episodes.npz: missing" in said
    make_checkpoint("checkpoint", policy={"steps": 3})
    main(["visualize", "report", "out"])
    assert "is not what was evaluated any more" in capsys.readouterr().out


def test_a_world_that_cannot_be_drawn_keeps_its_scores(
    make_checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def dark(self: PushTEnv) -> None:
        raise KeyError("no lamp")

    monkeypatch.setattr(PushTEnv, "render", dark)
    main(["eval", str(make_checkpoint()), *EVAL])
    said = capsys.readouterr().out
    assert "the report is without films: KeyError: 'no lamp'" in said
    assert "the report is without the denoising of a plan: KeyError: 'no lamp'" in said
    assert "Coverage over time" in headings(Path("out/report.html"))


def test_no_space_for_the_report_keeps_the_evaluation(
    make_checkpoint: Callable[..., Path], complaint: Callable[..., str]
) -> None:
    Path("out").mkdir()
    Path("out/report.html.partial").symlink_to("/dev/full")
    assert "No space left on device" in complaint("eval", make_checkpoint(), *EVAL)
    assert len(json.loads(Path("out/eval.json").read_text())["records"]) == 4


def test_a_training_that_stopped_says_so_and_one_that_went_on_has_one_curve(
    experiment: Callable[..., str], run_training: Any, tmp_path: Path
) -> None:
    from diffpolicy.config_file import load_config

    config = experiment(training={"steps": 6}, evaluation={"episodes": 2})
    run_training(load_config(config), tmp_path / "demos.zarr", tmp_path / "run", stop_after=3)
    with (tmp_path / "run" / "log.jsonl").open("a") as log:  # as after a crash: a step that is not in the checkpoint
        log.write('{"step": 4, "loss": 9999.0}\n{"step": 5, "lo')
    main(["visualize", "report", "run"])
    page = Path("run/report.html")
    assert "of 6 steps: stopped" in page.read_text()
    assert headings(page) == [
        "Loss",
        "Learning rate",
        "Speed",
        "The first plan, from noise",
        "The training, stopped at step 3",
    ]
    main(["train", "--resume", "run", "--device", "cpu"])
    assert headings(page) == [
        "Loss",
        "Score in closed loop",
        "Learning rate",
        "The first plan, from noise",
        "The training",
    ]
    text = page.read_text()
    assert "steps: stopped" not in text
    assert "9999" not in text
    assert "On 2 episodes, seeds from 500000." in text


def test_an_evaluation_shows_the_training_of_its_checkpoint(experiment: Callable[..., str]) -> None:
    main(["train", experiment(), "--out", "run", "--device", "cpu"])
    assert "evaluation.episodes is 0" in Path("run/report.html").read_text()
    main(["eval", "run", *EVAL])
    curves = ["Loss", "Learning rate", "Speed"]
    assert headings(Path("out/report.html")) == [*EPISODES, *curves, *TABLES, "The training"]


def test_folders_without_a_run_are_refused(complaint: Callable[..., str], tmp_path: Path) -> None:
    assert "neither eval.json nor log.jsonl" in complaint("visualize", "report", tmp_path)
    for text in ("[]", "{", '{"records": []}', '{"records": [1], "checkpoint": 1}'):
        (tmp_path / "eval.json").write_text(text)
        assert "eval.json" in complaint("visualize", "report", tmp_path)


@pytest.fixture
def toy() -> Iterator[Any]:
    here = str(Path(__file__).parents[1])
    sys.path.insert(0, here)
    import toy_robot

    yield toy_robot
    sys.path.remove(here)


def test_a_robot_of_ones_own_gets_what_its_world_tells(
    toy: Any, experiment: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    toy.record(Path("reach.zarr"))
    config = experiment(
        data={"path": "reach.zarr", "mirror": False},
        policy={"task": "toy_robot:TASK", "observations": ["joints", "markers", "wrist_camera", "front_camera"]},
        evaluation={"env": "toy_robot:toy/Reach-v0", "env_kwargs": {}, "protocol": None, "episodes": 2},
    )
    main(["train", config, "--out", "run", "--device", "cpu"])
    main(["eval", "run", "--episodes", "4", "--workers", "1", "--out", "out"])
    said = capsys.readouterr().out
    assert said.count("no workspace_px and plan_px(action)") == 2
    assert headings(Path("out/report.html"))[:4] == [
        "Reward over time",
        "Best and worst episodes",
        "When episodes are solved",
        "Best rewards",
    ]
    assert Path("out/report.html").read_text().count("data:video/mp4;base64,") == 4
