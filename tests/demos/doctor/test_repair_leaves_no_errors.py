"""A repaired store passes the doctor; the old one is as it was; and for each episode it is said what was done."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr
from diffpolicy_demos import StoreError, open_store
from diffpolicy_demos.doctor.examine import diagnose
from diffpolicy_demos.doctor.repair import Repair, repair
from diffpolicy_envs.pusht import block_keypoints

Episode = dict[str, np.ndarray]

STEPS, EPISODES, CHUNK = 40, 8, 256


def content_of(folder: Path) -> dict[str, str]:
    """A digest of every file."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def repaired(path: Path, **options: bool) -> tuple[Repair, Path]:
    """Repairs a store, and holds what must hold of every repair."""
    target, before = path.with_name("repaired.zarr"), content_of(path)
    done = repair(diagnose(path), target, **options)
    assert content_of(path) == before
    assert diagnose(target).sound
    new = open_store(target)
    assert new.zarr_format == 3
    assert new.attrs["repaired_from"] == str(path)
    assert [index for one in done.treatments for index in one.becomes] == list(range(new.n_episodes))
    assert sorted(entry.name for entry in path.parent.iterdir() if entry.is_dir()) == ["a.zarr", "repaired.zarr"]
    return done, target


def treated(done: Repair) -> dict[int, tuple[tuple[int, ...], str]]:
    """What was done to the episodes that were not copied as they were."""
    return {one.episode: (one.becomes, "; ".join(one.done)) for one in done.treatments if one.done}


def test_a_sound_store_is_copied(clean: list[Episode], write: Callable[..., Path]) -> None:
    done, target = repaired(write(clean))
    assert treated(done) == {}
    new = open_store(target)
    for index, episode in enumerate(clean):
        for key, values in episode.items():
            np.testing.assert_array_equal(new.episode(index)[key], values)


def test_what_follows_from_the_rest_is_computed(numbers: list[Episode], write: Callable[..., Path]) -> None:
    numbers[1]["keypoints"][5] += 30
    numbers[2]["state"][7, 4] -= 2 * np.pi
    numbers[3]["action"][-1] = [530, 300]
    for episode in numbers:
        episode["agent_pos"] = episode["state"][:, :2] + 0.01  # as good as the same
    numbers[4]["agent_pos"][3] += 1
    done, target = repaired(write(numbers))
    assert treated(done) == {
        1: ((1,), "keypoints computed from the states"),
        2: ((2,), "angles wrapped"),
        3: ((3,), "actions clipped"),
        4: ((4,), "agent_pos taken from the states"),
    }
    new = open_store(target)
    np.testing.assert_allclose(new.episode(1)["keypoints"], block_keypoints(numbers[1]["state"][:, 2:]))
    np.testing.assert_allclose(new.episode(2)["state"][7, 4], numbers[2]["state"][7, 4] + 2 * np.pi)
    np.testing.assert_array_equal(new.episode(3)["action"][-1], [512, 300])
    np.testing.assert_array_equal(new.episode(4)["agent_pos"], numbers[4]["state"][:, :2])


def test_what_does_not_follow_is_left_out(numbers: list[Episode], write: Callable[..., Path]) -> None:
    numbers[1]["state"][4, 0] = 900
    numbers[2]["action"][1:] = numbers[2]["action"][:-1].copy()
    numbers.append(numbers[3])
    path = write(numbers)
    zarr.open_group(path, mode="r+")["data/action"][5 * STEPS + 3] = np.nan
    done, _ = repaired(path)
    assert {index: becomes for index, (becomes, _) in treated(done).items()} == {1: (), 2: (), 5: (), 8: ()}
    said = {index: what for index, (_, what) in treated(done).items()}
    assert "px outside" in said[1]
    assert "do not follow" in said[2]
    assert "NaN" in said[5]
    assert said[8] == "left out: the same as episode 3"


def test_episodes_are_cut_where_they_break(clean: list[Episode], write: Callable[..., Path]) -> None:
    """A strange state and a wrong action are left out themselves; before a gap nothing is."""
    clean[0]["state"][20, :2] += 40
    clean[1] = {key: np.delete(values, slice(15, 18), axis=0) for key, values in clean[1].items()}
    clean[2]["action"][5] += 50
    clean[3]["pixels"][30] = clean[4]["pixels"][2]
    done, target = repaired(write(clean))
    assert treated(done) == {
        0: ((0, 1), "cut: kept the steps 0-19, 21-39 of 40"),
        1: ((2, 3), "cut: kept the steps 0-14, 15-36 of 37"),
        2: ((4,), "cut: kept the steps 6-39 of 40"),  # five steps are too few to be an episode
        3: ((5,), "cut: kept the steps 0-29 of 40"),
    }
    new = open_store(target)
    np.testing.assert_array_equal(new.episode(1)["pixels"], clean[0]["pixels"][21:])
    assert new.episode_info(1) == {"cut_from_episode": 0, "cut_from_step": 21}
    assert new.episode_info(6) == {}


def test_waits_are_cut_only_when_asked(
    numbers: list[Episode], write: Callable[..., Path], perform: Callable[..., Episode]
) -> None:
    actions = np.concatenate([numbers[1]["action"], np.tile(numbers[1]["action"][-1], (25, 1))])
    numbers[1] = {key: values for key, values in perform(numbers[1]["state"][0], actions).items() if key != "pixels"}
    path = write(numbers)
    repair(diagnose(path), path.with_name("kept.zarr"))
    assert open_store(path.with_name("kept.zarr")).episode_lengths[1] == len(actions)
    ((first, last),) = diagnose(path).findings[0].steps
    repair(diagnose(path), path.with_name("trimmed.zarr"), trim_idle=True)
    assert open_store(path.with_name("trimmed.zarr")).episode_lengths[1] == first + 1
    assert last == len(actions) - 1
    assert diagnose(path.with_name("trimmed.zarr")).findings == ()


def test_the_readable_rest_is_salvaged(clean: list[Episode], write: Callable[..., Path]) -> None:
    path = write(clean)
    chunk = path / "data/state/c/1/0"
    chunk.write_bytes(chunk.read_bytes()[:50])
    zarr.open_group(path, mode="r+")["meta/episode_ends"][2] = 7
    (path / "data/keypoint/zarr.json").write_text("{}")
    with pytest.raises(StoreError):
        open_store(path)
    done, target = repaired(path)
    new = open_store(target)
    assert [one.episode for one in done.treatments if one.becomes] == [0, 1, 4, 5]
    assert new.keys == ("action", "agent_pos", "pixels", "state")
    assert len(done.left_out) == 1
    assert "keypoint" in done.left_out[0]
    for index, episode in enumerate([0, 1, 4, 5]):
        np.testing.assert_array_equal(new.episode(index)["state"], clean[episode]["state"])


def test_pictures_become_bytes(clean: list[Episode], write: Callable[..., Path]) -> None:
    for episode in clean:
        episode["pixels"] = episode["pixels"].astype(np.float32) / 255
    done, target = repaired(write(clean))
    assert all("scaled to 0 to 255" in what for _, what in treated(done).values())
    new = open_store(target)
    assert new["pixels"].dtype == np.uint8
    np.testing.assert_array_equal(new.episode(5)["pixels"], np.rint(255 * clean[5]["pixels"]))


def test_information_and_attributes_are_kept(numbers: list[Episode], write: Callable[..., Path]) -> None:
    path = write(numbers, {"env_id": "diffpolicy/PushT-v0", "note": [1, 2]})
    with open_store(path, mode="a") as store:
        episode = {key: values + 0.0 for key, values in numbers[0].items()}
        episode["action"][-1] += 1.0
        store.append_episode({key: values[:20] for key, values in episode.items()}, info={"seed": 7})
    _, target = repaired(path)
    assert open_store(target).attrs["note"] == [1, 2]
    assert open_store(target).episode_info(8) == {"seed": 7}


def test_refusals(numbers: list[Episode], write: Callable[..., Path]) -> None:
    path = write(numbers)
    found, before = diagnose(path), content_of(path)
    for taken in (path, path.parent):
        with pytest.raises(StoreError, match=r"exists already; --fix writes a new store"):
            repair(found, taken)
    with pytest.raises(StoreError, match="URLs are read only"):
        repair(found, "memory://new.zarr")
    assert content_of(path) == before
    for index in range(EPISODES):
        zarr.open_group(path, mode="r+")["data/state"][index * STEPS] = np.nan
    with pytest.raises(StoreError, match="nothing would be left"):
        repair(diagnose(path), path.with_name("new.zarr"))
    assert not path.with_name("new.zarr").exists()
