"""What a recording knows may teach the image encoder where things are; the policy that comes of it needs pictures alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from diffpolicy_demos import create_store
from diffpolicy_envs.pusht.pixels import PixelPainter
from torch import Tensor, nn

from diffpolicy.checkpoint import load_policy
from diffpolicy.config import ExperimentConfig
from diffpolicy.errors import ConfigError, ObservationError
from diffpolicy.evaluation.controller import Controller
from diffpolicy.evaluation.evaluate import evaluate
from diffpolicy.export import export_policy
from diffpolicy.policy import Batch, DiffusionPolicy
from diffpolicy.tasks.pusht import state_features

SIZE_PX = 48
ENCODER: dict[str, Any] = {
    "trunk": {"name": "resnet", "stem_px": 4, "channels": [8], "blocks": [1], "group_width": 4},
    "features": 6,
}
SHAPES = {"pixels": (SIZE_PX, SIZE_PX, 3), "agent_pos": (2,), "state": (5,)}
Tiny = Callable[..., ExperimentConfig]


def changes(weight: float | None = 10.0, **more: Any) -> dict[str, Any]:
    """Of the tiny experiment; without a weight nothing is supervised."""
    told = {} if weight is None else {"supervision": ["state"], "supervision_weight": weight}
    world = {"env_kwargs": {"obs_type": "pixels_agent_pos", "pixels_size_px": SIZE_PX}}
    return {
        "policy": {"observations": ["pixels", "agent_pos"], "image_encoder": ENCODER | told},
        "evaluation": world,
        **more,
    }


def episode(steps: int, seed: int) -> dict[str, np.ndarray]:
    """A drive about the table, as it is drawn and as it was."""
    rng = np.random.default_rng(seed)
    way = np.clip(rng.uniform(150, 350, 4) + np.cumsum(rng.normal(0, 8, (steps, 4)), axis=0), 0, 512)
    state = np.column_stack([way, rng.uniform(0, 6) + np.cumsum(rng.normal(0, 0.02, steps))]).astype(np.float32)
    painter = PixelPainter((SIZE_PX, SIZE_PX))
    pixels = np.stack([painter.paint(*row.tolist()) for row in state])
    action = state[:, :2] + rng.normal(0, 20, (steps, 2)).astype(np.float32)
    return {"pixels": pixels, "agent_pos": state[:, :2], "state": state, "action": action}


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., Path]:
    """A function that records such drives, without some keys."""

    def make(*without: str) -> Path:
        recorded = create_store(tmp_path / "drawn.zarr")
        for seed in range(3):
            recorded.append_episode({key: value for key, value in episode(16, seed).items() if key not in without})
        return tmp_path / "drawn.zarr"

    return make


@pytest.fixture
def make_policy(tiny: Tiny) -> Callable[..., DiffusionPolicy]:
    """A function that makes a policy whose encoder must tell the state, with this weight; all have the same weights."""

    def make(weight: float | None = 10.0) -> DiffusionPolicy:
        policy = DiffusionPolicy(tiny(**changes(weight)).policy, SHAPES, 2)
        steps = {key: torch.from_numpy(value) for key, value in episode(60, 7).items()}
        obs = {key: steps[key] for key in policy.recorded_shapes}
        policy.fit_normalizer(obs, steps["action"], mirror=True)
        with torch.no_grad():
            for name, parameter in sorted(policy.named_parameters()):
                seed = torch.Generator().manual_seed(sum(map(ord, name)))
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=seed))
        return policy.eval()

    return make


def batch(rows: int = 5) -> Batch:
    steps = {key: torch.from_numpy(value) for key, value in episode(16 * rows, 3).items()}
    obs = {key: steps[key].unflatten(0, (rows, 16))[:, :2] for key in SHAPES}
    return Batch(obs=obs, action=steps["action"].unflatten(0, (rows, 16)))


def loss(policy: DiffusionPolicy, b: Batch | None = None, **choices: Any) -> Tensor:
    return policy.loss(b or batch(), generator=torch.Generator().manual_seed(0), **choices)


def test_the_loss_is_the_denoisings_and_a_weight_of_what_is_told_wrongly(make_policy: Any) -> None:
    without, light, heavy = (make_policy(weight) for weight in (None, 0.5, 10.0))
    b = batch()
    features = heavy.encode(b["obs"]).unflatten(1, (2, -1))[..., 2:]  # in each step the agent's x and y come first
    told = features @ heavy.supervision.tell.weight.T + heavy.supervision.tell.bias
    truth = heavy.normalizer.normalize("state", state_features(b["obs"]["state"]))
    error = (told - truth).square().mean()
    assert float(error.detach()) > 0.01
    torch.testing.assert_close(loss(light), loss(without) + 0.5 * error)
    torch.testing.assert_close(loss(heavy), loss(without) + 10.0 * error)
    torch.testing.assert_close(loss(heavy, draws=3), loss(without, draws=3) + 10.0 * error)  # told once a look


def test_what_is_told_reaches_the_image_encoder_and_its_numbers_are_no_feature(make_policy: Any) -> None:
    class Deaf(nn.Module):
        def forward(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
            return torch.zeros_like(x)

    policy = make_policy().train()
    policy.backbone = Deaf()
    loss(policy).backward()
    silent = [name for name, p in policy.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []
    other = batch()
    other["obs"]["state"] = other["obs"]["state"] + 50
    assert torch.equal(policy.eval().encode(other["obs"]), policy.encode(batch()["obs"]))
    assert not torch.equal(loss(policy, other), loss(policy))


def test_a_robot_needs_only_what_the_policy_observes(make_policy: Any) -> None:
    policy, obs = make_policy(), batch(1)["obs"]
    assert set(policy.obs_shapes) == {"pixels", "agent_pos"}
    assert set(policy.recorded_shapes) == {"pixels", "agent_pos", "state"}
    g = torch.Generator
    seen = {key: obs[key] for key in policy.obs_shapes}
    plan = policy.sample(seen, generator=g().manual_seed(1))
    assert torch.equal(policy.sample(obs, generator=g().manual_seed(1)), plan)
    assert torch.equal(make_policy(None).sample(seen, generator=g().manual_seed(1)), plan)
    assert Controller(policy)({key: value[0, 0].numpy() for key, value in seen.items()}).shape == (2,)


def test_a_batch_without_what_is_to_be_told_is_refused_in_one_line(make_policy: Any) -> None:
    b = batch()
    del b["obs"]["state"]
    with pytest.raises(
        ObservationError,
        match=r"^the batch lacks 'state', which policy\.image_encoder\.supervision .*pixels, agent_pos$",
    ):
        loss(make_policy(), b)
    assert loss(make_policy(None), b) > 0


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_trains_resumes_and_is_stored_with_it(
    precision: str, tmp_path: Path, make_store: Any, tiny: Tiny, run_training: Any
) -> None:
    store = make_store()
    config = tiny(
        **changes(training={"precision": precision, "draws": 2, "learning_rate": 1e-2}, data={"mirror": True})
    )
    run_training(config, store, tmp_path / "whole")
    run_training(config, store, tmp_path / "parts", stop_after=2)
    run_training(config, store, tmp_path / "parts", resume=tmp_path / "parts" / "last")
    whole, parts = (load_policy(tmp_path / name) for name in ("whole", "parts"))
    assert [n for n, v in whole.state_dict().items() if not torch.equal(v, parts.state_dict()[n])] == []
    assert whole.config == config.policy
    assert (set(whole.obs_shapes), set(whole.recorded_shapes)) == ({"pixels", "agent_pos"}, set(SHAPES))
    # Of the corners, not of the five numbers: the encoder tells what the task makes of the state.
    assert whole.normalizer.get_buffer("state_center").shape == (18,)
    b = batch()
    assert torch.equal(loss(whole, b), loss(parts, b))


def test_it_is_evaluated_and_exported_without_it(
    tmp_path: Path, make_store: Any, tiny: Tiny, run_training: Any
) -> None:
    run_training(tiny(**changes()), make_store(), tmp_path / "run")
    result = evaluate(tmp_path / "run", episodes=2, seed=500_000, max_steps=9)
    assert [record["steps"] for record in result["records"]] == [9, 9]
    exported = export_policy(tmp_path / "run", tmp_path / "policy.pt2")
    assert [each["key"] for each in exported.description["observations"]] == ["pixels", "agent_pos"]


def test_a_store_that_does_not_know_it_is_told_in_one_line(
    tmp_path: Path, make_store: Any, tiny: Tiny, tiny_plain: Any, run_training: Any, complaint: Any
) -> None:
    store = make_store("state")
    with pytest.raises(ConfigError, match=r"image_encoder\.supervision: .*drawn\.zarr has no 'state'; it has .*pixels"):
        run_training(tiny(**changes()), store, tmp_path / "run")
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(tiny_plain(**changes(data={"path": str(store)}))))
    said = complaint("train", tmp_path / "mine.yaml", "--out", tmp_path / "run", "--device", "cpu")
    assert "has no 'state'" in said
    assert not (tmp_path / "run").exists()
