"""`diffpolicy demos collect`: let the expert fill a store."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from diffpolicy_demos import open_or_create, pusht_attrs
from diffpolicy_demos.expert.collect import demonstrations
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from diffpolicy.device import usable_cores
from diffpolicy.errors import ConfigError


@dataclass(frozen=True)
class CollectArguments:
    """Let the expert solve Push-T and record it: demonstrations without people.

    Episodes come from seed after seed; the same options give the same store whatever the number of workers. Only
    successes are kept. A store that was interrupted goes on where it stopped; one that has enough stays as it is.

    For example:
      diffpolicy demos collect --episodes 200 --workers 2
      diffpolicy demos collect runs/left.zarr --mode left --episodes 50
    """

    path: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="PATH")] = Path("runs/expert.zarr")
    """The store to make or to go on with."""
    episodes: int = 200
    """How many to have in the end."""
    seed: int = 1_000_000
    """Of the first start; far from the seeds that policies are tuned and judged on."""
    protocol: Literal["gym_pusht", "diffusion_policy"] = "gym_pusht"
    """How seeds become starts."""
    mode: Literal["left", "right", "both"] = "both"
    """Which way round the block the expert walks first."""
    noise_px: float = 0.0
    """Standard deviation of noise on executed actions, px; the recorded ones are the expert's corrections."""
    workers: int = usable_cores()
    """Processes."""


def collect(arguments: CollectArguments) -> None:
    """Fills the store, with a bar, and says what it holds."""
    if arguments.episodes < 1 or arguments.workers < 1 or arguments.seed < 0 or not 0 <= arguments.noise_px < 512:
        raise ConfigError("--episodes and --workers must be at least 1, --seed at least 0, --noise-px from 0 to 512")
    made_by = {
        "expert": "push planner",
        "seed": arguments.seed,
        "protocol": arguments.protocol,
        "mode": arguments.mode,
        "noise_px": arguments.noise_px,
    }
    attrs = pusht_attrs("expert", keys=("state", "action"))
    with open_or_create(arguments.path, attrs, "collected", "by the expert", made_by) as store:
        had, tried = store.n_episodes, 0
        next_seed = store.episode_info(had - 1)["seed"] + 1 if had else arguments.seed
        bar = Progress(
            TextColumn("collecting"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        with bar:
            task = bar.add_task("collecting", total=arguments.episodes, completed=min(had, arguments.episodes))
            found = demonstrations(
                next_seed,
                workers=arguments.workers,
                protocol=arguments.protocol,
                mode=None if arguments.mode == "both" else arguments.mode,
                noise_px=arguments.noise_px,
            )
            while store.n_episodes < arguments.episodes:
                episode, tried = next(found), tried + 1
                if episode.info["success"]:
                    store.append_episode(episode.arrays, info=episode.info)
                    bar.update(task, completed=store.n_episodes)
            found.close()
        modes = [info["mode"] for info in store.episode_infos()]
        counts = ", ".join(f"{modes.count(mode)} {mode}" for mode in sorted(set(modes)))
        Console(highlight=False, soft_wrap=True, markup=False).print(
            f"{store.path}: {store.n_episodes} episodes, {store.n_steps} steps ({counts}); "
            f"{store.n_episodes - had} new, of {tried} tried"
        )
