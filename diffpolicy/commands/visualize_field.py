"""`diffpolicy visualize field`: the score or the velocity that draws plans out of the noise."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console

from diffpolicy.commands.arguments import results_folder, short_name
from diffpolicy.commands.moment import Moment, MomentArguments, moment_of
from diffpolicy.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from diffpolicy.visualization.field_level import FieldLevel

_STEPS = 20
_CELLS = 128
_TRAILS = 24
_LEAST_NOISE = 0.05  # with less, the picture would be of single samples


@dataclass(frozen=True)
class FieldArguments(MomentArguments):
    """Draw the field that draws plans out of the noise, as arrows over the plane of one of their actions.

    Writes field.png: the score (the gradient of log p(x | y)) or the velocity of denoising at falling levels of noise, with
    the density and samples. With --film True also field.gif.

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
    from diffpolicy.visualization.field import field_frames, field_picture
    from diffpolicy.visualization.video import write_picture, write_video

    console = Console(highlight=False, soft_wrap=True, markup=False)
    if arguments.levels < 2 or arguments.grid < 2:
        raise ConfigError(f"--levels is {arguments.levels} and --grid is {arguments.grid}; both must be at least 2")
    moment = _finer(moment_of(arguments), arguments)
    action = moment.policy.executed.stop - 1 if arguments.action is None else arguments.action
    folder.mkdir(parents=True, exist_ok=True)
    with console.status("asking the network"):
        levels = field_levels(moment, arguments, action)
    which = f"action {action} of 0 to {moment.policy.config.pred_horizon - 1}"
    where = f"{which}; {short_name(arguments.checkpoint)}, seed {arguments.seed}, control step {arguments.at}"
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


def field_levels(moment: Moment, arguments: FieldArguments, action: int) -> list[FieldLevel]:
    """The field at some frames of a denoising, for a film at all, from pure noise to the last that is still noisy."""
    import numpy as np

    from diffpolicy import field
    from diffpolicy.diffusion import look_times
    from diffpolicy.visualization.field_level import FieldLevel, grid_points

    policy, plane = moment.policy, _Plane.of(moment)
    of = {"score": field.score, "velocity": field.velocity}[arguments.what]
    plans, path = moment.sample(arguments.n)
    times = look_times(policy.objective, moment.sampler, moment.steps)
    at = grid_points(arguments.grid, moment.task.workspace_px)
    cells = grid_points(_CELLS, moment.task.workspace_px)
    levels: list[FieldLevel] = []
    noise = [policy.objective.noise_level(t) for t in times]
    for frame in range(len(times)) if arguments.film else frames_at(noise, arguments.levels):
        points = plane.actions(at.reshape(-1, 2))
        states = plane.actions(path[frame])
        found = field.marginal(of, policy, moment.batch, states, points, action, times[frame], near=arguments.near)
        places = plane.actions(np.concatenate([cells.reshape(-1, 2), path[frame, :, action]]))
        density = field.log_density(policy, plane.actions(plans), places, action, times[frame]).exp().cpu().numpy()
        levels.append(
            FieldLevel(
                noise_level=noise[frame],
                arrows=plane.arrows(found, arguments.what).reshape(at.shape),
                density=density[: _CELLS**2].reshape(_CELLS, _CELLS),
                samples_px=path[frame, :, action],
                density_at_samples=density[_CELLS**2 :],
                trails_px=path[: frame + 1, :_TRAILS, action],
            )
        )
    if len(levels) < 2:
        raise ConfigError(
            f"--steps {moment.steps} has one level of noise; a field is drawn at 2 or more: ask for more steps"
        )
    return levels


def frames_at(noise: list[float], levels: int) -> list[int]:
    """The frames to draw: those whose noise falls most nearly by the same factor each time.

    Modes part late: in even steps of noise most panels would show one and the same funnel.
    """
    import numpy as np

    wanted = np.geomspace(1.0, max(min(noise), _LEAST_NOISE), levels)
    return sorted({int(np.abs(np.asarray(noise) - level).argmin()) for level in wanted})


@dataclass(frozen=True)
class _Plane:
    """How the two numbers of an action lie in the picture: px = jacobian action + origin."""

    jacobian: np.ndarray
    origin: np.ndarray

    @classmethod
    def of(cls, moment: Moment) -> _Plane:
        import numpy as np
        import torch

        if moment.policy.action_dim != 2:
            raise ConfigError(
                f"an action has {moment.policy.action_dim} numbers; a field is drawn over the plane of two"
            )
        probes = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [3.0, -2.0]])
        origin, first, second, other = moment.px(probes)
        jacobian = np.stack([first - origin, second - origin], axis=1)
        if not np.allclose(jacobian @ [3.0, -2.0] + origin, other) or abs(np.linalg.det(jacobian)) < 1e-9:
            raise ConfigError(
                f"task {moment.policy.config.task!r}: plan_px(action) does not map the plane of actions straight onto the "
                "picture; a field can only be drawn where it does"
            )
        return cls(jacobian, origin)

    def actions(self, places_px: np.ndarray) -> Any:
        """Places in the picture as actions, a tensor."""
        import numpy as np
        import torch

        return torch.as_tensor((places_px - self.origin) @ np.linalg.inv(self.jacobian).T, dtype=torch.float32)

    def arrows(self, found: Any, what: str) -> np.ndarray:
        """The field in the picture's directions; the velocity as denoising follows it, towards the plans."""
        import numpy as np

        vectors = found.double().cpu().numpy()
        return vectors @ np.linalg.inv(self.jacobian) if what == "score" else -vectors @ self.jacobian.T
