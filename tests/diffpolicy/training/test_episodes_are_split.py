"""Held-out episodes are never trained on, and the seed alone says which they are."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffpolicy_demos import open_store
from hypothesis import given
from hypothesis import strategies as st

from diffpolicy.config import DataConfig
from diffpolicy.errors import ConfigError
from diffpolicy.training.windows import load_windows, split_episodes


@given(n=st.integers(2, 60), held=st.integers(0, 20), most=st.none() | st.integers(1, 70), seed=st.integers(0, 9))
def test_the_two_parts_are_disjoint_and_as_large_as_asked(n: int, held: int, most: int | None, seed: int) -> None:
    held = min(held, n - 1)
    config = DataConfig(validation_episodes=held, max_episodes=most, split_seed=seed)
    train, held_out = split_episodes(n, config)
    assert not set(train) & set(held_out)
    assert set(train) | set(held_out) <= set(range(n))
    assert len(held_out) == held
    assert len(train) == min(n - held, most or n)
    assert len(set(train)) == len(train)
    again = split_episodes(n, config)
    assert np.array_equal(again[0], train)
    assert np.array_equal(again[1], held_out)


def test_the_seed_changes_both_parts() -> None:
    splits = [split_episodes(206, DataConfig(split_seed=seed, max_episodes=90)) for seed in (1, 2)]
    assert set(splits[0][0]) != set(splits[1][0])
    assert set(splits[0][1]) != set(splits[1][1])


def test_training_on_fewer_keeps_the_same_held_out() -> None:
    """So that two amounts of demonstrations can be compared on one held-out set, the smaller within the larger."""
    few, many = (split_episodes(206, DataConfig(max_episodes=most)) for most in (20, 90))
    assert np.array_equal(few[1], many[1])
    assert set(few[0]) < set(many[0])


@pytest.mark.parametrize(("n", "held"), [(4, 4), (3, 10), (0, 0)])
def test_nothing_left_to_train_on_is_refused(n: int, held: int) -> None:
    with pytest.raises(ConfigError, match=f"validation_episodes is {held}, but the store has {n} episodes.*lower it"):
        split_episodes(n, DataConfig(validation_episodes=held))


def test_a_store_becomes_windows_of_its_own_steps(make_store: Callable[..., Path]) -> None:
    store = open_store(make_store(episodes=4, steps=20))
    config = DataConfig(validation_episodes=1)
    train, held_out = load_windows(store, config, ("state",), obs_horizon=2, pred_horizon=16)
    assert len(train) + len(held_out) == store.n_steps
    assert not set(train.steps.tolist()) & set(held_out.steps.tolist())
    window = train.batch(torch.tensor([5]))
    step = int(train.steps[5])
    np.testing.assert_array_equal(window["obs"]["state"][0], store["state"][step - 1 : step + 1])
    np.testing.assert_array_equal(window["action"][0, 1], store["action"][step])
    assert window["obs"]["state"].dtype == window["action"].dtype == torch.float32
    assert set(window["obs"]) == {"state"}


def test_an_observation_that_was_not_recorded_is_named(make_store: Callable[..., Path]) -> None:
    store = open_store(make_store())
    with pytest.raises(ConfigError, match=r"policy.observations or .*demos\.zarr has no 'touch'; it has .*keypoints"):
        load_windows(store, DataConfig(), ("state", "touch"), obs_horizon=2, pred_horizon=16)
