"""`diffpolicy demos doctor`: examine a record, and write a sound copy of it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from diffpolicy_demos.doctor.examine import diagnose
from diffpolicy_demos.doctor.findings import Diagnosis
from diffpolicy_demos.doctor.record import IDLE_STEPS
from diffpolicy_demos.doctor.repair import Repair, check_target, repair
from diffpolicy_demos.doctor.text import print_diagnosis, print_repair
from diffpolicy_demos.pages.doctor import doctor_page
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

_Flag = tyro.conf.UseCounterAction[int]


@dataclass(frozen=True)
class DoctorArguments:
    """Examine demonstrations: layout, ranges, gaps, idle stretches, copies, pictures, and whether they replay.

    Findings are errors (unfit to train on as they are), warnings (look at them) and notes. The exit code is 0 where
    nothing is an error, 1 otherwise; with --fix it speaks of the new store.

    For example:
      diffpolicy demos doctor pusht
      diffpolicy demos doctor my_episodes.zarr --html doctor.html
      diffpolicy demos doctor my_episodes.zarr --fix sound.zarr --trim-idle
    """

    path: Annotated[
        str,
        tyro.conf.Positional,
        tyro.conf.arg(metavar="PATH", help="A zarr folder, a .zip of one, an fsspec URL, or a name such as pusht."),
    ]
    as_json: Annotated[_Flag, tyro.conf.arg(name="json", help_behavior_hint="(default: off)")] = 0
    """Print one JSON object instead of text."""
    html: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write a page with all findings and charts; it needs no network."""
    fix: Annotated[Path | None, tyro.conf.arg(metavar="NEW_STORE")] = None
    """Write a new store without the errors; the old one is not touched."""
    trim_idle: Annotated[_Flag, tyro.conf.arg(help_behavior_hint="(default: off)")] = 0
    """With --fix: also cut waits at the beginning and the end of episodes."""
    idle_steps: int = IDLE_STEPS
    """Steps without any motion that count as idle."""
    no_pictures: Annotated[_Flag, tyro.conf.arg(help_behavior_hint="(default: off)")] = 0
    """Do not look at pictures, which takes most of the time; not with --fix."""


def doctor(arguments: DoctorArguments) -> None:
    """Prints what the doctor finds, and writes page and new store where asked.

    Raises:
        StoreError: No store there, a target that exists, or nothing left to write.
        OSError: The page cannot be written.
        SystemExit: With code 1 where there are errors.
    """
    console = Console()
    if arguments.fix is not None:
        check_target(arguments.fix)
    pictures = not arguments.no_pictures or arguments.fix is not None
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        found = diagnose(arguments.path, progress, pictures=pictures, idle_steps=arguments.idle_steps)
        done, after = None, found
        if arguments.fix is not None:
            done = repair(found, arguments.fix, progress, trim_idle=bool(arguments.trim_idle))
            after = diagnose(arguments.fix, progress, idle_steps=arguments.idle_steps)
    if arguments.html is not None:
        arguments.html.write_text(doctor_page(found), encoding="utf-8")
    if arguments.as_json:
        print(json.dumps(_as_json(found, done, after)))
    else:
        print_diagnosis(found, console)
        if done is not None:
            print_repair(done, console)
            console.print()
            print_diagnosis(after, console)
    if not after.sound:
        raise SystemExit(1)


def _as_json(found: Diagnosis, done: Repair | None, after: Diagnosis) -> dict[str, object]:
    return found.as_json() | {"fix": None if done is None else {**done.as_json(), "sound": after.sound}}
