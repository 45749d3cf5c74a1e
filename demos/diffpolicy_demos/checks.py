"""Is a store what it claims to be? Structure is checked whenever one is opened, contents before training on them.

A wrong episode end or a NaN does not crash a training run, it spoils it: better one line before it starts.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import zarr
from jaxtyping import Int, Shaped, UInt8

from diffpolicy_demos.arrays import open_array
from diffpolicy_demos.damage import checked_array
from diffpolicy_demos.errors import StoreError
from diffpolicy_demos.schema import ENDS, policy_keys

_STEP_AXES = {"action": "(numbers)", "state": "(numbers)", "keypoints": "(points, 2)", "pixels": "(height, width, 3)"}


def read_ends(path: str, root: zarr.Group) -> Int[np.ndarray, " episodes"]:
    """Reads `meta/episode_ends` as int64, read only.

    Raises:
        StoreError: It is missing, damaged, not one row of integers, or does not rise strictly from above zero.
    """
    array = open_array(path, root, ENDS)
    if array is None:
        raise StoreError(f"{path}: array {ENDS!r} is missing; expected the index one past each episode's last step")
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise StoreError(f"{path}: array {ENDS!r} is {array.dtype} {array.shape}; expected one row of integers")
    ends = np.asarray(checked_array(path, array, None, every_chunk=True)[:]).astype(np.int64)
    lengths = np.diff(ends, prepend=0)
    if (lengths <= 0).any():
        first = int(np.argmax(lengths <= 0))
        before = int(ends[first - 1]) if first else 0
        raise StoreError(
            f"{path}: array {ENDS!r} is out of order: episode {first} ends at {ends[first]}, "
            f"but begins at {before}; expected ends that rise from one episode to the next"
        )
    ends.setflags(write=False)
    return ends


def check_structure(
    path: str, arrays: Mapping[str, zarr.Array], ends: Int[np.ndarray, " episodes"], *, leftovers: bool
) -> None:
    """Checks that arrays and episode ends agree; reads no contents.

    Args:
        path: What to call the store in messages.
        arrays: The arrays under `data/`, by stored name.
        ends: Episode ends that rise strictly.
        leftovers: Whether steps after the last end may be the rest of an interrupted append, to be ignored.

    Raises:
        StoreError: No episodes, no actions, lengths that differ, ends that miss the data, or shapes that no policy
            can use.
    """
    found = ", ".join(sorted(arrays)) or "nothing"
    if "action" not in arrays:
        raise StoreError(f"{path}: array 'data/action' is missing; found {found} under data/")
    if len(ends) == 0:
        raise StoreError(f"{path}: the store holds no episodes ({ENDS} is empty); record or append some first")
    lengths = {name: array.shape[0] for name, array in arrays.items()}
    last, steps = int(ends[-1]), lengths["action"]
    short = min(lengths, key=lengths.__getitem__)
    if lengths[short] < last and (leftovers or len(set(lengths.values())) == 1):
        raise StoreError(
            f"{path}: episode {int(np.searchsorted(ends, lengths[short], side='right'))} of {len(ends)} reaches past "
            f"the data: {ENDS} ends at {last}, but 'data/{short}' has {lengths[short]} steps"
        )
    if not leftovers:
        for name, length in lengths.items():
            if length != steps:
                raise StoreError(
                    f"{path}: ragged arrays: 'data/{name}' has {length} steps, 'data/action' {steps}; "
                    f"expected the same number in all ({ENDS} ends at {last})"
                )
        if steps > last:
            raise StoreError(
                f"{path}: {ENDS} ends at {last}, but the arrays have {steps} steps: {steps - last} belong to no "
                "episode; expected the last end to be the number of steps"
            )
    check_step_shapes(path, {name: tuple(array.shape[1:]) for name, array in arrays.items()})


def check_step_shapes(path: str, step_shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Checks the shape of one step of each array that policies know by name.

    Raises:
        StoreError: A shape differs from what the key means, for example images with the channels first.
    """
    for key, stored in policy_keys(step_shapes).items():
        shape = step_shapes[stored]
        fits = {
            "action": len(shape) == 1,
            "state": len(shape) == 1,
            "agent_pos": shape == (2,),
            "keypoints": len(shape) == 2 and shape[1] == 2,
            "pixels": len(shape) == 3 and shape[2] == 3,
        }
        if not fits.get(key, True) or 0 in shape:
            expected = _STEP_AXES.get(key, "(2)" if key == "agent_pos" else "no empty axis")
            raise StoreError(f"{path}: array 'data/{stored}' holds {shape} per step; expected {expected}")


def check_contents(path: str, array: zarr.Array, ends: Int[np.ndarray, " episodes"], *, pixels: bool) -> None:
    """Reads an array chunk by chunk and checks every value.

    Args:
        path: What to call the store in messages.
        array: The array, up to the last finished step.
        ends: The store's episode ends.
        pixels: Whether it holds images.

    Raises:
        StoreError: A file is damaged or missing, or a value is not finite or no image; names the place.
    """
    place = f"{path}: array {array.name.rpartition('/data/')[2]!r}"
    for start, values in stretches(array):
        check_finite(place, values, ends, start)
        if pixels:
            as_pixels(f"{place}, steps {start} to {start + len(values)}", values)


def check_finite(
    place: str,
    values: Shaped[np.ndarray, "steps ..."],
    ends: Int[np.ndarray, " episodes"] | None = None,
    first_step: int = 0,
) -> None:
    """Checks a stretch of steps for NaN and infinity.

    Args:
        place: Path and array, to open the message with.
        values: The steps to check.
        ends: The store's episode ends, to name the episode; without them `values` is one episode that `place` names.
        first_step: Index of `values[0]` in the store.

    Raises:
        StoreError: Names the first bad step.
    """
    if values.dtype.kind != "f":
        return
    bad = ~np.isfinite(values)
    if not bad.any():
        return
    index = tuple(int(i) for i in np.argwhere(bad)[0])
    where = f"step {index[0]}"
    if ends is not None:
        where = "episode {}, step {}".format(*episode_of(ends, first_step + index[0]))
    if len(index) > 1:
        where += f", component {', '.join(map(str, index[1:]))}"
    raise StoreError(
        f"{place}: {where} is {values[index]}; expected finite numbers: repair the value or leave the episode out"
    )


def stretches(array: zarr.Array) -> Iterator[tuple[int, Shaped[np.ndarray, "steps ..."]]]:
    """An array's first step and values chunk by chunk, for the images of the published set would fill 2.8 GB."""
    for start in range(0, array.shape[0], array.chunks[0]):
        yield start, np.asarray(array[start : start + array.chunks[0]])


def episode_of(ends: Int[np.ndarray, " episodes"], step: int) -> tuple[int, int]:
    """The episode that a step of the store belongs to, and its place in that episode."""
    episode = int(np.searchsorted(ends, step, side="right"))
    return episode, step - (int(ends[episode - 1]) if episode else 0)


def as_pixels(
    place: str, values: Shaped[np.ndarray, "steps height width 3"]
) -> UInt8[np.ndarray, "steps height width 3"]:
    """Images as uint8, whatever numbers they were stored as; the published set keeps 0 to 255 in float32.

    Raises:
        StoreError: Values outside 0 to 255, or fractions that look like images scaled to 0..1.
    """
    if values.dtype == np.uint8 or values.size == 0:
        return values.astype(np.uint8, copy=False)
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= 255):  # written so that NaN fails as well
        raise StoreError(f"{place}: images range from {low} to {high}; expected 0 to 255, uint8 at best")
    rounded = np.rint(values)
    if 0 < high <= 1 and (rounded != values).any():
        raise StoreError(f"{place}: images range from {low} to {high} and look scaled to 0..1; store them as 0 to 255")
    return rounded.astype(np.uint8)
