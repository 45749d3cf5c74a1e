"""Expert, mouse and conversions describe Push-T in the same words, and the description agrees with the environment."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from diffpolicy_demos import create_store, open_store, pusht_attrs
from diffpolicy_demos.attributes import PUSHT_LAYOUT
from diffpolicy_envs import PUSHT_ID


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_the_attributes_come_back(tmp_path: Path, zarr_format: int) -> None:
    attrs = pusht_attrs("expert", {"obs_type": "state"})
    with create_store(tmp_path / "a.zarr", attrs=attrs, zarr_format=zarr_format) as store:
        store.append_episode({"action": np.ones((2, 2))})
    found = open_store(tmp_path / "a.zarr").attrs
    assert {name: found[name] for name in attrs} == attrs
    assert set(attrs) == {"env_id", "env_version", "env_kwargs", "source", "control_hz", "layout", "created_with"}
    assert (attrs["source"], attrs["env_id"], attrs["env_kwargs"]) == ("expert", PUSHT_ID, {"obs_type": "state"})
    assert attrs["created_with"].startswith(f"diffpolicy {attrs['env_version']}")


def test_the_environment_can_be_made_again() -> None:
    attrs = pusht_attrs("mouse", {"obs_type": "keypoints", "keypoint_set": "corners"})
    env = gym.make(attrs["env_id"], **attrs["env_kwargs"])
    assert env.observation_space["keypoints"].shape == (8, 2)
    assert env.metadata["render_fps"] == attrs["control_hz"]


def test_every_number_is_named() -> None:
    for key, numbers in PUSHT_LAYOUT.items():
        assert set(numbers) == {"names", "units", "ranges"}, key
        assert len(numbers["names"]) == len(numbers["units"]) == len(numbers["ranges"]), key
        assert len(set(numbers["names"])) == len(numbers["names"]), key


@pytest.mark.parametrize(
    "env_kwargs",
    [
        {"obs_type": "state"},
        {"obs_type": "keypoints", "variations": {"goal_pose": "random", "scale": "random"}},
        {"obs_type": "pixels_agent_pos"},
    ],
)
def test_the_layout_is_the_environments(env_kwargs: dict) -> None:
    """As many numbers along the last axis as the environment gives, within the ranges that are told."""
    env = gym.make(PUSHT_ID, **env_kwargs)
    obs, _ = env.reset(seed=0)
    found = {"action": env.action_space.sample(), **(obs if isinstance(obs, dict) else {"state": obs})}
    for key, values in found.items():
        assert values.shape[-1] == len(PUSHT_LAYOUT[key]["names"]), key
        for column, bounds in enumerate(PUSHT_LAYOUT[key]["ranges"]):
            if bounds is not None:
                assert bounds[0] <= values[..., column].min() <= values[..., column].max() <= bounds[1], (key, column)


def test_only_the_keys_asked_for() -> None:
    assert set(pusht_attrs("expert", keys=("action", "state", "my_own"))["layout"]) == {"action", "state"}
