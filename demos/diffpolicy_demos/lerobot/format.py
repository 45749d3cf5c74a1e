"""LeRobot's dataset format, version 3.0, in one place: where its files are, what its features are called.

Reader and writer both take paths and names from here. What is ours and has no place in the format (shapes of more than
one axis, a store's attributes) goes into one file of our own, which LeRobot's loader passes over.
"""

import importlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from diffpolicy_demos.errors import StoreError

VERSION = "v3.0"
#: Versions whose folders can be read; 2.0 and 2.1 keep each episode in files of its own.
READABLE = (VERSION, "v2.1", "v2.0")

INFO = "meta/info.json"
STATS = "meta/stats.json"
TASKS = "meta/tasks.parquet"
TASKS_V2 = "meta/tasks.jsonl"
EPISODES_V2 = "meta/episodes.jsonl"
#: What the format has no place for; written here, and read back if it is there.
OURS = "meta/diffpolicy.json"
OURS_VERSION = 1

_FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
EPISODES_PATH = "meta/episodes/" + _FILE + ".parquet"
DATA_PATH = "data/" + _FILE + ".parquet"
VIDEO_PATH = "videos/{video_key}/" + _FILE + ".mp4"
FILES_PER_CHUNK = 1000
DATA_FILE_MB = 100
VIDEO_FILE_MB = 200

#: Columns that number the frames: made anew by every writer.
COUNTERS = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}
#: Column of the episodes' table that holds what a store knows of an episode, as JSON.
EPISODE_INFO = "diffpolicy/info"

#: Key of a store -> feature, for those that LeRobot's policies know by name.
FEATURES = {
    "action": "action",
    "state": "observation.state",
    "keypoints": "observation.environment_state",
    "pixels": "observation.image",
    "reward": "next.reward",
    "done": "next.done",
    "success": "next.success",
}
DONE, SUCCESS = FEATURES["done"], FEATURES["success"]
_KEYS = {feature: key for key, feature in FEATURES.items() if key != "keypoints"}
_PREFIXES = ("observation.images.", "observation.")

_FIELD = re.compile(r"\{([a-z_]+)(:0[1-9]d)?\}")


def pyarrow(module: str = "pyarrow") -> Any:
    """Imports a part of pyarrow, which is needed for LeRobot's files alone.

    Raises:
        StoreError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise StoreError(
            "LeRobot's parquet files need the package pyarrow, which is not installed: pip install 'diffpolicy[lerobot]'"
        ) from error


def feature_names(keys: Mapping[str, bool]) -> dict[str, str]:
    """A feature's name for each key of a store.

    Args:
        keys: Whether each key holds pictures.
    """
    names: dict[str, str] = {}
    for key, pictures in keys.items():
        plain = key if key.startswith(("observation.", "next.")) else f"observation.{key}"
        name = FEATURES.get(key, f"observation.images.{key}" if pictures else plain)
        names[key] = _unlike(names.values(), name)
    return names


def key_names(features: Iterable[str]) -> dict[str, str]:
    """A store's key for each feature: its name without LeRobot's prefixes, with `_` behind it where that is taken."""
    keys: dict[str, str] = {}
    for feature in sorted(features, key=lambda name: name not in _KEYS):  # known names first: they are never moved
        prefix = next((prefix for prefix in _PREFIXES if feature.startswith(prefix)), "")
        key = _KEYS.get(feature, feature.removeprefix(prefix) or feature)
        keys[feature] = _unlike(keys.values(), key)
    return keys


def _unlike(taken: Iterable[str], name: str) -> str:
    names = set(taken)
    while name in names:
        name += "_"
    return name


def file_path(folder: Path, template: object, **fields: object) -> Path:
    """The file that a path template of `info.json` means.

    Raises:
        StoreError: Not a template, a field that it cannot have, or a path that leaves the folder.
    """
    place = f"{folder / INFO}: the path {template!r}"
    if not isinstance(template, str):
        raise StoreError(f"{place} is no text; expected one such as {DATA_PATH!r}")
    names = {name for name, _ in _FIELD.findall(template)}
    if set("{}") & set(_FIELD.sub("", template)) or not names <= set(fields):
        raise StoreError(
            f"{place} has fields other than {', '.join(sorted(fields))}; expected one such as {DATA_PATH!r}"
        )
    try:
        relative = Path(template.format(**fields))
    except (ValueError, TypeError) as error:
        raise StoreError(f"{place} does not fit the episodes' table: {error}") from error
    if relative.is_absolute() or ".." in relative.parts:
        raise StoreError(f"{place} leads out of the folder; expected one such as {DATA_PATH!r}")
    return folder / relative
