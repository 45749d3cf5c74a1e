"""`diffpolicy bench env`: Push-T beside gym-pusht, agreement and speed.

What is measured lives in `diffpolicy.benchmarking`; here are only arguments and the order of things.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro
from diffpolicy_envs.pusht import PROTOCOLS
from rich.console import Console

from diffpolicy.benchmarking import environment, environment_report, environment_speed
from diffpolicy.benchmarking.peer import Peer
from diffpolicy.commands.bench_peer import PeerPython, gym_pusht
from diffpolicy.commands.bench_run import Flag, Out, measuring, progress
from diffpolicy.errors import ConfigError

_PARTS = ("starts", "trajectories", "speed")


@dataclass(frozen=True)
class EnvArguments:
    """Push-T beside gym-pusht 0.1.8: do they agree, and which is faster?

    gym-pusht needs a pymunk that ours does not, so it gets a virtual environment of its own, made on the first run
    (about 360 MB, in ~/.cache/diffpolicy/peers or below $XDG_CACHE_HOME). For times worth quoting, let the machine rest.

    For example:
      diffpolicy bench env
      diffpolicy bench env --only speed --rounds 100 --out env.json
      diffpolicy bench env --peer ~/venvs/gym-pusht/bin/python
      diffpolicy bench env --no-peer
    """

    only: Annotated[
        tuple[Literal["starts", "trajectories", "speed"], ...],
        tyro.conf.arg(metavar="PART", help_behavior_hint="(default: all)"),
    ] = ()
    """Parts to run: starts, trajectories, speed."""
    rounds: int = 60
    """Rounds in which the two take turns, for every time that is measured."""
    peer: PeerPython = None
    """A Python that has gym-pusht, instead of the one this command makes."""
    no_peer: Flag = 0
    """Time ours alone; nothing is installed."""
    quick: Flag = 0
    """A few seconds instead of minutes: to see that it runs, not to be quoted."""
    out: Out = None
    """Write everything to this JSON file too: machine, versions, medians and spreads."""


@dataclass(frozen=True)
class _Sizes:
    starts: int
    trajectories: int
    steps: int
    rounds: int


def env(arguments: EnvArguments) -> None:
    """Measures agreement and speed of Push-T, prints them, and writes them where asked."""
    parts = _checked_parts(arguments)
    quick = bool(arguments.quick)
    sizes = _Sizes(20, 4, 20, min(arguments.rounds, 3)) if quick else _Sizes(1000, 200, 100, arguments.rounds)
    with (
        measuring(
            "environment", "pymunk", "gymnasium", "numpy", rounds=arguments.rounds, quick=quick, out=arguments.out
        ) as (result, console),
        gym_pusht(arguments.peer, left_out=bool(arguments.no_peer)) as peer,
    ):
        result["peer"] = peer.ask("versions") if peer else None
        result |= _measure(peer, parts, sizes, console)


def _checked_parts(arguments: EnvArguments) -> tuple[str, ...]:
    if not arguments.no_peer:
        return arguments.only or _PARTS
    absent = [part for part in arguments.only if part != "speed"]
    if absent:
        raise ConfigError(f"--only {absent[0]} compares with the peer, which --no-peer leaves out; drop one of them")
    return ("speed",)


def _measure(peer: Peer | None, parts: tuple[str, ...], sizes: _Sizes, console: Console) -> dict[str, Any]:
    found: dict[str, Any] = {}
    episodes = environment.contact_rich_episodes(sizes.trajectories, sizes.steps)
    if peer is not None and "starts" in parts:
        starts = [environment.compare_starts(peer, protocol, sizes.starts) for protocol in PROTOCOLS]
        environment_report.print_starts(starts, console)
        found["starts"] = [dataclasses.asdict(one) | {"agrees": one.agrees} for one in starts]
    if peer is not None and "trajectories" in parts:
        with progress("trajectories", len(episodes)) as advance:
            trajectories = environment.compare_trajectories(peer, episodes, advance)
        environment_report.print_trajectories(trajectories, console)
        found["trajectories"] = dataclasses.asdict(trajectories) | {"agrees": trajectories.agrees}
    if "speed" in parts:
        with progress("speed", environment_speed.COMPARISONS * sizes.rounds) as advance:
            speed = environment_speed.compare_speed(peer, episodes, sizes.rounds, advance)
        environment_report.print_speed(speed, console)
        found["speed"] = [dataclasses.asdict(comparison) for comparison in speed]
    return found
