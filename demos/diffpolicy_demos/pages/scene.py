"""Push-T's scene as vector drawings: the table with goal and block, and what moves over it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from diffpolicy_envs.pusht import WORKSPACE_PX, block_corners
from jaxtyping import Float

from diffpolicy_demos.pages.charts import chart, panels
from diffpolicy_demos.pages.page import ACCENT, BLOCK, GOAL, INK, SECOND
from diffpolicy_demos.survey import Course

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = 4
_STEM_PX = 26.0  # drawn length of the line that tells an angle


def paths_chart(courses: Sequence[Course]) -> str:
    """Scenes with the ways of agent and block, one an episode.

    Args:
        courses: Episodes of Push-T; at least one.
    """
    rows = -(-len(courses) // _COLUMNS)

    def draw(axes: Sequence["Axes"]) -> None:
        for one, course in zip(axes, courses, strict=False):
            _draw_course(one, course)
        for one in axes[len(courses) :]:
            one.set_axis_off()

    return panels(1100, 296 * rows, (rows, _COLUMNS), draw, "paths")


def starts_chart(courses: Sequence[Course]) -> str:
    """Where the block starts, position and angle, all episodes in one scene.

    Args:
        courses: Episodes of Push-T; at least one.
    """
    poses = np.array([course.states[0, 2:] for course in courses if course.states is not None])
    # The stem points along +y of the block's frame.
    stems = poses[:, :2] + _STEM_PX * np.column_stack([-np.sin(poses[:, 2]), np.cos(poses[:, 2])])
    goals = {tuple(course.goal_pose.tolist()) for course in courses if course.goal_pose is not None}

    def draw(axes: "Axes") -> None:
        # Goals that vary from episode to episode would cover everything.
        _draw_table(axes, np.array(next(iter(goals))) if len(goals) == 1 else None, 1.0)
        axes.plot(*np.stack([poses[:, :2], stems]).transpose(2, 0, 1), color=ACCENT, linewidth=1.1, alpha=0.6)
        axes.scatter(poses[:, 0], poses[:, 1], s=15, color=ACCENT, linewidths=0, zorder=3)
        axes.set_xlabel("x")
        axes.set_ylabel("y")

    return chart(520, 480, draw, "starts of the block")


def _draw_course(axes: "Axes", course: Course) -> None:
    states = course.states
    assert states is not None
    _draw_table(axes, course.goal_pose, course.scale)
    first, last = (block_corners(states[step, 2:], course.scale) for step in (0, -1))
    _polygon(axes, last, facecolor=BLOCK, alpha=0.55, linewidth=0)
    _polygon(axes, first, facecolor="none", edgecolor=BLOCK, linestyle=(0, (3, 2)), linewidth=1.3)
    axes.plot(states[:, 2], states[:, 3], color=SECOND, linewidth=1.3)
    axes.plot(states[:, 0], states[:, 1], color=ACCENT, linewidth=1.3)
    axes.scatter(states[0, 0], states[0, 1], s=42, facecolor="none", edgecolor=ACCENT, linewidth=1.5, zorder=4)
    axes.scatter(states[-1, 0], states[-1, 1], s=42, color=ACCENT, linewidths=0, zorder=4)
    end = f" · coverage {course.coverage[-1]:.2f}" if course.coverage is not None else ""
    axes.set_title(f"episode {course.episode} · {len(states)} steps{end}", fontsize=11.5, color=INK, loc="left")


def _draw_table(axes: "Axes", goal_pose: Float[np.ndarray, "3"] | None, scale: float) -> None:
    axes.set_aspect("equal")
    axes.set_xlim(0, WORKSPACE_PX)
    axes.set_ylim(WORKSPACE_PX, 0)  # y runs down, as in pictures
    axes.grid(False)
    for set_ticks in (axes.set_xticks, axes.set_yticks):
        set_ticks([0, WORKSPACE_PX // 2, WORKSPACE_PX], ["0", f"{WORKSPACE_PX // 2}", f"{WORKSPACE_PX} px"])
    for spine in axes.spines.values():
        spine.set_visible(True)
    if goal_pose is not None:
        _polygon(axes, block_corners(goal_pose, scale), facecolor=GOAL, linewidth=0)


def _polygon(axes: "Axes", corners: Float[np.ndarray, "corners 2"], **look: Any) -> None:
    from matplotlib.patches import Polygon

    axes.add_patch(Polygon(corners, closed=True, **look))
