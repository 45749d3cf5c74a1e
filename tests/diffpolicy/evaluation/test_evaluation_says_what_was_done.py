"""`eval.json` says what happened, in the world that was asked for and scored as defined; a mistake is one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import gymnasium as gym
import numpy as np
import pytest
from diffpolicy_envs.pusht.geometry import GOAL_POSE

from diffpolicy.checkpoint import read_meta
from diffpolicy.config_file import config_from_dict
from diffpolicy.errors import ConfigError, ObservationError
from diffpolicy.evaluation.evaluate import evaluate, settings_of, write_eval
from diffpolicy.evaluation.rollout import LANES
from diffpolicy.evaluation.world import RolloutSettings, check_world

Make = Callable[..., Path]


def test_protocols_and_seeds_start_elsewhere(make_checkpoint: Make) -> None:
    checkpoint = make_checkpoint()

    def finals(**changes: Any) -> list[float]:
        return [r["final_coverage"] for r in evaluate(checkpoint, episodes=8, max_steps=1, **changes)["records"]]

    own = finals(seed=500_000)
    assert own == finals(seed=500_000, protocol="gym_pusht")  # the experiment's own
    assert own != finals(seed=500_000, protocol="diffusion_policy")
    assert own != finals(seed=100_000)


def test_eval_json_holds_what_is_documented(make_checkpoint: Make, tmp_path: Path) -> None:
    checkpoint = make_checkpoint()
    result = evaluate(checkpoint, episodes=3, seed=500_000, max_steps=4, steps=5)
    path = write_eval(result, tmp_path / "a" / "b")
    read = json.loads(path.read_text())
    assert path.name == "eval.json"
    assert list(path.parent.iterdir()) == [path]
    assert read == result
    documented = "episodes protocol seed mean_score success_rate success_interval_95 mean_final_coverage"
    documented += " nfe wall_s checkpoint records"
    assert set(documented.split()) <= read.keys()
    assert (read["episodes"], read["protocol"], read["seed"], read["nfe"]) == (3, "gym_pusht", 500_000, 5)
    assert (read["lanes"], read["rows_agree"], read["workers"]) == (LANES, True, 1)
    assert read["checkpoint"]["identity"] == read_meta(checkpoint)["identity"]
    low, high = read["success_interval_95"]
    assert 0 <= low <= read["success_rate"] <= high <= 1
    assert 0 <= read["mean_final_coverage"] <= 1
    for i, record in enumerate(read["records"]):
        assert set(record) == {"seed", "score", "success", "steps", "final_coverage"}
        assert (record["seed"], record["steps"]) == (500_000 + i, 4)
        assert 0 <= record["score"] <= 1


def test_eval_json_says_how_noise_was_drawn(make_checkpoint: Make) -> None:
    """As it was asked for, or else as the policy's own config has it; 0 is asked for too."""
    names, once = ("noise_scale", "warm_start", "patience"), {"episodes": 1, "seed": 500_000, "max_steps": 2}
    plain, own = (
        make_checkpoint("plain"),
        make_checkpoint("own", policy=dict(zip(names, (0.5, 0.25, 9), strict=True))),
    )
    for checkpoint, asked, expected in (
        (plain, {}, (1.0, 0.0, 0)),
        (own, {}, (0.5, 0.25, 9)),
        (own, {"warm_start": 0.5}, (0.5, 0.5, 9)),
        (own, {"noise_scale": 0.0, "warm_start": 0.0, "patience": 0}, (0.0, 0.0, 0)),
    ):
        result = evaluate(checkpoint, **once, **asked)
        assert tuple(result[name] for name in names) == expected
        assert result["controller"] == "Controller"


class Started(gym.Wrapper):
    """Push-T in which the block begins at the goal, shifted, and the agent stays away from it."""

    shift_px = 0.0

    def reset(self, **_: Any) -> tuple[Any, dict[str, Any]]:
        state = [30.0, 30.0, GOAL_POSE[0] + self.shift_px, GOAL_POSE[1], GOAL_POSE[2]]
        return self.env.reset(options={"state": state})

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        return self.env.step([30.0, 30.0])


@pytest.mark.parametrize(("shift_px", "success"), [(0.0, True), (1.5, True), (2.0, False), (100.0, False)])
def test_success_is_coverage_beyond_95_percent(
    shift_px: float, success: bool, make_checkpoint: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = gym.make
    monkeypatch.setattr(gym, "make", lambda *args, **kwargs: Started(make(*args, **kwargs)))
    monkeypatch.setattr(Started, "shift_px", shift_px)
    (record,) = evaluate(make_checkpoint(), episodes=1, max_steps=3)["records"]
    assert record["success"] is success
    assert record["success"] is (record["final_coverage"] > 0.95)
    assert record["score"] == pytest.approx(min(record["final_coverage"] / 0.95, 1), abs=1e-6)
    assert record["steps"] == (1 if success else 3)


def test_a_film_is_written_and_changes_nothing(make_checkpoint: Make, tmp_path: Path) -> None:
    checkpoint, film = make_checkpoint(), tmp_path / "film.mp4"
    filmed = evaluate(checkpoint, episodes=2, seed=500_000, max_steps=6, film={500_001: film})
    assert filmed["records"] == evaluate(checkpoint, episodes=2, seed=500_000, max_steps=6)["records"]
    with av.open(str(film)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) >= 7  # the start and six steps
    assert np.abs(frames[0].astype(int) - frames[-1].astype(int)).max() > 20


MISTAKES: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no episodes": ({"episodes": 0}, ConfigError, "episodes is 0"),
    "no workers": ({"workers": 0}, ConfigError, "workers is 0"),
    "no steps": ({"max_steps": 0}, ConfigError, "max_steps is 0"),
    "no evaluations": ({"steps": 0}, ConfigError, "steps is 0"),
    "another objective's sampler": ({"sampler": "ddim"}, ConfigError, "'ddim' cannot solve 'flow'"),
    "noise of no size": ({"noise_scale": -1.0}, ConfigError, r"noise_scale is -1\.0; .* 0 or more"),
    "all the way spared": ({"warm_start": 1.0}, ConfigError, r"warm_start is 1\.0; .* less than 1"),
    "too long a plan": ({"action_horizon": 16}, ConfigError, "action_horizon 16 .*does not fit"),
    "nothing executed": ({"action_horizon": 0}, ConfigError, "action_horizon 0 .*does not fit"),
    "unknown world": ({"env": "diffpolicy/PushU-v0"}, ConfigError, "cannot make the environment 'diffpolicy/PushU-v0'"),
    "unknown module": ({"env": "no_such:World-v0"}, ConfigError, "cannot make the environment 'no_such:World-v0'"),
    "unknown argument": ({"env_kwargs": {"obs_typ": "state"}}, ConfigError, "cannot make the environment.*obs_typ"),
    "unknown protocol": ({"protocol": "gym_push"}, ConfigError, "gym_pusht"),
    "negative seed": ({"seed": -1}, ConfigError, "cannot start from seed -1"),
    "another observation": (
        {"env_kwargs": {"obs_type": "keypoints"}},
        ObservationError,
        "obs_type.*keypoints.*lacks 'state'",
    ),
    "other actions": (
        {"env": "Pendulum-v1", "env_kwargs": {}, "protocol": ""},
        ObservationError,
        r"Pendulum-v1.*'state' has shape \(3,\)",
    ),
}


@pytest.mark.parametrize(("choices", "error", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line(
    choices: dict[str, Any], error: type[Exception], message: str, make_checkpoint: Make
) -> None:
    with pytest.raises(error, match=message) as caught:
        evaluate(make_checkpoint(), **({"episodes": 1, "max_steps": 2} | choices))
    assert "\n" not in str(caught.value)


def test_actions_of_another_number_are_refused() -> None:
    world = RolloutSettings("Pendulum-v1")
    check_world(world, {"state": (3,)}, 1, seed=0)
    with pytest.raises(ConfigError, match=r"actions have shape \(1,\), the policy's \(2,\)"):
        check_world(world, {"state": (3,)}, 2, seed=0)


def test_an_experiments_own_world_is_taken_unless_changed() -> None:
    experiment = config_from_dict({"evaluation": {"protocol": "diffusion_policy", "env_kwargs": {"a": 1}}}, "test")
    settings = settings_of(experiment, protocol=None, steps=3)
    assert (settings.protocol, settings.env_kwargs, settings.steps) == ("diffusion_policy", {"a": 1}, 3)
    assert settings_of(experiment, protocol="gym_pusht").protocol == "gym_pusht"
    assert settings_of(experiment, env="other-v0").env == "other-v0"
    assert settings_of(experiment, env_kwargs={"b": 2}).env_kwargs == {"a": 1, "b": 2}
    assert settings_of(experiment, env_kwargs={"a": 3}).env_kwargs == {"a": 3}
