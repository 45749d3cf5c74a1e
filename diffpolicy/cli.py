"""The command line: finds the command, runs it, and turns a user's mistake into one line and a non-zero exit code.

Commands are imported when they are called, so that `diffpolicy --help` needs no torch.
"""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Callable

from diffpolicy import __version__
from diffpolicy.errors import CheckpointError, ConfigError, ObservationError, suggestion

COMMANDS = {
    "demo": "train, evaluate and draw on one set of demonstrations",
    "train": "learn a policy from demonstrations",
    "eval": "roll a policy out in simulation and score it, with intervals",
    "visualize": "draw how action sequences are denoised: GIF, MP4, a strip for a paper",
    "export": "write a policy as one file that plans with nothing but torch",
    "demos": "download, inspect and replay demonstrations",
    "bench": "measure it beside its peers on this machine: agreement and speed",
}
_HELP = """usage: diffpolicy COMMAND ...

Diffusion policies for robot learning: p(x | y), x a sequence of actions, y what the robot has just observed.

commands:
{commands}

examples:
  diffpolicy demos download
  diffpolicy train pusht_state_mlp
  diffpolicy eval pusht-state --episodes 100 --workers 2
  diffpolicy visualize pusht-state

`diffpolicy COMMAND --help` explains a command's options."""


def main(argv: list[str] | None = None) -> None:
    """The entry point `diffpolicy`."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_HELP.format(commands="\n".join(f"  {name:<11} {text}" for name, text in COMMANDS.items())))
        return
    if arguments[0] in ("-V", "--version"):
        print(f"diffpolicy {__version__}")
        return
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        hint = suggestion(name, COMMANDS, f"there are: {', '.join(COMMANDS)}")
        _fail(f"diffpolicy: no command {name!r}; {hint}", code=2)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # `kill` cleans up as Ctrl-C does
    try:
        from diffpolicy_demos import StoreError

        mistakes = (StoreError, CheckpointError, ConfigError, ObservationError)
        _run(importlib.import_module(f"diffpolicy.commands.{name}").run, name, rest, mistakes)
    except KeyboardInterrupt:
        _fail(f"diffpolicy {name}: interrupted", code=130)
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)  # a program that calls this one has its own way to end


def _run(run: Callable[[list[str]], None], name: str, rest: list[str], mistakes: tuple[type[Exception], ...]) -> None:
    try:
        run(rest)
    except mistakes as error:
        _fail(f"diffpolicy {name}: {error}")
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        way_out = (
            "; a file lies there, name a folder" if isinstance(error, FileExistsError | NotADirectoryError) else ""
        )
        _fail(f"diffpolicy {name}: {error.strerror or error}{place}{way_out}")
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's, named so that torch need not be imported here
            raise
        _fail(f"diffpolicy {name}: the device is out of memory; lower training.batch_size, or use --device cpu")


def _fail(line: str, code: int = 1) -> None:
    sys.stderr.write(" ".join(line.split()) + "\n")
    raise SystemExit(code)


if __name__ == "__main__":
    main()
