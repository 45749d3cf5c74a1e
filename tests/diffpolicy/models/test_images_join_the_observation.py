"""Pictures join the numbers in `cond`: one network for each camera or for all, ours or one of the user's own."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from diffpolicy.config import ImageEncoderConfig, ImportedTrunkConfig, ResNetConfig
from diffpolicy.errors import ConfigError
from diffpolicy.models import ObservationEncoder

TRUNK = ResNetConfig(stem_px=2, channels=(8,), blocks=(1,), group_width=4)
SHAPES = {"front.camera": (16, 24, 3), "joints": (7,), "wrist": (16, 24, 3), "markers": (4, 3)}
NUMBERS = 2 * (7 + 4 * 3)


def encoder(shapes: dict[str, tuple[int, ...]] = SHAPES, **changes: Any) -> ObservationEncoder:
    torch.manual_seed(0)
    config = ImageEncoderConfig(**{"trunk": TRUNK, "features": 6, **changes})
    return ObservationEncoder(shapes, 2, config).eval()


def observation(rows: int = 3, seed: int = 0, **shapes: tuple[int, ...]) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(seed)
    drawn: dict[str, Tensor] = {}
    for key, shape in {**SHAPES, **shapes}.items():
        if len(shape) == 3:
            drawn[key] = torch.randint(0, 256, (rows, 2, *shape), generator=g, dtype=torch.uint8)
        else:
            drawn[key] = torch.randn(rows, 2, *shape, generator=g)
    return drawn


def test_each_step_has_its_numbers_first_then_each_camera() -> None:
    made, obs = encoder(), observation()
    assert (made.numbers, made.pictures) == (("joints", "markers"), ("front.camera", "wrist"))
    assert made.cond_dim == NUMBERS + 2 * 2 * 6
    cond = made(obs)
    assert cond.shape == (3, made.cond_dim)
    steps = cond.view(3, 2, -1)
    assert torch.equal(steps[..., : NUMBERS // 2], torch.cat([obs["joints"], obs["markers"].flatten(2)], dim=-1))
    for index, key in enumerate(made.pictures):
        of_camera = steps[..., NUMBERS // 2 + 6 * index :][..., :6]
        torch.testing.assert_close(of_camera, made.cameras[index](obs[key]), rtol=0, atol=0)


def test_without_numbers_there_are_only_pictures() -> None:
    made = encoder({"wrist": (16, 24, 3)})
    assert made.cond_dim == 2 * 6
    assert made(observation()).shape == (3, 12)


@pytest.mark.parametrize("shared", [True, False])
def test_cameras_share_a_network_or_have_their_own(shared: bool) -> None:
    made, obs = encoder(shared=shared), observation()
    assert len(made.cameras) == (1 if shared else 2)
    obs["wrist"] = obs["front.camera"]
    front, wrist = made(obs).view(3, 2, -1)[..., NUMBERS // 2 :].chunk(2, dim=-1)
    assert torch.equal(front, wrist) == shared


def test_cameras_of_different_sizes_have_their_own_networks() -> None:
    shapes = SHAPES | {"wrist": (12, 12, 3)}
    assert encoder(shapes)(observation(wrist=(12, 12, 3))).shape == (3, NUMBERS + 24)
    with pytest.raises(
        ConfigError, match=r"shared: .*front\.camera \(16, 24, 3\), wrist \(12, 12, 3\); set it to false"
    ):
        encoder(shapes, shared=True)


def test_cameras_are_shifted_each_for_itself() -> None:
    made = encoder(shared=True, shift_px=4).train()
    obs = observation(rows=20)
    obs["wrist"] = obs["front.camera"]
    steps = made(obs, torch.Generator().manual_seed(0)).view(20, 2, -1)
    front, wrist = steps[..., NUMBERS // 2 :].chunk(2, dim=-1)
    assert not torch.allclose(front, wrist, atol=1e-4)


def test_without_an_image_encoder_small_pictures_are_numbers() -> None:
    made, obs = ObservationEncoder(SHAPES, 2), observation()
    assert not list(made.parameters())
    assert made.cond_dim == NUMBERS + 2 * 2 * 16 * 24 * 3
    first = made(obs).view(3, 2, -1)[..., : 16 * 24 * 3]
    assert torch.equal(first, obs["front.camera"].flatten(2).float())


@pytest.mark.parametrize(
    ("shapes", "changes", "message"),
    [
        (
            {"pixels": (96, 96, 3)},
            None,
            r"image_encoder is missing: 'pixels' is a picture of 96 x 96.*image_encoder: \{\}",
        ),
        (
            {"state": (5,)},
            {},
            r"image_encoder is given, but no feature is a picture .*found state \(5,\); leave it out",
        ),
        (
            {"a": (84, 96, 3)},
            {"crop_px": (90, 90)},
            r"image_encoder.crop_px is \(90, 90\), larger than the pictures of 84 x 96; lower it",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(shapes: Any, changes: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"policy\.{message}") as refused:
        ObservationEncoder(shapes, 2, None if changes is None else ImageEncoderConfig(**changes))
    assert "\n" not in str(refused.value)


MINE = '''
import torch
from torch import nn

class Frozen(nn.Module):
    """Pretrained, so to say: its weights are given, and one of them is let learn."""
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 4, stride=4).requires_grad_(False)
        self.gain = nn.Parameter(torch.ones(()))
    def forward(self, pictures):
        assert pictures.shape[1] == 3 and pictures.min() >= -1 and pictures.max() <= 1
        return self.gain * self.conv(pictures)

class Flat(nn.Module):
    def forward(self, pictures):
        return pictures.flatten(1)

class Huge(nn.Module):
    def forward(self, pictures):
        return pictures.view(-1, 3, 1000, 1000)

def number():
    return 3
'''


@pytest.fixture
def my_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_eyes.py").write_text(MINE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "my_eyes"


@pytest.mark.parametrize("pooling", ["spatial_softmax", "attention"])
def test_a_network_of_ones_own(my_module: str, pooling: str) -> None:
    trunk = ImportedTrunkConfig(factory=f"{my_module}:Frozen", arguments={"width": 10})
    made, obs = encoder(trunk=trunk, pooling=pooling).train(), observation()
    assert made(obs).shape == (3, made.cond_dim)
    made(obs).square().sum().backward()
    trunks = [camera.trunk for camera in made.cameras]
    assert isinstance(trunks[0], nn.Module)
    assert [trunk.conv.weight.grad for trunk in trunks] == [None, None]
    assert all(trunk.gain.grad.abs() > 0 for trunk in trunks)
    assert all(trunk.training for trunk in trunks)


@pytest.mark.parametrize(
    ("factory", "arguments", "message"),
    [
        ("my_eyes:Frozen", {}, r"'my_eyes:Frozen' cannot be loaded: TypeError.*width.*PYTHONPATH"),
        ("my_eyes:Missing", {}, r"'my_eyes:Missing' cannot be loaded: AttributeError"),
        ("my_eyes", {}, r"'my_eyes' cannot be loaded: .*give 'your\.module:function'"),
        ("no_such_module:Net", {}, r"'no_such_module:Net' cannot be loaded: ModuleNotFoundError"),
        ("my_eyes:number", {}, r"'my_eyes:number' returned int; expected a torch\.nn\.Module"),
        (
            "my_eyes:Flat",
            {},
            r"gives \(1, 1152\) for pictures \(1, 3, 16, 24\); expected a grid \(1, channels, rows, columns\)",
        ),
        ("my_eyes:Huge", {}, r"cannot see pictures \(1, 3, 16, 24\): shape"),
    ],
)
def test_a_network_that_does_not_fit(my_module: str, factory: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=rf"policy\.image_encoder\.trunk: {message}") as refused:
        encoder(trunk=ImportedTrunkConfig(factory=factory, arguments=arguments))
    assert "\n" not in str(refused.value)
