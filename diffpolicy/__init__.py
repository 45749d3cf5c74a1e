"""Diffusion policies for robot learning: p(x | y), x a sequence of actions, y what the robot has just observed.

The names below are loaded when first used, so that `import diffpolicy` (and `diffpolicy --help`) needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffpolicy.checkpoint import load_policy
    from diffpolicy.evaluation.controller import Controller
    from diffpolicy.policy import DiffusionPolicy

__version__ = "0.1.0"
__all__ = ["Controller", "DiffusionPolicy", "__version__", "load_policy"]

_HOMES = {
    "Controller": "diffpolicy.evaluation.controller",
    "DiffusionPolicy": "diffpolicy.policy",
    "load_policy": "diffpolicy.checkpoint",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'diffpolicy' has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(importlib.import_module(_HOMES[name]), name)
