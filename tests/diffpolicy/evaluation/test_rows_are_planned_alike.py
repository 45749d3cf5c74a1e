"""A plan does not depend on the row of the batch that it is made in; where a machine breaks that, users are told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffpolicy.checkpoint import load_policy
from diffpolicy.evaluation.evaluate import evaluate, score_line
from diffpolicy.evaluation.rollout import LANES, rounds
from diffpolicy.evaluation.world import RolloutSettings
from diffpolicy.policy import DiffusionPolicy

ROWS = LANES + 1
PUSHT = "diffpolicy_envs:diffpolicy/PushT-v0"
BACKBONES: dict[str, dict[str, Any]] = {
    "tiny": {"width": 16, "cond_width": 8},
    "of no power of two": {"width": 30, "cond_width": 10, "blocks": 2},
    "of primes": {"width": 37, "cond_width": 26},
    "wide": {"width": 256, "cond_width": 64},
    "convolutions": {"name": "unet1d", "channels": [8, 16], "groups": 4, "time_width": 16},
    "odd convolutions": {"name": "unet1d", "channels": [12, 20], "groups": 4, "time_width": 14},
}


def states(rows: int) -> np.ndarray:
    """Histories of two moments, from all over the table."""
    rng = np.random.default_rng(0)
    return np.concatenate([rng.uniform(50, 450, (rows, 2, 4)), rng.uniform(0, 6, (rows, 2, 1))], axis=-1)


def assert_rows_are_planned_alike(policy: DiffusionPolicy) -> None:
    def plans(order: np.ndarray) -> torch.Tensor:
        generators = [torch.Generator().manual_seed(int(row)) for row in order]
        x = policy.sample({"state": states(ROWS)[order]}, generator=generators)
        assert isinstance(x, torch.Tensor)
        return x

    rng, in_order = np.random.default_rng(1), plans(np.arange(ROWS))
    for order in [np.arange(ROWS)[::-1].copy(), *(rng.permutation(ROWS) for _ in range(4))]:
        assert torch.equal(plans(order), in_order[order])
    assert len(in_order.unique(dim=0)) == ROWS


def test_of_the_released_policy() -> None:
    assert_rows_are_planned_alike(load_policy("pusht-state"))


@pytest.mark.parametrize("threads", [1, 2])
def test_one_robots_plan_is_its_plan_among_many(threads: int) -> None:
    """Of the released policy: what a controller does on a robot is what was evaluated, bit for bit."""
    policy, y, before = load_policy("pusht-state"), states(ROWS), torch.get_num_threads()

    def plans(rows: list[int]) -> Any:
        return policy.sample({"state": y[rows]}, generator=[torch.Generator().manual_seed(row) for row in rows])

    together = plans(list(range(ROWS)))
    try:
        torch.set_num_threads(threads)
        for row in (0, 1, 31, ROWS - 1):
            assert torch.equal(plans([row])[0], together[row])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("backbone", BACKBONES.values(), ids=BACKBONES)
@pytest.mark.parametrize("objective", [{"name": "flow"}, {"name": "ddpm", "train_timesteps": 4}], ids=["flow", "ddpm"])
def test_of_any_policy(backbone: dict[str, Any], objective: dict[str, Any], tiny: Any, make_policy: Any) -> None:
    sampler = "euler" if objective["name"] == "flow" else "ddpm"
    policy = {"backbone": backbone, "objective": objective, "sampler": sampler, "steps": 4}
    assert_rows_are_planned_alike(make_policy(tiny(policy=policy)))


@pytest.mark.parametrize("name", ["edm", "regression", "mixture"])
def test_of_any_objective_and_several_plans_a_row(name: str, tiny: Any, make_policy: Any) -> None:
    way = {"sampler": "heun", "steps": 5} if name == "edm" else {"sampler": "direct", "steps": 1}
    policy = make_policy(tiny(policy={"backbone": BACKBONES["wide"], "objective": {"name": name}, **way}))
    noise, y = torch.randn(ROWS, 3, 16, 2, generator=torch.Generator().manual_seed(0)), states(ROWS)
    order = np.random.default_rng(1).permutation(ROWS)
    assert torch.equal(
        policy.sample({"state": y[order]}, noise=noise[order]), policy.sample({"state": y}, noise=noise)[order]
    )


@pytest.fixture
def rounded_by_row(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A function after which plans are rounded otherwise from a row on, as by a loop's remainder; or some batches' are."""
    whole = DiffusionPolicy.sample

    def start(first: int, batches: int = 1000) -> None:
        left = iter(range(batches))

        def sample(self: DiffusionPolicy, *args: Any, **kwargs: Any) -> Any:
            x = whole(self, *args, **kwargs).clone()
            if next(left, None) is not None:
                x[first:] *= 1 + 2**-23
            return x

        monkeypatch.setattr(DiffusionPolicy, "sample", sample)

    return start


@pytest.mark.parametrize("first", [1, ROWS // 2, ROWS - 1])
@pytest.mark.parametrize("episodes", [1, LANES, LANES + 20])
def test_a_machine_that_rounds_rows_differently_is_found_out(
    first: int, episodes: int, rounded_by_row: Any, make_checkpoint: Callable[..., Path]
) -> None:
    checkpoint = make_checkpoint()
    choices: dict[str, Any] = {"episodes": episodes, "seed": 500_000, "max_steps": 2}
    agreeing = evaluate(checkpoint, **choices)
    assert agreeing["rows_agree"] is True
    assert "row" not in score_line(agreeing)
    rounded_by_row(first)
    differing = evaluate(checkpoint, **choices)
    assert differing["rows_agree"] is False
    assert "rounding depends on the row" in score_line(differing)
    assert "\n" not in score_line(differing)


def test_once_is_enough(rounded_by_row: Any, make_checkpoint: Callable[..., Path]) -> None:
    rounded_by_row(ROWS - 1, batches=1)
    result = evaluate(make_checkpoint(), episodes=3, seed=500_000, max_steps=20, action_horizon=4)
    assert result["rows_agree"] is False


def test_each_round_says_so_of_itself(
    rounded_by_row: Any, make_checkpoint: Callable[..., Path], without_shape_checks: None
) -> None:
    policy = load_policy(make_checkpoint())
    settings = RolloutSettings(PUSHT, max_steps=20, action_horizon=8)
    found = []
    for each in rounds(policy, range(5), settings):
        found.append(each.rows_agree)
        if len(found) == 1:  # the second batch has been planned by now, the third has not
            rounded_by_row(ROWS - 1)
    assert found == [True, True, False]
