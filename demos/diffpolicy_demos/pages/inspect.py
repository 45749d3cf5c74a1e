"""A store as a page: where agent and block go, how coverage grows, how long and how fast, and what the cameras saw.

Of Push-T everything is drawn over its scene; of other robots what every store has: lengths, speeds, arrays over time.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from diffpolicy_envs.pusht import SUCCESS_COVERAGE
from rich.progress import Progress

from diffpolicy_demos.inspect import ArrayDescription, Description
from diffpolicy_demos.pages.charts import bundle, chart, histogram, panels
from diffpolicy_demos.pages.page import (
    ACCENT,
    INK,
    MUTED,
    contact_sheet,
    escape,
    films,
    grid,
    page,
    section,
    table,
    tiles,
)
from diffpolicy_demos.pages.scene import paths_chart, starts_chart
from diffpolicy_demos.pictures import last_picture
from diffpolicy_demos.store import Store
from diffpolicy_demos.survey import Course, courses

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHEET, _PATHS, _CURVES = 48, 8, 300  # pictures, scenes and curves beyond which a page is no better for more
_COMPONENTS, _COLUMNS = 12, 4

Item = TypeVar("Item")


def inspect_page(
    store: Store, description: Description, videos: Iterable[tuple[int, bytes]] = (), progress: Progress | None = None
) -> str:
    """The page, as HTML.

    Args:
        store: What to show.
        description: What `describe` says of it.
        videos: Episodes and their films, MP4.
        progress: Where to show how far the work is.
    """
    progress = progress or Progress(disable=True)
    found = list(courses(store, description.control_hz, progress))
    name = description.path.rstrip("/").rpartition("/")[2]
    d, known = description, [course for course in found if course.coverage is not None]
    head = f'<h1>{escape(name)}</h1><p class="muted">{escape(d.path)} · zarr format {d.zarr_format}</p>'
    numbers: list[tuple[object, str, str]] = [
        (d.episodes, "episodes", ""),
        (d.steps, "steps", ""),
        (f"{d.duration_s / 60:.1f} min", f"at {d.control_hz:g} Hz", ""),
        (f"{d.length_median:g}", "steps in the median episode", ""),
    ]
    if known:
        ends = np.array([course.coverage[-1] for course in known if course.coverage is not None])
        numbers += [
            (f"{ends.mean():.3f}", "mean coverage at the end", ""),
            (f"{(ends > SUCCESS_COVERAGE).mean():.1%}", f"end above {SUCCESS_COVERAGE:g}", ""),
        ]
    sections = [*_films(videos), *(_pusht_sections(known) if known else [])]
    sections += [*_general_sections(d, found), *([] if known else _arrays_over_time(store, progress))]
    sections += [*_sheet(store, found, progress), section("Arrays", _arrays_table(d.arrays)), *_attributes(d)]
    footer = f"<footer>Made by <code>diffpolicy demos inspect</code> from {escape(d.path)}.</footer>"
    return page(name, [head, tiles(numbers), grid(sections), footer])


def _films(videos: Iterable[tuple[int, bytes]]) -> list[str]:
    shown = [(film, f"episode {episode}") for episode, film in videos]
    return [section("Films", films(shown))] if shown else []


def _pusht_sections(known: Sequence[Course]) -> list[str]:
    about = "The agent's path from its ring to the disc, and the block from the dashed outline to the filled one."
    some = evenly(known, _PATHS)
    angles = [float(course.states[0, 4]) for course in known if course.states is not None]
    ends = [float(course.coverage[-1]) for course in known if course.coverage is not None]
    return [
        section(f"{len(some)} of {len(known)} episodes", paths_chart(some), about=about),
        section(
            "Coverage over time",
            _coverage_chart(known),
            about=f"Each line is an episode; the goal is {SUCCESS_COVERAGE:g}.",
        ),
        section(
            "Where the block starts",
            starts_chart(known),
            about="A dot at the middle of the bar's outer edge, a line along the stem; the goal in green.",
            width="half tall",
        ),
        section(
            "Coverage at the end",
            histogram(ends, "covered share of the goal after the last action", "coverage at the end"),
            width="half",
        ),
        section(
            "Angle at the start",
            histogram(angles, "angle of the block, rad", "angle at the start", bins=24),
            width="half",
        ),
    ]


def _general_sections(description: Description, found: Sequence[Course]) -> list[str]:
    sections = [
        section("Lengths", histogram(description.lengths, "steps of an episode", "lengths"), width="half"),
    ]
    speeds = np.concatenate([course.action_speed for course in found])
    speeds = speeds[np.isfinite(speeds)]
    if len(speeds):
        unit = "px/s" if any(course.states is not None for course in found) else "units of the action a second"
        drawn = histogram(speeds, f"speed of the action, {unit}", "speed of the action", count="steps", bins=50)
        sections.append(section("How fast the action moves", drawn, width="half"))
    return sections


def _coverage_chart(known: Sequence[Course]) -> str:
    curves = [course.coverage for course in evenly(known, _CURVES) if course.coverage is not None]
    longest = max(map(len, curves))
    # An episode that is over stays where it ended, else the median would be that of the slow ones.
    padded = np.stack([np.append(curve, np.full(longest - len(curve), curve[-1])) for curve in curves])

    def draw(axes: "Axes") -> None:
        bundle([(np.arange(len(curve), dtype=np.float64), curve) for curve in curves], axes)
        ends = np.array([(len(curve) - 1, curve[-1]) for curve in curves])
        axes.scatter(ends[:, 0], ends[:, 1], s=10, color=ACCENT, linewidths=0)
        axes.plot(np.median(padded, axis=0), color=INK, linewidth=2.2, label="median")
        axes.axhline(SUCCESS_COVERAGE, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_ylim(0, 1.02)
        axes.set_xlim(0, longest)
        axes.set_xlabel("step")
        axes.set_ylabel("covered share of the goal")
        axes.legend(loc="lower right")

    return chart(1100, 360, draw, "coverage over time")


def _arrays_over_time(store: Store, progress: Progress) -> list[str]:
    """For robots that are not known: the numbers of every array, all episodes over one another."""
    keys = [key for key in store.stored_keys if store[key].ndim == 2 and store[key].dtype.kind in "fiu"]
    shown = evenly(range(store.n_episodes), _CURVES // 3)
    sections = []
    for key in progress.track(keys, description="drawing"):
        rows = [store.episode(index, keys=[key])[key].astype(np.float64) for index in shown]
        width = min(store[key].shape[1], _COMPONENTS)
        about = f"{len(shown)} of {store.n_episodes} episodes, over one another"
        left_out = store[key].shape[1] - width
        about += f"; the first {width} of {store[key].shape[1]} numbers." if left_out else "."
        sections.append(section(f"{key} over time", _numbers_chart(key, rows, width), about=about))
    return sections


def _numbers_chart(key: str, episodes: Sequence[np.ndarray], width: int) -> str:
    columns = min(width, _COLUMNS)
    rows = -(-width // columns)

    def draw(axes: Sequence["Axes"]) -> None:
        for number, one in enumerate(axes):
            if number >= width:
                one.set_axis_off()
                continue
            bundle([(np.arange(len(values), dtype=np.float64), values[:, number]) for values in episodes], one)
            one.set_title(f"{key}[{number}]", loc="left", fontsize=12.5)
            if number >= width - columns:
                one.set_xlabel("step")

    return panels(1100, 190 * rows, (rows, columns), draw, f"{key} over time")


def _sheet(store: Store, found: Sequence[Course], progress: Progress) -> list[str]:
    pictures = []
    some = evenly(found, _SHEET)
    for course in progress.track(some, description="last pictures"):
        picture = last_picture(store, course.episode)
        if picture is not None:
            end = f" · {course.coverage[-2]:.2f}" if course.coverage is not None else ""
            pictures.append((picture, f"{course.episode}{end}"))
    if not pictures:
        return []
    about = f"{len(pictures)} of {len(found)} episodes" + (
        ", with the coverage they end at." if found[0].coverage is not None else "."
    )
    return [section("Last pictures", contact_sheet(pictures), about=about)]


def _arrays_table(arrays: Sequence[ArrayDescription]) -> str:
    def row(array: ArrayDescription) -> list[str]:
        ranges = "<br>".join(f"{low:.4g} to {high:.4g}" for low, high in zip(array.low, array.high, strict=True))
        if array.nonfinite:
            ranges += f'<br><span class="error">{array.nonfinite} NaN or infinite</span>'
        size = "?" if array.stored_bytes is None else f"{array.stored_bytes / 1e6:.2f}"
        stored = "" if array.key == array.stored else f' <span class="muted">({escape(array.stored)})</span>'
        shape = " x ".join(map(str, array.shape))
        return [f"<b>{escape(array.key)}</b>{stored}", shape, escape(array.dtype), str(array.chunks[0]), size, ranges]

    return table(("key", "shape", "dtype", "steps a chunk", "MB", "range"), map(row, arrays), numbers=(3, 4))


def _attributes(description: Description) -> list[str]:
    if not description.attrs:
        return []
    rows = [(f"<b>{escape(name)}</b>", escape(value)) for name, value in description.attrs.items()]
    return [section("What it says of itself", table(("attribute", "value"), rows))]


def evenly(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many of the items, at even distances, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[place] for place in np.linspace(0, len(items) - 1, most).round().astype(int).tolist()]
