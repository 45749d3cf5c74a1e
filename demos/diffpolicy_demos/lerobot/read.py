"""Reads the episodes of a LeRobot dataset one after another, whoever wrote it, under the keys of a store."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from diffpolicy_demos.errors import StoreError
from diffpolicy_demos.lerobot.columns import to_numbers, to_pictures
from diffpolicy_demos.lerobot.format import COUNTERS, DONE, INFO, SUCCESS, key_names, pyarrow
from diffpolicy_demos.lerobot.meta import EpisodeRow, open_parquet, read_description, read_episodes, read_ours
from diffpolicy_demos.lerobot.video import VideoReader
from diffpolicy_demos.location import one_line
from diffpolicy_demos.schema import CONTROL_HZ_ATTR, LAYOUT_ATTR, SOURCE_ATTR

_BATCH = 256  # rows decoded at once: with a picture in each they are the bulk of what is in memory
_OFF_GRID_S = 1e-3
_NUMBERS = {"bool", "float16", "float32", "float64", *(f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64))}


class LerobotRecording:
    """A LeRobot dataset, opened for reading.

    Attributes:
        path: The folder.
        fps: Frames a second.
        attrs: What a store of the same episodes would say about itself.
        infos: What is known of each episode.
        left_out: What a store cannot hold, one sentence each; complete once the episodes have been read.

    Raises:
        StoreError: Files are missing, damaged or do not add up; one line that names the file.
    """

    def __init__(self, folder: Path) -> None:
        info = read_description(folder)
        ours = read_ours(folder)
        self.path = str(folder)
        self.fps = float(info["fps"])
        self._folder = folder
        self._rows = read_episodes(folder, info)
        self.infos = [row.info for row in self._rows]
        self.left_out: list[str] = []
        self._numbers: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
        self._pictures: dict[str, tuple[int, int]] = {}
        self._sort(info["features"], ours)
        known = {name: entry["key"] for name, entry in ours.get("arrays", {}).items()}
        features = [*self._numbers, *self._pictures]
        self._keys = {**key_names(features), **{name: known[name] for name in features if name in known}}
        if "action" not in self._keys.values():
            raise StoreError(f"{folder / INFO}: no feature 'action'; found {', '.join(info['features']) or 'none'}")
        self.attrs: dict[str, Any] = ours["attributes"] if ours else self._described(info)

    @property
    def n_episodes(self) -> int:
        """Episodes in it."""
        return len(self._rows)

    def episodes(self) -> Iterator[dict[str, Shaped[np.ndarray, "steps ..."]]]:
        """Reads one episode after the other.

        Raises:
            StoreError: A file is missing or damaged, or holds other rows than the table of episodes says.
        """
        readers = {name: VideoReader() for name in self._pictures}
        try:
            start = 0
            for stop in range(1, len(self._rows) + 1):
                if stop == len(self._rows) or self._rows[stop].data_file != self._rows[start].data_file:
                    tables = self._tables(self._rows[start].data_file)
                    for index in range(start, stop):
                        yield self._episode(index, next(tables, (None, None)), readers)
                    start = stop
        finally:
            for reader in readers.values():
                reader.close()

    def _sort(self, features: dict[str, dict[str, Any]], ours: dict[str, Any]) -> None:
        """Which features are numbers, which pictures, and which a store does not hold."""
        arrays = ours.get("arrays", {})
        computed = {DONE, SUCCESS} - set(arrays) if ours else set()
        for name, feature in features.items():
            if name in COUNTERS or name in computed:
                continue
            shape, dtype = tuple(feature["shape"]), feature["dtype"]
            if dtype in ("video", "image"):
                about = feature.get("info") or {}
                first_is_colour = len(shape) == 3 and shape[0] == 3 and shape[2] != 3
                height, width, colours = (*shape[1:], shape[0]) if first_is_colour else (*shape, 0, 0, 0)[:3]
                if colours != 3 or about.get("is_depth_map") or about.get("video.is_depth_map"):
                    self.left_out.append(f"{name}: left out, pictures of shape {shape}; only RGB is read")
                else:
                    self._pictures[name] = (height, width)
            elif dtype in _NUMBERS:
                kept = tuple(arrays[name]["shape"]) if name in arrays else shape or (1,)
                if np.prod(kept, dtype=int) != np.prod(shape, dtype=int):
                    raise StoreError(f"{self._folder / INFO}: {name!r} has shape {shape}, but was written as {kept}")
                self._numbers[name] = (kept, np.dtype(dtype))
            else:
                self.left_out.append(f"{name}: left out, it holds {dtype}; a store holds numbers and RGB pictures")

    def _described(self, info: dict[str, Any]) -> dict[str, Any]:
        layout = {}
        for name in self._numbers:
            names = info["features"][name].get("names")
            if isinstance(names, dict) and len(names) == 1:  # {"motors": [...]}, as many sets have it
                names = next(iter(names.values()))
            if isinstance(names, list) and names:
                layout[self._keys[name]] = {"names": names}
        attrs = {
            SOURCE_ATTR: f"LeRobot dataset {self._folder.resolve().name}, {info['codebase_version']}",
            CONTROL_HZ_ATTR: info["fps"],
            LAYOUT_ATTR: layout,
            "robot_type": info.get("robot_type"),
        }
        return {name: value for name, value in attrs.items() if value}

    def _tables(self, path: Path) -> Iterator[tuple[int, Any]]:
        """The rows of a data file, episode by episode as they lie in it."""
        file = open_parquet(path)
        stored = [name for name in ("timestamp", "frame_index") if name in file.schema_arrow.names]
        wanted = [name for name in [*self._numbers, *self._pictures] if name not in self._rows[0].videos]
        if missing := [name for name in ["episode_index", *wanted] if name not in file.schema_arrow.names]:
            raise StoreError(f"{path}: no column {missing[0]!r}, which {INFO} lists")
        pieces: list[Any] = []
        current = -1
        try:
            for batch in file.iter_batches(_BATCH, columns=["episode_index", *stored, *wanted]):
                indices = batch.column("episode_index").to_numpy(zero_copy_only=False)
                cuts = [0, *(np.flatnonzero(np.diff(indices)) + 1).tolist(), len(indices)]
                for begin, end in pairwise(cuts if len(indices) else []):
                    if pieces and indices[begin] != current:
                        yield current, pyarrow().Table.from_batches(pieces)
                        pieces = []
                    current = int(indices[begin])
                    pieces.append(batch.slice(begin, end - begin))
        except (OSError, ValueError) as error:
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"{path}: cannot be read as parquet: {one_line(error)}; copy the file again") from error
        if pieces:
            yield current, pyarrow().Table.from_batches(pieces)

    def _episode(
        self, index: int, found: tuple[int | None, Any], readers: dict[str, VideoReader]
    ) -> dict[str, Shaped[np.ndarray, "steps ..."]]:
        row, (number, table) = self._rows[index], found
        place = f"{row.data_file}: episode {index}"
        if number != index:
            has = "the file ends before it" if number is None else f"the rows of episode {number} are in its place"
            raise StoreError(f"{place} is missing: {has}; copy the file again")
        if table.num_rows != row.length:
            raise StoreError(f"{place} has {table.num_rows} rows; the table of episodes says {row.length}")
        times_s = self._times(place, table, row)
        episode = {}
        for name, (shape, dtype) in self._numbers.items():
            size = int(np.prod(shape, dtype=int))
            values = to_numbers(f"{place}, column {name!r}", table.column(name), size, dtype)
            episode[self._keys[name]] = values.reshape(row.length, *shape)
        for name, (height, width) in self._pictures.items():
            if name in row.videos:
                path, begin_s = row.videos[name]
                pictures = readers[name].read(path, begin_s + times_s, self.fps)
                if pictures.shape[1:] != (height, width, 3):
                    raise StoreError(f"{path}: pictures of {pictures.shape[1:]}; {INFO} says {(height, width, 3)}")
            else:
                pictures = to_pictures(f"{place}, column {name!r}", table.column(name), height, width)
            episode[self._keys[name]] = pictures
        return episode

    def _times(self, place: str, table: Any, row: EpisodeRow) -> Shaped[np.ndarray, " steps"]:
        grid = np.arange(row.length) / self.fps
        if "frame_index" in table.column_names:
            frames = to_numbers(f"{place}, column 'frame_index'", table.column("frame_index"), 1, np.int64)[:, 0]
            if not np.array_equal(frames, np.arange(row.length)):
                raise StoreError(f"{place}: frame_index does not count 0, 1, 2, ...; rows are missing or out of order")
        if "timestamp" not in table.column_names:
            return grid
        times_s = to_numbers(f"{place}, column 'timestamp'", table.column("timestamp"), 1, np.float64)[:, 0]
        off_s = float(np.abs(times_s - grid).max())
        said = "timestamps: left out; steps are taken to be even, here they stray by a millisecond or more"
        if off_s > _OFF_GRID_S and said not in self.left_out:
            self.left_out.append(said)
        return times_s
