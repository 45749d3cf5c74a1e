"""`diffpolicy visualize`: noise becoming plans, over the scene they were made for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console

from diffpolicy.commands.arguments import parse, results_folder
from diffpolicy.config_objectives import Sampler
from diffpolicy.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from diffpolicy.policy import DiffusionPolicy


@dataclass(frozen=True)
class VisualizeArguments:
    """Draw the denoising of many action sequences for one observation.

    The policy acts from the start of an episode up to a step; there its observation is held, and sequences are sampled
    for it. Writes denoising.gif, denoising.mp4, denoising.png (a strip of noise levels) and plans.png.

    For example:
      diffpolicy visualize pusht-state
      diffpolicy visualize runs/pusht_state_mlp --seed 500003 --at 24 --n 128 --steps 20
      diffpolicy visualize pusht-state --state 400 112 256 256 3.93
    """

    checkpoint: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CHECKPOINT")]
    """A released name, a checkpoint's folder or a run's folder."""
    seed: int = 500_079
    """Of the episode's start and of all noise. (From this one, Push-T has two good ways round the block.)"""
    state: tuple[float, ...] | None = None
    """Start from exactly this state instead, where the environment takes one; Push-T: agent x y, block x y (px), angle
    (rad)."""
    at: int = 0
    """Control step of the episode at which to look."""
    n: int = 64
    """Sequences to sample."""
    steps: int | None = None
    """Network evaluations; the policy's own unless given."""
    sampler: Sampler | None = None
    """The policy's own unless given."""
    protocol: str | None = None
    """How the seed becomes an initial state: for Push-T gym_pusht or diffusion_policy; the experiment's own unless
    given."""
    device: str = "cpu"
    """Where the network runs: auto, cpu, cuda or mps."""
    out: Path | None = None
    """Folder for the pictures; runs/visualize-NAME unless given."""


def run(argv: list[str]) -> None:
    """Parse and draw."""
    arguments: VisualizeArguments = parse(VisualizeArguments, argv, prog="diffpolicy visualize")
    folder = arguments.out or results_folder("visualize", arguments.checkpoint)
    for path in start(arguments, folder):
        Console(highlight=False, soft_wrap=True, markup=False).print(f"written: {path}")


def start(arguments: VisualizeArguments, folder: Path) -> list[Path]:
    """Act up to the step, sample, draw. Returns the files written, the GIF first."""
    from diffpolicy.checkpoint import find_checkpoint, load_policy, read_meta
    from diffpolicy.evaluation.evaluate import settings_of
    from diffpolicy.tasks import Drawable
    from diffpolicy.visualization.denoising import denoising_frames, denoising_strip
    from diffpolicy.visualization.plans import plan_picture
    from diffpolicy.visualization.video import write_picture, write_video

    if arguments.n < 1 or arguments.at < 0:
        raise ConfigError(f"--n is {arguments.n} and --at is {arguments.at}; n must be at least 1, at at least 0")
    checkpoint = find_checkpoint(arguments.checkpoint)
    policy = load_policy(checkpoint, arguments.device)
    task = policy.task
    if not isinstance(task, Drawable):
        raise ConfigError(
            f"task {policy.config.task!r} has no workspace_px and plan_px(action): its plans have no place in a picture"
        )
    folder.mkdir(parents=True, exist_ok=True)
    settings = settings_of(read_meta(checkpoint)["experiment"], protocol=arguments.protocol)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    with console.status("sampling"):
        x, path, scene, agent = _sampled(policy, settings, arguments)
    steps = arguments.steps or policy.config.steps
    look: dict[str, Any] = {"agent_px": agent, "executed": policy.executed, "workspace_px": task.workspace_px}
    levels = policy.noise_levels(steps, arguments.sampler).numpy()
    films = [folder / "denoising.gif", folder / "denoising.mp4"]
    strip, still = folder / "denoising.png", folder / "plans.png"
    with console.status("drawing"):
        frames = list(denoising_frames(path, scene, nfe=steps, noise_levels=levels, **look))
        for film in films:
            write_video(film, frames, fps=20, hold_last_s=1.5)
        write_picture(strip, denoising_strip(path, scene, panels=min(5, len(path)), noise_levels=levels, **look))
        title = f"{arguments.n} samples of p(x | y)"
        write_picture(still, plan_picture(x, scene, title=title, subtitle=f"{steps} network evaluations each", **look))
    return [*films, strip, still]


def _sampled(
    policy: DiffusionPolicy, settings: Any, arguments: VisualizeArguments
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Plans (n, horizon, 2), their path (states, n, horizon, 2) in px, the scene, and the agent if it is observed."""
    import numpy as np
    import torch

    from diffpolicy.evaluation.controller import Controller
    from diffpolicy.evaluation.world import check_world, make_env, start_episode

    check_world(settings, policy.obs_shapes, policy.action_dim, arguments.seed)
    env = make_env(settings, render=True)
    obs, _ = start_episode(env, settings, arguments.seed, arguments.state)
    controller = Controller(policy, steps=arguments.steps, sampler=arguments.sampler, seed=arguments.seed)
    for step in range(arguments.at):
        obs, _, terminated, truncated, _ = env.step(controller(obs))
        if terminated or truncated:
            raise ConfigError(f"--at {arguments.at}: the episode from seed {arguments.seed} ended at step {step + 1}")
    controller.observe(obs)
    history = controller.history()
    scene = np.asarray(env.render(), dtype=np.uint8)
    env.close()
    x, path = policy.sample(
        {key: value[None] for key, value in history.items()},
        n=arguments.n,
        steps=arguments.steps,
        sampler=arguments.sampler,
        generator=torch.Generator().manual_seed(arguments.seed),
        return_path=True,
    )
    task: Any = policy.task
    agent = next((history[key][-1, :2] for key in ("agent_pos", "state") if key in history), None)
    plans, states = (task.plan_px(actions).double().cpu().numpy() for actions in (x[0], path[:, 0]))
    return plans, states, scene, agent
