"""`episodes.npz` holds how each episode went, in the order of the records, whoever ran it; a wrong file is noticed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffpolicy_envs.pusht.env import PushTEnv

from diffpolicy.errors import ConfigError
from diffpolicy.evaluation.evaluate import evaluate
from diffpolicy.evaluation.metrics import EpisodeRecord
from diffpolicy.evaluation.traces import FILE, EpisodeTrace, read_traces, write_traces

Make = Callable[..., Path]


def trace(seed: int, rewards: list[float], coverage: list[float] | None = None) -> EpisodeTrace:
    known = {"block_pose": np.arange(3.0) + seed}
    return EpisodeTrace(seed, np.array(rewards), None if coverage is None else np.array(coverage), known)


def record(seed: int, score: float, steps: int) -> EpisodeRecord:
    return EpisodeRecord(seed, score, False, steps, None)


def evaluated(checkpoint: Path, **choices: Any) -> tuple[list[EpisodeRecord], dict[int, EpisodeTrace]]:
    traces: dict[int, EpisodeTrace] = {}
    result = evaluate(checkpoint, on_trace=lambda one: traces.update({one.seed: one}), **choices)
    return [EpisodeRecord(**one) for one in result["records"]], traces


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_traces_agree_with_records_and_starts(
    workers: int, make_checkpoint: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diffpolicy.evaluation.evaluate.usable_cores", lambda: 2)
    records, traces = evaluated(make_checkpoint(), episodes=70, seed=500_000, max_steps=4, workers=workers)
    write_traces([traces[one.seed] for one in records], tmp_path)
    kept = read_traces(tmp_path, records)
    assert kept["seeds"].tolist() == list(range(500_000, 500_070))
    assert {name: array.shape for name, array in kept.items() if name != "seeds"} == {
        "rewards": (70, 4),
        "coverage": (70, 5),
        "block_pose": (70, 3),
        "goal_pose": (70, 3),
        "agent_px": (70, 2),
    }
    env = PushTEnv()
    for row in (0, 41, 69):
        state, info = env.reset(seed=500_000 + row)
        assert np.array_equal(kept["agent_px"][row], state[:2])
        assert np.array_equal(kept["block_pose"][row], info["block_pose"])
        assert kept["coverage"][row, 0] == info["coverage"]
    finals = [one.final_coverage for one in records]
    assert [row[np.isfinite(row)][-1] for row in kept["coverage"]] == finals


def test_ends_are_nan_and_what_is_not_told_by_all_is_left_out(tmp_path: Path) -> None:
    write_traces([trace(4, [0.1, 0.3]), trace(9, [0.2], [0.0, 0.5])], tmp_path)
    kept = read_traces(tmp_path, [record(4, 0.3, 2), record(9, 0.2, 1)])
    assert np.array_equal(kept["rewards"], [[0.1, 0.3], [0.2, np.nan]], equal_nan=True)
    assert set(kept) == {"seeds", "rewards", "block_pose"}
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_file_that_is_missing_damaged_or_anothers_is_told_in_one_line(tmp_path: Path) -> None:
    records = [record(4, 0.3, 2)]
    with pytest.raises(ConfigError, match=r"episodes\.npz: missing"):
        read_traces(tmp_path, records)
    write_traces([trace(4, [0.1, 0.3])], tmp_path)
    for other in ([record(5, 0.3, 2)], [record(4, 0.3, 3)], [record(4, 0.31, 2)], records * 2):
        with pytest.raises(ConfigError, match=r"other episodes than eval\.json"):
            read_traces(tmp_path, other)
    whole = (tmp_path / FILE).read_bytes()
    for damaged in (b"", b"not an archive", whole[: len(whole) // 2]):
        (tmp_path / FILE).write_bytes(damaged)
        with pytest.raises(ConfigError, match="damaged") as caught:
            read_traces(tmp_path, records)
        assert "\n" not in str(caught.value)
    with (tmp_path / FILE).open("wb") as file:
        np.savez(file, seeds=np.array([object()]), rewards=np.zeros((1, 2)))
    with pytest.raises(ConfigError, match="damaged"):
        read_traces(tmp_path, records)
