"""An evaluation in the peer's worlds is ours but for who steps the worlds: seeds, plans, pace, scores."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from diffpolicy.benchmarking import peer_gym_pusht
from diffpolicy.benchmarking.peer import Peer
from diffpolicy.benchmarking.peer_evaluation import evaluate_with_peer, followed
from diffpolicy.config import ExperimentConfig
from diffpolicy.evaluation.controller import Controller
from diffpolicy.evaluation.evaluate import settings_of
from diffpolicy.evaluation.rollout import rollout
from diffpolicy.policy import DiffusionPolicy

Tiny = Callable[..., ExperimentConfig]
MakePolicy = Callable[..., DiffusionPolicy]
SEED, STEPS = 500_000, 21


@pytest.mark.parametrize(("horizon", "speed"), [(8, 1.0), (6, 2.0), (5, 1.5), (1, 1.0), (7, 0.4)])
def test_plans_are_followed_as_a_controller_does(
    horizon: int, speed: float, tiny: Tiny, make_policy: MakePolicy
) -> None:
    policy = make_policy(tiny(policy={"action_horizon": horizon, "execution_speed": speed}))
    plans = np.random.default_rng(0).uniform(0, 512, (3, 16, 2))
    actions = followed(plans, policy.config)
    assert actions.shape == (3, horizon, 2)
    for plan, expected in zip(plans, actions, strict=True):
        controller = Controller(policy)
        controller.accept(plan[None])
        assert np.stack([controller.act() for _ in range(horizon)]) == pytest.approx(expected, abs=1e-12)


def test_a_twin_scores_as_we_do(twin: Callable[..., Path], tiny: Tiny, make_policy: MakePolicy) -> None:
    """Five episodes in lanes of three, so that one lane of the last block plays for nobody."""
    config = tiny(policy={"action_horizon": 6, "execution_speed": 2.0, "noise_scale": 0.5})
    policy, seeds, told = make_policy(config), range(SEED, SEED + 5), []
    with Peer(twin(max_steps=STEPS), Path(peer_gym_pusht.__file__), hint="") as peer:
        theirs = evaluate_with_peer(peer, policy, seeds, 3, told.append)
    ours = rollout(policy, seeds, settings_of(config, max_steps=STEPS))
    assert told == [3, 5]
    assert [(one.seed, one.steps, one.success) for one in theirs] == [
        (one.seed, one.steps, one.success) for one in ours
    ]
    scores = [one.score for one in ours]
    assert [one.score for one in theirs] == pytest.approx(scores, abs=1e-6)
    assert len(set(scores)) == 5, "starts that score alike would show nothing"


def test_an_episode_ends_with_its_success(
    script: Callable[[str], Path], python: Path, tiny: Tiny, make_policy: MakePolicy
) -> None:
    """What comes after belongs to an episode that the vector environment began by itself."""
    policy = make_policy(tiny(policy={"action_horizon": 4, "obs_horizon": 1}))
    states = [[[100.0, 100.0, 250.0, 250.0, 1.0]]] * 2
    succeeded = [[0, 1, 0, 0], [0] * 4]
    first = {"rewards": [[0.2, 1.0, 0.3, 0.9], [0.1] * 4], "succeeded": succeeded, "ended": succeeded}
    later = {"rewards": [[1.0] * 4, [0.1, 0.1, 0.4, 0.5]], "succeeded": [[1] * 4, [0] * 4]}
    later["ended"] = [[0] * 4, [0, 0, 1, 0]]
    answers = [{}, {"states": [one[0] for one in states]}, first | {"states": states}, later | {"states": states}, {}]
    lines = [json.dumps(answer) for answer in answers]
    told = f"import sys\nfor line in {lines!r}: sys.stdin.readline(); print(line, flush=True)"
    with Peer(python, script(told), hint="") as peer:
        one, other = evaluate_with_peer(peer, policy, [7, 8], 2)
    assert (one.seed, one.score, one.success, one.steps) == (7, 1.0, True, 2)
    assert (other.seed, other.score, other.success, other.steps) == (8, 0.4, False, 7)


def test_no_lane_is_left_running(twin: Callable[..., Path]) -> None:
    python = twin(max_steps=STEPS)

    def running() -> int:
        listed = subprocess.run(["ps", "-ewwo", "args"], capture_output=True, text=True, check=True).stdout
        return sum(str(python) in line for line in listed.splitlines())

    with Peer(python, Path(peer_gym_pusht.__file__), hint="") as peer:
        peer.ask("open_lanes", lanes=3)
        assert running() == 4
        peer.ask("open_lanes", lanes=2)
        assert running() == 3
        peer.ask("close_lanes")
        assert running() == 1
    assert running() == 0
