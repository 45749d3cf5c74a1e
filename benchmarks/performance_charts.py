"""The charts of docs/performance.md: from the JSON that `diffpolicy bench` writes to pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from diffpolicy.benchmarking.charts import Curve, Measured, Panel, Row, curves_chart, rows_chart
from diffpolicy.benchmarking.evaluation_speed import PEER, PRODUCTS, WORLDS

_WIDTH_PX = 1600
_NETWORKS = {"mlp": "MLP", "unet1d": "U-Net"}


def _environment(result: dict[str, Any]) -> np.ndarray:
    rows = []
    for one in result["speed"]:
        ratio = one["ratios"].get("gym-pusht / diffpolicy")
        if ratio is not None:
            values = {name: _measured(spread) for name, spread in one["times_us"].items()}
            rows.append(Row(one["what"], values, f"{ratio['median']:.1f} x"))
    return rows_chart("Push-T beside gym-pusht", "microseconds; 10% to 90% of the rounds", rows, _WIDTH_PX)


def _data(result: dict[str, Any]) -> np.ndarray:
    rows = []
    for reading in result["readings"]:
        what = f"{Path(reading['store']).name}, {', '.join(reading['keys'])}"
        rows += [
            Row(f"{what}: {name}", {"windows a second": _rate(spread)}, "")
            for name, spread in reading["comparison"]["times_us"].items()
        ]
    return rows_chart("Random training windows", "windows a second; 10% to 90% of the rounds", rows, _WIDTH_PX)


def _training(result: dict[str, Any]) -> np.ndarray:
    panels = [
        _panel(f"{_NETWORKS[name]}, against {scaling['against']}", "milliseconds a step", scaling)
        for name, network in result["networks"].items()
        for scaling in network.get("scaling", [])
    ]
    return curves_chart(panels, _WIDTH_PX)


def _sampling(result: dict[str, Any]) -> np.ndarray:
    panels = [_panel(f"Against {one['against']}", "milliseconds", one) for one in result["scaling"]]
    return curves_chart(panels, _WIDTH_PX)


def _evaluation(result: dict[str, Any]) -> np.ndarray:
    found = result["comparison"]
    times, episodes = found["comparison"]["times_us"], found["episodes"]
    curves = [
        Curve(
            f"diffpolicy, {growth['workers']} worker{'s' * (growth['workers'] > 1)}",
            {float(size): _measured(spread, 1e-6) for size, spread in growth["times_us"].items()},
        )
        for growth in reversed(result["scaling"])
    ]
    if PEER in times:
        curves.insert(1, Curve(PEER, {float(episodes): _measured(times[PEER], episodes / 1e6)}))
    # Worlds and plans of an episode alternate: its floor is the sum of what both take at their best.
    floor_s = sum(times[part]["median"] for part in (WORLDS, PRODUCTS)) / 1e6
    sizes = sorted({size for curve in curves for size in curve.values})
    floor = {size: size * floor_s for size in sizes}
    return curves_chart([Panel("Evaluation", "episodes", "seconds", curves, floor)], _WIDTH_PX)


CHARTS: dict[str, Callable[[dict[str, Any]], np.ndarray]] = {
    "environment": _environment,
    "data": _data,
    "training": _training,
    "sampling": _sampling,
    "evaluation": _evaluation,
}


def _panel(title: str, value_label: str, scaling: dict[str, Any]) -> Panel:
    points = scaling["points"]
    curves = [
        Curve(name, {float(point["size"]): _measured(point["times_us"][name], 1e-3) for point in points})
        for name in points[0]["times_us"]
    ]
    floor = {float(point["size"]): point["floor_us"] / 1e3 for point in points}
    return Panel(title, scaling["against"], value_label, curves, floor)


def _measured(spread: dict[str, float], unit: float = 1.0) -> Measured:
    return Measured(spread["median"] * unit, spread["low"] * unit, spread["high"] * unit)


def _rate(time_us: dict[str, float]) -> Measured:
    return Measured(1e6 / time_us["median"], 1e6 / time_us["high"], 1e6 / time_us["low"])
