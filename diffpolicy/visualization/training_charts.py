"""How a training went, as sections of a page: losses, the learning rate, and the scores in closed loop on the way."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from diffpolicy_demos.pages.charts import chart
from diffpolicy_demos.pages.page import ACCENT, INK, SECOND, section
from jaxtyping import Float

from diffpolicy.visualization.checks import checked_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve = tuple[Float[np.ndarray, "points"], Float[np.ndarray, "points"]]
"""Steps of the training, and a quantity at each."""

_WIDE, _HALF = (1100, 330), (520, 300)
_TENFOLD = 10.0
_STEP = "training step"


def training_sections(
    curves: Mapping[str, Curve], success_interval: Float[np.ndarray, "scores 2"] | None = None, tuning: str = ""
) -> list[str]:
    """Draws what a training's log holds.

    Args:
        curves: By the names of `log.jsonl`: `loss`, `validation_loss`, `learning_rate`, `mean_score`, `success_rate`,
            `samples_per_s`; those that are missing are left out.
        success_interval: Where the success rate lies with 95%, fractions, one row for each of its points.
        tuning: What the scores in closed loop were measured on, for the reader.

    Returns:
        Sections for a page's grid, as HTML; none if there is nothing to draw.

    Raises:
        ValueError: If a curve is not two rows of finite numbers of one length.
    """
    known = {name: _checked(name, curve) for name, curve in curves.items()}
    losses: dict[str, Curve] = {name: known[name] for name in ("loss", "validation_loss") if name in known}
    scores: dict[str, Curve] = {name: known[name] for name in ("mean_score", "success_rate") if name in known}
    sections = []
    if losses:
        scale = " The axis is logarithmic." if _spans_decades(losses) else ""
        about = "Mean over the steps between two lines of the log" + (
            "; on the held-out episodes always with the same noise." if "validation_loss" in losses else "."
        )
        sections.append(section("Loss", _loss_chart(losses), about=about + scale))
    if scores:
        interval = (
            None if success_interval is None else checked_numbers("success_interval", success_interval, ("points", 2))
        )
        about = tuning + (" Bars: 95% intervals of the success rate." if interval is not None else "")
        sections.append(section("Score in closed loop", _score_chart(scores, interval), about=about, width="half"))
    if "learning_rate" in known:
        sections.append(section("Learning rate", _plain_chart(known["learning_rate"], "learning rate"), width="half"))
    if "samples_per_s" in known and not scores:
        speed = _plain_chart(known["samples_per_s"], "samples a second")
        sections.append(section("Speed", speed, about="Windows learned from, a second.", width="half"))
    return sections


def _loss_chart(losses: Mapping[str, Curve]) -> str:
    def draw(axes: "Axes") -> None:
        if "loss" in losses:
            axes.plot(*losses["loss"], color=ACCENT, linewidth=1.5, label="training", marker=_dot_alone(losses["loss"]))
        if "validation_loss" in losses:
            axes.plot(
                *losses["validation_loss"], color=SECOND, linewidth=1.5, marker="s", markersize=4.5, label="held out"
            )
        _place(axes, "loss", log=_spans_decades(losses))
        axes.legend(loc="upper right", ncols=2)

    return chart(*_WIDE, draw, "loss")


def _score_chart(scores: Mapping[str, Curve], interval: Float[np.ndarray, "scores 2"] | None) -> str:
    def draw(axes: "Axes") -> None:
        if "success_rate" in scores:
            steps, rate = scores["success_rate"]
            if interval is not None:
                below, above = np.maximum(rate - interval[:, 0], 0.0), np.maximum(interval[:, 1] - rate, 0.0)
                axes.errorbar(steps, rate, yerr=[below, above], fmt="none", ecolor=SECOND, elinewidth=1.2, capsize=3)
            axes.plot(steps, rate, color=SECOND, marker="s", markersize=5, label="success rate", linestyle="--")
        if "mean_score" in scores:
            axes.plot(*scores["mean_score"], color=ACCENT, marker="o", markersize=5.5, label="mean score")
        fractions = all((values >= 0).all() and (values <= 1).all() for _, values in scores.values())
        if fractions:
            axes.set_ylim(-0.02, 1.04)
        _place(axes, "share" if fractions else "score; share of successes")
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)  # above: scores may lie anywhere

    return chart(*_HALF, draw, "score in closed loop")


def _plain_chart(curve: Curve, label: str) -> str:
    def draw(axes: "Axes") -> None:
        axes.plot(*curve, color=INK, linewidth=1.6, marker=_dot_alone(curve))
        _place(axes, label)
        if (curve[1] >= 0).all():
            axes.set_ylim(bottom=0)

    return chart(*_HALF, draw, label)


def _place(axes: "Axes", label: str, *, log: bool = False) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    axes.set_xlabel(_STEP)
    axes.set_ylabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    if log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda loss, _: f"{loss:g}"))
        axes.yaxis.set_minor_locator(NullLocator())


def _spans_decades(losses: Mapping[str, Curve]) -> bool:
    """Whether a logarithmic axis fits: all are positive, and the largest is ten times the smallest."""
    values = np.concatenate([values for _, values in losses.values()])
    return bool(values.min() > 0 and values.max() / values.min() > _TENFOLD)


def _dot_alone(curve: Curve) -> str:
    """The marker of a curve: a line through one point would not be seen."""
    return "o" if len(curve[0]) == 1 else ""


def _checked(name: str, curve: Curve) -> Curve:
    steps = checked_numbers(f"{name}: steps", curve[0], ("points",))
    return steps, checked_numbers(name, curve[1], (len(steps),))
