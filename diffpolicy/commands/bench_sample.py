"""`diffpolicy bench sample`: how long a plan takes, how it grows, and how soon the program is there.

What is measured lives in `diffpolicy.benchmarking`; here are only arguments and the order of things.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console

from diffpolicy.commands.bench_run import Flag, Out, measuring, progress

_PARTS = ("plans", "latency", "scaling", "start")
_ROWS = (1, 64)


@dataclass(frozen=True)
class SampleArguments:
    """A plan: beside the same network in a plain diffusers loop, beside the machine's own limit, and beside 100 ms.

    Both ways must give the same plans before anything is timed. The plain loop calls the network with time and
    observation at every step and has a diffusers scheduler move on. For times worth quoting, let the machine rest.

    For example:
      diffpolicy bench sample
      diffpolicy bench sample runs/pusht_state_mlp --rounds 100 --out sampling.json
      diffpolicy bench sample --only latency --device cuda
    """

    checkpoint: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="[CHECKPOINT]")] = "pusht-state"
    """A released name, a checkpoint's folder or a run's folder; its sampler is euler or ddim."""
    only: Annotated[
        tuple[Literal["plans", "latency", "scaling", "start"], ...],
        tyro.conf.arg(metavar="PART", help_behavior_hint="(default: all)"),
    ] = ()
    """Parts to run: plans, latency (of a thousand single plans), scaling, start (of whole processes)."""
    device: str = "cpu"
    """Where the network runs: auto, cpu, cuda or mps."""
    rounds: int = 30
    """Rounds in which all take turns, for every time that is measured; a third of them for scaling and start."""
    quick: Flag = 0
    """Seconds instead of minutes: to see that it runs, not to be quoted."""
    out: Out = None
    """Write everything to this JSON file too: machine, versions, medians and spreads."""


@dataclass(frozen=True)
class _Sizes:
    rounds: int
    fewer_rounds: int
    plans: int
    steps: tuple[int, ...]
    samples: tuple[int, ...]


def sampling(arguments: SampleArguments) -> None:
    """Measures how long plans take, prints it, and writes it where asked.

    Raises:
        ConfigError: No rounds, no such device, a folder in place of a file to write, or a sampler without a plain loop.
        CheckpointError: No such checkpoint.
        OSError: No space or no permission.
    """
    quick = bool(arguments.quick)
    sizes = _Sizes(
        arguments.rounds, -(-arguments.rounds // 3), 1000, (1, 2, 5, 10, 20, 50, 100), tuple(2**k for k in range(10))
    )
    if quick:
        sizes = _Sizes(min(arguments.rounds, 3), 1, 20, (1, 2), (1, 4))
    with measuring("sampling", "torch", "diffusers", rounds=arguments.rounds, quick=quick, out=arguments.out) as (
        result,
        console,
    ):
        result |= _measure(arguments, arguments.only or _PARTS, sizes, console)


def _measure(arguments: SampleArguments, parts: tuple[str, ...], sizes: _Sizes, console: Console) -> dict[str, Any]:
    import torch  # here, for `diffpolicy bench --help` needs none

    from diffpolicy.benchmarking import sampling_report, sampling_speed, start_up

    subject = sampling_speed.load_subject(arguments.checkpoint, arguments.device, max(_ROWS))
    found: dict[str, Any] = {"checkpoint": arguments.checkpoint, "torch_threads": torch.get_num_threads()}
    found["device"] = str(subject.policy.device)
    if "plans" in parts:
        policies = [subject.policy]
        policies += [sampling_speed.with_ddim(subject.policy)] if subject.policy.config.sampler == "euler" else []
        with progress("plans", len(policies) * len(_ROWS) * sizes.rounds) as advance:
            plans = [
                sampling_speed.compare_plans(policy, subject.first(rows), sizes.rounds, advance)
                for policy in policies
                for rows in _ROWS
            ]
        sampling_report.print_plans(plans, console)
        found["plans"] = [dataclasses.asdict(one) for one in plans]
    if "latency" in parts:
        with progress("latency", sizes.plans + sampling_speed.UNTIMED) as advance:
            latency = sampling_speed.measure_latency(subject, sizes.plans, advance)
        sampling_report.print_latency(latency, console)
        found["latency"] = dataclasses.asdict(latency)
    if "scaling" in parts:
        with progress("scaling", 2 * sizes.fewer_rounds) as advance:
            growths = [
                sampling_speed.scale_steps(subject, sizes.steps, sizes.fewer_rounds, advance),
                sampling_speed.scale_samples(subject, sizes.samples, sizes.fewer_rounds, advance),
            ]
        sampling_report.print_scaling(growths, console)
        found["scaling"] = [dataclasses.asdict(growth) for growth in growths]
    if "start" in parts:
        with progress("start", sizes.fewer_rounds) as advance:
            start = start_up.compare_start_up(sizes.fewer_rounds, advance)
        sampling_report.print_start(start, console)
        found["start"] = dataclasses.asdict(start)
    return found
