"""What a policy is given to plan from, checked: a misfit gets one line that names it, before a robot moves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from diffpolicy.errors import ConfigError, ObservationError
from diffpolicy.tasks import Observation


def checked_observation(
    obs: Mapping[str, Tensor | np.ndarray],
    obs_shapes: Mapping[str, tuple[int, ...]],
    obs_horizon: int,
    device: torch.device,
) -> Observation:
    """What is observed, as tensors on a device.

    Args:
        obs: (batch, obs_horizon, *shape) by key; others are left out.
        obs_shapes: the shape of one step of each key that is observed.
        obs_horizon: observation steps.
        device: where they are wanted.

    Raises:
        ObservationError: a key is missing, a shape does not fit, or a number is not finite.
    """
    if not isinstance(obs, Mapping):
        keys = ", ".join(f"{key!r}: ..." for key in obs_shapes)
        raise ObservationError(f"observations are given by key, as {{{keys}}}; found {type(obs).__name__}")
    checked: Observation = {}
    for key, shape in obs_shapes.items():
        if key not in obs:
            raise ObservationError(
                f"observation lacks {key!r}: this policy observes {', '.join(obs_shapes)}; "
                f"found {', '.join(map(str, obs)) or 'nothing'}"
            )
        value = torch.as_tensor(obs[key])
        # Features are made in single precision, as in training; not every device has double.
        value = value if value.dtype == torch.uint8 else value.float()
        expected = (obs_horizon, *shape)
        if tuple(value.shape[1:]) != expected or not len(value):
            wanted = ", ".join(map(str, ("batch", *expected)))
            raise ObservationError(f"observation {key!r} has shape {tuple(value.shape)}; expected ({wanted})")
        # Before it is moved: asking the device would wait for all that it has yet to do.
        if value.dtype != torch.uint8 and not torch.isfinite(value).all():
            raise ObservationError(f"observation {key!r} holds NaN or infinity; a sensor failed, so no plan is made")
        checked[key] = value.to(device)
    if len({len(value) for value in checked.values()}) > 1:
        sizes = ", ".join(f"{key}: {len(value)}" for key, value in checked.items())
        raise ObservationError(f"observations differ in batch size ({sizes})")
    return checked


def check_noise(noise: Tensor, rows: int, n: int | None, plan: tuple[int, int]) -> None:
    """Refuse noise that is not for n plans, of a shape (horizon, action), of each of so many observations."""
    shape = tuple(noise.shape)
    if len(shape) != 4 or shape[0] != rows or shape[1] < 1 or shape[2:] != plan:
        raise ConfigError(
            f"noise has shape {shape}; expected ({rows}, n, {plan[0]}, {plan[1]}): for each observation that of n plans"
        )
    if n is not None and n != shape[1]:
        raise ConfigError(f"n is {n}, but the noise given is that of {shape[1]} sequences each; leave n out")


def check_guess(guess: Tensor | np.ndarray, rows: int, plan: tuple[int, int]) -> None:
    """Refuse a guess that is not one plan, of a shape (horizon, action), for each of so many observations, or not finite."""
    wanted = (rows, *plan)
    if tuple(guess.shape) != wanted:
        raise ConfigError(f"guess has shape {tuple(guess.shape)}; expected {wanted}: one plan for each observation")
    if not torch.isfinite(torch.as_tensor(guess)).all():
        raise ConfigError("guess holds NaN or infinity; no plan starts from that")


def check_warm_start(share: float) -> None:
    """Refuse what is no share of the way from noise to plan."""
    if not 0 <= share < 1:
        raise ConfigError(f"warm_start is {share}; a share of the way is at least 0 and less than 1")
