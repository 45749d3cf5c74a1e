"""`diffpolicy visualize modes`: p(x | y) as a distribution: its ways and weights, its density, its spread."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from diffpolicy.commands.arguments import results_folder
from diffpolicy.commands.moment import MomentArguments, moment_of
from diffpolicy.errors import ConfigError

if TYPE_CHECKING:
    from diffpolicy.evaluation.moment import Moment
    from diffpolicy.evaluation.watch import Seen
    from diffpolicy.neighbours import Neighbours
    from diffpolicy.visualization.along_episode import Certainty
    from diffpolicy.visualization.modes import Modes

# Pictures take long to compare, and moments nearer than this are not counted twice anyway.
_EVERY_PICTURE = 8


@dataclass(frozen=True)
class ModesArguments(MomentArguments):
    """Draw the distribution of plans for one observation, and how it changes along the episode.

    Writes modes.png (the modes with their weights and representatives, the density of each action, the spread, and what
    was demonstrated from nearby states), along_episode.png and modes.json with the numbers.

    For example:
      diffpolicy visualize modes pusht-state
      diffpolicy visualize modes pusht-state --seed 500003 --at 24 --n 1000
      diffpolicy visualize modes runs/my_robot --demos my_robot.zarr --near 50 --moments 0
    """

    n: int = 512
    """Sequences to sample at each moment, 4096 at most."""
    demos: str | None = None
    """Demonstrations among which to look for nearby states: a path, a URL or a name; the experiment's own unless given."""
    near: int = 20
    """Nearby moments of the demonstrations to draw; 0: none are looked for."""
    moments: int = 60
    """Moments of the episode at which p(x | y) is sampled for along_episode.png, evenly spaced; 0 leaves it out."""


def draw_modes(arguments: ModesArguments) -> None:
    """Draw, and say what was written."""
    for path in start(arguments, arguments.out or results_folder("visualize", arguments.checkpoint)):
        _console().print(f"written: {path}")


def start(arguments: ModesArguments, folder: Path) -> list[Path]:
    """Act up to the step, sample, look for neighbours, draw. Returns the files written."""
    from diffpolicy.visualization.distribution import distribution_picture
    from diffpolicy.visualization.modes import MOST_PLANS, modes
    from diffpolicy.visualization.video import write_picture

    if min(arguments.near, arguments.moments) < 0 or arguments.n > MOST_PLANS:
        raise ConfigError(
            f"--n is {arguments.n}, --near is {arguments.near} and --moments is {arguments.moments}; n must be at most "
            f"{MOST_PLANS}, near and moments at least 0"
        )
    moment = moment_of(arguments)
    folder.mkdir(parents=True, exist_ok=True)
    near = _nearby(arguments, moment) if arguments.near else None
    with _console().status("sampling"):
        plans, _ = moment.sample(arguments.n)
        found = modes(plans)
    written = [folder / "modes.png"]
    where = f"{arguments.checkpoint}, {arguments.begun}, control step {arguments.at}"
    scale = moment.policy.config.noise_scale
    noise = "" if scale == 1 else f", from full noise (in closed loop: {scale:g} of it)"
    shown: dict[str, Any] = {"found": found, "subtitle": f"{where}; {moment.steps} network evaluations a sample{noise}"}
    if near is not None:
        import torch

        shown["demonstrated"] = moment.px(torch.as_tensor(near.actions))
        shown["demonstrated_note"] = (
            f"distance {near.distances[0]:.2f} to {near.distances[-1]:.2f} in the policy's features "
            f"(median of all moments: {near.typical_distance:.2f})"
        )
    write_picture(written[0], distribution_picture(plans, moment.scene, **shown, **moment.look))
    numbers = {
        "checkpoint": arguments.checkpoint,
        "seed": arguments.seed,
        "state": arguments.state,
        "protocol": moment.settings.protocol,
        "sampler": moment.sampler,
        "nfe": moment.steps,
        "step": arguments.at,
        **_about_modes(plans, found),
        "demonstrated": None if near is None else _about_neighbours(near, shown["demonstrated"], plans, found),
    }
    if arguments.moments:
        picture, known = _along_episode(arguments, moment)
        written.append(folder / "along_episode.png")
        write_picture(written[-1], picture)
        numbers["along_episode"] = {
            "steps": known.steps.tolist(),
            "weights": [one.weights.tolist() for one in known.found],
            "spread_px": known.spread_px.tolist(),
            "spread_within_modes_px": known.within_px.tolist(),
        }
    written.append(folder / "modes.json")
    written[-1].write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    return written


def _nearby(arguments: ModesArguments, moment: Moment) -> Neighbours | None:
    """What was demonstrated near the moment; None, and a line about it, where the demonstrations are not at hand."""
    from diffpolicy_demos import StoreError, open_store

    from diffpolicy.checkpoint import find_checkpoint, read_meta
    from diffpolicy.neighbours import nearest_windows, recorded_windows

    data = read_meta(find_checkpoint(arguments.checkpoint))["experiment"].data
    try:
        store = open_store(arguments.demos or data.path)
    except (StoreError, OSError) as error:
        if arguments.demos is not None:
            raise
        _console().print(f"drawn without demonstrations: {error}; or name others with --demos PATH")
        return None
    pictures = bool(moment.policy.encoder.pictures)
    with Progress(TextColumn("{task.description}"), BarColumn(), transient=True) as bar:
        windows = recorded_windows(store, moment.policy, _ticking(bar, "reading demonstrations", store.n_steps))
        every = _EVERY_PICTURE if pictures else 1
        return nearest_windows(
            moment.policy,
            windows,
            moment.history,
            n=arguments.near,
            mirror=data.mirror,
            every=every,
            on_windows=_ticking(bar, "looking for nearby moments", len(windows) // every),
        )


def _ticking(bar: Progress, what: str, total: int) -> Callable[[int], None]:
    task = bar.add_task(what, total=total)
    return lambda done: bar.advance(task, done)


def _along_episode(arguments: ModesArguments, moment: Moment) -> tuple[Any, Certainty]:
    """The picture of the whole episode, and its numbers."""
    import numpy as np

    from diffpolicy.evaluation.watch import watch
    from diffpolicy.visualization.along_episode import along_episode_picture, certainty

    with Progress(TextColumn("{task.description}"), BarColumn(), transient=True) as bar:
        run = _ticking(bar, "acting", 300)
        planned, steps = [], 0
        for seen in watch(moment.policy, moment.settings, arguments.seed, arguments.state):
            steps = seen.step
            run(1)
            if seen.plan is not None:
                planned.append(seen)
        places = np.unique(np.round(np.linspace(0, len(planned) - 1, min(arguments.moments, len(planned)))).astype(int))
        tick = _ticking(bar, "sampling along the episode", len(places))
        moments = []
        for place in places:
            moments.append(_planned_moment(moment, planned[place], arguments.n))
            tick(1)
    known = certainty(moments)
    subtitle = (
        f"{arguments.checkpoint}, {arguments.begun}, {steps} control steps; {arguments.n} samples at each of "
        f"{len(moments)} moments at which it planned; shown: the first, and the widest spread of each equal part"
    )
    px = moment.task.workspace_px
    return along_episode_picture(moments, known=known, subtitle=subtitle, workspace_px=px), known


def _planned_moment(moment: Moment, seen: Seen, n: int) -> Any:
    import dataclasses

    import torch

    from diffpolicy.evaluation.moment import agent_px
    from diffpolicy.visualization.along_episode import PlannedMoment

    plans, _ = dataclasses.replace(moment, history=seen.history).sample(n)
    return PlannedMoment(
        step=seen.step,
        scene=seen.scene,
        plans=plans,
        followed=moment.px(torch.as_tensor(seen.plan)),
        agent_px=agent_px(seen.history),
    )


def _about_modes(plans: Any, found: Modes) -> dict[str, Any]:
    from diffpolicy.visualization.density import spread_px

    return {
        "samples": len(plans),
        "modes": [
            {"weight": float(weight), "interval_95": interval.tolist(), "representative_px": plans[medoid].tolist()}
            for weight, interval, medoid in zip(found.weights, found.intervals, found.medoids, strict=True)
        ],
        "spread_px": spread_px(plans).tolist(),
        "spread_within_modes_px": spread_px(plans, found.labels).tolist(),
    }


def _about_neighbours(near: Neighbours, demonstrated: Any, plans: Any, found: Modes) -> dict[str, Any]:
    from diffpolicy.visualization.modes import mode_reached

    labels = mode_reached(demonstrated, plans, found)
    return {
        "typical_distance": near.typical_distance,
        "in_mode": [int((labels == label).sum()) for label in range(len(found))],
        "elsewhere": int((labels == -1).sum()),
        "moments": [
            {"episode": int(e), "step": int(s), "mirrored": bool(m), "distance": float(d), "mode": int(label)}
            for e, s, m, d, label in zip(near.episodes, near.steps, near.mirrored, near.distances, labels, strict=True)
        ],
    }


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True, markup=False)
