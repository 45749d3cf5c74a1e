"""What every config dataclass checks of its numbers: one wording for one mistake, wherever it is made."""

from __future__ import annotations

import math
from typing import Any, Final

import pydantic

#: A key that no field has is refused, not ignored: it is a misspelt one.
STRICT_KEYS: Final = pydantic.ConfigDict(extra="forbid")


def positive(config: Any, *names: str) -> None:
    """Refuse a config of which one of these fields is not above 0."""
    for name in names:
        if not getattr(config, name) > 0:  # so put, NaN is refused too
            raise ValueError(f"{name} is {getattr(config, name)}; it must be positive")


def not_negative(config: Any, *names: str) -> None:
    """Refuse a config of which one of these fields is below 0, or not finite."""
    for name in names:
        if not 0 <= getattr(config, name) < math.inf:
            raise ValueError(f"{name} is {getattr(config, name)}; it must be 0 or more, and finite")


def shares(config: Any, *names: str) -> None:
    """Refuse a config of which one of these fields, or of its numbers, is not in [0, 1)."""
    for name in names:
        value = getattr(config, name)
        if not all(0 <= share < 1 for share in (value if isinstance(value, tuple) else (value,))):
            raise ValueError(f"{name} is {value}; it must be at least 0 and less than 1")
