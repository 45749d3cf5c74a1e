"""`diffpolicy visualize`: pictures of what a policy thinks; each kind of picture is a command of its own."""

from __future__ import annotations

from diffpolicy.commands.arguments import Subcommand, run_subcommand
from diffpolicy.commands.visualize_denoising import DenoisingArguments, draw_denoising


def run(argv: list[str]) -> None:
    """Find the picture and draw it; the first one unless another is named before the checkpoint."""
    unnamed = len(argv) > 0 and argv[0] not in (*_PICTURES, "-h", "--help", "help") and not _two_names(argv)
    words = [next(iter(_PICTURES)), *argv] if unnamed else argv
    run_subcommand(words, _PICTURES, prog="diffpolicy visualize", text=_HELP)


def _two_names(argv: list[str]) -> bool:
    """Whether two words come before all options: then the first is meant as a picture."""
    return len(argv) > 1 and not any(word.startswith("-") for word in argv[:2])


_PICTURES: dict[str, Subcommand] = {
    "denoising": (DenoisingArguments, draw_denoising, "noise becoming plans; the picture drawn unless one is named"),
}
_HELP = """usage: diffpolicy visualize [PICTURE] CHECKPOINT ...

See what a policy thinks: p(x | y), x its plans, y what it has just observed.

pictures:
{commands}

For example:
  diffpolicy visualize pusht-state
  diffpolicy visualize runs/pusht_state_mlp --seed 500003 --at 24

`diffpolicy visualize PICTURE --help` explains a picture's options."""
