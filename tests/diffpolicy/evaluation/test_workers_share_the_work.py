"""Worker processes share the seeds with the parent; what goes wrong in one is told in the parent, and none is left."""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from diffpolicy.checkpoint import read_meta
from diffpolicy.errors import CheckpointError, ConfigError
from diffpolicy.evaluation.evaluate import evaluate
from diffpolicy.evaluation.rollout import LANES, Round
from diffpolicy.evaluation.workers import Job, _serve
from diffpolicy.evaluation.world import RolloutSettings

Make = Callable[..., Path]
PUSHT = "diffpolicy_envs:diffpolicy/PushT-v0"
SETTINGS = RolloutSettings(PUSHT, protocol="gym_pusht", max_steps=3)
SEEDS = range(500_000, 500_010)

# The parent waits until a worker has done its deed, or else it might be done before the worker has even started.
WORLD = """
import multiprocessing, os, signal, sys, time
from pathlib import Path
import gymnasium as gym
from diffpolicy_envs.pusht.env import PushTEnv

HERE = Path(__file__).parent
FLAG = HERE / "done"

class World(PushTEnv):
    def reset(self, *, seed=None, options=None):
        (HERE / f"{{seed}}.{{os.getpid()}}").touch()
        return super().reset(seed=seed, options=options)

    def step(self, action):
        if multiprocessing.parent_process() is not None:
            FLAG.touch()
            {deed}
        deadline = time.monotonic() + 60
        while not FLAG.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        return super().step(action)

gym.register("{name}-v0", entry_point=World, max_episode_steps=3)
"""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """A function that writes a world in which a worker does a deed at its first step, and returns its id."""

    def write(deed: str) -> str:
        name = f"world_{tmp_path.name}"
        (tmp_path / f"{name}.py").write_text(WORLD.format(deed=deed, name=name))
        monkeypatch.syspath_prepend(tmp_path)
        return f"{name}:{name}-v0"

    return write


@pytest.fixture(autouse=True)
def _none_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("diffpolicy.evaluation.evaluate.usable_cores", lambda: 2)
    yield
    assert multiprocessing.active_children() == []


def test_both_processes_take_seeds_and_each_seed_is_taken_once(
    world: Callable[[str], str], make_checkpoint: Make, tmp_path: Path
) -> None:
    told: list[int] = []
    choices: dict[str, Any] = {"episodes": 150, "seed": 500_000, "workers": 2, "on_episodes": told.append}
    evaluate(make_checkpoint(), env=world("pass"), **choices)
    taken = [path.name.split(".") for path in tmp_path.glob("500*.*")]
    by_process = {pid: {seed for seed, other in taken if other == pid} for _, pid in taken}
    mine = by_process.pop(str(os.getpid()))
    (theirs,) = by_process.values()
    assert min(len(mine), len(theirs)) >= 20
    assert mine & theirs <= {"500000"}  # the parent tries the first before the start
    assert mine | theirs == {str(seed) for seed in range(500_000, 500_150)}
    assert told == sorted(told)
    assert told[-1] == 150
    assert len(set(told)) > 2  # told as it goes, not at the end


@pytest.mark.parametrize(
    ("deed", "error", "message"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", ConfigError, "a worker process died.*fewer --workers"),
        pytest.param("os._exit(0)", ConfigError, "a worker process died", marks=pytest.mark.slow),
        pytest.param(
            "raise OSError(28, 'No space left', 'film.mp4')", OSError, "No space left", marks=pytest.mark.slow
        ),
        ("raise KeyError('bolt')", RuntimeError, "a worker process failed: KeyError: 'bolt'"),
    ],
    ids=["killed", "gone", "mistake", "defect"],
)
def test_what_goes_wrong_in_a_worker_ends_the_evaluation(
    deed: str, error: type[Exception], message: str, world: Callable[[str], str], make_checkpoint: Make
) -> None:
    with pytest.raises(error, match=message) as caught:
        evaluate(make_checkpoint(), episodes=500, seed=500_000, workers=2, env=world(deed))
    assert "\n" not in str(caught.value)
    assert ("bolt" in deed) == any("in step" in note for note in getattr(caught.value, "__notes__", []))


def test_a_mistake_ends_the_workers_that_have_just_started(make_checkpoint: Make) -> None:
    with pytest.raises(ConfigError, match="cannot make the environment 'diffpolicy/PushU-v0'"):
        evaluate(make_checkpoint(), episodes=500, workers=2, env="diffpolicy/PushU-v0")


@pytest.mark.parametrize(
    ("episodes", "workers", "started"), [(LANES, 2, 0), (LANES + 1, 1, 0), (LANES + 1, 2, 1), (500, 9, 1)]
)
def test_no_more_workers_start_than_there_are_cores_and_lanes_to_fill(
    episodes: int, workers: int, started: int, make_checkpoint: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Enough(Exception):  # noqa: N818 - no error
        pass

    def count(number: int, *_: object) -> None:
        raise Enough(number)

    monkeypatch.setattr("diffpolicy.evaluation.evaluate.Workers", count)
    with pytest.raises(Enough) as asked:
        evaluate(make_checkpoint(), episodes=episodes, workers=workers)
    assert asked.value.args == (started,)


def serve(checkpoint: Path, job: Job | None) -> list[Any]:
    """What a worker says, run in this process."""
    parent, worker = multiprocessing.Pipe()
    with parent, worker:
        parent.send(job) if job else parent.close()
        _serve(checkpoint, "cpu", multiprocessing.get_context("spawn").Value("q", 0), worker)
        said = []
        while job and parent.poll():
            said.append(parent.recv())
        return said


@pytest.fixture
def job(make_checkpoint: Make) -> Callable[..., tuple[Path, Job]]:
    """A function that makes a checkpoint and a job for it, with changes."""

    def make(settings: RolloutSettings = SETTINGS, **changes: Any) -> tuple[Path, Job]:
        checkpoint = make_checkpoint()
        own = {"identity": read_meta(checkpoint)["identity"], "seeds": SEEDS, "settings": settings, "film": {}}
        return checkpoint, Job(**{**own, **changes})

    return make


def test_a_worker_tells_each_round_and_its_end(job: Any, make_checkpoint: Make) -> None:
    *told, end = serve(*job())
    assert end is None
    assert all(isinstance(each, Round) for each in told)
    alone = evaluate(make_checkpoint(), episodes=10, seed=500_000, max_steps=3)["records"]
    assert sorted(vars(record)["seed"] for each in told for record in each.records) == list(SEEDS)
    assert [vars(record) for each in told for record in each.records] == alone


def test_a_checkpoint_that_was_replaced_meanwhile_is_refused(job: Any) -> None:
    (said,) = serve(*job(identity="another"))
    assert isinstance(said, CheckpointError)
    assert "replaced while the evaluation started" in str(said)


def test_a_users_mistake_comes_through_as_it_is(job: Any) -> None:
    (said,) = serve(*job(RolloutSettings(PUSHT, protocol="gym_push")))
    assert isinstance(said, ConfigError)
    assert "gym_push" in str(said)


def test_a_defect_brings_its_traceback(job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffpolicy.evaluation.workers.rounds", None)
    (said,) = serve(*job())
    assert isinstance(said, RuntimeError)
    assert "a worker process failed: TypeError" in str(said)
    assert "Traceback" in said.__notes__[0]


def test_a_worker_ends_quietly_when_its_parent_is_gone(make_checkpoint: Make, capfd: Any) -> None:
    assert serve(make_checkpoint(), None) == []
    assert capfd.readouterr() == ("", "")
