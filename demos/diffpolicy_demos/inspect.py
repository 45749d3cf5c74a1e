"""What is in a store, at a glance: the first thing to look at before training on anybody's episodes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from diffpolicy_demos import checks
from diffpolicy_demos.schema import CONTROL_HZ_ATTR, WRITER_ATTR
from diffpolicy_demos.store import Store
from diffpolicy_demos.survey import courses

DEFAULT_CONTROL_HZ = 10.0
_BARS = "▁▂▃▄▅▆▇█"
_SPARK_WIDTH = 60
_COMPONENTS = 8  # up to here a table can show the range of each number by itself


@dataclass(frozen=True)
class ArrayDescription:
    """One array under `data/`, as stored.

    Attributes:
        key: The name that policies use.
        stored: The name on disk.
        shape: Steps first.
        dtype: As numpy writes it.
        chunks: Shape of one chunk.
        stored_bytes: Compressed size on disk; None where the place cannot tell.
        low: Least finite value, of each component for rows of a few numbers, else one for the whole array.
        high: Greatest finite value, likewise.
        nonfinite: How many values are NaN or infinite.
    """

    key: str
    stored: str
    shape: tuple[int, ...]
    dtype: str
    chunks: tuple[int, ...]
    stored_bytes: int | None
    low: tuple[float, ...]
    high: tuple[float, ...]
    nonfinite: int


@dataclass(frozen=True)
class Description:
    """A store in plain data; `dataclasses.asdict` makes it JSON.

    Attributes:
        path: Where it is.
        zarr_format: 2 or 3.
        episodes: Their number.
        steps: Of all episodes together.
        control_hz: Steps a second, from the store's attributes or the 10 Hz of Push-T.
        duration_s: Of all episodes together.
        lengths: Steps of each episode.
        length_min: Steps of the shortest episode.
        length_median: Steps of the median episode.
        length_max: Steps of the longest episode.
        arrays: One entry per stored array.
        attrs: What the store says about itself.
        action_speed: Mean over each episode of how fast the action moves, in units of the action a second; None for
            an episode of one step, and where it is not finite.
        end_coverage: Covered share of the goal after each episode's last action; only of Push-T. None for an episode
            whose states cannot be trusted.
    """

    path: str
    zarr_format: int
    episodes: int
    steps: int
    control_hz: float
    duration_s: float
    lengths: tuple[int, ...]
    length_min: int
    length_median: float
    length_max: int
    arrays: tuple[ArrayDescription, ...]
    attrs: dict[str, Any]
    action_speed: tuple[float | None, ...]
    end_coverage: tuple[float | None, ...]


def control_hz_of(store: Store) -> float:
    """Steps a second, from the store's attributes or the 10 Hz of Push-T."""
    rate = store.attrs.get(CONTROL_HZ_ATTR)
    return float(rate) if isinstance(rate, int | float) and rate > 0 else DEFAULT_CONTROL_HZ


def describe(store: Store, progress: Progress | None = None) -> Description:
    """Describes a store; reads every array once, chunk by chunk, for its range.

    Args:
        store: What to describe.
        progress: Where to show how far the reading is, in steps of each array.
    """
    progress = progress or Progress(disable=True)
    lengths = store.episode_lengths
    hz = control_hz_of(store)
    speeds, ends = [], []
    for course in courses(store, hz, progress):
        speed = course.action_speed
        speeds.append(float(speed.mean()) if len(speed) and np.isfinite(speed).all() else None)
        ends.append(None if course.coverage is None else float(course.coverage[-1]))
    return Description(
        path=store.path,
        zarr_format=store.zarr_format,
        episodes=store.n_episodes,
        steps=store.n_steps,
        control_hz=hz,
        duration_s=store.n_steps / hz,
        lengths=tuple(lengths.tolist()),
        length_min=int(lengths.min()),
        length_median=float(np.median(lengths)),
        length_max=int(lengths.max()),
        arrays=tuple(_describe_array(store, key, progress) for key in store.stored_keys),
        attrs={name: value for name, value in store.attrs.items() if name != WRITER_ATTR},
        action_speed=tuple(speeds),
        end_coverage=() if all(end is None for end in ends) else tuple(ends),
    )


def _describe_array(store: Store, key: str, progress: Progress) -> ArrayDescription:
    array = store[key]
    axes = (0,) if array.ndim == 2 and array.shape[1] <= _COMPONENTS else tuple(range(array.ndim))
    low, high, nonfinite = np.inf, -np.inf, 0
    task = progress.add_task(f"reading {escape(key)}", total=array.shape[0])
    for _, values in checks.stretches(array):
        values = values.astype(np.float64)
        finite = np.isfinite(values)
        nonfinite += int(values.size - finite.sum())
        low = np.minimum(low, np.min(values, axis=axes, where=finite, initial=np.inf))
        high = np.maximum(high, np.max(values, axis=axes, where=finite, initial=-np.inf))
        progress.advance(task, len(values))
    try:
        stored_bytes: int | None = array.nbytes_stored()
    except Exception:  # a plain web server does not list its files, and each kind refuses in its own way
        stored_bytes = None
    return ArrayDescription(
        key=key,
        stored=array.name.rpartition("/")[2],
        shape=tuple(array.shape),
        dtype=str(array.dtype),
        chunks=tuple(array.chunks),
        stored_bytes=stored_bytes,
        low=tuple(np.atleast_1d(low).tolist()),
        high=tuple(np.atleast_1d(high).tolist()),
        nonfinite=nonfinite,
    )


def sparkline(numbers: Sequence[int | float | None], bottom: float = 0.0) -> str:
    """Numbers in their order as bars up to the largest, neighbours averaged where there are more than fit a line.

    Args:
        numbers: At least one. None leaves a gap where it has no neighbours to be averaged with.
        bottom: Where the bars begin; none of the numbers is less.
    """
    known = np.array([np.nan if number is None else number for number in numbers], dtype=np.float64)
    groups = [group[~np.isnan(group)] for group in np.array_split(known, min(len(known), _SPARK_WIDTH))]
    heights = [group.mean() - bottom if len(group) else None for group in groups]
    full = max((height for height in heights if height is not None), default=0.0) or 1.0
    bars = [None if height is None else int(np.ceil(height / full * len(_BARS)).clip(1)) for height in heights]
    return "".join(" " if bar is None else _BARS[bar - 1] for bar in bars)


def _print_sparkline(label: str, numbers: Sequence[int | float | None], console: Console, *, from_least: bool) -> None:
    known = [number for number in numbers if number is not None]
    if known:
        spread = f"{label}: {min(known):.3g} to {max(known):.3g}, mean {np.mean(known):.3g}"
        bars = sparkline(numbers, min(known) if from_least else 0.0)
        console.print(f"{bars}  {spread}", highlight=False, soft_wrap=True)


def print_description(description: Description, console: Console) -> None:
    """Prints a description as a few lines and one table: chunks in steps, sizes in MB on disk."""
    d = description
    console.print(f"[bold]{escape(d.path)}[/bold]  zarr format {d.zarr_format}", highlight=False)
    console.print(
        f"{d.episodes} episodes, {d.steps} steps, {d.duration_s / 60:.1f} min at {d.control_hz:g} Hz", highlight=False
    )
    console.print(
        f"steps per episode: shortest {d.length_min}, median {d.length_median:g}, longest {d.length_max}",
        highlight=False,
    )
    console.print(f"{sparkline(d.lengths)}  lengths in order", highlight=False)
    _print_sparkline("action speed, per s", d.action_speed, console, from_least=False)
    _print_sparkline("coverage at the end", d.end_coverage, console, from_least=True)
    table = Table("key", "shape", "dtype", "chunk", "MB", "range", box=None, header_style="bold", pad_edge=False)
    for array in d.arrays:
        table.add_row(
            array.key if array.key == array.stored else f"{array.key} ({array.stored})",
            "x".join(map(str, array.shape)),
            array.dtype,
            str(array.chunks[0]),
            "?" if array.stored_bytes is None else f"{array.stored_bytes / 1e6:.2f}",
            _range_text(array),
        )
    for column in table.columns:
        column.no_wrap = True
    console.print(table)
    for name, value in d.attrs.items():
        console.print(f"{escape(str(name))}: {escape(str(value))}", highlight=False)


def _range_text(array: ArrayDescription) -> str:
    text = "\n".join(f"{low:.3g} .. {high:.3g}" for low, high in zip(array.low, array.high, strict=True))
    return text + (f"\n[red]{array.nonfinite} NaN or infinite[/red]" if array.nonfinite else "")
