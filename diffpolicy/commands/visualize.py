"""`diffpolicy visualize`: pictures of what a policy thinks; each kind of picture is a command of its own."""

from __future__ import annotations

from diffpolicy.commands.arguments import Subcommand, run_subcommand
from diffpolicy.commands.report import ReportArguments, make_report
from diffpolicy.commands.visualize_compare import CompareArguments, draw_comparison
from diffpolicy.commands.visualize_denoising import DenoisingArguments, draw_denoising
from diffpolicy.commands.visualize_field import FieldArguments, draw_field
from diffpolicy.commands.visualize_film import FilmArguments, draw_film
from diffpolicy.commands.visualize_modes import ModesArguments, draw_modes


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
    "modes": (ModesArguments, draw_modes, "p(x | y): its modes and weights, density, spread; along the episode"),
    "field": (FieldArguments, draw_field, "the score, or the velocity, that draws plans out of the noise, as arrows"),
    "report": (ReportArguments, make_report, "the page about a training, an evaluation or a demo, from its FOLDER"),
    "film": (FilmArguments, draw_film, "an episode, with the plans as they are made, followed and replaced"),
    "compare": (
        CompareArguments,
        draw_comparison,
        "several policies, samplers or step counts at one moment, as a grid",
    ),
}
_HELP = """usage: diffpolicy visualize [PICTURE] CHECKPOINT ...

See what a policy thinks: p(x | y), x its plans, y what it has just observed.

pictures:
{commands}

For example:
  diffpolicy visualize pusht-state
  diffpolicy visualize runs/pusht_state_mlp --seed 500003 --at 24
  diffpolicy visualize modes pusht-state --seed 500003 --at 24
  diffpolicy visualize field pusht-state --what velocity
  diffpolicy visualize report runs/demo
  diffpolicy visualize film pusht-state --seed 500003
  diffpolicy visualize compare pusht-state --steps 1 2 4 10

`diffpolicy visualize PICTURE --help` explains a picture's options."""
