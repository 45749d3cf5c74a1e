"""The report stands alone, draws what happened and nothing else, and tells what was solved from what was not by shape."""

import re
from typing import Any

import numpy as np
import pytest
from diffpolicy_demos.pages.page import ACCENT, SECOND, THEME

from diffpolicy.visualization.episode_charts import Episodes, progress_chart, solved_chart, starts_chart
from diffpolicy.visualization.report import (
    chosen_episodes,
    episode_sections,
    episode_words,
    episodes_section,
    facts_section,
    film_section,
    report_page,
)
from diffpolicy.visualization.training_charts import training_sections

BLUE, ORANGE = THEME[ACCENT], THEME[SECOND]
TRUE_FALSE = (np.ones(4, bool), np.zeros(4, bool))


def episodes(**changes: Any) -> Episodes:
    columns = {
        "seeds": np.array([7, 8, 9, 10]),
        "score": np.array([1.0, 0.4, 1.0, 0.9996]),
        "success": np.array([True, False, True, False]),
        "steps": np.array([5, 8, 3, 8]),
        "final_coverage": np.array([0.96, 0.38, 0.97, 0.9496]),
    }
    return Episodes(**{**columns, **changes})


def traces() -> dict[str, np.ndarray]:
    coverage = np.full((4, 9), np.nan)
    for row, (end, last) in enumerate(((5, 0.96), (8, 0.38), (3, 0.97), (8, 0.9496))):
        coverage[row, : end + 1] = np.linspace(0.1, last, end + 1)
    poses = np.array([[100.0, 200.0, 0.0], [300.0, 200.0, 1.0], [400.0, 50.0, 2.0], [256.0, 256.0, 3.0]])
    return {"coverage": coverage, "rewards": coverage[:, 1:], "block_pose": poses, "agent_px": poses[:, :2] + 40}


def headings(sections: list[str]) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", "".join(sections))


def test_the_page_needs_nothing_from_anywhere_and_nothing_becomes_markup() -> None:
    over_time, counted = episode_sections(episodes(), traces(), success_coverage=0.95, period_s=0.1)
    curve = (np.arange(1, 6.0), np.linspace(1, 0.01, 5))
    sections = [*over_time, *counted, *training_sections({"loss": curve}), episodes_section(episodes())]
    sections += [film_section([(b"film", "<b>x</b>")], (400, 470)), facts_section("<i>", [("<u>", "<s>")])]
    page = report_page("<script>", "<a>", [("<q>", "<p>", "")], sections, ["<em>"], made_by="<tt>")
    assert "http" not in page
    links = re.findall(r'\s(?:src|href|xlink:href)="([^"]*)"', page)
    assert links
    assert all(re.match(r"data:(image/png|video/mp4);base64,|#", link) for link in links)
    assert not re.search(r"#0[1-9a-c]0[1-9a-c]0[1-9a-c]\b", page), "a colour of the charts without one of the page"
    for word in ("script", "a", "q", "p", "em", "tt", "b", "i", "u", "s"):
        assert f"&lt;{word}&gt;" in page
    identifiers = re.findall(r'\sid="([^"]+)"', page)
    assert len(identifiers) == len(set(identifiers)), "charts share a page"


def test_what_was_not_solved_stands_apart_by_place_and_shape() -> None:
    both = progress_chart(traces()["coverage"], episodes().success, label="coverage")
    assert "solved: 2 of 4" in both
    assert "not solved: 2 of 4" in both
    alone = progress_chart(traces()["coverage"], np.ones(4, bool), label="coverage")
    assert "solved: 4 of 4" in alone
    assert "not solved" not in alone
    assert ORANGE not in alone
    poses, agents = traces()["block_pose"], traces()["agent_px"]
    assert "block, not solved" in starts_chart(poses, episodes().success, agent_px=agents)
    marks = [set(re.findall(r'<defs>\s*<path[^>]*\bd="([^"]*)"', starts_chart(poses, all_))) for all_ in TRUE_FALSE]
    assert marks[0] - marks[1], "discs"
    assert marks[1] - marks[0], "crosses"


def test_a_line_ends_where_its_episode_does() -> None:
    values, success = traces()["coverage"], np.ones(4, bool)
    lines = re.findall(rf'<path d="([^"]*)"[^>]*stroke: {re.escape(BLUE)}', progress_chart(values, success, label="c"))
    assert sorted(line.count("L") for line in lines) == [1, 3, 5, 8, 8]  # the first is the legend's


def test_solved_by_counts_all_episodes() -> None:
    drawn = solved_chart(np.array([5, 8, 3, 8]), np.array([True, False, True, False]), limit=8, period_s=0.1)
    assert "median of the solved: 4<" in drawn
    assert "each 0.1 s" in drawn
    assert "median" not in solved_chart(np.array([8]), np.array([False]), limit=8)


def test_what_the_world_does_not_tell_is_not_drawn() -> None:
    over_time, counted = episode_sections(episodes(), traces())
    assert headings(over_time + counted) == [
        "Coverage over time",
        "Where episodes start",
        "When episodes are solved",
        "Best rewards",
    ]
    rewards = {"rewards": np.array([[-1.0, -0.5], [-3.0, np.nan], [-1.0, -1.0], [-2.0, -0.1]])}
    over_time, counted = episode_sections(episodes(), rewards)
    assert headings(over_time + counted) == ["Reward over time", "When episodes are solved", "Best rewards"]
    assert headings(episode_sections(episodes())[0]) == []
    table = episodes_section(episodes(final_coverage=np.full(4, np.nan)))
    assert "coverage" not in table


def test_worst_first_in_the_table_and_best_first_in_the_films() -> None:
    found = episodes()
    assert found.worst_first().tolist() == [1, 3, 0, 2]
    assert re.findall(r'<td class="number">(\d+)</td><td>', episodes_section(found)) == ["8", "10", "7", "9"]
    assert chosen_episodes(found) == ([2, 0], [1, 3])
    assert episode_words(found, 3) == "seed 10, not solved, best reward 0.999"
    assert episode_words(found, 2) == "seed 9, solved in 3 steps"


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 100])
def test_no_episode_is_both_best_and_worst(count: int) -> None:
    rng = np.random.default_rng(count)
    columns = {"seeds": np.arange(count), "score": rng.random(count), "steps": rng.integers(1, 9, count)}
    some = episodes(**columns, success=rng.random(count) > 0.5, final_coverage=np.full(count, np.nan))
    best, worst = chosen_episodes(some)
    assert len({*best, *worst}) == len(best) + len(worst) == min(count, 5)


def test_losses_over_decades_have_a_logarithmic_axis() -> None:
    steps = np.arange(1.0, 101)
    wide = training_sections({"loss": (steps, np.geomspace(1, 0.01, 100))})
    assert "logarithmic" in wide[0]
    assert ">0.05<" in wide[0]
    for values in (np.linspace(1, 0.5, 100), np.linspace(1, -3, 100)):
        assert "logarithmic" not in training_sections({"loss": (steps, values)})[0]


def test_training_draws_what_was_logged() -> None:
    steps = np.arange(1.0, 4)
    curves = {name: (steps, np.full(3, 0.5)) for name in ("loss", "validation_loss", "learning_rate", "mean_score")}
    assert headings(training_sections(curves)) == ["Loss", "Score in closed loop", "Learning rate"]
    interval = np.array([[0.3, 0.7]] * 3)
    with_rate = training_sections(curves | {"success_rate": (steps, np.full(3, 0.5))}, interval, "On 5 episodes.")
    assert "On 5 episodes. Bars: 95% intervals" in with_rate[1]
    assert headings(training_sections({"loss": (steps[:1], steps[:1])})) == ["Loss"]
    assert training_sections({}) == []


@pytest.mark.usefixtures("without_shape_checks")
def test_wrong_arguments_are_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match=r"values: expected \(episodes, moments\).*found \(4, 9\) and \(3,\)"):
        progress_chart(traces()["coverage"], np.ones(3, bool), label="c")
    with pytest.raises(ValueError, match="values: expected"):
        progress_chart(np.full((2, 3), np.nan), np.ones(2, bool), label="c")
    with pytest.raises(ValueError, match=r"block_pose: expected shape \(episodes, 3\), found \(4, 2\)"):
        starts_chart(np.zeros((4, 2)), np.ones(4, bool))
    with pytest.raises(ValueError, match=r"agent_px: expected shape \(4, 2\)"):
        starts_chart(np.zeros((4, 3)), np.ones(4, bool), agent_px=np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"loss: expected shape \(3,\), found \(2,\)"):
        training_sections({"loss": (np.arange(3.0), np.zeros(2))})
    with pytest.raises(ValueError, match="mean_score: expected finite"):
        training_sections({"mean_score": (np.arange(1.0), np.array([np.nan]))})
