"""Words and smooth shapes on a picture, in units of a layout that grows with it.

OpenCV draws shapes with smooth edges but has no type worth reading; Pillow has the type. This joins them.
"""

from functools import lru_cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
#: Where shapes are checked at run time, an int is no float.
Number = int | float

INK: Final = (31, 36, 48)
LINE_HEIGHT: Final = 20
# OpenCV draws to 1/16 of a pixel when coordinates carry four fractional bits.
_FRACTION_BITS: Final = 4
_CORNER_STEP_DEGREES: Final = 10


class Sheet:
    """Shapes are drawn at once, words over all of them when the sheet is finished.

    Positions and sizes are in units of the layout, from the sheet's top left corner.

    Args:
        picture: What to draw on (RGB); it is changed.
        zoom: Pixels to a unit.
    """

    def __init__(self, picture: UInt8[np.ndarray, "height width 3"], zoom: Number) -> None:
        self._picture, self._zoom = picture, zoom
        self._words: list[tuple[Number, Number, str, Number, Colour, bool, str]] = []

    def finished(self) -> UInt8[np.ndarray, "height width 3"]:
        """Returns a new picture with everything on it."""
        image = Image.fromarray(self._picture)
        draw = ImageDraw.Draw(image)
        for x, y, words, size, colour, bold, anchor in self._words:
            draw.text((x * self._zoom, y * self._zoom), words, colour, self._font(size, bold), anchor)
        return np.array(image)

    def text(
        self,
        x: Number,
        y: Number,
        words: str,
        size: Number,
        colour: Colour = INK,
        *,
        bold: bool = False,
        anchor: str = "la",
    ) -> None:
        """Writes one line; the anchor is Pillow's: "la" puts its top left corner at (x, y), "mm" its middle."""
        self._words.append((x, y, words, size, colour, bold, anchor))

    def paragraph(self, x: Number, y: Number, width: Number, words: str, size: Number, colour: Colour = INK) -> None:
        """Writes as many lines as are needed to stay within a width."""
        line = ""
        for word in words.split():
            longer = f"{line} {word}".strip()
            if line and self.length(longer, size) > width:
                self.text(x, y, line, size, colour)
                y, longer = y + LINE_HEIGHT, word
            line = longer
        self.text(x, y, line, size, colour)

    def end_of(self, words: str, width: Number, size: Number) -> str:
        """Returns a text, or as much of its end as a width has room for: of a path that says most."""
        shown = words
        while words and self.length(shown, size) > width:
            words = words[1:]
            shown = f"…{words}"
        return shown

    def length(self, words: str, size: Number, *, bold: bool = False) -> float:
        """Returns how wide a line is."""
        return self._font(size, bold).getlength(words) / self._zoom

    def box(self, left: Number, top: Number, right: Number, bottom: Number, radius: Number, colour: Colour) -> None:
        """Fills a rectangle with round corners."""
        corners = [(right, bottom, 0), (left, bottom, 90), (left, top, 180), (right, top, 270)]
        outline = []
        for x, y, start in corners:
            centre_x = x - radius if x == right else x + radius
            centre_y = y - radius if y == bottom else y + radius
            angles = np.radians(np.arange(start, start + 91, _CORNER_STEP_DEGREES))
            outline.append(np.stack((centre_x + radius * np.cos(angles), centre_y + radius * np.sin(angles)), axis=1))
        cv2.fillPoly(self._picture, [self._fixed(np.concatenate(outline))], colour, cv2.LINE_AA, _FRACTION_BITS)

    def disc(self, x: Number, y: Number, radius: Number, colour: Colour, width: Number | None = None) -> None:
        """Draws a disc, or a ring of a width."""
        centre = self._fixed(np.array((x, y))).tolist()
        thickness = cv2.FILLED if width is None else max(2, round(width * self._zoom))
        reach = round(radius * self._zoom * 2**_FRACTION_BITS)
        cv2.circle(self._picture, centre, reach, colour, thickness, cv2.LINE_AA, _FRACTION_BITS)

    def bar(self, left: Number, top: Number, right: Number, bottom: Number, colour: Colour) -> None:
        """Fills a rectangle of whole pixels, at least one of them wide and high: straight lines stay crisp."""
        x, y, end_x, end_y = (round(at * self._zoom) for at in (left, top, right, bottom))
        self._picture[y : max(end_y, y + 1), x : max(end_x, x + 1)] = colour

    def _fixed(self, points: np.ndarray) -> np.ndarray:
        return np.round((points * self._zoom - 0.5) * 2**_FRACTION_BITS).astype(np.int32)

    def _font(self, size: Number, bold: bool) -> ImageFont.FreeTypeFont:
        return _font(round(size * self._zoom), bold)


@lru_cache(maxsize=64)
def _font(size_px: int, bold: bool) -> ImageFont.FreeTypeFont:
    # matplotlib brings its type along, so words look the same on every machine; imported late, for it takes a while.
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size_px)
