#!/usr/bin/env bash
# Installs a wheel alone into an empty environment, outside the checkout, and tries what a user would.
set -euo pipefail
wheel=$(realpath "$1")
python=${2:-python3}
constraints=$(realpath "$(dirname "$0")/../constraints.txt")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"$python" -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check -c "$constraints" "$wheel"
unset PYTHONPATH DIFFPOLICY_DATA

venv/bin/diffpolicy --help > /dev/null
venv/bin/python - <<'PY'
import gymnasium as gym
import numpy as np
from diffpolicy_demos import create_store

env = gym.make("diffpolicy_envs:diffpolicy/PushT-v0", obs_type="state")
rng = np.random.default_rng(0)
store = create_store("demos.zarr")
for seed in range(6):
    obs, _ = env.reset(seed=seed)
    states, actions = [], []
    for _ in range(20):
        action = np.clip(obs[:2] + rng.normal(0, 20, 2), 0, 512)
        states.append(obs)
        actions.append(action)
        obs, *_ = env.step(action)
    store.append_episode({"state": np.array(states), "action": np.array(actions)})
PY
venv/bin/diffpolicy demos inspect demos.zarr > /dev/null
venv/bin/diffpolicy demos inspect pusht-expert > /dev/null
venv/bin/diffpolicy train debug --data.path demos.zarr --out run
venv/bin/diffpolicy eval run --episodes 2 --max-steps 10 --workers 1 --out scores
venv/bin/diffpolicy eval pusht-state --episodes 2 --max-steps 10 --workers 1 --out released
venv/bin/diffpolicy visualize pusht-state --n 4 --out pictures
test -s scores/eval.json && test -s pictures/denoising.gif && test -s pictures/denoising.mp4 && test -s pictures/denoising.html
echo "the wheel works alone: $(basename "$wheel")"
