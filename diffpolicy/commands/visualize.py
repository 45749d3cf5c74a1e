"""`diffpolicy visualize`: noise becoming plans, over the scene they were made for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro
from rich.console import Console

from diffpolicy.commands.arguments import chosen_device, parse
from diffpolicy.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from diffpolicy.policy import DiffusionPolicy


@dataclass(frozen=True)
class VisualizeArguments:
    """Draw the denoising of many action sequences for one observation.

    The policy acts from the start of an episode up to a step; there its observation is held, and sequences are sampled
    for it. Writes denoising.gif, denoising.mp4 and denoising.png (a strip of noise levels).

    For example:
      diffpolicy visualize pusht-state
      diffpolicy visualize runs/pusht_state_mlp --seed 500003 --at 24 --n 128 --steps 20
      diffpolicy visualize pusht-state --state 400 112 256 256 3.93
    """

    checkpoint: tyro.conf.Positional[str]
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
    sampler: Literal["euler", "ddpm", "ddim"] | None = None
    """The policy's own unless given."""
    protocol: Literal["gym_pusht", "diffusion_policy"] | None = None
    """How the seed becomes an initial state; the experiment's own unless given."""
    device: str = "cpu"
    out: Path | None = None
    """Folder for the pictures; runs/visualize-NAME unless given."""


def run(argv: list[str]) -> None:
    """Parse and draw."""
    arguments: VisualizeArguments = parse(VisualizeArguments, argv, prog="diffpolicy visualize")
    folder = arguments.out or Path("runs") / f"visualize-{Path(arguments.checkpoint).name}"
    for path in start(arguments, folder):
        Console(highlight=False, soft_wrap=True).print(f"written: {path}")


def start(arguments: VisualizeArguments, folder: Path) -> list[Path]:
    """Act up to the step, sample, draw. Returns the files written, the GIF first."""
    from diffpolicy.checkpoint import find_checkpoint, load_policy, read_meta
    from diffpolicy.evaluation.evaluate import settings_of
    from diffpolicy.visualization.denoising import denoising_frames, denoising_strip
    from diffpolicy.visualization.video import write_picture, write_video

    if arguments.n < 1 or arguments.at < 0:
        raise ConfigError(f"--n is {arguments.n} and --at is {arguments.at}; n must be at least 1, at at least 0")
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = find_checkpoint(arguments.checkpoint)
    policy = load_policy(checkpoint, chosen_device(arguments.device))
    task: Any = policy.task
    if not hasattr(task, "plan_px"):
        raise ConfigError(f"task {policy.config.task!r} has no plan_px(action): its plans have no place in a picture")
    settings = settings_of(read_meta(checkpoint)["experiment"], protocol=arguments.protocol)
    path, scene, agent = _sampled_path(policy, settings, arguments)
    steps = arguments.steps or policy.config.steps
    look: dict[str, Any] = {
        "agent_px": agent,
        "executed": policy.executed,
        "noise_levels": policy.noise_levels(steps).numpy(),
        "workspace_px": task.workspace_px,
    }
    films = [folder / "denoising.gif", folder / "denoising.mp4"]
    frames = list(denoising_frames(path, scene, nfe=steps, **look))
    for film in films:
        write_video(film, frames, fps=15, hold_last_s=1.5)
    strip = folder / "denoising.png"
    write_picture(strip, denoising_strip(path, scene, panels=min(5, len(path)), **look))
    return [*films, strip]


def _sampled_path(
    policy: DiffusionPolicy, settings: Any, arguments: VisualizeArguments
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """The path (states, n, horizon, 2) in px, a picture of the scene, and the agent's position if it is observed."""
    import numpy as np
    import torch

    from diffpolicy.evaluation.controller import Controller
    from diffpolicy.evaluation.rollout import check_world, make_env, start_episode

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
    _, path = policy.sample(
        {key: value[None] for key, value in history.items()},
        n=arguments.n,
        steps=arguments.steps,
        sampler=arguments.sampler,
        generator=torch.Generator().manual_seed(arguments.seed),
        return_path=True,
    )
    task: Any = policy.task
    agent = next((history[key][-1, :2] for key in ("agent_pos", "state") if key in history), None)
    return task.plan_px(path[:, 0]).double().cpu().numpy(), scene, agent
