"""Draw the pictures of docs/gallery by the commands that anyone would type, and the page that shows them.

python benchmarks/gallery.py                        all of them
python benchmarks/gallery.py --only modes field     some
python benchmarks/gallery.py --cloned RUN           and those of cloning by squared error, a run of its own:
                                                    python benchmarks/pusht.py --only mse --seeds 0
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import tyro

from diffpolicy.cli import main as diffpolicy

ROOT = Path(__file__).resolve().parent.parent
GALLERY = ROOT / "docs" / "gallery"
_TWO_SIDES = "--state 296 216 236 276 0.7853981633974483"
"""Agent and block on the line in which Push-T is its own mirror image: two ways, exactly equally good."""


@dataclass(frozen=True)
class Picture:
    """A command, the file it writes that is kept, and what to see in it."""

    command: str
    """After `diffpolicy visualize`; CLONED stands for a policy that clones by mean squared error."""
    file: str
    text: str


PICTURES: dict[str, Picture] = {
    "denoising": Picture(
        "denoising pusht-state",
        "denoising.gif",
        "Sixty-four samples of p(x | y) for one observation, from pure noise to plans. There are two ways round the block, "
        "and the policy knows both. The same command writes an MP4, the strip below and a page with a slider.",
    ),
    "strip": Picture(
        "denoising pusht-state", "denoising.png", "The same as a figure for a paper: noise falls, modes part."
    ),
    "plans": Picture("denoising pusht-state", "plans.png", "The plans alone."),
    "modes": Picture(
        "modes pusht-state",
        "modes.png",
        "The distribution itself: its modes, each with its share and a sample that stands for it; what people did from "
        "nearby states; where each action goes; and how far the samples are apart along the plan.",
    ),
    "along": Picture(
        "modes pusht-state",
        "along_episode.png",
        "The same along an episode: undecided at the start, and again wherever there are two ways on round the block; sure "
        "of itself between.",
    ),
    "field": Picture(
        "field pusht-state",
        "field.png",
        "What draws plans out of the noise: the score, the gradient of the log density of noisy plans, at one action of the "
        "plan. At pure noise all arrows point at the middle of the range; as it falls, at the mean, then at each mode.",
    ),
    "film": Picture(
        "film pusht-state --gif True",
        "film.gif",
        "An episode in closed loop: the plan that is followed, among others of the same moment, made anew at every mark.",
    ),
    "steps": Picture(
        "compare pusht-state pusht-state-fast --steps 1 2 4 10",
        "comparison.png",
        "The same observation in one to ten network evaluations, by the flow as it was learned and as it was made straight.",
    ),
    "cloning": Picture(
        f"compare CLONED pusht-state --names Cloning Diffusion {_TWO_SIDES}",
        "comparison.png",
        "What a generative policy is for: where two sides are equally good, cloning by mean squared error plans the mean of "
        "both, straight through the block.",
    ),
    "cloned": Picture(
        f"film CLONED --name Cloning --max-steps 60 --gif True {_TWO_SIDES}",
        "film.gif",
        "The cloner in closed loop from there, in its first six seconds.",
    ),
    "diffused": Picture(
        f"film pusht-state --name Diffusion --gif True {_TWO_SIDES}",
        "film.gif",
        "And diffusion from the same start.",
    ),
}


@dataclass(frozen=True)
class Gallery:
    """Draw the pictures of docs/gallery."""

    only: tuple[str, ...] = ()
    """Names of pictures; all unless given."""
    cloned: Path | None = None
    """A policy that clones by mean squared error; its pictures stay as they are unless given."""


def main(arguments: Gallery) -> None:
    """Draw each command's pictures once, keep what the gallery shows, write its page."""
    if unknown := [name for name in arguments.only if name not in PICTURES]:
        raise SystemExit(f"--only {unknown[0]}: no such picture; there are {', '.join(PICTURES)}")
    wanted = {name: picture for name, picture in PICTURES.items() if not arguments.only or name in arguments.only}
    if arguments.cloned is None:
        wanted = {name: picture for name, picture in wanted.items() if "CLONED" not in picture.command}
    with tempfile.TemporaryDirectory() as place:
        drawn: dict[str, Path] = {}
        for name, picture in wanted.items():
            if picture.command not in drawn:
                folder = drawn[picture.command] = Path(place) / name
                words = [str(arguments.cloned) if word == "CLONED" else word for word in picture.command.split()]
                diffpolicy(["visualize", *words, "--out", str(folder)])
            shutil.copyfile(drawn[picture.command] / picture.file, GALLERY / kept(name))
    (GALLERY / "README.md").write_text(page(), encoding="utf-8")
    print(f"written: {GALLERY.relative_to(ROOT)}")


def kept(name: str) -> str:
    """The file's name in the gallery."""
    return name + Path(PICTURES[name].file).suffix


def page() -> str:
    """The gallery as Markdown, each picture with the command that draws it."""
    parts = ["# Gallery\n\nEvery picture by one command; all of them by `python benchmarks/gallery.py`.\n"]
    for name, picture in PICTURES.items():
        command = picture.command.replace("CLONED", "runs/pusht/mse/seed_0")
        parts.append(f"![{name}]({kept(name)})\n\n{picture.text}\n\n```\ndiffpolicy visualize {command}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    main(tyro.cli(Gallery, description=__doc__))
