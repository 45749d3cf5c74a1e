"""What a policy must know of a task, and all it knows: the features of an observation, and the task's mirror.

A task is one object, named in the config: a module here (`pusht`, `plain`) or `your.module:object`. The same object serves
training and the closed loop, so that neither can see the world differently.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from diffpolicy.errors import ConfigError, suggestion

Observation = dict[str, Tensor]


@runtime_checkable
class Task(Protocol):
    """The two functions a task gives. Values have shapes (*batch, *one step); both work for any batch shape."""

    def features(self, obs: Observation) -> Observation:
        """What the network is shown, made from an observation in the world's units."""
        ...

    def mirror(self, obs: Observation, action: Float[Tensor, "*batch action"]) -> tuple[Observation, Tensor] | None:
        """The same situation seen in the task's mirror, or None where there is no mirror."""
        ...


@runtime_checkable
class Drawable(Protocol):
    """What pictures of plans need of a task besides."""

    workspace_px: float
    """Side of the square that `env.render()` shows."""

    def plan_px(self, action: Float[Tensor, "*batch action"]) -> Float[Tensor, "*batch 2"]:
        """Where in that square an action lies: x right, y down."""
        ...


def load_task(name: str) -> Task:
    """Find a task by its name in the config.

    Raises:
        ConfigError: nothing of that name, or an object that is no task.
    """
    module_name, _, attribute = name.partition(":")
    shipped = [module.name for module in pkgutil.iter_modules(__path__)]
    if not attribute:
        if name not in shipped:
            hint = suggestion(name, shipped, f"shipped: {', '.join(shipped)}")
            raise ConfigError(f"policy.task: no task {name!r}; {hint} (your own: 'your.module:object')")
        module_name, attribute = f"{__name__}.{name}", "TASK"
    try:
        task = getattr(importlib.import_module(module_name), attribute)
    except Exception as error:  # whatever a user's own module does while it is imported
        raise ConfigError(
            f"policy.task: cannot load {name!r}: {error!r}; a module of yours is found when its folder is on PYTHONPATH"
        ) from None
    if not isinstance(task, Task):
        raise ConfigError(f"policy.task: {name!r} is no task: it needs features(obs) and mirror(obs, action)")
    return task
