"""`diffpolicy train`: from a named experiment to a run's folder."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
import yaml
from diffpolicy_demos import open_store
from rich.console import Console

from diffpolicy.commands.arguments import parse
from diffpolicy.config import ExperimentConfig
from diffpolicy.config_file import config_from_dict, config_to_dict, load_config, shipped_experiments
from diffpolicy.errors import ConfigError


@dataclass(frozen=True)
class TrainArguments:
    """Learn a policy from demonstrations.

    NAME is a shipped experiment or the path of a YAML file; every number, word and list in it has an option of the same
    name. (The kind of backbone or objective is changed in the file: it brings other options.) Ctrl-C writes a checkpoint;
    --resume goes on from it exactly. Either leaves report.html, with the curves and a plan becoming out of noise.

    For example:
      diffpolicy train pusht_state_mlp
      diffpolicy train pusht_state_mlp --training.steps 500 --device cpu --out runs/quick
      diffpolicy train --resume runs/pusht_state_mlp
      diffpolicy train my_robot.yaml --init-from pusht-state
    """

    name: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="NAME")] = None
    """The experiment; left out with --resume."""
    out: Path | None = None
    """The run's folder; runs/NAME unless given."""
    device: str = "auto"
    """auto, cpu, cuda (which card: CUDA_VISIBLE_DEVICES) or mps."""
    resume: Path | None = None
    """A run's folder (or the `last` in it), to continue it there with its own experiment."""
    init_from: str | None = None
    """A checkpoint whose weights and normalizer a new run starts from."""
    experiment: Annotated[ExperimentConfig, tyro.conf.arg(name="")] = field(default_factory=ExperimentConfig)


def run(argv: list[str]) -> None:
    """Parse and train."""
    arguments = _parse(argv)
    if arguments.resume:
        clash = [("NAME", arguments.name), ("--out", arguments.out), ("--init-from", arguments.init_from)]
        for word, value in clash:
            if value is not None:
                raise ConfigError(f"--resume goes on with a run in its own folder; leave out {word} ({value})")
    resumed = arguments.resume and (arguments.resume.parent if arguments.resume.name == "last" else arguments.resume)
    result = start(
        arguments.experiment,
        resumed or arguments.out or Path("runs") / Path(arguments.name or "run").stem,
        device=arguments.device,
        resume=arguments.resume,
        init_from=arguments.init_from,
    )
    if result.interrupted:
        raise SystemExit(130)


def start(
    config: ExperimentConfig,
    folder: Path,
    *,
    device: str = "auto",
    resume: Path | None = None,
    init_from: str | None = None,
    report: bool = True,
) -> Any:
    """Train into a folder, say what came of it and leave a report, unless told not to. Returns the `TrainingResult`."""
    from diffpolicy.commands.report import leave_report
    from diffpolicy.device import chosen_device
    from diffpolicy.evaluation.evaluate import settings_of
    from diffpolicy.evaluation.metrics import summarize
    from diffpolicy.evaluation.rollout import rollout
    from diffpolicy.evaluation.world import check_world
    from diffpolicy.policy import DiffusionPolicy
    from diffpolicy.training.loop import train
    from diffpolicy.training.windows import load_windows

    # One process of several speaks for all.
    console = Console(highlight=False, soft_wrap=True, markup=False, quiet=os.environ.get("RANK", "0") != "0")
    device = chosen_device(device)
    if resume is None and any((folder / name).exists() for name in ("last", "last.previous")):
        raise ConfigError(f"{folder} holds a run already; continue it with --resume {folder}, or choose another --out")
    store = open_store(config.data.path)
    train_windows, held_out = load_windows(
        store,
        config.data,
        config.policy.recorded_keys,
        obs_horizon=config.policy.obs_horizon,
        pred_horizon=config.policy.pred_horizon,
    )
    tuning = config.evaluation
    if tuning.episodes:
        shapes = {key: tuple(train_windows.obs[key].shape[1:]) for key in config.policy.observations}
        check_world(settings_of(config), shapes, train_windows.action.shape[-1], tuning.seed)
    folder.mkdir(parents=True, exist_ok=True)
    if resume is None:
        text = yaml.safe_dump(config_to_dict(config), sort_keys=False)
        (folder / "config.yaml").write_text(text, encoding="utf-8")

    def evaluate(policy: DiffusionPolicy) -> dict[str, Any]:
        result = summarize(rollout(policy, range(tuning.seed, tuning.seed + tuning.episodes), settings_of(config)))
        return {key: result[key] for key in ("mean_score", "success_rate")}

    console.print(
        f"{store.n_episodes} episodes in {store.path}; {len(train_windows):,} windows to learn from, {len(held_out):,} held "
        f"out; on {device}"
    )
    result = train(
        config,
        train_windows,
        held_out,
        folder,
        device=device,
        resume=_last(resume) if resume else None,
        init_from=init_from,
        evaluate=evaluate if tuning.episodes else None,
    )
    if result.interrupted:
        console.print(f"stopped at step {result.step:,}; go on with: diffpolicy train --resume {folder}")
    else:
        console.print(f"trained {result.step:,} steps in {result.seconds / 60:.1f} min")
        if result.best_score is not None:
            console.print(f"best mean score on {tuning.episodes} tuning episodes: {result.best_score:.3f}")
        console.print(f"evaluate: diffpolicy eval {folder}")
    if report and not console.quiet:
        leave_report(folder)
    return result


def _parse(argv: list[str]) -> TrainArguments:
    """Options override the experiment that the first words name, so that one is found first."""
    name = argv[0] if argv and not argv[0].startswith("-") else None
    words = [part for word in argv for part in (word.split("=", 1) if word.startswith("--resume=") else [word])]
    resume = next((words[i + 1] for i, word in enumerate(words[:-1]) if word == "--resume"), None)
    helping = any(word in ("-h", "--help") for word in argv)
    if name:
        experiment = load_config(name)
    elif resume:
        from diffpolicy.checkpoint import read_meta

        experiment = read_meta(_last(Path(resume)))["experiment"]
    elif helping:
        experiment = ExperimentConfig()
    else:
        shipped = ", ".join(shipped_experiments())
        raise ConfigError(f"name an experiment, before all options: {shipped}, or the path of a YAML file")
    default = TrainArguments(name=name, experiment=experiment)
    arguments: TrainArguments = parse(TrainArguments, argv, prog="diffpolicy train", default=default)
    checked = config_from_dict(config_to_dict(arguments.experiment), "command line")
    return dataclasses.replace(arguments, experiment=checked)


def _last(folder: Path) -> Path:
    """The resumable checkpoint of a run, given the run's folder or the checkpoint's own."""
    last = folder / "last"
    return next((p for p in (last, last.with_name("last.previous")) if p.exists()), folder)
