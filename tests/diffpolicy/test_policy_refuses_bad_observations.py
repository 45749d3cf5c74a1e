"""A robot must not move on an observation of another layout, or with a number that is none."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from diffpolicy.config import ExperimentConfig
from diffpolicy.errors import ObservationError
from diffpolicy.policy import DiffusionPolicy

Obs = dict[str, Any]


@pytest.fixture
def policy(tiny: Callable[..., ExperimentConfig], make_policy: Callable[..., DiffusionPolicy]) -> DiffusionPolicy:
    return make_policy(tiny(policy={"observations": ["keypoints", "agent_pos"]}))


def good(rows: int = 2) -> Obs:
    return {"keypoints": np.full((rows, 2, 9, 2), 200.0), "agent_pos": np.full((rows, 2, 2), 100.0)}


def with_value(value: float) -> np.ndarray:
    position = good()["agent_pos"]
    position[1, 0, 1] = value
    return position


def without(obs: Obs, key: str) -> Obs:
    return {k: v for k, v in obs.items() if k != key}


BAD: dict[str, tuple[Obs, str]] = {
    "nothing": ({}, "lacks 'keypoints': .* observes keypoints, agent_pos; found nothing"),
    "a key is missing": (without(good(), "agent_pos"), "lacks 'agent_pos'.*found keypoints"),
    "another layout": ({"state": np.zeros((2, 2, 5))}, "lacks 'keypoints'.*found state"),
    "no batch": (
        {k: v[0] for k, v in good().items()},
        r"'keypoints' has shape \(2, 9, 2\); expected \(batch, 2, 9, 2\)",
    ),
    "one step": (good() | {"agent_pos": np.zeros((2, 1, 2))}, r"'agent_pos' has shape \(2, 1, 2\)"),
    "flat points": (good() | {"keypoints": np.zeros((2, 2, 18))}, r"'keypoints' has shape \(2, 2, 18\)"),
    "a number": (good() | {"agent_pos": np.float64(3)}, r"'agent_pos' has shape \(\)"),
    "NaN": (good() | {"agent_pos": with_value(np.nan)}, "'agent_pos' holds NaN or infinity"),
    "infinity": (good() | {"agent_pos": with_value(-np.inf)}, "'agent_pos' holds NaN or infinity"),
    "beyond single precision": (good() | {"agent_pos": with_value(1e300)}, "'agent_pos' holds NaN or infinity"),
    "no rows": (good(0), r"'keypoints' has shape \(0, 2, 9, 2\)"),
    "two batch sizes": (good() | {"agent_pos": good(3)["agent_pos"]}, r"batch size \(keypoints: 2, agent_pos: 3\)"),
}


@pytest.mark.parametrize("kind", ["array", "tensor"])
@pytest.mark.parametrize("case", BAD)
def test_it_is_refused_in_one_line(policy: DiffusionPolicy, case: str, kind: str) -> None:
    obs, message = BAD[case]
    given = {k: torch.as_tensor(v) for k, v in obs.items()} if kind == "tensor" else obs
    with pytest.raises(ObservationError, match=message) as refused:
        policy.sample(given)
    assert "\n" not in str(refused.value)


def test_a_good_one_is_taken(policy: DiffusionPolicy) -> None:
    assert policy.sample(good()).isfinite().all()


@pytest.mark.parametrize("count", [0, 1, 3])
def test_generators_must_be_one_per_row(policy: DiffusionPolicy, count: int) -> None:
    with pytest.raises(ValueError, match=f"{count} generators for 2 observations"):
        policy.sample(good(), generator=[torch.Generator() for _ in range(count)])
