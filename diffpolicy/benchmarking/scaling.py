"""How a time grows with a size, beside the floor that counted operations and bytes put under it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch

from diffpolicy.benchmarking.machine_rate import copies, matrix_products
from diffpolicy.benchmarking.timing import Contestant, Spread, compare

_PRODUCTS: Final = "a billion operations"
_COPIES: Final = "a billion bytes"


@dataclass(frozen=True)
class Load:
    """The work of one size: what is counted, and who does it."""

    size: int
    flops: int
    n_bytes: int
    contestants: Mapping[str, Contestant]


@dataclass(frozen=True)
class Point:
    """What one size took.

    Attributes:
        size: The size.
        flops: Counted operations.
        n_bytes: Counted bytes.
        floor_us: What these take the machine at its own best, microseconds.
        times_us: Contestant to microseconds for one unit of the work.
    """

    size: int
    flops: int
    n_bytes: int
    floor_us: float
    times_us: Mapping[str, Spread]


@dataclass(frozen=True)
class Scaling:
    """Times against a size; `against` says which."""

    against: str
    points: tuple[Point, ...]


def compare_scaling(
    against: str,
    loads: Sequence[Load],
    floor: Callable[[float, float], float],
    *,
    dtype: torch.dtype,
    working_set: int,
    device: torch.device,
    rounds: int,
    on_round: Callable[[], None] = lambda: None,
) -> Scaling:
    """Lets all sizes of all contestants take turns, with products and copies among them.

    Args:
        against: What the size is.
        loads: The sizes.
        floor: From the times that operations and bytes take alone to the floor: `max` where they overlap, or their sum.
        dtype: Of the products.
        working_set: Bytes of memory that the counted bytes belong to.
        device: Where all this happens.
        rounds: Timed rounds.
        on_round: Called after each.
    """
    named = {f"{name}, {load.size}": play for load in loads for name, play in load.contestants.items()}
    limits = {_PRODUCTS: matrix_products(10**9, dtype, device), _COPIES: copies(10**9, working_set, device)}
    found = compare(f"against {against}", named | limits, [], rounds=rounds, on_round=on_round).times_us
    per_flop_us, per_byte_us = found[_PRODUCTS].median / 1e9, found[_COPIES].median / 1e9
    return Scaling(
        against,
        tuple(
            Point(
                load.size,
                load.flops,
                load.n_bytes,
                floor(load.flops * per_flop_us, load.n_bytes * per_byte_us),
                {name: found[f"{name}, {load.size}"] for name in load.contestants},
            )
            for load in loads
        ),
    )
