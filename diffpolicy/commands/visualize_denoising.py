"""`diffpolicy visualize denoising`: noise becoming plans, over the scene they were made for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from diffpolicy.commands.arguments import results_folder
from diffpolicy.commands.moment import MomentArguments, moment_of


@dataclass(frozen=True)
class DenoisingArguments(MomentArguments):
    """Draw the denoising of many action sequences for one observation.

    The policy acts from the start of an episode up to a step; there its observation is held, and sequences are sampled
    for it. Writes denoising.gif, denoising.mp4, denoising.png (a strip of noise levels), plans.png and denoising.html,
    a page with a slider from noise to plans that needs no network.

    For example:
      diffpolicy visualize pusht-state
      diffpolicy visualize runs/pusht_state_mlp --seed 500003 --at 24 --n 128 --steps 20
      diffpolicy visualize pusht-state --state 400 112 256 256 3.93
    """


def draw_denoising(arguments: DenoisingArguments) -> None:
    """Draw, and say what was written."""
    for path in start(arguments, arguments.out or results_folder("visualize", arguments.checkpoint)):
        Console(highlight=False, soft_wrap=True, markup=False).print(f"written: {path}")


def start(arguments: DenoisingArguments, folder: Path) -> list[Path]:
    """Act up to the step, sample, draw. Returns the files written, the GIF first."""
    from diffpolicy.visualization.denoising import denoising_frames, denoising_strip
    from diffpolicy.visualization.denoising_page import denoising_page
    from diffpolicy.visualization.plans import plan_picture
    from diffpolicy.visualization.video import write_picture, write_video

    console = Console(highlight=False, soft_wrap=True, markup=False)
    moment = moment_of(arguments)
    folder.mkdir(parents=True, exist_ok=True)
    with console.status("sampling"):
        plans, path = moment.sample(arguments.n)
    levels = moment.policy.noise_levels(moment.steps, moment.sampler).numpy()
    films = [folder / "denoising.gif", folder / "denoising.mp4"]
    strip, still, page = folder / "denoising.png", folder / "plans.png", folder / "denoising.html"
    with console.status("drawing"):
        frames = list(denoising_frames(path, moment.scene, nfe=moment.steps, noise_levels=levels, **moment.look))
        for film in films:
            write_video(film, frames, fps=20, hold_last_s=1.5)
        panels = min(5, len(path))
        write_picture(strip, denoising_strip(path, moment.scene, panels=panels, noise_levels=levels, **moment.look))
        title, subtitle = f"{arguments.n} samples of p(x | y)", f"{moment.steps} network evaluations each"
        write_picture(still, plan_picture(plans, moment.scene, title=title, subtitle=subtitle, **moment.look))
        whose = f"{arguments.checkpoint} · {arguments.begun} · step {arguments.at} · {moment.sampler}"
        html = denoising_page(path, moment.scene, nfe=moment.steps, noise_levels=levels, subtitle=whose, **moment.look)
        page.write_text(html, encoding="utf-8")
    return [*films, strip, still, page]
