"""`diffpolicy bench train`: how long a training step takes, where its time goes, and how it grows.

What is measured lives in `diffpolicy.benchmarking`; here are only arguments and the order of things.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console

from diffpolicy.commands.bench_run import Flag, Out, measuring, progress
from diffpolicy.errors import ConfigError

_PARTS = ("steps", "parts", "scaling")


@dataclass(frozen=True)
class TrainArguments:
    """A training step: beside the same network in plain PyTorch, and beside the machine's own matrix products.

    mlp is the network of `demo`, unet1d that of the paper's recipe; both learn from the bundled demonstrations and observe
    `state`, so that this runs everywhere. Two cores take some twenty minutes, nearly all of them for unet1d. For times worth
    quoting, let the machine rest.

    For example:
      diffpolicy bench train
      diffpolicy bench train --backbone mlp --rounds 100 --out training.json
      diffpolicy bench train --backbone mlp --only steps --compile
      diffpolicy bench train --backbone unet1d --device cuda --batch 1024
    """

    backbone: Literal["mlp", "unet1d", "both"] = "both"
    """Whose steps."""
    batch: int = 256
    """Windows in a step."""
    only: Annotated[
        tuple[Literal["steps", "parts", "scaling"], ...],
        tyro.conf.arg(metavar="PART", help_behavior_hint="(default: all)"),
    ] = ()
    """Parts to run: steps, parts (of a step's time), scaling (with batch and width)."""
    compile: Flag = 0
    """Also measure what torch.compile takes and saves; it needs a C++ compiler."""
    device: str = "cpu"
    """Where the network runs: auto, cpu, cuda or mps."""
    rounds: int = 20
    """Rounds in which all take turns, for every time that is measured; a quarter of them for scaling."""
    quick: Flag = 0
    """Seconds instead of minutes: to see that it runs, not to be quoted."""
    out: Out = None
    """Write everything to this JSON file too: machine, versions, medians and spreads."""


@dataclass(frozen=True)
class _Sizes:
    rounds: int
    fewer_rounds: int
    batch: int
    batches: tuple[int, ...]
    widths: dict[str, tuple[int, ...]]


def training(arguments: TrainArguments) -> None:
    """Measures how long training steps take, prints it, and writes it where asked.

    Raises:
        ConfigError: Numbers below 1, no such device, a folder in place of a file to write, or nothing to compile with.
        OSError: No space or no permission.
    """
    if arguments.batch < 1:
        raise ConfigError(f"--batch is {arguments.batch}; expected at least 1")
    quick = bool(arguments.quick)
    sizes = _Sizes(
        arguments.rounds,
        -(-arguments.rounds // 4),
        arguments.batch,
        (32, 64, 128, 256, 512, 1024),
        {"mlp": (128, 256, 512, 1024), "unet1d": (64, 128, 256)},
    )
    if quick:
        sizes = _Sizes(
            min(arguments.rounds, 2), 1, min(arguments.batch, 8), (2, 4), {"mlp": (8, 16), "unet1d": (8, 16)}
        )
    with measuring("training", "torch", rounds=arguments.rounds, quick=quick, out=arguments.out) as (result, console):
        import torch  # here, for `diffpolicy bench --help` needs none

        from diffpolicy.device import chosen_device

        device = torch.device(chosen_device(arguments.device))
        result |= {"device": device.type, "torch_threads": torch.get_num_threads()}
        if device.type == "cuda":
            result["gpu"] = torch.cuda.get_device_name(device)
        networks = ("mlp", "unet1d") if arguments.backbone == "both" else (arguments.backbone,)
        result["networks"] = {
            network: dict(_measure(arguments, network, device, sizes, console)) for network in networks
        }


def _measure(
    arguments: TrainArguments, network: str, device: Any, sizes: _Sizes, console: Console
) -> Iterator[tuple[str, Any]]:
    from diffpolicy.benchmarking import scaling_report, training_report, training_speed

    parts = arguments.only or _PARTS
    if "steps" in parts:
        with progress(f"{network}: steps", sizes.rounds) as advance:
            steps = training_speed.compare_steps(network, sizes.batch, device, sizes.rounds, advance)
        training_report.print_steps(steps, console)
        yield "steps", dataclasses.asdict(steps)
    if arguments.compile:
        with progress(f"{network}: compiled", sizes.rounds) as advance:
            compiled = training_speed.compare_compiled(network, sizes.batch, device, sizes.rounds, advance)
        training_report.print_compiled(compiled, console)
        yield "compiled", dataclasses.asdict(compiled) | {"break_even_steps": compiled.break_even_steps}
    if "parts" in parts:
        with progress(f"{network}: parts", sizes.rounds) as advance:
            split = training_speed.split_step(network, sizes.batch, device, sizes.rounds, advance)
        training_report.print_parts(split, console)
        yield "parts", split
    if "scaling" in parts:
        with progress(f"{network}: scaling", 2 * sizes.fewer_rounds) as advance:
            scalings = [
                training_speed.scale_batch(network, sizes.batches, device, sizes.fewer_rounds, advance),
                training_speed.scale_width(
                    network, sizes.widths[network], sizes.batch, device, sizes.fewer_rounds, advance
                ),
            ]
        scaling_report.print_scaling(scalings, console)
        yield "scaling", [dataclasses.asdict(scaling) for scaling in scalings]
