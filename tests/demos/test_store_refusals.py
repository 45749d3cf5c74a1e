"""A store that cannot be trusted is refused with one line: place, what was found, what was expected, the way out."""

import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from diffpolicy_demos import StoreError, create_store, open_store

Episode = dict[str, np.ndarray]
MakeEpisode = Callable[..., Episode]


def write_foreign(path: Path, arrays: dict[str, Any], ends: Any, zarr_format: int = 2) -> Path:
    """A store as other people's code writes it, with whatever mistakes."""
    root = zarr.create_group(path, zarr_format=zarr_format)
    for name, values in arrays.items():
        root.create_array(f"data/{name}", data=np.asarray(values))
    if ends is not None:
        root.create_array("meta/episode_ends", data=np.asarray(ends))
    return path


def arrays(steps: int = 10) -> Episode:
    return {"action": np.ones((steps, 2), np.float32), "state": np.ones((steps, 5), np.float32)}


def refusal(path: Any, **kwargs: Any) -> str:
    """The message of the refusal, which must be one line that names the place."""
    with pytest.raises(StoreError) as caught:
        open_store(path, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.mark.parametrize(
    ("broken", "ends", "message"),
    [
        ({"state": np.ones((10, 5))}, [10], "array 'data/action' is missing; found state under data/"),
        (arrays(), None, "array 'meta/episode_ends' is missing; expected"),
        (arrays() | {"state": np.ones((9, 5))}, [10], "ragged arrays: 'data/state' has 9 steps, 'data/action' 10"),
        (arrays() | {"state": np.ones((11, 5))}, [10], "ragged arrays: 'data/state' has 11 steps, 'data/action' 10"),
        (arrays(), [4, 3, 10], "out of order: episode 1 ends at 3, but begins at 4"),
        (arrays(), [4, 4, 10], "out of order: episode 1 ends at 4, but begins at 4"),
        (arrays(), [0, 10], "out of order: episode 0 ends at 0, but begins at 0"),
        (
            arrays(),
            [4, 8, 12],
            "episode 2 of 3 reaches past the data: meta/episode_ends ends at 12, but .* has 10 steps",
        ),
        (arrays(), [4, 8], "ends at 8, but the arrays have 10 steps: 2 belong to no episode"),
        (arrays(), np.array([], np.int64), "the store holds no episodes"),
        (arrays(), [[4, 10]], r"'meta/episode_ends' is int64 \(1, 2\); expected one row of integers"),
        (arrays(), [4.0, 10.0], "'meta/episode_ends' is float64 .* expected one row of integers"),
        ({"action": np.ones(10)}, [10], r"array 'data/action' holds \(\) per step; expected \(numbers\)"),
        (
            arrays() | {"img": np.ones((10, 3, 96, 96))},
            [10],
            r"'data/img' holds \(3, 96, 96\) per step; .*height, width, 3",
        ),
        (arrays() | {"keypoint": np.ones((10, 18))}, [10], r"'data/keypoint' holds \(18,\) per step; .*\(points, 2\)"),
        (arrays() | {"label": np.array(["a"] * 10)}, [10], "array 'data/label' has dtype .*expected numbers"),
        (arrays() | {"gain": np.array(3.0)}, [10], "array 'data/gain' is a single number; expected a first axis"),
    ],
)
def test_structure(tmp_path: Path, broken: Episode, ends: Any, message: str) -> None:
    assert re.search(message, refusal(write_foreign(tmp_path / "a.zarr", broken, ends)))


@pytest.mark.parametrize("metadata", ["{broken", "{}", '{"zarr_format": 2, "shape": "many"}'])
def test_damaged_metadata(tmp_path: Path, metadata: str) -> None:
    path = write_foreign(tmp_path / "a.zarr", arrays(), [10])
    (path / "data/state/.zarray").write_text(metadata)
    assert "array 'data/state' cannot be opened" in refusal(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_name_array_episode_and_step(tmp_path: Path, value: float) -> None:
    broken = arrays(30)
    broken["state"][17, 3] = value
    store = open_store(write_foreign(tmp_path / "a.zarr", broken, [10, 15, 30]))
    store.check_values(["action"])
    for keys in (["state"], ["agent_pos"], None):
        with pytest.raises(StoreError, match=rf"'state': episode 2, step 2, component 3 is {value}"):
            store.check_values(keys)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.linspace(0, 1, 5 * 48), "look scaled to 0..1; store them as 0 to 255"),
        (np.linspace(-1, 1, 5 * 48), "range from -1.0 to 1.0; expected 0 to 255"),
        (np.full(5 * 48, 256), "range from 256 to 256; expected 0 to 255"),
    ],
)
def test_images_out_of_range(tmp_path: Path, values: np.ndarray, message: str) -> None:
    store = open_store(write_foreign(tmp_path / "a.zarr", arrays(5) | {"img": values.reshape(5, 4, 4, 3)}, [5]))
    for ask in (lambda: store.read("pixels", 0, 5), lambda: store.check_values(["pixels"])):
        with pytest.raises(StoreError, match=re.escape(message)):
            ask()


def test_not_a_zarr(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("hello")
    assert "not a zarr (.zgroup or zarr.json missing; found a.txt)" in refusal(tmp_path / "notes")


def test_an_empty_folder(tmp_path: Path) -> None:
    assert "an empty folder; expected a zarr" in refusal(tmp_path)


def test_a_file_that_is_no_zip(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").write_text("hello")
    assert "a file, but not a zip; expected a zarr folder" in refusal(tmp_path / "a.zarr")


def test_the_folder_above_points_to_the_store(tmp_path: Path) -> None:
    path = write_foreign(tmp_path / "pusht" / "a.zarr", arrays(), [10])
    assert f"open {path} instead" in refusal(tmp_path)


def test_an_array_is_no_store(tmp_path: Path) -> None:
    path = write_foreign(tmp_path / "a.zarr", arrays(), [10]) / "data" / "action"
    assert "one zarr array, not a store" in refusal(path)
    path = write_foreign(tmp_path / "b.zarr", arrays(), [10], zarr_format=3) / "data" / "action"
    assert "cannot be opened as a zarr group" in refusal(path)


def test_zips_without_a_store_or_with_two(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "none.zip", "w") as archive:
        archive.writestr("a.txt", "hello")
    assert "the zip holds no zarr" in refusal(tmp_path / "none.zip")
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.zarr/.zgroup", '{"zarr_format": 2}')
        archive.writestr("b.zarr/.zgroup", '{"zarr_format": 2}')
    assert "the zip holds 2 stores (a.zarr, b.zarr)" in refusal(tmp_path / "two.zip")


def test_misspelt_names_and_paths(tmp_path: Path) -> None:
    assert "did you mean 'pusht'?" in refusal("psuht")
    assert "available: pusht" in refusal("something-else")
    write_foreign(tmp_path / "episodes.zarr", arrays(), [10])
    assert "no such file or folder (did you mean 'episodes.zarr'?)" in refusal(tmp_path / "epsiodes.zarr")


def test_the_human_set_before_its_download(tmp_path: Path) -> None:
    message = refusal("pusht")
    assert str(tmp_path / "own-data" / "pusht") in message
    assert "run `diffpolicy demos download`" in message


def test_names_of_bundled_sets(tmp_path: Path, make_episode: MakeEpisode, monkeypatch: pytest.MonkeyPatch) -> None:
    """A set beside the package is found by its name, and its close misses are."""
    package = tmp_path / "site" / "diffpolicy_demos"
    create_store(package / "tiny_set.zarr").append_episode(make_episode(3))
    monkeypatch.setattr("diffpolicy_demos.location.__file__", str(package / "location.py"))
    assert open_store("tiny-set").n_steps == 3
    assert "did you mean 'tiny-set'?" in refusal("tinyset")


def test_urls(tmp_path: Path) -> None:
    assert "cannot be opened as a zarr group" in refusal("memory://nothing-here.zarr")
    assert "not a URL that fsspec can open" in refusal("nonsense://a.zarr")
    assert "a zip behind a URL cannot be read in place" in refusal("https://example.org/a.zip")


def test_reading_what_is_not_there(tmp_path: Path) -> None:
    store = open_store(write_foreign(tmp_path / "a.zarr", arrays(), [4, 10]))
    for ask, message in (
        (lambda: store.episode(2), "no episode 2; it has 0 to 1"),
        (lambda: store.episode(-1), "no episode -1"),
        (lambda: store.read("action", 5, 11), "steps 5 to 11 of 'action' asked for; it has 0 to 10"),
        (lambda: store.read("pixels", 0, 1), "no key 'pixels'; this store has action, agent_pos, state"),
        (lambda: store["agent_pos"], "not stored but computed from 'state'"),
        (lambda: store.append_episode(arrays()), "opened for reading; use open_store"),
    ):
        with pytest.raises(StoreError, match=re.escape(message)):
            ask()


def test_other_modes(tmp_path: Path) -> None:
    """In a process of its own: where types are checked while the tests run, the annotation would refuse them first."""
    path = write_foreign(tmp_path / "a.zarr", arrays(), [10])
    code = f"""
from diffpolicy_demos import StoreError, open_store
for mode in ("w", "r+", "", None):
    try:
        open_store({str(path)!r}, mode=mode)
    except StoreError as error:
        print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == [
        f"{path}: mode {mode!r} asked for; expected 'r' to read or 'a' to append (create_store makes a new store)"
        for mode in ("w", "r+", "", None)
    ]
    assert open_store(path).n_episodes == 1


def test_a_foreign_store_can_be_appended_to(tmp_path: Path) -> None:
    path = write_foreign(tmp_path / "a.zarr", arrays(), [10])
    open_store(path, mode="a").append_episode(arrays(5))
    assert open_store(path).episode_ends.tolist() == [10, 15]


def test_a_missing_chunk_of_a_shortened_array(tmp_path: Path, make_episode: MakeEpisode) -> None:
    """Steps beyond the last end are forgiven in our own stores, missing ones are not."""
    store = create_store(tmp_path / "a.zarr")
    store.append_episode(make_episode(10))
    store._root["data/state"].resize((8, 5))
    assert re.search("episode 0 of 1 reaches past the data.*'data/state' has 8 steps", refusal(tmp_path / "a.zarr"))
    shutil.rmtree(tmp_path / "a.zarr")
