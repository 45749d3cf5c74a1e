"""Whichever way a window is read, it is the same window: else their times could not be compared."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffpolicy_demos import Store, create_store, open_store
from diffpolicy_demos.location import HUMAN_SET, data_folder

from diffpolicy.benchmarking.data_windows import (
    OBS_HORIZON,
    PRED_HORIZON,
    WindowDataset,
    bare_read,
    load_recording,
    observations,
    read_windows,
)
from diffpolicy.config import DataConfig
from diffpolicy.errors import ConfigError
from diffpolicy.training import windows
from diffpolicy.training.windows import load_windows

LENGTHS = (1, 3, 40, OBS_HORIZON + PRED_HORIZON)
ROOM = 1 << 20
SHAPES = {"state": (5,), "wrist": (4, 6, 3), "front": (2, 2, 3), "action": (3,)}


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Store]:
    """A function that records a store of random numbers: steps shorter than a window, and longer."""

    def record(shapes: dict[str, tuple[int, ...]] = SHAPES, name: str = "demos.zarr") -> Store:
        rng = np.random.default_rng(0)
        with create_store(tmp_path / name) as store:
            for steps in LENGTHS:
                values = {key: rng.normal(size=(steps, *shape)) for key, shape in shapes.items()}
                values |= {
                    key: rng.integers(256, size=(steps, *shape), dtype=np.uint8)
                    for key, shape in shapes.items()
                    if len(shape) == 3
                }
                store.append_episode(values)
        return open_store(tmp_path / name)

    return record


@pytest.fixture
def human() -> Store:
    place = data_folder() / HUMAN_SET
    if not place.is_dir():
        pytest.skip(f"the human demonstrations are not at {place} (set DIFFPOLICY_DATA)")
    return open_store(place)


@pytest.mark.parametrize("keys", [("state",), ("front", "wrist")])
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_four_ways_give_one_window(
    keys: tuple[str, ...], packed: bool, make: Callable[..., Store], tmp_path: Path
) -> None:
    store = make()
    if packed:
        store = open_store(shutil.make_archive(str(tmp_path / "packed"), "zip", store.path))
    recording = load_recording("demos", store, keys, ROOM)
    every = np.arange(len(recording.windows))
    assert len(every) == sum(LENGTHS)
    in_memory = recording.windows.batch(torch.from_numpy(every))
    expected = {**in_memory["obs"], "action": in_memory["action"]}
    assert bool(in_memory["mask"].any())  # the windows at both ends of an episode are among them
    dataset = WindowDataset(recording.windows)
    items = [dataset[index] for index in range(len(dataset))]
    for read in (store.read, bare_read(store)):
        windows = read_windows(recording, read, every)
        for key, values in expected.items():
            found = np.stack([window[key] for window in windows]).astype(values.numpy().dtype)
            np.testing.assert_array_equal(found, values)
    for key, values in expected.items():
        assert torch.equal(torch.stack([item[key] for item in items]), values)
        assert values.shape == (len(every), PRED_HORIZON if key == "action" else OBS_HORIZON, *SHAPES[key])


def test_memory_holds_what_training_would_hold(make: Callable[..., Store], monkeypatch: pytest.MonkeyPatch) -> None:
    store, keys = make(), ("front", "state")
    config = DataConfig(validation_episodes=0)
    theirs, _ = load_windows(store, config, keys, obs_horizon=OBS_HORIZON, pred_horizon=PRED_HORIZON)
    monkeypatch.setattr(windows, "_STEPS_AT_ONCE", 7)  # this time in many stretches, the last of them short
    told: list[int] = []
    ours = load_recording("demos", store, keys, ROOM, told.append).windows
    assert torch.equal(ours.action, theirs.action)
    for key in keys:
        assert torch.equal(ours.obs[key], theirs.obs[key])
        assert ours.obs[key].dtype == theirs.obs[key].dtype
    assert [torch.equal(getattr(ours, name), getattr(theirs, name)) for name in ("steps", "first", "last")] == [
        True
    ] * 3
    assert sum(told) == store.n_steps


def test_room_limits_the_episodes(make: Callable[..., Store]) -> None:
    store = make()
    step_bytes = 4 * (5 + 3)
    for steps, episodes in ((0, 1), (3, 1), (4, 2), (43, 2), (44, 3), (61, 3), (62, 4), (1000, 4)):
        recording = load_recording("demos", store, ("state",), steps * step_bytes)
        assert recording.episodes == episodes
        assert len(recording.windows) == sum(LENGTHS[:episodes])


def test_a_window_weighs_what_reaches_the_policy(make: Callable[..., Store]) -> None:
    recording = load_recording("demos", make(), ("front", "state"), ROOM)
    batch = recording.windows.batch(torch.arange(10))
    given = sum(value.nbytes for value in (*batch["obs"].values(), batch["action"]))
    assert recording.window_bytes * 10 == given


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (("state", "joints", "wrist", "front"), [("state",), ("front", "wrist")]),
        (("joints", "markers"), [("joints", "markers")]),
        (("wrist",), [("wrist",)]),
    ],
)
def test_what_may_be_observed(
    keys: tuple[str, ...], expected: list[tuple[str, ...]], make: Callable[..., Store]
) -> None:
    shapes = SHAPES | {"joints": (7,), "markers": (4, 3)}
    assert observations(make({key: shapes[key] for key in (*keys, "action")})) == expected


def test_actions_alone_are_refused(make: Callable[..., Store]) -> None:
    with pytest.raises(ConfigError, match=r"demos\.zarr: found nothing but actions; expected something to observe"):
        observations(make({"action": (3,)}))


@pytest.mark.human
def test_published_pictures_are_the_same_windows(human: Store) -> None:
    """Kept as float32 in Blosc; from disk and from memory they are the same bytes."""
    (numbers, cameras) = observations(human)
    assert (numbers, cameras) == (("state",), ("pixels",))
    recording = load_recording("pusht", human, cameras, 3 * 161 * 96 * 96 * 3)
    drawn = np.random.default_rng(0).integers(len(recording.windows), size=4)
    expected = recording.windows.batch(torch.from_numpy(drawn))["obs"]["pixels"].numpy()
    for read in (human.read, bare_read(human)):
        found = np.stack([window["pixels"] for window in read_windows(recording, read, drawn)])
        np.testing.assert_array_equal(found, expected)
