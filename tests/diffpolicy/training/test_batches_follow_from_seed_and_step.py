"""A batch is a function of seed, process and step alone, whoever asks, in whatever order, ahead or not."""

import dataclasses
import threading
from typing import Any

import pytest
import torch
from diffpolicy_demos import open_store

from diffpolicy.training.batches import Batches
from diffpolicy.training.windows import Windows, load_windows


@pytest.fixture
def windows(make_store: Any, tiny: Any) -> Windows:
    store = open_store(make_store(steps=40))
    return load_windows(store, tiny().data, ("state",), obs_horizon=2, pred_horizon=16)[0]


def same(one: Any, other: Any) -> bool:
    tensors = [(batch["obs"]["state"], batch["action"], batch.get("mask", batch["action"])) for batch in (one, other)]
    return one.keys() == other.keys() and all(map(torch.equal, *tensors))


def test_steps_may_be_drawn_in_any_order(windows: Windows, tiny: Any) -> None:
    batches = Batches(windows, tiny(), "cpu")
    in_order = [batches.draw(step) for step in range(130)]
    for step in (129, 3, 64, 63, 0, 128):
        assert same(Batches(windows, tiny(), "cpu").draw(step), in_order[step])
        assert same(batches.draw(step), in_order[step])
    assert not any(same(in_order[step], in_order[step + 1]) for step in range(129))
    assert not same(in_order[0], in_order[64])


@pytest.mark.parametrize("padding", [True, False])
def test_fetching_ahead_changes_nothing(windows: Windows, tiny: Any, padding: bool) -> None:
    config = tiny(data={"count_padding": padding})
    before = threading.active_count()
    with Batches(windows, config, "cpu", ahead=True) as ahead:
        plain = Batches(windows, config, "cpu")
        for step in [*range(70), 5, 6, 200, 7]:
            assert same(ahead.draw(step), plain.draw(step))
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_a_failure_while_fetching_ahead_is_told(windows: Windows, tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("no room")

    with Batches(windows, tiny(), "cpu", ahead=True) as batches:
        batches.draw(0)
        monkeypatch.setattr(Windows, "batch", fail)
        with pytest.raises(MemoryError, match="no room"):
            [batches.draw(step) for step in range(1, 10)]


def test_seeds_and_processes_draw_other_windows(windows: Windows, tiny: Any) -> None:
    drawn = [
        Batches(windows, tiny(training={"seed": seed}), "cpu", process=process).draw(0)
        for seed in range(3)
        for process in range(3)
    ]
    assert not any(same(drawn[i], drawn[j]) for i in range(9) for j in range(i))


def test_all_windows_are_drawn_equally_often(windows: Windows, tiny: Any) -> None:
    config = tiny(data={"mirror": False}, training={"batch_size": 1000})
    numbered = dataclasses.replace(windows, action=torch.arange(len(windows.action)).float()[:, None].expand(-1, 2))
    counts = torch.zeros(len(windows.action))
    batches = Batches(numbered, config, "cpu")
    for step in range(64):
        present = batches.draw(step)["action"][:, 1, 0].long()  # the action of the window's own step
        counts += torch.bincount(present, minlength=len(counts))
    assert counts.sum() == 64_000
    expected = torch.zeros_like(counts).index_fill_(0, windows.steps, 64_000 / len(windows))
    assert ((counts - expected).abs() <= 5 * expected.sqrt()).all()


def test_pictures_and_numbers_are_laid_out_alike(windows: Windows) -> None:
    """Few numbers are kept window by window, pictures step by step: both give the same windows."""
    whole = dataclasses.replace(windows, obs={key: value.double() for key, value in windows.obs.items()})
    index = torch.randperm(len(windows), generator=torch.Generator().manual_seed(0))
    rows, gathered = windows.batch(index), whole.batch(index)
    assert windows._laid_out is not None
    assert whole._laid_out is None
    assert torch.equal(rows["obs"]["state"], gathered["obs"]["state"].float())
    assert torch.equal(rows["action"], gathered["action"])
    assert torch.equal(rows["mask"], gathered["mask"])
