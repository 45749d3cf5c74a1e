"""One look for every picture: colours, type, and pages laid out in reference pixels.

Pages are drawn with matplotlib's Agg canvas and no global state, so pictures are the same on every machine (the font
ships with matplotlib) and can be drawn from several threads.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text

from diffpolicy.visualization.checks import Number

PAGE = "#ffffff"
INK = "#1f2430"
MUTED = "#6b7280"
HAIRLINE = "#d5d8de"
ACCENT = "#3b4cc0"
SUCCESS = "#14804a"

# Plasma is perceptually uniform and safe for colour-blind readers. Its yellow end vanishes on a light ground, so the
# map stops at orange; a stretch of a uniform map is uniform.
TIME_MAP = ListedColormap(colormaps["plasma"](np.linspace(0.0, 0.83, 256)), name="plan_time")

_REFERENCE_DPI = 100


def time_colours(horizon: int) -> Float[np.ndarray, "horizon 4"]:
    """Returns the RGBA colour, 0 to 1, of every action of a plan: the first dark blue, the last orange."""
    return np.asarray(TIME_MAP(np.linspace(0.0, 1.0, horizon)))


class Page:
    """A page of reference pixels, origin at the top left, whose still parts are drawn only once.

    Args:
        width: Width of the page in reference pixels.
        height: Height of the page in reference pixels.
        width_px: Width of the picture; the height follows. Lines and type grow with it.

    Raises:
        ValueError: If the picture would be less than a quarter of the reference size: its type could not be read.
    """

    def __init__(self, width: Number, height: Number, width_px: int) -> None:
        if width_px < width / 4:
            raise ValueError(f"width_px: expected at least {width / 4:.0f} for legible type, found {width_px}")
        # A whole even number of pixels: matplotlib would round down, and H.264 pads odd sizes.
        height_px = 2 * round(height * width_px / width / 2)
        dpi = _REFERENCE_DPI * width_px / width
        self._size = (width, height)
        self.figure = Figure(figsize=((width_px + 1e-6) / dpi, (height_px + 1e-6) / dpi), dpi=dpi, facecolor=PAGE)
        self._canvas = FigureCanvasAgg(self.figure)
        self._moving: list[Artist] = []
        self._still: object | None = None

    def axes(self, x: Number, y: Number, width: Number, height: Number) -> Axes:
        """Returns bare axes over a rectangle of the page, given by its top left corner and size."""
        page_width, page_height = self._size
        axes = self.figure.add_axes(
            (x / page_width, 1 - (y + height) / page_height, width / page_width, height / page_height)
        )
        axes.set_axis_off()
        return axes

    def text(
        self,
        x: Number,
        y: Number,
        words: str,
        points: Number,
        *,
        colour: str = INK,
        weight: str = "normal",
        ha: str = "left",
    ) -> Text:
        """Writes `words` with their baseline at (x, y); `ha` is left, center or right."""
        page_width, page_height = self._size
        return self.figure.text(
            x / page_width, 1 - y / page_height, words, color=colour, ha=ha, fontproperties=type_of(points, weight)
        )

    def animate(self, artists: Sequence[Artist]) -> None:
        """Declares the artists that change between pictures; they are drawn in this order, above all others."""
        for artist in artists:
            artist.set_animated(True)
        self._moving.extend(artists)
        self._still = None

    def picture(self) -> UInt8[np.ndarray, "page_height page_width 3"]:
        """Draws the page."""
        if self._still is None:
            self._canvas.draw()
            self._still = self._canvas.copy_from_bbox(self.figure.bbox)
        self._canvas.restore_region(self._still)
        for artist in self._moving:
            self.figure.draw_artist(artist)
        return np.asarray(self._canvas.buffer_rgba())[..., :3].copy()


def type_of(points: Number, weight: str = "normal") -> FontProperties:
    """Returns the house's type at a size."""
    return FontProperties(family="DejaVu Sans", size=points, weight=weight)
