"""How long a training step takes: beside the same network in plain style, and beside the machine's own limit."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from diffpolicy.benchmarking.counted_work import training_flops, update_bytes
from diffpolicy.benchmarking.machine_rate import copies, matrix_products, seconds_on
from diffpolicy.benchmarking.our_training import EXPERIMENTS, OurTraining, experiment, open_windows
from diffpolicy.benchmarking.plain_training import PlainTraining
from diffpolicy.benchmarking.scaling import Load, Scaling, compare_scaling
from diffpolicy.benchmarking.timing import Comparison, Contestant, compare
from diffpolicy.errors import ConfigError
from diffpolicy.policy import DiffusionPolicy

OURS: Final = "diffpolicy"
PLAIN: Final = "plain PyTorch"
PRODUCTS: Final = "its operations, as matrix products"
UPDATE: Final = "its update's bytes, copied"
COMPILED: Final = "diffpolicy, compiled"

_BATCH, _FORWARD, _BACKWARD, _STEP = "batch", "batch's loss", "loss and its gradients", "step"
_DTYPES: Final = {"bfloat16": torch.bfloat16, "float32": torch.float32}


@dataclass(frozen=True)
class Steps:
    """Training steps, timed.

    Attributes:
        network: Its name.
        experiment: Where its settings come from.
        parameters: Weights that are learned.
        batch: Windows in a step.
        precision: Of our products, and of those that ours are compared with.
        flops: Operations of a step, counted.
        n_bytes: Bytes that clipping, optimizer and average move in a step, counted.
        comparison: Microseconds for a step.
    """

    network: str
    experiment: str
    parameters: int
    batch: int
    precision: str
    flops: int
    n_bytes: int
    comparison: Comparison


@dataclass(frozen=True)
class Compiled:
    """What `torch.compile` of the network takes and gives.

    Attributes:
        compile_s: What the first step takes longer than the others, seconds.
        saved_us: What each later step takes less, microseconds; negative if more.
        comparison: Microseconds for a step.
    """

    compile_s: float
    saved_us: float
    comparison: Comparison

    @property
    def break_even_steps(self) -> float | None:
        """After how many steps the compilation has paid; None: never."""
        return 1e6 * self.compile_s / self.saved_us if self.saved_us > 0 else None


def compare_steps(
    network: str, batch: int, device: torch.device, rounds: int, on_round: Callable[[], None] = lambda: None
) -> Steps:
    """Times training steps from the same weights: ours, the plain ones, and what both must do at least."""
    config = experiment(network, batch=batch)
    windows = open_windows(config)
    ours = OurTraining(config, windows, device)
    plain = PlainTraining(config, windows, ours.policy)
    flops, n_bytes = training_flops(ours.policy, batch), update_bytes(ours.policy)
    contestants = {
        OURS: _timed(device, ours.step),
        PLAIN: _timed(device, plain.step),
        PRODUCTS: matrix_products(flops, _DTYPES[config.training.precision], device),
        UPDATE: copies(n_bytes, _state_bytes(ours.policy), device),
    }
    pairs = [(name, OURS) for name in (PLAIN, PRODUCTS, UPDATE)]
    what = f"a training step of {network}, batch {batch}"
    comparison = compare(what, contestants, pairs, rounds=rounds, on_round=on_round)
    parameters = sum(weight.numel() for weight in ours.policy.parameters())
    precision = config.training.precision
    return Steps(network, EXPERIMENTS[network], parameters, batch, precision, flops, n_bytes, comparison)


def split_step(
    network: str, batch: int, device: torch.device, rounds: int, on_round: Callable[[], None] = lambda: None
) -> dict[str, float]:
    """Tells where a step's time goes: microseconds for each part.

    A part is what doing it too takes longer, since clocks within a step would make a device wait.
    """
    config = experiment(network, batch=batch)
    ours = OurTraining(config, open_windows(config), device)
    fixed = ours.draw()

    def backward() -> None:
        ours.learner.loss(fixed).backward()
        ours.policy.zero_grad()

    contestants = {
        _BATCH: _timed(device, ours.draw),
        _FORWARD: _timed(device, lambda: ours.learner.loss(fixed)),
        _BACKWARD: _timed(device, backward),
        _STEP: _timed(device, lambda: ours.learner.step(fixed)),
    }
    times = compare("", contestants, [], rounds=rounds, on_round=on_round).times_us
    batch_us, forward_us, backward_us, step_us = (times[name].median for name in contestants)
    return {
        "batch": batch_us,
        "forward": forward_us,
        "backward": backward_us - forward_us,
        "clip, optimizer, average": step_us - backward_us,
    }


def scale_batch(
    network: str,
    sizes: Sequence[int],
    device: torch.device,
    rounds: int,
    on_round: Callable[[], None] = lambda: None,
) -> Scaling:
    """Times our steps with few and many windows in a batch."""
    first = experiment(network, batch=sizes[0])
    windows = open_windows(first)
    learner = OurTraining(first, windows, device).learner
    trainings = {size: OurTraining(experiment(network, batch=size), windows, device, learner) for size in sizes}
    return _scaling("windows in a batch", trainings, device, rounds, on_round)


def scale_width(
    network: str,
    widths: Sequence[int],
    batch: int,
    device: torch.device,
    rounds: int,
    on_round: Callable[[], None] = lambda: None,
) -> Scaling:
    """Times our steps of narrow and wide networks."""
    experiments = {width: experiment(network, batch=batch, width=width) for width in widths}
    windows = open_windows(experiments[widths[0]])
    trainings = {width: OurTraining(config, windows, device) for width, config in experiments.items()}
    return _scaling("width", trainings, device, rounds, on_round)


def compare_compiled(
    network: str, batch: int, device: torch.device, rounds: int, on_round: Callable[[], None] = lambda: None
) -> Compiled:
    """Times our steps with the network compiled by `torch.compile`, and without.

    Raises:
        ConfigError: It cannot be compiled here, as without a C++ compiler.
    """
    config = experiment(network, batch=batch)
    windows = open_windows(config)
    ours = OurTraining(config, windows, device)
    settings = dataclasses.replace(config.training, compile=True)
    compiled = OurTraining(dataclasses.replace(config, training=settings), windows, device)
    with _fresh_cache():
        began = time.perf_counter()
        try:
            compiled.step()
        except Exception as error:  # of many kinds, from a missing compiler to an operation that it does not know
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise ConfigError(
                f"--compile: torch.compile fails here ({reason}); install a C++ compiler, or leave it out"
            ) from None
        compile_s = time.perf_counter() - began
        contestants = {OURS: _timed(device, ours.step), COMPILED: _timed(device, compiled.step)}
        comparison = compare("", contestants, [(OURS, COMPILED)], rounds=rounds, on_round=on_round)
    times = comparison.times_us
    saved_us = times[OURS].median - times[COMPILED].median
    return Compiled(max(0.0, compile_s - times[COMPILED].median / 1e6), saved_us, comparison)


@contextlib.contextmanager
def _fresh_cache() -> Iterator[None]:
    """What was compiled once is kept on disk, and the next time would seem to cost nothing."""
    name = "TORCHINDUCTOR_CACHE_DIR"
    before = os.environ.get(name)
    with tempfile.TemporaryDirectory() as folder:
        os.environ[name] = folder
        try:
            yield
        finally:
            del os.environ[name]
            if before is not None:
                os.environ[name] = before


def _scaling(
    against: str,
    trainings: dict[int, OurTraining],
    device: torch.device,
    rounds: int,
    on_round: Callable[[], None],
) -> Scaling:
    loads = [
        Load(
            size,
            training_flops(ours.policy, ours.config.training.batch_size),
            update_bytes(ours.policy),
            {OURS: _timed(device, ours.step)},
        )
        for size, ours in trainings.items()
    ]
    return compare_scaling(
        against,
        loads,
        lambda products_us, copies_us: products_us + copies_us,  # weights change when all gradients are known
        dtype=_DTYPES[next(iter(trainings.values())).config.training.precision],
        working_set=max(_state_bytes(ours.policy) for ours in trainings.values()),
        device=device,
        rounds=rounds,
        on_round=on_round,
    )


def _timed(device: torch.device, work: Callable[[], Any]) -> Contestant:
    # A processor works as it is told to; a card is told ahead, and asked only now and then whether it is done.
    turn = 1 if device.type == "cpu" else 10

    def repeated() -> None:
        for _ in range(turn):
            work()

    return lambda _: seconds_on(device, turn, repeated)


def _state_bytes(policy: DiffusionPolicy) -> int:
    """Weights, gradients, two moments and the average."""
    return 5 * sum(weight.nbytes for weight in policy.parameters())
