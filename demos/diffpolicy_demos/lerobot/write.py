"""Writes episodes as a LeRobot dataset v3.0, one at a time: parquet for numbers, mp4 (or png in parquet) for pictures."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from diffpolicy_demos.checks import as_pixels
from diffpolicy_demos.errors import StoreError
from diffpolicy_demos.lerobot import stats as lerobot_stats
from diffpolicy_demos.lerobot.columns import from_numbers, from_pictures, tasks_table
from diffpolicy_demos.lerobot.features import Episode, describe_features
from diffpolicy_demos.lerobot.format import (
    COUNTERS,
    DATA_FILE_MB,
    DATA_PATH,
    DONE,
    EPISODE_INFO,
    EPISODES_PATH,
    FILES_PER_CHUNK,
    INFO,
    OURS,
    OURS_VERSION,
    STATS,
    SUCCESS,
    TASKS,
    VERSION,
    VIDEO_FILE_MB,
    VIDEO_PATH,
    pyarrow,
)
from diffpolicy_demos.lerobot.video import VideoWriter
from diffpolicy_demos.schema import LAYOUT_ATTR

#: LeRobot compares times as float32 to within 1e-4 s. From 1024 s on, neighbouring float32 lie further apart than that.
_VIDEO_S = 900.0
_EPISODES_AT_ONCE = 64  # rows of the episodes' table kept in memory
_MB = 1 << 20


class LerobotWriter:
    """A LeRobot dataset being written; `close` makes it one.

    Args:
        folder: Where; it must not exist.
        attrs: The store's attributes, kept for the way back; `robot_type` (or `env_id`) and the names in `layout` are
            understood by LeRobot too.
        fps: Steps a second.
        task: What is done in episodes that do not say it themselves (`task` in their information).
        crf: Quality of the videos, 0 (exact) to 51; None for pictures as png in the parquet files.
        tells_success: Whether the information of every episode has `success`, to be written as `next.success`.
    """

    def __init__(
        self, folder: Path, attrs: Mapping[str, Any], *, fps: int, task: str, crf: int | None, tells_success: bool
    ) -> None:
        self._arrow, self._parquet = pyarrow(), pyarrow("pyarrow.parquet")
        self._folder, self._attrs, self._fps, self._task, self._crf = folder, dict(attrs), fps, task, crf
        self._features: dict[str, dict[str, Any]] = {}
        self._names: dict[str, str] = {}
        self._tasks: dict[str, int] = {}
        self._stats: dict[str, lerobot_stats.Stats] = {}
        self._episodes, self._frames = 0, 0
        self._rows: list[dict[str, Any]] = []
        self._open: dict[str, Any] = {}  # what is being written, by the place that it goes to
        self._files: dict[str, int] = {}  # how many files of each place have been finished
        self._tells_success = tells_success
        folder.mkdir(parents=True)

    def __enter__(self) -> "LerobotWriter":
        return self

    def __exit__(self, *_: object) -> None:
        # After an error the files are half written, and closing them may fail in turn: that must not hide the error.
        for writer in self._open.values():
            with contextlib.suppress(Exception):
                writer.close()

    def append(self, episode: Episode, info: Mapping[str, Any]) -> None:
        """Writes one episode.

        Args:
            episode: Arrays of (steps, ...) by key; every episode has the same keys, shapes and dtypes.
            info: What is known of the episode, as JSON. `task` is its task; `success` becomes `next.success`.

        Raises:
            StoreError: Pictures that are none, see `checks.as_pixels`.
        """
        if not self._features:
            self._decide(episode)
        steps = len(episode["action"])
        task = info.get("task")
        task_index = self._tasks.setdefault(task if isinstance(task, str) else self._task, len(self._tasks))
        row: dict[str, Any] = {
            "episode_index": self._episodes,
            "tasks": [list(self._tasks)[task_index]],
            "length": steps,
            "dataset_from_index": self._frames,
            "dataset_to_index": self._frames + steps,
            EPISODE_INFO: json.dumps(dict(info), ensure_ascii=False),
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
        }
        numbers = self._counters(steps, task_index) | self._outcome(steps, info)
        stats: dict[str, lerobot_stats.Stats] = {}
        columns: dict[str, Any] = {}
        for key, name in self._names.items():
            values = episode[key]
            if self._features[name]["dtype"] in ("video", "image"):
                pictures = as_pixels(f"episode {self._episodes}: {key!r}", values)
                stats[name] = lerobot_stats.of_pictures(pictures)
                if self._crf is None:
                    columns[name] = from_pictures(pictures)
                else:
                    row |= self._append_video(name, pictures)
            else:
                numbers[name] = values.reshape(steps, -1)
        for name, values in numbers.items():
            stats[name] = lerobot_stats.of_numbers(values)
            columns[name] = from_numbers(values)
        row |= self._append_table(columns)
        self._publish(row, stats)

    def _decide(self, episode: Episode) -> None:
        """The first episode decides the features."""
        self._names, self._features = describe_features(
            episode,
            self._attrs.get(LAYOUT_ATTR),
            video_fps=None if self._crf is None else self._fps,
            tells_success=self._tells_success,
        )
        self._ours = {
            "version": OURS_VERSION,
            "attributes": self._attrs,
            "arrays": {name: {"key": key, "shape": list(episode[key].shape[1:])} for key, name in self._names.items()},
        }

    def _counters(self, steps: int, task_index: int) -> dict[str, Shaped[np.ndarray, "steps 1"]]:
        frame = np.arange(steps)
        values = {
            "timestamp": frame / self._fps,
            "frame_index": frame,
            "episode_index": np.full(steps, self._episodes),
            "index": self._frames + frame,
            "task_index": np.full(steps, task_index),
        }
        return {name: values[name].astype(dtype)[:, None] for name, dtype in COUNTERS.items()}

    def _outcome(self, steps: int, info: Mapping[str, Any]) -> dict[str, Shaped[np.ndarray, "steps 1"]]:
        """`next.done` and `next.success`, which LeRobot's sets have, where the store has no arrays of them."""
        last = np.arange(steps)[:, None] == steps - 1
        found = {DONE: last}
        if self._tells_success:
            found[SUCCESS] = last & info["success"]
        return {name: values for name, values in found.items() if name not in self._names.values()}

    def _append_video(self, name: str, pictures: Shaped[np.ndarray, "steps height width 3"]) -> dict[str, Any]:
        writer = self._open.get(name)
        if writer is not None and (
            writer.size >= VIDEO_FILE_MB * _MB or writer.seconds + len(pictures) / self._fps > _VIDEO_S
        ):
            self._finish(name)
            writer = None
        if writer is None:
            path = self._folder / VIDEO_PATH.format(video_key=name, **self._place(name))
            height, width = pictures.shape[1:3]
            writer = VideoWriter(path, self._fps, height, width, self._crf or 0)
            self._open[name] = writer
            self._features[name]["info"] |= {"video.codec": writer.codec, "video.pix_fmt": writer.pix_fmt}
        begin_s = writer.seconds
        writer.write(pictures)
        place = {f"videos/{name}/{field}": index for field, index in self._place(name).items()}
        return {
            **place,
            f"videos/{name}/from_timestamp": begin_s,
            f"videos/{name}/to_timestamp": writer.seconds,
        }

    def _append_table(self, columns: dict[str, Any]) -> dict[str, Any]:
        place = self._place("data")
        table = self._arrow.table({name: columns[name] for name in self._features if name in columns})
        if "data" not in self._open:
            path = self._folder / DATA_PATH.format(**place)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._open["data"] = self._parquet.ParquetWriter(str(path), table.schema)
            self._data_path = path
        self._open["data"].write_table(table, row_group_size=table.num_rows)  # one episode can be read by itself
        if self._data_path.stat().st_size >= DATA_FILE_MB * _MB:
            self._finish("data")
        return {f"data/{field}": index for field, index in place.items()}

    def _publish(self, row: dict[str, Any], stats: dict[str, lerobot_stats.Stats]) -> None:
        for feature, values in stats.items():
            self._stats[feature] = lerobot_stats.together(self._stats.get(feature), values)
        for feature, lists in lerobot_stats.as_lists(stats).items():
            row |= {f"stats/{feature}/{statistic}": value for statistic, value in lists.items()}
        self._rows.append(row)
        self._episodes += 1
        self._frames += row["length"]
        if len(self._rows) >= _EPISODES_AT_ONCE:
            self._flush_episodes()

    def _flush_episodes(self) -> None:
        table = self._arrow.Table.from_pylist(self._rows)
        if "episodes" not in self._open:
            path = self._folder / EPISODES_PATH.format(chunk_index=0, file_index=0)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._open["episodes"] = self._parquet.ParquetWriter(str(path), table.schema)
        self._open["episodes"].write_table(table)
        self._rows = []

    def _place(self, what: str) -> dict[str, int]:
        chunk, file = divmod(self._files.get(what, 0), FILES_PER_CHUNK)
        return {"chunk_index": chunk, "file_index": file}

    def _finish(self, what: str) -> None:
        self._open.pop(what).close()
        self._files[what] = self._files.get(what, 0) + 1

    def close(self) -> None:
        """Finishes every file and writes what describes them.

        Raises:
            StoreError: No episode was appended.
        """
        if not self._episodes:
            raise StoreError(f"{self._folder}: no episodes; LeRobot has no empty datasets")
        if self._rows:
            self._flush_episodes()
        for what in list(self._open):
            self._finish(what)
        self._parquet.write_table(tasks_table(list(self._tasks)), str(self._folder / TASKS))
        _write_json(self._folder / STATS, lerobot_stats.as_lists(self._stats))
        _write_json(self._folder / OURS, self._ours)
        robot = self._attrs.get("robot_type", self._attrs.get("env_id"))
        videos = any(feature["dtype"] == "video" for feature in self._features.values())
        description = {
            "codebase_version": VERSION,
            "robot_type": robot if isinstance(robot, str) else None,
            "total_episodes": self._episodes,
            "total_frames": self._frames,
            "total_tasks": len(self._tasks),
            "chunks_size": FILES_PER_CHUNK,
            "data_files_size_in_mb": DATA_FILE_MB,
            "video_files_size_in_mb": VIDEO_FILE_MB,
            "fps": self._fps,
            "splits": {"train": f"0:{self._episodes}"},
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if videos else None,
            "features": self._features,
        }
        _write_json(self._folder / INFO, description)  # last: a folder without it is no dataset


def _write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")
