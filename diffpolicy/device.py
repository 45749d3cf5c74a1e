"""Which device to compute on."""

from __future__ import annotations

import os

from diffpolicy.errors import ConfigError


def usable_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def chosen_device(name: str) -> str:
    """`auto` becomes the best device there is: cuda, mps or cpu. A card is chosen by CUDA_VISIBLE_DEVICES.

    Raises:
        ConfigError: the device asked for is not there.
    """
    import torch  # here, so that a command's --help does not wait for it

    there = ["cpu"]
    there += ["cuda"] if torch.cuda.is_available() else []
    there += ["mps"] if torch.backends.mps.is_available() else []
    if name == "auto":
        return there[-1]
    if name not in there:
        raise ConfigError(f"device {name!r}: not on this machine, which has auto, {', '.join(there)}")
    return name
