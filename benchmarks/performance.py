"""Write the tables of docs/performance.md from what `diffpolicy bench` measured.

diffpolicy bench env --out benchmarks/results/environment/env.json
python benchmarks/performance.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "performance.md"
RESULTS = ROOT / "benchmarks" / "results"


def main() -> None:
    """Bring every section of the page that has a result up to date."""
    text = PAGE.read_text(encoding="utf-8")
    text = _replaced(text, "environment", _environment(_result("environment/env.json")))
    text = _replaced(text, "data", _data(_result("data/data.json")))
    PAGE.write_text(text, encoding="utf-8")


def _result(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def _replaced(text: str, name: str, section: str) -> str:
    begin, end = f"<!-- {name}: written by benchmarks/performance.py -->\n", f"<!-- end of {name} -->"
    before, found, rest = text.partition(begin)
    _, ends, after = rest.partition(end)
    if not found or not ends:
        raise SystemExit(f"{PAGE}: no section for {name}; expected the lines {begin.strip()} and {end}")
    return before + begin + section + end + after


def _data(result: dict[str, Any]) -> str:
    lines = ["| windows of | read | windows a second | MB a second |", "|---|---|---|---|"]
    for reading in result["readings"]:
        what = f"{Path(reading['store']).name}, {', '.join(reading['keys'])}"
        for name, rate in reading["windows_per_s"].items():
            lines.append(f"| {what} | {name} | {rate:,.0f} | {_number(reading['bytes_per_s'][name] / 1e6)} |")
    return "\n".join([*lines, ""])


def _environment(result: dict[str, Any]) -> str:
    machine, versions, peer = result["machine"], result["versions"], result["peer"]
    peers = [one for one in result["speed"] if "gym-pusht" in one["times_us"]]
    own = [one for one in result["speed"] if "gym-pusht" not in one["times_us"]]
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}; ours with pymunk {versions['pymunk']}, "
        f"gym-pusht {peer['gym-pusht']} with pymunk {peer['pymunk']}. Median, 10% to 90% of the rounds.",
        "",
        "| beside gym-pusht | ours, us | gym-pusht, us | times as fast |",
        "|---|---|---|---|",
    ]
    for one in peers:
        ours, theirs = one["times_us"]["diffpolicy"], one["times_us"]["gym-pusht"]
        ratio = one["ratios"]["gym-pusht / diffpolicy"]
        lines.append(
            f"| {one['what']} | {_spread(ours)} | {_spread(theirs)} | **{ratio['median']:.1f}** {_range(ratio)} |"
        )
    lines += ["", "| ours alone | us | ratio |", "|---|---|---|"]
    for one in own:
        for name, spread in one["times_us"].items():
            ratios = [
                f"{_range(ratio, middle=True)} of {what.split(' / ')[1]}"
                for what, ratio in one["ratios"].items()
                if what.split(" / ")[0] == name
            ]
            lines.append(f"| {one['what']}: {name} | {_spread(spread)} | {'; '.join(ratios)} |")
    starts, futures = result["starts"], result["trajectories"]
    lines += [
        "",
        "Starts: "
        + "; ".join(
            f"{one['protocol']}, {one['count']} seeds, largest difference {one['largest']:.1g}" for one in starts
        )
        + f". Trajectories: {futures['count']} of {futures['steps']} steps, the agent at the block in "
        f"{futures['contact_share']:.0%} of them: {futures['within_share']:.1%} within 1e-6 px, "
        f"{futures['identical_share']:.1%} the same to the last bit, largest difference {futures['largest']:.1g}; rewards "
        f"differ by at most {futures['largest_reward']:.0e}.",
        "",
    ]
    return "\n".join(lines)


def _spread(spread: dict[str, float]) -> str:
    return f"{_number(spread['median'])} {_range(spread)}"


def _range(spread: dict[str, float], *, middle: bool = False) -> str:
    text = f"({_number(spread['low'])} to {_number(spread['high'])})"
    return f"{_number(spread['median'])} {text}" if middle else text


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()
