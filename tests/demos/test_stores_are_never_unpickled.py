"""Opening and reading a store runs no code from it: objects, text and pickle are refused, however deep they hide."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from diffpolicy_demos import StoreError, create_store, open_store

PICKLE_2 = {"id": "pickle", "protocol": 4}
PICKLE_3 = {"name": "numcodecs.pickle", "configuration": {"protocol": 4}}
BYTES = {"name": "bytes", "configuration": {"endian": "little"}}


class _Bomb:
    """Unpickling one is noticed."""

    exploded = False

    def __reduce__(self) -> tuple[Any, ...]:
        return (setattr, (_Bomb, "exploded", True))


def array_2(**changes: Any) -> dict[str, Any]:
    whole = {"chunks": [10, 5], "shape": [10, 5], "dtype": "<f4", "fill_value": 0, "order": "C", "zarr_format": 2}
    return {**whole, "compressor": None, "filters": None, **changes}


def array_3(codecs: list[Any], **changes: Any) -> dict[str, Any]:
    grid = {"name": "regular", "configuration": {"chunk_shape": [10, 5]}}
    keys = {"name": "default", "configuration": {"separator": "/"}}
    whole = {"zarr_format": 3, "node_type": "array", "shape": [10, 5], "data_type": "float32", "chunk_grid": grid}
    return {**whole, "chunk_key_encoding": keys, "fill_value": 0, "attributes": {}, "codecs": codecs, **changes}


def sharded(inner: list[Any], index: list[Any]) -> dict[str, Any]:
    configuration = {"chunk_shape": [10, 5], "codecs": inner, "index_codecs": index, "index_location": "end"}
    return {"name": "sharding_indexed", "configuration": configuration}


HOSTILE = {
    "a filter": array_2(filters=[PICKLE_2]),
    "a compressor": array_2(compressor=PICKLE_2),
    "the second filter": array_2(filters=[{"id": "delta", "dtype": "<f4"}, PICKLE_2]),
    "within a filter": array_2(filters=[{"id": "delta", "dtype": "<f4", "inner": [{"deeper": PICKLE_2}]}]),
    "objects through a filter": array_2(dtype="|O", filters=[PICKLE_2]),
    "objects through a compressor": array_2(dtype="|O", compressor=PICKLE_2),
    "objects without pickle": array_2(dtype="|O", filters=[{"id": "json2"}], fill_value=None),
    "text of any length": array_2(dtype="|O", filters=[{"id": "vlen-utf8"}], fill_value=""),
    "text": array_2(dtype="<U8", fill_value=""),
    "records": array_2(dtype=[["a", "<f4"], ["b", "|O"]], fill_value=None),
    "a codec of format 3": array_3([BYTES, PICKLE_3]),
    "a codec by another name": array_3([BYTES, {"name": "pickle", "configuration": {}}]),
    "the first codec": array_3([PICKLE_3, BYTES]),
    "within a shard": array_3([sharded([BYTES, PICKLE_3], [BYTES])]),
    "within a shard's index": array_3([sharded([BYTES], [BYTES, PICKLE_3])]),
    "within a shard in a shard": array_3([sharded([sharded([BYTES, PICKLE_3], [BYTES])], [BYTES])]),
    "strings of format 3": array_3([{"name": "vlen-utf8"}], data_type="string", fill_value=""),
}


def hostile(path: Path, name: str, metadata: dict[str, Any]) -> Path:
    """A sound store with one more array, whose chunk is a pickle."""
    zarr_format = metadata["zarr_format"]
    root = zarr.create_group(path, zarr_format=zarr_format)
    root.create_array("data/action", data=np.ones((10, 2), np.float32))
    root.create_array("meta/episode_ends", data=np.array([4, 10]))
    if name != "data/state":
        root.create_array("meta/episode_info", data=np.zeros(8, np.uint8))
        root.create_array("meta/episode_info_ends", data=np.array([4, 8]))
    file = path / name / (".zarray" if zarr_format == 2 else "zarr.json")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(metadata))
    for chunk in (path / name / "0.0", path / name / "0", path / name / "c/0/0", path / name / "c/0"):
        if not chunk.exists() or chunk.is_file():
            chunk.parent.mkdir(parents=True, exist_ok=True)
            chunk.write_bytes(pickle.dumps(_Bomb()))
            break
    return path


@pytest.mark.parametrize("metadata", HOSTILE.values(), ids=HOSTILE)
def test_arrays(tmp_path: Path, metadata: dict[str, Any]) -> None:
    path = hostile(tmp_path / "a.zarr", "data/state", metadata)
    for mode in ("r", "a"):
        with pytest.raises(StoreError, match="array 'data/state'") as caught:
            open_store(path, mode=mode)
        assert "\n" not in str(caught.value)
    assert not _Bomb.exploded


@pytest.mark.parametrize("name", ["meta/episode_info", "meta/episode_info_ends"])
@pytest.mark.parametrize("place", ["a filter", "objects through a filter", "a codec of format 3"])
def test_information(tmp_path: Path, name: str, place: str) -> None:
    """It is refused when asked for; the steps are none the worse for it."""
    store = open_store(hostile(tmp_path / "a.zarr", name, HOSTILE[place]))
    with pytest.raises(StoreError, match=f"array '{name}'"):
        store.episode_info(0)
    assert store.episode(1)["action"].tolist() == [[1.0, 1.0]] * 6
    assert [damage.array for damage in store.damages()][:1] in (["meta/episode_info_ends"], ["meta/episode_info"])
    assert not _Bomb.exploded


def test_the_ends(tmp_path: Path) -> None:
    path = hostile(tmp_path / "a.zarr", "meta/episode_ends", array_2(shape=[2], chunks=[2], filters=[PICKLE_2]))
    with pytest.raises(StoreError, match="array 'meta/episode_ends'"):
        open_store(path)
    assert not _Bomb.exploded


def test_the_bomb_works(tmp_path: Path) -> None:
    """Or the tests above would pass whatever happened."""
    try:
        pickle.loads(pickle.dumps(_Bomb()))
        assert _Bomb.exploded
    finally:
        _Bomb.exploded = False


def test_nothing_of_ours_needs_it(tmp_path: Path) -> None:
    for zarr_format in (2, 3):
        path = tmp_path / f"{zarr_format}.zarr"
        with create_store(path, zarr_format=zarr_format) as store:
            store.append_episode({"action": np.ones((3, 2)), "flag": np.ones(3, bool)}, {"mode": "x"})
        for file in path.rglob("*"):
            if file.name in (".zarray", "zarr.json"):
                assert "pickle" not in file.read_text()
                assert "|O" not in file.read_text()
