"""The image encoder: pictures in, places out; each picture by itself, each weight of use, and memory in a fast order."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from diffpolicy.config import ImageEncoderConfig, ResNetConfig
from diffpolicy.models.image import AttentionPooling, ImageEncoder, SpatialSoftmax

POOLINGS = ["spatial_softmax", "attention"]
TRUNK = ResNetConfig(stem_px=2, channels=(8, 16), blocks=(1, 2), group_width=4)


def encoder(pooling: str = "spatial_softmax", shape: tuple[int, ...] = (16, 24, 3), **changes: Any) -> ImageEncoder:
    torch.manual_seed(0)
    made = ImageEncoder(ImageEncoderConfig(trunk=TRUNK, pooling=pooling, features=6, **changes), shape)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in made.parameters():  # as after a training: every weight matters
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return made.eval()


def pictures(rows: int = 3, steps: int = 2, shape: tuple[int, ...] = (16, 24, 3), seed: int = 0) -> Tensor:
    return torch.randint(
        0, 256, (rows, steps, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


@pytest.mark.parametrize("shape", [(16, 24, 3), (96, 96, 3), (17, 9, 3), (2, 2, 3)])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_picture_becomes_its_features(pooling: str, shape: tuple[int, ...]) -> None:
    for rows, steps in ((1, 1), (3, 2)):
        found = encoder(pooling, shape)(pictures(rows, steps, shape))
        assert found.shape == (rows, steps, 6)
        assert found.dtype == torch.float32
        assert found.isfinite().all()


@pytest.mark.parametrize("pooling", POOLINGS)
def test_pictures_do_not_see_each_other(pooling: str) -> None:
    made, seen = encoder(pooling), pictures()
    whole = made(seen)
    assert torch.pdist(whole.flatten(0, 1)).min() > 1e-4
    for row in range(3):
        for step in range(2):
            alone = made(seen[row : row + 1, step : step + 1])
            torch.testing.assert_close(alone[0, 0], whole[row, step], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_weight_learns(pooling: str) -> None:
    made = encoder(pooling, colour=0.2).train()
    made(pictures()).square().sum().backward()
    idle = [name for name, p in made.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


@pytest.mark.parametrize("pooling", POOLINGS)
def test_mixed_precision_stays_close(pooling: str) -> None:
    made, seen = encoder(pooling), pictures()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        coarse = made(seen)
    exact = made(seen)
    assert coarse.dtype == torch.float32
    assert (coarse - exact).norm() < 0.05 * exact.norm()


def test_convolutions_meet_pictures_channels_last_and_weights_in_order() -> None:
    """Also in bfloat16. Weights in another order than what a checkpoint restores would be updated wrongly."""
    made, met = encoder().train(), []
    for layer in made.modules():
        if isinstance(layer, (nn.Conv2d, nn.GroupNorm)):
            layer.register_forward_hook(lambda layer, inputs, output: met.extend([inputs[0], output]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made(pictures()).sum().backward()
    assert len(met) >= 20
    assert all(value.is_contiguous(memory_format=torch.channels_last) for value in met)
    assert {value.dtype for value in met[1:]} == {torch.bfloat16}
    for parameter in made.parameters():
        assert parameter.is_contiguous()
        assert parameter.grad is not None
        assert parameter.grad.is_contiguous()


def test_black_and_white_are_minus_one_and_one() -> None:
    made, seen = encoder(), []
    made.trunk.register_forward_hook(lambda layer, inputs, output: seen.append(inputs[0]))
    made(torch.tensor([0, 255], dtype=torch.uint8)[:, None, None, None, None].expand(2, 1, 16, 24, 3))
    assert (seen[0][0] == -1).all()
    assert (seen[0][1] == 1).all()


def test_only_training_changes_pictures() -> None:
    made, seen = encoder(shift_px=4, crop_px=(12, 20), colour=0.3), pictures()
    assert torch.equal(made(seen, torch.Generator().manual_seed(1)), made(seen, torch.Generator().manual_seed(2)))
    middle = encoder(shape=(12, 20, 3), shift_px=0)(seen[:, :, 2:-2, 2:-2])
    # The same points, told in the whole picture.
    scale = torch.tensor([20 / 24, 12 / 16]).repeat(middle.shape[-1] // 2)
    torch.testing.assert_close(made(seen), scale * middle, rtol=1e-5, atol=1e-6)
    made.train()
    one, again, other = (made(seen, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    "changes",
    [
        {"shift_px": 3},
        {"shift_px": 0, "crop_px": (12, 20)},
        {"shift_px": 0, "colour": 0.3},
        {"shift_px": 0, "noise": 0.1},
    ],
)
def test_each_augmentation_alone_is_seen_in_training(changes: dict[str, Any]) -> None:
    made, seen = encoder(**changes), pictures()
    calm = made(seen)
    assert not torch.allclose(made.train()(seen, torch.Generator().manual_seed(0)), calm, atol=1e-4)


def test_without_augmentation_training_sees_the_pictures_themselves() -> None:
    made, seen = encoder(shift_px=0), pictures()
    assert torch.equal(made(seen), made.train()(seen))


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["spatial_softmax", "attention"])
def test_training_adds_noise_of_its_size_to_features(pooling: str) -> None:
    """To each number of each picture for itself, also where the pictures are the same."""
    windows = 1000
    made = encoder(pooling, shift_px=0, noise=0.2)
    seen = pictures(rows=1).expand(windows, -1, -1, -1, -1)
    noise = (made.train()(seen, torch.Generator().manual_seed(0)) - made.eval()(seen)).flatten(1)
    assert noise.mean().abs() < 5 * 0.2 / noise.numel() ** 0.5
    assert noise.std() == pytest.approx(0.2, rel=5 / noise.numel() ** 0.5)
    assert (torch.corrcoef(noise.T) - torch.eye(noise.shape[1])).abs().max() < 5 / windows**0.5


def test_the_softmax_of_a_map_says_where_it_peaks() -> None:
    """A map with one high cell gives this cell's middle; two of them, the point between; a flat one, the centre."""
    pooling = SpatialSoftmax((4, 6, 10), 8)
    with torch.no_grad():
        pooling.look.maps.weight.copy_(torch.eye(4)[..., None, None])
        pooling.look.maps.bias.zero_()
    grid = torch.zeros(1, 4, 6, 10)
    grid[0, 0, 0, 0] = grid[0, 1, 5, 9] = grid[0, 2, 2, 3] = grid[0, 2, 4, 3] = 10
    points = pooling(grid, torch.zeros(1, 2)).view(4, 2)
    expected = torch.tensor([[-0.9, -5 / 6], [0.9, 5 / 6], [-0.3, 1 / 6], [0, 0]])  # x, y
    torch.testing.assert_close(points, expected, rtol=0, atol=1e-5)


def test_a_sharper_softmax_comes_closer_to_the_peak() -> None:
    pooling, grid = SpatialSoftmax((1, 5, 5), 2), torch.zeros(1, 1, 5, 5)
    grid[..., 4, 0] = 0.1
    distances = []
    for log_sharpness in (0.0, 2.0, 4.0):
        with torch.no_grad():
            pooling.look.maps.weight.fill_(1)
            pooling.look.log_sharpness.fill_(log_sharpness)
        distances.append(float((pooling(grid, torch.zeros(1, 2)) - torch.tensor([[-0.8, 0.8]])).norm().detach()))
    assert distances[0] > distances[1] > distances[2]
    assert distances[2] < 0.5 * distances[0]


@pytest.mark.parametrize("crop_px", [None, (20, 16)])
def test_places_are_told_in_the_whole_picture(crop_px: tuple[int, int] | None) -> None:
    """A spot that the network finds is where it is in the picture, whatever part of it training shows the network."""
    torch.manual_seed(0)
    config = ImageEncoderConfig(trunk=TRUNK, features=2, shift_px=2, crop_px=crop_px)
    made = ImageEncoder(config, (24, 24, 3))
    made.trunk = nn.AvgPool2d(4, 4)
    with torch.no_grad():
        made.pooling.look.maps.weight = nn.Parameter(torch.ones(1, 3, 1, 1))
        made.pooling.look.log_sharpness.fill_(2)
    seen = torch.zeros(40, 1, 24, 24, 3, dtype=torch.uint8)
    seen[:, :, 8:12, 12:16] = 255
    expected = torch.tensor([(14 - 12) / 12, (10 - 12) / 12])  # x, y of the spot's middle
    found = made.train()(seen, torch.Generator().manual_seed(0))[:, 0]
    assert (found - expected).abs().max() < 2.1 / 12  # the middle of the cell that has most of it
    torch.testing.assert_close(found.mean(0), expected, rtol=0, atol=0.7 / 12)
    torch.testing.assert_close(made.eval()(seen)[0, 0], expected, rtol=0, atol=2.1 / 12)


def test_it_learns_where_things_are_to_a_fraction_of_a_cell() -> None:
    """A dot somewhere in the picture: after a few updates the encoder says where, better than its grid of 4 px could."""
    torch.manual_seed(0)
    made = ImageEncoder(ImageEncoderConfig(trunk=TRUNK, features=8, shift_px=0), (24, 24, 3)).train()
    head = nn.Linear(8, 2)
    optimizer = torch.optim.AdamW([*made.parameters(), *head.parameters()], lr=1e-2)
    corner = torch.randint(0, 21, (600, 2))  # x, y
    reach = torch.arange(24)
    rows, columns = ((reach >= c[:, None]) & (reach < c[:, None] + 4) for c in (corner[:, 1], corner[:, 0]))
    seen = 255 * (rows[:, :, None] & columns[:, None, :])[:, None, ..., None].expand(-1, -1, -1, -1, 3).to(torch.uint8)
    place = (corner + 2) / 12 - 1
    for step in range(80):
        part = slice(64 * (step % 8), 64 * (step % 8) + 64)
        (head(made(seen[part])[:, 0]) - place[part]).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        off_px = 12 * (head(made.eval()(seen[512:])[:, 0]) - place[512:]).abs().mean()
    assert off_px < 1


def test_attention_knows_where_it_finds() -> None:
    """The same cells in another order are another picture."""
    torch.manual_seed(0)
    pooling, grid = AttentionPooling((8, 3, 4), 6), torch.randn(2, 8, 3, 4)
    middle = torch.zeros(2, 2)
    assert not torch.allclose(pooling(grid, middle), pooling(grid.flip(-1), middle), atol=1e-3)


def test_the_default_is_small_enough_for_a_cpu() -> None:
    made = ImageEncoder(ImageEncoderConfig(), (96, 96, 3)).eval()
    with FlopCounterMode(display=False) as counter:
        made(pictures(1, 1, (96, 96, 3)))
    assert counter.get_total_flops() < 60e6
    assert sum(parameter.numel() for parameter in made.parameters()) < 200_000
