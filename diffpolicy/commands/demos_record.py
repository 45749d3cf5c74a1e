"""`diffpolicy demos record`: a person solves Push-T with the mouse."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from diffpolicy_demos import open_or_create, pusht_attrs
from diffpolicy_demos.record import RecordSession
from diffpolicy_demos.record_panel import SMALLEST_TABLE_PX
from diffpolicy_demos.record_window import Metronome, RecordWindow
from diffpolicy_demos.record_window import record as run_session
from diffpolicy_demos.store import Store
from diffpolicy_envs.pusht import CONTROL_PERIOD_S
from gymnasium.error import DependencyNotInstalled
from rich.console import Console

from diffpolicy.errors import ConfigError

_LARGEST_TABLE_PX = 4096
# The protocol of Diffusion Policy takes 32 bits; this leaves room for the starts that follow the first.
_LARGEST_SEED = 2**31


@dataclass(frozen=True)
class RecordArguments:
    """Record Push-T with the mouse, in a window (needs the extra `play`).

    Move the pointer onto the blue disc: it follows, and recording begins. Enter or a click keeps the episode, Esc or
    Backspace discards it and starts again, N takes another start, U takes back the episode that was kept last, Q ends.
    Every kept episode is on disk before the next begins. A store that is there goes on where it stopped.

    For example:
      diffpolicy demos record
      diffpolicy demos record runs/mine.zarr --episodes 50 --pixels
    """

    path: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="PATH")] = Path("runs/mouse.zarr")
    """The store to make or to go on with."""
    episodes: int | None = None
    """How many to have in the end; without it, Q ends."""
    seed: int = 2_000_000
    """Of the first start; far from the seeds that policies are tuned and judged on."""
    protocol: Literal["gym_pusht", "diffusion_policy"] = "gym_pusht"
    """How seeds become starts."""
    max_steps: int | None = 600
    """Steps (a tenth of a second each) after which an episode's time is up; None for no limit."""
    pixels: Annotated[tyro.conf.UseCounterAction[int], tyro.conf.arg(help_behavior_hint="(default: off)")] = 0
    """Record the published 96 x 96 pictures too."""
    window_px: int | None = None
    """Width and height of the table on the screen; by default what fits."""


def record(arguments: RecordArguments, wait: Callable[[], None] | None = None) -> None:
    """Opens the window, lets the person record, and says what the store holds.

    Args:
        arguments: What was asked for.
        wait: Waits for the next control step; real time by default.

    Raises:
        ConfigError: An argument out of range, or pygame is missing.
        StoreError: The store cannot be made or gone on with, or an episode cannot be written.
        OSError: There is no screen.
    """
    _check(arguments)
    try:
        window = RecordWindow(f"Push-T: recording {arguments.path.name}", arguments.window_px)
    except DependencyNotInstalled as error:
        raise ConfigError(str(error)) from error
    try:
        with _open(arguments) as store:
            had = store.n_episodes
            session = RecordSession(
                store,
                store.episode_info(had - 1)["seed"] + 1 if had else arguments.seed,
                protocol=arguments.protocol,
                wanted=arguments.episodes,
                max_steps=arguments.max_steps,
                pixels=bool(arguments.pixels),
                table_px=window.table_px,
            )
            try:
                run_session(session, window, store.path, wait or Metronome(CONTROL_PERIOD_S))
            finally:
                session.close()
            new = store.n_episodes - had
            Console(highlight=False, soft_wrap=True, markup=False).print(
                f"{store.path}: {store.n_episodes} episodes, {store.n_steps} steps; "
                f"{new} new, {session.successes} of them successes"
            )
    finally:
        window.close()


def _check(arguments: RecordArguments) -> None:
    for name, value in (("--episodes", arguments.episodes), ("--max-steps", arguments.max_steps)):
        if value is not None and value < 1:
            raise ConfigError(f"{name} {value}: expected at least 1, or None")
    if not 0 <= arguments.seed <= _LARGEST_SEED:
        raise ConfigError(f"--seed {arguments.seed}: expected 0 to {_LARGEST_SEED}")
    if arguments.window_px is not None and not SMALLEST_TABLE_PX <= arguments.window_px <= _LARGEST_TABLE_PX:
        raise ConfigError(
            f"--window-px {arguments.window_px}: expected {SMALLEST_TABLE_PX} (less cannot be read) to {_LARGEST_TABLE_PX}"
        )


def _open(arguments: RecordArguments) -> Store:
    pixels = bool(arguments.pixels)
    made_by = {"recorder": "mouse", "seed": arguments.seed, "protocol": arguments.protocol, "pixels": pixels}
    keys = ("state", "action", "pixels") if pixels else ("state", "action")
    kwargs = {"obs_type": "pixels_agent_pos"} if pixels else {}
    return open_or_create(arguments.path, pusht_attrs("mouse", kwargs, keys), "recorded", "with the mouse", made_by)
