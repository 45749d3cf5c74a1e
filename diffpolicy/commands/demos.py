"""`diffpolicy demos`: get demonstrations, look into them, and check them against the world.

What the commands do lives in `diffpolicy_demos`; here are only arguments, help texts and printing.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from diffpolicy_demos import open_store
from diffpolicy_demos.download import PUBLIC_URL
from diffpolicy_demos.download import download as download_set
from diffpolicy_demos.inspect import describe, print_description
from diffpolicy_demos.location import data_folder
from diffpolicy_demos.replay import EpisodeDrift
from diffpolicy_demos.replay import replay as replay_store
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from diffpolicy.commands.arguments import Subcommand, run_subcommand
from diffpolicy.commands.demos_collect import CollectArguments, collect
from diffpolicy.commands.demos_convert import ConvertArguments, convert
from diffpolicy.commands.demos_doctor import DoctorArguments, doctor
from diffpolicy.commands.demos_page import write_inspect_page
from diffpolicy.commands.demos_record import RecordArguments, record
from diffpolicy.errors import ConfigError

_AGREES_PX = 1e-3
_SHOWN = 5  # episodes listed by `replay` when all were replayed

_Path = Annotated[
    str,
    tyro.conf.Positional,
    tyro.conf.arg(metavar="PATH", help="A zarr folder, a .zip of one, an fsspec URL, or a name such as pusht."),
]


@dataclass(frozen=True)
class DownloadArguments:
    """Download the 206 human demonstrations of Push-T (31 MB) and check every number of them.

    They go to $DIFFPOLICY_DATA, by default ~/.cache/diffpolicy, where the name `pusht` finds them.
    A transfer that broke off is continued.

    For example:
      diffpolicy demos download
      diffpolicy demos download --from pusht.zip
      DIFFPOLICY_DATA=/data diffpolicy demos download --force
    """

    from_: Annotated[str, tyro.conf.arg(name="from", metavar="FILE_OR_URL")] = PUBLIC_URL
    """The archive, or a mirror of it; every number is checked all the same."""
    # `parse` reads a bool as a word, True or False; a count needs none.
    force: Annotated[tyro.conf.UseCounterAction[int], tyro.conf.arg(help_behavior_hint="(default: off)")] = 0
    """Fetch anew, even where a right copy is in place."""


@dataclass(frozen=True)
class InspectArguments:
    """Show what a store holds: episodes, lengths, duration, arrays with their sizes and ranges, attributes.

    For example:
      diffpolicy demos inspect pusht
      diffpolicy demos inspect my_episodes.zarr --json
      diffpolicy demos inspect pusht --html pusht.html --video 0 5 7
    """

    path: _Path
    as_json: Annotated[
        tyro.conf.UseCounterAction[int], tyro.conf.arg(name="json", help_behavior_hint="(default: off)")
    ] = 0
    """Print one JSON object instead of a table."""
    html: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write a page with paths, coverage, speeds and pictures; it needs no network."""
    video: Annotated[tuple[int, ...], tyro.conf.arg(metavar="[INDEX ...]")] = ()
    """Episodes to film, inside the page; with --html."""


@dataclass(frozen=True)
class ReplayArguments:
    """Play recorded actions in the environment and show how far it strays from the recorded states.

    Each episode starts from its first recorded state and is then left alone. The drift is the largest difference, in
    px, of any coordinate of the agent and the block at any step.

    For example:
      diffpolicy demos replay pusht
      diffpolicy demos replay my_episodes.zarr --episodes 0 3 17
    """

    path: _Path
    episodes: Annotated[tuple[int, ...], tyro.conf.arg(metavar="[INDEX ...]")] = ()
    """Episodes to replay; all by default."""


def run(argv: list[str]) -> None:
    """Runs `diffpolicy demos` with the arguments after it.

    Raises:
        StoreError: A mistake with a store or an archive, told in one line.
        OSError: No network, no space, no permission, told in one line.
        SystemExit: After `--help`, with code 0; with code 2 after one line about arguments that do not fit.
    """
    run_subcommand(argv, _COMMANDS, prog="diffpolicy demos", text=_HELP)


def download(arguments: DownloadArguments) -> None:
    """Fetches and checks the human demonstrations, and says where they are."""
    folder = data_folder()
    with _progress(_Amount()) as progress:
        path, fetched = download_set(arguments.from_, folder, progress, force=bool(arguments.force))
    found = "downloaded and checked" if fetched else "there already, and right"
    Console().print(f"[green]{found}[/green]: {escape(str(path))}", highlight=False, soft_wrap=True)


def inspect(arguments: InspectArguments) -> None:
    """Prints a store's description, as a table or as JSON, and writes its page where asked."""
    if arguments.video and arguments.html is None:
        raise ConfigError("--video puts films into the page that --html writes: give --html FILE too")
    store = open_store(arguments.path)
    with _progress(TaskProgressColumn()) as progress:
        description = describe(store, progress)
        if arguments.html is not None:
            write_inspect_page(arguments.html, store, description, arguments.video, progress)
    if arguments.as_json:
        print(json.dumps(dataclasses.asdict(description)))
    else:
        print_description(description, Console())


def replay(arguments: ReplayArguments) -> None:
    """Prints how far the world strays from the record."""
    store, episodes = open_store(arguments.path), arguments.episodes
    drifts = replay_store(store, episodes or None)
    with _progress(MofNCompleteColumn()) as progress:
        found = list(progress.track(drifts, total=len(episodes) or store.n_episodes, description="replaying"))
    _print_drifts(found, Console(), every=bool(episodes))


def _progress(amount: ProgressColumn) -> Progress:
    # On stderr, so that what a command prints can be piped while its progress is still seen; gone when it is done.
    columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


class _Amount(DownloadColumn):
    """Megabytes for what is counted in bytes, plain counts for files and chunks."""

    def render(self, task: Task) -> Text:
        return super().render(task) if task.description == "downloading" else MofNCompleteColumn().render(task)


def _print_drifts(drifts: list[EpisodeDrift], console: Console, *, every: bool) -> None:
    px = np.array([drift.drift_px for drift in drifts])
    within = int((px < _AGREES_PX).sum())
    console.print(
        f"{within} of {len(px)} episodes ({within / len(px):.1%}) within {_AGREES_PX:g} px; "
        f"worst {px.max():.3g} px (episode {drifts[int(px.argmax())].episode}), median {np.median(px):.3g} px",
        highlight=False,
        soft_wrap=True,
    )
    shown = drifts if every else sorted(drifts, key=lambda drift: -drift.drift_px)[:_SHOWN]
    table = Table("episode", "steps", "drift, px", "at step", "angle, rad", box=None, header_style="bold")
    for drift in shown:
        table.add_row(
            str(drift.episode),
            str(drift.steps),
            f"{drift.drift_px:.3g}",
            str(drift.worst_step),
            f"{drift.drift_rad:.2g}",
        )
    console.print(table)


_COMMANDS: dict[str, Subcommand] = {
    "download": (DownloadArguments, download, "fetch the 206 human demonstrations of Push-T and check them"),
    "collect": (CollectArguments, collect, "let the expert solve Push-T and record it"),
    "record": (RecordArguments, record, "record Push-T with the mouse"),
    "inspect": (InspectArguments, inspect, "show what a store holds"),
    "replay": (ReplayArguments, replay, "play recorded actions and show how far the world strays from the record"),
    "doctor": (DoctorArguments, doctor, "examine a record and mend it: ranges, gaps, copies, pictures, replay"),
    "convert": (ConvertArguments, convert, "between zarr 2, zarr 3 and LeRobot datasets, telling what was lost"),
}
_HELP = """usage: diffpolicy demos COMMAND ...

Demonstrations: get them, make them, look into them, mend them, take them elsewhere.

commands:
{commands}

For example:
  diffpolicy demos download
  diffpolicy demos collect --episodes 200 --workers 2
  diffpolicy demos record mine.zarr
  diffpolicy demos inspect pusht --html pusht.html
  diffpolicy demos convert pusht pusht_lerobot
  diffpolicy demos doctor my_episodes.zarr --html doctor.html
  diffpolicy demos replay my_episodes.zarr --episodes 0 3 17

`diffpolicy demos COMMAND --help` explains a command's options."""
