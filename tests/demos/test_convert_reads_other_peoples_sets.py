"""LeRobot sets that others wrote are read: several files, pictures as png or mp4, other types, version 2.1."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffpolicy_demos import open_store
from diffpolicy_demos.convert import convert
from diffpolicy_demos.lerobot.video import VideoWriter
from PIL import Image

pa = pytest.importorskip("pyarrow", reason="LeRobot datasets need the extra 'lerobot'")
pq = pytest.importorskip("pyarrow.parquet")

LENGTHS = (4, 2, 3)
FPS = 20


class TheirSet:
    """A set as another writer would leave it; tests change it before `write`."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        steps = sum(LENGTHS)
        self.action = rng.normal(size=(steps, 6)).astype(np.float32)
        self.pictures = np.tile(rng.integers(0, 256, (steps, 1, 1, 3), dtype=np.uint8), (1, 8, 10, 1))
        self.episode = np.repeat(range(3), LENGTHS)
        self.frame = np.concatenate([np.arange(length) for length in LENGTHS])
        self.columns: dict[str, Any] = {
            "action": pa.array(self.action.tolist()),  # lists of any length, of float64
            "index": np.arange(steps),
            "episode_index": self.episode,
            "frame_index": self.frame,
            "timestamp": (self.frame / FPS).astype(np.float32),
            "task_index": self.episode % 2,
        }
        self.features: dict[str, Any] = {
            "action": {"dtype": "float32", "shape": [6], "names": {"motors": list("abcdef")}},
            **{
                name: {"dtype": "int64", "shape": [1], "names": None}
                for name in ("index", "episode_index", "task_index")
            },
            "frame_index": {"dtype": "int64", "shape": [1], "names": None},
            "timestamp": {"dtype": "float32", "shape": [1], "names": None},
        }
        self.info: dict[str, Any] = {
            "codebase_version": "v3.0",
            "robot_type": "so100",
            "fps": float(FPS),
            "total_episodes": 3,
            "total_frames": steps,
            "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
            "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
            "features": self.features,
            "something_else": [1],
        }
        self.tasks = [["Stack."], ["Sort."], ["Stack.", "Sort."]]

    def write(self, folder: Path) -> Path:
        """As version 3.0, the last episode in a chunk of its own."""
        rows = pa.table(self.columns)
        for chunk, chosen in enumerate((self.episode < 2, self.episode == 2)):
            self._put(folder / f"data/chunk-00{chunk}/file-000.parquet", rows.filter(pa.array(chosen)))
        table: dict[str, Any] = {
            "episode_index": range(3),
            "length": LENGTHS,
            "tasks": self.tasks,
            "data/chunk_index": [0, 0, 1],
            "data/file_index": [0, 0, 0],
        }
        for name in (name for name, feature in self.features.items() if feature["dtype"] == "video"):
            begins = [0.0, LENGTHS[0] / FPS, 0.0]
            table |= {f"videos/{name}/chunk_index": [0, 0, 1], f"videos/{name}/file_index": [0, 0, 0]}
            table[f"videos/{name}/from_timestamp"] = begins
            for chunk, chosen in enumerate((self.episode < 2, self.episode == 2)):
                self._film(folder / f"videos/{name}/chunk-00{chunk}/file-000.mp4", self.pictures[chosen])
        for half, chosen_rows in enumerate(([0], [1, 2])):  # the table of episodes may itself be in several files
            self._put(folder / f"meta/episodes/chunk-000/file-00{half}.parquet", pa.table(table).take(chosen_rows))
        (folder / "meta/info.json").write_text(json.dumps(self.info))
        return folder

    def write_v21(self, folder: Path) -> Path:
        """As version 2.1: a file an episode, and its table as lines of JSON."""
        (folder / "meta").mkdir(parents=True)
        rows = pa.table(self.columns)
        for index in range(3):
            chosen = self.episode == index
            self._put(folder / f"data/chunk-00{index // 2}/episode_00000{index}.parquet", rows.filter(pa.array(chosen)))
            for name in (name for name, feature in self.features.items() if feature["dtype"] == "video"):
                path = folder / f"videos/chunk-00{index // 2}/{name}/episode_00000{index}.mp4"
                self._film(path, self.pictures[chosen])
        lines = [
            json.dumps({"episode_index": index, "tasks": self.tasks[index], "length": length})
            for index, length in enumerate(LENGTHS)
        ]
        (folder / "meta/episodes.jsonl").write_text("\n".join(lines) + "\n")
        self.info |= {
            "codebase_version": "v2.1",
            "chunks_size": 2,
            "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
            "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        }
        (folder / "meta/info.json").write_text(json.dumps(self.info))
        return folder

    @staticmethod
    def _put(path: Path, table: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)

    @staticmethod
    def _film(path: Path, pictures: np.ndarray) -> None:
        writer = VideoWriter(path, FPS, *pictures.shape[1:3], 10)
        writer.write(pictures)
        writer.close()


@pytest.fixture
def theirs() -> TheirSet:
    return TheirSet()


def as_files(pictures: np.ndarray, kind: str) -> Any:
    files = []
    for picture in pictures:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, format=kind)
        files.append({"bytes": file.getvalue(), "path": "x"})
    return pa.array(files)


def test_numbers_infos_and_what_they_say_of_themselves(tmp_path: Path, theirs: TheirSet) -> None:
    convert(theirs.write(tmp_path / "theirs"), tmp_path / "a.zarr")
    store = open_store(tmp_path / "a.zarr")
    assert store.episode_lengths.tolist() == list(LENGTHS)
    assert store["action"].dtype == np.float32
    np.testing.assert_array_equal(store["action"][:], theirs.action)
    infos = [{"task": "Stack."}, {"task": "Sort."}, {"task": "Stack.", "tasks": ["Stack.", "Sort."]}]
    assert store.episode_infos() == infos
    assert (store.attrs["control_hz"], store.attrs["robot_type"]) == (FPS, "so100")
    assert store.attrs["source"] == "LeRobot dataset theirs, v3.0"
    assert store.attrs["layout"] == {"action": {"names": list("abcdef")}}


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
@pytest.mark.parametrize("kind", ["png", "jpeg", "mp4"])
def test_pictures(tmp_path: Path, theirs: TheirSet, kind: str, version: str) -> None:
    names = {"observation.image": "pixels", "observation.images.wrist": "wrist"}
    for name in names:
        theirs.features[name] = {"dtype": "video" if kind == "mp4" else "image", "shape": [8, 10, 3], "names": None}
        if kind != "mp4":
            theirs.columns[name] = as_files(theirs.pictures, kind)
    write = theirs.write if version == "v3.0" else theirs.write_v21
    assert convert(write(tmp_path / "theirs"), tmp_path / "a.zarr").losses == ()
    store = open_store(tmp_path / "a.zarr")
    assert store.stored_keys == ("action", "pixels", "wrist")
    for key in names.values():
        apart = np.abs(store[key][:].astype(int) - theirs.pictures)
        assert apart.max() <= (0 if kind == "png" else 8)


def test_pictures_whose_shape_has_the_colours_first(tmp_path: Path, theirs: TheirSet) -> None:
    theirs.features["observation.image"] = {"dtype": "image", "shape": [3, 8, 10], "names": ["c", "h", "w"]}
    theirs.columns["observation.image"] = as_files(theirs.pictures, "png")
    convert(theirs.write(tmp_path / "theirs"), tmp_path / "a.zarr")
    np.testing.assert_array_equal(open_store(tmp_path / "a.zarr")["pixels"][:], theirs.pictures)


def test_what_a_store_cannot_hold_is_said(tmp_path: Path, theirs: TheirSet) -> None:
    theirs.features["instruction"] = {"dtype": "string", "shape": [1], "names": None}
    theirs.features["observation.images.depth"] = {
        "dtype": "video",
        "shape": [8, 10, 3],
        "names": None,
        "info": {"video.is_depth_map": True},
    }
    theirs.columns["instruction"] = ["go"] * sum(LENGTHS)
    theirs.columns["timestamp"] = (theirs.frame / FPS + 0.004).astype(np.float32)
    done = convert(theirs.write(tmp_path / "theirs"), tmp_path / "a.zarr")
    assert [sentence.split(":")[0] for sentence in done.losses] == [
        "instruction",
        "observation.images.depth",
        "timestamps",
    ]
    assert open_store(done.path).stored_keys == ("action",)


def test_names_are_shortened_but_never_shared(tmp_path: Path, theirs: TheirSet) -> None:
    numbers = {"dtype": "float32", "shape": [1], "names": None}
    values = np.arange(sum(LENGTHS), dtype=np.float32)
    names = {
        "observation.state": "state",
        "observation.images.state": "state_",
        "next.reward": "reward",
        "other": "other",
    }
    for shift, name in enumerate(names):
        theirs.features[name] = numbers
        theirs.columns[name] = values + shift
    convert(theirs.write(tmp_path / "theirs"), tmp_path / "a.zarr")
    store = open_store(tmp_path / "a.zarr")
    for shift, key in enumerate(names.values()):
        np.testing.assert_array_equal(store[key][:, 0], values + shift)


def test_matrices_keep_their_shape(tmp_path: Path, theirs: TheirSet) -> None:
    values = np.arange(sum(LENGTHS) * 6, dtype=np.float64).reshape(-1, 2, 3)
    theirs.features["observation.pose"] = {"dtype": "float64", "shape": [2, 3], "names": None}
    theirs.columns["observation.pose"] = pa.array(values.tolist())
    convert(theirs.write(tmp_path / "theirs"), tmp_path / "a.zarr")
    np.testing.assert_array_equal(open_store(tmp_path / "a.zarr")["pose"][:], values)
