"""`diffpolicy bench env` prints and writes what both sides do, sees a peer that differs, and tells mistakes in one line."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diffpolicy.cli import main

Complaint = Callable[..., str]

pytestmark = pytest.mark.usefixtures("own_folder")


def _bench(*options: object) -> dict[str, Any]:
    main(["bench", "env", "--quick", "--out", "results/env.json", *map(str, options)])
    written: dict[str, Any] = json.loads(Path("results/env.json").read_text())
    return written


def test_a_twin_agrees(twin: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    found = _bench("--peer", twin())
    assert found["machine"]["cores"] >= 1
    assert found["versions"]["pymunk"].startswith("7")
    assert found["peer"]["gym-pusht"] == "0.0"
    assert [(one["protocol"], one["largest"], one["agrees"]) for one in found["starts"]] == [
        ("gym_pusht", 0.0, True),
        ("diffusion_policy", 0.0, True),
    ]
    trajectories = found["trajectories"]
    assert (trajectories["identical_share"], trajectories["largest_reward"], trajectories["agrees"]) == (1.0, 0.0, True)
    compared = {one["what"]: one for one in found["speed"]}
    for kind in ("state", "keypoints", "pixels"):
        for what in (f"step, {kind}", f"step, {kind}, unwrapped", f"reset, {kind}"):
            assert compared[what]["ratios"]["gym-pusht / diffpolicy"]["rounds"] == 3
            ours = compared[what]["times_us"]["diffpolicy"]
            assert 0 < ours["low"] <= ours["median"] <= ours["high"] < 1e5
    said = capsys.readouterr().out
    for place in ("gym_pusht", "100.0% within 1e-06 px", "step, pixels, unwrapped", "written: results/env.json"):
        assert place in said
    assert "expected at" not in said.replace("as expected", "")


def test_a_peer_that_differs_is_seen(twin: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    found = _bench("--peer", twin(start_fault=1e-4, step_fault=3.0), "--only", "starts", "trajectories")
    assert [one["agrees"] for one in found["starts"]] == [True, False]
    assert found["starts"][1]["largest"] == pytest.approx(1e-4)
    trajectories = found["trajectories"]
    assert (trajectories["within_share"], trajectories["agrees"]) == (0.75, False)
    (parting,) = trajectories["partings"]
    assert (parting["seed"], parting["step"], parting["largest"]) == (500002, 8, pytest.approx(3.0))
    assert "speed" not in found
    said = capsys.readouterr().out
    assert "expected at most 1e-06" in said
    assert "expected at least 95%" in said
    assert "500002" in said


def test_ours_alone_needs_no_peer(own_folder: Path) -> None:
    found = _bench("--no-peer")
    assert found["peer"] is None
    assert not {"starts", "trajectories"} & set(found)
    compared = {one["what"]: one for one in found["speed"]}
    assert set(compared["step, state"]["times_us"]) == {"diffpolicy"}
    assert compared["step, state"]["ratios"] == {}
    (floor,) = (one for one in found["speed"] if "physics alone" in one["times_us"])
    assert floor["ratios"]["physics alone / step"]["median"] > 0.005
    (branch,) = (one for what, one in compared.items() if what.startswith("branch"))
    assert branch["times_us"]["save, ten steps, restore"]["median"] > 0
    assert not (own_folder / "cache").exists(), "nothing is installed"


def test_it_needs_no_torch() -> None:
    code = (
        "import sys; from diffpolicy.cli import main; main(['bench', 'env', '--quick', '--no-peer'])\n"
        "print('imported:', sorted(set(sys.modules) & {'torch', 'diffusers', 'accelerate', 'zarr'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    # The command line itself opens the door to stores, so zarr is there; what learns must not be.
    assert done.stdout.splitlines()[-1] == "imported: ['zarr']"


MISTAKES: dict[str, tuple[list[str], list[str]]] = {
    "no rounds": (["env", "--rounds", "0"], ["--rounds is 0"]),
    "both": (["env", "--no-peer", "--peer", "python"], ["--no-peer and --peer"]),
    "nothing to compare with": (["env", "--no-peer", "--only", "starts"], ["--only starts", "--no-peer"]),
    "no such part": (["env", "--only", "sped"], ["--only", "speed"]),
    "no such option": (["env", "--round", "3"], ["--round", "did you mean --rounds"]),
    "no such python": (["env", "--peer", "/nowhere/python"], ["/nowhere/python: cannot be started", "pip install"]),
    "no gym-pusht there": (["env", "--peer", sys.executable], ["gym_pusht", "pip install gym-pusht==0.1.8"]),
    "out is a folder": (["env", "--no-peer", "--out", "."], ["--out .", "a folder"]),
}


@pytest.mark.parametrize(("argv", "places"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(argv: list[str], places: list[str], complaint: Complaint) -> None:
    said = complaint("bench", *argv)
    assert [place for place in places if place not in said] == []


def test_a_peer_that_dies_leaves_the_old_result(twin: Callable[..., Path], complaint: Complaint) -> None:
    out = Path("env.json")
    out.write_text("{}")
    dying = twin()
    dying.write_text(f"#!{sys.executable}\nimport sys\nsys.stdin.readline()\nsys.exit('no more')\n")
    said = complaint("bench", "env", "--quick", "--peer", dying, "--out", out)
    assert "ended with code 1 at 'versions': no more" in said
    assert out.read_text() == "{}"


@pytest.mark.slow
def test_an_installation_that_fails(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Says first what it installs and where; what is left of it is nothing."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    done = subprocess.run(
        [sys.executable, "-m", "diffpolicy.cli", "bench", "env", "--quick"], capture_output=True, text=True, check=False
    )
    first, last = done.stderr.splitlines()[0], done.stderr.splitlines()[-1]
    assert done.returncode == 1
    assert "installing gym-pusht==0.1.8 pymunk==6.11.1 (about 360 MB)" in first
    assert str(own_folder / "cache") in first
    assert last.startswith("diffpolicy bench: ")
    assert "could not be made" in last
    assert "--no-peer" in last
    assert list((own_folder / "cache").rglob("gym-pusht*")) == []
