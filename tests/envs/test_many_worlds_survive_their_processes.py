"""A worker process that dies, hangs or fails raises one clear error, never a hang; and none outlives its environment."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from diffpolicy_envs.pusht import PushTVectorEnv, WorkerError, workers

pytestmark = pytest.mark.skipif(os.name != "posix", reason="further processes need a POSIX system")

ACTIONS = np.full((5, 2), 200.0)


def processes_of(env: PushTVectorEnv) -> list[subprocess.Popen]:
    assert env._fleet._workers is not None
    return env._fleet._workers._processes


def ends_soon(pid: int) -> bool:
    """Tells whether a process that is no child of this one is gone, or at most waits to be buried, within 5 s."""
    for _ in range(100):
        state = subprocess.run(
            ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
        ).stdout
        if not state.strip() or state.startswith("Z"):
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def env() -> Iterator[PushTVectorEnv]:
    """Five worlds over three processes: worker 2 has the worlds 1 and 2, worker 3 the worlds 3 and 4."""
    env = PushTVectorEnv(num_envs=5, workers=3, variations={"scale": 1.0}, max_episode_steps=None)
    env.reset(seed=0)
    yield env
    env.close()


def assert_closed(env: PushTVectorEnv, processes: list[subprocess.Popen]) -> None:
    assert env.closed
    assert all(process.poll() is not None for process in processes)
    with pytest.raises(gym.error.ClosedEnvironmentError):
        env.step(ACTIONS)
    env.close()


@pytest.mark.parametrize("call", ["step", "reset", "get_state"])
def test_a_worker_that_died_is_named_with_its_worlds_and_signal(env: PushTVectorEnv, call: str) -> None:
    processes = processes_of(env)
    processes[1].kill()
    began = time.monotonic()
    with pytest.raises(WorkerError, match=r"worker 3 .*worlds 3 to 4.*SIGKILL") as error:
        getattr(env, call)(*((ACTIONS,) if call == "step" else ()))
    assert time.monotonic() - began < 5
    assert "\n" not in str(error.value)
    assert_closed(env, processes)


def test_a_worker_killed_in_the_middle_of_a_step_is_noticed_in_it(env: PushTVectorEnv) -> None:
    processes = processes_of(env)
    # Stopped, it cannot have answered when the signal comes.
    processes[0].send_signal(signal.SIGSTOP)
    threading.Timer(0.3, processes[0].kill).start()
    with pytest.raises(WorkerError, match=r"worker 2 .*worlds 1 to 2.*SIGKILL"):
        env.step(ACTIONS)
    assert_closed(env, processes)


def test_a_worker_that_hangs_is_named_after_the_time_limit() -> None:
    env = PushTVectorEnv(num_envs=2, workers=2, timeout_s=0.5)
    env.reset(seed=0)
    processes = processes_of(env)
    processes[0].send_signal(signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(WorkerError, match=r"worker 2 .*world 1\) did not answer within 0.5 s"):
        env.step(ACTIONS[:2])
    assert 0.4 < time.monotonic() - began < 5
    assert_closed(env, processes)


def test_a_stopped_worker_does_not_keep_an_environment_from_closing(env: PushTVectorEnv) -> None:
    processes = processes_of(env)
    processes[0].send_signal(signal.SIGSTOP)
    env.close()
    assert_closed(env, processes)


def test_an_exception_in_a_worker_comes_back_with_its_text(env: PushTVectorEnv) -> None:
    processes = processes_of(env)
    # A state that contradicts itself: its table is of another scale than it says.
    broken = [dataclasses.replace(state, scale=1.2) if i == 4 else state for i, state in enumerate(env.get_state())]
    with pytest.raises(WorkerError, match=r"worker 3 .*worlds 3 to 4.*raised ValueError: .*scale") as error:
        env.set_state(broken)
    assert "Traceback" in error.value.__notes__[0]
    assert_closed(env, processes)


def test_a_worker_that_does_not_start_is_told_with_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_PROGRAM", "raise SystemExit(3)")
    with pytest.raises(WorkerError, match=r"worker 2 .*exit code 3"):
        PushTVectorEnv(num_envs=2, workers=2)


def test_workers_leave_ctrl_c_to_the_parent(env: PushTVectorEnv) -> None:
    twin = PushTVectorEnv(num_envs=5, variations={"scale": 1.0}, max_episode_steps=None)
    twin.reset(seed=0)
    for process in processes_of(env):
        # A terminal sends it to the processes of its own session, which workers are not in.
        assert os.getsid(process.pid) != os.getsid(0)
        process.send_signal(signal.SIGINT)
    for _ in range(3):
        np.testing.assert_array_equal(env.step(ACTIONS)[0]["state"], twin.step(ACTIONS)[0]["state"])


@pytest.fixture
def interrupts() -> Iterator[None]:
    """A timer's signal is a Ctrl-C, at a moment that can be chosen."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def step_until_interrupted(env: PushTVectorEnv, delay_s: float) -> None:
    signal.setitimer(signal.ITIMER_REAL, delay_s)
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            env.step(np.full((env.num_envs, 2), 200.0))


@pytest.mark.usefixtures("interrupts")
def test_an_interrupted_environment_goes_on_after_a_reset() -> None:
    env, twin = (PushTVectorEnv(num_envs=20, max_episode_steps=None) for _ in range(2))
    actions, interrupted = np.full((20, 2), 200.0), 0
    for delay_s in (0.0501, 0.0303, 0.0211, 0.0307, 0.0409):
        env.reset(seed=0)
        step_until_interrupted(env, delay_s)
        # Nearly always in the middle of a step; between two, nothing is lost.
        if not env._begun.all():
            interrupted += 1
            with pytest.raises(gym.error.ResetNeeded, match="interrupted"):
                env.step(actions)
        np.testing.assert_array_equal(env.reset(seed=0)[0], twin.reset(seed=0)[0])
        np.testing.assert_array_equal(env.step(actions)[0], twin.step(actions)[0])
    assert interrupted > 0


@pytest.mark.usefixtures("interrupts")
def test_an_interrupted_environment_with_workers_is_closed() -> None:
    for delay_s in (0.0501, 0.0303):
        env = PushTVectorEnv(num_envs=20, workers=2, max_episode_steps=None)
        env.reset(seed=0)
        processes = processes_of(env)
        step_until_interrupted(env, delay_s)
        if not env._begun.all():
            assert_closed(env, processes)
        env.close()


def test_a_forgotten_environment_leaves_no_process_and_no_file() -> None:
    open_before, shared_before = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else [], shared_files()
    env = PushTVectorEnv(num_envs=3, workers=3)
    env.reset(seed=0)
    processes = processes_of(env)
    assert shared_files() == shared_before
    assert all(process.poll() is None for process in processes)
    del env
    assert all(process.poll() == 0 for process in processes)
    if open_before:
        assert len(os.listdir("/proc/self/fd")) == len(open_before)


def shared_files() -> list[str]:
    return sorted(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else []


# No `if __name__ == "__main__"`, and a main script that would be heavy to import again.
SCRIPT = """
import os, signal, sys
print("main", flush=True)
import gymnasium, numpy, diffpolicy_envs
env = gymnasium.make_vec("diffpolicy/PushT-v0", num_envs=4, workers=2)
env.reset(seed=0)
env.step(numpy.full((4, 2), 100.0))
print(env._fleet._workers._processes[0].pid, flush=True)
if sys.argv[1] == "dies":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("how", "code"), [("ends", 0), ("dies", -signal.SIGKILL)])
def test_no_worker_outlives_its_script_and_none_runs_it_again(how: str, code: int) -> None:
    shared_before = shared_files()
    command = [sys.executable, "-W", "error", "-c", SCRIPT, how]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert found.returncode == code
    assert found.stderr == ""
    first, pid = found.stdout.split()
    assert first == "main"
    assert ends_soon(int(pid))
    assert shared_files() == shared_before
