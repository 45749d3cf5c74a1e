"""A damaged or foreign source, or a target that cannot be, is one clear line, and nothing is left behind."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from diffpolicy_demos import StoreError, create_store
from diffpolicy_demos.convert import LerobotOptions, convert

pa = pytest.importorskip("pyarrow", reason="LeRobot datasets need the extra 'lerobot'")
pq = pytest.importorskip("pyarrow.parquet")

Episode = dict[str, np.ndarray]

DATA = "data/chunk-000/file-000.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
VIDEO = "videos/observation.image/chunk-000/file-000.mp4"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("sound")
    with create_store(folder / "a.zarr", attrs={"control_hz": 10}) as store:
        for steps in (5, 4):
            pictures = rng.integers(0, 256, (steps, 8, 8, 3), dtype=np.uint8)
            store.append_episode({"action": rng.normal(size=(steps, 2)).astype(np.float32), "pixels": pictures})
    convert(folder / "a.zarr", folder / "video", options=LerobotOptions(task="t"))
    convert(folder / "a.zarr", folder / "png", options=LerobotOptions(task="t", video=False))
    return folder


@pytest.fixture
def dataset(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound / "video", tmp_path / "set"))


def refused(source: Path, *parts: str, target: str = "new.zarr", **kwargs: Any) -> str:
    with pytest.raises(StoreError) as caught:
        convert(source, source.parent / target, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    assert [part for part in parts if part not in message] == [], message
    assert [path.name for path in source.parent.iterdir() if "unfinished" in path.name or path.name == target] == []
    return message


def change_info(dataset: Path, **changes: Any) -> None:
    path = dataset / "meta/info.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def change_table(path: Path, change: Callable[[Any], Any]) -> None:
    pq.write_table(change(pq.read_table(path)), path)


@pytest.mark.parametrize(
    ("missing", "parts"),
    [
        ("meta/info.json", ("meta/info.json: missing", "point at the folder that holds meta/")),
        (EPISODES, ("meta/episodes: no parquet files",)),
        (DATA, (f"{DATA}: missing",)),
        (VIDEO, (f"{VIDEO}: the video is missing",)),
    ],
)
def test_a_file_is_missing(dataset: Path, missing: str, parts: tuple[str, ...]) -> None:
    (dataset / missing).unlink()
    refused(dataset, *parts)


@pytest.mark.parametrize("damaged", ["meta/info.json", "meta/diffpolicy.json", EPISODES, DATA, VIDEO])
@pytest.mark.parametrize("how", ["cut", "garbage"])
def test_a_file_is_damaged(dataset: Path, damaged: str, how: str) -> None:
    path = dataset / damaged
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] if how == "cut" else b"\x00garbage" * 100)
    refused(dataset, str(path))


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"codebase_version": "v1.6"}, ("codebase_version is 'v1.6'", "v3.0, v2.1, v2.0")),
        ({"codebase_version": None}, ("codebase_version is None",)),
        ({"fps": 0}, ("'fps' is 0",)),
        ({"fps": "ten"}, ("'fps' is 'ten'",)),
        ({"total_episodes": 3}, ("2 episodes", "says 3")),
        ({"total_frames": 10}, ("9 frames", "says 10")),
        ({"features": []}, ("'features' is []",)),
        ({"features": {"action": {"dtype": "float32"}}}, ("feature 'action' lacks",)),
        ({"features": {}}, ("no feature 'action'; found none",)),
        ({"data_path": "../../{chunk_index:03d}.parquet"}, ("leads out of the folder",)),
        ({"data_path": "/etc/{chunk_index:03d}"}, ("leads out of the folder",)),
        ({"data_path": "{chunk_index.__class__}"}, ("the path '{chunk_index.__class__}'",)),
        ({"data_path": "{chunk_index:099999999d}"}, ("the path",)),
        ({"data_path": "{episode_index}"}, ("has fields other than",)),
        ({"video_path": None}, ("the path None is no text",)),
    ],
)
def test_the_description_is_wrong(dataset: Path, changes: dict[str, Any], parts: tuple[str, ...]) -> None:
    change_info(dataset, **changes)
    refused(dataset, "meta/info.json" if "total" not in str(changes) else "meta/episodes", *parts)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda rows: rows.slice(0, 8), ("episode 1 has 3 rows", "says 4")),
        (lambda rows: rows.slice(0, 5), ("episode 1 is missing", "the file ends before it")),
        (lambda rows: rows.slice(5), ("episode 0 is missing", "the rows of episode 1 are in its place")),
        (lambda rows: rows.take([1, 0, *range(2, 9)]), ("frame_index does not count",)),
        (lambda rows: rows.drop_columns(["action"]), ("no column 'action'",)),
        (lambda rows: rows.drop_columns(["episode_index"]), ("no column 'episode_index'",)),
        (
            lambda rows: rows.set_column(0, "action", pa.array([[1.0]] * 9)),
            ("column 'action' has 5 numbers in 5 rows; expected 2",),
        ),
        (
            lambda rows: rows.set_column(0, "action", pa.array([[1.0], [1.0, 2.0, 3.0], *[[1.0, 2.0]] * 7])),
            ("column 'action' has rows of different lengths",),
        ),
        (lambda rows: rows.set_column(0, "action", pa.array([["a", "b"]] * 9)), ("column 'action' holds string",)),
        (lambda rows: rows.set_column(0, "action", pa.array([None] * 9, pa.list_(pa.float32()))), ("empty values",)),
        (lambda rows: rows.set_column(0, "action", pa.array([[1.0, None]] * 9)), ("empty values",)),
        (lambda rows: rows.set_column(0, "action", pa.array([[1.0, np.nan]] * 9)), ("episode 0, 'action'", "is nan")),
    ],
)
def test_rows_do_not_add_up(dataset: Path, change: Callable[[Any], Any], parts: tuple[str, ...]) -> None:
    assert pq.read_table(dataset / DATA).column_names[0] == "action"
    change_table(dataset / DATA, change)
    refused(dataset, *parts)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda rows: rows.slice(0, 1), ("1 episodes", "says 2")),
        (lambda rows: rows.slice(1), ("episode_index is 1 at place 0",)),
        (lambda rows: rows.drop_columns(["length"]), ("no column 'length'",)),
        (lambda rows: rows.set_column(2, "length", pa.array([9, 0])), ("episode 1 has length 0",)),
        (lambda rows: rows.set_column(2, "length", pa.array([9, None])), ("'length' is empty in row 1",)),
        (
            lambda rows: rows.set_column(5, "diffpolicy/info", pa.array(["{}", "no"])),
            ("diffpolicy/info of episode 1 is no JSON",),
        ),
    ],
)
def test_the_table_of_episodes_is_wrong(dataset: Path, change: Callable[[Any], Any], parts: tuple[str, ...]) -> None:
    change_table(dataset / EPISODES, change)
    refused(dataset, "meta/episodes", *parts)


def test_a_video_that_is_too_short_or_of_another_size(dataset: Path) -> None:
    def later(rows: Any) -> Any:
        name = "videos/observation.image/from_timestamp"
        return rows.set_column(rows.column_names.index(name), name, pa.array([0.0, 0.7]))

    change_table(dataset / EPISODES, later)
    refused(dataset, VIDEO, "no frame at 0.900 s, it ends before")
    features = json.loads((dataset / "meta/info.json").read_text())["features"]
    features["observation.image"]["shape"] = [8, 9, 3]
    change_info(dataset, features=features)
    refused(dataset, VIDEO, "pictures of (8, 8, 3)", "says (8, 9, 3)")


@pytest.mark.parametrize(
    ("value", "part"),
    [(None, "holds no picture"), (b"nothing", "cannot be decoded"), (b"GIF89a" + bytes(40), "cannot be decoded")],
)
def test_a_picture_is_none(sound: Path, tmp_path: Path, value: bytes | None, part: str) -> None:
    dataset = Path(shutil.copytree(sound / "png", tmp_path / "set"))

    def spoil(rows: Any) -> Any:
        at = rows.column_names.index("observation.image")
        pictures = rows.column("observation.image").to_pylist()
        pictures[6]["bytes"] = value
        return rows.set_column(at, "observation.image", pa.array(pictures))

    change_table(dataset / DATA, spoil)
    refused(dataset, f"{DATA}: episode 1, column 'observation.image', row 1", part)


@pytest.mark.parametrize(
    ("target", "kwargs", "parts"),
    [
        ("taken", {}, ("taken: exists already",)),
        ("a.zarr/inside", {}, ("lies inside the source",)),
        ("b", {"to": "zarr4"}, ("format 'zarr4'", "zarr3, zarr2, lerobot")),
        ("b.zarr", {"options": LerobotOptions()}, ("are for LeRobot datasets",)),
        ("b", {"options": LerobotOptions(crf=52)}, ("crf 52", "0 (exact) to 51")),
        ("b", {"options": LerobotOptions(fps=0, task="t")}, ("fps: 0",)),
        ("b", {}, ("every episode's task in words", "--task")),
    ],
)
def test_a_target_that_cannot_be(
    sound: Path, tmp_path: Path, target: str, kwargs: dict[str, Any], parts: tuple[str, ...]
) -> None:
    source = Path(shutil.copytree(sound / "a.zarr", tmp_path / "a.zarr"))
    (tmp_path / "taken").mkdir()
    with pytest.raises(StoreError) as caught:
        convert(source, tmp_path / target, **kwargs)
    assert [part for part in parts if part not in str(caught.value)] == [], str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "own-data") == ["a.zarr", "taken"]
    with pytest.raises(StoreError, match="only folders can be written"):
        convert(source, "memory://b.zarr")


def test_a_rate_that_lerobot_cannot_count(tmp_path: Path) -> None:
    with create_store(tmp_path / "a.zarr", attrs={"control_hz": 12.5}) as store:
        store.append_episode({"action": np.ones((3, 2))})
    refused(tmp_path / "a.zarr", "'control_hz' is 12.5", "--fps", target="l", options=LerobotOptions(task="t"))
    said = convert(tmp_path / "a.zarr", tmp_path / "l", options=LerobotOptions(fps=12, task="t")).losses
    assert said[0] == f"frames a second: 12, as asked; {tmp_path / 'a.zarr'} says 12.5"


def test_two_names_of_one_key(tmp_path: Path) -> None:
    root = zarr.open_group(tmp_path / "a.zarr", mode="w")
    for name in ("img", "pixels"):
        root.create_array(f"data/{name}", data=np.zeros((2, 4, 4, 3), np.uint8))
    root.create_array("data/action", data=np.ones((2, 2)))
    root.create_array("meta/episode_ends", data=np.array([2]))
    refused(tmp_path / "a.zarr", "both 'img' and 'pixels'")


def test_without_pyarrow(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.split(".")[0] == "pyarrow"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for source, target in ((sound / "a.zarr", tmp_path / "l"), (sound / "video", tmp_path / "b.zarr")):
        with pytest.raises(StoreError, match=r"pip install 'diffpolicy\[lerobot\]'"):
            convert(source, target, options=LerobotOptions(task="t") if target.name == "l" else None)
    assert convert(sound / "a.zarr", tmp_path / "c.zarr").losses == ()


@pytest.mark.parametrize("to", ["zarr3", "lerobot"])
def test_an_interrupt_leaves_nothing(sound: Path, tmp_path: Path, to: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("diffpolicy_demos.losses.Losses.add", stop)
    with pytest.raises(KeyboardInterrupt):
        convert(sound / "a.zarr", tmp_path / "b", to, LerobotOptions(task="t") if to == "lerobot" else None)
    assert [path.name for path in tmp_path.iterdir() if path.name != "own-data"] == []
