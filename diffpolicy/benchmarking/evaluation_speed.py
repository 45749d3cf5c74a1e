"""How long an evaluation takes: `diffpolicy eval` beside the same policy in gym-pusht, and beside its own parts alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import gymnasium as gym
import torch
from diffpolicy_envs import PUSHT_ID

from diffpolicy.benchmarking.counted_work import plan_flops
from diffpolicy.benchmarking.environment import contact_rich_episodes
from diffpolicy.benchmarking.machine_rate import matrix_products
from diffpolicy.benchmarking.peer import Peer
from diffpolicy.benchmarking.peer_evaluation import evaluate_with_peer
from diffpolicy.benchmarking.peer_gym_pusht import time_steps
from diffpolicy.benchmarking.timing import Comparison, Contestant, Spread, compare
from diffpolicy.checkpoint import load_policy
from diffpolicy.device import usable_cores
from diffpolicy.errors import ConfigError
from diffpolicy.evaluation.evaluate import evaluate
from diffpolicy.evaluation.metrics import summarize
from diffpolicy.evaluation.rollout import LANES
from diffpolicy.policy import DiffusionPolicy

OURS: Final = "diffpolicy"
PEER: Final = "gym-pusht in AsyncVectorEnv"
WORLDS: Final = "its steps, by bare environments"
PRODUCTS: Final = "its plans, as matrix products"
#: Of the first episode: a tuning seed, for nothing is published of these.
FIRST_SEED: Final = 500_000

_TOLD: Final = ("mean_score", "mean_score_interval_95", "success_rate", "success_interval_95")
_SAME_SCORE: Final = 1e-6
_TIMED_EPISODES: Final = 20
_TIMED_STEPS: Final = 100


@dataclass(frozen=True)
class Evaluations:
    """One evaluation, timed in several ways.

    Attributes:
        episodes: How many.
        workers: Our processes.
        lanes: Worlds side by side, ours and theirs.
        steps: Control steps of all our episodes together.
        plans: Plans that these take.
        flops: Operations of these plans, counted.
        scores: Who to what the policy reached there, as fractions with 95% intervals.
        same_episodes: Episodes that ended at the same step with the same score on both sides; None without a peer.
        comparison: Microseconds for an episode.
    """

    episodes: int
    workers: int
    lanes: int
    steps: int
    plans: int
    flops: int
    scores: Mapping[str, Mapping[str, Any]]
    same_episodes: int | None
    comparison: Comparison


@dataclass(frozen=True)
class Growth:
    """What an evaluation took with so many processes: microseconds altogether, by the number of episodes."""

    workers: int
    times_us: Mapping[int, Spread]


def open_policy(checkpoint: str, device: str) -> DiffusionPolicy:
    """Opens a checkpoint that both sides can evaluate.

    Raises:
        CheckpointError: There is none.
        ConfigError: It observes what gym-pusht does not show in the same way.
    """
    policy = load_policy(checkpoint, device)
    if (policy.config.task, policy.config.observations) != ("pusht", ("state",)):
        raise ConfigError(
            f"{checkpoint}: observes {', '.join(policy.config.observations)} for the task {policy.config.task}; "
            "expected a policy for pusht that observes state alone, such as pusht-state"
        )
    return policy


def compare_evaluations(
    peer: Peer | None,
    checkpoint: str,
    *,
    episodes: int,
    workers: int,
    device: str,
    rounds: int,
    on_round: Callable[[], None] = lambda: None,
) -> Evaluations:
    """Evaluates a checkpoint on the same seeds in turns; whole evaluations, from opening the checkpoint on.

    Args:
        peer: gym-pusht, or None to measure ours alone.
        checkpoint: A released name or a folder.
        episodes: How many.
        workers: Our processes.
        device: Where the network runs.
        rounds: How often each.
        on_round: Called after each round.

    Raises:
        PeerError: If the peer fails.
    """
    policy = open_policy(checkpoint, device)
    seeds = range(FIRST_SEED, FIRST_SEED + episodes)
    found: dict[str, dict[str, Any]] = {}

    def ours(_: int) -> float:
        began = time.perf_counter()
        found[OURS] = _evaluate(checkpoint, episodes, workers, device)
        return (time.perf_counter() - began) / episodes

    def theirs(_: int) -> float:
        assert peer is not None
        began = time.perf_counter()
        found[PEER] = summarize(evaluate_with_peer(peer, open_policy(checkpoint, device), seeds, LANES))
        return (time.perf_counter() - began) / episodes

    # In the first round ours goes first, so the parts know how much work there was.
    contestants: dict[str, Contestant] = {OURS: ours}
    if peer is not None:
        contestants[PEER] = theirs
    contestants |= {WORLDS: _worlds(found, workers), PRODUCTS: _products(found, policy)}
    pairs = [(name, OURS) for name in contestants if name != OURS]
    what = f"an episode of {episodes}, {workers} worker{'s' * (workers > 1)}"
    comparison = compare(what, contestants, pairs, rounds=rounds, equal_turns=False, on_round=on_round)
    steps, plans = _counted(found[OURS], policy)
    scores = {name: {key: result[key] for key in _TOLD} for name, result in found.items()}
    same = _same(found[OURS], found[PEER]) if peer is not None else None
    return Evaluations(episodes, workers, LANES, steps, plans, plans * _flops(policy), scores, same, comparison)


def compare_growth(
    checkpoint: str,
    *,
    episodes: Sequence[int],
    workers: Sequence[int],
    device: str,
    rounds: int,
    on_round: Callable[[], None] = lambda: None,
) -> list[Growth]:
    """Times ours for each number of episodes with each number of processes, in turns."""

    def play(count: int, processes: int) -> Contestant:
        def whole(_: int) -> float:
            began = time.perf_counter()
            _evaluate(checkpoint, count, processes, device)
            return time.perf_counter() - began

        return whole

    contestants = {f"{count}, {processes}": play(count, processes) for count in episodes for processes in workers}
    found = compare("", contestants, [], rounds=rounds, equal_turns=False, on_round=on_round).times_us
    return [Growth(processes, {count: found[f"{count}, {processes}"] for count in episodes}) for processes in workers]


def _evaluate(checkpoint: str, episodes: int, workers: int, device: str) -> dict[str, Any]:
    return evaluate(
        checkpoint, episodes=episodes, seed=FIRST_SEED, workers=workers, device=device, protocol="gym_pusht"
    )


def _worlds(found: Mapping[str, dict[str, Any]], workers: int) -> Contestant:
    """One step after the other in as many processes, each with a core of its own, and nothing else to do."""
    env: Any = gym.make(PUSHT_ID).unwrapped
    timed = contact_rich_episodes(_TIMED_EPISODES, _TIMED_STEPS)

    def play(_: int) -> float:
        per_step = sum(time_steps(env, one.seed, one.actions) for one in timed) / len(timed)
        records = found[OURS]["records"]
        return per_step * sum(record["steps"] for record in records) / len(records) / min(workers, usable_cores())

    return play


def _products(found: Mapping[str, dict[str, Any]], policy: DiffusionPolicy) -> Contestant:
    one_plan = matrix_products(_flops(policy), torch.float32, policy.device)

    def play(index: int) -> float:
        return one_plan(index) * _counted(found[OURS], policy)[1] / len(found[OURS]["records"])

    return play


def _counted(result: Mapping[str, Any], policy: DiffusionPolicy) -> tuple[int, int]:
    """Steps and plans of an evaluation."""
    lengths = [record["steps"] for record in result["records"]]
    return sum(lengths), sum(-(-length // policy.config.action_horizon) for length in lengths)


def _same(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> int:
    pairs = zip(ours["records"], theirs["records"], strict=True)
    return sum(a["steps"] == b["steps"] and abs(a["score"] - b["score"]) < _SAME_SCORE for a, b in pairs)


def _flops(policy: DiffusionPolicy) -> int:
    """Operations of one plan among those of as many lanes."""
    return plan_flops(policy, LANES, 1, policy.config.steps) // LANES
