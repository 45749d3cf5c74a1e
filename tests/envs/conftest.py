"""What the tests of the world share: the human demonstrations, where a machine has them, and a way past shape checks."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture(scope="session")
def human() -> dict[str, Any]:
    """The recorded states, actions, keypoints, pictures and episode slices of the human demonstrations."""
    zarr = pytest.importorskip("zarr")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "diffpolicy"
    path = Path(os.environ.get("DIFFPOLICY_DATA", cache)) / "pusht" / "pusht_cchi_v7_replay.zarr"
    if not path.exists():
        pytest.skip(f"the human demonstrations are not at {path}; set DIFFPOLICY_DATA to the folder that holds pusht/")
    store = zarr.open(path, mode="r")
    ends = store["meta/episode_ends"][:].tolist()
    return {
        "state": store["data/state"][:].astype(np.float64),
        "action": store["data/action"][:].astype(np.float64),
        "keypoint": store["data/keypoint"][:].astype(np.float64),
        "n_contacts": store["data/n_contacts"][:, 0],
        "img": store["data/img"],
        "episodes": [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)],
    }
