"""A mistake in a config is told in one line that names the file, the key, what was found and the way out."""

import re
from pathlib import Path

import pytest

from diffpolicy.config import ExperimentConfig
from diffpolicy.config_file import config_from_dict, configs_folder, load_config
from diffpolicy.errors import ConfigError

MLP = "policy: {backbone: {name: mlp, %s}}"
UNET = "policy: {backbone: {name: unet1d, %s}}"
DDPM = "policy: {objective: {name: ddpm, train_timesteps: 10}, sampler: %s, steps: %s}"

MISTAKES = {
    # keys
    "unknown key": ("favourite: 3", "unknown key 'favourite'; `diffpolicy train --help` lists"),
    "misspelt section": ("trainig: {}", "unknown key 'trainig'; did you mean 'training'?"),
    "misspelt key": ("training: {step: 3}", "unknown key 'training.step'; did you mean 'steps'?"),
    "misspelt deep key": (MLP % "widht: 3", "unknown key 'policy.backbone.widht'; did you mean 'width'?"),
    "key of the other kind": (UNET % "width: 3", "unknown key 'policy.backbone.width'"),
    "misspelt and wrong": ("training: {steps: many, warmup: 3}", "unknown key 'training.warmup'; .* 'warmup_steps'"),
    "no kind": ("policy: {backbone: {width: 3}}", "policy.backbone: `name` is missing"),
    "unknown kind": ("policy: {backbone: {name: unet}}", "policy.backbone: .*'unet' .*'mlp', 'unet1d'"),
    # types
    "text for a number": ("training: {steps: many}", "training.steps: .*integer.*found 'many'"),
    "fraction of a step": ("training: {steps: 1.5}", "training.steps: .*integer.*found 1.5"),
    "text for a switch": ("data: {mirror: perhaps}", "data.mirror: .*boolean.*found 'perhaps'"),
    "one of few": ("policy: {sampler: heun}", "policy.sampler: .*'euler', 'ddpm' or 'ddim'.*found 'heun'"),
    "one name for a list": ("policy: {observations: state}", "policy.observations: .*found 'state'"),
    "an empty section": ("policy:", "policy: .*found None"),
    "three betas": ("training: {betas: [0.9, 0.99, 0.999]}", r"training.betas: .*at most 2 items"),
    "a list on top": ("- training", "found list where a mapping"),
    "a word on top": ("training", "found str where a mapping"),
    # values that do not fit one another
    "long execution": (
        "policy: {pred_horizon: 8, action_horizon: 8}",
        "policy: action_horizon 8 does not fit: .* = 7 actions .*; lower it or raise pred_horizon",
    ),
    "hasty execution": (
        "policy: {execution_speed: 2.5}",
        "policy: execution_speed 2.5 does not fit: 8 actions at this speed reach beyond the 15 that lie ahead; lower it",
    ),
    "flow by ddim": ("policy: {sampler: ddim}", "policy: sampler 'ddim' cannot solve objective 'flow'; use euler"),
    "ddpm by euler": (DDPM % ("euler", 5), "policy: sampler 'euler' cannot solve objective 'ddpm'; use ddpm or ddim"),
    "steps beyond the levels": (DDPM % ("ddim", 11), "policy: steps 11 exceeds objective.train_timesteps 10"),
    "halved too often": (
        "policy: {pred_horizon: 10, action_horizon: 4, backbone: {name: unet1d}}",
        "policy: pred_horizon 10 must be a multiple of 4: this U-Net halves it 2 times",
    ),
    "sees nothing": ("policy: {observations: []}", "policy: observations is empty"),
    # values out of range
    "no steps": ("policy: {steps: 0}", "policy: steps is 0; it must be positive"),
    "no horizon": ("policy: {obs_horizon: 0}", "policy: obs_horizon is 0; it must be positive"),
    "negative rate": ("training: {learning_rate: -1.0e-3}", "training: learning_rate is -0.001; it must be positive"),
    "rate that is none": ("training: {learning_rate: .nan}", "training: learning_rate is nan; it must be positive"),
    "never validated": ("training: {validate_every: 0}", "training: validate_every is 0; it must be positive"),
    "negative warm-up": ("training: {warmup_steps: -1}", "training: warmup_steps is -1; it must be 0 or more"),
    "average of nothing": ("training: {ema_decay: 1.0}", "training: ema_decay is 1.0; .* less than 1"),
    "beta of one": ("training: {betas: [0.9, 1.0]}", r"training: betas is \(0.9, 1.0\); .* less than 1"),
    "negative noise": ("data: {observation_noise: -0.1}", "data: observation_noise is -0.1; it must be 0 or more"),
    "nobody to learn from": ("data: {max_episodes: 0}", "data: max_episodes is 0; it must be positive"),
    "negative count": ("evaluation: {episodes: -1}", "evaluation: episodes is -1; it must be 0 or more"),
    "no width": (MLP % "width: 0", "policy.backbone: width is 0; it must be positive"),
    "odd embedding": (MLP % "cond_width: 15", "policy.backbone: cond_width is 15; it must be even"),
    "all dropped": (MLP % "dropout: 1.0", "policy.backbone: dropout is 1.0; .* less than 1"),
    "groups do not divide": (UNET % "channels: [16, 20]", r"channels is \(16, 20\); .*multiples of groups \(8\)"),
    "no channels": (UNET % "channels: []", r"policy.backbone: channels is \(\); give one or more"),
    "even kernel": (UNET % "kernel_size: 4", "policy.backbone: kernel_size is 4; it must be odd"),
    "no levels": ("policy: {objective: {name: ddpm, train_timesteps: 0}}", "policy.objective: train_timesteps is 0"),
    # not YAML
    "not YAML": ("policy: [1, 2", "not readable as YAML: .*line 1"),
    "a tab": ("policy:\n\tsteps: 3", "not readable as YAML: .*line 2"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_in_a_file(tmp_path: Path, case: str) -> None:
    text, message = MISTAKES[case]
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_config(str(path))
    line = str(refused.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    assert re.match(f"{re.escape(str(path))}: .*{message}", line), line


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "weights.yaml"
    path.write_bytes(b"\x80\x04\x95\xff\xfe")
    with pytest.raises(ConfigError, match=r"weights\.yaml: not readable as YAML"):
        load_config(str(path))


@pytest.mark.parametrize("text", ["", "# only a comment\n", "{}"])
def test_an_empty_file_is_the_defaults(tmp_path: Path, text: str) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text(text)
    assert load_config(str(path)) == ExperimentConfig()


def test_a_misspelt_shipped_name_gets_a_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"no experiment 'pusht_state_mpl': .*did you mean 'pusht_state_mlp'\?"):
        load_config("pusht_state_mpl")


def test_a_strange_name_gets_the_list() -> None:
    with pytest.raises(ConfigError, match="no experiment 'zzz'") as refused:
        load_config("zzz")
    for path in configs_folder().glob("*.yaml"):
        assert path.stem in str(refused.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "gone.yaml"
    with pytest.raises(ConfigError, match=f"no experiment '{path}': give the path of a YAML file or a shipped name"):
        load_config(str(path))


@pytest.mark.parametrize("data", [None, [], "text", 3])
def test_data_that_is_no_mapping(data: object) -> None:
    with pytest.raises(ConfigError, match=f"here: found {type(data).__name__} where a mapping"):
        config_from_dict(data, "here")
