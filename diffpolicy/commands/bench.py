"""`diffpolicy bench`: measure ours beside its peers, on your machine, in one run.

What is measured lives in `diffpolicy.benchmarking`; here are only arguments, help texts and the order of things.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from diffpolicy_envs.pusht import PROTOCOLS
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from diffpolicy.benchmarking import environment, environment_report, environment_speed, peer_gym_pusht
from diffpolicy.benchmarking.machine import describe_machine, describe_versions
from diffpolicy.benchmarking.peer import Peer
from diffpolicy.benchmarking.peer_environment import make_environment, peers_folder, ready_python
from diffpolicy.benchmarking.result import prepare_result, write_result
from diffpolicy.commands.arguments import Subcommand, run_subcommand
from diffpolicy.commands.bench_data import DataArguments, data
from diffpolicy.errors import ConfigError

# pymunk decides what the physics computes; the rest is as pip resolves it.
GYM_PUSHT_REQUIREMENTS = ("gym-pusht==0.1.8", "pymunk==6.11.1")
_PARTS = ("starts", "trajectories", "speed")

_Flag = Annotated[tyro.conf.UseCounterAction[int], tyro.conf.arg(help_behavior_hint="(default: off)")]


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
    peer: Annotated[Path | None, tyro.conf.arg(metavar="PYTHON", help_behavior_hint="(default: made here)")] = None
    """A Python that has gym-pusht, instead of the one this command makes."""
    no_peer: _Flag = 0
    """Time ours alone; nothing is installed."""
    quick: _Flag = 0
    """A few seconds instead of minutes: to see that it runs, not to be quoted."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="(default: none)")] = None
    """Write everything to this JSON file too: machine, versions, medians and spreads."""


@dataclass(frozen=True)
class _Sizes:
    starts: int
    trajectories: int
    steps: int
    rounds: int


def run(argv: list[str]) -> None:
    """Runs `diffpolicy bench` with the arguments after it.

    Raises:
        ConfigError: Arguments that contradict each other, told in one line.
        OSError: No network, no space, no permission, a peer that fails (`PeerError`), told in one line.
        SystemExit: After `--help`, with code 0; with code 2 after one line about arguments that do not fit.
    """
    run_subcommand(argv, _COMMANDS, prog="diffpolicy bench", text=_HELP)


def env(arguments: EnvArguments) -> None:
    """Measures agreement and speed of Push-T, prints them, and writes them where asked."""
    parts = _checked_parts(arguments)
    sizes = _Sizes(20, 4, 20, min(arguments.rounds, 3)) if arguments.quick else _Sizes(1000, 200, 100, arguments.rounds)
    if arguments.out is not None:
        prepare_result(arguments.out)
    console = Console(highlight=False, soft_wrap=True)
    result: dict[str, Any] = {"benchmark": "environment", "machine": describe_machine()}
    result["versions"] = describe_versions("diffpolicy", "pymunk", "gymnasium", "numpy")
    with _gym_pusht(arguments) as peer:
        result["peer"] = peer.ask("versions") if peer else None
        result |= _measure(peer, parts, sizes, console)
    if arguments.out is not None:
        write_result(result, arguments.out)
        console.print(f"written: {arguments.out}", markup=False)


def gym_pusht_folder() -> Path:
    """Where this command keeps the environment that has gym-pusht."""
    return peers_folder() / "gym-pusht-0.1.8"


def _checked_parts(arguments: EnvArguments) -> tuple[str, ...]:
    if arguments.rounds < 1:
        raise ConfigError(f"--rounds is {arguments.rounds}; expected at least 1")
    if not arguments.no_peer:
        return arguments.only or _PARTS
    if arguments.peer is not None:
        raise ConfigError("--no-peer and --peer exclude each other; give one of them")
    absent = [part for part in arguments.only if part != "speed"]
    if absent:
        raise ConfigError(f"--only {absent[0]} compares with the peer, which --no-peer leaves out; drop one of them")
    return ("speed",)


@contextlib.contextmanager
def _gym_pusht(arguments: EnvArguments) -> Iterator[Peer | None]:
    if arguments.no_peer:
        yield None
        return
    python = arguments.peer.expanduser() if arguments.peer else _made_python()
    hint = f"is gym-pusht there? {python} -m pip install {' '.join(GYM_PUSHT_REQUIREMENTS)}"
    with Peer(python, Path(peer_gym_pusht.__file__), hint=hint) as peer:
        yield peer


def _made_python() -> Path:
    folder = gym_pusht_folder()
    python = ready_python(folder, GYM_PUSHT_REQUIREMENTS)
    if python is None:
        # On stderr, where progress goes: what the command prints can be piped.
        said = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
        said.print(f"installing {' '.join(GYM_PUSHT_REQUIREMENTS)} (about 360 MB) into {folder}; this happens once")
        with said.status("installing"):
            python = make_environment(folder, GYM_PUSHT_REQUIREMENTS)
    return python


def _measure(peer: Peer | None, parts: tuple[str, ...], sizes: _Sizes, console: Console) -> dict[str, Any]:
    found: dict[str, Any] = {}
    episodes = environment.contact_rich_episodes(sizes.trajectories, sizes.steps)
    if peer is not None and "starts" in parts:
        starts = [environment.compare_starts(peer, protocol, sizes.starts) for protocol in PROTOCOLS]
        environment_report.print_starts(starts, console)
        found["starts"] = [dataclasses.asdict(one) | {"agrees": one.agrees} for one in starts]
    if peer is not None and "trajectories" in parts:
        with _progress("trajectories", len(episodes)) as advance:
            trajectories = environment.compare_trajectories(peer, episodes, advance)
        environment_report.print_trajectories(trajectories, console)
        found["trajectories"] = dataclasses.asdict(trajectories) | {"agrees": trajectories.agrees}
    if "speed" in parts:
        with _progress("speed", environment_speed.COMPARISONS * sizes.rounds) as advance:
            speed = environment_speed.compare_speed(peer, episodes, sizes.rounds, advance)
        environment_report.print_speed(speed, console)
        found["speed"] = [dataclasses.asdict(comparison) for comparison in speed]
    return found


@contextlib.contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)


_COMMANDS: dict[str, Subcommand] = {
    "env": (EnvArguments, env, "Push-T beside gym-pusht: agreement and speed"),
    "data": (DataArguments, data, "training windows a second, beside plain zarr and a DataLoader"),
}
_HELP = """usage: diffpolicy bench COMMAND ...

Measurements beside peers, which anyone can repeat: both sides in one run on one machine, in alternation.

commands:
{commands}

For example:
  diffpolicy bench env
  diffpolicy bench env --only speed --out env.json
  diffpolicy bench data my_episodes.zarr

`diffpolicy bench COMMAND --help` explains a command's options."""
