"""Where noise comes from: one generator, or one per row, so that a row's noise does not depend on the others."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Generators = torch.Generator | Sequence[torch.Generator] | None


def standard_normal(
    shape: tuple[int, ...], generator: Generators, device: torch.device, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Draw standard normal numbers, on the generators' own device, and bring them to `device`.

    Args:
        shape: rows first.
        generator: one for all rows, one per row, or torch's global one when None.
        device: where the numbers are wanted.
        dtype: of the numbers; with another, a generator gives others.

    Raises:
        ValueError: several generators, but not one per row.
    """
    if generator is None:
        return torch.randn(shape, device=device, dtype=dtype)
    if isinstance(generator, torch.Generator):
        return torch.randn(shape, generator=generator, device=generator.device, dtype=dtype).to(device)
    if len(generator) != shape[0]:
        raise ValueError(f"{len(generator)} generators for {shape[0]} observations; give one, or one per row")
    return torch.stack([torch.randn(shape[1:], generator=g, device=g.device, dtype=dtype) for g in generator]).to(
        device
    )
