"""The moment that a picture of plans is about, asked for in the same words by every such command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from diffpolicy.config_objectives import Sampler
from diffpolicy.errors import ConfigError

if TYPE_CHECKING:
    from diffpolicy.evaluation.moment import Moment


@dataclass(frozen=True)
class MomentArguments:
    """Which checkpoint, which start, which control step, and how plans are drawn there."""

    checkpoint: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CHECKPOINT")]
    """A released name, a checkpoint's folder or a run's folder."""
    seed: int = 500_079
    """Of the episode's start and of all noise. (From this one, Push-T has two good ways round the block.)"""
    state: tuple[float, ...] | None = None
    """Start from exactly this state instead, where the environment takes one; Push-T: agent x y, block x y (px), angle
    (rad)."""
    at: int = 0
    """Control step of the episode at which to look."""
    n: int = 64
    """Sequences to sample."""
    steps: int | None = None
    """Network evaluations; the policy's own unless given."""
    sampler: Sampler | None = None
    """The policy's own unless given."""
    protocol: str | None = None
    """How the seed becomes an initial state: for Push-T gym_pusht or diffusion_policy; the experiment's own unless
    given."""
    device: str = "cpu"
    """Where the network runs: auto, cpu, cuda or mps."""
    out: Path | None = None
    """Folder for the pictures; runs/visualize-NAME unless given."""

    @property
    def begun(self) -> str:
        """How the episode began, in words."""
        return f"seed {self.seed}" if self.state is None else f"state {' '.join(map(str, self.state))}"


def moment_of(arguments: MomentArguments) -> Moment:
    """Act from the start of the episode up to the step, and look there. Errors: see `moment_at`."""
    from diffpolicy.evaluation.moment import moment_at

    if arguments.n < 1 or arguments.at < 0:
        raise ConfigError(f"--n is {arguments.n} and --at is {arguments.at}; n must be at least 1, at at least 0")
    return moment_at(
        arguments.checkpoint,
        arguments.seed,
        at=arguments.at,
        state=arguments.state,
        device=arguments.device,
        protocol=arguments.protocol,
        steps=arguments.steps,
        sampler=arguments.sampler,
    )
