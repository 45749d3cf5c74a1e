"""How strongly each action of a plan is drawn: one look for the pictures of plans and the page that moves them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from diffpolicy.visualization.style import time_colours

# Segments shorter than this share of the workspace's side are drawn at full strength, longer ones fade.
SHORT = 0.09


@dataclass(frozen=True)
class Strokes:
    """How the actions of one plan among many are drawn.

    Attributes:
        point_colours: RGBA of every action, 0 to 1; what will be executed is more opaque, and so are few samples.
        line_colours: RGBA of the line from every action to the next.
        point_widths: Diameters in points at the reference size of a panel.
        line_widths: Likewise.
    """

    point_colours: Float[np.ndarray, "horizon 4"]
    line_colours: Float[np.ndarray, "horizon-1 4"]
    point_widths: Float[np.ndarray, "horizon"]
    line_widths: Float[np.ndarray, "horizon-1"]

    @classmethod
    def of(cls, samples: int, horizon: int, executed: range) -> "Strokes":
        """Returns the strokes of `samples` plans of `horizon` actions; all count as executed when none are marked."""
        strong = np.isin(np.arange(horizon), executed) if executed else np.ones(horizon, dtype=bool)
        strong_between = strong[1:] & strong[:-1]
        opacity = float(np.clip(4.8 / np.sqrt(samples), 0.12, 0.95))
        colours = time_colours(horizon)
        between = 0.5 * (colours[1:] + colours[:-1])
        colours[:, 3] = np.where(strong, 1.0, 0.7) * min(1.0, 1.3 * opacity)
        between[:, 3] = np.where(strong_between, 1.0, 0.7) * opacity
        return cls(colours, between, np.sqrt(np.where(strong, 15.0, 7.0)), np.where(strong_between, 1.9, 1.2))


def line_strength(length: Float[np.ndarray, "segments"], samples: int) -> Float[np.ndarray, "segments"]:
    """Returns the opacity of segments, 0 to 1, by their length in short segments.

    In noise, neighbours in time lie far apart, and the lines of many samples would black out everything. There, lines
    thin out as they grow and vanish at about 3.7 times the short length: a cloud of points is left, from which the
    plans condense. One sample alone keeps all its lines, few samples most.
    """
    share = np.minimum(1.0, 1.0 / np.maximum(length, 1e-9)) ** 1.5
    thinned = np.maximum(0.0, 1.16 * share - 0.16)
    crowd = min(1.0, np.log(samples) / np.log(16))
    return 1.0 - crowd * (1.0 - thinned)
