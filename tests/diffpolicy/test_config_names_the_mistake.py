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
EDM = "policy: {sampler: ddpm, objective: {name: edm, %s}}"
DIRECT = "policy: {objective: {name: %s}, sampler: direct, steps: %s}"

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
    "one of few": ("policy: {sampler: huen}", "policy.sampler: .*'euler', 'heun', .* or 'direct'.*found 'huen'"),
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
    "flow by ddim": (
        "policy: {sampler: ddim}",
        "policy: sampler 'ddim' cannot solve objective 'flow'; use euler or heun",
    ),
    "ddpm in one go": (
        DDPM % ("direct", 5),
        "policy: sampler 'direct' cannot solve objective 'ddpm'; use ddpm or ddim",
    ),
    "noise on edm's way": (
        EDM % "",
        "policy: sampler 'ddpm' cannot solve objective 'edm'; use .*euler or",
    ),
    "denoised regression": (
        "policy: {objective: {name: regression}}",
        "policy: sampler 'euler' cannot solve objective 'regression'; use direct$",
    ),
    "denoised mixture": (
        "policy: {objective: {name: mixture}, sampler: heun}",
        "policy: sampler 'heun' cannot solve objective 'mixture'; use direct$",
    ),
    "too many looks": (DIRECT % ("regression", 10), "policy: steps is 10, but objective 'regression' takes 1 as it is"),
    "too few looks": (
        DIRECT % ("regression, second_look: 0.1", 1),
        "policy: steps is 1, but objective 'regression' takes 2 as it is configured",
    ),
    "too many looks at modes": (DIRECT % ("mixture", 2), "policy: steps is 2, but objective 'mixture' takes 1"),
    "a teacher of no flow": (
        "{training: {teacher: pusht-state}, policy: {objective: {name: ddpm}, sampler: ddim}}",
        "training.teacher is 'pusht-state', but policy.objective is 'ddpm'; only 'flow' .* leave the teacher out",
    ),
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
    "data of no size": (EDM % "sigma_data: 0", "policy.objective: sigma_data is 0.0; it must be positive"),
    "levels in the wrong order": (
        EDM % "sigma_min: 2, sigma_max: 1",
        r"policy.objective: sigma_max is 1.0; it must be above sigma_min \(2.0\)",
    ),
    "no spacing": (EDM % "rho: -7", "policy.objective: rho is -7.0; it must be positive"),
    "always one level": (EDM % "log_std: 0", "policy.objective: log_std is 0.0; it must be positive"),
    "misspelt level": (EDM % "sigma_maks: 1", "unknown key 'policy.objective.sigma_maks'; did you mean 'sigma_max'?"),
    "a look at nothing": (
        DIRECT % ("regression, second_look: 1.0", 2),
        "policy.objective: second_look is 1.0; it must lie between 0 and 1, or be null",
    ),
    "another error": (DIRECT % ("regression, error: cubic", 1), "policy.objective.error: .*'squared' or 'absolute'"),
    "no modes": (DIRECT % ("mixture, modes: 0", 1), "policy.objective: modes is 0; it must be positive"),
    "modes of no width": (DIRECT % ("mixture, least_std: 0", 1), "policy.objective: least_std is 0.0; it must be pos"),
    "another objective": (DIRECT % ("gan", 1), "policy.objective: .*'gan' .*'flow', 'ddpm', 'edm', 'regression', 'mix"),
    "no network": ("policy: {members: 0}", "policy: members is 0; it must be positive"),
    "half a network": ("policy: {members: 1.5}", "policy.members: .*integer.*found 1.5"),
    "negative scale": ("policy: {noise_scale: -1}", "policy: noise_scale is -1.0; it must be 0 or more"),
    "all the way spared": ("policy: {warm_start: 1}", "policy: warm_start is 1.0; .* less than 1"),
    "no draws": ("training: {draws: 0}", "training: draws is 0; it must be positive"),
    "a numbered teacher": ("training: {teacher: 3}", "training.teacher: .*string.*found 3"),
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
