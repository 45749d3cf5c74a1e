"""What is in a store, at a glance: the first thing to look at before training on anybody's episodes."""

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


def describe(store: Store, progress: Progress | None = None) -> Description:
    """Describes a store; reads every array once, chunk by chunk, for its range.

    Args:
        store: What to describe.
        progress: Where to show how far the reading is, in steps of each array.
    """
    progress = progress or Progress(disable=True)
    lengths = store.episode_lengths
    rate = store.attrs.get(CONTROL_HZ_ATTR)
    hz = float(rate) if isinstance(rate, int | float) and rate > 0 else DEFAULT_CONTROL_HZ
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


def sparkline(lengths: tuple[int, ...]) -> str:
    """Episode lengths in their order as bars from zero, neighbours averaged where there are more than fit a line."""
    groups = np.array_split(np.asarray(lengths, dtype=float), min(len(lengths), _SPARK_WIDTH))
    means = np.array([group.mean() for group in groups])
    return "".join(_BARS[int(level)] for level in np.ceil(means / means.max() * len(_BARS)).clip(1) - 1)


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
