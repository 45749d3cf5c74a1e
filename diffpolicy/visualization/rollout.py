"""Frames of a rollout film: the world as it was seen, with the score of the moment in a slim bar below."""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from diffpolicy.visualization.checks import Number, checked_numbers, checked_picture, checked_positive
from diffpolicy.visualization.style import ACCENT, HAIRLINE, INK, MUTED, PAGE, SUCCESS, Page

_WIDTH, _BAR_HEIGHT = 640, 100


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
    values = checked_numbers("coverage", coverage, ("moments",))
    if values.min() < -1e-6 or values.max() > 1 + 1e-6:
        raise ValueError(f"coverage: expected shares from 0 to 1, found {values.min():g} to {values.max():g}")
    checked_positive("period_s", period_s)
    caption = _Caption(np.clip(values, 0.0, 1.0), success_coverage, period_s, width_px)

    def drawn() -> Iterator[UInt8[np.ndarray, "frame_height frame_width 3"]]:
        moment = -1
        for moment, scene in enumerate(scenes):
            if moment == len(values):
                raise ValueError(f"scenes: expected {len(values)}, one per value of coverage, found more")
            yield np.concatenate([_resized(checked_picture("scenes", scene), width_px), caption.picture(moment)])
        if moment + 1 < len(values):
            raise ValueError(f"scenes: expected {len(values)}, one per value of coverage, found {moment + 1}")

    return drawn()


class _Caption:
    """The bar below the scene; only its numbers and the curve change."""

    def __init__(
        self, coverage: Float[np.ndarray, "moments"], success_coverage: Number, period_s: Number, width_px: int
    ) -> None:
        self._coverage, self._best = coverage, np.maximum.accumulate(coverage)
        self._threshold, self._period_s = success_coverage, period_s
        self._page = page = Page(_WIDTH, _BAR_HEIGHT, width_px)
        self._times_s = np.arange(len(coverage)) * period_s
        rule = page.axes(0, 0, _WIDTH, 1)
        rule.axhline(0.5, color=HAIRLINE, linewidth=1.5)

        page.text(24, 30, "time", 10.5, colour=MUTED)
        page.text(160, 30, "coverage", 10.5, colour=MUTED)
        page.text(268, 30, "best", 10.5, colour=MUTED)
        self._time = page.text(24, 58, "", 17, weight="bold")
        self._step = page.text(24, 82, "", 10.5, colour=MUTED)
        self._now = page.text(160, 58, "", 17, weight="bold")
        self._best_text = page.text(268, 58, "", 17, weight="bold")
        self._flag = page.text(160, 83, "", 12, colour=SUCCESS, weight="bold")

        self._curve = curve = page.axes(380, 20, 200, 62)
        last_s = max(self._times_s[-1], period_s)
        curve.set_xlim(0, last_s)
        curve.set_ylim(0, 1.0)
        curve.axhline(0.0, color=HAIRLINE, linewidth=2)
        curve.axhline(success_coverage, color=SUCCESS, linewidth=1.2, linestyle=(0, (4, 3)))
        page.text(588, 20 + 62 * (1 - success_coverage) + 4, f"{success_coverage:.0%}", 10, colour=SUCCESS)
        page.text(588, 86, "0%", 10, colour=MUTED)
        self._area = curve.fill_between([0.0], [0.0], color=ACCENT, alpha=0.14, linewidth=0)
        (self._line,) = curve.plot([], [], color=ACCENT, linewidth=2, clip_on=False)
        (self._dot,) = curve.plot(
            [], [], "o", color=ACCENT, markersize=7, markeredgecolor=PAGE, markeredgewidth=1.2, clip_on=False
        )
        page.animate(
            [self._time, self._step, self._now, self._best_text, self._flag, self._area, self._line, self._dot]
        )

    def picture(self, moment: int) -> UInt8[np.ndarray, "bar_height bar_width 3"]:
        now, best = self._coverage[moment], self._best[moment]
        solved = best > self._threshold
        self._time.set_text(f"{self._times_s[moment]:.1f} s")
        self._step.set_text(f"step {moment} of {len(self._coverage) - 1}")
        # Rounded down: 95.0% must not be read where the threshold was missed.
        self._now.set_text(f"{np.floor(now * 1000) / 10:.1f}%")
        self._best_text.set_text(f"{np.floor(best * 1000) / 10:.1f}%")
        self._flag.set_text("\u2713 success" if solved else "")
        self._now.set_color(SUCCESS if now > self._threshold else INK)
        times_s, values = self._times_s[: moment + 1], self._coverage[: moment + 1]
        self._line.set_data(times_s, values)
        self._area.set_verts([np.column_stack([[*times_s, times_s[-1], 0.0], [*values, 0.0, 0.0]])])
        self._dot.set_data(times_s[-1:], values[-1:])
        return self._page.picture()


def _resized(scene: UInt8[np.ndarray, "height width 3"], width_px: int) -> UInt8[np.ndarray, "new_height new_width 3"]:
    height, width = scene.shape[:2]
    new_height = max(2, 2 * round(height * width_px / width / 2))
    if (new_height, width_px) == (height, width):
        return scene
    smaller = width_px < width
    return cv2.resize(scene, (width_px, new_height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
