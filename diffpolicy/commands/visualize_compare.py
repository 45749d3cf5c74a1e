"""`diffpolicy visualize compare`: the same observation under several policies, samplers or step counts, as a grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro
from rich.console import Console

from diffpolicy.commands.arguments import results_folder, short_name
from diffpolicy.commands.moment import MomentArguments, moment_of
from diffpolicy.config_objectives import SAMPLERS, Sampler
from diffpolicy.errors import ConfigError

if TYPE_CHECKING:
    from diffpolicy.evaluation.moment import Moment
    from diffpolicy.visualization.comparison import Case

# Fewer samples do not tell two overlapping ways from one.
_COUNTED = 512


@dataclass(frozen=True)
class CompareArguments:
    """Draw what several policies plan for one observation, or one policy with several samplers or step counts.

    The first policy acts up to the step; all plan for what is seen there. Rows are policies and samplers, columns step
    counts, or whatever there are several of. A policy that always says the same, such as one that clones by least squares,
    shows its one plan. Writes comparison.png.

    For example:
      diffpolicy visualize compare pusht-state --steps 1 2 4 10
      diffpolicy visualize compare pusht-state --samplers euler heun dpmpp_2m --steps 2 4 10
      diffpolicy visualize compare pusht-state pusht-state-fast pusht-pixels
    """

    checkpoints: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="CHECKPOINT ...")]
    """Released names, checkpoints' folders or runs' folders."""
    steps: tuple[int, ...] = ()
    """Network evaluations; each policy's own unless given. What is not denoised has but its own number."""
    samplers: tuple[Sampler, ...] = ()
    """Each policy's own unless given."""
    noise_scale: float | None = None
    """Standard deviation of the noise that plans start from; unless given, each policy's own in the closed loop."""
    seed: int = 500_079
    """Of the episode's start and of all noise. (From this one, Push-T has two good ways round the block.)"""
    state: tuple[float, ...] | None = None
    """Start from exactly this state instead, where the environment takes one; Push-T: agent x y, block x y (px), angle
    (rad)."""
    at: int = 0
    """Control step of the first policy's episode at which to look; 0 where policies observe different things."""
    n: int = 64
    """Sequences to draw in each panel; modes and spread are those of at least 512."""
    protocol: str | None = None
    """How the seed becomes an initial state: for Push-T gym_pusht or diffusion_policy; the first experiment's own unless
    given."""
    names: tuple[str, ...] = ()
    """What to call the policies in the picture, one for each; by their checkpoints unless given."""
    device: str = "cpu"
    """Where the network runs: auto, cpu, cuda or mps."""
    out: Path | None = None
    """Folder for the picture; runs/compare-NAMES unless given."""


def draw_comparison(arguments: CompareArguments) -> None:
    """Draw, and say what was written."""
    if not arguments.checkpoints:
        raise ConfigError("compare: no checkpoint; give one or several, such as pusht-state")
    folder = arguments.out or results_folder("compare", *arguments.checkpoints)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    console.print(f"written: {start(arguments, folder)}")


def start(arguments: CompareArguments, folder: Path) -> Path:
    """Look, sample for each panel, draw. Returns the file written.

    Raises:
        CheckpointError: there is no such checkpoint.
        ConfigError: numbers out of range, too many panels, or policies that cannot be asked about one moment.
        ObservationError: an environment shows something else than its policy observes.
    """
    from diffpolicy.visualization.comparison import MOST_CASES, comparison_picture
    from diffpolicy.visualization.modes import MOST_PLANS
    from diffpolicy.visualization.video import write_picture

    rows = len(arguments.checkpoints) * max(1, len(arguments.samplers))
    if max(rows, len(arguments.steps)) > MOST_CASES:
        raise ConfigError(
            f"{rows} rows (policies times samplers) and {len(arguments.steps)} step counts; at most {MOST_CASES} of each fit"
        )
    if not 1 <= arguments.n <= MOST_PLANS:
        raise ConfigError(f"--n is {arguments.n}; expected 1 to {MOST_PLANS} sequences")
    if arguments.noise_scale is not None and not 0 <= arguments.noise_scale < math.inf:
        raise ConfigError(f"noise scale is {arguments.noise_scale:g}; a standard deviation is 0 or more, and finite")
    names_of(arguments)
    moments = moments_of(arguments)
    folder.mkdir(parents=True, exist_ok=True)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    with console.status("sampling"):
        cells, row_names, column_names = grid_of(arguments, moments)
    first = moments[0]
    words = [
        f"{arguments.n} of {max(arguments.n, _COUNTED)} samples drawn",
        f"step {arguments.at} of the episode from {'the given state' if arguments.state else f'seed {arguments.seed}'}",
    ]
    picture = comparison_picture(
        cells,
        first.scene,
        rows=row_names,
        columns=column_names,
        agent_px=first.agent_px,
        title=_title(arguments),
        subtitle="  ·  ".join(words),
        workspace_px=first.task.workspace_px,
    )
    path = folder / "comparison.png"
    write_picture(path, picture)
    return path


def moments_of(arguments: CompareArguments) -> list[Moment]:
    """The same moment as each policy observes it.

    A policy that observes what the first does, in the same world, is shown the first's observation. For another, its own
    environment is started alike, which is the same moment only at the start of the episode.

    Raises:
        ConfigError: it would not be the same moment, or plans of different length would be compared.
    """
    moments: list[Moment] = []
    for checkpoint in arguments.checkpoints:
        first = moments[0] if moments else None
        asked = MomentArguments(
            checkpoint,
            seed=arguments.seed,
            state=arguments.state,
            at=0 if moments else arguments.at,
            n=arguments.n,
            protocol=arguments.protocol if first is None else first.settings.protocol,
            device=arguments.device,
        )
        moment = moment_of(asked)
        if first is not None:
            moment = _seen_alike(first, moment, arguments)
            own, expected = moment.policy.config.pred_horizon, first.policy.config.pred_horizon
            if own != expected:
                raise ConfigError(
                    f"{checkpoint} plans {own} actions, {arguments.checkpoints[0]} {expected}; compare equals"
                )
        moments.append(moment)
    return moments


def _seen_alike(first: Moment, moment: Moment, arguments: CompareArguments) -> Moment:
    """What another policy sees of the first's moment, given what it sees at the start of an episode alike."""
    from dataclasses import replace

    same_eyes = (
        moment.policy.obs_shapes == first.policy.obs_shapes
        and moment.policy.config.obs_horizon == first.policy.config.obs_horizon
        and moment.settings.env == first.settings.env
        and moment.settings.env_kwargs == first.settings.env_kwargs
    )
    if same_eyes:
        return replace(moment, history=first.history, scene=first.scene, agent_px=first.agent_px)
    if arguments.at:
        raise ConfigError(
            f"--at {arguments.at}: these policies observe different things or worlds ({', '.join(first.policy.obs_shapes)}; "
            f"{', '.join(moment.policy.obs_shapes)}), which can be compared only at the start: leave --at out, or give "
            "--state"
        )
    if not np.array_equal(first.scene, moment.scene):
        raise ConfigError(
            f"{moment.settings.env} with env_kwargs {dict(moment.settings.env_kwargs)} shows another scene at this start "
            f"than {first.settings.env} with {dict(first.settings.env_kwargs)}: there is no one moment to compare at"
        )
    return moment


def grid_of(
    arguments: CompareArguments, moments: Sequence[Moment]
) -> tuple[list[list[Case | None]], list[str], list[str]]:
    """The panels row by row, and the headings of rows and columns.

    Raises:
        ConfigError: a sampler does not solve a policy's objective, or not in so many steps.
    """
    samplers: tuple[Sampler | None, ...] = arguments.samplers or (None,)
    steps: tuple[int | None, ...] = arguments.steps or (None,)
    cells: list[list[Case | None]] = []
    headings: list[str] = []
    for name, moment in zip(names_of(arguments), moments, strict=True):
        # What is not denoised knows no other sampler or number of steps: it is asked once, as it is.
        denoised = _denoised(moment)
        for sampler in samplers if denoised else (None,):
            asked = steps if denoised else (None,)
            drawn = [_case(moment, sampler, count, arguments) for count in asked]
            cells.append([*drawn, *[None] * (len(steps) - len(drawn))])
            words = [name] if len(moments) > 1 else []
            headings.append(", ".join([*words, sampler] if sampler and denoised else words))
    if len(steps) == 1:
        # One of each: they lie side by side.
        return [[row[0] for row in cells]], [""], [heading or names_of(arguments)[0] for heading in headings]
    return cells, headings, [f"{count} step{'s' * (count != 1)}" for count in arguments.steps]


def names_of(arguments: CompareArguments) -> list[str]:
    """What the policies are called.

    Raises:
        ConfigError: names are given, but not one for each.
    """
    if arguments.names and len(arguments.names) != len(arguments.checkpoints):
        raise ConfigError(
            f"--names: {len(arguments.names)} for {len(arguments.checkpoints)} checkpoints; give one for each"
        )
    return list(arguments.names) or [short_name(checkpoint) for checkpoint in arguments.checkpoints]


def _case(moment: Moment, sampler: Sampler | None, steps: int | None, arguments: CompareArguments) -> Case:
    """Samples of one policy; all panels start from the same noise."""
    import torch

    from diffpolicy.visualization.comparison import Case

    policy = moment.policy
    generator = torch.Generator().manual_seed(arguments.seed)
    shape = (1, max(arguments.n, _COUNTED), policy.config.pred_horizon, policy.action_dim)
    scale = _noise_scale(arguments, moment)
    noise = scale * torch.randn(shape, generator=generator)
    x: Any = policy.sample(moment.batch, steps=steps, sampler=sampler, generator=generator, noise=noise)
    plans = moment.px(x[0])
    shown_scale: float | None = scale
    if np.ptp(plans, axis=0).max() < 1e-2:
        plans, shown_scale = plans[:1], None  # it always says the same
    heading = "not denoised" if len(arguments.steps) > 1 and not _denoised(moment) else None
    return Case(plans, steps or moment.steps, policy.executed, arguments.n, heading, shown_scale)


def _denoised(moment: Moment) -> bool:
    return "direct" not in SAMPLERS[moment.policy.config.objective.name]


def _noise_scale(arguments: CompareArguments, moment: Moment) -> float:
    return moment.policy.config.noise_scale if arguments.noise_scale is None else arguments.noise_scale


def _title(arguments: CompareArguments) -> str:
    several = len(arguments.checkpoints) > 1
    what = f"{len(arguments.checkpoints)} policies" if several else names_of(arguments)[0]
    return f"One observation, {what}"
