"""What a config says of pictures is plain data like the rest, and a mistake in it is told in one line."""

import re
from pathlib import Path

import pytest

from diffpolicy.config import ImageEncoderConfig, ImportedTrunkConfig, PolicyConfig, ResNetConfig
from diffpolicy.config_file import config_from_dict, config_to_dict, load_config
from diffpolicy.errors import ConfigError

ENCODER = "policy: {image_encoder: {%s}}"
TRUNK = "policy: {image_encoder: {trunk: {%s}}}"
HERE = r"policy\.image_encoder"

MISTAKES = {
    "misspelt key": (ENCODER % "feature: 3", rf"unknown key '{HERE}.feature'; did you mean 'features'\?"),
    "misspelt key of the trunk": (
        TRUNK % "name: resnet, chanels: [8]",
        rf"unknown key '{HERE}.trunk.chanels'.*'channels'",
    ),
    "unknown pooling": (ENCODER % "pooling: mean", rf"{HERE}.pooling: .*'spatial_softmax' or 'attention'"),
    "half a point": (ENCODER % "features: 7", rf"{HERE}: features is 7; it must be even"),
    "nothing seen": (ENCODER % "features: 0", rf"{HERE}: features is 0; it must be positive"),
    "negative shift": (ENCODER % "shift_px: -1", rf"{HERE}: shift_px is -1; it must be 0 or more"),
    "negative noise": (ENCODER % "noise: -0.1", rf"{HERE}: noise is -0.1; it must be 0 or more"),
    "all colour gone": (ENCODER % "colour: 1.0", rf"{HERE}: colour is 1.0; .* less than 1"),
    "supervised in vain": (
        ENCODER % "supervision: [state], supervision_weight: 0",
        rf"{HERE}: supervision_weight is 0.0; it must be positive",
    ),
    "one name for a list": (ENCODER % "supervision: state", rf"{HERE}.supervision: .*found 'state'"),
    "empty crop": (ENCODER % "crop_px: [0, 84]", rf"{HERE}: crop_px is \(0, 84\); height and width must be positive"),
    "crop of one number": (ENCODER % "crop_px: 84", rf"{HERE}.crop_px: .*found 84"),
    "no kind": (TRUNK % "channels: [8]", rf"{HERE}.trunk: `name` is missing"),
    "unknown kind": (TRUNK % "name: vit", rf"{HERE}.trunk: .*'vit' .*'resnet', 'imported'"),
    "odd stem": (TRUNK % "name: resnet, stem_px: 3", rf"{HERE}.trunk: stem_px is 3; it must be even"),
    "groups do not divide": (
        TRUNK % "name: resnet, channels: [24, 64]",
        rf"{HERE}.trunk: .*multiples of group_width \(16\)",
    ),
    "blocks of no stage": (TRUNK % "name: resnet, blocks: [1]", rf"{HERE}.trunk: blocks is \(1,\); .*the 2 stages"),
    "a stage of no blocks": (
        TRUNK % "name: resnet, blocks: [1, 0]",
        rf"{HERE}.trunk: blocks is \(1, 0\); give at least 1",
    ),
    "no factory": (TRUNK % "name: imported", rf"{HERE}.trunk.factory: .*required"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_in_a_file(tmp_path: Path, case: str) -> None:
    text, message = MISTAKES[case]
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_config(str(path))
    line = str(refused.value)
    assert "\n" not in line
    assert re.match(f"{re.escape(str(path))}: .*{message}", line), line


def test_defaults_are_named_by_an_empty_mapping() -> None:
    config = config_from_dict({"policy": {"image_encoder": {}}}, "test")
    assert config.policy.image_encoder == ImageEncoderConfig()
    assert config_from_dict({"policy": {}}, "test").policy.image_encoder is None


@pytest.mark.parametrize(
    "encoder",
    [
        ImageEncoderConfig(trunk=ResNetConfig(channels=(16,), blocks=(3,)), crop_px=(84, 84), colour=0.1, shared=True),
        ImageEncoderConfig(
            trunk=ImportedTrunkConfig(factory="mine:net", arguments={"depth": [1, 2]}), pooling="attention"
        ),
    ],
)
def test_data_and_back(encoder: ImageEncoderConfig) -> None:
    policy = PolicyConfig(observations=("pixels",), image_encoder=encoder)
    assert config_from_dict(config_to_dict(policy), "test", PolicyConfig) == policy
