"""What cannot be read back is not written: refused in one line, before anything of it is on disk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffpolicy_demos import StoreError, create_store, open_store

MakeEpisode = Callable[..., dict[str, np.ndarray]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"action": None}, "episode 1 has the arrays img, keypoint, state; expected action, img, keypoint, state"),
        ({"extra": np.ones((10, 1))}, "has the arrays action, extra, img"),
        ({"action": np.ones((9, 2))}, "'state' has 10 steps, 'action' 9|'action' 9"),
        ({"action": np.ones((10, 3))}, r"'action' is float64 with \(3,\) per step; expected float32 with \(2,\)"),
        ({"action": np.full((10, 2), np.nan)}, "episode 1: 'action': step 0, component 0 is nan"),
        ({"action": np.full((10, 2), 1e300)}, "episode 1: 'action': step 0, component 0 is inf"),
        ({"action": np.array([[None, None]] * 10)}, "'action' is object"),
        ({"pixels": np.full((10, 12, 12, 3), 300)}, "'img' is int64 .*expected uint8"),
        ({"pixels": np.full((10, 12, 12, 3), 0.5)}, "'img' is float64 .*expected uint8"),
    ],
)
def test_episodes_that_do_not_fit(tmp_path: Path, make_episode: MakeEpisode, change: Any, message: str) -> None:
    store = create_store(tmp_path / "a.zarr")
    store.append_episode(make_episode(10))
    wrong = {key: value for key, value in (make_episode(10) | change).items() if value is not None}
    with pytest.raises(StoreError, match=message):
        store.append_episode(wrong)
    assert open_store(tmp_path / "a.zarr")._stored["action"].shape[0] == 10  # nothing of it was written
    store.append_episode(make_episode(10))
    assert open_store(tmp_path / "a.zarr").n_episodes == 2


def test_an_empty_episode(tmp_path: Path) -> None:
    store = create_store(tmp_path / "a.zarr")
    with pytest.raises(StoreError, match="expected one or more steps"):
        store.append_episode({"action": np.ones((0, 2))})
    with pytest.raises(StoreError, match="has the arrays none; expected action"):
        store.append_episode({})


def test_creating(tmp_path: Path, make_episode: MakeEpisode) -> None:
    create_store(tmp_path / "a.zarr").append_episode(make_episode(2))
    for arguments, message in (
        ({"path": tmp_path / "a.zarr"}, "exists already; open_store"),
        ({"path": tmp_path / "b.zarr", "zarr_format": 1}, "zarr format 1 asked for; expected 2 or 3"),
        ({"path": tmp_path / "b.zarr", "arrays": {"state": ((5,), "f4")}}, "the arrays lack 'action'"),
        ({"path": tmp_path / "b.zarr", "arrays": {"action": ((2,), "O")}}, "'action' was given dtype object"),
        ({"path": tmp_path / "b.zarr", "attrs": {"a": object()}}, "the attributes are not plain JSON"),
        ({"path": "memory://a.zarr"}, "URLs are read only"),
    ):
        with pytest.raises(StoreError, match=message):
            create_store(**arguments)
    assert open_store(tmp_path / "a.zarr").n_episodes == 1
    create_store(tmp_path / "b.zarr")


@pytest.mark.parametrize("key", ["obs/state", "/state", "state/", "obs\\state", "", ".", "..", ".zarray", "zarr.json"])
def test_keys_that_no_reader_would_find(tmp_path: Path, key: Any) -> None:
    """They would be written somewhere else than under one name, or be taken for metadata."""
    path = tmp_path / "a.zarr"
    with pytest.raises(StoreError) as caught:
        create_store(path, {"action": ((2,), "f4"), key: ((3,), "f4")})
    assert not path.exists()
    store = create_store(path)
    with pytest.raises(StoreError) as caught_again:
        store.append_episode({"action": np.ones((4, 2)), key: np.ones((4, 3))})
    for message in (str(caught.value), str(caught_again.value)):
        assert f"no array can have the key {key!r}; expected a name without slashes" in message
        assert str(path) in message
        assert "\n" not in message
    store.append_episode({"action": np.ones((4, 2)), "observation.state": np.ones((4, 3))})
    assert open_store(path).keys == ("action", "observation.state")
