"""What tests of the policy share: small stores, small experiments, and a policy that is quick to make and to ask."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffpolicy_demos import create_store, open_store
from diffpolicy_envs.pusht.geometry import block_keypoints

from diffpolicy.checkpoint import save_checkpoint
from diffpolicy.cli import main
from diffpolicy.config import ExperimentConfig
from diffpolicy.config_file import config_from_dict
from diffpolicy.policy import DiffusionPolicy
from diffpolicy.training.loop import TrainingResult, train
from diffpolicy.training.windows import load_windows

TINY = {
    "data": {"validation_episodes": 1},
    "policy": {"backbone": {"name": "mlp", "width": 16, "blocks": 1, "cond_width": 8}, "steps": 2},
    "training": {
        "steps": 4,
        "batch_size": 8,
        "warmup_steps": 1,
        "log_every": 1,
        "validate_every": 2,
        "checkpoint_every": 2,
        "precision": "float32",
    },
    "evaluation": {"episodes": 0},
}


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """These networks are too small to share among threads, and two test runs would fight over the cores."""
    torch.set_num_threads(1)


def pusht_episode(steps: int, seed: int) -> dict[str, np.ndarray]:
    """A smooth random drive about the table, with the actions some way ahead of the agent."""
    rng = np.random.default_rng(seed)
    way = np.clip(rng.uniform(150, 350, 4) + np.cumsum(rng.normal(0, 8, (steps, 4)), axis=0), 0, 512)
    angle = (rng.uniform(0, 6) + np.cumsum(rng.normal(0, 0.05, steps))) % (2 * np.pi)
    state = np.column_stack([way, angle])
    action = np.clip(state[:, :2] + rng.normal(0, 20, (steps, 2)), 0, 512)
    keypoints = np.stack([block_keypoints(pose) for pose in state[:, 2:]])
    arrays = {"state": state, "action": action, "keypoints": keypoints}
    return {key: value.astype(np.float32) for key, value in arrays.items()}


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., Path]:
    """A function that records a few Push-T-like episodes and returns the store's folder."""

    def make(name: str = "demos.zarr", episodes: int = 4, steps: int = 20) -> Path:
        store = create_store(tmp_path / name)
        for seed in range(episodes):
            store.append_episode(pusht_episode(steps + seed, seed))
        return tmp_path / name

    return make


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Nested dictionaries, the changes on top; a `name` of another kind replaces its whole dictionary."""
    out = dict(base)
    for key, value in changes.items():
        nested = isinstance(value, dict) and isinstance(out.get(key), dict)
        same_kind = nested and value.get("name", out[key].get("name")) == out[key].get("name")
        out[key] = merged(out[key], value) if same_kind else value
    return out


@pytest.fixture
def tiny() -> Callable[..., ExperimentConfig]:
    """A function that makes a tiny experiment: `tiny(training={"steps": 2})`."""
    return lambda **changes: config_from_dict(merged(TINY, changes), "test")


@pytest.fixture
def tiny_plain() -> Callable[..., dict[str, Any]]:
    """The same as the plain data that a YAML file holds."""
    return lambda **changes: merged(TINY, changes)


@pytest.fixture
def run_training() -> Callable[..., TrainingResult]:
    """A function that trains on the CPU: `run_training(config, store, folder, stop_after=2)`."""

    def run(config: ExperimentConfig, store: Path, folder: Path, **choices: Any) -> TrainingResult:
        policy = config.policy
        horizons = {"obs_horizon": policy.obs_horizon, "pred_horizon": policy.pred_horizon}
        both = load_windows(open_store(store), config.data, policy.recorded_keys, **horizons)
        return train(config, *both, folder, device="cpu", **choices)

    return run


@pytest.fixture
def make_policy() -> Callable[..., DiffusionPolicy]:
    """A function that makes an untrained policy whose every weight matters, as after a training."""

    def make(config: ExperimentConfig, seed: int = 0) -> DiffusionPolicy:
        episode = {key: torch.from_numpy(value) for key, value in pusht_episode(200, seed).items()}
        episode["agent_pos"] = episode["state"][:, :2]
        obs = {key: episode[key] for key in config.policy.observations}
        policy = DiffusionPolicy(config.policy, {key: tuple(v.shape[1:]) for key, v in obs.items()}, 2)
        policy.fit_normalizer(obs, episode["action"], mirror=True)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in policy.parameters():
                parameter.normal_(std=0.2, generator=generator)
        return policy.eval()

    return make


@pytest.fixture
def make_checkpoint(
    tmp_path: Path, tiny: Callable[..., ExperimentConfig], make_policy: Callable[..., DiffusionPolicy]
) -> Callable[..., Path]:
    """A function that writes such a policy: `make_checkpoint("name", policy={"observations": ["keypoints"]})`."""

    def make(name: str = "checkpoint", half: bool = False, **changes: Any) -> Path:
        config = tiny(**changes)
        save_checkpoint(tmp_path / name, make_policy(config), config, card="# Test\n", half=half)
        return tmp_path / name

    return make


@pytest.fixture
def complaint(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """A function that runs a command that must fail and returns its one line."""

    def run(*argv: object) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main([str(word) for word in argv])
        assert stopped.value.code not in (0, None)
        said = capsys.readouterr().err
        assert said.endswith("\n")
        assert said.count("\n") == 1, said
        assert said.startswith("diffpolicy")
        return said

    return run
