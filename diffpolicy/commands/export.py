"""`diffpolicy export`: a policy for a robot's computer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from diffpolicy.commands.arguments import parse, results_folder
from diffpolicy.config_objectives import Sampler


@dataclass(frozen=True)
class ExportArguments:
    """Write a policy as one file that plans with nothing but torch.

    The file is for `torch.export.load`. Its program takes observations and noise, of any number of robots and plans, and
    returns plans; what else a robot must know is in it as policy.json. Its plans are compared with the policy's own before
    it is kept. docs/deploy.md has the robot's side.

    For example:
      diffpolicy export pusht-state
      diffpolicy export runs/pusht_state_mlp --steps 4 --out policy.pt2
      diffpolicy export pusht-state --steps 2 --warm-start 0.5 --out warm.pt2
      diffpolicy export runs/pusht_keypoints_unet_paper --sampler ddim --steps 10
    """

    checkpoint: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CHECKPOINT")]
    """A released name, a checkpoint's folder or a run's folder."""
    out: Path | None = None
    """The file, ending in .pt2; runs/export-NAME.pt2 unless given."""
    steps: int | None = None
    """Network evaluations a plan, fixed in the file; the policy's own unless given."""
    sampler: Sampler | None = None
    """The policy's own unless given. (ddpm draws noise on the way, so a policy trained for it is exported with ddim.)"""
    warm_start: float = 0.0
    """Share of the way spared by a guess, such as what is left of the plan before, which the program then takes as well."""


def run(argv: list[str]) -> None:
    """Parse, export, say how well the file agrees."""
    arguments: ExportArguments = parse(ExportArguments, argv, prog="diffpolicy export")
    named = results_folder("export", arguments.checkpoint)
    path = arguments.out or named.with_name(f"{named.name}.pt2")

    from diffpolicy.export import PLANS_COMPARED, export_policy

    console = Console(highlight=False, soft_wrap=True, markup=False)
    with console.status("exporting"):
        exported = export_policy(
            arguments.checkpoint,
            path,
            steps=arguments.steps,
            sampler=arguments.sampler,
            warm_start=arguments.warm_start,
        )
    console.print(f"written: {exported.path}")
    own = exported.own_warm_start
    if own != arguments.warm_start:
        console.print(
            f"in closed loop the policy has a warm_start of {own:g}, this program of {arguments.warm_start:g}; "
            "docs/deploy.md says how the two go together"
        )
    console.print(
        f"{path.stat().st_size / 1e6:.1f} MB; its plans for {PLANS_COMPARED} random observations differ from the policy's "
        f"by at most {exported.difference:.1g} in the actions' units, {exported.difference_of_range:.1g} of their range"
    )
