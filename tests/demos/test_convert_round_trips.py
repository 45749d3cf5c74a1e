"""Demonstrations that travel to another format and back are the same, bit for bit wherever the format allows it."""

import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from diffpolicy_demos import create_store, open_store
from diffpolicy_demos.convert import LerobotOptions, convert

pytest.importorskip("pyarrow", reason="LeRobot datasets need the extra 'lerobot'")

Episode = dict[str, np.ndarray]
Contents = tuple[dict[str, np.ndarray], list[int], list[dict[str, Any]], dict[str, Any]]

INFOS = [
    {"seed": 7, "start_state": [1.5, 2.0], "mode": "left", "success": True, "note": "größer"},
    {},
    {"success": False, "task": "Something else."},
]
ATTRS = {"env_id": "diffpolicy/PushT-v0", "control_hz": 10.0, "nested": {"a": [1, None, "é"]}, "source": "expert"}


def contents(path: Path) -> Contents:
    """Everything in a store, as stored."""
    store = open_store(path)
    root = zarr.open_group(path, mode="r")
    arrays = {name: array[: store.n_steps] for name, array in root["data"].arrays()}
    attrs = {name: value for name, value in store.attrs.items() if name != "diffpolicy_store"}
    return arrays, store.episode_ends.tolist(), store.episode_infos(), attrs


def assert_same(found: Contents, expected: Contents, but: tuple[str, ...] = ()) -> None:
    assert sorted(found[0]) == sorted(expected[0])
    for name in set(expected[0]) - set(but):
        assert found[0][name].dtype == expected[0][name].dtype, name
        np.testing.assert_array_equal(found[0][name], expected[0][name])
    assert found[1:] == expected[1:]


@pytest.fixture
def smooth_episode(make_episode: Callable[..., Episode]) -> Callable[..., Episode]:
    """Episodes with pictures that a video can hold: shades that drift, with a square in another colour."""

    def make(steps: int, seed: int = 0) -> Episode:
        shade = np.add.outer(np.arange(24), np.arange(32)) + 80
        pictures = np.stack([np.stack([shade + t, shade, 255 - shade - t], axis=-1) for t in range(steps)])
        pictures[:, 4:12, 8 + seed : 16 + seed] = (65, 105, 225)
        return {
            **make_episode(steps, seed),
            "pixels": pictures.astype(np.uint8),
            "n_contacts": np.full((steps, 1), seed, np.float32),
        }

    return make


@pytest.fixture
def source(tmp_path: Path, smooth_episode: Callable[..., Episode]) -> Path:
    with create_store(tmp_path / "source.zarr", attrs=ATTRS, zarr_format=2) as store:
        for index, info in enumerate(INFOS):
            store.append_episode(smooth_episode((5, 1, 30)[index], index), info)
    return tmp_path / "source.zarr"


def test_zarr_2_to_3_to_2(tmp_path: Path, source: Path) -> None:
    there = convert(source, tmp_path / "3.zarr")
    back = convert(tmp_path / "3.zarr", tmp_path / "2.zarr", "zarr2")
    assert there.losses == back.losses == ()
    assert (there.kind, back.kind, there.episodes, there.steps) == ("zarr3", "zarr2", 3, 36)
    assert open_store(tmp_path / "3.zarr").zarr_format == 3
    assert open_store(tmp_path / "2.zarr").zarr_format == 2
    assert_same(contents(tmp_path / "3.zarr"), contents(source))
    assert_same(contents(tmp_path / "2.zarr"), contents(source))


def test_a_published_store_keeps_its_names_and_dtypes(tmp_path: Path) -> None:
    """Stanford's layout: `img` in float32, `keypoint`, `n_contacts`, no attributes; made by nobody's writer."""
    rng = np.random.default_rng(0)
    root = zarr.open_group(tmp_path / "s.zarr", mode="w", zarr_format=2)
    root.create_array("data/img", data=rng.integers(0, 256, (9, 8, 8, 3)).astype(np.float32), chunks=(4, 8, 8, 3))
    root.create_array("data/keypoint", data=rng.uniform(0, 512, (9, 9, 2)).astype(np.float32))
    root.create_array("data/n_contacts", data=np.zeros((9, 1), np.float32))
    root.create_array("data/state", data=rng.uniform(0, 512, (9, 5)).astype(">f4"))
    root.create_array("data/action", data=rng.uniform(0, 512, (9, 2)).astype(np.float32))
    root.create_array("meta/episode_ends", data=np.array([4, 9]))
    expected = contents(tmp_path / "s.zarr")
    expected[0]["state"] = expected[0]["state"].astype(np.float32)
    for kind in ("zarr3", "zarr2"):
        assert convert(tmp_path / "s.zarr", tmp_path / kind, kind).losses == ()
        assert_same(contents(tmp_path / kind), expected)
    made = convert(tmp_path / "s.zarr", tmp_path / "l", "lerobot", LerobotOptions(video=False))
    assert made.losses == (
        f"frames a second: 10 assumed, {tmp_path / 's.zarr'} has no 'control_hz'",
        "pixels: float32 became uint8, lossless, every number is the same",
    )
    assert convert(tmp_path / "l", tmp_path / "back.zarr", "zarr2").losses == ()
    expected[0]["img"] = expected[0]["img"].astype(np.uint8)
    assert_same(contents(tmp_path / "back.zarr"), expected)


@pytest.mark.parametrize("options", [LerobotOptions(video=False), LerobotOptions(crf=0)], ids=["png", "crf 0"])
def test_lerobot_and_back_bit_for_bit(tmp_path: Path, source: Path, options: LerobotOptions) -> None:
    assert convert(source, tmp_path / "l", options=options).losses == ()
    assert convert(tmp_path / "l", tmp_path / "back.zarr", "zarr2").losses == ()
    assert_same(contents(tmp_path / "back.zarr"), contents(source))


def test_lerobot_with_video_and_back(tmp_path: Path, source: Path) -> None:
    """Only the pictures differ, and by as much as the conversion says."""
    there = convert(source, tmp_path / "l")
    assert convert(tmp_path / "l", tmp_path / "back.zarr").losses == ()
    found, expected = contents(tmp_path / "back.zarr"), contents(source)
    assert_same(found, expected, but=("img",))
    apart = np.abs(found[0]["img"].astype(float) - expected[0]["img"])
    assert 0 < apart.mean() < 3
    said = f"pixels: lossy: mean absolute error {apart.mean():.2g} grey levels, largest {apart.max():.0f}"
    assert len(there.losses) == 1
    assert there.losses[0].startswith(said)


def test_a_worse_quality_is_smaller_and_further_off(tmp_path: Path, source: Path) -> None:
    apart, size = [], []
    for crf in (10, 40):
        convert(source, tmp_path / f"{crf}", options=LerobotOptions(crf=crf))
        back = convert(tmp_path / f"{crf}", tmp_path / f"{crf}.zarr").path
        apart.append(np.abs(contents(back)[0]["img"].astype(float) - contents(source)[0]["img"]).mean())
        size.append(next((tmp_path / f"{crf}").glob("videos/*/*/*.mp4")).stat().st_size)
    assert apart[0] < apart[1]
    assert size[0] > size[1]


def test_another_robot(tmp_path: Path) -> None:
    """Two cameras, one of odd size, seven numbers an action, and every kind of number."""
    rng = np.random.default_rng(1)
    with create_store(tmp_path / "r.zarr", attrs={"control_hz": 30, "robot_type": "arm"}) as store:
        for steps in (3, 8):
            store.append_episode(
                {
                    "action": rng.normal(size=(steps, 7)),
                    "state": rng.normal(size=(steps, 14)).astype(np.float32),
                    "front": rng.integers(0, 256, (steps, 16, 20, 3), dtype=np.uint8),
                    "wrist": rng.integers(0, 256, (steps, 15, 21, 3), dtype=np.uint8),
                    "depth": rng.integers(0, 5000, (steps, 4, 6), dtype=np.uint16),
                    "gripper": rng.random(steps) > 0.5,
                    "half": rng.normal(size=(steps, 2)).astype(np.float16),
                    "count": rng.integers(-(2**62), 2**62, (steps, 1)),
                    "reward": rng.random((steps, 1)).astype(np.float32),
                }
            )
    options = LerobotOptions(task="Do it.", crf=0)
    said = convert(tmp_path / "r.zarr", tmp_path / "l", options=options).losses
    assert said == ("action: float64 in the files; LeRobot's own loader hands it out as float32",)
    assert convert(tmp_path / "l", tmp_path / "back.zarr").losses == ()
    assert_same(contents(tmp_path / "back.zarr"), contents(tmp_path / "r.zarr"))
    lossy = convert(tmp_path / "r.zarr", tmp_path / "video", options=LerobotOptions(task="Do it.")).losses
    assert [sentence.split(":")[0] for sentence in lossy] == ["front", "wrist", "action"]


@pytest.mark.parametrize("kind", ["zarr2", "zarr3", "lerobot"])
def test_a_single_step(tmp_path: Path, kind: str) -> None:
    with create_store(tmp_path / "a.zarr", {"action": ((1,), "float32")}) as store:
        store.append_episode({"action": np.ones((1, 1))})
    options = LerobotOptions(task="t") if kind == "lerobot" else None
    done = convert(tmp_path / "a.zarr", tmp_path / "b", kind, options)
    assert (done.episodes, done.steps) == (1, 1)
    assert convert(done.path, tmp_path / "back.zarr").losses == ()
    assert_same(contents(tmp_path / "back.zarr"), contents(tmp_path / "a.zarr"))


def test_lerobot_to_lerobot(tmp_path: Path, source: Path) -> None:
    convert(source, tmp_path / "png", options=LerobotOptions(video=False))
    assert convert(tmp_path / "png", tmp_path / "mp4", "lerobot", LerobotOptions(crf=0)).losses == ()
    convert(tmp_path / "mp4", tmp_path / "back.zarr")
    assert_same(contents(tmp_path / "back.zarr"), contents(source))


@pytest.mark.slow
def test_one_episode_at_a_time_is_in_memory(tmp_path: Path) -> None:
    """Five times as many episodes take hardly more memory."""
    rng, peaks = np.random.default_rng(0), []
    for episodes in (3, 15):
        folder = tmp_path / str(episodes)
        with create_store(folder / "a.zarr") as store:
            for _ in range(episodes):
                pixels = rng.integers(0, 256, (16, 64, 64, 3), dtype=np.uint8)
                store.append_episode({"action": rng.normal(size=(16, 2)), "pixels": pixels})
        tracemalloc.start()
        try:
            convert(folder / "a.zarr", folder / "l", options=LerobotOptions(task="t", crf=0))
            convert(folder / "l", folder / "b.zarr")
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < 1.4 * peaks[0], peaks


@pytest.mark.human
@pytest.mark.slow
def test_human_episodes(human_set: Path, tmp_path: Path) -> None:
    source, all_of_them = tmp_path / "a.zarr", zarr.open_group(human_set, mode="r")
    with create_store(source, zarr_format=2) as store:
        ends = [0, *all_of_them["meta/episode_ends"][:6].tolist()]
        for start, end in pairwise(ends):
            store.append_episode({name: array[start:end] for name, array in all_of_them["data"].arrays()})
    expected = contents(source)
    assert expected[0]["img"].dtype == np.float32
    convert(source, tmp_path / "3.zarr", "zarr3")
    convert(tmp_path / "3.zarr", tmp_path / "2.zarr", "zarr2")
    assert_same(contents(tmp_path / "2.zarr"), expected)
    lossy = convert(source, tmp_path / "l").losses
    assert float(lossy[-1].split("error ")[1].split()[0]) < 1.0, lossy
    expected[0]["img"] = expected[0]["img"].astype(np.uint8)
    for way, options in (("exact", LerobotOptions(crf=0)), ("png", LerobotOptions(video=False))):
        convert(source, tmp_path / way, options=options)
        convert(tmp_path / way, tmp_path / f"{way}.zarr", "zarr2")
        assert_same(contents(tmp_path / f"{way}.zarr"), expected)
