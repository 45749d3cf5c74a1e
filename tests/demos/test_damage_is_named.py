"""Whatever is lost or altered on disk is told in one line with its file and episodes; all other episodes stay readable."""

import random
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from diffpolicy_demos import Store, StoreError, create_store, open_store
from zarr.storage import LocalStore

Episode = dict[str, np.ndarray]
LENGTHS = (300, 40, 200, 100)  # steps 0 to 256 and 256 to 512 of the numbers lie in a chunk each
INFOS = [{"seed": index, "start_state": [index + 0.5]} for index in range(len(LENGTHS))]


def episodes() -> list[Episode]:
    rng = np.random.default_rng(0)
    return [
        {
            "action": rng.normal(size=(steps, 2)).astype(np.float32),
            "state": rng.normal(size=(steps, 5)).astype(np.float32),
            "pixels": rng.integers(0, 4, (steps, 8, 8, 3), dtype=np.uint8),
            "reward": np.zeros(steps),
        }
        for steps in LENGTHS
    ]


@pytest.fixture(scope="module", params=[2, 3])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "a.zarr"
    with create_store(path, zarr_format=request.param) as store:
        for episode, info in zip(episodes(), INFOS, strict=True):
            store.append_episode(episode, info)
    return path


@pytest.fixture
def path(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "a.zarr"))


def chunk(path: Path, array: str, *place: int) -> Path:
    """The file of a chunk, in either format."""
    plain = path / array / ".".join(map(str, place))
    return plain if (path / ".zgroup").exists() else path / array / "c" / "/".join(map(str, place))


def contents(path: Path) -> dict[str, Any]:
    store = open_store(path)
    return {
        "ends": store.episode_ends.tolist(),
        "infos": store.episode_infos(),
        **{key: (values.dtype.str, values.tobytes()) for key in store.stored_keys for values in [store[key][:]]},
    }


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def empty(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (Path.unlink, "is missing"),
        (truncate, r"is damaged: its \d+ bytes do not decode"),
        (flip, r"is damaged: its \d+ bytes do not decode"),
        (empty, "is damaged: its 0 bytes do not decode"),
    ],
)
def test_a_chunk(path: Path, spoil: Callable[[Path], None], what: str) -> None:
    """The second chunk of actions holds the end of episode 0, all of 1 and most of 2; episode 3 is untouched."""
    file = chunk(path, "data/action", 1, 0)
    spoil(file)
    store = open_store(path)
    line = rf"{path}: file {file.relative_to(path)} {what}.*; it holds episodes 0 to 2, all others can be read"
    asks: list[Callable[[], Any]] = [lambda index=index: store.episode(index) for index in (0, 1, 2)]
    asks += [lambda: store.read("action", 0, 640), lambda: store["action"][:], lambda: store["action"][300]]
    asks += [store.check_values, lambda: store["action"][500:505, 1]]
    for ask in asks:
        with pytest.raises(StoreError, match=line) as caught:
            ask()
        assert "\n" not in str(caught.value)
    for key, values in episodes()[3].items():
        np.testing.assert_array_equal(store.episode(3)[key], values)
    np.testing.assert_array_equal(store.read("action", 0, 256), episodes()[0]["action"][:256])
    np.testing.assert_array_equal(store.episode(1, ["state"])["state"], episodes()[1]["state"])
    (damage,) = store.damages()
    assert (damage.file, damage.array) == (str(file.relative_to(path)), "data/action")
    assert damage.episodes == (0, 1, 2)
    assert re.match(what, damage.what)
    assert re.match(line, damage.line(str(path)))


def test_all_damages_are_listed(path: Path) -> None:
    chunk(path, "data/state", 2, 0).unlink()
    flip(chunk(path, "data/img", 0, 0, 0, 0))
    truncate(chunk(path, "meta/episode_info", 0))
    damages = open_store(path).damages()
    assert [(damage.array, damage.episodes) for damage in damages] == [
        ("data/img", (0,)),
        ("data/state", (2, 3)),
        ("meta/episode_info", (0, 1, 2, 3)),
    ]
    with pytest.raises(StoreError, match=r"file meta/episode_info/.*is damaged.*it holds episodes 0 to 3"):
        open_store(path).episode_info(2)


def test_a_whole_store_has_none(path: Path) -> None:
    assert open_store(path).damages() == []
    assert not open_store(path)["reward"][:].any()  # chunks of zeros are written too, and are not taken for lost


@pytest.mark.parametrize("spoil", [Path.unlink, truncate, flip])
def test_the_ends(path: Path, spoil: Callable[[Path], None]) -> None:
    file = chunk(path, "meta/episode_ends", 0)
    spoil(file)
    with pytest.raises(StoreError, match=rf"file {file.relative_to(path)} is .*it holds episodes 0 to 3"):
        open_store(path)


@pytest.mark.parametrize("array", ["data/action", "data/img", "meta/episode_ends"])
def test_lost_metadata(path: Path, array: str) -> None:
    name = "zarr.json" if (path / "zarr.json").exists() else ".zarray"
    (path / array / name).unlink()
    with pytest.raises(StoreError, match=array) as caught:
        open_store(path)
    assert "is missing" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_appending_to_a_damaged_chunk_is_refused(path: Path) -> None:
    """It would be written anew, with zeros in place of what was lost."""
    file = chunk(path, "data/state", 2, 0)
    file.unlink()
    with open_store(path, mode="a") as store:
        with pytest.raises(StoreError, match=r"data/state.*is missing; it holds episodes 2 to 3"):
            store.append_episode(episodes()[0])
        assert not file.exists()
        assert store.n_episodes == len(LENGTHS)


def test_zips(path: Path) -> None:
    chunk(path, "data/action", 1, 0).unlink()
    with zipfile.ZipFile(path.with_suffix(".zip"), "w") as archive:
        for file in path.rglob("*"):
            archive.write(file, file.relative_to(path))
    store = open_store(path.with_suffix(".zip"))
    with pytest.raises(StoreError, match="is missing; it holds episodes 0 to 2"):
        store.episode(1)
    np.testing.assert_array_equal(store.episode(3)["action"], episodes()[3]["action"])


def test_a_disk_that_fails_is_not_a_damaged_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    get = LocalStore.get

    async def failing(self: LocalStore, key: str, *args: Any, **kwargs: Any) -> Any:
        if key.startswith("data/action") and key[-1].isdigit():
            raise OSError(5, "Input/output error")
        return await get(self, key, *args, **kwargs)

    monkeypatch.setattr(LocalStore, "get", failing)
    with pytest.raises(StoreError, match=r"file data/action.* cannot be read \(\[Errno 5\] Input/output error\)"):
        open_store(path).episode(0)


def test_a_wrong_selection_is_no_damage(path: Path) -> None:
    with pytest.raises(IndexError):
        open_store(path)["action"][0, 0, 0]


@pytest.mark.parametrize("kind", ["metadata", "chunks"])
def test_no_flipped_bit_passes_unnoticed(path: Path, kind: str) -> None:
    """Either the store or the reading is refused in one line, or every episode is what it was."""
    right, draw = contents(path), random.Random(0)
    described = ("zarr.json", ".zarray", ".zgroup")
    files = [file for file in path.rglob("*") if file.is_file() and (file.name in described) == (kind == "metadata")]
    refusals = []
    for _ in range(60):
        file = draw.choice(sorted(files))
        content = file.read_bytes()
        if not content or file.parent == path:  # the root's attributes may say anything
            continue
        spoilt = bytearray(content)
        spoilt[draw.randrange(len(spoilt))] ^= 1 << draw.randrange(8)
        file.write_bytes(spoilt)
        try:
            assert contents(path) == right, f"{file}: {bytes(spoilt)!r}"
        except StoreError as error:
            refusals.append(str(error))
        file.write_bytes(content)
    assert len(refusals) > 30
    assert not any("\n" in refusal for refusal in refusals)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(("old", "new"), [('"<f4"', '">f4"'), ("640,\n    5\n", "640,\n    4\n"), ("256,\n", "257,\n")])
def test_altered_metadata_that_zarr_believes(tmp_path: Path, zarr_format: int, old: str, new: str) -> None:
    """No checksum covers it, so what could pass for another array of numbers is compared with how it was created."""
    with create_store(tmp_path / "a.zarr", zarr_format=zarr_format) as store:
        for episode in episodes():
            store.append_episode(episode)
    right = contents(tmp_path / "a.zarr")
    (file,) = [file for file in (tmp_path / "a.zarr/data/state").iterdir() if file.name in (".zarray", "zarr.json")]
    text = file.read_text()
    file.write_text(text.replace(old, new))
    if old in text:
        with pytest.raises(StoreError, match="data/state"):
            contents(tmp_path / "a.zarr")
    else:
        assert (zarr_format, old) == (3, '"<f4"')  # format 3 keeps the byte order elsewhere
        assert contents(tmp_path / "a.zarr") == right


def foreign(path: Path, **attrs: Any) -> Store:
    """A store of zarr's own habits: chunks of zeros are left out."""
    root = zarr.create_group(path, attributes=attrs)
    for name, width in (("action", 2), ("done", 1)):
        values = np.ones((40, width), np.float32)
        values[10:20] = 0
        root.create_array(f"data/{name}", data=values, chunks=(10, width))
    root.create_array("meta/episode_ends", data=np.array([15, 40]))
    return open_store(path)


def test_zeros_of_other_writers(tmp_path: Path) -> None:
    """What is observed or done is hardly ever zero throughout a chunk, so there it is taken for lost until told."""
    store = foreign(tmp_path / "a.zarr")
    assert store.read("done", 10, 20).tolist() == [[0.0]] * 10
    with pytest.raises(StoreError, match=r"file data/action/c/1/0 is missing .*set .*missing_chunks_are_zeros"):
        store.read("action", 0, 15)
    store = foreign(tmp_path / "b.zarr", missing_chunks_are_zeros=True)
    assert store.read("action", 10, 20).tolist() == [[0.0, 0.0]] * 10
    assert store.damages() == []
