"""What a store says about itself, in the same words whoever records it: the expert, a person at the mouse, a conversion."""

import math
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

from diffpolicy_envs import PUSHT_ID
from diffpolicy_envs.pusht import WORKSPACE_PX
from diffpolicy_envs.pusht.physics import CONTROL_PERIOD_S

from diffpolicy_demos.schema import (
    CONTROL_HZ_ATTR,
    CREATED_WITH_ATTR,
    ENV_ATTR,
    ENV_KWARGS_ATTR,
    ENV_VERSION_ATTR,
    LAYOUT_ATTR,
    SOURCE_ATTR,
)

_SIDE = [0.0, float(WORKSPACE_PX)]
_TURN = [0.0, math.tau]


def _numbers(names: str, units: str, ranges: Iterable[list[float] | None]) -> dict[str, Any]:
    return {"names": names.split(", "), "units": units.split(", "), "ranges": list(ranges)}


#: By key, what the numbers along the last axis are, their units, and the least and greatest that can occur, or null.
#: Bodies are pushed against walls and through them, so only what is commanded or turned has a range.
PUSHT_LAYOUT: Mapping[str, Mapping[str, Any]] = {
    "action": _numbers("target x, target y", "px, px", [_SIDE, _SIDE]),
    "state": _numbers(
        "agent x, agent y, block x, block y, block angle", "px, px, px, px, rad", [None, None, None, None, _TURN]
    ),
    "agent_pos": _numbers("agent x, agent y", "px, px", [None, None]),
    "agent_vel": _numbers("agent velocity x, agent velocity y", "px/s, px/s", [None, None]),
    "keypoints": _numbers("point x, point y", "px, px", [None, None]),
    "pixels": _numbers("red, green, blue", "1, 1, 1", [[0.0, 255.0]] * 3),
    "goal_pose": _numbers("goal x, goal y, goal angle", "px, px, rad", [_SIDE, _SIDE, _TURN]),
    "scale": _numbers("size of block and goal", "1", [None]),
    "n_contacts": _numbers("contact points", "1", [None]),
}


def pusht_attrs(
    source: str, env_kwargs: Mapping[str, Any] | None = None, keys: Iterable[str] | None = None
) -> dict[str, Any]:
    """The root attributes of a store of Push-T episodes, for `create_store(..., attrs=pusht_attrs("expert"))`.

    Args:
        source: Who acted: "expert", "mouse", or where the episodes were converted from.
        env_kwargs: What the environment was made with, as JSON.
        keys: The keys to describe under `layout`; all that Push-T knows by default, and never others.

    Returns:
        `env_id`, `env_version`, `env_kwargs`, `source`, `control_hz`, `layout` and `created_with`.
    """
    described = PUSHT_LAYOUT if keys is None else {key: PUSHT_LAYOUT[key] for key in keys if key in PUSHT_LAYOUT}
    return {
        ENV_ATTR: PUSHT_ID,
        ENV_VERSION_ATTR: version("diffpolicy"),
        ENV_KWARGS_ATTR: dict(env_kwargs or {}),
        SOURCE_ATTR: source,
        CONTROL_HZ_ATTR: 1 / CONTROL_PERIOD_S,
        LAYOUT_ATTR: {key: dict(numbers) for key, numbers in described.items()},
        CREATED_WITH_ATTR: ", ".join(f"{name} {version(name)}" for name in ("diffpolicy", "pymunk", "zarr")),
    }
