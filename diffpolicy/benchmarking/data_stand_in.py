"""A store made on the spot, where no demonstrations are at hand: Push-T under random targets, as the human set is shaped.

What it shows is nothing to learn from, but its states, actions and pictures are as large as those of people and
compress as theirs do.
"""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import numpy as np
from diffpolicy_demos import Store, create_store, open_store, pusht_attrs
from diffpolicy_envs import PUSHT_ID
from diffpolicy_envs.pusht import WORKSPACE_PX

_STRIDE_PX = 15.0


def make_stand_in(folder: Path, episodes: int, steps: int) -> Store:
    """Records `state`, `action` and 96 x 96 `pixels` in a new store.

    Args:
        folder: Where the store goes; nothing is there yet.
        episodes: Episodes to record, at least 1.
        steps: Steps in each, at least 1.

    Raises:
        StoreError: The folder is taken.
        OSError: It cannot be written.
    """
    env = gym.make(PUSHT_ID, obs_type="pixels_agent_pos", max_episode_steps=steps + 1)
    attrs = pusht_attrs("random targets", keys=("state", "action", "pixels"))
    with create_store(folder, attrs=attrs) as store:
        for seed in range(episodes):
            store.append_episode(_episode(env, seed, steps), info={"seed": seed})
    env.close()
    return open_store(folder)


def _episode(env: gym.Env, seed: int, steps: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    obs, info = env.reset(seed=seed)
    target = obs["agent_pos"]
    recorded: dict[str, list[np.ndarray]] = {"state": [], "action": [], "pixels": []}
    for _ in range(steps):
        target = np.clip(target + rng.normal(0, _STRIDE_PX, 2), 0, WORKSPACE_PX)
        recorded["state"].append(np.concatenate([obs["agent_pos"], info["block_pose"]]))
        recorded["action"].append(target)
        recorded["pixels"].append(obs["pixels"])
        obs, _, _, _, info = env.step(target)
    return {key: np.stack(rows).astype(np.uint8 if key == "pixels" else np.float32) for key, rows in recorded.items()}
