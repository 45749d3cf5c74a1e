"""A policy as one file that torch alone can open, so that a robot's computer needs neither this package nor its company.

The file is torch.export's: all of a sample as a list of torch's own operations (every step of the sampler written out), the
weights, and `policy.json`, which says what goes in, what comes out and which of the planned actions to execute. It holds
JSON and plain numbers, nothing pickled. What it plans is compared with the policy's own plans before it is kept.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from diffpolicy import __version__
from diffpolicy.checkpoint import find_checkpoint, load_checkpoint
from diffpolicy.diffusion import look_times, sample, sampler_steps, standard_normal
from diffpolicy.diffusion.samplers import Step
from diffpolicy.errors import CheckpointError, ConfigError
from diffpolicy.models import is_picture
from diffpolicy.policy import DiffusionPolicy
from diffpolicy.policy_inputs import check_warm_start
from diffpolicy.tasks import Observation

DESCRIPTION = "policy.json"
PLANS_COMPARED = 64
#: How far a plan may lie from the policy's own, as a share of the demonstrated range of each action. Some of the random
#: observations are far from all demonstrated ones, and there rounding counts for more...
TOLERANCE = 1e-4
#: ... and besides, times what the sampler magnifies it by: how far rounding moves a network's output of a few units.
_OUTPUT_ROUNDING = 1e-6
_FORMAT = 1
_ABOUT = (
    "Call the program with the observations (a list, in the order given here) and standard normal noise; it returns plans. "
    "plan[0] belongs to the oldest of obs_horizon observations, one control step apart, the last being the present. Execute "
    "one action a control step: those that lie at the places of execute_at along the plan, read off linearly in between; "
    "then plan anew. In evaluation the noise is multiplied by noise_scale, or left as it is once nothing has moved far for "
    "so many control steps as patience says. A program whose warm_start is above 0 takes the plan before too, as it looks "
    "from now on; for the first plan of an episode export another that does not."
)


class Exported(NamedTuple):
    """What was written, and how well it agrees with the policy."""

    path: Path
    description: dict[str, Any]
    """The contents of `policy.json`."""
    difference: float
    """The largest between plans of the file and of the policy, in the actions' units."""
    difference_of_range: float
    """The largest as a share of the demonstrated range of the action."""
    own_warm_start: float
    """The policy's own in closed loop, whatever the program's."""


def export_policy(
    checkpoint: str | Path,
    path: Path,
    *,
    steps: int | None = None,
    sampler: str | None = None,
    warm_start: float = 0.0,
) -> Exported:
    """Write the policy of a checkpoint as one file for `torch.export.load`, and compare their plans.

    The program in it takes a list of observations in the order of the policy's keys, (batch, obs_horizon, *shape) in the
    world's units, float32 or for pictures uint8, and standard normal noise (batch, n, pred_horizon, action), float32. It
    returns what `policy.sample` makes of them. One that starts warm takes a guess too, (batch, pred_horizon, action).
    Any batch and any n will do. Unlike the policy it takes NaN for a number.

    Args:
        checkpoint: a released name or a folder.
        path: the file, ending in `.pt2`; an earlier one is replaced once the new one has been compared.
        steps: network evaluations for a plan; the policy's own number when None.
        sampler: one that draws no noise on the way; the policy's own when None.
        warm_start: the share of the way that a guess spares the program; 0 for one that takes none.

    Raises:
        CheckpointError: there is no such checkpoint, it was altered, or the program plans otherwise than the policy.
        ConfigError: the path, the sampler, the steps or the start are not possible, or the policy's task is no sequence of
            torch's operations.
        OSError: the file cannot be written; an earlier one is left as it was.
    """
    policy, meta = load_checkpoint(find_checkpoint(checkpoint))
    policy.eval().requires_grad_(False)
    steps = policy.config.steps if steps is None else steps
    sampler = sampler or policy.config.sampler
    check_warm_start(warm_start)
    table = sampler_steps(policy.objective, sampler, steps, 1 - warm_start)
    if any(step.next_noise for step in table):
        raise ConfigError(
            f"sampler {sampler!r} draws noise at every step, but an exported program draws none; sampler 'ddim' solves the "
            "same policy without"
        )
    identity = {"name": str(checkpoint), "identity": meta["identity"], "trained": meta["trained"]}
    description = {**describe(policy, sampler, steps, warm_start), "checkpoint": identity}
    with _written_whole(path) as partial:
        partial.write_bytes(_archive(_trace(_Plan(policy, sampler, steps, warm_start)), description))
        with partial.open("rb") as file:
            program = torch.export.load(file).module()
        difference, of_range = _compare(program, policy, sampler, steps, warm_start)
        tolerance = _tolerance(table)
        if not of_range <= tolerance:  # so put, NaN is refused too
            raise CheckpointError(
                f"{path}: not kept, since its plans differ from the policy's by {difference:.2g}, {of_range:.2g} of the "
                f"range of actions, where rounding explains {tolerance:.2g}; try another version of torch (this is "
                f"{torch.__version__})"
            )
    return Exported(path, description, difference, of_range, policy.config.warm_start)


def describe(policy: DiffusionPolicy, sampler: str, steps: int, warm_start: float = 0.0) -> dict[str, Any]:
    """What a robot's program must know, as plain data: shapes and kinds of all inputs, time, and where they come from."""
    config = policy.config
    plan = ["batch", "n", config.pred_horizon, policy.action_dim]
    low, high = _range(policy, "action", (policy.action_dim,))
    # A list: from a dictionary torch takes the values as they come, and would exchange two keys of one shape unnoticed.
    observations = [
        {
            "key": key,
            "shape": ["batch", config.obs_horizon, *shape],
            "dtype": "uint8" if is_picture(shape) else "float32",
        }
        for key, shape in policy.obs_shapes.items()
    ]
    return {
        "about": _ABOUT,
        "format": _FORMAT,
        "versions": {"diffpolicy": __version__, "torch": torch.__version__},
        "observations": observations,
        "noise": {"shape": plan, "dtype": "float32", "distribution": "standard normal"},
        "plan": {"shape": plan, "dtype": "float32", "low": low.tolist(), "high": high.tolist()},
        "obs_horizon": config.obs_horizon,
        "pred_horizon": config.pred_horizon,
        "action_horizon": config.action_horizon,
        "execution_speed": config.execution_speed,
        "noise_scale": config.noise_scale,
        "warm_start": warm_start,
        "patience": config.patience,
        "execute_at": [config.obs_horizon - 1 + k * config.execution_speed for k in range(config.action_horizon)],
        "sampler": sampler,
        "steps": steps,
    }


class _Plan(nn.Module):
    """`policy.sample` for noise that is given."""

    def __init__(self, policy: DiffusionPolicy, sampler: str, steps: int, warm_start: float) -> None:
        super().__init__()
        self.policy, self.sampler, self.steps, self.start = policy, sampler, steps, 1 - warm_start

    def forward(
        self,
        obs: list[Tensor],
        noise: Float[Tensor, "batch n horizon action"],
        guess: Float[Tensor, "batch horizon action"] | None = None,
    ) -> Tensor:
        policy = self.policy
        how: dict[str, Any] = {"sampler": self.sampler, "steps": self.steps, "start": self.start}
        if guess is not None:
            noise = policy.warm(noise, guess, look_times(policy.objective, **how)[0])
        cond = policy.encode(dict(zip(policy.obs_shapes, obs, strict=True)))
        x, _ = sample(policy.backbone, policy.objective, cond, noise, **how)
        return policy.normalizer.unnormalize("action", x)


def _trace(plan: _Plan) -> torch.export.ExportedProgram:
    policy = plan.policy
    batch, n = torch.export.Dim("batch", min=1), torch.export.Dim("n", min=1)
    # Sizes of 1 would be taken for constants.
    seen = list(_observations(policy, 2, torch.Generator().manual_seed(0)).values())
    shape = (policy.config.pred_horizon, policy.action_dim)
    inputs: tuple[Any, ...] = (seen, torch.zeros(2, 3, *shape))
    sizes: dict[str, Any] = {"obs": [{0: batch} for _ in policy.obs_shapes], "noise": {0: batch, 1: n}}
    if plan.start < 1:
        inputs, sizes["guess"] = (*inputs, torch.zeros(2, *shape)), {0: batch}
    plan(*inputs)  # so that what is computed once and remembered is traced as numbers, not as how they come about
    try:
        with torch.no_grad(), _silence():
            program = torch.export.export(plan, inputs, dynamic_shapes=sizes)
    except Exception as error:  # whatever a task of the user's does with tensors that have no values
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))
        raise ConfigError(
            f"policy.task {policy.config.task!r} or a network cannot be exported: {reason.rstrip('.')}; features must be "
            "made by torch's operations, the same whatever the numbers and their batch"
        ) from error
    # Examples would be stored as a pickle, and where each operation stood in our source as paths of this machine.
    program.example_inputs = None
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program


@contextmanager
def _silence() -> Iterator[None]:
    """Keep torch from printing all it has of an unfinished program beside its error."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def _archive(program: torch.export.ExportedProgram, description: dict[str, Any]) -> bytes:
    # In memory first: torch's own writer does not say that a disk is full.
    archive = io.BytesIO()
    torch.export.save(program, archive, extra_files={DESCRIPTION: json.dumps(description, indent=1)})
    return archive.getvalue()


@contextmanager
def _written_whole(path: Path) -> Iterator[Path]:
    """A file to fill beside `path`, which takes its place in the end, or is removed after an error."""
    if path.suffix != ".pt2":
        raise ConfigError(f"{path}: the name of an exported policy ends in .pt2, or torch would not open it")
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder; give the name of a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        partial.touch()  # a folder that cannot be written is told before the work, not after
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _compare(
    program: nn.Module, policy: DiffusionPolicy, sampler: str, steps: int, warm_start: float
) -> tuple[float, float]:
    """The largest difference between plans of a program and of its policy: in units, and as a share of the range."""
    obs = _observations(policy, PLANS_COMPARED, torch.Generator().manual_seed(0))
    shape = (PLANS_COMPARED, 1, policy.config.pred_horizon, policy.action_dim)
    noise = standard_normal(shape, torch.Generator().manual_seed(1), policy.device)
    low, high = _range(policy, "action", (policy.action_dim,))
    guess = torch.lerp(low, high, torch.rand(PLANS_COMPARED, *shape[2:], generator=torch.Generator().manual_seed(2)))
    theirs = program(list(obs.values()), noise, *([guess] if warm_start else []))
    ours = policy.sample(obs, sampler=sampler, steps=steps, noise=noise, guess=guess, warm_start=warm_start)
    assert isinstance(ours, Tensor)
    difference = (theirs - ours).abs()
    of_range = difference / torch.where(high > low, high - low, torch.ones_like(low))
    return float(difference.max()), float(of_range.max())


def _tolerance(table: tuple[Step, ...]) -> float:
    """What may be rounding. From pure noise, a policy that names the noise implies data of a thousand times its output."""
    magnified = max(abs(step.next_data * step.implied[1] / step.implied[2]) for step in table)
    return TOLERANCE + _OUTPUT_ROUNDING * magnified


def _observations(policy: DiffusionPolicy, rows: int, generator: torch.Generator) -> Observation:
    """Random ones, about as large as demonstrated ones as far as the policy knows: it keeps the ranges of features."""
    features = policy.task.features({key: torch.zeros(1, *shape) for key, shape in policy.obs_shapes.items()})
    drawn: Observation = {}
    for key, shape in policy.obs_shapes.items():
        size = (rows, policy.config.obs_horizon, *shape)
        if is_picture(shape):
            drawn[key] = torch.randint(256, size, generator=generator, dtype=torch.uint8)
            continue
        low, high = -torch.ones(shape), torch.ones(shape)
        if key in policy.normalizer.keys:
            low, high = _range(policy, key, tuple(features[key].shape[1:]))
        if low.shape != shape:  # the task makes other numbers of it
            low, high = low.min(), high.max()
        drawn[key] = torch.lerp(low, high, torch.rand(size, generator=generator))
    return drawn


def _range(policy: DiffusionPolicy, key: str, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """The smallest and the largest demonstrated numbers of a feature, or of the action."""
    one = torch.ones(shape)
    return policy.normalizer.unnormalize(key, -one), policy.normalizer.unnormalize(key, one)
