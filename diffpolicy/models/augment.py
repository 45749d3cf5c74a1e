"""What training does to pictures, in tensor operations over whole batches, on whatever device they are.

All pictures of a window get the same: between them lies one control step, in which things move by a few pixels. Were each
shifted by itself, that motion would drown in shifts, and nothing could be learned of velocities.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor


def random_crop(
    pictures: UInt8[Tensor, "windows steps height width 3"],
    size_px: tuple[int, int],
    shift_px: int,
    generator: torch.Generator | None,
) -> tuple[UInt8[Tensor, "windows steps rows columns 3"], Int[Tensor, "windows 2"]]:
    """Cut a part out of the pictures, at a place drawn for each window.

    With the size of the pictures themselves it is the shift of DrQ (Kostrikov et al. 2021): padded, then cut.

    Args:
        pictures: Windows of pictures.
        size_px: Height and width of the part, at most those of the pictures.
        shift_px: How far the part may lie beyond the picture's edge, where the edge is repeated.
        generator: The source of the places, on the pictures' device; torch's global one when None.

    Returns:
        The parts, and where their upper left corners lay in the pictures: column, then row.
    """
    windows, steps, height, width, _ = pictures.shape
    top = _places(windows, height, size_px[0], shift_px, generator, pictures.device)
    left = _places(windows, width, size_px[1], shift_px, generator, pictures.device)
    rows, columns = _along(top, size_px[0], height), _along(left, size_px[1], width)
    # Whole rows first, then bytes within them: ten times as fast on a CPU as one index of rows and columns.
    first = height * torch.arange(windows * steps, device=pictures.device).view(windows, steps, 1)
    lines = pictures.reshape(-1, 3 * width).index_select(0, (first + rows[:, None]).flatten())
    numbers = (3 * columns[..., None] + torch.arange(3, device=pictures.device)).flatten(1)
    lines = lines.view(windows, steps, size_px[0], 3 * width)
    parts = lines.gather(3, numbers[:, None, None].expand(-1, steps, size_px[0], -1)).unflatten(3, (size_px[1], 3))
    return parts, torch.cat([left, top], dim=1)


def centre_crop(
    pictures: UInt8[Tensor, "windows steps height width 3"], size_px: tuple[int, int]
) -> tuple[UInt8[Tensor, "windows steps rows columns 3"], Int[Tensor, "windows 2"]]:
    """The part in the middle, a view: what a policy in use sees; and where its corners lay, as `random_crop` says it."""
    top, left = ((whole - part) // 2 for whole, part in zip(pictures.shape[2:4], size_px, strict=True))
    # Filled, not sent: sending two numbers to a device would wait for it. `len` would be a constant in an exported program.
    corners = [torch.full((pictures.shape[0], 1), start, device=pictures.device) for start in (left, top)]
    return pictures[:, :, top : top + size_px[0], left : left + size_px[1]], torch.cat(corners, dim=1)


def jitter_colours(
    light: Float[Tensor, "windows steps height width 3"], strength: float, generator: torch.Generator | None
) -> Float[Tensor, "windows steps height width 3"]:
    """Multiply saturation, contrast and brightness of each window by factors drawn from 1 - strength to 1 + strength.

    Args:
        light: Red, green and blue; 0 is black. Results may be brighter than white.
        strength: In [0, 1).
        generator: As for `random_crop`.
    """
    draws = torch.rand(3, len(light), 1, 1, 1, 1, generator=generator, device=light.device)
    saturation, contrast, brightness = 1 + strength * (2 * draws - 1)
    # How bright colours look (ITU-R BT.601), as plain numbers: sending them in a tensor would wait for the device.
    red, green, blue = light.split(1, dim=-1)
    grey = 0.299 * red + 0.587 * green + 0.114 * blue
    mean = grey.mean(dim=(1, 2, 3, 4), keepdim=True)
    # Each step is linear, so that all three are one sum: towards grey, then towards the mean grey, then towards black.
    own, greys, level = contrast * saturation, contrast * (1 - saturation), (1 - contrast) * mean
    return torch.addcmul(brightness * (greys * grey + level), brightness * own, light)


def _places(
    windows: int, length: int, size: int, shift: int, generator: torch.Generator | None, device: torch.device
) -> Int[Tensor, "windows 1"]:
    """The first row (or column) of each window's part."""
    return torch.randint(length - size + 2 * shift + 1, (windows, 1), generator=generator, device=device) - shift


def _along(start: Int[Tensor, "windows 1"], size: int, length: int) -> Int[Tensor, "windows size"]:
    """The rows (or columns) from each start on; beyond an edge, the edge."""
    return (start + torch.arange(size, device=start.device)).clamp(0, length - 1)
