"""`diffpolicy demo`: the whole of the project in six minutes on a laptop."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from diffpolicy.commands.arguments import parse
from diffpolicy.config_file import load_config
from diffpolicy.device import usable_cores
from diffpolicy.errors import ConfigError


@dataclass(frozen=True)
class DemoArguments:
    """Train a policy, score it in closed loop, film it and draw how its actions are denoised.

    For example:
      diffpolicy demo
      diffpolicy demo --demos path/to/demonstrations.zarr --out runs/my_demo
    """

    demos: str | None = None
    """Demonstrations: a folder, a zip, a URL, or the name of a known set; the experiment's own unless given."""
    out: Path = Path("runs/demo")
    """Folder for everything it makes."""
    config: str = "demo"
    """The experiment to train: a shipped name or a YAML file."""
    episodes: int = 100
    """Evaluation episodes."""


def run(argv: list[str]) -> None:
    """Parse, then train, evaluate and draw."""
    from diffpolicy.commands import eval as evaluation
    from diffpolicy.commands import train
    from diffpolicy.commands import visualize_denoising as denoising

    arguments: DemoArguments = parse(DemoArguments, argv, prog="diffpolicy demo")
    if arguments.episodes < 1:
        raise ConfigError(f"--episodes is {arguments.episodes}; at least 1 must be scored")
    config = load_config(arguments.config)
    if arguments.demos is not None:
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, path=arguments.demos))
    folder = _fresh(arguments.out)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    console.rule("1 of 3: learn p(x | y) from demonstrations")
    result = train.start(config, folder / "policy", report=False)  # one report tells it all, at the end
    if result.interrupted:
        raise SystemExit(130)
    checkpoint = folder / "policy" / "last"
    console.rule("2 of 3: act in closed loop")
    film = folder / "rollout.mp4"
    seed = 100_000
    choices = {"episodes": arguments.episodes, "seed": seed, "workers": usable_cores(), "device": "cpu"}
    score = evaluation.start(checkpoint, folder, {seed: film}, **choices)
    console.rule("3 of 3: see actions being denoised")
    pictures = denoising.start(denoising.DenoisingArguments(str(checkpoint)), folder)

    from diffpolicy.evaluation.evaluate import score_line

    console.rule("done")
    for name, text in (
        ("trained policy", checkpoint),
        ("score", score_line(score)),
        ("report", folder / "report.html"),
        ("all episodes", folder / "eval.json"),
        ("rollout", film),
        ("denoising", pictures[0]),
        ("with a slider", pictures[4]),
        ("as a strip", pictures[2]),
    ):
        console.print(f"{name:>15}  {text}")


def _fresh(folder: Path) -> Path:
    """A folder that holds no earlier demo: the next free name, so that nothing is overwritten."""
    for number in range(1, 1000):
        candidate = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        if not candidate.exists():
            return candidate
    raise ConfigError(f"{folder}: a thousand demos lie here already; remove some")
