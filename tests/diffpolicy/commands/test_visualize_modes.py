"""`visualize modes` writes what it announces, with the numbers behind the pictures, and says in one line what is wrong."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diffpolicy.cli import main

FEW = ["--n", "24", "--device", "cpu"]


@pytest.fixture
def short_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pictures of an episode are the same after 12 steps of it as after 300."""
    from diffpolicy.evaluation import watch

    whole = watch.watch

    def cut(*arguments: Any, **choices: Any) -> Any:
        for seen in whole(*arguments, **choices):
            yield seen
            if seen.step == 24:
                return

    monkeypatch.setattr(watch, "watch", cut)


def drawn(*argv: object) -> dict[str, Any]:
    main(["visualize", "modes", *map(str, argv), *FEW, "--out", "out"])
    for picture in Path("out").glob("*.png"):
        with Image.open(picture) as image:
            assert np.asarray(image.convert("L")).std() > 5
    return dict(json.loads(Path("out/modes.json").read_text()))


@pytest.mark.usefixtures("short_episodes")
def test_pictures_and_numbers_are_written(
    make_checkpoint: Callable[..., Path], make_store: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_store(steps=40)
    said = drawn(make_checkpoint(), "--demos", store, "--near", 5, "--moments", 3, "--at", 2)
    announced = re.findall(r"^written: (.+)$", capsys.readouterr().out, re.MULTILINE)
    assert [Path(name).name for name in announced] == ["modes.png", "along_episode.png", "modes.json"]
    assert said["step"] == 2
    assert said["samples"] == 24
    assert sum(mode["weight"] for mode in said["modes"]) == pytest.approx(1.0)
    for mode in said["modes"]:
        low, high = mode["interval_95"]
        assert low <= mode["weight"] <= high
        assert np.shape(mode["representative_px"]) == (16, 2)
    assert len(said["spread_px"]) == len(said["spread_within_modes_px"]) == 16
    near = said["demonstrated"]
    assert len(near["moments"]) == sum(near["in_mode"]) + near["elsewhere"] == 5
    along = said["along_episode"]
    assert along["steps"] == [0, 16, 24], "moments at which it planned, evenly spaced"
    assert [sum(weights) for weights in along["weights"]] == pytest.approx([1.0] * 3)


def test_demonstrations_that_are_not_at_hand_are_one_line(
    make_checkpoint: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    said = drawn(make_checkpoint(), "--moments", 0)
    out = capsys.readouterr().out
    assert len(re.findall(r"^drawn without demonstrations: .*demos download.*--demos PATH$", out, re.MULTILINE)) == 1
    assert said["demonstrated"] is None
    assert "along_episode" not in said
    assert not Path("out/along_episode.png").exists()


def test_none_are_looked_for_with_near_0(
    make_checkpoint: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert drawn(make_checkpoint(), "--moments", 0, "--near", 0)["demonstrated"] is None
    assert "without" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "places"),
    [
        (["--demos", "nowhere.zarr"], ["nowhere.zarr", "no such file"]),
        (["--near", "-1"], ["--near is -1"]),
        (["--moments", "-3"], ["--moments is -3"]),
        (["--n", "5000"], ["--n is 5000", "4096"]),
        (["--n", "0"], ["--n is 0"]),
    ],
)
def test_a_mistake_is_one_line(
    option: list[str], places: list[str], make_checkpoint: Callable[..., Path], complaint: Callable[..., str]
) -> None:
    said = complaint("visualize", "modes", make_checkpoint(), *option, "--out", "out")
    assert [place for place in places if place not in said] == []
