"""What comes in from outside, checked once: names, numbers, states, goals. Errors say what was found and what is valid."""

import difflib
import math
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float

from .geometry import WORKSPACE_PX, Pose, block_corners, wrap_angle

# The agent stays inside the workspace: its position is an average of where it was and where it was sent. The block
# can be pressed through a wall, but no farther than the agent reaches, which these bounds hold with room to spare.
POSITION_LOW_PX: Final = -256.0
POSITION_HIGH_PX: Final = 768.0

SCALE_LOW: Final = 0.5
SCALE_HIGH: Final = 1.5

# Between the inner sides of the walls.
TABLE_LOW_PX: Final = 7.0
TABLE_HIGH_PX: Final = 504.0

_REPR: Final = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 100


def require_one_of(what: str, found: object, valid: Iterable[str], also: str | None = None) -> None:
    """Refuses a name that is not among the valid ones, with the nearest of them.

    Raises:
        ValueError: If it is not, listing the valid ones.
    """
    names = list(valid)
    if isinstance(found, str) and found in names:
        return
    close = difflib.get_close_matches(str(found), names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    choices = ", ".join([*map(repr, names), *([also] if also else [])])
    raise ValueError(f"{what}: found {shown(found)}, expected one of {choices}{hint}")


def require_count(what: str, found: object) -> None:
    """Refuses what is not a whole number of at least 1.

    Raises:
        ValueError: If it is not.
    """
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise ValueError(f"{what}: expected a whole number of at least 1, found {found!r}")


def require_options(what: str, found: object, valid: Iterable[str]) -> Mapping[str, Any]:
    """Returns options by name, empty for None, refusing unknown names.

    Raises:
        ValueError: If it is no mapping, or a name is not among the valid ones.
    """
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        names = ", ".join(map(repr, valid))
        raise ValueError(
            f"{what}: found {shown(found)} of type {type(found).__name__}, expected a dictionary of {names}"
        )
    for name in found:
        require_one_of(what, name, valid)
    return found


def checked_numbers(what: str, found: object, count: int) -> Float[np.ndarray, "count"]:
    """Returns the value as float64 numbers.

    Raises:
        ValueError: If it is not `count` finite real numbers, saying what it is instead.
    """
    expected = f"expected {count} finite numbers"
    try:
        array = np.asarray(found)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{what}: {expected}, found {shown(found)}") from error
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{what}: {expected}, found {shown(found)} of type {type(found).__name__} ({array.dtype})")
    if array.shape != (count,):
        raise ValueError(f"{what}: {expected}, found shape {array.shape}; expected shape ({count},)")
    numbers = array.astype(np.float64)
    if not all(map(math.isfinite, numbers.tolist())):
        raise ValueError(f"{what}: {expected}, found {numbers.tolist()}")
    return numbers


def checked_actions(found: object, count: int) -> Float[np.ndarray, "count 2"]:
    """Returns target positions of so many worlds as float64 numbers.

    Raises:
        ValueError: If they are not two finite real numbers for each world, naming the first world that they are not for.
    """
    expected = f"expected finite numbers of shape ({count}, 2)"
    try:
        array = np.asarray(found)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"actions: {expected}, found {found!r}") from error
    if array.dtype.kind not in "fiu":
        raise ValueError(f"actions: {expected}, found {type(found).__name__} of {array.dtype}")
    if array.shape != (count, 2):
        raise ValueError(f"actions: {expected}, found shape {array.shape}")
    numbers = array.astype(np.float64, copy=False)
    finite = np.isfinite(numbers)
    if not finite.all():
        world = int(np.flatnonzero(~finite.all(axis=1))[0])
        raise ValueError(f"actions[{world}]: expected 2 finite numbers, found {numbers[world].tolist()}")
    return numbers


def checked_mask(what: str, found: object, count: int) -> Bool[np.ndarray, "count"]:
    """Returns a mask that chooses some of so many worlds.

    Raises:
        TypeError: If it is not an array of booleans, as Gymnasium demands.
        ValueError: If it has another shape or chooses none.
    """
    expected = f"expected an array of booleans of shape ({count},), one of them True at least"
    if not isinstance(found, np.ndarray) or found.dtype != np.bool_:
        kind = found.dtype if isinstance(found, np.ndarray) else type(found).__name__
        raise TypeError(f"{what}: {expected}, found {kind}")
    if found.shape != (count,):
        raise ValueError(f"{what}: {expected}, found shape {found.shape}")
    if not found.any():
        raise ValueError(f"{what}: {expected}, found none")
    return found.copy()


def checked_seeds(found: object, count: int, below: int | None) -> list[int | None]:
    """Returns a seed, or None, for each of so many worlds: an integer seeds world i with itself + i.

    Args:
        found: None, an integer, or a sequence of these, one a world.
        count: Number of worlds.
        below: What seeds must be less than, if anything.

    Raises:
        ValueError: If it is none of these, or a seed is out of range.
    """
    if found is None or isinstance(found, (int, np.integer)):
        seeds: list[Any] = [None if found is None else int(found) + index for index in range(count)]
    elif isinstance(found, (Sequence, np.ndarray)) and not isinstance(found, str):
        seeds = list(found)
    else:
        raise ValueError(f"seed: expected None, an integer or {count} of these, found {found!r}")
    if len(seeds) != count:
        raise ValueError(f"seed: expected {count} seeds, one for each world, found {len(seeds)}")
    return [checked_seed(f"seed of world {index}", seed, below) for index, seed in enumerate(seeds)]


def checked_seed(what: str, found: object, below: int | None) -> int | None:
    """Returns a seed, or None.

    Raises:
        ValueError: If it is neither None nor an integer of at least 0, less than `below`, if that is given.
    """
    if found is None:
        return None
    if not isinstance(found, (int, np.integer)) or found < 0 or (below is not None and found >= below):
        limit = "" if below is None else f" and less than {below}, for this protocol"
        raise ValueError(f"{what}: expected an integer of at least 0{limit}, found {shown(found)}")
    return int(found)


def checked_state(what: str, found: object) -> Float[np.ndarray, "5"]:
    """Returns a state (agent x, y, block x, y, angle) that may be set.

    Raises:
        ValueError: If it is not five finite numbers, the agent is outside the workspace, from where it could push the block
            out of the observation space, or the block is outside that: the engine breaks on huge numbers.
    """
    state = checked_numbers(what, found, 5)
    bounds = {"agent": (0.0, float(WORKSPACE_PX)), "block": (POSITION_LOW_PX, POSITION_HIGH_PX)}
    for (who, (low, high)), position in zip(bounds.items(), (state[:2].tolist(), state[2:4].tolist()), strict=True):
        if not all(low <= value <= high for value in position):
            raise ValueError(f"{what}: found the {who} at {position} px, expected both numbers in [{low:g}, {high:g}]")
    return state


def checked_scale(what: str, found: object) -> float:
    """Returns a scale of the block.

    Raises:
        ValueError: If it is not one number within bounds.
    """
    number = isinstance(found, (int, float, np.integer, np.floating)) and not isinstance(found, bool)
    if not number or not SCALE_LOW <= found <= SCALE_HIGH:  # type: ignore[operator]
        raise ValueError(
            f"{what}: expected a number in [{SCALE_LOW:g}, {SCALE_HIGH:g}] or 'random', found {shown(found)}"
        )
    return float(found)  # type: ignore[arg-type]


def checked_goal(what: str, found: object, scale: float) -> Pose:
    """Returns a goal pose whose outline lies between the walls.

    Raises:
        ValueError: If it is not three finite numbers, or the outline of a block of this scale would leave the table.
    """
    x, y, angle = checked_numbers(what, found, 3).tolist()
    goal = (x, y, float(wrap_angle(np.array(angle))))
    if not lies_on_table(goal, scale):
        raise ValueError(
            f"{what}: the outline at x {x:g}, y {y:g}, angle {angle:g} would leave the table; "
            f"every corner must lie in [{TABLE_LOW_PX:g}, {TABLE_HIGH_PX:g}] px"
        )
    return goal


def lies_on_table(pose: Pose, scale: float, margin_px: float = 0.0) -> bool:
    """Tells whether the block's whole outline at this pose lies between the walls, this far from them at least."""
    corners = block_corners(np.array(pose), scale)
    return bool(corners.min() >= TABLE_LOW_PX + margin_px and corners.max() <= TABLE_HIGH_PX - margin_px)


def shown(found: object) -> str:
    """Returns what was found as a message shows it: in one line, and a short one."""
    return " ".join(_REPR.repr(found).split())
