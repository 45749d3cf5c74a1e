"""A robot that the package has never heard of is trained, stored, loaded, rolled out and filmed with no edit in it."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
import yaml
from diffpolicy_demos import open_store

from diffpolicy.checkpoint import load_policy, read_meta
from diffpolicy.cli import main
from diffpolicy.errors import ObservationError
from diffpolicy.evaluation.controller import Controller
from diffpolicy.evaluation.evaluate import evaluate
from diffpolicy.policy import DiffusionPolicy
from diffpolicy.training.windows import load_windows, split_episodes

EXPERIMENT = {
    "description": "a robot of my own",
    "data": {"validation_episodes": 2, "observation_noise": 0.0},
    "policy": {
        "task": "toy_robot:TASK",
        "observations": ["joints", "markers", "wrist_camera", "front_camera"],
        "obs_horizon": 2,
        "pred_horizon": 8,
        "action_horizon": 4,
        "backbone": {"name": "mlp", "width": 64, "blocks": 1, "cond_width": 32},
        "steps": 4,
    },
    "training": {"steps": 300, "batch_size": 32, "learning_rate": 3e-3, "warmup_steps": 10, "precision": "float32"},
    "evaluation": {"env": "toy_robot:toy/Reach-v0", "env_kwargs": {}, "protocol": None, "episodes": 3},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The run's folder, made by the command line as a user would."""
    here, folder = str(Path(__file__).parent), tmp_path_factory.mktemp("toy")
    sys.path.insert(0, here)
    import toy_robot

    toy_robot.record(folder / "reach.zarr")
    data = {**EXPERIMENT["data"], "path": str(folder / "reach.zarr")}
    (folder / "reach.yaml").write_text(yaml.safe_dump({**EXPERIMENT, "data": data}))
    main(["train", str(folder / "reach.yaml"), "--out", str(folder / "run"), "--device", "cpu"])
    yield folder / "run"
    sys.path.remove(here)


def test_it_learns_and_acts(trained: Path) -> None:
    result = evaluate(trained, episodes=20, seed=500_000)
    assert result["success_rate"] > 0.5
    untrained = _worst(trained)
    assert result["mean_score"] > untrained + 0.3
    assert result["mean_final_coverage"] is None
    assert result["protocol"] is None
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    low, high = result["mean_score_interval_95"]
    assert low < result["mean_score"] < high < 0  # rewards of this world are negative


def _worst(trained: Path) -> float:
    """The mean best reward of targets drawn at random."""
    env, scores = gym.make("toy_robot:toy/Reach-v0"), []
    for seed in range(500_000, 500_010):
        env.reset(seed=seed)
        env.action_space.seed(seed)
        scores.append(max(float(env.step(env.action_space.sample())[1]) for _ in range(25)))
    return float(np.mean(scores))


def test_the_checkpoint_knows_its_task(trained: Path) -> None:
    policy, meta = load_policy(trained), read_meta(trained / "last")
    experiment = meta["experiment"]
    assert experiment.policy.task == "toy_robot:TASK"
    assert (experiment.data.validation_episodes, experiment.data.observation_noise) == (2, 0.0)
    cameras = {"wrist_camera": (8, 8, 3), "front_camera": (8, 8, 3)}
    assert policy.obs_shapes == {"joints": (7,), "markers": (4, 3), **cameras}
    assert policy.action_dim == 7
    assert policy.normalizer.heights_center.shape == (4,)  # the task's own features are what is normalized
    assert policy.normalizer.wrist_camera_center.shape == (12,)
    obs = {key: torch.zeros(2, 2, *shape) for key, shape in policy.obs_shapes.items()}
    assert policy.sample(obs, n=3).shape == (2, 3, 8, 7)


def test_cameras_stay_bytes_from_the_record_to_the_policy(trained: Path) -> None:
    import toy_robot

    store, config = open_store(trained.parent / "reach.zarr"), read_meta(trained / "last")["experiment"]
    windows, _ = load_windows(store, config.data, config.policy.observations, obs_horizon=2, pred_horizon=8)
    obs = windows.batch(torch.arange(4))["obs"]
    seen, _ = gym.make("toy_robot:toy/Reach-v0").reset(seed=0)
    for key in toy_robot.CAMERAS:
        assert store[key].dtype == np.uint8
        assert obs[key].shape == (4, 2, 8, 8, 3)
        assert obs[key].dtype == torch.uint8
        assert seen[key].dtype == np.uint8


@pytest.mark.parametrize("camera", ["wrist_camera", "front_camera"])
def test_each_camera_moves_the_plan(trained: Path, camera: str) -> None:
    import toy_robot

    policy = load_policy(trained)
    shown = toy_robot.observe(np.zeros(7))
    obs = {key: torch.from_numpy(value).expand(1, 2, *value.shape) for key, value in shown.items()}
    other = obs | {camera: 255 - obs[camera].flip(-3)}
    again = obs | {camera: obs[camera].double()}  # the same brightness in other numbers is the same picture
    plan, moved, same = (policy.sample(o, generator=torch.Generator().manual_seed(0)) for o in (obs, other, again))
    assert (plan - moved).abs().max() > 1e-3
    assert torch.equal(plan, same)


def test_its_mirror_widens_what_is_known(trained: Path) -> None:
    import toy_robot

    policy = load_policy(trained)
    assert float(policy.normalizer.joints_center[0]) == pytest.approx(float(toy_robot.GOAL[0]), abs=1e-5)
    shown = [toy_robot.observe(joints) for joints in np.random.default_rng(0).uniform(-1, 1, (5, 7))]
    obs = {key: torch.from_numpy(np.stack([one[key] for one in shown])) for key in shown[0]}
    mirrored = toy_robot.TASK.mirror(obs, torch.rand(5, 7))
    for key in toy_robot.CAMERAS:  # to the right of the goal is seen as to the left of it was
        of_mirrored = [toy_robot.observe(joints.double().numpy())[key] for joints in mirrored[0]["joints"]]
        torch.testing.assert_close(mirrored[0][key], torch.from_numpy(np.stack(of_mirrored)), atol=1, rtol=0)
        for buffer in ("center", "half_range"):
            left, right = policy.normalizer.get_buffer(f"{key}_{buffer}").view(2, 2, 3).unbind(dim=1)
            assert torch.equal(left, right)
    again, action = toy_robot.TASK.mirror(*mirrored)
    torch.testing.assert_close(again, obs)
    assert action.shape == (5, 7)


def test_its_controller_drives_one_robot(trained: Path) -> None:
    import toy_robot

    env, act = toy_robot.Reach(), Controller(load_policy(trained), seed=1)
    obs, _ = env.reset(seed=1)
    for _ in range(20):
        obs, reward, *_ = env.step(act(obs))
    assert reward > -0.5
    with pytest.raises(ObservationError, match=r"'markers' has shape \(3, 4\); expected \(4, 3\)"):
        act({**obs, "markers": obs["markers"].T})
    with pytest.raises(ObservationError, match=r"'front_camera' has shape \(3, 8, 8\); expected \(8, 8, 3\)"):
        act({**obs, "front_camera": np.moveaxis(obs["front_camera"], -1, 0)})
    with pytest.raises(ObservationError, match=r"lacks 'wrist_camera'"):
        act({key: value for key, value in obs.items() if key != "wrist_camera"})
    with pytest.raises(ObservationError, match=r"bare array.*joints, markers"):
        act(obs["joints"])


def test_the_command_line_evaluates_and_films_it(trained: Path, tmp_path: Path, capsys: Any) -> None:
    arguments = ["--episodes", "2", "--workers", "1", "--film", "1", "--out", str(tmp_path)]
    main(["eval", str(trained), *arguments])
    assert (tmp_path / "episode_001.mp4").stat().st_size > 1000
    assert len(json.loads((tmp_path / "eval.json").read_text())["records"]) == 2
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main(["visualize", str(trained), "--out", str(tmp_path)])
    assert stopped.value.code == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "plan_px" in said


def test_its_protocols_are_its_own(trained: Path, tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        main(["eval", str(trained), "--episodes", "1", "--protocol", "gym_pusht", "--out", str(tmp_path)])
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "toy_robot:toy/Reach-v0" in said


@pytest.mark.slow
def test_worker_processes_know_it_too(trained: Path) -> None:
    one, two = (evaluate(trained, episodes=150, workers=n)["records"] for n in (1, 2))
    assert one == two


def test_plain_shows_everything_as_it_is(tiny: Any, tmp_path: Path, run_training: Any, trained: Path) -> None:
    store = trained.parent / "reach.zarr"
    policy = EXPERIMENT["policy"] | {"task": "plain"}
    config = tiny(policy=policy, data={"mirror": True}, evaluation=EXPERIMENT["evaluation"])
    run_training(config, store, tmp_path / "run")
    loaded = load_policy(tmp_path / "run")
    assert isinstance(loaded, DiffusionPolicy)
    assert loaded.normalizer.markers_center.shape == (4, 3)
    assert loaded.encoder.cond_dim == 2 * (7 + 12 + 2 * 8 * 8 * 3)
    demos = open_store(store)
    trained_on = split_episodes(demos.n_episodes, config.data)[0]
    for key in config.policy.observations:
        recorded = torch.from_numpy(np.concatenate([demos.episode(i, [key])[key] for i in trained_on]))
        shown = loaded.normalizer.normalize(key, recorded)
        assert (shown.abs().amax(dim=0) <= 1 + 1e-5).all()  # bytes too: their sums must not wrap round at 256
    records = evaluate(tmp_path / "run", episodes=2, seed=0)["records"]
    assert [record["steps"] for record in records] == [25, 25]  # four steps of training do not get there
