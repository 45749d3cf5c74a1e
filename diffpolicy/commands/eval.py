"""`diffpolicy eval`: score a checkpoint in closed loop."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from diffpolicy.commands.arguments import parse, results_folder
from diffpolicy.config_objectives import Sampler
from diffpolicy.device import usable_cores
from diffpolicy.errors import ConfigError


@dataclass(frozen=True)
class EvalArguments:
    """Roll a policy out in simulation and score it.

    Episode i starts from seed + i. Seeds from 100000 are for final numbers; tune on seeds from 500000. Writes eval.json,
    episodes.npz (how each episode went) and report.html, a page about it all.

    For example:
      diffpolicy eval pusht-state --episodes 500 --workers 2
      diffpolicy eval runs/pusht_state_mlp --protocol diffusion_policy --steps 4
      diffpolicy eval pusht-state --episodes 10 --film 0 3 --out runs/films
      diffpolicy eval pusht-state --env diffpolicy_envs:diffpolicy/PushTPerturbed-v0 --env-kwargs '{"at": [60]}'
    """

    checkpoint: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CHECKPOINT")]
    """A released name, a checkpoint's folder or a run's folder."""
    episodes: int = 500
    """How many."""
    seed: int = 100_000
    """Of the first episode."""
    protocol: str | None = None
    """How seeds become initial states: for Push-T gym_pusht or diffusion_policy; the experiment's own unless given."""
    env: str | None = None
    """Another Gymnasium id than the experiment's, such as the one above, which kicks the block before the steps given."""
    env_kwargs: str | None = None
    """Arguments of the environment as JSON, added to the experiment's own."""
    steps: int | None = None
    """Network evaluations a plan; the policy's own unless given."""
    sampler: Sampler | None = None
    """The policy's own unless given."""
    action_horizon: int | None = None
    """Actions executed before looking again; the policy's own unless given."""
    speed: float | None = None
    """How fast plans are followed, 1 as demonstrated; the policy's own unless given."""
    noise_scale: float | None = None
    """Standard deviation of the noise that plans start from; the policy's own unless given."""
    patience: int | None = None
    """Control steps of standing still after which plans start from full noise, 0 for never; the policy's own unless
    given."""
    warm_start: float | None = None
    """Share of the way from noise to plan spared by starting from what is left of the plan before, 0 for none; the policy's
    own unless given."""
    delay: int = 0
    """Control steps that a plan takes to make; the previous one goes on meanwhile."""
    max_steps: int | None = None
    """Length of an episode; the environment's own unless given."""
    workers: int = usable_cores()
    """Processes, this one included, at most one a core; the result does not depend on it."""
    device: str = "cpu"
    """Where the network runs: auto, cpu, cuda or mps."""
    film: tuple[int, ...] = ()
    """Numbers of episodes, from 0, to write as MP4."""
    out: Path | None = None
    """Folder for eval.json, report.html and films; runs/eval-NAME unless given."""


def run(argv: list[str]) -> None:
    """Parse, evaluate, write `eval.json` and `report.html`."""
    arguments: EvalArguments = parse(EvalArguments, argv, prog="diffpolicy eval")
    folder = arguments.out or results_folder("eval", arguments.checkpoint)
    absent = [i for i in arguments.film if not 0 <= i < arguments.episodes]
    if absent:
        raise ConfigError(f"--film {absent[0]}: no such episode; they are numbered 0 to {arguments.episodes - 1}")
    films = {arguments.seed + i: folder / f"episode_{i:03d}.mp4" for i in arguments.film}
    start(
        arguments.checkpoint,
        folder,
        films,
        episodes=arguments.episodes,
        seed=arguments.seed,
        workers=arguments.workers,
        device=arguments.device,
        env=arguments.env,
        env_kwargs=read_json(arguments.env_kwargs),
        protocol=arguments.protocol,
        steps=arguments.steps,
        sampler=arguments.sampler,
        action_horizon=arguments.action_horizon,
        speed=arguments.speed,
        noise_scale=arguments.noise_scale,
        warm_start=arguments.warm_start,
        patience=arguments.patience,
        delay=arguments.delay,
        max_steps=arguments.max_steps,
    )


def read_json(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"--env-kwargs: not JSON ({error}); write it like '{{\"at\": [60]}}'") from None
    if not isinstance(found, dict):
        raise ConfigError(f"--env-kwargs: found {text}; expected a JSON object such as '{{\"at\": [60]}}'")
    return found


def start(checkpoint: str | Path, folder: Path, films: dict[int, Path], **choices: Any) -> dict[str, Any]:
    """Evaluate with a progress bar, write the result and its report, and say the score. Returns `eval.json`'s contents."""
    from diffpolicy.checkpoint import find_checkpoint
    from diffpolicy.commands.report import leave_report
    from diffpolicy.device import chosen_device
    from diffpolicy.evaluation.evaluate import evaluate, score_line, write_eval
    from diffpolicy.evaluation.traces import EpisodeTrace, write_traces

    choices["device"] = chosen_device(choices["device"])
    find_checkpoint(checkpoint)
    folder.mkdir(parents=True, exist_ok=True)  # a folder that cannot be written is told before the work, not after
    bar = Progress(TextColumn("[bold]eval "), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with bar:
        task = bar.add_task("episodes", total=choices["episodes"])
        traces: dict[int, EpisodeTrace] = {}
        result = evaluate(
            checkpoint,
            film=films,
            on_episodes=lambda done: bar.update(task, completed=done),
            on_trace=lambda trace: traces.update({trace.seed: trace}),
            **choices,
        )
    path = write_eval(result, folder)
    write_traces([traces[record["seed"]] for record in result["records"]], folder)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    console.print(score_line(result))
    for written in [path, *films.values()]:
        console.print(f"written: {written}")
    leave_report(folder)
    return result
