"""Ctrl-C and `kill` end an evaluation at once, its workers too, with one line."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest


def members(group: int) -> list[int]:
    """Living processes of a process group."""
    listed = subprocess.run(["ps", "-eo", "pid,pgid,stat"], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listed.splitlines()[1:]]
    return [int(pid) for pid, pgid, stat in rows if int(pgid) == group and not stat.startswith("Z")]


@pytest.mark.parametrize(
    ("number", "to_all", "wait_s"), [(signal.SIGINT, True, 0.5), (signal.SIGINT, True, 6), (signal.SIGTERM, False, 6)]
)
def test_an_evaluation_over_workers(
    make_checkpoint: Callable[..., Path], number: int, to_all: bool, wait_s: float
) -> None:
    words = ["eval", str(make_checkpoint()), "--episodes", "5000", "--workers", "2", "--out", "scores"]
    process = subprocess.Popen(
        [sys.executable, "-m", "diffpolicy.cli", *words],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 60
    while len(members(process.pid)) < 3 and time.monotonic() < deadline:
        time.sleep(0.2)  # until the parent and its workers are there
    time.sleep(wait_s)  # while the workers still import, or into the blocks
    if to_all:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "diffpolicy eval: interrupted"
    assert "Traceback" not in said
    deadline = time.monotonic() + 10
    while members(process.pid) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert members(process.pid) == []
