"""The folder that is written has what LeRobot's loader looks for: files, columns, types, times and statistics."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from diffpolicy_demos import create_store, open_store
from diffpolicy_demos.convert import LerobotOptions, convert
from diffpolicy_demos.lerobot.format import COUNTERS, FEATURES, feature_names, key_names
from hypothesis import given
from hypothesis import strategies as st

pa = pytest.importorskip("pyarrow", reason="LeRobot datasets need the extra 'lerobot'")
pq = pytest.importorskip("pyarrow.parquet")

Episode = dict[str, np.ndarray]
LENGTHS = (12, 3, 7)


@pytest.fixture
def source(tmp_path: Path, make_episode: Callable[..., Episode]) -> Path:
    layout = {"state": {"names": ["a", "b", "c", "d", "e"]}, "keypoints": {"names": ["x", "y"]}}
    attrs = {"env_id": "diffpolicy/PushT-v0", "control_hz": 10, "layout": layout}
    with create_store(tmp_path / "source.zarr", attrs=attrs) as store:
        for seed, steps in enumerate(LENGTHS):
            info = {"success": seed != 1} | ({"task": "Again."} if seed == 2 else {})
            store.append_episode(make_episode(steps, seed), info)
    return tmp_path / "source.zarr"


def read(folder: Path, pattern: str) -> Any:
    return pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob(pattern))])


def description(folder: Path) -> Any:
    return json.loads((folder / "meta/info.json").read_text())


def test_the_description(tmp_path: Path, source: Path) -> None:
    info = description(convert(source, tmp_path / "l").path)
    assert {
        name: info[name] for name in ("codebase_version", "fps", "total_episodes", "total_frames", "total_tasks")
    } == {
        "codebase_version": "v3.0",
        "fps": 10,
        "total_episodes": 3,
        "total_frames": 22,
        "total_tasks": 2,
    }
    assert isinstance(info["fps"], int)
    assert info["splits"] == {"train": "0:3"}
    assert info["robot_type"] == "diffpolicy/PushT-v0"
    features = info["features"]
    assert features["observation.state"] == {"dtype": "float32", "shape": [5], "names": ["a", "b", "c", "d", "e"]}
    assert features["observation.environment_state"]["names"][:3] == ["x 0", "y 0", "x 1"]
    assert len(features["observation.environment_state"]["names"]) == 18
    assert (features["action"]["shape"], features["next.done"]["dtype"]) == ([2], "bool")
    video = features["observation.image"]
    assert (video["dtype"], video["shape"], video["names"]) == ("video", [12, 12, 3], ["height", "width", "channels"])
    assert (video["info"]["video.codec"], video["info"]["video.pix_fmt"]) == ("h264", "yuv420p")


def test_rows_count_and_carry_the_numbers(tmp_path: Path, source: Path) -> None:
    folder, store = convert(source, tmp_path / "l").path, open_store(source)
    rows, features = read(folder, "data/*/*.parquet"), description(folder)["features"]
    assert set(rows.column_names) == {name for name, feature in features.items() if feature["dtype"] != "video"}
    columns = rows.to_pydict()
    assert columns["index"] == list(range(22))
    assert columns["episode_index"] == [0] * 12 + [1] * 3 + [2] * 7
    assert columns["frame_index"] == [*range(12), *range(3), *range(7)]
    assert columns["task_index"] == [0] * 15 + [1] * 7
    np.testing.assert_allclose(columns["timestamp"], np.array(columns["frame_index"]) / 10, rtol=1e-7)
    assert np.flatnonzero(columns["next.done"]).tolist() == [11, 14, 21]
    assert np.flatnonzero(columns["next.success"]).tolist() == [11, 21]
    np.testing.assert_array_equal(np.array(columns["action"], np.float32), store["action"][:])
    np.testing.assert_array_equal(
        np.array(columns["observation.environment_state"], np.float32), store["keypoints"][:].reshape(22, 18)
    )
    for name in rows.column_names:
        shape, dtype = features[name]["shape"], pa.from_numpy_dtype(np.dtype(features[name]["dtype"]))
        assert rows.schema.field(name).type == (dtype if shape == [1] else pa.list_(dtype, shape[0])), name


def test_the_table_of_episodes_finds_them(tmp_path: Path, source: Path) -> None:
    folder = convert(source, tmp_path / "l").path
    episodes = read(folder, "meta/episodes/*/*.parquet").to_pydict()
    assert episodes["episode_index"] == [0, 1, 2]
    assert episodes["length"] == list(LENGTHS)
    assert episodes["dataset_from_index"] == [0, 12, 15]
    assert episodes["dataset_to_index"] == [12, 15, 22]
    push = "Push the T-shaped block onto the T-shaped target."
    assert episodes["tasks"] == [[push], [push], ["Again."]]
    assert episodes["data/chunk_index"] == episodes["data/file_index"] == [0, 0, 0]
    begins, ends = (episodes[f"videos/observation.image/{side}_timestamp"] for side in ("from", "to"))
    np.testing.assert_allclose(begins, [0, 1.2, 1.5])
    np.testing.assert_allclose(ends, [1.2, 1.5, 2.2])


def test_pandas_would_index_tasks_by_their_text(tmp_path: Path, source: Path) -> None:
    """LeRobot reads this table with pandas and looks tasks up by its index."""
    table = pq.read_table(convert(source, tmp_path / "l").path / "meta/tasks.parquet")
    assert json.loads(table.schema.metadata[b"pandas"])["index_columns"] == ["task"]
    assert table.to_pydict() == {
        "task_index": [0, 1],
        "task": ["Push the T-shaped block onto the T-shaped target.", "Again."],
    }


def test_statistics(tmp_path: Path, source: Path) -> None:
    folder, store = convert(source, tmp_path / "l").path, open_store(source)
    stats = json.loads((folder / "meta/stats.json").read_text())
    assert set(stats) == set(description(folder)["features"])
    values = store["action"][:].astype(float)
    pictures = store["pixels"][:] / 255
    for feature, numbers in (("action", values), ("observation.image", pictures.reshape(-1, 3))):
        of = stats[feature]
        for name in ("min", "max", "mean", "std"):
            np.testing.assert_allclose(np.ravel(of[name]), getattr(numbers, name)(axis=0), rtol=1e-6)
        assert of["count"] == [22]
    assert np.shape(stats["observation.image"]["mean"]) == (3, 1, 1)
    first = read(folder, "meta/episodes/*/*.parquet").to_pydict()
    np.testing.assert_allclose(first["stats/action/q90"][1], np.quantile(values[12:15], 0.9, axis=0))
    shares = [np.quantile(values[i:j], 0.5, axis=0) * (j - i) / 22 for i, j in ((0, 12), (12, 15), (15, 22))]
    np.testing.assert_allclose(stats["action"]["q50"], sum(shares))
    np.testing.assert_allclose(
        np.ravel(first["stats/observation.image/q10"][0]),
        np.quantile(pictures[:12].reshape(-1, 3), 0.1, axis=0, method="inverted_cdf"),
    )


@pytest.mark.parametrize("crf", [0, 18])
def test_any_frame_of_a_video_is_near_a_key_frame(tmp_path: Path, source: Path, crf: int) -> None:
    folder = convert(source, tmp_path / "l", options=LerobotOptions(crf=crf)).path
    with av.open(str(folder / "videos/observation.image/chunk-000/file-000.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == 10
        frames = [(float(frame.pts * stream.time_base), frame.key_frame) for frame in container.decode(stream)]
    np.testing.assert_allclose([time for time, _ in frames], np.arange(22) / 10, atol=1e-9)
    keys = [index for index, (_, key) in enumerate(frames) if key]
    assert {0, 12, 15} <= set(keys)
    assert max(np.diff([*keys, 22])) <= 2


def test_long_sets_go_into_several_files(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffpolicy_demos.lerobot.write._VIDEO_S", 1.3)
    monkeypatch.setattr("diffpolicy_demos.lerobot.write.DATA_FILE_MB", 0)
    monkeypatch.setattr("diffpolicy_demos.lerobot.write.FILES_PER_CHUNK", 2)
    monkeypatch.setattr("diffpolicy_demos.lerobot.write._EPISODES_AT_ONCE", 2)
    done = convert(source, tmp_path / "l", options=LerobotOptions(crf=0))
    assert done.losses == ()
    names = sorted(str(path.relative_to(done.path)) for path in done.path.glob("*/**/file-*.*"))
    assert names == [
        "data/chunk-000/file-000.parquet",
        "data/chunk-000/file-001.parquet",
        "data/chunk-001/file-000.parquet",
        "meta/episodes/chunk-000/file-000.parquet",
        "videos/observation.image/chunk-000/file-000.mp4",
        "videos/observation.image/chunk-000/file-001.mp4",
    ]
    episodes = read(done.path, "meta/episodes/*/*.parquet").to_pydict()
    assert episodes["data/chunk_index"] == [0, 0, 1]
    assert episodes["videos/observation.image/file_index"] == [0, 1, 1]
    np.testing.assert_allclose(episodes["videos/observation.image/from_timestamp"], [0, 0, 0.3])
    assert convert(done.path, tmp_path / "back.zarr").losses == ()
    np.testing.assert_array_equal(open_store(tmp_path / "back.zarr")["pixels"][:], open_store(source)["pixels"][:])


@given(st.dictionaries(st.sampled_from([*FEATURES, *FEATURES.values(), "front", "environment_state"]), st.booleans()))
def test_every_key_has_a_feature_of_its_own(keys: dict[str, bool]) -> None:
    names = feature_names(keys)
    assert set(names) == set(keys)
    assert len(set(names.values())) == len(keys)
    assert not set(names.values()) & set(COUNTERS)
    assert len(set(key_names(names.values()).values())) == len(keys)
