"""The machine's own limit: how long its matrix products and its memory take for the work that is counted.

A data sheet knows neither the neighbours nor the number of threads. So the limit is measured: PyTorch's own product of
square matrices, and its own copy, take turns with those who are compared with them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from diffpolicy.benchmarking.timing import Contestant, seconds_per

# Large enough to be at full speed, small enough for a turn; of the two, the better counts.
_SIZES = {"cpu": (1024, 2048), "cuda": (4096, 8192)}
_COPIED_BYTES = 1 << 28


def matrix_products(flops: int, dtype: torch.dtype, device: torch.device) -> Contestant:
    """A contestant that says how long so many operations take in products of square matrices, at this moment.

    Args:
        flops: Floating-point operations, a multiplication and an addition being two.
        dtype: Of the matrices.
        device: Where they are.
    """
    sizes = _SIZES.get(device.type, _SIZES["cpu"])
    matrices = [torch.randn(3, size, size, device=device).to(dtype) for size in sizes]
    # As many operations with each size, so that both are timed equally well.
    repeats = [(sizes[-1] // size) ** 3 for size in sizes]

    def per_operation(size: int, times: int, three: torch.Tensor) -> float:
        a, b, out = three

        def multiply() -> None:
            for _ in range(times):
                torch.mm(a, b, out=out)

        return seconds_on(device, 2 * size**3 * times, multiply)

    return lambda _: flops * min(map(per_operation, sizes, repeats, matrices))


def copies(n_bytes: int, working_set: int, device: torch.device) -> Contestant:
    """A contestant that says how long so many bytes take to be read or written by a copy, at this moment.

    Args:
        n_bytes: Bytes that move, those read and those written.
        working_set: Bytes of memory they belong to: what fits into a cache moves faster, in a copy as elsewhere.
        device: Where the memory is.
    """
    half = max(working_set // 8, 1)  # of float32 numbers: half of the memory is read, half is written
    source, target = torch.zeros(2, half, device=device).unbind()
    times = max(1, _COPIED_BYTES // (8 * half))

    def copy() -> None:
        for _ in range(times):
            target.copy_(source)

    return lambda _: n_bytes * seconds_on(device, 8 * half * times, copy)


def seconds_on(device: torch.device, count: int, work: Callable[[], object]) -> float:
    """Runs work that consists of `count` units once, waits until the device is done, and returns seconds for one."""
    synchronize = {"cuda": torch.cuda.synchronize, "mps": torch.mps.synchronize}.get(device.type, lambda: None)
    synchronize()

    def finished() -> None:
        work()
        synchronize()

    return seconds_per(count, finished)
