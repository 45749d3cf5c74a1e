"""Promises of the rollout film: one frame a moment, the world untouched above, the score below."""

import numpy as np
import pytest

from diffpolicy.visualization import rollout_frames


def scenes(count: int, side: int = 64) -> list[np.ndarray]:
    return [np.full((side, side, 3), 10 + k, np.uint8) for k in range(count)]


def test_one_frame_a_scene_with_the_scene_on_top() -> None:
    frames = list(rollout_frames(iter(scenes(7)), np.linspace(0, 0.9, 7), width_px=320))
    assert len(frames) == 7
    assert len({frame.shape for frame in frames}) == 1
    height, width, _ = frames[0].shape
    assert (height % 2, width) == (0, 320)
    assert height > 320
    for k, frame in enumerate(frames):
        assert np.all(frame[:320] == 10 + k)


def test_scene_of_the_right_width_is_not_resampled() -> None:
    scene = np.random.default_rng(0).integers(0, 256, (320, 320, 3), dtype=np.uint8)
    (frame,) = rollout_frames([scene], np.array([0.5]), width_px=320)
    assert np.array_equal(frame[:320], scene)


def test_caption_looks_only_at_the_past() -> None:
    one = np.array([0.1, 0.4, 0.3, 0.6, 0.2])
    two = np.array([0.1, 0.4, 0.3, 0.9, 0.99])
    first, second = (list(rollout_frames(scenes(5), c, width_px=320)) for c in (one, two))
    for k in range(3):
        assert np.array_equal(first[k], second[k])
    assert not np.array_equal(first[3], second[3])


def test_best_is_remembered() -> None:
    """At the same coverage now, another best before is another caption."""
    low = list(rollout_frames(scenes(3), np.array([0.2, 0.3, 0.2]), width_px=320))[-1]
    high = list(rollout_frames(scenes(3), np.array([0.2, 0.8, 0.2]), width_px=320))[-1]
    assert not np.array_equal(low[320:], high[320:])


def greenish(frame: np.ndarray) -> int:
    r, g, b = np.moveaxis(frame[640:].astype(int), -1, 0)
    # The numbers on the left; the threshold on the right is green from the start.
    return int(np.count_nonzero((g > r + 40)[:, :370] & (g > b + 20)[:, :370]))


def test_success_is_flagged_above_the_threshold_and_stays() -> None:
    frames = list(rollout_frames(scenes(4), np.array([0.9, 0.95, 0.96, 0.5])))
    assert greenish(frames[0]) == greenish(frames[1]) == 0, "0.95 itself is not above 0.95"
    assert greenish(frames[2]) > 100
    assert greenish(frames[3]) > 50


@pytest.mark.usefixtures("without_shape_checks")
def test_wrong_arguments_are_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match=r"coverage: expected shape \(moments,\), found \(3, 1\)"):
        rollout_frames(scenes(3), np.zeros((3, 1)))
    with pytest.raises(ValueError, match="coverage: expected finite"):
        rollout_frames(scenes(1), np.array([np.nan]))
    with pytest.raises(ValueError, match="coverage: expected shares"):
        rollout_frames(scenes(1), np.array([95.0]))
    with pytest.raises(ValueError, match="period_s"):
        rollout_frames(scenes(1), np.array([0.5]), period_s=0)
    with pytest.raises(ValueError, match=r"scenes: expected 3, .* found 2"):
        list(rollout_frames(scenes(2), np.zeros(3)))
    with pytest.raises(ValueError, match=r"scenes: expected 3, .* found more"):
        list(rollout_frames(scenes(4), np.zeros(3)))
    with pytest.raises(ValueError, match="scenes: expected uint8"):
        list(rollout_frames([np.zeros((8, 8, 3))], np.zeros(1)))
