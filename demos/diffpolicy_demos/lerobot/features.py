"""How LeRobot describes what a store holds: a feature for each array, with its type, size and the numbers' names."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Shaped

from diffpolicy_demos.lerobot.format import COUNTERS, DONE, SUCCESS, feature_names

Episode = Mapping[str, Shaped[np.ndarray, "steps ..."]]


def describe_features(
    episode: Episode, layout: object, *, video_fps: int | None, tells_success: bool
) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """Describes the arrays of an episode, and the columns that LeRobot has beside them.

    Args:
        episode: Any episode: all have the same keys, shapes and dtypes.
        layout: The store's attribute of that name, or None: by key, the `names` of the numbers along the last axis.
        video_fps: Frames a second of the videos; None for pictures in the tables.
        tells_success: Whether there is a column `next.success`.

    Returns:
        The feature of each key, and all features as they stand in `meta/info.json`.
    """
    pictures = {key: _is_picture(key, values) for key, values in episode.items()}
    names, features = feature_names(pictures), {}
    for key, name in names.items():
        shape = episode[key].shape[1:]
        if pictures[key]:
            features[name] = _picture_feature(shape, video_fps)
        else:
            told = layout.get(key) if isinstance(layout, dict) else None
            size = int(np.prod(shape))
            features[name] = {
                "dtype": str(episode[key].dtype),
                "shape": [size],
                "names": _number_names(key, size, told.get("names") if isinstance(told, dict) else None),
            }
    for name in (DONE, SUCCESS) if tells_success else (DONE,):
        if name not in features:
            features[name] = {"dtype": "bool", "shape": [1], "names": None}
    for name, dtype in COUNTERS.items():
        features[name] = {"dtype": dtype, "shape": [1], "names": None}
    return names, features


def _is_picture(key: str, values: Shaped[np.ndarray, "steps ..."]) -> bool:
    return values.ndim == 4 and values.shape[3] == 3 and (key == "pixels" or values.dtype == np.uint8)


def _picture_feature(shape: tuple[int, ...], fps: int | None) -> dict[str, Any]:
    feature = {"dtype": "image", "shape": list(shape), "names": ["height", "width", "channels"]}
    if fps is None:
        return feature
    about = {
        "video.height": shape[0],
        "video.width": shape[1],
        "video.is_depth_map": False,
        "video.fps": fps,
        "video.channels": shape[2],
        "has_audio": False,
    }
    return {**feature, "dtype": "video", "info": about}


def _number_names(key: str, size: int, told: object) -> list[str]:
    """A name for each number; a store's layout names those of the last axis."""
    if isinstance(told, list) and told and size % len(told) == 0 and all(isinstance(name, str) for name in told):
        rows = size // len(told)
        return told if rows == 1 else [f"{name} {row}" for row in range(rows) for name in told]
    return [f"{key}_{index}" for index in range(size)]
