"""An evaluation: many episodes, over worker processes when asked, summed up in `eval.json`."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from diffpolicy.checkpoint import find_checkpoint, load_policy, read_meta
from diffpolicy.config import ExperimentConfig
from diffpolicy.device import usable_cores
from diffpolicy.errors import ConfigError
from diffpolicy.evaluation.metrics import EpisodeRecord, summarize
from diffpolicy.evaluation.rollout import LANES, RolloutSettings, check_world, rollout
from diffpolicy.policy import DiffusionPolicy

FINAL_SEEDS_FROM = 100_000


@dataclass(frozen=True)
class _Block:
    seeds: Sequence[int]
    settings: RolloutSettings
    film: Mapping[int, Path]


def settings_of(experiment: ExperimentConfig, **changes: Any) -> RolloutSettings:
    """The world that an experiment is judged in, with changes; None leaves a setting as it is, `env_kwargs` add up."""
    own = experiment.evaluation
    chosen: dict[str, Any] = {"env": own.env, "protocol": own.protocol}
    chosen |= {key: value for key, value in changes.items() if value is not None}
    return RolloutSettings(**chosen | {"env_kwargs": {**own.env_kwargs, **(changes.get("env_kwargs") or {})}})


def evaluate(
    checkpoint: str | Path,
    *,
    episodes: int = 500,
    seed: int = FINAL_SEEDS_FROM,
    workers: int = 1,
    device: str = "cpu",
    film: Mapping[int, Path] | None = None,
    on_episodes: Callable[[int], None] = lambda done: None,
    **changes: Any,
) -> dict[str, Any]:
    """Roll a checkpoint out from `episodes` starts, episode i from seed + i.

    Args:
        checkpoint: a released name or a folder.
        episodes: how many.
        seed: of the first episode. From 100000 for final numbers, from 500000 for tuning.
        workers: processes, at most one a core; the result does not depend on it.
        device: where the network runs.
        film: videos to write, by seed.
        on_episodes: told how many episodes are finished.
        **changes: settings of `RolloutSettings` that differ from the experiment's own.

    Returns:
        The contents of `eval.json`.
    """
    if episodes < 1 or workers < 1:
        raise ConfigError(f"episodes is {episodes} and workers is {workers}; both must be at least 1")
    began = time.perf_counter()
    folder = find_checkpoint(checkpoint)
    meta = read_meta(folder)
    settings = settings_of(meta["experiment"], **changes)
    # What does not fit is told now, not after the workers have started.
    policy = load_policy(folder, device)
    check_world(settings, policy.obs_shapes, policy.action_dim, seed)
    seeds = range(seed, seed + episodes)
    blocks = [_Block(seeds[i : i + LANES], settings, film or {}) for i in range(0, episodes, LANES)]
    if workers == 1 or len(blocks) == 1:
        records = rollout(policy, seeds, settings, film=film, on_episodes=on_episodes)
    else:
        records = _in_processes(blocks, min(workers, len(blocks), usable_cores()), folder, device, on_episodes)
    config = meta["experiment"].policy
    return {
        "checkpoint": {"name": str(checkpoint), "identity": meta["identity"], "trained": meta["trained"]},
        "env": settings.env,
        "env_kwargs": dict(settings.env_kwargs),
        "protocol": settings.protocol,
        "seed": seed,
        "nfe": settings.steps or config.steps,
        "sampler": settings.sampler or config.sampler,
        "action_horizon": settings.action_horizon or config.action_horizon,
        "speed": settings.speed or config.execution_speed,
        "delay": settings.delay,
        "lanes": LANES,
        "device": device,
        "torch": torch.__version__,
        "workers": workers,
        "wall_s": round(time.perf_counter() - began, 2),
        **summarize(records),
    }


def _in_processes(
    blocks: list[_Block], workers: int, checkpoint: Path, device: str, on_episodes: Callable[[int], None]
) -> list[EpisodeRecord]:
    # Each worker computes on one thread; the variable stops it from starting more before torch is even loaded.
    before, others = os.environ.get("OMP_NUM_THREADS"), multiprocessing.active_children()
    os.environ["OMP_NUM_THREADS"] = "1"
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_start_worker, initargs=(checkpoint, device)
    )
    try:
        with _workers_ignore_interrupts():
            futures = {pool.submit(_run_block, block): index for index, block in enumerate(blocks)}
        results: dict[int, list[EpisodeRecord]] = {}
        for future in as_completed(futures):
            results[futures[future]] = future.result()
            on_episodes(sum(map(len, results.values())))
        pool.shutdown()
    except BaseException as error:
        # Waiting for blocks in progress would take a minute, and Ctrl-C means now.
        pool.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            if child not in others:
                child.terminate()
        if isinstance(error, BrokenProcessPool):
            raise ConfigError("a worker process died, perhaps for want of memory; use fewer --workers") from None
        raise
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
    return [record for index in sorted(results) for record in results[index]]


@contextmanager
def _workers_ignore_interrupts() -> Iterator[None]:
    """Processes started within inherit that Ctrl-C is ignored: it is the parent's to handle, also while they import."""
    if threading.current_thread() is not threading.main_thread():  # where Python allows no handlers
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


_worker_policy: DiffusionPolicy | None = None


def _start_worker(checkpoint: Path, device: str) -> None:
    """Runs once in each worker: the policy is read once for all blocks."""
    global _worker_policy
    _worker_policy = load_policy(checkpoint, device)


def _run_block(block: _Block) -> list[EpisodeRecord]:
    assert _worker_policy is not None
    return rollout(_worker_policy, block.seeds, block.settings, film=block.film)


def write_eval(result: Mapping[str, Any], folder: Path) -> Path:
    """Write `eval.json` into a folder, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    partial, final = folder / "eval.json.partial", folder / "eval.json"
    partial.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    partial.replace(final)
    return final


def score_line(result: Mapping[str, Any]) -> str:
    """One line for people: score and success with their intervals, and by what protocol."""
    low, high = result["mean_score_interval_95"]
    s_low, s_high = result["success_interval_95"]
    return (
        f"mean score {result['mean_score']:.3f} [{low:.3f}, {high:.3f}], success {result['success_rate']:.1%} "
        f"[{s_low:.1%}, {s_high:.1%}] over {result['episodes']} episodes "
        f"(protocol {result['protocol']}, seeds from {result['seed']}, {result['nfe']} network evaluations a plan; "
        "95% intervals)"
    )
