"""What `demos inspect` and `demos replay` report is true of stores whose contents are known."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import diffpolicy_envs
import gymnasium as gym
import numpy as np
import pytest
from diffpolicy_demos import Store, StoreError, create_store, open_store
from diffpolicy_demos.inspect import describe, print_description, sparkline
from diffpolicy_demos.replay import replay
from rich.console import Console

Episode = dict[str, np.ndarray]


def played_episode(steps: int, seed: int) -> Episode:
    """What the environment does under random targets, recorded in float64."""
    env = gym.make(diffpolicy_envs.PUSHT_ID, obs_type="state")
    rng = np.random.default_rng(seed)
    start = np.array([256.0, 450.0, 256.0, 250.0, 1.0])
    states, actions = [env.reset(options={"state": start})[0]], rng.uniform(150, 350, (steps, 2))
    states += [env.step(action)[0] for action in actions[:-1]]
    env.close()
    return {"state": np.array(states), "action": actions}


@pytest.fixture
def played(tmp_path: Path) -> Store:
    store = create_store(tmp_path / "a.zarr", attrs={"env_id": diffpolicy_envs.PUSHT_ID, "control_hz": 20})
    for seed in range(3):
        store.append_episode(played_episode(30, seed))
    return open_store(tmp_path / "a.zarr")


def test_a_record_of_this_world_replays_exactly(played: Store) -> None:
    drifts = list(replay(played))
    assert [drift.episode for drift in drifts] == [0, 1, 2]
    assert [drift.steps for drift in drifts] == [30, 30, 30]
    assert max(drift.drift_px for drift in drifts) == 0
    assert max(drift.drift_rad for drift in drifts) == 0


def test_a_changed_record_drifts(tmp_path: Path) -> None:
    """The drift is the largest difference of a coordinate, at its step; the angle is compared the short way round."""
    store = create_store(tmp_path / "a.zarr")
    episode = played_episode(30, 0)
    episode["state"][12, 3] += 2.5
    episode["state"][5, 0] -= 1.0
    episode["state"][20, 4] += 2 * np.pi - 0.25
    store.append_episode(played_episode(10, 1))
    store.append_episode(episode)
    (drift,) = replay(store, [1])
    assert (drift.episode, drift.worst_step) == (1, 12)
    assert drift.drift_px == pytest.approx(2.5)
    assert drift.drift_rad == pytest.approx(0.25)


def test_other_worlds_are_refused(tmp_path: Path) -> None:
    store = create_store(tmp_path / "a.zarr", attrs={"env_id": "toy/Reach-v0"})
    store.append_episode(played_episode(5, 0))
    with pytest.raises(StoreError, match=r"a.zarr: recorded in 'toy/Reach-v0'; only episodes of 'diffpolicy/PushT-v0'"):
        replay(store)


def test_what_cannot_be_replayed(tmp_path: Path, played: Store) -> None:
    with pytest.raises(StoreError, match="no episode 3; it has 0 to 2"):
        replay(played, [0, 3])
    store = create_store(tmp_path / "b.zarr")
    store.append_episode({"action": np.zeros((5, 2))})
    with pytest.raises(StoreError, match="no 'state' to replay; the store has action"):
        replay(store)
    store = create_store(tmp_path / "c.zarr")
    store.append_episode({"action": np.zeros((5, 7)), "state": np.zeros((5, 5))})
    with pytest.raises(StoreError, match=r"'action' holds \(7,\) per step; Push-T has \(2,\)"):
        replay(store)


def test_description(tmp_path: Path, make_episode: Callable[..., Episode], played: Store) -> None:
    store = create_store(tmp_path / "b.zarr", attrs={"note": "[bold]not markup[/bold]"})
    episodes = [make_episode(steps, seed) for seed, steps in enumerate((10, 30, 60))]
    for episode in episodes:
        store.append_episode(episode)
    described = describe(open_store(tmp_path / "b.zarr"))
    assert (described.episodes, described.steps, described.zarr_format) == (3, 100, 3)
    assert (described.length_min, described.length_median, described.length_max) == (10, 30, 60)
    assert described.duration_s == 10  # 10 Hz unless the store says otherwise
    assert describe(played).duration_s == played.n_steps / 20
    arrays = {array.key: array for array in described.arrays}
    assert set(arrays) == {"action", "keypoints", "pixels", "state"}
    actions = np.concatenate([episode["action"] for episode in episodes])
    assert arrays["action"].low == tuple(actions.min(axis=0).tolist())
    assert arrays["action"].high == tuple(actions.max(axis=0).tolist())
    assert (arrays["pixels"].low, arrays["pixels"].high) == ((0,), (255,))
    assert arrays["pixels"].stored == "img"
    assert 100 * 12 * 12 * 3 * 0.5 < arrays["pixels"].stored_bytes < 100 * 12 * 12 * 3 * 1.2  # noise hardly shrinks
    assert json.loads(json.dumps(described.attrs)) == {"note": "[bold]not markup[/bold]"}
    console = Console(file=io.StringIO(), width=80)
    print_description(described, console)
    printed = console.file.getvalue()
    for expected in ("3 episodes, 100 steps", "shortest 10, median 30, longest 60", "pixels (img)", "[bold]not markup"):
        assert expected in printed


def test_ranges_leave_out_what_is_not_finite(tmp_path: Path) -> None:
    store = create_store(tmp_path / "a.zarr")
    store.append_episode({"action": np.array([[1.0, -2.0], [3.0, 5.0], [2.0, 4.0]])})
    store._stored["action"][1] = [np.nan, np.inf]
    (array,) = describe(open_store(tmp_path / "a.zarr")).arrays
    assert (array.low, array.high, array.nonfinite) == ((1.0, -2.0), (2.0, 4.0), 2)


def test_sparkline() -> None:
    assert sparkline((1, 2, 4, 8)) == "▁▂▄█"
    assert sparkline((5,)) == "█"
    assert sparkline((3,) * 1000) == "█" * 60
