"""Information of many worlds in Gymnasium's layout: an array for each name, and a mask of the worlds that have it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool

from .lanes import Board
from .observations import Observer


def batched_info(info: Mapping[str, np.ndarray], given: Bool[np.ndarray, "worlds"]) -> dict[str, Any]:
    """Returns copies of information with their masks.

    Args:
        info: Arrays by name, a row a world.
        given: For which worlds the information is given; it is zero for the others.
    """
    batch: dict[str, Any] = {}
    everywhere = bool(given.all())
    for name, array in info.items():
        batch[name] = array.copy() if everywhere else np.zeros_like(array)
        if not everywhere:
            batch[name][given] = array[given]
        batch[f"_{name}"] = given.copy()
    return batch


def final_info(board: Board, observer: Observer, ended: Bool[np.ndarray, "worlds"]) -> dict[str, Any]:
    """Returns how episodes ended that have restarted at once: `final_obs` (None where none has) and `final_info`.

    Args:
        board: Where the worlds left their last observations.
        observer: What these are made of.
        ended: Whose episodes ended in this step.
    """
    observations = np.full(len(ended), None, dtype=object)
    for index in np.flatnonzero(ended).tolist():
        observations[index] = observer.assemble({name: a[index].copy() for name, a in board.final_parts.items()})
    information = batched_info(board.final_info, ended)
    return {
        "final_obs": observations,
        "_final_obs": ended.copy(),
        "final_info": information,
        "_final_info": ended.copy(),
    }
