"""The recorded moments nearest to an observation: the moment itself, each demonstration once, and its mirror image."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffpolicy_demos import create_store, open_store

from diffpolicy.config import ExperimentConfig
from diffpolicy.errors import ConfigError
from diffpolicy.neighbours import nearest_windows, recorded_windows
from diffpolicy.policy import DiffusionPolicy
from diffpolicy.training.windows import Windows

Asked = tuple[DiffusionPolicy, Windows]


@pytest.fixture
def asked(
    make_policy: Callable[..., DiffusionPolicy], tiny: Callable[..., ExperimentConfig], make_store: Callable[..., Path]
) -> Asked:
    """A policy and all windows of four episodes of 40 to 43 steps."""
    policy = make_policy(tiny())
    return policy, recorded_windows(open_store(make_store(steps=40)), policy)


def history_of(windows: Windows, index: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    batch = windows.batch(torch.tensor([index]))
    return {key: value[0].numpy() for key, value in batch["obs"].items()}, batch["action"][0].double().numpy()


def test_a_recorded_moment_is_nearest_to_itself_with_its_own_actions(asked: Asked) -> None:
    policy, windows = asked
    assert len(windows) == 40 + 41 + 42 + 43, "held-out episodes are demonstrations too"
    history, action = history_of(windows, 40 + 12)
    near = nearest_windows(policy, windows, history, n=5)
    assert (near.episodes[0], near.steps[0], near.mirrored[0]) == (1, 12, False)
    assert near.distances[0] == pytest.approx(0, abs=1e-6)
    assert np.array_equal(near.actions[0], action)
    assert np.all(np.diff(near.distances) >= 0)
    assert near.distances[-1] < near.typical_distance


def test_distances_are_those_of_the_policys_features(asked: Asked) -> None:
    policy, windows = asked
    history, _ = history_of(windows, 3)
    near = nearest_windows(policy, windows, history, n=4)
    starts = np.array([0, 40, 81, 123])
    found = policy.encode(windows.batch(torch.as_tensor(starts[near.episodes] + near.steps))["obs"])
    here = policy.encode({key: torch.as_tensor(value)[None] for key, value in history.items()})
    assert near.distances == pytest.approx(((found - here) ** 2).mean(dim=1).sqrt().numpy(), abs=1e-5)


@pytest.mark.parametrize(("apart", "most"), [(8, 4), (100, 1), (1, 28)])
def test_one_demonstration_is_not_counted_many_times(apart: int, most: int, asked: Asked) -> None:
    """Of each episode at most so many moments stay, `apart` steps from each other."""
    policy, windows = asked
    near = nearest_windows(policy, windows, history_of(windows, 12)[0], n=1000, apart=apart, mirror=True)
    for episode in range(4):
        steps = np.sort(near.steps[near.episodes == episode])
        assert 1 <= len(steps) <= most + (episode if apart == 1 else 0)
        assert np.all(np.diff(steps) >= apart)


def test_no_plan_reaches_beyond_its_demonstration(asked: Asked) -> None:
    policy, windows = asked
    near = nearest_windows(policy, windows, history_of(windows, 39)[0], n=1000, apart=1)
    lengths = np.array([40, 41, 42, 43])[near.episodes]
    reach = near.steps - policy.config.obs_horizon + policy.config.pred_horizon
    assert np.all(reach < lengths)
    assert np.all([(reach[near.episodes == e].max() == 39 + e) for e in range(4)]), "and the last whole one is there"


def test_the_mirror_image_of_a_moment_is_nearest_to_its_reflection(asked: Asked) -> None:
    policy, windows = asked
    batch = windows.batch(torch.tensor([40 + 12]))
    reflected = policy.task.mirror(batch["obs"], batch["action"])
    assert reflected is not None
    history = {key: value[0].numpy() for key, value in reflected[0].items()}
    near = nearest_windows(policy, windows, history, n=3, mirror=True)
    assert (near.episodes[0], near.steps[0], near.mirrored[0]) == (1, 12, True)
    assert near.actions[0] == pytest.approx(reflected[1][0].double().numpy(), abs=1e-4)
    plain = nearest_windows(policy, windows, history, n=3)
    assert not plain.mirrored.any()
    assert plain.distances[0] > 0.01


def test_one_of_so_many_moments_can_be_compared(asked: Asked) -> None:
    policy, windows = asked
    compared: list[int] = []
    history, _ = history_of(windows, 12)
    near = nearest_windows(policy, windows, history, n=1000, apart=1, every=4, on_windows=compared.append)
    whole = 4 * 40 + 6 - 4 * (policy.config.pred_horizon - policy.config.obs_horizon)
    assert sum(compared) == len(near) == -(-whole // 4)
    assert near.distances[0] == pytest.approx(0, abs=1e-6), "the first moments of an episode are among them"


def test_what_cannot_be_compared_is_refused(asked: Asked, tmp_path: Path, make_store: Callable[..., Path]) -> None:
    policy, windows = asked
    history, _ = history_of(windows, 0)
    for wrong in ({"n": 0}, {"apart": 0}, {"every": 0}):
        with pytest.raises(ConfigError, match="at least 1"):
            nearest_windows(policy, windows, history, **wrong)
    short = recorded_windows(open_store(make_store("short.zarr", steps=6)), policy)
    with pytest.raises(ConfigError, match="as long as a plan of 16 actions"):
        nearest_windows(policy, short, history)
    other = create_store(tmp_path / "other.zarr")
    other.append_episode({"action": np.zeros((20, 2), np.float32), "arm": np.zeros((20, 7), np.float32)})
    with pytest.raises(ConfigError, match=r"other.zarr has no 'state'.*it has action, arm"):
        recorded_windows(open_store(tmp_path / "other.zarr"), policy)
    three = create_store(tmp_path / "three.zarr")
    three.append_episode({"action": np.zeros((20, 3), np.float32), "state": np.zeros((20, 5), np.float32)})
    with pytest.raises(ConfigError, match=r"three.zarr: 'action' has shape \(3,\)"):
        recorded_windows(open_store(tmp_path / "three.zarr"), policy)
