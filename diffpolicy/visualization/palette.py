"""One palette for all frames of a GIF.

A palette per frame makes still areas change from frame to frame, and dithering makes them crawl. Here every colour is
mapped by one table, so a pixel that does not change in the frames does not change in the GIF.
"""

import numpy as np
from jaxtyping import Float64, UInt8
from PIL import Image

# One of the 256 places stays free: the writer uses it for "as in the frame before", which keeps files small.
_COLOURS = 255
# So many of the commonest colours are kept exactly: flat grounds, blocks and type must not drift.
_EXACT = 40
_LLOYD_ROUNDS = 8
_CELLS = 64**3


class SharedPalette:
    """Collects the colours of all frames, then maps frames to one palette without dithering."""

    def __init__(self) -> None:
        self._seen = np.zeros(_CELLS, dtype=bool)
        self._counts: dict[int, int] = {}

    def see(self, frame: UInt8[np.ndarray, "height width 3"]) -> None:
        """Takes note of a frame's colours."""
        self._seen[_cells(frame)] = True
        # Every third pixel tells the shares well enough, at a third of the time.
        sample = frame.reshape(-1, 3)[::3].astype(np.uint32)
        colours, counts = np.unique(sample @ np.array([65536, 256, 1], dtype=np.uint32), return_counts=True)
        for colour, count in zip(colours.tolist(), counts.tolist(), strict=True):
            self._counts[colour] = self._counts.get(colour, 0) + count

    def settle(self) -> None:
        """Chooses the palette and the table from the colours seen so far."""
        packed = np.fromiter(self._counts.keys(), dtype=np.uint32)
        counts = np.fromiter(self._counts.values(), dtype=np.float64)
        order = np.argsort(-counts, kind="stable")
        packed, counts = packed[order], counts[order]
        colours = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=-1).astype(np.uint8)
        exact = colours[:_EXACT]
        others = _clustered(colours[_EXACT:], counts[_EXACT:], _COLOURS - len(exact))
        self._palette = np.concatenate([exact, others])

        self._table = np.zeros(_CELLS, dtype=np.uint8)
        cells = np.flatnonzero(self._seen)
        centres = 4.0 * np.stack([cells >> 12, cells >> 6 & 63, cells & 63], axis=-1) + 1.5
        self._table[cells] = _nearest(centres, self._palette)
        # Rarest first, so that the commonest colour of a cell has the last word.
        self._table[_cells(exact[::-1])] = np.arange(len(exact))[::-1]

    def indexed(self, frame: UInt8[np.ndarray, "height width 3"]) -> Image.Image:
        """Returns the frame in the palette's colours."""
        image = Image.fromarray(self._table[_cells(frame)])
        image.putpalette(self._palette.tobytes(), "RGB")
        return image


def _cells(colours: UInt8[np.ndarray, "*batch 3"]) -> np.ndarray:
    """Returns the number of the colour's cell: six bits a channel."""
    wide = (colours >> 2).astype(np.int32)
    return (wide[..., 0] << 12) | (wide[..., 1] << 6) | wide[..., 2]


def _clustered(
    colours: UInt8[np.ndarray, "colours 3"], counts: Float64[np.ndarray, "colours"], size: int
) -> UInt8[np.ndarray, "palette 3"]:
    """Returns at most `size` colours that stand for all: median cut, then Lloyd's k-means on the cells.

    Median cut alone halves by numbers of pixels and dulls the ends of the colour map.
    """
    if len(colours) <= size:
        return colours
    _, inverse = np.unique(_cells(colours), return_inverse=True)
    pixels = np.bincount(inverse, weights=counts)
    means = np.stack([np.bincount(inverse, weights=counts * channel) / pixels for channel in colours.T], axis=-1)
    # Roots: thin coloured lines are few pixels, but they are what the picture is about.
    weights = np.cbrt(pixels)
    start = Image.fromarray(np.repeat(means.round().astype(np.uint8), np.ceil(weights).astype(int), axis=0)[None])
    palette = start.quantize(size, method=Image.Quantize.MEDIANCUT).getpalette()
    entries = np.array(palette, dtype=np.float64).reshape(-1, 3)[:size]
    for _ in range(_LLOYD_ROUNDS):
        nearest = _nearest(means, entries)
        share = np.bincount(nearest, weights=weights, minlength=len(entries))
        sums = [np.bincount(nearest, weights=weights * channel, minlength=len(entries)) for channel in means.T]
        entries = np.where(share[:, None] > 0, np.stack(sums, axis=-1) / np.maximum(share, 1e-9)[:, None], entries)
    return entries.round().astype(np.uint8)


def _nearest(points: np.ndarray, entries: np.ndarray) -> np.ndarray:
    """Returns the index of the nearest entry for every point."""
    entries = entries.astype(np.float32)
    squares = (entries**2).sum(-1)
    nearest = np.empty(len(points), dtype=np.int64)
    for part in np.array_split(np.arange(len(points)), max(1, len(points) // 4096)):
        # |p - e|^2 without |p|^2, which does not change the order.
        nearest[part] = (squares - 2 * points[part].astype(np.float32) @ entries.T).argmin(-1)
    return nearest
