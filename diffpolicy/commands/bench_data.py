"""`diffpolicy bench data`: how many training windows a second, from memory and from disk, beside what others use.

What is measured lives in `diffpolicy.benchmarking`; here are only arguments, which stores to take, and the order of things.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import tyro
from diffpolicy_demos import Store, open_store
from diffpolicy_demos.location import HUMAN_SET, bundled_stores, data_folder
from rich.console import Console

from diffpolicy.commands.bench_run import Flag, Out, measuring, progress_bar


@dataclass(frozen=True)
class DataArguments:
    """Random training windows a second: from memory, from disk, beside plain zarr and a PyTorch DataLoader.

    A window is two observations and sixteen actions, a batch 256 of them. Measured are the store's numbers and its
    pictures, on the first episodes that fill a GiB of memory at most. For times worth quoting, let the machine rest.

    For example:
      diffpolicy bench data
      diffpolicy bench data my_episodes.zarr --rounds 100 --out data.json
      diffpolicy bench data pusht --quick
    """

    store: Annotated[
        str | None,
        tyro.conf.Positional,
        tyro.conf.arg(
            metavar="[STORE]",
            help="A zarr folder, a .zip of one, an fsspec URL, or a name such as pusht.",
            help_behavior_hint="(default: the human set if downloaded and the bundled ones, else one made on the spot)",
        ),
    ] = None
    rounds: int = 30
    """Rounds in which all take turns, for every time that is measured."""
    quick: Flag = 0
    """Seconds instead of minutes: to see that it runs, not to be quoted."""
    out: Out = None
    """Write everything to this JSON file too: machine, versions, medians and spreads."""


@dataclass(frozen=True)
class _Sizes:
    most_bytes: int
    made_episodes: int
    made_steps: int
    rounds: int


def data(arguments: DataArguments) -> None:
    """Measures how fast windows are read, prints it, and writes it where asked.

    Raises:
        ConfigError: No rounds, a folder in place of a file to write, or a store with nothing to observe.
        StoreError: A store that cannot be opened or read.
        OSError: No space or no permission.
    """
    import torch  # here, for `diffpolicy bench --help` needs none

    from diffpolicy.benchmarking import data_report

    quick = bool(arguments.quick)
    sizes = _Sizes(1 << 30, 24, 125, arguments.rounds)
    if quick:
        sizes = _Sizes(1 << 24, 4, 50, min(arguments.rounds, 3))
    with (
        measuring("data", "zarr", "torch", "numpy", rounds=arguments.rounds, quick=quick, out=arguments.out) as (
            result,
            console,
        ),
        _stores(arguments.store, sizes, console) as stores,
    ):
        result["torch_threads"] = torch.get_num_threads()
        data_report.print_legend(console)
        found = (_measure(name, store, sizes, console) for name, store in stores.items())
        result["readings"] = list(chain.from_iterable(found))


@contextlib.contextmanager
def _stores(asked: str | None, sizes: _Sizes, console: Console) -> Iterator[dict[str, Store]]:
    if asked is not None:
        yield {asked: open_store(asked)}
        return
    names = ["pusht"] * (data_folder() / HUMAN_SET).exists() + sorted(bundled_stores())
    if names:
        yield {name: open_store(name) for name in names}
        return
    from diffpolicy.benchmarking.data_stand_in import make_stand_in

    with tempfile.TemporaryDirectory() as folder:
        console.print("no demonstrations here (`diffpolicy demos download` fetches some): making a store of Push-T")
        store = make_stand_in(Path(folder) / "made.zarr", sizes.made_episodes, sizes.made_steps)
        yield {"made on the spot": store}


def _measure(name: str, store: Store, sizes: _Sizes, console: Console) -> Iterator[dict[str, Any]]:
    from diffpolicy.benchmarking import data_report, data_speed, data_windows

    for keys in data_windows.observations(store):
        described = f"{name}: {', '.join(keys)}"
        with progress_bar() as progress:
            reading = progress.add_task(f"reading {described}", total=store.n_steps)
            advance = partial(progress.advance, reading)
            recording = data_windows.load_recording(name, store, keys, sizes.most_bytes, advance)
            progress.remove_task(reading)
            rounds = progress.add_task(f"timing {described}", total=sizes.rounds)
            found = data_speed.compare_reading(recording, sizes.rounds, partial(progress.advance, rounds))
        data_report.print_reading(found, console)
        yield found.as_json()
