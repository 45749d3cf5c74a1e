"""Frames of a rollout film: the world as it was seen, with the score of the moment in a slim bar below."""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from diffpolicy.visualization.caption import CAPTION_HEIGHT, Caption
from diffpolicy.visualization.checks import Number, checked_picture
from diffpolicy.visualization.style import HAIRLINE, Page

_WIDTH = 640


def rollout_frames(
    scenes: Iterable[UInt8[np.ndarray, "height width 3"]],
    coverage: Float[np.ndarray, "moments"],
    *,
    success_coverage: Number = 0.95,
    period_s: Number = 0.1,
    width_px: int = 640,
) -> Iterator[UInt8[np.ndarray, "frame_height frame_width 3"]]:
    """Draws each scene with a caption: step, time, coverage now and best so far, success, and the curve up to now.

    Args:
        scenes: One RGB picture per moment, the first after the reset; all of one size. May be a generator.
        coverage: Covered share of the goal, 0 to 1, at the same moments.
        success_coverage: Coverage above which the episode counts as solved.
        period_s: Time between two moments.
        width_px: Width of a frame; scenes are resized to it.

    Returns:
        An iterator of equal-sized RGB frames, one per scene. `coverage` is checked at once.

    Raises:
        ValueError: If `coverage` has the wrong shape, holds NaN or leaves 0 to 1, a scene is not a picture, or there
            are fewer or more scenes than values of coverage.
    """
    page = Page(_WIDTH, CAPTION_HEIGHT, width_px)
    rule = page.axes(0, 0, _WIDTH, 1)
    rule.axhline(0.5, color=HAIRLINE, linewidth=1.5)
    caption = Caption(page, 0, _WIDTH, coverage, success_coverage=success_coverage, period_s=period_s)
    moments = len(coverage)

    def drawn() -> Iterator[UInt8[np.ndarray, "frame_height frame_width 3"]]:
        moment = -1
        for moment, scene in enumerate(scenes):
            if moment == moments:
                raise ValueError(f"scenes: expected {moments}, one per value of coverage, found more")
            caption.show(moment)
            yield np.concatenate([_resized(checked_picture("scenes", scene), width_px), page.picture()])
        if moment + 1 < moments:
            raise ValueError(f"scenes: expected {moments}, one per value of coverage, found {moment + 1}")

    return drawn()


def _resized(scene: UInt8[np.ndarray, "height width 3"], width_px: int) -> UInt8[np.ndarray, "new_height new_width 3"]:
    height, width = scene.shape[:2]
    new_height = max(2, 2 * round(height * width_px / width / 2))
    if (new_height, width_px) == (height, width):
        return scene
    smaller = width_px < width
    return cv2.resize(scene, (width_px, new_height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
