"""Arguments of the pictures, checked where they enter.

A wrong shape or a NaN would otherwise surface as an empty picture or deep inside the drawing library.
"""

import numpy as np
from jaxtyping import Float64, UInt8

# Spelled out because run-time type checkers take `float` literally and would refuse 10 where 10.0 is meant.
Number = float | int
Shape = tuple[int | str, ...]


def checked_numbers(name: str, value: object, shape: Shape) -> Float64[np.ndarray, "..."]:
    """Returns `value` as float64 after checking that it is finite and has the expected shape.

    Args:
        name: The argument's name, for the message.
        value: Anything numpy can read as numbers.
        shape: One entry per axis: a number must match, a word names a free axis of at least one element.

    Raises:
        ValueError: If the value is not numeric, has another shape or holds NaN or infinity.
    """
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name}: expected numbers of shape {_spelled(shape)}, found {type(value).__name__} ({error})"
        ) from None
    if not _fits(array.shape, shape):
        raise ValueError(f"{name}: expected shape {_spelled(shape)}, found {array.shape}")
    bad = array.size - int(np.isfinite(array).sum())
    if bad:
        raise ValueError(
            f"{name}: expected finite numbers of shape {_spelled(shape)}, "
            f"found {bad} of {array.size} NaN or infinite; was the model trained to the end?"
        )
    return array


def checked_picture(name: str, value: object) -> UInt8[np.ndarray, "height width 3"]:
    """Returns `value` as an RGB picture after checking its type and shape.

    Raises:
        ValueError: If the value is not a uint8 array of shape (height, width, 3).
    """
    picture = np.asarray(value)
    expected: Shape = ("height", "width", 3)
    if picture.dtype != np.uint8 or not _fits(picture.shape, expected):
        raise ValueError(
            f"{name}: expected uint8 RGB of shape {_spelled(expected)}, values 0 to 255, "
            f"found {picture.dtype} of shape {picture.shape}"
        )
    return picture


def checked_executed(executed: slice | None, horizon: int) -> range:
    """Returns the indices of the executed actions, an empty range when none are marked.

    Raises:
        ValueError: If the slice is not one run of actions inside the plan.
    """
    if executed is None:
        return range(0)
    start, stop = executed.start or 0, horizon if executed.stop is None else executed.stop
    if executed.step not in (None, 1) or not 0 <= start < stop <= horizon:
        raise ValueError(
            f"executed: expected slice(start, stop) with 0 <= start < stop <= {horizon} (the plan's length), "
            f"found {executed}"
        )
    return range(start, stop)


def checked_positive(name: str, value: Number) -> Number:
    """Returns `value` after checking that it is a finite number above zero.

    Raises:
        ValueError: If it is not.
    """
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"{name}: expected a number above 0, found {value}")
    return value


def _fits(found: tuple[int, ...], expected: Shape) -> bool:
    return len(found) == len(expected) and all(
        f == e if isinstance(e, int) else f > 0 for f, e in zip(found, expected, strict=True)
    )


def _spelled(shape: Shape) -> str:
    inside = ", ".join(map(str, shape))
    return f"({inside},)" if len(shape) == 1 else f"({inside})"
