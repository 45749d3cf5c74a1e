"""What tests of the benchmarks share: peers made of a few lines, a peer that is ourselves, and a way to be told off.

Peers are run by this Python, so that nothing is installed.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from diffpolicy.benchmarking import machine_rate

# A "Python" that has a gym-pusht: ours under its name, with its way of being given a start, and a fault on demand.
TWIN = """#!{python}
import importlib.metadata, runpy, sys, types
import gymnasium, numpy as np
from diffpolicy_envs.pusht import PushTEnv, PushTPhysics

class Twin(PushTEnv):
    def __init__(self, obs_type="state"):
        super().__init__(obs_type={{"environment_state_agent_pos": "keypoints"}}.get(obs_type, obs_type))
        self.seed, self.steps = 0, 0

    def reset(self, *, seed=None, options=None):
        self.seed, self.steps = seed, 0
        if not options:
            return super().reset(seed=seed)
        physics = PushTPhysics()
        physics.set_start(np.array(options["reset_to_state"]))
        return np.array((*physics.agent_position_px, *physics.block_pose)) + {start_fault}, {{}}

    def step(self, action):
        observation, *rest = super().step(action)
        self.steps += 1
        if {step_fault} and self.seed == 500002 and self.steps > 7:
            observation[2] += {step_fault}
        return observation, *rest

sys.modules["gym_pusht"] = types.ModuleType("gym_pusht")
gymnasium.register("gym_pusht/PushT-v0", entry_point=Twin, max_episode_steps={max_steps})
importlib.metadata.version = lambda name: "0.0"
runpy.run_path(sys.argv[2], run_name="__main__")
"""


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], Path]:
    """A function that writes what a peer runs and returns its path."""

    def write(body: str) -> Path:
        path = tmp_path / "script.py"
        path.write_text(body)
        return path

    return write


@pytest.fixture
def python() -> Path:
    return Path(sys.executable)


@pytest.fixture
def twin(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a peer of which everything is known, since it is ours but for its faults."""

    def write(start_fault: float = 0.0, step_fault: float = 0.0, max_steps: int = 300) -> Path:
        path = tmp_path / "python-of-the-twin"
        faults = {"start_fault": start_fault, "step_fault": step_fault, "max_steps": max_steps}
        path.write_text(TWIN.format(python=sys.executable, **faults))
        path.chmod(0o755)
        return path

    return write


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's limits are looked up with small matrices and short copies: nothing is quoted here."""
    monkeypatch.setitem(machine_rate._SIZES, "cpu", (64, 128))
    monkeypatch.setattr(machine_rate, "_COPIED_BYTES", 1 << 20)


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands write into the current folder; nothing outside the test's own is touched."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIFFPOLICY_DATA", str(tmp_path / "own-data"))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path
