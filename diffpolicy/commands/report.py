"""The report that every training, evaluation and demo leaves: `report.html`, made from what lies in a folder.

It may be made anew at any time: `diffpolicy visualize report FOLDER`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from diffpolicy.errors import CheckpointError, ConfigError

FILE = "report.html"


@dataclass(frozen=True)
class ReportArguments:
    """Make the report of a training, an evaluation or a demo anew, from what lies in its folder.

    The page stands alone: curves, scores, films of the best and the worst episodes, and a slider from noise to plans.

    For example:
      diffpolicy visualize report runs/pusht_state_mlp
      diffpolicy visualize report runs/eval-pusht-state
      diffpolicy visualize report runs/demo
    """

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FOLDER")]
    """One that holds eval.json or log.jsonl."""


def make_report(arguments: ReportArguments) -> None:
    """Make it, and say where it is."""
    leave_report(arguments.folder)


def leave_report(folder: Path) -> Path:
    """Write a folder's report, and say where it is and what it lacks. Errors: see `write_report`."""
    console = Console(highlight=False, soft_wrap=True, markup=False)
    with console.status("report"):
        path, left_out = write_report(folder)
    for line in left_out:
        console.print(f"the report is without {line}")
    console.print(f"written: {path}")
    return path


def write_report(folder: Path) -> tuple[Path, list[str]]:
    """Write `report.html` about what lies in a folder: an evaluation, a training, or both.

    The page of an evaluation shows the training of its checkpoint too, where that lies beside it. What cannot be shown is
    left out, and the page says why.

    Returns:
        Where it is, and what it lacks, a line each.

    Raises:
        ConfigError: neither an evaluation nor a training is in the folder, or `eval.json` holds something else.
        OSError: the report cannot be written.
    """
    from diffpolicy.commands.report_parts import evaluation_parts, films_part, first_plan_part, training_parts
    from diffpolicy.visualization.report import report_page

    result, left_out = _read_evaluation(folder), list[str]()
    checkpoint = _checkpoint(folder, result, left_out)
    run = next((place for place in (folder, checkpoint and checkpoint.parent) if place and _has_log(place)), None)
    if result is None and run is None:
        raise ConfigError(
            f"{folder}: neither eval.json nor log.jsonl in it; give the folder of an evaluation, a training or a demo"
        )
    tiles, over_time, counted, tables = evaluation_parts(folder, result, left_out) if result else ([], [], [], [])
    training_tiles, curves, facts = training_parts(run) if run else ([], [], [])
    films = films_part(checkpoint, result, left_out) if result and checkpoint else []
    plan = first_plan_part(checkpoint, result, left_out) if checkpoint else []
    about_episodes = [*over_time, *films, *plan, *counted, *curves, *tables, *facts]
    sections = about_episodes if result else [*curves, *plan, *facts]
    page = report_page(
        str(result["checkpoint"]["name"]) if result else str(folder),
        _about(result) if result else "A training: its losses, and what came of it.",
        tiles or training_tiles,
        sections,
        left_out,
        made_by=f"diffpolicy visualize report {folder}",
    )
    partial, final = folder / f"{FILE}.partial", folder / FILE
    partial.write_text(page, encoding="utf-8")
    partial.replace(final)
    return final, left_out


def _read_evaluation(folder: Path) -> dict[str, Any] | None:
    from diffpolicy.evaluation.metrics import EpisodeRecord

    path = folder / "eval.json"
    if not path.exists():
        return None
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        records = [EpisodeRecord(**record) for record in result["records"]]
        if records and result["checkpoint"]["identity"] and result["checkpoint"]["name"] and result["seed"] is not None:
            return dict(result)
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: not an evaluation ({error!r}); `diffpolicy eval` writes one") from None
    raise ConfigError(f"{path}: an evaluation of no episodes; `diffpolicy eval` writes one")


def _checkpoint(folder: Path, result: dict[str, Any] | None, left_out: list[str]) -> Path | None:
    """What was evaluated, else what was trained; None where that is not there any more."""
    from diffpolicy.checkpoint import find_checkpoint, read_meta

    try:
        if result is None:
            return find_checkpoint(folder) if _has_log(folder) else None
        checkpoint = find_checkpoint(result["checkpoint"]["name"])
        if read_meta(checkpoint)["identity"] == result["checkpoint"]["identity"]:
            return checkpoint
        left_out.append(f"films and plans: {checkpoint} is not what was evaluated any more")
    except CheckpointError as error:
        left_out.append(f"films and plans: {error}")
    return None


def _has_log(folder: Path) -> bool:
    return (folder / "log.jsonl").is_file()


def _about(result: dict[str, Any]) -> str:
    starts = f"seeds {result['seed']} to {result['seed'] + result['episodes'] - 1}"
    protocol = f", protocol {result['protocol']}" if result["protocol"] else ""
    return f"An evaluation in closed loop: {starts}{protocol}; checkpoint {result['checkpoint']['identity']}."
