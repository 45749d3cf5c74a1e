"""`diffpolicy visualize field` draws for any denoised policy, and refuses what has no field in one line."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diffpolicy.cli import main
from diffpolicy.evaluation.moment_field import frames_at

QUICK = ["--n", "20", "--near", "2", "--grid", "4", "--levels", "3", "--out", "pictures"]
EDM = {"objective": {"name": "edm"}, "sampler": "heun"}
DDPM = {"objective": {"name": "ddpm", "train_timesteps": 10}, "sampler": "ddpm"}


def drawn(capsys: pytest.CaptureFixture[str], *argv: object) -> list[Path]:
    main(["visualize", "field", *map(str, argv)])
    return [Path(word) for word in re.findall(r"^written: (.+)$", capsys.readouterr().out, re.MULTILINE)]


@pytest.mark.parametrize(
    ("way", "what"), [({}, "score"), (EDM, "score"), (DDPM, "velocity")], ids=["flow", "edm", "ddpm"]
)
def test_the_field_is_drawn(
    way: dict[str, Any], what: str, make_checkpoint: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    files = drawn(capsys, make_checkpoint(policy=way), "--at", 2, "--what", what, *QUICK)
    assert [path.name for path in files] == ["field.png"]
    with Image.open(files[0]) as picture:
        assert picture.width == 3 * 480
        assert np.asarray(picture.convert("L")).std() > 5


def test_the_film_has_a_frame_for_each_look(
    make_checkpoint: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    files = drawn(capsys, make_checkpoint(), "--film", "True", "--steps", "6", *QUICK)
    assert [path.name for path in files] == ["field.png", "field.gif"]
    with Image.open(files[1]) as film:
        assert film.n_frames == 6
    with Image.open(files[0]) as picture:
        assert picture.width == 3 * 480


MIXTURE = {"objective": {"name": "mixture"}, "sampler": "direct", "steps": 1}
MISTAKES: dict[str, tuple[dict[str, Any], list[str], list[str]]] = {
    "not denoised": (MIXTURE, [], ["'mixture' is not denoised", "flow, ddpm or edm"]),
    "action": ({}, ["--action", "16"], ["action is 16", "0 to 15"]),
    "near": ({}, ["--near", "21"], ["near is 21", "20"]),
    "one step": ({}, ["--steps", "1"], ["--steps 1", "2 or more"]),
    "one level": ({}, ["--levels", "1"], ["--levels is 1"]),
    "grid": ({}, ["--grid", "1"], ["--grid is 1"]),
    "what": ({}, ["--what", "gradient"], ["--what", "velocity"]),
}


@pytest.mark.parametrize(("way", "options", "places"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_in_one_line(
    way: dict[str, Any],
    options: list[str],
    places: list[str],
    make_checkpoint: Callable[..., Path],
    complaint: Callable[..., str],
) -> None:
    said = complaint("visualize", "field", make_checkpoint(policy=way), *QUICK, *options)
    for place in places:
        assert place in said


def test_levels_fall_by_one_factor_and_stop_before_single_samples() -> None:
    noise = [1 - k / 20 for k in range(20)]
    chosen = [noise[frame] for frame in frames_at(noise, 5)]
    assert chosen == pytest.approx([1.0, 0.45, 0.2, 0.1, 0.05])
    deep = list(np.geomspace(1, 0.002, 30))
    assert deep[frames_at(deep, 4)[-1]] == pytest.approx(0.05, rel=0.15)
    assert frames_at([1.0, 0.5], 5) == [0, 1]
