"""`diffpolicy visualize film`: an episode as a film, with the plans as they are made, followed and replaced."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro
from rich.console import Console

from diffpolicy.commands.arguments import results_folder, short_name
from diffpolicy.commands.eval import read_json
from diffpolicy.config_objectives import Sampler
from diffpolicy.errors import ConfigError

if TYPE_CHECKING:
    from diffpolicy.evaluation.controller import Controller
    from diffpolicy.evaluation.watch import Seen
    from diffpolicy.evaluation.world import RolloutSettings
    from diffpolicy.policy import DiffusionPolicy

_GIF_WIDTH_PX = 960
_REAL_TIME_FPS = 10


@dataclass(frozen=True)
class FilmArguments:
    """Film an episode in closed loop: the world, and beside it what the policy plans at each look.

    The plan that it takes up is strong; other samples of the same moment are faint, what it gave up of the plan before
    fades out. Below them is the coverage over time. Writes film.mp4, and film.gif if asked.

    For example:
      diffpolicy visualize film pusht-state
      diffpolicy visualize film pusht-pixels --seed 500003 --fps 10 --gif True
      diffpolicy visualize film pusht-state --env diffpolicy_envs:diffpolicy/PushTPerturbed-v0 --env-kwargs '{"at": [30]}'
    """

    checkpoint: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CHECKPOINT")]
    """A released name, a checkpoint's folder or a run's folder."""
    seed: int = 500_079
    """Of the episode's start and of all noise. (From this one, Push-T has two good ways round the block.)"""
    state: tuple[float, ...] | None = None
    """Start from exactly this state instead, where the environment takes one; Push-T: agent x y, block x y (px), angle
    (rad)."""
    n: int = 32
    """Samples to show at each look beside the plan taken up; 0 shows none. They do not change the episode."""
    protocol: str | None = None
    """How the seed becomes an initial state: for Push-T gym_pusht or diffusion_policy; the experiment's own unless
    given."""
    env: str | None = None
    """Another Gymnasium id than the experiment's."""
    env_kwargs: str | None = None
    """Arguments of the environment as JSON, added to the experiment's own."""
    steps: int | None = None
    """Network evaluations a plan; the policy's own unless given."""
    sampler: Sampler | None = None
    """The policy's own unless given."""
    action_horizon: int | None = None
    """Actions executed before looking again; the policy's own unless given."""
    speed: float | None = None
    """How fast plans are followed, 1 as demonstrated; the policy's own unless given."""
    noise_scale: float | None = None
    """Standard deviation of the noise that plans start from; the policy's own unless given."""
    warm_start: float | None = None
    """Share of the way spared by starting from what is left of the plan before; the policy's own unless given."""
    patience: int | None = None
    """Control steps of standing still after which plans start from full noise, 0 for never; the policy's own unless
    given."""
    max_steps: int | None = None
    """Length of the episode; the environment's own unless given."""
    fps: float = 5.0
    """Frames a second of the film, one a control step: 10 shows Push-T in real time, 5 slowly enough to read the plans."""
    gif: bool = False
    """Also write film.gif, which is larger and takes as long again."""
    name: str | None = None
    """What to call the policy in the film; by its checkpoint unless given."""
    device: str = "cpu"
    """Where the network runs: auto, cpu, cuda or mps."""
    out: Path | None = None
    """Folder for the film; runs/film-NAME unless given."""


@dataclass
class Episode:
    """What a film needs of an episode; pictures of the world are packed, since hundreds of them are large."""

    coverage: list[float]
    agent_px: list[np.ndarray]
    looks: list[int]
    plans: list[np.ndarray]
    samples: list[np.ndarray]
    packed: list[bytes]
    shape: tuple[int, ...] = ()

    def scenes(self) -> Iterator[np.ndarray]:
        """The pictures of the world, one a moment."""
        for data in self.packed:
            yield np.frombuffer(zlib.decompress(data), dtype=np.uint8).reshape(self.shape)


def draw_film(arguments: FilmArguments) -> None:
    """Film, and say what was written."""
    for path in start(arguments, arguments.out or results_folder("film", arguments.checkpoint)):
        Console(highlight=False, soft_wrap=True, markup=False).print(f"written: {path}")


def start(arguments: FilmArguments, folder: Path) -> list[Path]:
    """Run the episode, draw it. Returns the files written, the MP4 first.

    Raises:
        CheckpointError: there is no such checkpoint.
        ConfigError: numbers out of range, or a world or task that cannot be filmed.
        ObservationError: the environment shows something else than the policy observes.
    """
    from diffpolicy.checkpoint import find_checkpoint, load_policy, read_meta
    from diffpolicy.evaluation.evaluate import settings_of
    from diffpolicy.evaluation.moment import drawable
    from diffpolicy.evaluation.rollout import make_controller
    from diffpolicy.policy import executed
    from diffpolicy.visualization.closed_loop import closed_loop_frames
    from diffpolicy.visualization.video import write_video

    most_fps = 50 if arguments.gif else 1000
    if arguments.n < 0 or not 0.1 <= arguments.fps <= most_fps:
        raise ConfigError(
            f"--n is {arguments.n} and --fps is {arguments.fps:g}; n must be at least 0, fps at least 0.1 and at most "
            f"{most_fps}"
        )
    checkpoint = find_checkpoint(arguments.checkpoint)
    policy = load_policy(checkpoint, arguments.device)
    task = drawable(policy)
    names = ("protocol", "env", "steps", "sampler", "action_horizon", "speed", "noise_scale", "warm_start", "patience")
    changes: dict[str, Any] = {name: getattr(arguments, name) for name in (*names, "max_steps")}
    changes["env_kwargs"] = read_json(arguments.env_kwargs)
    settings = settings_of(read_meta(checkpoint)["experiment"], **changes)
    controller = make_controller(policy, settings)
    folder.mkdir(parents=True, exist_ok=True)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    with console.status("acting") as status:
        episode = act(
            policy, settings, controller, arguments, on_step=lambda step: status.update(f"acting: step {step}")
        )
    shown = len(episode.samples) > 0
    films = [folder / "film.mp4", *([folder / "film.gif"] if arguments.gif else [])]
    for film in films:
        frames = closed_loop_frames(
            episode.scenes(),
            np.stack(episode.plans),
            np.array(episode.looks),
            np.array(episode.coverage),
            samples=np.stack(episode.samples) if shown else None,
            agent_px=np.stack(episode.agent_px) if episode.agent_px else None,
            executed=executed(policy.config.obs_horizon, controller.action_horizon, controller.speed),
            speed=controller.speed,
            title=f"{arguments.name or short_name(arguments.checkpoint)} in closed loop",
            subtitle=_subtitle(policy, controller, arguments),
            workspace_px=task.workspace_px,
            width_px=_GIF_WIDTH_PX if film.suffix == ".gif" else 1280,
        )
        with console.status(f"drawing {len(episode.packed)} frames"):
            write_video(film, frames, fps=arguments.fps, hold_last_s=1.5)
    return films


def act(
    policy: DiffusionPolicy, settings: RolloutSettings, controller: Controller, arguments: FilmArguments, on_step: Any
) -> Episode:
    """Run the episode and remember what the film shows.

    Raises:
        ConfigError: the world does not tell its coverage.
    """
    import torch

    from diffpolicy.evaluation.moment import agent_px, drawable, plan_px
    from diffpolicy.evaluation.watch import watch

    # Their own source: the episode's noise is as it would be without them. From the same seed it would be the same noise;
    # only the lower 32 bits of a seed count.
    generator = torch.Generator().manual_seed(arguments.seed + 2**31)
    episode = Episode([], [], [], [], [], [])
    for seen in watch(policy, settings, arguments.seed, arguments.state):
        on_step(seen.step)
        if "coverage" not in seen.info:
            raise ConfigError(
                f"{settings.env}: its info has no 'coverage'; use `diffpolicy eval --film`, which shows none"
            )
        episode.coverage.append(float(seen.info["coverage"]))
        episode.packed.append(zlib.compress(np.ascontiguousarray(seen.scene).tobytes(), 1))
        episode.shape = seen.scene.shape
        where = agent_px(seen.history)
        episode.agent_px += [] if where is None else [where]
        if seen.plan is not None:
            episode.looks.append(seen.step)
            episode.plans.append(plan_px(drawable(policy), torch.as_tensor(seen.plan)))
            if arguments.n:
                episode.samples.append(_others(policy, seen, controller, arguments.n, generator))
    looks = zip(episode.plans, episode.samples, strict=False)
    if all(np.abs(samples - plan).max() < 1e-2 for plan, samples in looks):
        episode.samples = []  # a policy that always says the same has no others
    return episode


def _others(policy: DiffusionPolicy, seen: Seen, controller: Controller, n: int, generator: Any) -> np.ndarray:
    """Plans that the loop might have made at this moment."""
    import torch

    from diffpolicy.evaluation.moment import drawable, plan_px

    noise = torch.randn((1, n, policy.config.pred_horizon, policy.action_dim), generator=generator)
    x = policy.sample(
        {key: value[None] for key, value in seen.history.items()},
        steps=controller.steps,
        sampler=controller.sampler,
        generator=generator,
        noise=seen.noise_size * noise,
        guess=None if seen.guess is None else seen.guess[None],
        warm_start=controller.warm_start,
    )
    return plan_px(drawable(policy), x[0])


def _subtitle(policy: DiffusionPolicy, controller: Controller, arguments: FilmArguments) -> str:
    nfe = controller.steps or policy.config.steps
    says_one = policy.config.objective.name == "regression"
    parts = [
        f"{nfe} network evaluation{'s' * (nfe > 1)} a plan",
        f"looks again after {controller.action_horizon} step{'s' * (controller.action_horizon > 1)}",
        f"plans followed {controller.speed:g}x as fast as demonstrated" if controller.speed != 1 else "",
        f"noise scale {controller.noise_scale:g}" if controller.noise_scale != 1 and not says_one else "",
        f"{controller.warm_start:.0%} of the way spared by the plan before" if controller.warm_start else "",
        f"film at {arguments.fps / _REAL_TIME_FPS:g}x real time" if arguments.fps != _REAL_TIME_FPS else "real time",
    ]
    return "  ·  ".join(part for part in parts if part)
