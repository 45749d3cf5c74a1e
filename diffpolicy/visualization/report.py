"""The page about a training, an evaluation or both: everything on it comes as arrays, numbers and words.

It opens from disk anywhere: charts, films and the plans that can be moved lie inside it.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from diffpolicy_demos.pages.charts import histogram
from diffpolicy_demos.pages.page import escape, films, grid, page, section, table, tiles
from jaxtyping import Float

from diffpolicy.visualization.checks import Number
from diffpolicy.visualization.episode_charts import Episodes, progress_chart, solved_chart, starts_chart

Film = tuple[bytes, str]
"""An MP4, and the line below it."""

_BEST, _WORST = 2, 3


def report_page(
    title: str,
    about: str,
    numbers: Iterable[tuple[object, str, str]],
    sections: Sequence[str],
    left_out: Sequence[str] = (),
    *,
    made_by: str,
) -> str:
    """The whole page, as HTML.

    Args:
        title: Plain text.
        about: A line below it; plain text.
        numbers: The tiles: a number, what it is, and a class for its colour or nothing.
        sections: Of the page, as HTML.
        left_out: What the page lacks and why, a line each; plain text.
        made_by: The command to make it anew.
    """
    head = f'<h1>{escape(title)}</h1><p class="muted">{escape(about)}</p>'
    lines = "".join(f"<li>{escape(line)}</li>" for line in left_out)
    lacks = [section("Left out", f'<ul class="muted">{lines}</ul>')] if left_out else []
    footer = f"<footer>Made anew by <code>{escape(made_by)}</code>.</footer>"
    return page(title, [_STYLE, head, tiles(numbers), grid([*sections, *lacks]), footer, _SORTING])


def episode_sections(
    episodes: Episodes,
    traces: Mapping[str, np.ndarray] | None = None,
    *,
    goal_outline_px: Float[np.ndarray, "corners 2"] | None = None,
    success_coverage: Number | None = None,
    workspace_px: Number = 512.0,
    period_s: Number | None = None,
) -> tuple[list[str], list[str]]:
    """Sections about the episodes of an evaluation: first how they went over time, then what can be counted.

    Args:
        episodes: What became of them.
        traces: How they went: `rewards` (episodes, steps), and where known `coverage` (episodes, steps + 1), NaN after
            an episode's end, and of the start `block_pose` (episodes, 3), `agent_px` (episodes, 2). None: no such charts.
        goal_outline_px: Corners of the goal, px.
        success_coverage: Coverage above which an episode is solved, to be marked.
        workspace_px: Side of the workspace.
        period_s: Time between two steps.

    Raises:
        ValueError: If arrays do not fit one another.
    """
    over_time, counted = [], []
    about = "Each line is an episode, up to its mark; for median and band one that is over stays where it ended."
    if traces and "coverage" in traces:
        drawn = progress_chart(
            traces["coverage"],
            episodes.success,
            label="covered share of the goal",
            threshold=success_coverage,
            period_s=period_s,
        )
        solved = "" if success_coverage is None else f" Dashed: solved, above {success_coverage:g}."
        over_time.append(section("Coverage over time", drawn, about=about + solved))
    elif traces:
        drawn = progress_chart(traces["rewards"], episodes.success, label="reward of the step", period_s=period_s)
        over_time.append(section("Reward over time", drawn, about=about))
    if traces and "block_pose" in traces:
        starts = starts_chart(
            traces["block_pose"],
            episodes.success,
            agent_px=traces.get("agent_px"),
            goal_outline_px=goal_outline_px,
            workspace_px=workspace_px,
        )
        words = "The middle of the bar's outer edge, a line along the stem; of what was not solved also the agent."
        counted.append(section("Where episodes start", starts, about=words, width="half tall"))
    when = '<p class="muted">No episode was solved.</p>'
    if episodes.success.any():
        when = solved_chart(episodes.steps, episodes.success, limit=int(episodes.steps.max()), period_s=period_s)
    counted.append(section("When episodes are solved", when, width="half"))
    bars = histogram(episodes.score, "best reward of an episode", "best reward")
    counted.append(section("Best rewards", bars, width="half"))
    return over_time, counted


def chosen_episodes(episodes: Episodes) -> tuple[list[int], list[int]]:
    """Indices of the episodes worth a film: the best, best first, and the worst, worst first; none is in both."""
    order = episodes.worst_first().tolist()
    best = order[::-1][: min(_BEST, -(-len(order) // 2))]
    return best, [index for index in order[:_WORST] if index not in best]


def film_section(shown: Sequence[Film], size: tuple[int, int]) -> str:
    """Films of episodes, all of one width and height."""
    content = f'<div class="episodes">{films(shown, size)}</div>'
    return section("Best and worst episodes", content, about="The same episodes that were scored, played again.")


def episode_words(episodes: Episodes, index: int) -> str:
    """One line about an episode."""
    seed, steps = episodes.seeds[index], episodes.steps[index]
    if episodes.success[index]:
        return f"seed {seed}, solved in {steps} steps"
    # Rounded down: 1.00 must not be read where the best was missed.
    return f"seed {seed}, not solved, best reward {np.floor(1000 * episodes.score[index]) / 1000:.3f}"


def facts_section(title: str, facts: Iterable[tuple[str, object]], width: str = "") -> str:
    """What was done, as a table of names and values; plain text."""
    rows = [(f'<span class="muted">{escape(name)}</span>', escape(value)) for name, value in facts]
    return section(title, table(("", ""), rows), width=width)


def episodes_section(episodes: Episodes) -> str:
    """A table of all episodes, the worst first; a click on a heading sorts it."""
    covered = np.isfinite(episodes.final_coverage)

    def row(index: int) -> list[str]:
        success = bool(episodes.success[index])
        result = (
            f'<span class="badge {"good" if success else "warning"}">{"solved" if success else "not solved"}</span>'
        )
        numbers = [f"{episodes.steps[index]}", f"{episodes.score[index]:.4f}"]
        if covered.any():
            numbers.append(f"{episodes.final_coverage[index]:.4f}" if covered[index] else "")
        return [f"{episodes.seeds[index]}", result, *numbers]

    headings = ["seed", "result", "steps", "best reward", *(["coverage at the end"] if covered.any() else [])]
    drawn = table(headings, map(row, episodes.worst_first().tolist()), numbers=(0, 2, 3, 4))
    content = f'<div class="sortable" tabindex="0" role="region" aria-label="All episodes">{drawn}</div>'
    return section(
        f"All {len(episodes.seeds)} episodes", content, about="The worst first; a heading sorts by its column."
    )


_STYLE = """<style>
.episodes .films { grid-template-columns: repeat(auto-fill, minmax(min(100%, 290px), 1fr)); }
.sortable { max-height: 430px; overflow-y: auto; } .sortable .scroll { overflow: visible; }
.sortable thead th { position: sticky; top: 0; background: var(--card); z-index: 1; }
.sortable th button { all: unset; cursor: pointer; } .sortable th button:hover { color: var(--ink); }
.sortable th button:focus-visible, .sortable:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.sortable td, .sortable th { padding-right: 22px; }
.sortable th[aria-sort] button::after { content: " \\2193"; }
.sortable th[aria-sort="ascending"] button::after { content: " \\2191"; }
</style>"""

_SORTING = """<script>
for (const table of document.querySelectorAll(".sortable table")) {
  const headings = [...table.querySelectorAll("th")];
  const value = (row, column) => {
    const text = row.cells[column].textContent;
    return isNaN(parseFloat(text)) ? text : parseFloat(text);
  };
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const order = heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      headings.forEach(other => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", order);
      const compared = (a, b) => (value(a, column) < value(b, column) ? -1 : value(a, column) > value(b, column) ? 1 : 0);
      const rows = [...table.tBodies[0].rows].sort((a, b) => (order === "ascending" ? compared(a, b) : compared(b, a)));
      table.tBodies[0].append(...rows);
    });
  });
}
</script>"""
