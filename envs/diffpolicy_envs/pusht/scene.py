"""What is rendered of a world for people: how large, and with which overlays.

The single and the vector environment take the same arguments for it; their checks and the drawing are here, once.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from jaxtyping import Float, UInt8

from .checks import require_count, require_one_of
from .engine import Reading
from .geometry import Pose
from .render import draw_scene

OVERLAYS: Final = ("goal", "action", "plan")


class Scene:
    """Draws worlds at one size with chosen overlays.

    Args:
        size_px: Width and height of the pictures.
        overlays: What to draw beside block and agent, of `OVERLAYS`.

    Raises:
        ValueError: If the size is not a whole number of at least 1, or an overlay is unknown.
    """

    def __init__(self, size_px: int, overlays: Iterable[str]) -> None:
        require_count("render_size_px", size_px)
        self._size_px = size_px
        # A lone name, or what is no list of names at all, is checked as one.
        lone = isinstance(overlays, str) or not isinstance(overlays, Iterable)
        self._overlays = (overlays,) if lone else tuple(overlays)
        for name in self._overlays:
            require_one_of("overlays", name, OVERLAYS)

    def draw(
        self,
        reading: Reading,
        goal_pose: Pose,
        scale: float,
        action: tuple[float, float] | None,
        plan: Float[np.ndarray, "steps 2"] | None,
    ) -> UInt8[np.ndarray, "size size 3"]:
        """Returns a picture (RGB) of a world.

        Args:
            reading: What its physics reads.
            goal_pose: Goal x, y (px) and angle (rad).
            scale: Size of block and goal.
            action: The target that the last step was given, px; None before the first.
            plan: Target positions to come, px; None without one.
        """
        agent_x, agent_y, _, _, *pose = reading
        return draw_scene(
            np.array((agent_x, agent_y, *pose)),
            size_px=self._size_px,
            goal_pose=np.array(goal_pose),
            scale=scale,
            goal="goal" in self._overlays,
            action=np.array(action) if "action" in self._overlays and action else None,
            plan=plan if "plan" in self._overlays else None,
        )


def checked_plan(what: str, found: object) -> Float[np.ndarray, "steps 2"]:
    """Returns a path of target positions, px.

    Raises:
        ValueError: If it is not finite numbers of shape (steps, 2).
    """
    expected = "expected finite numbers of shape (steps, 2)"
    try:
        path = np.asarray(found)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{what}: {expected}, found {type(found).__name__}") from error
    if path.dtype.kind not in "fiu" or path.ndim != 2 or path.shape[1] != 2:
        raise ValueError(f"{what}: {expected}, found {path.dtype} of shape {path.shape}")
    if not np.isfinite(path).all():
        raise ValueError(f"{what}: {expected}, found some that are not finite")
    return path.astype(np.float64)


def checked_plans(found: Sequence[object] | None, count: int) -> list[Float[np.ndarray, "steps 2"] | None]:
    """Returns a path, or None, for each of so many worlds; None stands for none at all.

    Raises:
        ValueError: If there is not one for each world, or a path has another shape than (steps, 2).
    """
    plans = [None] * count if found is None else list(found)
    if len(plans) != count:
        raise ValueError(f"plans: expected {count}, one for each world, found {len(plans)}")
    return [None if plan is None else checked_plan(f"plans[{index}]", plan) for index, plan in enumerate(plans)]
