"""What the report of a folder shows: an evaluation's episodes, films and plans of its policy, and the training's curves.

Films and plans are made anew, by the policy and in the world that were evaluated. These may be a user's own and fail in any
way; then the report is without them and says why.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import av
import numpy as np
from diffpolicy_envs.pusht import SUCCESS_COVERAGE, block_corners

from diffpolicy.checkpoint import find_checkpoint, load_policy, read_meta
from diffpolicy.device import chosen_device
from diffpolicy.errors import ConfigError
from diffpolicy.evaluation.evaluate import settings_of
from diffpolicy.evaluation.metrics import EpisodeRecord
from diffpolicy.evaluation.moment import moment_in
from diffpolicy.evaluation.rollout import LANES, rollout
from diffpolicy.evaluation.traces import read_traces
from diffpolicy.evaluation.world import ACTING, RolloutSettings, make_env
from diffpolicy.intervals import wilson_interval
from diffpolicy.training.card import training_facts
from diffpolicy.training.log import read_log
from diffpolicy.visualization.episode_charts import Episodes
from diffpolicy.visualization.report import (
    chosen_episodes,
    episode_sections,
    episode_words,
    episodes_section,
    facts_section,
    film_section,
)
from diffpolicy.visualization.training_charts import training_sections

Result = Mapping[str, Any]
"""The contents of `eval.json`."""
Tiles = list[tuple[object, str, str]]

_PLANS = 64
_FILM_PX = 400


def evaluation_parts(
    folder: Path, result: Result, left_out: list[str]
) -> tuple[Tiles, list[str], list[str], list[str]]:
    """An evaluation: its numbers; how episodes went over time; what was counted; and two tables."""
    records, traces = _records(result), None
    try:
        traces = read_traces(folder, records)
    except ConfigError as error:
        left_out.append(f"how episodes went: {error}")
    pusht = traces is not None and "goal_pose" in traces
    over_time, counted = episode_sections(
        _episodes(records),
        traces,
        goal_outline_px=_goal_outline(traces, result),
        success_coverage=SUCCESS_COVERAGE if pusht else None,
        period_s=_period_s(_settings(result)),
    )
    tables = [episodes_section(_episodes(records)), facts_section("How it was measured", _facts(result))]
    return _tiles(result), over_time, counted, tables


def films_part(checkpoint: Path, result: Result, left_out: list[str]) -> list[str]:
    """Films of the best and the worst episodes, played again; one that ends otherwise than it was scored says so."""
    records = _records(result)
    episodes = _episodes(records)
    best, worst = chosen_episodes(episodes)
    with _or_left_out("films", left_out), tempfile.TemporaryDirectory() as place:
        if other := _other_controller(result):
            raise ConfigError(f"the policy acted through {other}, which this command does not know")
        policy = load_policy(checkpoint, chosen_device(result["device"]))
        films = {records[index].seed: Path(place) / f"{index}.mp4" for index in best + worst}
        # Where a plan was the same in every row, it is the same among few; elsewhere lanes must be as many as they were.
        lanes = min(LANES, len(films)) if result["rows_agree"] else LANES
        played = rollout(policy, list(films), _settings(result), film=films, film_px=_FILM_PX, lanes=lanes)
        again = {one.seed: one for one in played}
        shown = []
        with av.open(str(films[played[0].seed])) as film:
            size = film.streams.video[0].width, film.streams.video[0].height
        for index in best + worst:
            seed, rank = records[index].seed, "Best" if index in best else "Worst"
            differs = "" if again[seed] == records[index] else " (played again, and ended otherwise)"
            shown.append((films[seed].read_bytes(), f"{rank}: {episode_words(episodes, index)}{differs}"))
        return [film_section(shown, size)]
    return []


def first_plan_part(checkpoint: Path, result: Result | None, left_out: list[str]) -> list[str]:
    """How the first plans of an episode become out of noise, with a slider."""
    from diffpolicy_demos.pages.page import section

    from diffpolicy.visualization.denoising_page import denoising_widget

    with _or_left_out("the denoising of a plan", left_out):
        if result is None:
            own = read_meta(checkpoint)["experiment"]
            if not own.evaluation.episodes:
                raise ConfigError("evaluation.episodes is 0, so there is no world to plan in")
            policy, settings, seed = load_policy(checkpoint), settings_of(own), own.evaluation.seed
        else:
            policy = load_policy(checkpoint, chosen_device(result["device"]))
            settings, seed = _settings(result), result["seed"]
        moment = moment_in(policy, settings, seed)
        _, path = moment.sample(_PLANS)
        widget = denoising_widget(
            path,
            moment.scene,
            noise_levels=policy.noise_levels(moment.steps, moment.sampler).numpy(),
            nfe=moment.steps,
            period_s=_period_s(settings) or 0.1,
            name="first-plan",
            **moment.look,
        )
        about = f"{_PLANS} samples of p(x | y) at the start from seed {seed}; the slider leads from noise to plan."
        return [section("The first plan, from noise", widget, about=about)]
    return []


def training_parts(run: Path) -> tuple[Tiles, list[str], list[str]]:
    """A training: its numbers, its curves, and a table of what was trained."""
    log = read_log(run / "log.jsonl")
    curves = {name: (np.array(list(by), dtype=float), np.array(list(by.values()))) for name, by in log.items()}
    latest = {name: list(by.values())[-1] for name, by in log.items()}
    try:
        meta = read_meta(find_checkpoint(run))
    except ValueError:  # a run without a checkpoint, or with a damaged one, still has its log
        return [], training_sections(curves), []
    experiment, trained = meta["experiment"], meta["trained"]
    tuning = experiment.evaluation
    interval = None
    if "success_rate" in log and tuning.episodes:
        rates = log["success_rate"].values()
        interval = np.array([wilson_interval(rate * tuning.episodes, tuning.episodes) for rate in rates])
    about = f"On {tuning.episodes} episodes, seeds from {tuning.seed}."
    facts = [(name, value.replace("`", "")) for name, value in training_facts(experiment, trained, latest)]
    whole = trained["steps"] >= experiment.training.steps
    tiles: Tiles = [
        (
            f"{trained['steps']:,}",
            "training steps" if whole else f"of {experiment.training.steps:,} steps: stopped",
            "",
        ),
        (f"{trained['seconds'] / 60:.1f} min", "in training steps", ""),
    ]
    for name, words in (("loss", "last loss"), ("validation_loss", "last loss on held-out episodes")):
        if name in latest:
            tiles.append((f"{latest[name]:.4f}", words, ""))
    if "mean_score" in log:
        tiles.append((f"{max(log['mean_score'].values()):.3f}", "best mean score in closed loop", ""))
        tiles.append((f"{max(log['success_rate'].values()):.0%}", "best success rate in closed loop", ""))
    title = "The training" if whole else f"The training, stopped at step {trained['steps']:,}"
    return tiles, training_sections(curves, interval, about), [facts_section(title, facts)]


@contextmanager
def _or_left_out(what: str, left_out: list[str]) -> Iterator[None]:
    """A part that fails is left out, with one line: an evaluation must not be lost for want of a picture of it."""
    try:
        yield
    except Exception as error:  # of a world or a task of a user's own, any
        name = "" if isinstance(error, ConfigError) else f"{type(error).__name__}: "
        left_out.append(f"{what}: {name}{' '.join(str(error).split())}")


def _records(result: Result) -> list[EpisodeRecord]:
    return [EpisodeRecord(**record) for record in result["records"]]


def _episodes(records: list[EpisodeRecord]) -> Episodes:
    columns = {name: [asdict(one)[name] for one in records] for name in asdict(records[0])}
    return Episodes(
        seeds=np.array(columns["seed"]),
        score=np.array(columns["score"], dtype=float),
        success=np.array(columns["success"], dtype=bool),
        steps=np.array(columns["steps"]),
        final_coverage=np.array([np.nan if one is None else one for one in columns["final_coverage"]]),
    )


def _other_controller(result: Result) -> str | None:
    """What the policy acted through, where that is not the package's own controller."""
    name = result.get("controller", "Controller")
    return None if name == "Controller" else name


def _settings(result: Result) -> RolloutSettings:
    """The world and the manner of acting that were evaluated. What was longest is a limit that changes no episode."""
    return RolloutSettings(
        env=result["env"],
        env_kwargs=result["env_kwargs"],
        protocol=result["protocol"],
        steps=result["nfe"],
        sampler=result.get("sampler"),
        max_steps=max(record["steps"] for record in result["records"]),
        **{name: result[name] for name in ACTING if name in result},
    )


def _period_s(settings: RolloutSettings) -> float | None:
    """Time between two steps, if the world tells."""
    try:
        env = make_env(settings, render=False)
    except ConfigError:
        return None
    fps = env.metadata.get("render_fps")
    env.close()
    return 1 / fps if fps else None


def _goal_outline(traces: Mapping[str, np.ndarray] | None, result: Result) -> np.ndarray | None:
    """Corners of the goal, where it is the same in all episodes."""
    varies = "scale" in (result["env_kwargs"].get("variations") or {})
    if traces is None or "goal_pose" not in traces or varies or np.ptp(traces["goal_pose"], axis=0).any():
        return None
    return np.asarray(block_corners(traces["goal_pose"][0]))


def _tiles(result: Result) -> Tiles:
    low, high = result["mean_score_interval_95"]
    s_low, s_high = result["success_interval_95"]
    median = result["median_steps_to_success"]
    return [
        (f"{result['mean_score']:.3f}", f"mean score, 95%: {low:.3f} to {high:.3f}", ""),
        (f"{result['success_rate']:.1%}", f"success, 95%: {s_low:.1%} to {s_high:.1%}", ""),
        ("none" if median is None else f"{median:g}", "median steps to success", ""),
        (result["nfe"], "network evaluations a plan", ""),
        (result["episodes"], "episodes", ""),
    ]


def _facts(result: Result) -> list[tuple[str, object]]:
    checkpoint, seed = result["checkpoint"], result["seed"]
    kwargs = f" with {result['env_kwargs']}" if result["env_kwargs"] else ""
    steps = (checkpoint.get("trained") or {}).get("steps")
    trained = f", {steps:,} training steps" if steps else ""
    noise = f"{result['noise_scale']:g} in scale"
    if result.get("patience"):
        noise += f"; 1 in scale after {result['patience']} steps of standing still"
    warm = ""
    if result.get("warm_start"):
        warm = f", the first {result['warm_start']:.0%} of the way spared by the plan before"
    alike = (
        "" if result["rows_agree"] else "; rounding depends on the row here, so other numbers of episodes may differ"
    )
    return [
        ("checkpoint", f"{checkpoint['name']}, identity {checkpoint['identity']}{trained}"),
        ("world", f"{result['env']}{kwargs}"),
        ("starts", f"protocol {result['protocol']}, seeds {seed} to {seed + result['episodes'] - 1}"),
        ("a plan", f"sampler {result['sampler']}, {result['nfe']} network evaluations{warm}"),
        ("noise", noise),
        *([("controller", other)] if (other := _other_controller(result)) else []),
        ("acting", f"{result['action_horizon']} actions a plan, speed {result['speed']:g}, delay {result['delay']}"),
        ("scores", "score: best reward of an episode; success: whether it was ever solved; intervals of 95%"),
        ("run", f"{result['wall_s']:g} s on {result['device']}, torch {result['torch']}{alike}"),
    ]
