"""Episodes of Push-T that nothing is wrong with, for tests that spoil them, and stores made of them."""

import copy
from collections.abc import Callable
from pathlib import Path

import diffpolicy_envs
import gymnasium as gym
import numpy as np
import pytest
from diffpolicy_demos import create_store
from diffpolicy_demos.doctor.findings import Diagnosis
from diffpolicy_envs.pusht import block_keypoints

Episode = dict[str, np.ndarray]
Finding = tuple[str, str, tuple[int, ...], tuple[tuple[int, int], ...]]

#: Of the clean set: more than fit one chunk of a store, 256 steps.
EPISODES, STEPS = 8, 40


def play(state: np.ndarray, actions: np.ndarray, pictures_px: int = 96) -> Episode:
    """What the environment does from a state under actions; the states before each."""
    env = gym.make(diffpolicy_envs.PUSHT_ID, obs_type="pixels_agent_pos", pixels_size_px=pictures_px)
    obs, info = env.reset(options={"state": state})
    states, pictures = [], []
    for action in actions:
        states.append(np.concatenate([obs["agent_pos"], info["block_pose"]]))
        pictures.append(obs["pixels"])
        obs, _, _, _, info = env.step(action)
    env.close()
    states = np.array(states)
    keypoints = block_keypoints(states[:, 2:])
    return {"state": states, "action": actions, "keypoints": keypoints, "pixels": np.array(pictures)}


def sweep(seed: int, steps: int = STEPS) -> tuple[np.ndarray, np.ndarray]:
    """A start and a smooth way across the block, from the left, another one for each seed."""
    rng = np.random.default_rng(seed)
    start = np.array([*rng.uniform(60, 100, 2), *rng.uniform(230, 290, 2), rng.uniform(0.5, 5.5)])
    target = start[2:4] + rng.uniform(60, 90, 2)
    way = np.linspace(start[:2], target, steps)
    # A slight curve, so that no number stands still and no two steps are alike.
    return start, way + 12 * np.sin(np.linspace(0, 5 + seed % 3, steps))[:, None]


@pytest.fixture
def perform() -> Callable[..., Episode]:
    """Plays actions from a state: see `play`."""
    return play


@pytest.fixture(scope="session")
def _played() -> list[Episode]:
    return [play(*sweep(seed)) for seed in range(EPISODES)]


@pytest.fixture
def clean(_played: list[Episode]) -> list[Episode]:
    """Eight episodes of 40 steps, with keypoints and pictures; the test's own to spoil."""
    return copy.deepcopy(_played)


@pytest.fixture
def numbers(clean: list[Episode]) -> list[Episode]:
    """The same without pictures."""
    return [{key: values for key, values in episode.items() if key != "pixels"} for episode in clean]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes episodes as a store of Push-T, or of what `attrs` say."""

    def write(episodes: list[Episode], attrs: dict | None = None, name: str = "a.zarr") -> Path:
        described = {"env_id": diffpolicy_envs.PUSHT_ID, "control_hz": 10} if attrs is None else attrs
        with create_store(tmp_path / name, attrs=described) as store:
            for episode in episodes:
                store.append_episode(episode)
        return tmp_path / name

    return write


@pytest.fixture
def robot() -> list[Episode]:
    """Six episodes of an arm with seven joints, a gripper and a camera, of which nobody knows the world."""

    def episode(seed: int) -> Episode:
        rng, time = np.random.default_rng(seed), np.linspace(0, 6, 60)[:, None]
        joints = np.sin(time * rng.uniform(0.6, 1.2, 7) + rng.uniform(0, 3, 7))
        closed = (np.arange(60) > rng.integers(20, 40)).astype(float)[:, None]
        pictures = rng.integers(0, 255, (60, 16, 16, 3), dtype=np.uint8)
        return {"state": joints, "action": np.hstack([joints + 0.05, closed]), "camera": pictures}

    return [episode(seed) for seed in range(6)]


@pytest.fixture
def told() -> Callable[[Diagnosis], set[Finding]]:
    """The findings of a diagnosis without their words."""
    return lambda diagnosis: {(one.kind, one.severity, one.episodes, one.steps) for one in diagnosis.findings}
