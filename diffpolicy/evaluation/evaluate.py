"""An evaluation: many episodes, over worker processes when asked, summed up in `eval.json`."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from diffpolicy.checkpoint import find_checkpoint, load_checkpoint
from diffpolicy.config import ExperimentConfig
from diffpolicy.device import chosen_device, usable_cores
from diffpolicy.errors import ConfigError
from diffpolicy.evaluation.metrics import EpisodeRecord, summarize
from diffpolicy.evaluation.rollout import LANES, Round, make_controller, rounds
from diffpolicy.evaluation.traces import EpisodeTrace
from diffpolicy.evaluation.workers import Job, Workers
from diffpolicy.evaluation.world import ACTING, RolloutSettings, check_world

FINAL_SEEDS_FROM = 100_000


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
    on_trace: Callable[[EpisodeTrace], None] = lambda trace: None,
    **changes: Any,
) -> dict[str, Any]:
    """Roll a checkpoint out from `episodes` starts, episode i from seed + i.

    Args:
        checkpoint: a released name or a folder.
        episodes: how many.
        seed: of the first episode. From 100000 for final numbers, from 500000 for tuning.
        workers: processes, this one included, at most one a core; the result does not depend on it.
        device: where the network runs.
        film: videos to write, by seed.
        on_episodes: told how many episodes are finished, after each batch of plans.
        on_trace: told how each episode went; they come in no particular order.
        **changes: settings of `RolloutSettings` that differ from the experiment's own.

    Returns:
        The contents of `eval.json`. In it, `rows_agree` says whether a plan was the same, bit for bit, in each row of a
        batch that it was made in; where it is false, records may vary with the number of episodes and workers.

    Raises:
        CheckpointError: there is no such checkpoint, or it was altered.
        ConfigError: a setting does not fit, the environment cannot be made or started, or a worker process died.
        ObservationError: the environment shows something else than the policy observes.
    """
    if episodes < 1 or workers < 1:
        raise ConfigError(f"episodes is {episodes} and workers is {workers}; both must be at least 1")
    began = time.perf_counter()
    folder, device = find_checkpoint(checkpoint), chosen_device(device)
    processes = min(workers, usable_cores(), math.ceil(episodes / LANES))
    # The others are started first: while they import for seconds, this process looks at what was asked, and then works too.
    with Workers(processes - 1, folder, device) as others:
        policy, meta = load_checkpoint(folder, device)
        policy.eval().requires_grad_(False)
        settings = settings_of(meta["experiment"], **changes)
        check_world(settings, policy.obs_shapes, policy.action_dim, seed)
        acting = make_controller(policy, settings)
        job = Job(meta["identity"], range(seed, seed + episodes), settings, film or {})
        records: dict[int, EpisodeRecord] = {}
        rows_agree = True
        with closing(rounds(policy, others.begin(job), settings, film=job.film)) as own:
            for each in _all_rounds(own, others):
                records |= {record.seed: record for record in each.records}
                rows_agree &= each.rows_agree
                for trace in each.traces:
                    on_trace(trace)
                on_episodes(len(records))
                if len(records) == episodes:  # a worker that is still importing has nothing left to do
                    break
    config = meta["experiment"].policy
    return {
        "checkpoint": {"name": str(checkpoint), "identity": meta["identity"], "trained": meta["trained"]},
        "env": settings.env,
        "env_kwargs": dict(settings.env_kwargs),
        "protocol": settings.protocol,
        "seed": seed,
        "nfe": settings.steps or config.steps,
        "sampler": settings.sampler or config.sampler,
        **{name: getattr(acting, name) for name in ACTING},
        "controller": _named(settings.controller),
        "lanes": LANES,
        "rows_agree": rows_agree,
        "device": device,
        "torch": torch.__version__,
        "workers": workers,
        "wall_s": round(time.perf_counter() - began, 2),
        **summarize([records[seed] for seed in job.seeds]),
    }


def _named(controller: Any) -> str:
    """What acted, with what it was made with beside the settings."""
    made = ", ".join(f"{key}={value!r}" for key, value in getattr(controller, "keywords", {}).items())
    return f"{getattr(controller, 'func', controller).__name__}{f'({made})' if made else ''}"


def _all_rounds(own: Iterator[Round], others: Workers) -> Iterator[Round]:
    """This process's rounds, and between them those of the others, until all are done."""
    for each in own:
        yield each
        yield from others.rounds(to_the_end=False)
    yield from others.rounds(to_the_end=True)


def write_eval(result: Mapping[str, Any], folder: Path) -> Path:
    """Write `eval.json` into a folder, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    partial, final = folder / "eval.json.partial", folder / "eval.json"
    partial.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    partial.replace(final)
    return final


def score_line(result: Mapping[str, Any]) -> str:
    """One line for people: score and success with their intervals, by what protocol, and whether that will repeat."""
    low, high = result["mean_score_interval_95"]
    s_low, s_high = result["success_interval_95"]
    doubt = "" if result["rows_agree"] else "; rounding depends on the row, so other --episodes or --workers may differ"
    return (
        f"mean score {result['mean_score']:.3f} [{low:.3f}, {high:.3f}], success {result['success_rate']:.1%} "
        f"[{s_low:.1%}, {s_high:.1%}] over {result['episodes']} episodes "
        f"(protocol {result['protocol']}, seeds from {result['seed']}, {result['nfe']} network evaluations a plan; "
        f"95% intervals{doubt})"
    )
