"""An episode's result depends on its seed alone: not on how many were asked for, on the workers, or on its neighbours."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import gymnasium as gym
import numpy as np
import pytest
from diffpolicy_envs.pusht.geometry import GOAL_POSE

from diffpolicy.checkpoint import load_policy, read_meta
from diffpolicy.config_file import config_from_dict
from diffpolicy.errors import ConfigError, ObservationError
from diffpolicy.evaluation.controller import Controller
from diffpolicy.evaluation.evaluate import evaluate, settings_of, write_eval
from diffpolicy.evaluation.rollout import LANES, RolloutSettings, check_world, rollout

Make = Callable[..., Path]
PUSHT = "diffpolicy_envs:diffpolicy/PushT-v0"
WIDE = {"width": 256, "cond_width": 64}  # in narrower products the rounding hardly depends on the number of rows
FLOW = {"policy": {"backbone": WIDE}}
STOCHASTIC = {"policy": {"backbone": WIDE, "objective": {"name": "ddpm", "train_timesteps": 4}, "sampler": "ddpm"}}


@pytest.mark.parametrize("changes", [FLOW, STOCHASTIC], ids=["flow", "noise on the way"])
def test_more_episodes_change_no_earlier_one(changes: dict[str, Any], make_checkpoint: Make) -> None:
    assert LANES == 50  # 60 and 110 end in different blocks
    checkpoint = make_checkpoint(**changes)
    sixty, more = (evaluate(checkpoint, episodes=n, seed=500_000, max_steps=10)["records"] for n in (60, 110))
    assert more[:60] == sixty
    assert [record["seed"] for record in more] == list(range(500_000, 500_110))
    assert len({record["final_coverage"] for record in more}) > 50
    (alone,) = evaluate(checkpoint, episodes=1, seed=500_003, max_steps=10)["records"]
    assert alone == sixty[3]


@pytest.mark.slow
def test_workers_change_nothing(make_checkpoint: Make) -> None:
    checkpoint = make_checkpoint()
    seen: list[int] = []
    one, two = (
        evaluate(checkpoint, episodes=60, seed=500_000, max_steps=10, workers=n, on_episodes=seen.append)
        for n in (1, 2)
    )
    assert two["records"] == one["records"]
    assert one["mean_score"] == two["mean_score"]
    alone = seen[: seen.index(60) + 1]
    assert alone == sorted(alone)  # told after every step, and never more than are finished
    assert 50 in alone
    assert seen[-1] == 60


def test_one_robot_by_hand_does_the_same(make_checkpoint: Make) -> None:
    checkpoint = make_checkpoint()
    policy = load_policy(checkpoint)
    choices = {"action_horizon": 5, "delay": 2, "steps": 3}
    (record,) = rollout(policy, [500_000], RolloutSettings(PUSHT, protocol="gym_pusht", max_steps=30, **choices))
    env = gym.make(PUSHT, max_episode_steps=30)
    act = Controller(policy, seed=500_000, **choices)
    obs, _ = env.reset(seed=500_000, options={"protocol": "gym_pusht"})
    rewards, info, done = [], {}, False
    while not done:
        obs, reward, terminated, truncated, info = env.step(act(obs))
        rewards.append(reward)
        done = terminated or truncated
    assert record.steps == len(rewards)
    assert record.score == pytest.approx(max(rewards), abs=1e-3)
    assert record.final_coverage == pytest.approx(info["coverage"], abs=1e-3)


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
    assert read["checkpoint"]["identity"] == read_meta(checkpoint)["identity"]
    low, high = read["success_interval_95"]
    assert 0 <= low <= read["success_rate"] <= high <= 1
    assert 0 <= read["mean_final_coverage"] <= 1
    for i, record in enumerate(read["records"]):
        assert set(record) == {"seed", "score", "success", "steps", "final_coverage"}
        assert (record["seed"], record["steps"]) == (500_000 + i, 4)
        assert 0 <= record["score"] <= 1


class Started(gym.Wrapper):
    """Push-T in which the block begins at the goal, shifted."""

    shift_px = 0.0

    def reset(self, **_: Any) -> tuple[Any, dict[str, Any]]:
        state = [30.0, 30.0, GOAL_POSE[0] + self.shift_px, GOAL_POSE[1], GOAL_POSE[2]]
        return self.env.reset(options={"state": state})


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
    "another objective's sampler": ({"sampler": "ddim"}, ConfigError, "'ddim' cannot solve Flow"),
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
