"""`diffpolicy visualize field`: the score or the velocity that draws plans out of the noise."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console

from diffpolicy.commands.arguments import results_folder, short_name
from diffpolicy.commands.moment import MomentArguments, moment_of
from diffpolicy.errors import ConfigError

if TYPE_CHECKING:
    from diffpolicy.evaluation.moment import Moment

_STEPS = 20


@dataclass(frozen=True)
class FieldArguments(MomentArguments):
    """Draw the field that draws plans out of the noise, as arrows over the plane of one of their actions.

    Writes field.png: the score (the gradient of log p_t(x | y)) or the velocity of denoising at falling levels of noise,
    with the density and samples. With --film True also field.gif.

    For example:
      diffpolicy visualize field pusht-state
      diffpolicy visualize field pusht-state --what velocity --action 12 --levels 4
      diffpolicy visualize field runs/my_robot --seed 500003 --at 24 --grid 24
    """

    n: int = 256
    """Sequences to sample: the field of one action is a mean over the others in them."""
    steps: int | None = None
    """Network evaluations, hence levels of noise to choose from; 20, or the policy's own number where that is more."""
    what: Literal["score", "velocity"] = "score"
    """What the arrows are."""
    action: int | None = None
    """Which action of a plan, the first is 0; the last one that is executed unless given."""
    levels: int = 5
    """Levels of noise to draw."""
    grid: int = 18
    """Arrows along each side."""
    near: int = 16
    """Samples around each arrow that it is a mean of."""
    film: bool = False
    """Also draw field.gif, the field at each step's level of noise: as many times the work."""


def draw_field(arguments: FieldArguments) -> None:
    """Draw, and say what was written."""
    for path in start(arguments, arguments.out or results_folder("visualize", arguments.checkpoint)):
        Console(highlight=False, soft_wrap=True, markup=False).print(f"written: {path}")


def start(arguments: FieldArguments, folder: Path) -> list[Path]:
    """Act up to the step, sample, ask the network for the field, draw. Returns the files written."""
    from diffpolicy.evaluation.moment_field import field_levels, frames_at
    from diffpolicy.visualization.field import field_frames, field_picture
    from diffpolicy.visualization.video import write_picture, write_video

    console = Console(highlight=False, soft_wrap=True, markup=False)
    if arguments.levels < 2 or arguments.grid < 2:
        raise ConfigError(f"--levels is {arguments.levels} and --grid is {arguments.grid}; both must be at least 2")
    moment = _finer(moment_of(arguments), arguments)
    action = moment.policy.executed.stop - 1 if arguments.action is None else arguments.action
    folder.mkdir(parents=True, exist_ok=True)
    with console.status("asking the network"):
        levels = field_levels(
            moment,
            action,
            what=arguments.what,
            levels=None if arguments.film else arguments.levels,
            n=arguments.n,
            grid=arguments.grid,
            near=arguments.near,
        )
    which = f"action {action} of 0 to {moment.policy.config.pred_horizon - 1}"
    where = f"{which}; {short_name(arguments.checkpoint)}, {arguments.begun}, control step {arguments.at}"
    look: dict[str, Any] = {"quantity": arguments.what, "subtitle": where, "agent_px": moment.agent_px}
    look["workspace_px"] = moment.task.workspace_px
    written = [folder / "field.png"]
    picked = (
        frames_at([level.noise_level for level in levels], arguments.levels) if arguments.film else range(len(levels))
    )
    write_picture(written[0], field_picture([levels[frame] for frame in picked], moment.scene, **look))
    if arguments.film:
        written.append(folder / "field.gif")
        write_video(written[1], field_frames(levels, moment.scene, **look), fps=5, hold_last_s=2.0)
    return written


def _finer(moment: Moment, arguments: FieldArguments) -> Moment:
    """The moment, solved in more steps than the policy needs: the field has a level of noise for each."""
    from diffpolicy.config import DDPMConfig

    objective = moment.policy.config.objective
    if arguments.steps is not None or moment.sampler == "direct":
        return moment
    most = objective.train_timesteps if isinstance(objective, DDPMConfig) else _STEPS
    return dataclasses.replace(moment, steps=max(moment.steps, min(_STEPS, most)))
