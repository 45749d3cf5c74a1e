"""`diffpolicy demos convert`: between zarr 2, zarr 3 and LeRobot datasets, telling what was lost."""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro
from diffpolicy_demos.convert import DEFAULT_CRF, PUSHT_TASK, Conversion, LerobotOptions
from diffpolicy_demos.convert import convert as convert_episodes
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from diffpolicy.errors import ConfigError

_NAMES = {"zarr3": "zarr format 3", "zarr2": "zarr format 2", "lerobot": "LeRobot dataset v3.0"}


@dataclass(frozen=True)
class ConvertArguments:
    """Convert demonstrations between zarr (formats 2 and 3) and LeRobot datasets (v3.0; v2.1 and v2.0 to read).

    What was written is read back and compared with the source; all that differs is printed. LeRobot's files need
    pyarrow: pip install 'diffpolicy[lerobot]'.

    For example:
      diffpolicy demos convert pusht pusht_lerobot
      diffpolicy demos convert my_robot.zarr my_robot --fps 30 --task "Put the cup on the shelf."
      diffpolicy demos convert someones_lerobot_set their_episodes.zarr
      diffpolicy demos convert old.zarr new.zarr --to zarr3
    """

    source: Annotated[
        str,
        tyro.conf.Positional,
        tyro.conf.arg(
            metavar="SOURCE", help="A zarr folder, a .zip of one, an fsspec URL, a name, or a LeRobot dataset's folder."
        ),
    ]
    target: Annotated[
        str, tyro.conf.Positional, tyro.conf.arg(metavar="TARGET", help="A folder that does not exist yet.")
    ]
    to: Annotated[
        Literal["zarr3", "zarr2", "lerobot"] | None,
        tyro.conf.arg(help_behavior_hint="(default: zarr3 from LeRobot and for targets named .zarr, else lerobot)"),
    ] = None
    """The format of the target."""
    fps: Annotated[int | None, tyro.conf.arg(help_behavior_hint="(default: the store's control_hz, else 10)")] = None
    """Steps a second, for LeRobot."""
    task: Annotated[str | None, tyro.conf.arg(help_behavior_hint=f"(default for Push-T: {PUSHT_TASK})")] = None
    """What is done in episodes that do not say it themselves, for LeRobot."""
    crf: Annotated[int | None, tyro.conf.arg(help_behavior_hint=f"(default: {DEFAULT_CRF})")] = None
    """Quality of LeRobot's videos: 0 keeps pictures exactly, in a kind of H.264 that not every player shows; 51 is worst."""
    no_video: Annotated[tyro.conf.UseCounterAction[int], tyro.conf.arg(help_behavior_hint="(default: off)")] = 0
    """Put pictures as png into LeRobot's parquet files, which keeps them exactly."""


def convert(arguments: ConvertArguments) -> None:
    """Converts, and prints what came of it.

    Raises:
        StoreError: See `diffpolicy_demos.convert.convert`.
        OSError: No space, no permission.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        done = convert_episodes(arguments.source, arguments.target, arguments.to, _options(arguments), progress)
    _print(done, Console())


def _options(arguments: ConvertArguments) -> LerobotOptions | None:
    asked = (arguments.fps, arguments.task, arguments.crf)
    if asked == (None, None, None) and not arguments.no_video:
        return None
    if arguments.no_video and arguments.crf is not None:
        raise ConfigError("--crf is the quality of videos, and --no-video writes none; give one of them")
    crf = DEFAULT_CRF if arguments.crf is None else arguments.crf
    return LerobotOptions(arguments.fps, arguments.task, not arguments.no_video, crf)


def _print(done: Conversion, console: Console) -> None:
    console.print(
        f"[green]converted[/green]: {escape(str(done.path))}, {_NAMES[done.kind]}, "
        f"{done.episodes} episodes, {done.steps} steps, all compared with the source",
        highlight=False,
        soft_wrap=True,
    )
    if not done.losses:
        console.print("nothing was lost: every number is the same", highlight=False, soft_wrap=True)
    for sentence in done.losses:
        console.print(f"  {escape(sentence)}", highlight=False, soft_wrap=True)
