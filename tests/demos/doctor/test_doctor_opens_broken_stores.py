"""A store that `open_store` refuses is examined all the same, and what is wrong with its files is told by episode."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr
from diffpolicy_demos import StoreError, open_store
from diffpolicy_demos.doctor.examine import diagnose

Episode = dict[str, np.ndarray]
Finding = tuple[str, str, tuple[int, ...], tuple[tuple[int, int], ...]]
Told = Callable[..., set[Finding]]

STEPS, EPISODES, CHUNK = 40, 8, 256


@pytest.fixture
def path(numbers: list[Episode], write: Callable[..., Path]) -> Path:
    return write(numbers)


def set_ends(path: Path, ends: list[int]) -> None:
    zarr.open_group(path, mode="r+")["meta/episode_ends"][:] = np.array(ends)


def foreign(path: Path) -> None:
    """As if somebody else had written it: then no steps may lie after the last end."""
    attrs = json.loads((path / "zarr.json").read_text())
    del attrs["attributes"]["diffpolicy_store"]
    (path / "zarr.json").write_text(json.dumps(attrs))


def layout(*episodes: int) -> Finding:
    return ("layout", "error", episodes, ())


@pytest.mark.parametrize(
    ("ends", "broken"),
    [
        ([40, 80, 60, 160, 200, 240, 280, 320], {layout(1), layout(2), layout(3)}),
        ([40, 80, 80, 120, 200, 240, 280, 320], {layout(2)}),
        ([40, 80, 999, 160, 200, 240, 280, 320], {layout(2), layout(3)}),
        ([40, 80, 120, 160, 200, 240, 280, 340], {layout(7)}),
        ([-5, 80, 120, 160, 200, 240, 280, 320], {layout(0), layout(1)}),
    ],
    ids=["not rising", "empty", "far too high", "past the data", "negative"],
)
def test_ends(path: Path, told: Told, ends: list[int], broken: set[Finding]) -> None:
    """One wrong number costs the episodes that it ends and begins, and no other; of two that only contradict each
    other, nobody can tell which is wrong."""
    set_ends(path, ends)
    with pytest.raises(StoreError):
        open_store(path)
    found = diagnose(path)
    assert {one for one in told(found) if one[0] == "layout"} == broken
    assert set(found.lengths) == set(range(EPISODES)) - {episode for _, _, (episode,), _ in broken}


def test_steps_of_no_episode(path: Path, told: Told) -> None:
    set_ends(path, [40, 80, 120, 160, 200, 240, 280, 300])
    assert told(diagnose(path)) == set(), "the rest of an append that was interrupted"
    foreign(path)
    found = diagnose(path)
    assert told(found) == {layout()}
    assert "20 steps after the last end (300) belong to no episode" in found.findings[0].found


def test_arrays_of_other_lengths(path: Path, told: Told) -> None:
    foreign(path)
    zarr.open_group(path, mode="r+")["data/action"].resize((290, 2))
    found = diagnose(path)
    assert {one[:3] for one in told(found)} == {("layout", "error", (7,)), ("layout", "error", ())}
    assert any("'action' has 290 steps" in one.found for one in found.findings)


def test_a_truncated_chunk(path: Path, told: Told) -> None:
    """The second chunk holds the steps from 256 on: episode 6 from its 16th step, and episode 7."""
    chunk = path / "data/state/c/1/0"
    chunk.write_bytes(chunk.read_bytes()[:100])
    found = diagnose(path)
    assert told(found) == {
        ("unreadable", "error", (6,), ((CHUNK - 6 * STEPS, STEPS - 1),)),
        ("unreadable", "error", (7,), ((0, STEPS - 1),)),
    }
    assert all("data/state/c/1/0" in one.found for one in found.findings)
    assert len(found.drifts) == EPISODES - 2


def test_a_missing_chunk(path: Path, told: Told) -> None:
    (path / "data/keypoint/c/0/0/0").unlink()
    found = diagnose(path)
    assert {(kind, episodes) for kind, _, episodes, _ in told(found)} == {("unreadable", (i,)) for i in range(7)}
    assert "is missing" in found.findings[0].found


def test_damaged_pictures(clean: list[Episode], write: Callable[..., Path], told: Told) -> None:
    path = write(clean)
    chunks = sorted((path / "data/img/c").glob("*/0/0/0"), key=lambda chunk: int(chunk.parts[-4]))
    chunks[-1].write_bytes(b"no zstd")
    kinds = {(kind, severity, episodes) for kind, severity, episodes, _ in told(diagnose(path))}
    assert kinds == {("unreadable", "error", (7,))}


def test_an_array_that_does_not_open(path: Path, told: Told) -> None:
    (path / "data/keypoint/zarr.json").write_text("{}")
    found = diagnose(path)
    assert told(found) == {layout()}
    assert "keypoint" in found.findings[0].found
    assert len(found.drifts) == EPISODES, "the rest is examined"


@pytest.mark.parametrize("lost", ["data/action", "meta/episode_ends"])
def test_what_cannot_be_done_without(path: Path, lost: str) -> None:
    shutil.rmtree(path / lost)
    found = diagnose(path)
    assert not found.sound
    assert any(lost in one.found for one in found.of("error"))
    assert found.lengths == {}


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such file"):
        diagnose(tmp_path / "nothing.zarr")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match="an empty folder"):
        diagnose(tmp_path / "empty")
    with pytest.raises(StoreError, match="idle steps: found 0; expected at least 1"):
        diagnose(tmp_path / "empty", idle_steps=0)
