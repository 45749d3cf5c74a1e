"""Small pictures of episodes show each scene, the way through it in the colours of time, and refuse what does not fit."""

import numpy as np
import pytest

from diffpolicy.visualization.episodes import episodes_picture

SCENE = np.full((64, 64, 3), 255, dtype=np.uint8)


def _way(corner: float) -> np.ndarray:
    return np.linspace((10.0, 10.0), (corner, corner), 50)


def test_every_episode_has_its_place_in_rows() -> None:
    one = episodes_picture([SCENE] * 3, [_way(500.0)] * 3, ["a"] * 3, title="t")
    two = episodes_picture([SCENE] * 4, [_way(500.0)] * 4, ["a"] * 4, title="t")
    assert one.shape[1] == two.shape[1] == 980
    assert two.shape[0] > one.shape[0]


def test_the_way_is_drawn_over_its_own_scene_alone() -> None:
    still = episodes_picture([SCENE] * 2, [_way(11.0), _way(11.0)], ["", ""], title="t", columns=2)
    moved = episodes_picture([SCENE] * 2, [_way(500.0), _way(11.0)], ["", ""], title="t", columns=2)
    changed = np.argwhere((still != moved).any(-1))
    assert len(changed) > 500
    assert changed[:, 1].max() < 980 / 2


def test_time_is_told_by_colour() -> None:
    picture = episodes_picture([SCENE], [_way(500.0)], [""], title="t", columns=1, width_px=640).astype(int)
    scene = picture[picture.shape[0] // 5 : picture.shape[0] * 3 // 4]
    blue = np.argwhere((scene[..., 2] > 100) & (scene[..., 0] < 40))
    orange = np.argwhere((scene[..., 0] > 230) & (scene[..., 2] < 90))
    assert len(blue)
    assert len(orange)
    assert blue.mean() < orange.mean()


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match="as many of each"):
        episodes_picture([SCENE], [], ["a"], title="t")
    with pytest.raises(ValueError, match=r"trails_px\[0\]: expected finite"):
        episodes_picture([SCENE], [np.full((4, 2), np.nan)], ["a"], title="t")
    with pytest.raises(ValueError, match="workspace_px"):
        episodes_picture([SCENE], [_way(5.0)], ["a"], title="t", workspace_px=0)
