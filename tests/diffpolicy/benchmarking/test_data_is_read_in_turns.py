"""Every way to read windows is timed beside the others, leaves nothing running, and a made store looks like Push-T."""

import multiprocessing
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from diffpolicy_demos import Store
from diffpolicy_demos.doctor.examine import diagnose
from diffpolicy_envs import PUSHT_ID
from rich.console import Console
from torch.utils.data import get_worker_info

from diffpolicy.benchmarking import data_report, data_speed
from diffpolicy.benchmarking.data_speed import COPY, MEMORY, STORE, ZARR, compare_reading, loader_name
from diffpolicy.benchmarking.data_stand_in import make_stand_in
from diffpolicy.benchmarking.data_windows import Recording, WindowDataset, load_recording

EVERYBODY = {MEMORY, STORE, ZARR, COPY, loader_name(0), loader_name(2)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_stand_in(tmp_path_factory.mktemp("stand_in") / "made.zarr", episodes=2, steps=20)


@pytest.fixture(autouse=True)
def _short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_speed, "_BATCHES", 2)


@pytest.fixture
def recording(made: Store) -> Recording:
    return load_recording("made", made, ("state",), 1 << 20)


def printed(reading: data_speed.Reading) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        data_report.print_reading(reading, console)
    return captured.get()


def test_all_take_part_and_end(recording: Recording) -> None:
    told: list[None] = []
    reading = compare_reading(recording, 2, lambda: told.append(None))
    assert multiprocessing.active_children() == []
    assert len(told) == 2
    assert (set(reading.comparison.times_us), reading.left_out) == (EVERYBODY, {})
    ratios = reading.comparison.ratios
    assert {f"{name} / {MEMORY}" for name in EVERYBODY - {MEMORY}} < set(ratios)
    assert {ratio.rounds for ratio in ratios.values()} == {2}
    assert (reading.windows, reading.episodes, reading.store) == (40, 2, "made")
    # 256 windows at once against one by one with two reads each: no noise turns that round.
    assert ratios[f"{STORE} / {MEMORY}"].low > 5
    assert ratios[f"{COPY} / {MEMORY}"].high < 1


def test_rates_follow_from_the_times(recording: Recording) -> None:
    reading = compare_reading(recording, 1)
    as_json = reading.as_json()
    for name, time in reading.comparison.times_us.items():
        rate = as_json["windows_per_s"][name]
        assert rate * time.median == pytest.approx(1e6)
        assert as_json["bytes_per_s"][name] == pytest.approx(rate * 4 * (2 * 5 + 16 * 2))
    assert as_json["comparison"]["times_us"][MEMORY]["rounds"] == 1
    said = printed(reading)
    assert [name for name in EVERYBODY if name not in said] == []
    assert "left out" not in said


@pytest.mark.slow  # PyTorch waits ten seconds for workers that failed
def test_workers_that_fail_are_left_out(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the memory that processes share is too small; the others are measured all the same."""
    sound = WindowDataset.__getitem__

    def failing(self: WindowDataset, index: int) -> dict[str, torch.Tensor]:
        if get_worker_info() is not None:
            raise RuntimeError("no room\nto share")
        return sound(self, index)

    monkeypatch.setattr(WindowDataset, "__getitem__", failing)
    reading = compare_reading(recording, 1)
    assert set(reading.comparison.times_us) == EVERYBODY - {loader_name(2)}
    assert "no room to share" in reading.left_out[loader_name(2)]
    assert f"{loader_name(2)}: left out, " in printed(reading)
    assert multiprocessing.active_children() == []


def test_a_made_store_is_push_t(made: Store) -> None:
    shapes = {key: (made[key].shape[1:], str(made[key].dtype)) for key in made.stored_keys}
    published = {"action": ((2,), "float32"), "pixels": ((96, 96, 3), "uint8"), "state": ((5,), "float32")}
    assert shapes == published
    found = diagnose(made.path)
    assert [finding for finding in found.findings if finding.severity == "error"] == []
    assert found.world == "Push-T"
    assert [drift.drift_px < 0.1 for drift in found.drifts] == [True, True]
    assert 0 <= made["action"][:].min() <= made["action"][:].max() <= 512


def test_its_pictures_are_of_its_states(made: Store) -> None:
    env = gym.make(PUSHT_ID, obs_type="pixels")
    for episode in range(made.n_episodes):
        first = made.episode(episode)
        shown, _ = env.reset(seed=made.episode_info(episode)["seed"])
        np.testing.assert_array_equal(first["pixels"][0], shown)


def test_it_is_made_the_same_again(made: Store, tmp_path: Path) -> None:
    again = make_stand_in(tmp_path / "again.zarr", episodes=2, steps=20)
    for key in made.stored_keys:
        np.testing.assert_array_equal(again[key][:], made[key][:])
    assert not np.array_equal(made.episode(0)["state"], made.episode(1)["state"])
