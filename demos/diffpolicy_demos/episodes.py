"""What an episode must be before it may be written; all is checked before anything is written."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import zarr
from jaxtyping import Shaped

from diffpolicy_demos import checks
from diffpolicy_demos.errors import StoreError
from diffpolicy_demos.schema import STORED_NAMES, policy_keys


def fitting(
    place: str, episode: Mapping[str, Any], stored: Mapping[str, zarr.Array]
) -> dict[str, Shaped[np.ndarray, "steps ..."]]:
    """Checks a new episode against the arrays that a store has.

    Args:
        place: Store and episode, to open messages with.
        episode: Arrays of (steps, ...) by key.
        stored: The store's arrays by stored name. Without an `action` among them the set is not decided yet, and the
            episode decides it.

    Returns:
        The episode's arrays by stored name.

    Raises:
        StoreError: Keys that cannot name an array, arrays missing or unknown, of other shapes, lengths or kinds of
            number, or with NaN or infinity.
    """
    check_keys(place, episode)
    names = {**STORED_NAMES, **policy_keys(stored)}
    values = {names.get(key, key): np.asarray(value) for key, value in episode.items()}
    _leave_out_computed(values, stored)
    expected = set(stored) if "action" in stored else {"action", *values, *stored}
    if set(values) != expected:
        raise StoreError(
            f"{place} has the arrays {', '.join(sorted(values)) or 'none'}; expected {', '.join(sorted(expected))}"
        )
    for name, steps in values.items():
        if steps.dtype.kind not in "biuf" or steps.ndim == 0 or len(steps) == 0:
            raise StoreError(f"{place}: {name!r} is {steps.dtype} {steps.shape}; expected one or more steps of numbers")
        if len(steps) != len(values["action"]):
            raise StoreError(
                f"{place}: {name!r} has {len(steps)} steps, 'action' {len(values['action'])}; expected the same number"
            )
        array = stored.get(name)
        if array is not None and not _alike(steps, array):
            raise StoreError(
                f"{place}: {name!r} is {steps.dtype} with {steps.shape[1:]} per step; "
                f"expected {array.dtype} with {array.shape[1:]}"
            )
        if array is not None:
            with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as such
                values[name] = steps = steps.astype(array.dtype)
        checks.check_finite(f"{place}: {name!r}", steps)
    checks.check_step_shapes(place, {name: steps.shape[1:] for name, steps in values.items()})
    return values


def check_keys(place: str, keys: Iterable[object]) -> None:
    """Checks that each key can be the name of one array directly under `data/`.

    A slash would make groups within it, where no reader looks; what begins with a dot is taken for metadata.

    Raises:
        StoreError: Names the first key that cannot.
    """
    for key in keys:
        if not isinstance(key, str) or not key or key[0] == "." or key == "zarr.json" or set(key) & {"/", "\\"}:
            raise StoreError(
                f"{place}: no array can have the key {key!r}; expected a name without slashes or a dot in front, "
                "such as 'joints' or 'obs_state': rename it"
            )


def _alike(steps: Shaped[np.ndarray, "steps ..."], array: zarr.Array) -> bool:
    """float64 may be stored as float32, but no fraction as a whole number and no 300 as a byte."""
    if steps.shape[1:] != array.shape[1:]:
        return False
    same_kind = np.can_cast(steps.dtype, array.dtype, "same_kind")
    return same_kind and (steps.dtype.kind == "f" or np.array_equal(steps.astype(array.dtype), steps))


def _leave_out_computed(values: dict[str, Shaped[np.ndarray, "steps ..."]], stored: Mapping[str, zarr.Array]) -> None:
    """Drops an `agent_pos` that only repeats `state`, so that `other.episode(i)` can be appended as it is."""
    if "agent_pos" in values and "agent_pos" not in stored and "state" in values:
        state = values["state"]
        if state.ndim == 2 and np.array_equal(values["agent_pos"], state[:, :2]):
            del values["agent_pos"]
