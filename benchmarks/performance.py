"""Write the tables and charts of docs/performance.md from what `diffpolicy bench` measured.

diffpolicy bench env --out benchmarks/results/environment/env.json
diffpolicy bench data --out benchmarks/results/data/data.json
diffpolicy bench train --out benchmarks/results/training/train.json
diffpolicy bench sample --out benchmarks/results/sampling/sample.json
diffpolicy bench eval --out benchmarks/results/evaluation/eval.json
python benchmarks/performance.py
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from performance_charts import CHARTS
from PIL import Image

from diffpolicy.benchmarking import evaluation_speed, sampling_speed, training_speed

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "performance.md"
GALLERY = ROOT / "docs" / "gallery"
RESULTS = ROOT / "benchmarks" / "results"

Table = Callable[[dict[str, Any]], list[str]]


def main() -> None:
    """Bring every section of the page that has a result up to date."""
    text = PAGE.read_text(encoding="utf-8")
    for name, (file, table) in SECTIONS.items():
        if not (RESULTS / file).exists():
            print(f"{name}: {RESULTS / file} is missing; its section stays as it is")
            continue
        result = json.loads((RESULTS / file).read_text(encoding="utf-8"))
        picture = GALLERY / f"performance_{name}.png"
        Image.fromarray(CHARTS[name](result)).save(picture, optimize=True)
        warning = ["**Measured with `--quick`: not to be quoted.**", ""] if result.get("quick") else []
        chart = ["", f"![{name}](gallery/{picture.name})", ""]
        text = _replaced(text, name, "\n".join([*warning, *table(result), *chart]))
    PAGE.write_text(text, encoding="utf-8")


def _replaced(text: str, name: str, section: str) -> str:
    begin, end = f"<!-- {name}: written by benchmarks/performance.py -->\n", f"<!-- end of {name} -->"
    before, found, rest = text.partition(begin)
    _, ends, after = rest.partition(end)
    if not found or not ends:
        raise SystemExit(f"{PAGE}: no section for {name}; expected the lines {begin.strip()} and {end}")
    return before + begin + section + end + after


def _environment(result: dict[str, Any]) -> list[str]:
    versions, peer = result["versions"], result["peer"]
    peers = [one for one in result["speed"] if "gym-pusht" in one["times_us"]]
    own = [one for one in result["speed"] if "gym-pusht" not in one["times_us"]]
    lines = [
        f"{_machine(result)}; ours with pymunk {versions['pymunk']}, "
        f"gym-pusht {peer['gym-pusht']} with pymunk {peer['pymunk']}. Median, 10% to 90% of the rounds.",
        "",
        "| beside gym-pusht | ours, us | gym-pusht, us | times as fast |",
        "|---|---|---|---|",
    ]
    for one in peers:
        ours, theirs = one["times_us"]["diffpolicy"], one["times_us"]["gym-pusht"]
        ratio = one["ratios"]["gym-pusht / diffpolicy"]
        lines.append(f"| {one['what']} | {_spread(ours)} | {_spread(theirs)} | {_times(ratio)} |")
    lines += ["", "| ours alone | us | ratio |", "|---|---|---|"]
    for one in own:
        for name, spread in one["times_us"].items():
            ratios = [
                f"{_spread(ratio)} of {what.split(' / ')[1]}"
                for what, ratio in one["ratios"].items()
                if what.split(" / ")[0] == name
            ]
            lines.append(f"| {one['what']}: {name} | {_spread(spread)} | {'; '.join(ratios)} |")
    starts, futures = result["starts"], result["trajectories"]
    same = [f"{one['protocol']}, {one['count']} seeds, largest difference {one['largest']:.1g}" for one in starts]
    return [
        *lines,
        "",
        f"Starts: {'; '.join(same)}. Trajectories: {futures['count']} of {futures['steps']} steps, the agent at the block "
        f"in {futures['contact_share']:.0%} of them: {futures['within_share']:.1%} within 1e-6 px, "
        f"{futures['identical_share']:.1%} the same to the last bit, largest difference {futures['largest']:.1g}; rewards "
        f"differ by at most {futures['largest_reward']:.0e}.",
    ]


def _data(result: dict[str, Any]) -> list[str]:
    lines = ["| windows of | read | windows a second | MB a second |", "|---|---|---|---|"]
    for reading in result["readings"]:
        what = f"{Path(reading['store']).name}, {', '.join(reading['keys'])}"
        for name, rate in reading["windows_per_s"].items():
            lines.append(f"| {what} | {name} | {rate:,.0f} | {_number(reading['bytes_per_s'][name] / 1e6)} |")
    return lines


def _training(result: dict[str, Any]) -> list[str]:
    ours, plain, products, update = (getattr(training_speed, name) for name in ("OURS", "PLAIN", "PRODUCTS", "UPDATE"))
    found = [network["steps"] for network in result["networks"].values()]
    lines = [
        f"{_machine(result)}; {_threads(result)}. Median, 10% to 90% of the rounds.",
        "",
        "| a step | ours, ms | plain PyTorch, ms | times as fast | of the matrix rate | the update's bytes alone |",
        "|---|---|---|---|---|---|",
    ]
    for steps in found:
        times, ratios = steps["comparison"]["times_us"], steps["comparison"]["ratios"]
        lines.append(
            f"| {steps['network']}, batch {steps['batch']} | {_spread(times[ours], 1e-3)} | {_spread(times[plain], 1e-3)} | "
            f"{_times(ratios[f'{plain} / {ours}'])} | {_share(ratios[f'{products} / {ours}'])} | "
            f"{_share(ratios[f'{update} / {ours}'])} |"
        )
    lines += ["", "| counted and measured | weights | operations | bytes of the update | matrix rate | copy rate |"]
    lines += ["|---|---|---|---|---|---|"]
    for steps in found:
        times = steps["comparison"]["times_us"]
        rate, copy = steps["flops"] / times[products]["median"], steps["n_bytes"] / times[update]["median"]
        lines.append(
            f"| {steps['network']} | {steps['parameters'] / 1e6:.1f} M | {steps['flops'] / 1e9:,.1f} G | "
            f"{steps['n_bytes'] / 1e6:,.0f} MB | {rate / 1e3:,.0f} GFLOP/s ({steps['precision']}) | {copy / 1e3:,.1f} GB/s |"
        )
    parts = {name: network["parts"] for name, network in result["networks"].items() if "parts" in network}
    if parts:
        names = list(next(iter(parts.values())))
        lines += ["", f"| where a step's time goes, ms | {' | '.join(names)} |", "|---" * (1 + len(names)) + "|"]
        lines += [f"| {name} | {' | '.join(_number(one[n] / 1e3) for n in names)} |" for name, one in parts.items()]
    for name, network in result["networks"].items():
        if "compiled" in network:
            lines += ["", _compiled(name, network["compiled"])]
    return lines


def _compiled(network: str, found: dict[str, Any]) -> str:
    after, began = found["break_even_steps"], f"`torch.compile` of {network} takes {found['compile_s']:.0f} s"
    if not after:
        return f"{began} and saves nothing: a step takes {_number(-found['saved_us'] / 1e3)} ms longer."
    return f"{began} and saves {_number(found['saved_us'] / 1e3)} ms a step: it pays after {after:,.0f} steps."


def _sampling(result: dict[str, Any]) -> list[str]:
    ours, plain, products, weights = (
        getattr(sampling_speed, name) for name in ("OURS", "PLAIN", "PRODUCTS", "WEIGHTS")
    )
    lines = [
        f"{result['checkpoint']} on {_machine(result)}; {_threads(result)}. Median, 10% to 90% of the rounds.",
        "",
        "| plans at once | ours, ms | plain diffusers loop, ms | times as fast | of the matrix rate | its weights, copied |",
        "|---|---|---|---|---|---|",
    ]
    for plans in result["plans"]:
        times, ratios = plans["comparison"]["times_us"], plans["comparison"]["ratios"]
        lines.append(
            f"| {plans['rows']}, {plans['sampler']}, {plans['steps']} steps | {_spread(times[ours], 1e-3)} | "
            f"{_spread(times[plain], 1e-3)} | {_times(ratios[f'{plain} / {ours}'])} | "
            f"{_share(ratios[f'{products} / {ours}'])} | {_share(ratios[f'{weights} / {ours}'])} |"
        )
    for plans in result["plans"][:2]:
        lines += [
            "",
            f"{plans['rows']} plan{'s' * (plans['rows'] > 1)}: {plans['flops'] / 1e6:,.0f} million operations, "
            f"{plans['n_bytes'] / 1e6:,.0f} MB of weights read; both ways' plans differ by {plans['difference']:.0e} of "
            "half an action's range.",
        ]
    latency, start = result["latency"], result["start"]["times_us"]
    return [
        *lines,
        "",
        f"{latency['plans']:,} single plans, one after the other: median {_number(latency['median_ms'])} ms, 99% within "
        f"{_number(latency['percentile_99_ms'])} ms, all within {_number(latency['longest_ms'])} ms; the control period is "
        f"{_number(latency['period_ms'])} ms.",
        "",
        "| a process, from start to end | ms |",
        "|---|---|",
        *(f"| `{name}` | {_spread(spread, 1e-3)} |" for name, spread in start.items()),
    ]


def _evaluation(result: dict[str, Any]) -> list[str]:
    ours, peer = evaluation_speed.OURS, evaluation_speed.PEER
    found = result["comparison"]
    times, ratios, episodes = found["comparison"]["times_us"], found["comparison"]["ratios"], found["episodes"]
    lines = [
        f"{result['checkpoint']}, {episodes} episodes, {found['lanes']} lanes, {found['workers']} of our processes, on "
        f"{_machine(result)}. Median, 10% to 90% of the rounds.",
        "",
        "| | seconds | episodes a second | mean score | success |",
        "|---|---|---|---|---|",
    ]
    for name, time in times.items():
        score = found["scores"].get(name)
        told = ("", "") if score is None else (f"{score['mean_score']:.3f}", f"{score['success_rate']:.1%}")
        lines.append(f"| {name} | {_spread(time, episodes / 1e6)} | {1e6 / time['median']:.1f} | {' | '.join(told)} |")
    if f"{peer} / {ours}" in ratios:
        lines += [
            "",
            f"{_times(ratios[f'{peer} / {ours}'])} times as fast as {peer}; {found['same_episodes']} of {episodes} episodes "
            "end at the same step with the same score on both sides.",
        ]
    return [
        *lines,
        "",
        f"An evaluation is {found['steps']:,} control steps and {found['plans']:,} plans of "
        f"{found['flops'] / found['plans'] / 1e6:,.0f} million operations each.",
    ]


SECTIONS: dict[str, tuple[str, Table]] = {
    "environment": ("environment/env.json", _environment),
    "data": ("data/data.json", _data),
    "training": ("training/train.json", _training),
    "sampling": ("sampling/sample.json", _sampling),
    "evaluation": ("evaluation/eval.json", _evaluation),
}


def _machine(result: dict[str, Any]) -> str:
    machine = result["machine"]
    return f"{result.get('gpu') or machine['processor']}, {machine['cores']} cores, {machine['system']}"


def _threads(result: dict[str, Any]) -> str:
    return f"torch {result['versions']['torch']}, {result['torch_threads']} threads"


def _times(ratio: dict[str, float]) -> str:
    return f"**{ratio['median']:.1f}** ({_number(ratio['low'])} to {_number(ratio['high'])})"


def _share(ratio: dict[str, float]) -> str:
    return f"{ratio['median']:.0%} ({ratio['low'] * 100:.0f} to {ratio['high'] * 100:.0f})"


def _spread(spread: dict[str, float], unit: float = 1.0) -> str:
    median, low, high = (_number(spread[key] * unit) for key in ("median", "low", "high"))
    return f"{median} ({low} to {high})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()
