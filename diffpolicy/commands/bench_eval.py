"""`diffpolicy bench eval`: how long an evaluation takes, beside the same policy in gym-pusht.

What is measured lives in `diffpolicy.benchmarking`; here are only arguments and the order of things.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console

from diffpolicy.benchmarking.peer import Peer
from diffpolicy.commands.bench_peer import PeerPython, gym_pusht
from diffpolicy.commands.bench_run import Flag, Out, measuring, progress
from diffpolicy.device import usable_cores
from diffpolicy.errors import ConfigError

_PARTS = ("comparison", "scaling")


@dataclass(frozen=True)
class EvalArguments:
    """An evaluation: beside gym-pusht 0.1.8 in gymnasium's AsyncVectorEnv, with the same policy, sampler, lanes and seeds.

    Times are those of whole evaluations, from opening the checkpoint to the score; both must score about the same.
    gym-pusht lives in another Python, as for `diffpolicy bench env`. For times worth quoting, let the machine rest.

    For example:
      diffpolicy bench eval
      diffpolicy bench eval --episodes 100 --rounds 5 --out evaluation.json
      diffpolicy bench eval --peer ~/venvs/gym-pusht/bin/python --only comparison
      diffpolicy bench eval --no-peer
    """

    checkpoint: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="[CHECKPOINT]")] = "pusht-state"
    """A released name, a checkpoint's folder or a run's folder; it observes `state` alone."""
    only: Annotated[
        tuple[Literal["comparison", "scaling"], ...],
        tyro.conf.arg(metavar="PART", help_behavior_hint="(default: both)"),
    ] = ()
    """Parts to run: comparison, scaling (of ours alone, with episodes and workers)."""
    episodes: int = 500
    """How many."""
    workers: int = usable_cores()
    """Our processes."""
    device: str = "cpu"
    """Where the network runs: auto, cpu, cuda or mps."""
    peer: PeerPython = None
    """A Python that has gym-pusht, instead of the one this command makes."""
    no_peer: Flag = 0
    """Time ours alone; nothing is installed."""
    rounds: int = 3
    """How often each evaluates, in turns."""
    quick: Flag = 0
    """A handful of episodes: to see that it runs, not to be quoted."""
    out: Out = None
    """Write everything to this JSON file too: machine, versions, scores, medians and spreads."""


@dataclass(frozen=True)
class _Sizes:
    rounds: int
    episodes: int
    growing: tuple[int, ...]


def evaluation(arguments: EvalArguments) -> None:
    """Measures how long evaluations take, prints it, and writes it where asked.

    Raises:
        ConfigError: Numbers below 1, no such device, a policy that gym-pusht cannot show its states to, or arguments that
            contradict each other.
        CheckpointError: No such checkpoint.
        OSError: A peer that fails (`PeerError`), no space or no permission.
    """
    for name in ("episodes", "workers"):
        if getattr(arguments, name) < 1:
            raise ConfigError(f"--{name} is {getattr(arguments, name)}; expected at least 1")
    quick = bool(arguments.quick)
    sizes = _Sizes(arguments.rounds, arguments.episodes, (50, 100, 200, 500))
    if quick:
        sizes = _Sizes(min(arguments.rounds, 2), min(arguments.episodes, 4), (1, 2))
    with (
        measuring("evaluation", "torch", "gymnasium", rounds=arguments.rounds, quick=quick, out=arguments.out) as (
            result,
            console,
        ),
        gym_pusht(arguments.peer, left_out=bool(arguments.no_peer)) as peer,
    ):
        result["peer"] = peer.ask("versions") if peer else None
        result |= _measure(arguments, peer, arguments.only or _PARTS, sizes, console)


def _measure(
    arguments: EvalArguments, peer: Peer | None, parts: tuple[str, ...], sizes: _Sizes, console: Console
) -> dict[str, Any]:
    from diffpolicy.benchmarking import evaluation_report, evaluation_speed

    checkpoint, device = arguments.checkpoint, arguments.device
    found: dict[str, Any] = {"checkpoint": checkpoint, "device": device}
    evaluation_speed.open_policy(checkpoint, device)  # what cannot be evaluated is told before the work
    if "comparison" in parts:
        with progress("comparison", sizes.rounds) as advance:
            compared = evaluation_speed.compare_evaluations(
                peer,
                checkpoint,
                episodes=sizes.episodes,
                workers=arguments.workers,
                device=device,
                rounds=sizes.rounds,
                on_round=advance,
            )
        evaluation_report.print_comparison(compared, console)
        found["comparison"] = dataclasses.asdict(compared)
    if "scaling" in parts:
        with progress("scaling", sizes.rounds) as advance:
            growths = evaluation_speed.compare_growth(
                checkpoint,
                episodes=sizes.growing,
                workers=sorted({1, arguments.workers}),
                device=device,
                rounds=sizes.rounds,
                on_round=advance,
            )
        evaluation_report.print_growth(growths, console)
        found["scaling"] = [dataclasses.asdict(growth) for growth in growths]
    return found
