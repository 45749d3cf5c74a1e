"""What a LeRobot folder says about itself: versions 3.0, 2.1 and 2.0 of its `meta/` as one description of each episode."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffpolicy_demos.errors import StoreError
from diffpolicy_demos.lerobot.format import (
    DATA_PATH,
    EPISODE_INFO,
    EPISODES_V2,
    INFO,
    OURS,
    OURS_VERSION,
    READABLE,
    VERSION,
    file_path,
    pyarrow,
)
from diffpolicy_demos.location import one_line


@dataclass(frozen=True)
class EpisodeRow:
    """Where one episode is.

    Attributes:
        length: Its steps.
        data_file: The parquet file with its rows.
        videos: By feature, the video file and the second at which the episode begins in it.
        info: What is known of it; its task, where nothing else is.
    """

    length: int
    data_file: Path
    videos: Mapping[str, tuple[Path, float]]
    info: dict[str, Any]


def read_description(folder: Path) -> dict[str, Any]:
    """Reads `meta/info.json` and checks what the other files are read by.

    Raises:
        StoreError: Missing, damaged, of a version that cannot be read, or without the fields that one needs.
    """
    place = folder / INFO
    if not place.is_file():
        raise StoreError(
            f"{place}: missing; expected a LeRobot dataset, {VERSION}: point at the folder that holds meta/"
        )
    info = _read_json(place)
    version = info.get("codebase_version")
    if version not in READABLE:
        raise StoreError(
            f"{place}: codebase_version is {version!r}; expected {', '.join(READABLE)}: "
            "convert it with LeRobot's own scripts first"
        )
    for name, kind, expected in (
        ("fps", int | float, "frames a second"),
        ("total_episodes", int, "how many there are"),
        ("total_frames", int, "how many there are"),
        ("features", dict, "a mapping of names"),
    ):
        value = info.get(name)
        right = isinstance(value, kind) and not isinstance(value, bool)
        if not right or (name == "fps" and not (math.isfinite(info["fps"]) and info["fps"] > 0)):
            raise StoreError(f"{place}: {name!r} is {value!r}; expected {expected}")
    for name, feature in info["features"].items():
        shape = feature.get("shape") if isinstance(feature, dict) else None
        sizes = isinstance(shape, list) and all(isinstance(size, int) and 0 < size < 1 << 24 for size in shape)
        if not sizes or not isinstance(feature.get("dtype"), str):
            raise StoreError(
                f"{place}: feature {name!r} lacks a dtype or a shape of whole numbers; found {feature!r:.80}"
            )
    return info


def read_ours(folder: Path) -> dict[str, Any]:
    """What this package's own writer kept beside the format; empty for everybody else's datasets.

    Raises:
        StoreError: The file is damaged.
    """
    place = folder / OURS
    if not place.is_file():
        return {}
    ours = _read_json(place)
    arrays = ours.get("arrays")
    entries = list(arrays.values()) if isinstance(arrays, dict) else [None]
    whole = isinstance(ours.get("attributes"), dict) and all(
        isinstance(entry, dict) and isinstance(entry.get("key"), str) and isinstance(entry.get("shape"), list)
        for entry in entries
    )
    if ours.get("version") != OURS_VERSION or not whole:
        raise StoreError(
            f"{place}: not what version {OURS_VERSION} of it looks like; delete it to read the dataset as anybody's"
        )
    return ours


def read_episodes(folder: Path, info: Mapping[str, Any]) -> list[EpisodeRow]:
    """Reads the table of episodes and checks that it adds up.

    Raises:
        StoreError: Missing, damaged, or in disagreement with `meta/info.json`.
    """
    table = EPISODES_V2 if info["codebase_version"] != VERSION else "meta/episodes"
    place = str(folder / table)
    rows = _rows_v2(folder, info) if table == EPISODES_V2 else _rows_v3(folder, info)
    indices = [row["episode_index"] for row in rows]
    if indices != list(range(len(rows))) or not rows:
        first = next((i for i, index in enumerate(indices) if i != index), len(rows))
        found = f"{indices[first]} at place {first}" if first < len(rows) else "none"
        raise StoreError(f"{place}: episode_index is {found}; expected episodes 0, 1, 2, ... in order")
    if len(rows) != info["total_episodes"]:
        raise StoreError(f"{place}: {len(rows)} episodes; {INFO} says {info['total_episodes']}: a file may be missing")
    lengths = [row["length"] for row in rows]
    if not all(isinstance(length, int) and length > 0 for length in lengths):
        first = next(i for i, length in enumerate(lengths) if not (isinstance(length, int) and length > 0))
        raise StoreError(f"{place}: episode {first} has length {lengths[first]!r}; expected one step or more")
    if sum(lengths) != info["total_frames"]:
        raise StoreError(
            f"{place}: the episodes have {sum(lengths)} frames together; {INFO} says {info['total_frames']}"
        )
    return [
        EpisodeRow(
            row["length"],
            file_path(folder, info.get("data_path"), **row["fields"]),
            {
                name: (file_path(folder, info.get("video_path"), **fields), float(begin_s))
                for name, (fields, begin_s) in row["videos"].items()
            },
            _known(place, row),
        )
        for row in rows
    ]


def _rows_v3(folder: Path, info: Mapping[str, Any]) -> list[dict[str, Any]]:
    paths = sorted((folder / "meta" / "episodes").glob("*/*.parquet"))
    if not paths:
        raise StoreError(f"{folder / 'meta' / 'episodes'}: no parquet files; expected the table of episodes")
    videos = [name for name, feature in info["features"].items() if feature["dtype"] == "video"]
    wanted = ["episode_index", "length", "data/chunk_index", "data/file_index"]
    for name in videos:
        wanted += [f"videos/{name}/{field}" for field in ("chunk_index", "file_index", "from_timestamp")]
    rows = []
    for path in paths:
        table = open_parquet(path)
        columns = table.schema_arrow.names
        if missing := [column for column in wanted if column not in columns]:
            raise StoreError(f"{path}: no column {missing[0]!r}; expected {', '.join(wanted)}")
        optional = [column for column in ("tasks", EPISODE_INFO) if column in columns]
        found = read_columns(path, table, [*wanted, *optional]).to_pylist()
        for row, values in enumerate(found):
            if empty := [column for column in wanted if values[column] is None]:
                raise StoreError(f"{path}: column {empty[0]!r} is empty in row {row}; expected a number")
        rows += found
    return [
        {
            "episode_index": row["episode_index"],
            "length": row["length"],
            "tasks": row.get("tasks"),
            "info": row.get(EPISODE_INFO),
            "fields": {"chunk_index": row["data/chunk_index"], "file_index": row["data/file_index"]},
            "videos": {
                name: (
                    {
                        "video_key": name,
                        "chunk_index": row[f"videos/{name}/chunk_index"],
                        "file_index": row[f"videos/{name}/file_index"],
                    },
                    row[f"videos/{name}/from_timestamp"],
                )
                for name in videos
            },
        }
        for row in sorted(rows, key=lambda row: row["episode_index"])
    ]


def _rows_v2(folder: Path, info: Mapping[str, Any]) -> list[dict[str, Any]]:
    place = folder / EPISODES_V2
    try:
        lines = place.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{place}: cannot be read: {one_line(error)}; expected a line of JSON an episode") from error
    videos = [name for name, feature in info["features"].items() if feature["dtype"] == "video"]
    per_chunk = info.get("chunks_size")
    if not isinstance(per_chunk, int) or per_chunk < 1:
        raise StoreError(f"{folder / INFO}: 'chunks_size' is {per_chunk!r}; expected episodes per folder")
    rows = []
    for number, line in enumerate((line for line in lines if line.strip()), 1):
        try:
            row = json.loads(line)
            index, length = int(row["episode_index"]), int(row["length"])
        except (ValueError, TypeError, KeyError) as error:
            raise StoreError(f"{place}, line {number}: no episode_index and length; found {line[:80]!r}") from error
        fields = {"episode_chunk": index // per_chunk, "episode_index": index}
        rows.append(
            {
                "episode_index": index,
                "length": length,
                "tasks": row.get("tasks"),
                "info": None,
                "fields": fields,
                "videos": {name: ({**fields, "video_key": name}, 0.0) for name in videos},
            }
        )
    return sorted(rows, key=lambda row: row["episode_index"])


def _known(place: str, row: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(row["info"], str):
        try:
            known = json.loads(row["info"])
            if isinstance(known, dict):
                return known
        except ValueError:
            pass
        raise StoreError(
            f"{place}: {EPISODE_INFO} of episode {row['episode_index']} is no JSON; found {row['info'][:80]!r}"
        )
    tasks = [task for task in row["tasks"] or [] if isinstance(task, str)]
    if len(tasks) > 1:
        return {"task": tasks[0], "tasks": tasks}
    return {"task": tasks[0]} if tasks else {}


def open_parquet(path: Path) -> Any:
    """Opens a parquet file.

    Raises:
        StoreError: Missing or damaged.
    """
    if not path.is_file():
        raise StoreError(f"{path}: missing; copy it from where the dataset came from (files are named as {DATA_PATH})")
    try:
        return pyarrow("pyarrow.parquet").ParquetFile(str(path))
    except (OSError, ValueError) as error:  # pyarrow's own errors are among these
        raise StoreError(f"{path}: cannot be read as parquet: {one_line(error)}; copy the file again") from error


def read_columns(path: Path, table: Any, columns: list[str]) -> Any:
    """Reads columns of an open parquet file whole.

    Raises:
        StoreError: They are damaged.
    """
    try:
        return table.read(columns=columns)
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read as parquet: {one_line(error)}; copy the file again") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read as JSON: {one_line(error)}; copy the file again") from error
    if not isinstance(content, dict):
        raise StoreError(f"{path}: holds a {type(content).__name__}; expected a mapping of names")
    return content
