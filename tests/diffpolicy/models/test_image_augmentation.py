"""What training does to pictures is what the formulas say, picture by picture, and the same for all of a window."""

import pytest
import torch
from torch import Tensor

from diffpolicy.models.augment import centre_crop, jitter_colours, random_crop

LUMA = (0.299, 0.587, 0.114)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(windows: int = 5, steps: int = 2, height: int = 12, width: int = 9) -> Tensor:
    return torch.randint(0, 256, (windows, steps, height, width, 3), dtype=torch.uint8, generator=seeded(1))


def numbered(windows: int, height: int, width: int) -> Tensor:
    """Pictures whose red and green are the row and the column of each pixel."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    one = torch.stack([rows, columns, torch.zeros_like(rows)], dim=-1).to(torch.uint8)
    return one.expand(windows, 1, -1, -1, -1)


@pytest.mark.parametrize(("size", "shift"), [((12, 9), 3), ((8, 9), 0), ((8, 6), 2), ((12, 9), 0), ((1, 1), 20)])
def test_a_crop_is_a_part_of_the_padded_picture(size: tuple[int, int], shift: int) -> None:
    """Beside the same cut made one by one, where the numbers in the picture say that it was made."""
    both = torch.cat([numbered(5, 12, 9), pictures(5, 1)], dim=1)
    found, corners = random_crop(both, size, shift, seeded())
    assert found.shape == (5, 2, *size, 3)
    assert found.dtype == torch.uint8
    padded = torch.nn.functional.pad(
        both.flatten(0, 1).permute(0, 3, 1, 2).float(), (shift, shift, shift, shift), mode="replicate"
    )
    padded = padded.permute(0, 2, 3, 1).to(torch.uint8).unflatten(0, (5, 2))
    tops, lefts = range(12 + 2 * shift - size[0] + 1), range(9 + 2 * shift - size[1] + 1)
    for window in range(5):
        x, y = (corners[window] + shift).tolist()
        assert y in tops
        assert x in lefts
        assert torch.equal(found[window], padded[window, :, y : y + size[0], x : x + size[1]])


def test_every_place_is_drawn_and_alike_often() -> None:
    shift, windows = 2, 20_000
    corner = random_crop(numbered(windows, 12, 9)[:, :, 3:9, 3:9], (6, 6), shift, seeded())[0][:, 0, 2, 2].long() - 5
    moves, counts = corner[:, :2].unique(dim=0, return_counts=True)
    assert moves.tolist() == [[y, x] for y in range(-2, 3) for x in range(-2, 3)]
    share = counts / windows
    assert ((share - 1 / 25).abs() < 5 * (1 / 25 / windows) ** 0.5).all()


@pytest.mark.parametrize("name", ["crop", "colours"])
def test_all_pictures_of_a_window_get_the_same(name: str) -> None:
    one = pictures(windows=30, steps=1)
    same = one.expand(-1, 3, -1, -1, -1)
    if name == "crop":
        changed = random_crop(same, (12, 9), 4, seeded())[0].float()
    else:
        changed = jitter_colours(same.float(), 0.5, seeded())
    assert torch.equal(changed, changed[:, :1].expand_as(changed))
    assert not torch.equal(changed, same.float())


@pytest.mark.parametrize("name", ["crop", "colours"])
def test_windows_differ_and_the_generator_decides(name: str) -> None:
    same = pictures(windows=1).expand(40, -1, -1, -1, -1)

    def change(seed: int) -> Tensor:
        if name == "crop":
            return random_crop(same, (12, 9), 4, seeded(seed))[0].float()
        return jitter_colours(same.float(), 0.5, seeded(seed))

    assert torch.equal(change(1), change(1))
    assert not torch.equal(change(1), change(2))
    assert len(change(1).flatten(1).unique(dim=0)) > 20


def test_the_middle_of_a_picture() -> None:
    parts, corners = centre_crop(numbered(2, 12, 9), (8, 6))
    assert corners.tolist() == [[1, 2]] * 2
    found = parts[0, 0]
    assert found[0, 0, :2].tolist() == [2, 1]
    assert found[-1, -1, :2].tolist() == [9, 6]
    assert torch.equal(centre_crop(pictures(), (12, 9))[0], pictures())


def test_colours_are_changed_by_saturation_then_contrast_then_brightness() -> None:
    """By hand, window by window, with the generator's factors."""
    light = pictures().float()
    found = jitter_colours(light, 0.4, seeded())
    factors = 1 + 0.4 * (2 * torch.rand(3, 5, 1, 1, 1, 1, generator=seeded()) - 1)
    for window in range(5):
        saturation, contrast, brightness = (float(factor) for factor in factors[:, window].flatten())
        expected = light[window].double()
        grey = (expected @ torch.tensor(LUMA, dtype=torch.float64))[..., None]
        expected = torch.lerp(grey.expand_as(expected), expected, saturation)
        mean = (expected @ torch.tensor(LUMA, dtype=torch.float64)).mean()
        expected = torch.lerp(mean.expand_as(expected), expected, contrast)
        torch.testing.assert_close(found[window].double(), brightness * expected, rtol=1e-4, atol=1e-3)
    assert ((factors >= 0.6) & (factors <= 1.4)).all()


def test_no_strength_changes_nothing() -> None:
    light = pictures().float()
    torch.testing.assert_close(jitter_colours(light, 0.0, seeded()), light, rtol=1e-5, atol=1e-3)


def test_grey_stays_grey_and_black_black() -> None:
    grey = pictures()[..., :1].expand(-1, -1, -1, -1, 3).float()
    found = jitter_colours(grey, 0.5, seeded())
    torch.testing.assert_close(found, found[..., :1].expand_as(found), rtol=1e-4, atol=1e-3)
    assert (jitter_colours(torch.zeros(2, 1, 3, 3, 3), 0.5, seeded()) == 0).all()
