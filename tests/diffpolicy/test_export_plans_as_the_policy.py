"""An exported program plans what the policy plans, for any number of robots and plans, or no file is left."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import diffpolicy.export
from diffpolicy.checkpoint import load_policy, save_checkpoint
from diffpolicy.config import DDPMConfig, ExperimentConfig, FlowConfig
from diffpolicy.diffusion import DDPM, Flow, sample, sampler_steps
from diffpolicy.errors import CheckpointError, ConfigError
from diffpolicy.evaluation.controller import Controller
from diffpolicy.export import export_policy
from diffpolicy.policy import DiffusionPolicy
from diffpolicy.tasks.plain import Plain

Make = Callable[..., Path]
PAPER = {"objective": {"name": "ddpm"}, "sampler": "ddpm", "steps": 50}
UNET = {"backbone": {"name": "unet1d", "channels": [8, 16], "kernel_size": 3, "groups": 4, "time_width": 8}}
TRANSFORMER = {"backbone": {"name": "transformer", "width": 16, "blocks": 1, "heads": 2}}
TWO_KEYS = {"observations": ["keypoints", "agent_pos"], "obs_horizon": 3, "pred_horizon": 8, "action_horizon": 4}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "mlp, flow": ({}, {}),
    "unet1d, ddim instead of ddpm": (PAPER | UNET, {"sampler": "ddim", "steps": 2}),
    "transformer, two keys, another time, one step": (TWO_KEYS | TRANSFORMER, {"steps": 1}),
    "three networks": ({"members": 3}, {}),
    "a warm start": ({}, {"steps": 3, "warm_start": 0.4}),
}


def opened(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    files = {"policy.json": ""}
    program = torch.export.load(path, extra_files=files).module()
    return program, json.loads(files["policy.json"])


def filled(shape: list[int | str], batch: int, n: int) -> list[int]:
    return [{"batch": batch, "n": n}.get(size, size) for size in shape]


def observations(card: dict[str, Any], batch: int) -> list[Tensor]:
    """Random ones as the file itself describes them."""
    g = torch.Generator().manual_seed(0)
    drawn = [512 * torch.rand(filled(each["shape"], batch, 0), generator=g) for each in card["observations"]]
    return [value.to(getattr(torch, each["dtype"])) for value, each in zip(drawn, card["observations"], strict=True)]


def both(
    program: nn.Module, card: dict[str, Any], policy: DiffusionPolicy, batch: int, n: int
) -> tuple[Tensor, Tensor]:
    """The program's and the policy's plans for one noise: the policy draws it from a generator in the same state."""
    seen = observations(card, batch)
    noise = torch.randn(filled(card["noise"]["shape"], batch, n), generator=torch.Generator().manual_seed(7))
    by_key = {each["key"]: value for each, value in zip(card["observations"], seen, strict=True)}
    how = {"sampler": card["sampler"], "steps": card["steps"]}
    if not card["warm_start"]:
        own = policy.sample(by_key, n, generator=torch.Generator().manual_seed(7), **how)
        assert isinstance(own, Tensor)
        return program(seen, noise), own
    guess = 512 * torch.rand(batch, *noise.shape[2:], generator=torch.Generator().manual_seed(8))
    own = policy.sample(by_key, noise=noise, guess=guess, warm_start=card["warm_start"], **how)
    assert isinstance(own, Tensor)
    return program(seen, noise, guess), own


@pytest.mark.parametrize(("policy", "how"), CASES.values(), ids=CASES)
def test_same_noise_same_plans(
    policy: dict[str, Any], how: dict[str, Any], make_checkpoint: Make, tmp_path: Path
) -> None:
    checkpoint = make_checkpoint(policy=policy)
    exported = export_policy(checkpoint, tmp_path / "policy.pt2", **how)
    program, card = opened(exported.path)
    assert card == exported.description
    assert card["steps"] == how.get("steps", 2)
    own = load_policy(checkpoint)
    reach = float(own.normalizer.action_half_range.max())
    for batch, n in ((1, 1), (1, 4), (3, 1), (2, 3), (70, 1)):
        x, expected = both(program, card, own, batch, n)
        assert list(x.shape) == filled(card["plan"]["shape"], batch, n)
        assert not x.requires_grad
        torch.testing.assert_close(x, expected, rtol=0, atol=2e-4 * reach)
        if batch * n > 1:  # plans differ, so that agreeing says something
            assert x.flatten(0, 1).std(dim=0).max() > 1e-2 * reach
    x, other = both(program, card | {"steps": card["steps"] + 1}, own, 2, 1)
    assert (x - other).abs().max() > 1e-3 * reach
    assert exported.difference_of_range < 1e-4


OTHER_WAYS: dict[str, dict[str, Any]] = {
    "edm, heun": {"objective": {"name": "edm"}, "sampler": "heun", "steps": 5},
    "flow, two steps back": {"sampler": "dpmpp_2m", "steps": 4},
    "regression, two looks": {"objective": {"name": "regression", "second_look": 0.1}, "sampler": "direct", "steps": 2},
    "mixture": {"objective": {"name": "mixture", "modes": 3}, "sampler": "direct", "steps": 1},
}


@pytest.mark.parametrize("policy", OTHER_WAYS.values(), ids=OTHER_WAYS)
def test_every_other_way_from_noise_to_plan(policy: dict[str, Any], make_checkpoint: Make, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(policy=policy)
    exported = export_policy(checkpoint, tmp_path / "policy.pt2")
    program, card = opened(exported.path)
    own = load_policy(checkpoint)
    reach = float(own.normalizer.action_half_range.max())
    for batch, n in ((1, 1), (3, 2), (70, 1)):
        x, expected = both(program, card, own, batch, n)
        torch.testing.assert_close(x, expected, rtol=0, atol=2e-4 * reach)
    assert x.flatten(0, 1).std(dim=0).max() > 1e-2 * reach


def test_it_says_how_its_noise_is_drawn_in_evaluation(make_checkpoint: Make) -> None:
    manner = {"noise_scale": 0.5, "patience": 9}
    card = diffpolicy.export.describe(load_policy(make_checkpoint(policy=manner)), "euler", 2)
    assert {name: card[name] for name in manner} == manner
    assert all(name in card["about"] for name in manner)


IMAGE_ENCODER = {"trunk": {"name": "resnet", "stem_px": 2, "channels": [16], "blocks": [1]}, "features": 4}


@pytest.mark.parametrize("seen_by", [{"task": "toy_robot:TASK"}, {"task": "plain", "image_encoder": IMAGE_ENCODER}])
def test_pictures_and_a_task_of_ones_own(
    seen_by: dict[str, Any], tiny: Callable[..., ExperimentConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    import toy_robot

    keys = ["wrist_camera", "joints", "front_camera", "markers"]
    config = tiny(policy={"observations": keys, "steps": 1, **seen_by})
    seen = [{k: torch.from_numpy(v) for k, v in toy_robot.observe(toy_robot.GOAL + far).items()} for far in (0, 1)]
    policy = DiffusionPolicy(config.policy, {key: tuple(seen[0][key].shape) for key in keys}, 7)
    policy.fit_normalizer({key: torch.stack([s[key] for s in seen]) for key in keys}, torch.rand(2, 7), mirror=False)
    for parameter in policy.parameters():
        nn.init.normal_(parameter, std=0.1)
    save_checkpoint(tmp_path / "robot", policy, config, card="# Test\n")
    program, card = opened(export_policy(tmp_path / "robot", tmp_path / "policy.pt2").path)
    kinds = [(each["key"], each["shape"], each["dtype"]) for each in card["observations"]]
    assert kinds == [
        ("wrist_camera", ["batch", 2, 8, 8, 3], "uint8"),
        ("joints", ["batch", 2, 7], "float32"),
        ("front_camera", ["batch", 2, 8, 8, 3], "uint8"),
        ("markers", ["batch", 2, 4, 3], "float32"),
    ]
    x, expected = both(program, card, policy.eval(), 2, 2)
    torch.testing.assert_close(x, expected, rtol=0, atol=1e-4)
    right = observations(card, 2)
    for other in ([right[index] for index in (2, 1, 0, 3)], [right[0], right[1] + 1, *right[2:]]):
        assert not torch.equal(program(other, torch.zeros(2, 1, 16, 7)), program(right, torch.zeros(2, 1, 16, 7)))


@pytest.mark.parametrize("speed", [1.0, 1.5, 2.0])
def test_it_says_which_actions_a_controller_executes(speed: float, make_checkpoint: Make) -> None:
    policy = load_policy(make_checkpoint(policy={"action_horizon": 5, "obs_horizon": 3, "execution_speed": speed}))
    card = diffpolicy.export.describe(policy, "euler", 2)
    controller = Controller(policy)
    controller.observe(torch.zeros(5).numpy())
    controller.accept(torch.arange(16.0)[None, :, None].expand(1, 16, 2).numpy())
    assert [float(controller.act()[0]) for _ in range(5)] == card["execute_at"]
    assert controller.needs_plan
    x = policy.sample({"state": torch.rand(8, 3, 5) * 512}, n=8)
    assert isinstance(x, Tensor)
    assert (x >= torch.tensor(card["plan"]["low"]) - 1e-3).all()
    assert (x <= torch.tensor(card["plan"]["high"]) + 1e-3).all()


@pytest.mark.parametrize("wrong", [2e-4, float("nan")])
def test_a_program_that_plans_otherwise_is_not_kept(
    wrong: float, make_checkpoint: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, path = make_checkpoint(policy={"steps": 1}), tmp_path / "policy.pt2"
    path.write_text("an earlier one")
    right = diffpolicy.export._Plan.forward
    by = wrong * 2 * float(load_policy(checkpoint).normalizer.action_half_range.max())
    monkeypatch.setattr(diffpolicy.export._Plan, "forward", lambda self, obs, noise: right(self, obs, noise) + by)
    with pytest.raises(CheckpointError, match=r"policy\.pt2: not kept, since its plans differ"):
        export_policy(checkpoint, path)
    assert path.read_text() == "an earlier one"
    assert [found.name for found in tmp_path.glob("policy*")] == ["policy.pt2"]


@pytest.mark.parametrize("steps", [1, 2, 10])
def test_rounding_alone_is_no_difference(steps: int) -> None:
    """A network that names the noise, off by its last digit: of one step from pure noise the sampler makes a thousand."""
    objective = DDPM(DDPMConfig())
    noise = torch.randn(50, 1, 16, 2, generator=torch.Generator().manual_seed(0))
    exact, off = (
        sample(lambda x, t, cond, by=by: x * by, objective, torch.zeros(50, 1), noise, sampler="ddim", steps=steps)[0]
        for by in (1.0, 1.0 + 2**-23)
    )
    of_range = float((exact - off).abs().max()) / 2
    assert of_range < diffpolicy.export._tolerance(sampler_steps(objective, "ddim", steps))
    assert of_range > diffpolicy.export.TOLERANCE or steps > 1
    straight = sampler_steps(Flow(FlowConfig()), "euler", steps)
    assert diffpolicy.export._tolerance(straight) == pytest.approx(diffpolicy.export.TOLERANCE, rel=0.02)


def test_what_looks_at_values_cannot_be_exported(
    make_checkpoint: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def features(self: Plain, obs: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"state": obs["state"] * (2 if float(obs["state"].sum()) > 0 else 1)}

    checkpoint = make_checkpoint(policy={"task": "plain"})
    monkeypatch.setattr(Plain, "features", features)
    with pytest.raises(ConfigError, match=r"policy\.task 'plain' or a network cannot be exported: Could not guard"):
        export_policy(checkpoint, tmp_path / "policy.pt2")
    assert list(tmp_path.glob("policy*")) == []
    assert capfd.readouterr() == ("", "")
