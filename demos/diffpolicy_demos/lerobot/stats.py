"""The statistics that LeRobot keeps of every feature, of each episode and of all: its policies normalize with them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped, UInt8

#: Name of a statistic -> its value; all of one shape but `count`, which is the number of frames.
Stats = dict[str, Float[np.ndarray, "..."]]

_QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}


def of_numbers(values: Shaped[np.ndarray, "steps numbers"]) -> Stats:
    """Statistics of each number of a feature over an episode."""
    values = values.astype(np.float64)
    return {
        "min": values.min(axis=0),
        "max": values.max(axis=0),
        "mean": values.mean(axis=0),
        "std": values.std(axis=0),
        "count": np.array([len(values)]),
        **{name: np.quantile(values, share, axis=0) for name, share in _QUANTILES.items()},
    }


def of_pictures(pictures: UInt8[np.ndarray, "steps height width 3"]) -> Stats:
    """Statistics of each colour over an episode, of shape (3, 1, 1) and from 0 to 1, as LeRobot feeds pictures.

    They are taken from counts of the 256 values, so they are exact and as quick as one pass.
    """
    levels = np.arange(256) / 255
    counts = np.stack([np.bincount(pictures[..., colour].ravel(), minlength=256) for colour in range(3)])
    shares = counts / counts.sum(axis=1, keepdims=True)
    mean = shares @ levels
    below = np.cumsum(shares, axis=1)
    least, most = (counts > 0).argmax(axis=1), 255 - (counts[:, ::-1] > 0).argmax(axis=1)
    stats = {
        "min": levels[least],
        "max": levels[most],
        "mean": mean,
        "std": np.sqrt((shares * (levels - mean[:, None]) ** 2).sum(axis=1)),
        **{name: levels[(below >= share - 1e-12).argmax(axis=1)] for name, share in _QUANTILES.items()},
    }
    return {**{name: value[:, None, None] for name, value in stats.items()}, "count": np.array([len(pictures)])}


def together(so_far: Stats | None, episode: Stats) -> Stats:
    """Statistics of all episodes so far and one more.

    Exact, but for the quantiles: as in LeRobot's own sets they are the mean of the episodes' quantiles, each counted as
    often as it has frames.
    """
    if so_far is None:
        return episode
    n, m = float(so_far["count"][0]), float(episode["count"][0])
    share = m / (n + m)
    mean = so_far["mean"] + (episode["mean"] - so_far["mean"]) * share
    variance = (1 - share) * (so_far["std"] ** 2 + (so_far["mean"] - mean) ** 2)
    variance = variance + share * (episode["std"] ** 2 + (episode["mean"] - mean) ** 2)
    return {
        "min": np.minimum(so_far["min"], episode["min"]),
        "max": np.maximum(so_far["max"], episode["max"]),
        "mean": mean,
        "std": np.sqrt(variance),
        "count": so_far["count"] + episode["count"],
        **{name: (1 - share) * so_far[name] + share * episode[name] for name in _QUANTILES},
    }


def as_lists(stats: Mapping[str, Stats]) -> dict[str, dict[str, Any]]:
    """The statistics of all features in plain lists, for JSON and parquet."""
    return {feature: {name: value.tolist() for name, value in of.items()} for feature, of in stats.items()}
