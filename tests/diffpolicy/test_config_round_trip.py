"""A config is plain data and comes back from it the same; every shipped experiment is one that can run."""

import dataclasses
import json

import pytest
import torch
import yaml

from diffpolicy.config import (
    DataConfig,
    DDPMConfig,
    EDMConfig,
    ExperimentConfig,
    ImageEncoderConfig,
    MixtureConfig,
    Objective,
    PolicyConfig,
    RegressionConfig,
    Sampler,
    TrainingConfig,
    UNet1DConfig,
)
from diffpolicy.config_file import config_from_dict, config_to_dict, configs_folder, load_config
from diffpolicy.policy import DiffusionPolicy

SHIPPED = sorted(path.stem for path in configs_folder().glob("*.yaml"))
SHAPES = {"state": (5,), "keypoints": (9, 2), "agent_pos": (2,), "pixels": (96, 96, 3)}

CHANGED = ExperimentConfig(
    description="not the default",
    data=DataConfig(path="my.zarr", max_episodes=9, mirror=False),
    policy=PolicyConfig(
        observations=("keypoints", "agent_pos"),
        backbone=UNet1DConfig(channels=(16, 32), groups=4),
        objective=DDPMConfig(prediction="v", beta_schedule="linear"),
        sampler="ddim",
    ),
)
TAUGHT = ExperimentConfig(
    policy=PolicyConfig(
        observations=("pixels",),
        noise_scale=0.5,
        warm_start=0.25,
        image_encoder=ImageEncoderConfig(supervision=("state",), supervision_weight=2.0),
    ),
    training=TrainingConfig(teacher="runs/mine", draws=4),
)
OBJECTIVES: tuple[tuple[Objective, Sampler, int], ...] = (
    (EDMConfig(sigma_data=0.3, log_mean=-2.0), "heun", 9),
    (RegressionConfig(error="absolute"), "direct", 1),
    (RegressionConfig(second_look=0.2), "direct", 2),
    (MixtureConfig(modes=3), "direct", 1),
    (DDPMConfig(), "dpmpp_2m", 5),
)


def test_there_are_experiments() -> None:
    assert {"debug", "demo", "pusht_state_mlp", "pusht_keypoints_mlp", "pusht_keypoints_unet_paper"} <= set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_experiment_is_a_policy(name: str) -> None:
    config = load_config(name)
    assert config == load_config(str(configs_folder() / f"{name}.yaml"))
    assert config.description
    with torch.device("meta"):  # the paper's network is large, and only its making is tried
        policy = DiffusionPolicy(config.policy, {key: SHAPES[key] for key in config.policy.recorded_keys}, 2)
        x, cond = torch.zeros(1, config.policy.pred_horizon, 2), torch.zeros(1, policy.encoder.cond_dim)
        assert policy.backbone(x, torch.zeros(1), cond).shape == x.shape


def test_the_papers_recipe_is_the_papers() -> None:
    config = load_config("pusht_keypoints_unet_paper")
    policy = config.policy
    assert (policy.obs_horizon, policy.pred_horizon, policy.action_horizon) == (2, 16, 8)
    assert policy.backbone == UNet1DConfig(channels=(256, 512, 1024), kernel_size=5, groups=8)
    assert policy.objective == DDPMConfig(prediction="epsilon", train_timesteps=100, beta_schedule="squaredcos_cap_v2")
    assert (policy.sampler, policy.steps, config.data.max_episodes, config.data.mirror) == ("ddpm", 100, 90, False)


def solved(objective: Objective, sampler: Sampler, steps: int) -> ExperimentConfig:
    return ExperimentConfig(policy=PolicyConfig(objective=objective, sampler=sampler, steps=steps))


@pytest.mark.parametrize(
    "config",
    [ExperimentConfig(), CHANGED, TAUGHT, *(solved(*each) for each in OBJECTIVES), *map(load_config, SHIPPED)],
)
def test_data_and_back(config: ExperimentConfig) -> None:
    data = config_to_dict(config)
    assert config_from_dict(data, "test") == config
    assert json.loads(json.dumps(data)) == data
    assert config_from_dict(yaml.safe_load(yaml.safe_dump(data)), "test") == config


def test_what_is_not_said_is_the_default() -> None:
    config = config_from_dict({"policy": {"steps": 3}}, "test")
    assert config == ExperimentConfig(policy=PolicyConfig(steps=3))


def test_data_of_a_part() -> None:
    assert config_from_dict({"steps": 3}, "test", PolicyConfig) == PolicyConfig(steps=3)


def test_a_config_cannot_be_changed_by_accident() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ExperimentConfig().policy.steps = 3  # type: ignore[misc]


def test_a_recording_is_read_for_what_is_seen_and_what_supervises() -> None:
    assert CHANGED.policy.recorded_keys == ("keypoints", "agent_pos")
    assert TAUGHT.policy.recorded_keys == ("pixels", "state")
    both = ImageEncoderConfig(supervision=("agent_pos", "state", "pixels"))
    seen = PolicyConfig(observations=("pixels", "agent_pos"), image_encoder=both)
    assert seen.recorded_keys == ("pixels", "agent_pos", "state")  # each once


def test_configs_made_in_python_are_checked_too() -> None:
    with pytest.raises(ValueError, match="sampler 'ddpm' cannot solve objective 'flow'"):
        PolicyConfig(sampler="ddpm")


@pytest.mark.parametrize("obs_horizon", [1, 2, 4])
def test_the_longest_execution_that_fits_is_allowed(obs_horizon: int) -> None:
    longest = 16 - obs_horizon + 1
    assert PolicyConfig(obs_horizon=obs_horizon, action_horizon=longest).action_horizon == longest
    with pytest.raises(ValueError, match=f"action_horizon {longest + 1} does not fit"):
        PolicyConfig(obs_horizon=obs_horizon, action_horizon=longest + 1)
