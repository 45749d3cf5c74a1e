"""The field of one moment, as pictures draw it: over the plane of one action, at falling levels of noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from diffpolicy import field
from diffpolicy.diffusion import look_times
from diffpolicy.errors import ConfigError
from diffpolicy.evaluation.moment import Moment
from diffpolicy.visualization.field_level import FieldLevel, grid_points

_CELLS = 128
_TRAILS = 24
_LEAST_NOISE = 0.05  # with less, the picture would be of single samples


def field_levels(
    moment: Moment,
    action: int,
    *,
    what: Literal["score", "velocity"] = "score",
    levels: int | None = 5,
    n: int = 256,
    grid: int = 18,
    near: int = 16,
) -> list[FieldLevel]:
    """The field at some frames of a denoising, from pure noise to the last that is still noisy.

    Args:
        moment: whose plans; it has as many levels of noise to choose from as its `steps`.
        action: which action of a plan, the first is 0.
        what: the score, or the velocity of denoising.
        levels: how many, those whose noise falls most nearly by the same factor each time; None: all.
        n: plans to sample: the field of one action is a mean over the others in them.
        grid: arrows along each side.
        near: samples around each arrow that it is a mean of.

    Raises:
        ConfigError: the policy has no field or its actions no plane, or there are fewer than two levels.
    """
    policy, plane = moment.policy, _Plane.of(moment)
    of = {"score": field.score, "velocity": field.velocity}[what]
    plans, path = moment.sample(n)
    times = look_times(policy.objective, moment.sampler, moment.steps)
    at = grid_points(grid, moment.task.workspace_px)
    cells = grid_points(_CELLS, moment.task.workspace_px)
    drawn: list[FieldLevel] = []
    noise = [policy.objective.noise_level(t) for t in times]
    for frame in range(len(times)) if levels is None else frames_at(noise, levels):
        points = plane.actions(at.reshape(-1, 2))
        states = plane.actions(path[frame])
        found = field.marginal(of, policy, moment.batch, states, points, action, times[frame], near=near)
        places = plane.actions(np.concatenate([cells.reshape(-1, 2), path[frame, :, action]]))
        density = field.log_density(policy, plane.actions(plans), places, action, times[frame]).exp().cpu().numpy()
        drawn.append(
            FieldLevel(
                noise_level=noise[frame],
                arrows=plane.arrows(found, what).reshape(at.shape),
                density=density[: _CELLS**2].reshape(_CELLS, _CELLS),
                samples_px=path[frame, :, action],
                density_at_samples=density[_CELLS**2 :],
                trails_px=path[: frame + 1, :_TRAILS, action],
            )
        )
    if len(drawn) < 2:
        raise ConfigError(
            f"--steps {moment.steps} has one level of noise; a field is drawn at 2 or more: ask for more steps"
        )
    return drawn


def frames_at(noise: list[float], levels: int) -> list[int]:
    """The frames to draw: those whose noise falls most nearly by the same factor each time.

    Modes part late: in even steps of noise most panels would show one and the same funnel.
    """
    wanted = np.geomspace(1.0, max(min(noise), _LEAST_NOISE), levels)
    return sorted({int(np.abs(np.asarray(noise) - level).argmin()) for level in wanted})


@dataclass(frozen=True)
class _Plane:
    """How the two numbers of an action lie in the picture: px = jacobian action + origin."""

    jacobian: np.ndarray
    origin: np.ndarray

    @classmethod
    def of(cls, moment: Moment) -> _Plane:
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
        return torch.as_tensor((places_px - self.origin) @ np.linalg.inv(self.jacobian).T, dtype=torch.float32)

    def arrows(self, found: Any, what: str) -> np.ndarray:
        """The field in the picture's directions; the velocity as denoising follows it, towards the plans."""
        vectors = found.double().cpu().numpy()
        return vectors @ np.linalg.inv(self.jacobian) if what == "score" else -vectors @ self.jacobian.T
