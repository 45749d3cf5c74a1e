"""What is known of the public human demonstrations is what the doctor finds, and no more."""

import time
from pathlib import Path

import numpy as np
import pytest
from diffpolicy_demos import open_store
from diffpolicy_demos.doctor.examine import diagnose
from diffpolicy_demos.doctor.findings import Diagnosis
from diffpolicy_demos.survey import courses

pytestmark = pytest.mark.human


@pytest.fixture(scope="module")
def found(human_set: Path) -> Diagnosis:
    return diagnose(human_set, pictures=False)


def test_it_is_sound(found: Diagnosis) -> None:
    assert found.sound
    assert (len(found.lengths), sum(found.lengths.values())) == (206, 25650)
    assert {(one.kind, one.severity) for one in found.findings} == {
        ("keypoints", "warning"),
        ("keypoints", "note"),
        ("drift", "note"),
    }


def test_ten_frames_disagree_with_their_keypoints(found: Diagnosis) -> None:
    frames = {
        (one.episodes[0], step)
        for one in found.of("warning")
        for first, last in one.steps
        for step in range(first, last + 1)
    }
    assert frames == {(43, 0), (50, 1), (64, 0), (109, 0), (128, 0), (143, 0), (176, 0), (176, 1), (181, 0), (192, 0)}
    assert max(one.amount for one in found.of("warning")) == pytest.approx(2.05, abs=0.01)


def test_twenty_four_episodes_do_not_replay(found: Diagnosis) -> None:
    strays = {one.episodes[0]: one.amount for one in found.findings if one.kind == "drift"}
    assert len(strays) == 24
    assert max(strays, key=strays.__getitem__) == 186
    assert strays[186] == pytest.approx(0.919, abs=0.001)
    assert strays == {drift.episode: drift.drift_px for drift in found.drifts if drift.drift_px > 1e-3}


def test_one_step_at_a_time_all_follow(found: Diagnosis) -> None:
    assert max(drift.one_step_px for drift in found.drifts) < 1.0


def test_seven_episodes_end_in_success(human_set: Path) -> None:
    ends = np.array([course.coverage[-1] for course in courses(open_store(human_set), 10.0)])
    assert (ends > 0.95).sum() == 7
    assert ends.mean() == pytest.approx(0.899, abs=0.001)


@pytest.mark.slow
def test_every_picture_shows_its_state(human_set: Path) -> None:
    begin = time.monotonic()
    found = diagnose(human_set)
    assert time.monotonic() - begin < 120
    assert {one.kind for one in found.findings} == {"keypoints", "drift"}
