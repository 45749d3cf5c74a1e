"""`diffpolicy demos`: get demonstrations, look into them, and check them against the world.

What the commands do lives in `diffpolicy_demos`; here are only arguments, help texts and printing.
"""

import dataclasses
import json
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
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

_AGREES_PX = 1e-3
_SHOWN = 5  # episodes listed by `replay` when all were replayed

app = tyro.extras.SubcommandApp()

_Path = Annotated[
    str,
    tyro.conf.Positional,
    tyro.conf.arg(metavar="PATH", help="A zarr folder, a .zip of one, an fsspec URL, or a name such as pusht."),
]


@app.command
def download(
    from_: Annotated[str, tyro.conf.arg(name="from", metavar="FILE_OR_URL")] = PUBLIC_URL,
    force: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> None:
    """Download the 206 human demonstrations of Push-T (31 MB) and check every number of them.

    They go to $DIFFPOLICY_DATA, by default ~/.cache/diffpolicy, where the name `pusht` finds them.
    A transfer that broke off is continued.

    For example:

    diffpolicy demos download

    diffpolicy demos download --from pusht.zip

    DIFFPOLICY_DATA=/data diffpolicy demos download --force

    Args:
        from_: The archive, or a mirror of it; every number is checked all the same.
        force: Fetch anew, even where a right copy is in place.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console()
    folder = data_folder()
    with Progress(*columns[:-1], _Amount(), columns[-1], console=console) as progress:
        path, fetched = download_set(from_, folder, progress, force=force)
    found = "downloaded and checked" if fetched else "there already, and right"
    console.print(f"[green]{found}[/green]: {escape(str(path))}", highlight=False, soft_wrap=True)


class _Amount(DownloadColumn):
    """Megabytes for what is counted in bytes, plain counts for files and chunks."""

    def render(self, task: Task) -> Text:
        return super().render(task) if task.description == "downloading" else MofNCompleteColumn().render(task)


@app.command
def inspect(
    path: _Path,
    as_json: Annotated[bool, tyro.conf.arg(name="json"), tyro.conf.FlagCreatePairsOff] = False,
) -> None:
    """Show what a store holds: episodes, lengths, duration, arrays with their sizes and ranges, attributes.

    For example:

    diffpolicy demos inspect pusht

    diffpolicy demos inspect my_episodes.zarr --json

    Args:
        as_json: Print one JSON object instead of a table.
    """
    store = open_store(path)
    if as_json:
        print(json.dumps(dataclasses.asdict(describe(store))))
        return
    console = Console()
    with console.status("reading"):
        description = describe(store)
    print_description(description, console)


@app.command
def replay(
    path: _Path,
    episodes: Annotated[tuple[int, ...], tyro.conf.arg(metavar="[INDEX ...]")] = (),
) -> None:
    """Play recorded actions in the environment and show how far it strays from the recorded states.

    Each episode starts from its first recorded state and is then left alone. The drift is the largest difference, in
    px, of any coordinate of the agent and the block at any step.

    For example:

    diffpolicy demos replay pusht

    diffpolicy demos replay my_episodes.zarr --episodes 0 3 17

    Args:
        episodes: Episodes to replay; all by default.
    """
    store = open_store(path)
    drifts = replay_store(store, episodes or None)
    console = Console()
    with Progress(TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), console=console, transient=True) as bar:
        found = list(bar.track(drifts, total=len(episodes) or store.n_episodes))
    _print_drifts(found, console, every=bool(episodes))


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


def run(argv: list[str]) -> None:
    """Runs `diffpolicy demos` with the arguments after it.

    Raises:
        StoreError: A mistake with a store or an archive, told in one line.
        OSError: No network, no space, no permission, told in one line.
        SystemExit: After `--help`, with code 0, and for arguments that cannot be understood, with another.
    """
    app.cli(
        prog="diffpolicy demos",
        description="Demonstrations: get them, look into them, check them against the world.",
        args=argv,
    )
