"""The published set reads alike from a folder, a zip and by name, and is the set whose digests we know."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from diffpolicy_demos import Store, StoreError, open_store
from diffpolicy_demos.download import PUBLISHED, digest, verify
from diffpolicy_demos.location import HUMAN_SET
from diffpolicy_demos.replay import replay
from rich.progress import Progress

pytestmark = pytest.mark.human


@pytest.fixture(scope="module")
def human(human_set: Path) -> Store:
    return open_store(human_set)


def test_size_and_keys(human: Store) -> None:
    assert (human.n_episodes, human.n_steps, human.zarr_format) == (206, 25650, 2)
    assert human.keys == ("action", "agent_pos", "keypoints", "n_contacts", "pixels", "state")
    assert human.episode_ends.dtype == np.int64
    assert human.episode_lengths.sum() == human.n_steps


def test_an_episode_is_what_its_slices_are(human: Store) -> None:
    episode = human.episode(3)
    start, stop = human.episode_ends[2], human.episode_ends[3]
    np.testing.assert_array_equal(episode["state"], human["state"][start:stop])
    np.testing.assert_array_equal(episode["agent_pos"], episode["state"][:, :2])
    np.testing.assert_array_equal(episode["keypoints"], human["keypoints"][start:stop])
    assert episode["pixels"].dtype == np.uint8
    assert episode["pixels"].shape == (stop - start, 96, 96, 3)
    np.testing.assert_array_equal(episode["pixels"], human["pixels"][start:stop])  # float32 on disk, whole numbers


def test_the_zip_reads_as_the_folder_does(human: Store, human_set: Path, tmp_path: Path) -> None:
    archive = tmp_path / "pusht.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for path in human_set.rglob("*"):
            if path.is_file() and path.parent.name != "img":
                zipped.write(path, HUMAN_SET / path.relative_to(human_set))
    zipped_set = open_store(archive)
    assert zipped_set.keys == tuple(key for key in human.keys if key != "pixels")
    np.testing.assert_array_equal(zipped_set.episode_ends, human.episode_ends)
    for key, values in zipped_set.episode(205).items():
        np.testing.assert_array_equal(values, human.episode(205)[key])


def test_the_name_finds_it(human_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFPOLICY_DATA", str(human_set.parent.parent))
    assert open_store("pusht").path == str(human_set)


def test_values_are_clean(human: Store) -> None:
    human.check_values(["action", "state", "keypoints", "agent_pos", "n_contacts"])


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name != "data/img"])
def test_digests(human: Store, name: str) -> None:
    array = human._root[name]
    assert digest(array, Progress(disable=True)) == PUBLISHED[name].sha256


@pytest.mark.slow
def test_the_whole_set_is_the_published_one(human_set: Path) -> None:
    verify(human_set, PUBLISHED, Progress(disable=True))


def test_a_missing_array_is_noticed(human_set: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.zarr"
    for path in human_set.rglob("*"):
        if path.is_file():
            (copy / path.relative_to(human_set)).parent.mkdir(parents=True, exist_ok=True)
            (copy / path.relative_to(human_set)).symlink_to(path)
    (copy / "data/state/.zarray").unlink()
    with pytest.raises(StoreError, match=r"file data/state/\.zarray is missing"):
        verify(copy, PUBLISHED, Progress(disable=True))
    shutil.rmtree(copy / "data/state")
    with pytest.raises(
        StoreError, match=r"other arrays than the published set: found data/action.*expected.*data/state"
    ):
        verify(copy, PUBLISHED, Progress(disable=True))


def test_the_world_follows_the_record(human: Store) -> None:
    """88% of the episodes within 1e-3 px and the worst within 0.92 px: what was measured when the task was read."""
    drifts = np.array([drift.drift_px for drift in replay(human)])
    assert len(drifts) == 206
    assert (drifts < 1e-3).mean() > 0.88
    assert drifts.max() < 0.92
    assert np.median(drifts) < 1e-4
