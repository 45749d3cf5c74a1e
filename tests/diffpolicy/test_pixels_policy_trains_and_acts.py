"""A policy that observes pictures is recorded, trained, resumed, stored, exported and rolled out like any other."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffpolicy_demos import create_store
from diffpolicy_envs.pusht.pixels import PixelPainter
from torch import Tensor

from diffpolicy.checkpoint import load_policy
from diffpolicy.config import ExperimentConfig
from diffpolicy.config_file import load_config
from diffpolicy.errors import ConfigError, ObservationError
from diffpolicy.evaluation.evaluate import evaluate
from diffpolicy.policy import Batch, DiffusionPolicy

SIZE_PX = 48
PIXELS: dict[str, Any] = {
    "policy": {
        "observations": ["pixels", "agent_pos"],
        "image_encoder": {
            "trunk": {"name": "resnet", "stem_px": 4, "channels": [8], "blocks": [1], "group_width": 4},
            "features": 6,
            "shift_px": 2,
            "colour": 0.1,
        },
    },
    "data": {"mirror": True, "observation_noise": 0.01},
    "evaluation": {"env_kwargs": {"obs_type": "pixels_agent_pos", "pixels_size_px": SIZE_PX}},
}
Tiny = Callable[..., ExperimentConfig]


def episode(steps: int, seed: int) -> dict[str, np.ndarray]:
    """A drive about the table, as it is drawn."""
    rng = np.random.default_rng(seed)
    way = np.clip(rng.uniform(150, 350, 4) + np.cumsum(rng.normal(0, 8, (steps, 4)), axis=0), 0, 512)
    painter = PixelPainter((SIZE_PX, SIZE_PX))
    pixels = np.stack([painter.paint(*row.tolist(), 1.0) for row in way])
    agent = way[:, :2].astype(np.float32)
    return {"pixels": pixels, "agent_pos": agent, "action": agent + rng.normal(0, 20, agent.shape).astype(np.float32)}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    recorded = create_store(tmp_path / "drawn.zarr")
    for seed in range(3):
        recorded.append_episode(episode(16, seed))
    return tmp_path / "drawn.zarr"


@pytest.fixture
def policy(tiny: Tiny) -> DiffusionPolicy:
    """One that never trained, with ranges as if it had."""
    torch.manual_seed(0)
    made = DiffusionPolicy(tiny(**PIXELS).policy, {"pixels": (SIZE_PX, SIZE_PX, 3), "agent_pos": (2,)}, 2)
    steps = {key: torch.from_numpy(value) for key, value in episode(60, 7).items()}
    made.fit_normalizer({key: steps[key] for key in ("pixels", "agent_pos")}, steps["action"], mirror=True)
    return made.eval()


def batch(rows: int = 5) -> Batch:
    steps = {key: torch.from_numpy(value) for key, value in episode(16 * rows, 3).items()}
    obs = {key: steps[key].unflatten(0, (rows, 16))[:, :2] for key in ("pixels", "agent_pos")}
    return Batch(obs=obs, action=steps["action"].unflatten(0, (rows, 16)))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_resumed_run_ends_where_an_uninterrupted_one_ends(
    precision: str, tmp_path: Path, store: Path, tiny: Tiny, run_training: Any
) -> None:
    """Bit for bit: shifts and colours come from the generator that is resumed, and moments lie as the weights do."""
    config = tiny(**PIXELS, training={"precision": precision, "learning_rate": 1e-2})
    run_training(config, store, tmp_path / "whole")
    run_training(config, store, tmp_path / "parts", stop_after=2)
    run_training(config, store, tmp_path / "parts", resume=tmp_path / "parts" / "last")
    whole, parts = (load_policy(tmp_path / name).state_dict() for name in ("whole", "parts"))
    assert [name for name in whole if not torch.equal(whole[name], parts[name])] == []
    fresh = DiffusionPolicy(config.policy, load_policy(tmp_path / "whole").obs_shapes, 2).state_dict()
    assert {name.split(".")[0] for name, value in whole.items() if not torch.equal(value, fresh[name])} >= {"encoder"}


def test_it_rolls_out_where_it_was_trained(tmp_path: Path, store: Path, tiny: Tiny, run_training: Any) -> None:
    run_training(tiny(**PIXELS), store, tmp_path / "run")
    result = evaluate(tmp_path / "run", episodes=2, seed=500_000, max_steps=20)
    assert [record["steps"] for record in result["records"]] == [20, 20]
    assert result["env_kwargs"]["obs_type"] == "pixels_agent_pos"
    with pytest.raises(ObservationError, match="is a bare array, but this policy observes pixels, agent_pos"):
        evaluate(tmp_path / "run", episodes=1, env_kwargs={"obs_type": "state"})


def test_only_numbers_are_normalized_and_get_noise(policy: DiffusionPolicy) -> None:
    assert policy.normalizer.keys == ("agent_pos", "action")
    assert not any("pixels" in name for name in policy.state_dict())
    obs = batch()["obs"]
    quiet, noisy = policy.encode(obs, seeded()), policy.encode(obs, seeded(), 0.1)
    changed = (quiet != noisy).any(dim=0).view(2, -1)
    assert changed[:, :2].all()  # the agent's x and y
    assert not changed[:, 2:].any()


def test_the_loss_repeats_and_training_alone_augments(policy: DiffusionPolicy) -> None:
    def conditions(seed: int) -> Tensor:
        seen: list[Tensor] = []
        hook = policy.encoder.register_forward_hook(lambda layer, inputs, output: seen.append(output.detach()))
        policy.loss(batch(), generator=seeded(seed))
        hook.remove()
        return seen[0]

    assert torch.equal(conditions(1), conditions(2))
    policy.train()
    assert torch.equal(conditions(1), conditions(1))
    assert not torch.equal(conditions(1), conditions(2))


def test_every_weight_learns(policy: DiffusionPolicy) -> None:
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=seeded()))
    policy.train()(batch(), generator=seeded(), observation_noise=0.01).backward()
    assert [name for name, p in policy.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_each_frame_moves_the_plan(policy: DiffusionPolicy) -> None:
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=seeded()))
    obs = batch(1)["obs"]
    plan = policy.sample(obs, generator=seeded())
    for step in range(2):
        other = obs["pixels"].clone()
        other[:, step] = 255 - other[:, step]
        assert not torch.allclose(policy.sample({**obs, "pixels": other}, generator=seeded()), plan, atol=1e-3)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64])
def test_pictures_in_other_numbers_are_refused(policy: DiffusionPolicy, kind: type) -> None:
    """Of floats one cannot tell whether they go to 1 or to 255."""
    obs = {key: value.numpy() for key, value in batch()["obs"].items()}
    with pytest.raises(
        ObservationError, match=r"'pixels' has the shape of a picture, but is torch\.float32.*uint8, 0 to 255"
    ):
        policy.sample({**obs, "pixels": obs["pixels"].astype(kind)})


def test_what_only_has_a_pictures_shape_is_found_before_training(tmp_path: Path, tiny: Tiny, run_training: Any) -> None:
    steps = episode(16, 0)
    clouds = create_store(tmp_path / "clouds.zarr")
    for _ in range(3):
        clouds.append_episode(
            {"pixels": steps["pixels"], "cloud": np.zeros((16, 4, 5, 3), np.float32), "action": steps["action"]}
        )
    config = tiny(**{**PIXELS, "policy": {**PIXELS["policy"], "task": "plain", "observations": ["pixels", "cloud"]}})
    with pytest.raises(ObservationError, match=r"'cloud' has the shape of a picture, but is torch\.float32"):
        run_training(config, tmp_path / "clouds.zarr", tmp_path / "run")


def test_large_pictures_need_an_image_encoder(tmp_path: Path, store: Path, tiny: Tiny, run_training: Any) -> None:
    config = tiny(policy={"observations": ["pixels", "agent_pos"]})
    with pytest.raises(ConfigError, match=r"policy\.image_encoder is missing: 'pixels' is a picture of 48 x 48"):
        run_training(config, store, tmp_path / "run")


def test_the_shipped_recipe_sees_the_recorded_pictures() -> None:
    config = load_config("pusht_pixels_mlp")
    shapes = {"pixels": (96, 96, 3), "agent_pos": (2,), "state": (5,)}
    policy = DiffusionPolicy(config.policy, {key: shapes[key] for key in config.policy.recorded_keys}, 2)
    assert config.data.mirror
    assert config.evaluation.env_kwargs == {"obs_type": "pixels_agent_pos"}
    plan = policy.sample({"pixels": np.zeros((1, 2, 96, 96, 3), np.uint8), "agent_pos": np.zeros((1, 2, 2))}, steps=1)
    assert plan.shape == (1, 1, 16, 2)
