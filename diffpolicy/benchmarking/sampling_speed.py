"""How long a plan takes: beside a plain diffusers loop, beside the machine's limit, and beside the robot's patience."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from diffpolicy.benchmarking.counted_work import plan_bytes, plan_flops
from diffpolicy.benchmarking.machine_rate import copies, matrix_products, seconds_on
from diffpolicy.benchmarking.plain_sampling import PlainSampler
from diffpolicy.benchmarking.scaling import Load, Scaling, compare_scaling
from diffpolicy.benchmarking.timing import Comparison, Contestant, compare
from diffpolicy.checkpoint import find_checkpoint, load_policy, read_meta
from diffpolicy.config import DDPMConfig
from diffpolicy.evaluation.controller import name_observation
from diffpolicy.evaluation.evaluate import settings_of
from diffpolicy.evaluation.world import make_env, start_episode
from diffpolicy.policy import DiffusionPolicy

OURS: Final = "diffpolicy"
PLAIN: Final = "plain diffusers loop"
PRODUCTS: Final = "its operations, as matrix products"
WEIGHTS: Final = "its weights, copied"

#: Plans differ by at most this share of an action's range; what is timed does the same job.
SAME: Final = 1e-4
_FIRST_SEED: Final = 500_000
#: Plans that warm up before those whose latency counts.
UNTIMED: Final = 10


@dataclass(frozen=True)
class Plans:
    """Plans for some observations, timed.

    Attributes:
        sampler: The solver.
        rows: Observations planned for in one call, one plan each.
        steps: Network evaluations of a plan.
        flops: Operations of a call, counted.
        n_bytes: Bytes of weights that a call reads, counted.
        difference: Largest difference between our plans and the plain loop's, in halves of an action's range.
        comparison: Microseconds for a call.
    """

    sampler: str
    rows: int
    steps: int
    flops: int
    n_bytes: int
    difference: float
    comparison: Comparison


@dataclass(frozen=True)
class Latency:
    """How long single plans took, one after the other, ms, and how often a robot acts."""

    plans: int
    median_ms: float
    percentile_99_ms: float
    longest_ms: float
    period_ms: float


@dataclass(frozen=True)
class Subject:
    """A policy, and observations from the starts of its own world."""

    policy: DiffusionPolicy
    obs: dict[str, Tensor]
    period_ms: float

    @property
    def rows(self) -> int:
        """How many observations there are."""
        return len(next(iter(self.obs.values())))

    def first(self, rows: int) -> dict[str, Tensor]:
        """So many of the observations."""
        return {key: value[:rows] for key, value in self.obs.items()}


def load_subject(checkpoint: str | Path, device: str, rows: int) -> Subject:
    """Opens a checkpoint and looks at the first moments of `rows` episodes.

    Raises:
        CheckpointError: No such checkpoint.
        ConfigError: Its world cannot be made, or no plain loop solves it.
    """
    folder = find_checkpoint(checkpoint)
    policy = load_policy(folder, device)
    PlainSampler(policy)  # what cannot be compared is told now
    settings = settings_of(read_meta(folder)["experiment"])
    env = make_env(settings, render=False)
    starts = [start_episode(env, settings, _FIRST_SEED + row)[0] for row in range(rows)]
    env.close()
    named = [name_observation(obs, policy.obs_shapes) for obs in starts]
    horizon = policy.config.obs_horizon
    seen = {key: np.stack([np.stack([one[key]] * horizon) for one in named]) for key in policy.obs_shapes}
    obs = {key: _tensor(value).to(policy.device) for key, value in seen.items()}
    return Subject(policy, obs, 1000 / env.metadata.get("render_fps", 10))


def with_ddim(policy: DiffusionPolicy) -> DiffusionPolicy:
    """The same network, taken for one that denoises by DDIM: its plans mean nothing, but they cost what such plans cost."""
    # The output is taken for v. From noise at its strongest, epsilon would give the data with all rounding errors
    # multiplied by ten thousand, and nothing could be said about equality. And where steps divide levels, diffusers' own
    # spacing is right.
    objective = DDPMConfig(prediction="v", train_timesteps=10 * policy.config.steps)
    config = dataclasses.replace(policy.config, objective=objective, sampler="ddim")
    other = DiffusionPolicy(config, policy.obs_shapes, policy.action_dim).to(policy.device)
    other.load_state_dict(policy.state_dict())
    return other.eval().requires_grad_(False)


def compare_plans(
    policy: DiffusionPolicy, obs: Mapping[str, Tensor], rounds: int, on_round: Callable[[], None] = lambda: None
) -> Plans:
    """Times one plan for each observation, after both ways were seen to make the same plans.

    Raises:
        RuntimeError: They do not.
    """
    rows, steps = len(next(iter(obs.values()))), policy.config.steps
    plain = PlainSampler(policy)
    difference = _difference(policy, plain, obs)
    if not difference <= SAME:
        raise RuntimeError(f"plans differ by {difference:.2g} of half an action's range; expected at most {SAME:g}")
    flops, n_bytes = plan_flops(policy, rows, 1, steps), plan_bytes(policy, steps)
    contestants = _ways(policy, plain, obs, n=1, steps=steps) | {
        PRODUCTS: matrix_products(flops, torch.float32, policy.device),
        WEIGHTS: copies(n_bytes, _weight_bytes(policy), policy.device),
    }
    pairs = [(PLAIN, OURS), (PRODUCTS, OURS), (WEIGHTS, OURS)]
    what = f"{policy.config.sampler}, {steps} steps, {rows} plan{'s' * (rows > 1)} at once"
    comparison = compare(what, contestants, pairs, rounds=rounds, on_round=on_round)
    return Plans(policy.config.sampler, rows, steps, flops, n_bytes, difference, comparison)


def measure_latency(subject: Subject, plans: int, on_plan: Callable[[], None] = lambda: None) -> Latency:
    """Times plans for one robot, each by itself."""
    policy, generator = subject.policy, torch.Generator().manual_seed(0)
    rows = [{key: value[row : row + 1] for key, value in subject.obs.items()} for row in range(subject.rows)]
    took_ms = []
    for index in range(plans + UNTIMED):
        plan = partial(policy.sample, rows[index % len(rows)], generator=generator)
        took_ms.append(1e3 * seconds_on(policy.device, 1, plan))
        on_plan()
    took_ms = took_ms[UNTIMED:]
    median, late = np.percentile(took_ms, [50, 99]).tolist()
    return Latency(plans, median, late, max(took_ms), subject.period_ms)


def scale_steps(
    subject: Subject, sizes: Sequence[int], rounds: int, on_round: Callable[[], None] = lambda: None
) -> Scaling:
    """Times one plan of few and of many steps."""
    return _scaling(subject, "steps of a plan", [(size, 1, size) for size in sizes], rounds, on_round)


def scale_samples(
    subject: Subject, sizes: Sequence[int], rounds: int, on_round: Callable[[], None] = lambda: None
) -> Scaling:
    """Times few and many plans for one observation."""
    steps = subject.policy.config.steps
    return _scaling(subject, "plans for one observation", [(size, size, steps) for size in sizes], rounds, on_round)


def _scaling(
    subject: Subject, against: str, sizes: Sequence[tuple[int, int, int]], rounds: int, on_round: Callable[[], None]
) -> Scaling:
    policy, obs = subject.policy, subject.first(1)
    plain = PlainSampler(policy)
    loads = [
        Load(
            size,
            plan_flops(policy, 1, n, steps),
            plan_bytes(policy, steps),
            _ways(policy, plain, obs, n=n, steps=steps),
        )
        for size, n, steps in sizes
    ]
    return compare_scaling(
        against,
        loads,
        max,  # weights can be on their way while others are multiplied
        dtype=torch.float32,
        working_set=_weight_bytes(policy),
        device=policy.device,
        rounds=rounds,
        on_round=on_round,
    )


def _ways(
    policy: DiffusionPolicy, plain: PlainSampler, obs: Mapping[str, Tensor], *, n: int, steps: int
) -> dict[str, Contestant]:
    ours, theirs = (torch.Generator().manual_seed(0) for _ in range(2))

    def timed(draw: Callable[[], Any]) -> Contestant:
        return lambda _: seconds_on(policy.device, 1, draw)

    return {
        OURS: timed(lambda: policy.sample(obs, n, steps=steps, generator=ours)),
        PLAIN: timed(lambda: plain.sample(obs, n, steps=steps, generator=theirs)),
    }


def _difference(policy: DiffusionPolicy, plain: PlainSampler, obs: Mapping[str, Tensor]) -> float:
    steps = policy.config.steps
    ours = policy.sample(obs, 2, steps=steps, generator=torch.Generator().manual_seed(1))
    theirs = plain.sample(obs, 2, steps=steps, generator=torch.Generator().manual_seed(1))
    assert isinstance(ours, Tensor)
    normalized = [policy.normalizer.normalize("action", x) for x in (ours, theirs)]
    return float((normalized[0] - normalized[1]).abs().max())


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values if values.dtype == np.uint8 else values.astype(np.float32))


def _weight_bytes(policy: DiffusionPolicy) -> int:
    return sum(weight.nbytes for weight in policy.parameters())
