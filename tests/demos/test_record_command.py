"""`diffpolicy demos record`, driven by events in a window on no screen: what a person keeps is in the store, bit for bit."""

import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from diffpolicy_demos import Store, StoreError, create_store, open_store
from diffpolicy_demos.record_panel import GREEN, panel_width_px
from diffpolicy_demos.replay import replay
from diffpolicy_envs.pusht import PushTEnv

sys.path.insert(0, str(Path(__file__).parent))
from record_driver import CLOSE, WINDOW_PX, Events, click, key, move, person, solve, start_state, wander

from diffpolicy.cli import main
from diffpolicy.commands.demos_record import RecordArguments, record

pygame = pytest.importorskip("pygame")

#: It and the third after it are solved quickly.
SEED = 500_014


@pytest.fixture(autouse=True)
def _no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("PYGAME_HIDE_SUPPORT_PROMPT", "1")


def run(path: Path, script: Iterable[Events], **options: object) -> None:
    """Records with the person of a script; a script that ends closes the window."""
    record(RecordArguments(path, seed=SEED, window_px=WINDOW_PX, **options), person(script))  # type: ignore[arg-type]
    assert not pygame.display.get_init()


def assert_is_what_happened(store: Store) -> None:
    """Starts are those of the seeds, targets are on the table, and the world, played anew, does what is recorded."""
    for index in range(store.n_episodes):
        info, episode = store.episode_info(index), store.episode(index)
        start = start_state(info["seed"], info["protocol"])
        assert info["mode"] == "mouse"
        assert info["start_state"] == start.tolist() == episode["state"][0].tolist()
        assert {episode[name].dtype for name in ("state", "action")} == {np.dtype(np.float32)}
        assert episode["action"].min() >= 0
        assert episode["action"].max() <= 512
        assert np.linalg.norm(episode["action"][0] - start[:2]) < 15.0  # no episode begins with a jump
    # As near as float32 writes a state down.
    assert max(drift.drift_px for drift in replay(store)) < 5e-5


def test_an_evening_at_the_mouse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Kept, discarded, skipped, solved, taken back, and left in the middle: the store holds what was kept."""

    def evening() -> Iterator[Events]:
        yield from wander(SEED, 40)
        yield key("RETURN")
        yield from wander(SEED + 1, 12)
        yield key("ESCAPE")
        yield from wander(SEED + 1, 30)
        yield click(100, 100)
        yield from wander(SEED + 2, 7)
        yield key("n")
        yield from solve(SEED + 3)
        yield key("KP_ENTER")
        yield from wander(SEED + 4, 20)
        yield key("RETURN")
        yield key("u")
        yield from wander(SEED + 4, 25)
        yield key("q")

    path = tmp_path / "runs" / "a.zarr"
    run(path, evening())
    store = open_store(path)
    infos = store.episode_infos()
    assert [info["seed"] for info in infos] == [SEED, SEED + 1, SEED + 3]
    # A key is read before its step passes: nothing is recorded any more in that one.
    assert store.episode_lengths[:2].tolist() == [40, 30]
    assert [info["success"] for info in infos] == [False, False, True]
    assert infos[2]["max_coverage"] > 0.95
    assert_is_what_happened(store)
    assert store.damages() == []
    assert store.attrs["source"] == "mouse"
    assert f"{path}: 3 episodes, {store.n_steps} steps; 3 new, 1 of them successes" in capsys.readouterr().out


def test_a_success_waits_to_be_kept(tmp_path: Path) -> None:
    """However long; and it can be discarded."""

    frames = []

    def script() -> Iterator[Events]:
        yield from solve(SEED)
        yield from (move(x, 300) for x in range(10))
        frames.append(pygame.surfarray.array3d(pygame.display.get_surface()))
        yield key("BACKSPACE")
        yield from solve(SEED)
        yield from (move(x, 300) for x in range(10))
        yield click(300, 300)

    run(tmp_path / "a.zarr", script())
    store = open_store(tmp_path / "a.zarr")
    assert store.n_episodes == 1
    assert store.episode_info(0)["success"] is True
    assert frames[0].shape == (WINDOW_PX + panel_width_px(WINDOW_PX), WINDOW_PX, 3)
    assert (frames[0][:WINDOW_PX, 0] == GREEN).all()  # its frame says so
    assert_is_what_happened(store)


def test_a_store_is_gone_on_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.zarr"
    run(path, [*wander(SEED, 15), key("RETURN"), *wander(SEED + 1, 15), CLOSE])
    first = open_store(path).episode(0)
    run(
        path,
        [*wander(SEED + 1, 10), key("RETURN"), *wander(SEED + 2, 10), key("RETURN"), *wander(SEED + 3, 5)],
        episodes=3,
    )
    store = open_store(path)
    assert [info["seed"] for info in store.episode_infos()] == [SEED, SEED + 1, SEED + 2]
    for name, values in store.episode(0).items():
        np.testing.assert_array_equal(values, first[name])
    assert "3 episodes, 35 steps; 2 new" in capsys.readouterr().out
    run(path, iter(()), episodes=3)
    assert "3 episodes, 35 steps; 0 new" in capsys.readouterr().out


def test_only_episodes_of_this_sitting_are_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    run(path, [*wander(SEED, 5), key("RETURN"), CLOSE])
    run(path, [key("u"), *wander(SEED + 1, 5), key("RETURN"), key("u"), key("u"), CLOSE])
    assert open_store(path).n_episodes == 1


def test_other_stores_are_not_mixed_in(tmp_path: Path) -> None:
    run(tmp_path / "a.zarr", [*wander(SEED, 5), key("RETURN"), CLOSE])
    with pytest.raises(
        StoreError, match=r"was recorded with .*'pixels': False.* give the same options, or another path"
    ):
        run(tmp_path / "a.zarr", [], pixels=1)
    with create_store(tmp_path / "b.zarr") as store:
        store.append_episode({"action": np.ones((4, 2))})
    with pytest.raises(StoreError, match="was not recorded with the mouse; give another path"):
        run(tmp_path / "b.zarr", [])
    assert not pygame.display.get_init()


def test_pictures_are_those_of_the_environment(tmp_path: Path) -> None:
    script = [*wander(SEED, 25, "diffusion_policy"), key("RETURN"), CLOSE]
    run(tmp_path / "a.zarr", script, pixels=1, protocol="diffusion_policy")
    store = open_store(tmp_path / "a.zarr")
    assert store.stored_keys == ("action", "pixels", "state")
    assert store.episode_info(0)["protocol"] == "diffusion_policy"
    assert_is_what_happened(store)
    episode, env = store.episode(0), PushTEnv(**store.attrs["env_kwargs"])
    obs, _ = env.reset(options={"state": start_state(SEED, "diffusion_policy")})
    for picture, action in zip(episode["pixels"], episode["action"], strict=True):
        assert picture.dtype == np.uint8
        np.testing.assert_array_equal(picture, obs["pixels"])
        obs = env.step(action)[0]


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from record_driver import WINDOW_PX, key, person, wander
from diffpolicy.commands.demos_record import RecordArguments, record

def script():
    yield from wander({seed}, 20)
    yield key("RETURN")
    yield from wander({seed} + 1, 20)
    yield key("RETURN")
    yield from wander({seed} + 2, 10)
    os.kill(os.getpid(), signal.SIGKILL)

record(RecordArguments(Path(sys.argv[2]), seed={seed}, window_px=WINDOW_PX), person(script()))
"""


def test_a_kill_loses_nothing_that_was_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    code = KILLED.format(seed=SEED)
    killed = subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent), str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert open_store(path).episode_lengths.tolist() == [20, 20]
    run(path, [*wander(SEED + 2, 5), key("RETURN"), CLOSE])
    store = open_store(path)
    assert [info["seed"] for info in store.episode_infos()] == [SEED, SEED + 1, SEED + 2]
    assert_is_what_happened(store)


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--window-px", "200"], "--window-px 200: expected 480"),
        (["--episodes", "0"], "--episodes 0: expected at least 1"),
        (["--max-steps", "0"], "--max-steps 0: expected at least 1"),
        (["--seed", "-1"], "--seed -1: expected 0 to"),
    ],
)
def test_a_slip_is_told_in_one_line(
    argv: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["demos", "record", str(tmp_path / "a.zarr"), *argv])
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1
    assert not (tmp_path / "a.zarr").exists()


@pytest.mark.parametrize("without", ["pygame", "driver", "screen"])
def test_what_is_missing_is_told_in_one_line(
    without: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if without == "pygame":
        monkeypatch.setitem(sys.modules, "pygame", None)
    elif without == "driver":
        monkeypatch.setenv("SDL_VIDEODRIVER", "none of these")
    else:  # what SDL does without a screen, wherever this test runs
        monkeypatch.delenv("SDL_VIDEODRIVER")
        monkeypatch.setattr(pygame.display, "get_driver", lambda: "offscreen")
    with pytest.raises(SystemExit):
        main(["demos", "record", str(tmp_path / "a.zarr")])
    said = capsys.readouterr().err
    needed = 'pygame: pip install "diffpolicy[play]"' if without == "pygame" else "a screen to open its window on"
    assert f"diffpolicy demos: recording needs {needed}" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "a.zarr").exists()


def test_the_table_fits_the_screen_and_the_pointer_its_places(tmp_path: Path) -> None:
    """At a size of the window's own choice, pixels are translated to the workspace."""
    size_px = 700
    start = start_state(SEED)[:2] * size_px / 512
    script = [move(0, 0), move(*start), move(350, 175), move(900, 699), key("RETURN"), CLOSE]
    record(RecordArguments(tmp_path / "a.zarr", seed=SEED, window_px=size_px), person(script))
    actions = open_store(tmp_path / "a.zarr").episode(0)["action"]
    # The middle of a pixel on the screen is the same place on the table.
    np.testing.assert_allclose(actions[1:3], [[255.866, 127.866], [512.0, 511.134]], atol=1e-3)


def test_the_help_says_which_keys(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["demos", "record", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "Move the pointer onto the blue disc" in said
    assert all(word in said for word in ("Enter", "Esc", "Backspace", "N takes", "U takes", "Q ends", "For example"))
