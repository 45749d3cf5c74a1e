"""A window holds just the steps it is said to, and never one of another episode."""

from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffpolicy.training.windows import Windows, make_windows

# Two episodes: recorded steps 0..4 and 5..7. An observation is its step's number, an action a hundred more.
ENDS = np.array([5, 8])


def numbered(ends: np.ndarray, **changes: Any) -> Windows:
    steps = np.arange(ends[-1], dtype=np.float32)
    obs = {"state": steps[:, None], "keypoints": np.stack([steps, -steps], axis=1)[:, :, None]}
    return make_windows(obs, np.stack([100 + steps, steps], axis=1), ends, **changes)


def test_two_short_episodes_written_out() -> None:
    windows = numbered(ENDS, obs_horizon=2, pred_horizon=4)
    batch = windows.batch(torch.arange(len(windows)))
    assert windows.steps.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert batch["obs"]["state"][..., 0].tolist() == [[0, 0], [0, 1], [1, 2], [2, 3], [3, 4], [5, 5], [5, 6], [6, 7]]
    assert batch["obs"]["keypoints"][3, :, :, 0].tolist() == [[2, -2], [3, -3]]
    assert batch["action"][..., 0].tolist() == [
        [100, 100, 101, 102],
        [100, 101, 102, 103],
        [101, 102, 103, 104],
        [102, 103, 104, 104],
        [103, 104, 104, 104],
        [105, 105, 106, 107],
        [105, 106, 107, 107],
        [106, 107, 107, 107],
    ]
    o, X = False, True
    assert batch["mask"].tolist() == [
        [X, o, o, o],
        [o, o, o, o],
        [o, o, o, o],
        [o, o, o, X],
        [o, o, X, X],
        [X, o, o, o],
        [o, o, o, X],
        [o, o, X, X],
    ]


def test_chosen_episodes_alone_are_used_and_numbers_pick_windows() -> None:
    windows = numbered(ENDS, episodes=np.array([1]), obs_horizon=1, pred_horizon=2)
    assert windows.steps.tolist() == [5, 6, 7]
    batch = windows.batch(torch.tensor([2, 0, 2]))
    assert batch["obs"]["state"][..., 0].tolist() == [[7], [5], [7]]
    assert batch["action"][..., 0].tolist() == [[107, 107], [105, 106], [107, 107]]
    assert batch["mask"].tolist() == [[False, True], [False, False], [False, True]]


def reference(
    start: int, end: int, t: int, obs_horizon: int, pred_horizon: int
) -> tuple[list[int], list[int], list[bool]]:
    """The definition, in plain Python: observations t - obs_horizon + 1 .. t, actions from the same step on."""
    first = t - obs_horizon + 1
    seen = [min(max(step, start), end - 1) for step in range(first, t + 1)]
    wanted = list(range(first, first + pred_horizon))
    acted = [min(max(step, start), end - 1) for step in wanted]
    return seen, acted, [a != w for a, w in zip(acted, wanted, strict=True)]


@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=5),
    obs_horizon=st.integers(1, 5),
    extra=st.integers(0, 12),
    data=st.data(),
)
def test_windows_are_those_of_the_definition(
    lengths: list[int], obs_horizon: int, extra: int, data: st.DataObject
) -> None:
    ends, pred_horizon = np.cumsum(lengths), obs_horizon + extra
    chosen = data.draw(st.lists(st.integers(0, len(lengths) - 1), unique=True, min_size=1))
    windows = numbered(ends, episodes=np.array(chosen), obs_horizon=obs_horizon, pred_horizon=pred_horizon)
    batch = windows.batch(torch.arange(len(windows)))
    expected = [
        (episode, reference(ends[episode] - lengths[episode], ends[episode], t, obs_horizon, pred_horizon))
        for episode in sorted(chosen)
        for t in range(ends[episode] - lengths[episode], ends[episode])
    ]
    assert len(windows) == len(expected)
    for row, (episode, (seen, acted, mask)) in enumerate(expected):
        assert batch["obs"]["state"][row, :, 0].tolist() == seen
        assert batch["action"][row, :, 1].tolist() == acted
        assert batch["mask"][row].tolist() == mask
        steps = {*seen, *acted}
        assert ends[episode] - lengths[episode] <= min(steps) <= max(steps) < ends[episode]


def test_another_device_holds_the_same_windows() -> None:
    windows = numbered(ENDS, obs_horizon=2, pred_horizon=4)
    moved = windows.to("meta")
    assert {moved.action.device.type, moved.steps.device.type, moved.obs["state"].device.type} == {"meta"}
    assert (len(moved), moved.obs_horizon, moved.pred_horizon) == (8, 2, 4)
    batch, index = windows.batch(torch.arange(8)), torch.arange(8)
    assert torch.equal(windows.to("cpu").batch(index)["action"], batch["action"])
    sent = windows.batch(index, "meta")
    assert {sent["action"].device.type, sent["mask"].device.type, sent["obs"]["state"].device.type} == {"meta"}
    assert sent["action"].shape == batch["action"].shape
