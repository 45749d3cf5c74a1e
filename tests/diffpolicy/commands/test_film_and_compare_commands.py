"""`visualize film` and `visualize compare`: they show what the loop does and disturb nothing; slips are told in one line."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from diffpolicy.checkpoint import load_policy, read_meta
from diffpolicy.cli import main
from diffpolicy.commands.visualize_film import Episode, FilmArguments, act
from diffpolicy.evaluation.controller import Controller
from diffpolicy.evaluation.evaluate import settings_of
from diffpolicy.evaluation.rollout import make_controller
from diffpolicy.visualization.loop import checked_loop

KEYPOINTS = {
    "policy": {"observations": ["keypoints", "agent_pos"]},
    "evaluation": {"env_kwargs": {"obs_type": "keypoints"}},
}


def announced(out: str) -> list[Path]:
    return [Path(word) for word in re.findall(r"^written: (.+)$", out, re.MULTILINE)]


def episode_of(checkpoint: Path, n: int, **changes: Any) -> Episode:
    policy = load_policy(checkpoint)
    settings = settings_of(read_meta(checkpoint)["experiment"], max_steps=12, **changes)
    arguments = FilmArguments(str(checkpoint), n=n)
    return act(policy, settings, make_controller(policy, settings), arguments, on_step=lambda step: None)


def test_a_film_has_a_frame_for_each_moment_and_holds_the_last(
    make_checkpoint: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["visualize", "film", str(make_checkpoint()), "--max-steps", "3", "--n", "4", "--gif", "True", "--out", "a/b"])
    mp4, gif = announced(capsys.readouterr().out)
    with av.open(str(mp4)) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert frames[0].shape == (776, 1280, 3)
    assert len(frames) == 4 + round(1.5 * 5)
    with Image.open(gif) as picture:
        assert picture.n_frames == 4


def test_samples_that_are_shown_do_not_change_the_episode(make_checkpoint: Callable[..., Path]) -> None:
    checkpoint = make_checkpoint()
    alone, watched = episode_of(checkpoint, 0), episode_of(checkpoint, 5)
    assert (len(alone.samples), len(watched.samples)) == (0, len(watched.looks))
    assert alone.looks == watched.looks
    assert np.array_equal(alone.plans, watched.plans)
    assert np.array_equal(alone.agent_px, watched.agent_px)
    assert alone.packed == watched.packed
    # The plan followed is none of the others: they grow from noise of their own.
    apart = np.abs(np.stack(watched.samples) - np.stack(watched.plans)[:, None]).max(axis=(2, 3))
    assert apart.min() > 1e-3


def test_samples_come_from_the_noise_of_the_loop(make_checkpoint: Callable[..., Path]) -> None:
    """At scale 0 there is one plan, so there are no others to show; a smaller scale gives a narrower bundle."""
    checkpoint = make_checkpoint()
    assert episode_of(checkpoint, 5, noise_scale=0.0).samples == []
    wide, narrow = (np.ptp(episode_of(checkpoint, 8, noise_scale=s).samples[0], axis=0).mean() for s in (1.0, 0.01))
    assert narrow < 0.5 * wide


def test_one_sample_is_shown_too(make_checkpoint: Callable[..., Path]) -> None:
    episode = episode_of(make_checkpoint(), 1)
    assert [len(samples) for samples in episode.samples] == [1] * len(episode.looks)


def test_where_the_loop_plans_from_full_noise_so_do_the_others(make_checkpoint: Callable[..., Path]) -> None:
    """An untrained policy with next to no noise always goes to about one place, and soon stands still there."""
    checkpoint, manner = make_checkpoint(), {"noise_scale": 0.01, "action_horizon": 2}
    calm, tired = (episode_of(checkpoint, 16, patience=patience, **manner) for patience in (0, 2))
    narrow, wide = (max(np.ptp(some, axis=0).mean() for some in one.samples) for one in (calm, tired))
    assert wide > 10 * narrow


def test_scenes_are_unpacked_as_they_were(make_checkpoint: Callable[..., Path]) -> None:
    episode = episode_of(make_checkpoint(), 0)
    scenes = list(episode.scenes())
    assert len(scenes) == len(episode.coverage) == 13
    assert scenes[0].shape == (512, 512, 3)
    assert len({scene.tobytes() for scene in scenes}) > 1


@pytest.mark.parametrize(("speed", "action_horizon"), [(1.0, 8), (1.5, 4), (3.0, 3)])
def test_the_target_that_a_film_marks_is_the_action_taken(
    speed: float, action_horizon: int, make_checkpoint: Callable[..., Path]
) -> None:
    policy = load_policy(make_checkpoint())
    controller = Controller(policy, speed=speed, action_horizon=action_horizon)
    controller.observe(np.array([200.0, 200, 256, 256, 1]))
    plan = controller.plan()
    first = policy.config.obs_horizon - 1
    loop = checked_loop(plan[None], np.array([0]), None, None, slice(first, first + 1), speed, 20)
    for since in range(action_horizon):
        assert loop.followed(0, since)[0] == pytest.approx(controller.act())


def test_compare_draws_policies_of_different_eyes_at_the_start(
    make_checkpoint: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    state, keypoints = make_checkpoint("state"), make_checkpoint("keypoints", **KEYPOINTS)
    asked = ["--n", "4", "--steps", "1", "2", "--samplers", "euler", "--names", "one", "two", "--out", "pictures"]
    main(["visualize", "compare", str(state), str(keypoints), *asked])
    (path,) = announced(capsys.readouterr().out)
    with Image.open(path) as picture:
        assert min(picture.size) > 1000, "two rows and two columns"
        assert np.asarray(picture.convert("L")).std() > 5


def test_policies_of_the_same_eyes_are_shown_one_moment(make_checkpoint: Callable[..., Path]) -> None:
    """Later in an episode too: the second does not act an episode of its own."""
    from diffpolicy.commands.visualize_compare import CompareArguments, moments_of

    one, two = make_checkpoint("one"), make_checkpoint("two", policy={"backbone": {"width": 24}})
    first, second = moments_of(CompareArguments((str(one), str(two)), at=5))
    assert np.array_equal(first.history["state"], second.history["state"])
    assert first.policy.config.backbone != second.policy.config.backbone


def test_what_is_not_denoised_shows_its_one_plan_in_one_panel(make_checkpoint: Callable[..., Path]) -> None:
    from diffpolicy.commands.visualize_compare import CompareArguments, grid_of, moments_of

    regression = {"objective": {"name": "regression"}, "sampler": "direct", "steps": 1}
    flow, cloning = make_checkpoint("flow"), make_checkpoint("cloning", policy=regression)
    arguments = CompareArguments((str(flow), str(cloning)), steps=(2, 4), samplers=("euler", "heun"), n=6)
    cells, rows, columns = grid_of(arguments, moments_of(arguments))
    assert [[case and (len(case.plans[: case.drawn]), case.nfe) for case in row] for row in cells] == [
        [(6, 2), (6, 4)],
        [(6, 2), (6, 4)],
        [(1, 1), None],
    ]
    assert [row.split(", ")[1:] for row in rows] == [["euler"], ["heun"], []]
    assert columns == ["2 steps", "4 steps"]


MISTAKES: dict[str, tuple[list[str], list[str]]] = {
    "film n": (["film", "A", "--n", "-1"], ["--n is -1"]),
    "film fps": (["film", "A", "--fps", "0"], ["--fps is 0"]),
    "film fps of a GIF": (["film", "A", "--fps", "60", "--gif", "True"], ["--fps is 60", "at most 50"]),
    "film length": (["film", "A", "--max-steps", "0"], ["max_steps is 0"]),
    "film horizon": (["film", "A", "--action-horizon", "99"], ["action_horizon 99"]),
    "film world": (["film", "A", "--env", "PushU-v0"], ["'PushU-v0'"]),
    "film env kwargs": (["film", "A", "--env-kwargs", "at=60"], ["--env-kwargs: not JSON"]),
    "film state": (["film", "A", "--state", "1", "2"], ["state"]),
    "nothing to compare": (["compare"], ["no checkpoint"]),
    "no samples": (["compare", "A", "--n", "0"], ["--n is 0"]),
    "names": (["compare", "A", "B", "--names", "one"], ["--names: 1 for 2"]),
    "rows": (["compare", *"AAAAAAA"], ["7 rows", "at most 6"]),
    "columns": (["compare", "A", "--steps", *"1234567"], ["7 step counts", "at most 6"]),
    "sampler": (["compare", "A", "--samplers", "ddpm"], ["'ddpm' cannot solve"]),
    "steps": (["compare", "A", "--steps", "0"], ["steps is 0"]),
    "other eyes later": (["compare", "A", "B", "--at", "2"], ["--at 2", "state; keypoints, agent_pos", "--state"]),
    "another scene": (["compare", "A", "C"], ["render_size_px", "another scene"]),
    "other lengths": (["compare", "A", "D"], ["plans 12 actions", "16"]),
    "noise": (["compare", "A", "--noise-scale", "-1"], ["noise scale is -1"]),
}


@pytest.mark.parametrize(("words", "places"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_in_one_line(
    words: list[str], places: list[str], make_checkpoint: Callable[..., Path], complaint: Callable[..., str]
) -> None:
    made: dict[str, dict[str, Any]] = {
        "A": {},
        "B": KEYPOINTS,
        "C": {"evaluation": {"env_kwargs": {"render_size_px": 256}}},
        "D": {"policy": {"pred_horizon": 12}},
    }
    paths = {name: str(make_checkpoint(name, **changes)) for name, changes in made.items() if name in words}
    said = complaint("visualize", *(paths.get(word, word) for word in words))
    assert [place for place in places if place not in said] == []
