"""The score of an episode below its film: time, coverage now and best so far, and the curve up to now.

Every film of an episode has it, so that they are read alike.
"""

import numpy as np
from jaxtyping import Float, Int

from diffpolicy.visualization.checks import Number, checked_numbers, checked_positive
from diffpolicy.visualization.style import ACCENT, HAIRLINE, INK, MUTED, PAGE, SUCCESS, Page

CAPTION_HEIGHT = 100
_CURVE_LEFT, _CURVE_TOP, _CURVE_HEIGHT = 380, 20, 62


class Caption:
    """A bar of a page; only its numbers, the curve and the marks on it change, and they tell only of the past.

    Args:
        page: The page to draw on.
        top: Upper edge of the bar in reference pixels; it is `CAPTION_HEIGHT` high, with `looks` some 20 more.
        width: Width of the bar, from the page's left edge.
        coverage: Covered share of the goal, 0 to 1, at each moment.
        success_coverage: Coverage above which the episode counts as solved.
        period_s: Time between two moments.
        looks: Moments to mark on the curve, at which a plan was made; with them the curve also gets an axis.

    Raises:
        ValueError: If `coverage` has the wrong shape, holds NaN or leaves 0 to 1, or `period_s` is not above 0.
    """

    def __init__(
        self,
        page: Page,
        top: Number,
        width: Number,
        coverage: Float[np.ndarray, "moments"],
        *,
        success_coverage: Number,
        period_s: Number,
        looks: Int[np.ndarray, "looks"] | None = None,
    ) -> None:
        values = checked_numbers("coverage", coverage, ("moments",))
        if values.min() < -1e-6 or values.max() > 1 + 1e-6:
            raise ValueError(f"coverage: expected shares from 0 to 1, found {values.min():g} to {values.max():g}")
        self._coverage = np.clip(values, 0.0, 1.0)
        self._best = np.maximum.accumulate(self._coverage)
        self._threshold = success_coverage
        self._times_s = np.arange(len(values)) * checked_positive("period_s", period_s)
        self._looks = looks

        page.text(24, top + 30, "time", 10.5, colour=MUTED)
        page.text(160, top + 30, "coverage", 10.5, colour=MUTED)
        page.text(268, top + 30, "best", 10.5, colour=MUTED)
        self._time = page.text(24, top + 58, "", 17, weight="bold")
        self._step = page.text(24, top + 82, "", 10.5, colour=MUTED)
        self._now = page.text(160, top + 58, "", 17, weight="bold")
        self._best_text = page.text(268, top + 58, "", 17, weight="bold")
        self._flag = page.text(160, top + 83, "", 12, colour=SUCCESS, weight="bold")

        curve_width, curve_top = width - _CURVE_LEFT - 60, top + _CURVE_TOP
        curve = page.axes(_CURVE_LEFT, curve_top, curve_width, _CURVE_HEIGHT)
        last_s = max(self._times_s[-1], period_s)
        curve.set_xlim(0, last_s)
        curve.set_ylim(0, 1.0)
        curve.axhline(0.0, color=HAIRLINE, linewidth=2)
        curve.axhline(success_coverage, color=SUCCESS, linewidth=1.2, linestyle=(0, (4, 3)))
        right, bottom = width - 52, curve_top + _CURVE_HEIGHT + 4
        threshold_y = curve_top + _CURVE_HEIGHT * (1 - success_coverage) + 4
        page.text(right, threshold_y, f"{success_coverage:.0%}", 10, colour=SUCCESS)
        page.text(right, bottom, "0%", 10, colour=MUTED)
        self._area = curve.fill_between([0.0], [0.0], color=ACCENT, alpha=0.14, linewidth=0)
        (self._line,) = curve.plot([], [], color=ACCENT, linewidth=2, clip_on=False)
        (self._marks,) = curve.plot([], [], "|", color=INK, markersize=9, markeredgewidth=1.3, clip_on=False)
        (self._dot,) = curve.plot(
            [], [], "o", color=ACCENT, markersize=7, markeredgecolor=PAGE, markeredgewidth=1.2, clip_on=False
        )
        page.animate(
            [
                *(self._time, self._step, self._now, self._best_text, self._flag),
                *(self._area, self._line, self._marks, self._dot),
            ]
        )
        if looks is not None:
            step_s = next(s for s in (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, last_s) if last_s / s <= 9)
            for tick_s in np.arange(0.0, last_s + 1e-9, step_s):
                x = _CURVE_LEFT + curve_width * tick_s / last_s
                page.text(x, bottom + 18, f"{tick_s:g}", 10, colour=MUTED, ha="center")
            words = "coverage over time (s)  ·  |  it looked, and made a new plan"
            page.text(_CURVE_LEFT + curve_width / 2, bottom + 37, words, 11, ha="center")

    def show(self, moment: int) -> None:
        """Tells what is known at a moment of the episode."""
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
        if self._looks is not None:
            looked_s = self._times_s[self._looks[self._looks <= moment]]
            self._marks.set_data(looked_s, 0 * looked_s)
