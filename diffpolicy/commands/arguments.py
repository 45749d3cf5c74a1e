"""Reading a command's arguments, with a user's slip told in one line."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tyro

from diffpolicy.errors import suggestion

#: A command below a command: its arguments' dataclass, what it does with them, and one line about it.
Subcommand = tuple[type, Callable[[Any], None], str]


def parse(arguments: Any, argv: Sequence[str], *, prog: str, default: Any = None) -> Any:
    """Fill a dataclass from the command line (tyro); its docstring is the help.

    Raises:
        SystemExit: after `--help`, or with code 2 after one line about an argument that does not fit.
    """
    said = io.StringIO()
    config = (tyro.conf.AvoidSubcommands, tyro.conf.FlagConversionOff)
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(arguments, args=list(argv), prog=prog, default=default, config=config)
    except SystemExit as stop:
        if stop.code:
            sys.stderr.write(f"{prog}: {_in_one_line(said.getvalue())}; see `{prog} --help`\n")
        raise


def run_subcommand(argv: Sequence[str], commands: Mapping[str, Subcommand], *, prog: str, text: str) -> None:
    """Run the command that the first argument names with the others.

    Args:
        argv: The arguments after `prog`.
        commands: The commands by name.
        prog: What was typed before.
        text: The help, with `{commands}` where their list belongs.

    Raises:
        SystemExit: after `--help`, or with code 2 after one line about a command or arguments that do not fit.
    """
    name, rest = (argv[0], argv[1:]) if argv else ("", [])
    if name in ("-h", "--help", "help"):
        print(text.format(commands="\n".join(f"  {command:<11} {does}" for command, (_, _, does) in commands.items())))
        raise SystemExit(0)
    if name not in commands:
        hint = suggestion(name, commands, f"there are: {', '.join(commands)}")
        found = f"no command {name!r}" if name else "a command is missing"
        sys.stderr.write(f"{prog}: {found}; {hint}; see `{prog} --help`\n")
        raise SystemExit(2)
    arguments, run, _ = commands[name]
    run(parse(arguments, rest, prog=f"{prog} {name}"))


def results_folder(command: str, *checkpoints: str) -> Path:
    """Where a command's results on checkpoints go unless told: runs/COMMAND-NAMES, with enough of each path to tell."""
    words = [command]
    for path in map(Path, checkpoints):
        parts = path.resolve().parts[-2:] if path.exists() else path.parts
        words += [part for part in parts if part not in ("/", "runs")]
    return Path("runs") / "-".join(words)


def short_name(checkpoint: str) -> str:
    """What a picture calls a checkpoint: a released name as it is; of a folder, enough of its end to tell."""
    return "/".join([part for part in Path(checkpoint).parts if part not in ("last", "best")][-2:])


def _in_one_line(box: str) -> str:
    # tyro draws a box, with dashes where the terminal is not UTF-8: a title, the matter, then below rules a suggestion and
    # where to read more.
    drawn: list[list[str]] = [[]]
    for row in box.splitlines()[1:]:
        text = re.sub(r"[│╭╮╰╯]", " ", row).strip()
        if text.strip("─-"):
            drawn[-1].append(text)
        else:
            drawn.append([])
    sections = [section for section in drawn if section] or [["these arguments do not fit"]]
    matter = " ".join(sections[0])
    suggestion = sections[1] if len(sections) > 1 else []
    if suggestion and suggestion[0].startswith("Perhaps"):
        matter += f"; did you mean {' '.join(suggestion[1].split()[:1])}?"
    return matter[0].lower() + matter[1:].rstrip(".")
