"""What a measurement was made on: a time means little without its machine and the versions behind it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

from diffpolicy.device import usable_cores


def describe_machine() -> dict[str, object]:
    """Returns processor, usable cores, operating system, and the load that other work put on it just before."""
    return {
        "processor": _processor(),
        "cores": usable_cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_average_1_min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def describe_versions(*packages: str) -> dict[str, str]:
    """Returns the versions of Python and of some installed packages."""
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in packages}


def _processor() -> str:
    # Linux answers "x86_64" or nothing to platform.processor(), and keeps the name here.
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
