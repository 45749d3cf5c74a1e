"""Episodes as small pictures side by side: how each ended, and the way that the agent took there."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize

from diffpolicy.visualization.checks import Number, checked_numbers, checked_picture, checked_positive
from diffpolicy.visualization.style import INK, MUTED, PAGE, TIME_MAP, Page

_SIDE, _GAP, _TOP, _CAPTION, _FOOT = 300.0, 20.0, 60.0, 48.0, 62.0


def episodes_picture(
    scenes: Sequence[UInt8[np.ndarray, "height width 3"]],
    trails_px: Sequence[Float[np.ndarray, "moments 2"]],
    captions: Sequence[str],
    *,
    title: str,
    columns: int = 3,
    workspace_px: Number = 512.0,
    period_s: Number = 0.1,
    width_px: int = 980,
) -> UInt8[np.ndarray, "page_height page_width 3"]:
    """Draws the last scene of each episode with the agent's way, coloured by time.

    Args:
        scenes: RGB pictures of the world at the end, one an episode.
        trails_px: Where the agent was at each control step, in workspace px; x right, y down, origin top left.
        captions: A line or two above each scene.
        title: Heading of the page.
        columns: Scenes in a row.
        workspace_px: Side of the workspace.
        period_s: Time between two control steps.
        width_px: Width of the picture.

    Raises:
        ValueError: If there are no episodes, not as many of each, or one has the wrong shape or holds NaN.
    """
    if not scenes or not len(scenes) == len(trails_px) == len(captions):
        raise ValueError(
            f"scenes, trails_px, captions: expected as many of each, at least one, found {len(scenes)}, "
            f"{len(trails_px)}, {len(captions)}"
        )
    checked_positive("workspace_px", workspace_px)
    checked_positive("period_s", period_s)
    pictures = [checked_picture(f"scenes[{i}]", scene) for i, scene in enumerate(scenes)]
    trails = [checked_numbers(f"trails_px[{i}]", trail, ("moments", 2)) for i, trail in enumerate(trails_px)]
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    width = columns * _SIDE + (columns + 1) * _GAP
    page = Page(width, _TOP + rows * (_SIDE + _CAPTION + _GAP) + _FOOT, width_px)
    page.text(_GAP, 36, title, 16, weight="bold")
    longest_s = max(len(trail) - 1 for trail in trails) * period_s
    for place, (scene, trail, caption) in enumerate(zip(pictures, trails, captions, strict=True)):
        left = _GAP + (place % columns) * (_SIDE + _GAP)
        top = _TOP + (place // columns) * (_SIDE + _CAPTION + _GAP)
        for line, words in enumerate(caption.splitlines()[:2]):
            page.text(left, top + 14 + 18 * line, words, 11 if line else 12, colour=MUTED if line else INK)
        axes = page.axes(left, top + _CAPTION - 6, _SIDE, _SIDE)
        axes.imshow(scene, extent=(0.0, workspace_px, workspace_px, 0.0), interpolation="bilinear", aspect="auto")
        steps = np.stack([trail[:-1], trail[1:]], axis=1)
        lines = LineCollection(list(steps), linewidths=1.6, cmap=TIME_MAP, norm=Normalize(0, max(longest_s, period_s)))
        lines.set_array(np.arange(len(steps)) * period_s)
        axes.add_collection(lines, autolim=False)
        axes.plot(*trail[0], "o", markersize=7, markerfacecolor=PAGE, markeredgecolor=INK, markeredgewidth=1.4)
        axes.set_xlim(0, workspace_px)
        axes.set_ylim(workspace_px, 0)
    foot = _TOP + rows * (_SIDE + _CAPTION + _GAP)
    bar = page.axes(_GAP, foot + 4, 320, 10)
    bar.imshow(np.linspace(0, 1, 256)[None], cmap=TIME_MAP, extent=(0, 1, 0, 1), aspect="auto")
    page.text(_GAP, foot + 32, "0 s", 10.5, colour=MUTED)
    page.text(_GAP + 320, foot + 32, f"{longest_s:g} s", 10.5, colour=MUTED, ha="right")
    page.text(_GAP + 340, foot + 14, "the agent's way by time; its start is the ring", 10.5, colour=MUTED)
    return page.picture()
