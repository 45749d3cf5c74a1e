"""What the policy promises of a sample: its shape, its range, its seeds, and that a plan leaves the policy as it was."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import diffpolicy.policy
from diffpolicy.config import ExperimentConfig, PolicyConfig
from diffpolicy.config_file import config_from_dict
from diffpolicy.diffusion import standard_normal
from diffpolicy.errors import ConfigError
from diffpolicy.policy import DiffusionPolicy

Tiny = Callable[..., ExperimentConfig]
Make = Callable[..., DiffusionPolicy]

DDPM = {"objective": {"name": "ddpm"}, "sampler": "ddpm"}
DIRECT = {"objective": {"name": "mixture"}, "sampler": "direct", "steps": 1}


def states(rows: int, seed: int = 0) -> Tensor:
    """Observations of `rows` robots over two steps: agent, block, angle."""
    g = torch.Generator().manual_seed(seed)
    return torch.rand(rows, 2, 5, generator=g) * torch.tensor([512, 512, 512, 512, 6.28])


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("way", [{}, DDPM, DDPM | {"sampler": "ddim"}])
@pytest.mark.parametrize("n", [1, 3])
def test_shapes(tiny: Tiny, make_policy: Make, way: dict[str, Any], n: int) -> None:
    policy = make_policy(tiny(policy=way | {"pred_horizon": 8, "action_horizon": 4, "steps": 3}))
    x, path = policy.sample({"state": states(4)}, n=n, return_path=True, generator=seeded(0))
    assert x.shape == (4, n, 8, 2)
    assert path.shape == (4, 4, n, 8, 2)
    assert torch.equal(path[-1], x)
    assert torch.equal(policy.sample({"state": states(4)}, n=n, generator=seeded(0)), x)
    assert policy.noise_levels().shape == (4,)
    assert (
        policy.sample({"state": states(4)}, steps=5, return_path=True)[1].shape[0] == len(policy.noise_levels(5)) == 6
    )


def test_several_observations_are_seen_and_others_ignored(tiny: Tiny, make_policy: Make) -> None:
    policy = make_policy(tiny(policy={"observations": ["keypoints", "agent_pos"]}))
    g = seeded(1)
    obs = {"keypoints": torch.rand(2, 2, 9, 2, generator=g) * 512, "agent_pos": torch.rand(2, 2, 2, generator=g) * 512}
    x = policy.sample(obs, generator=seeded(0))
    for key, value in obs.items():
        assert not torch.equal(policy.sample(obs | {key: value + 100}, generator=seeded(0)), x)
    assert torch.equal(policy.sample(obs | {"pixels": torch.zeros(1)}, generator=seeded(0)), x)


@pytest.mark.parametrize("way", [{}, DDPM])
def test_the_seed_decides(tiny: Tiny, make_policy: Make, way: dict[str, Any]) -> None:
    policy, obs = make_policy(tiny(policy=way)), {"state": states(2)}
    before = torch.get_rng_state()
    x, again, other = (policy.sample(obs, n=2, generator=seeded(s)) for s in (5, 5, 6))
    assert torch.equal(x, again)
    assert not torch.equal(x, other)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(x[:, 0], x[:, 1])


def test_the_path_begins_with_the_generators_noise(tiny: Tiny, make_policy: Make) -> None:
    policy = make_policy(tiny())
    _, path = policy.sample({"state": states(2)}, n=3, generator=seeded(5), return_path=True)
    noise = torch.randn(2, 3, 16, 2, generator=seeded(5))
    torch.testing.assert_close(path[0], policy.normalizer.unnormalize("action", noise), rtol=0, atol=0)


@pytest.mark.parametrize("way", [{}, DDPM, DDPM | {"sampler": "ddim"}, {"sampler": "heun"}, DIRECT])
@pytest.mark.parametrize("several", [False, True])
def test_noise_that_is_given_is_noise_that_was_drawn(
    tiny: Tiny, make_policy: Make, way: dict[str, Any], several: bool
) -> None:
    """To the bit; what a sampler draws on the way comes from the generator in either case."""
    policy, obs = make_policy(tiny(policy=way)), {"state": states(4)}
    first, second = ([seeded(row) for row in range(4)] if several else seeded(5) for _ in range(2))
    x, path = policy.sample(obs, 3, generator=first, return_path=True)
    noise = standard_normal((4, 3, 16, 2), second, torch.device("cpu"))
    given, given_path = policy.sample(obs, generator=second, noise=noise, return_path=True)
    assert torch.equal(given, x)
    assert torch.equal(given_path, path)
    if way not in (DDPM, DIRECT):  # no other noise is drawn, and none is left out
        assert torch.equal(policy.sample(obs, 3, noise=noise.double(), generator=seeded(1)), x)
        assert not torch.equal(policy.sample(obs, noise=-noise), x)


BAD_NOISE: dict[str, tuple[tuple[int, ...], int | None, str]] = {
    "another n": ((4, 3, 16, 2), 2, r"^n is 2, but the noise given is that of 3 sequences each; leave n out$"),
    "another number of rows": ((3, 2, 16, 2), None, r"^noise has shape \(3, 2, 16, 2\); expected \(4, n, 16, 2\)"),
    "another horizon": ((4, 2, 8, 2), None, r"^noise has shape \(4, 2, 8, 2\); expected \(4, n, 16, 2\)"),
    "another action": ((4, 2, 16, 3), None, r"^noise has shape \(4, 2, 16, 3\); expected \(4, n, 16, 2\)"),
    "of no plans": ((4, 0, 16, 2), None, r"^noise has shape \(4, 0, 16, 2\); expected \(4, n, 16, 2\)"),
}


@pytest.mark.parametrize(("shape", "n", "message"), BAD_NOISE.values(), ids=BAD_NOISE)
def test_noise_of_another_shape_is_refused_in_one_line(
    tiny: Tiny, make_policy: Make, shape: tuple[int, ...], n: int | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        make_policy(tiny()).sample({"state": states(4)}, n, noise=torch.zeros(shape))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("way", [{}, DDPM, DDPM | {"sampler": "ddim"}])
def test_a_row_does_not_depend_on_the_others(tiny: Tiny, make_policy: Make, way: dict[str, Any]) -> None:
    policy, obs = make_policy(tiny(policy=way)), states(4)

    def run(rows: list[int]) -> Tensor:
        return policy.sample({"state": obs[rows]}, n=2, generator=[seeded(row) for row in rows])

    together = run([0, 1, 2, 3])
    for rows in ([2], [3, 0]):
        # px: a matrix product of another number of rows rounds otherwise.
        torch.testing.assert_close(run(rows), together[rows], rtol=0, atol=0.01)


@pytest.mark.parametrize("way", [{}, DDPM, DDPM | {"sampler": "ddim"}])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_results_lie_within_the_demonstrated_range(way: dict[str, Any], steps: int) -> None:
    """Even from a network that says nonsense, and for a number of the action that never varied."""
    config = tiny_config(steps, way)
    policy = DiffusionPolicy(config, {"state": (3,)}, 4)
    low, high = torch.tensor([0.0, -5.0, 7.0, 1e-3]), torch.tensor([512.0, 1.0, 7.0, 2e-3])
    demonstrated = torch.stack([low, high, low / 2 + high / 2])
    policy.fit_normalizer({"state": torch.rand(3, 3)}, demonstrated, mirror=False)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.normal_(std=3.0, generator=seeded(0))
    x = policy.sample({"state": torch.rand(5, 2, 3)}, n=8, generator=seeded(1))
    assert ((x - low) >= -1e-5 * (high - low).abs()).all()
    assert ((high - x) >= -1e-5 * (high - low).abs()).all()
    assert x[..., 0].max() - x[..., 0].min() > 100  # it does use the range
    assert (x[..., 2] == 7).all()


def tiny_config(steps: int, way: dict[str, Any]) -> PolicyConfig:
    backbone = {"name": "mlp", "width": 16, "blocks": 1, "cond_width": 8}
    return config_from_dict({"task": "plain", "backbone": backbone, "steps": steps, **way}, "test", PolicyConfig)


def test_precision_and_kind_of_the_input_do_not_matter(tiny: Tiny, make_policy: Make) -> None:
    """The same numbers as float32 or float64, tensor or array, give the same plan to the bit."""
    policy, obs = make_policy(tiny()), states(3)
    x = policy.sample({"state": obs}, generator=seeded(0))
    for same in (obs.double(), obs.numpy(), obs.double().numpy(), np.asfortranarray(obs.double().numpy())):
        assert torch.equal(policy.sample({"state": same}, generator=seeded(0)), x)
    whole = obs.round()
    from_integers = policy.sample({"state": whole.long().numpy()}, generator=seeded(0))
    assert torch.equal(from_integers, policy.sample({"state": whole}, generator=seeded(0)))
    assert x.dtype == torch.float32


@pytest.mark.parametrize("training", [True, False])
def test_a_plan_leaves_the_mode_alone_and_uses_no_dropout(tiny: Tiny, make_policy: Make, training: bool) -> None:
    backbone = {"name": "mlp", "width": 16, "blocks": 1, "cond_width": 8, "dropout": 0.5}
    policy, obs = make_policy(tiny(policy={"backbone": backbone})).train(training), {"state": states(2)}
    assert torch.equal(policy.sample(obs, generator=seeded(0)), policy.sample(obs, generator=seeded(0)))
    assert {module.training for module in policy.modules()} == {training}
    with pytest.raises(ConfigError, match="steps is 0"):
        policy.sample(obs, steps=0)
    assert {module.training for module in policy.modules()} == {training}
    # The dropout is there: in training it makes the network's word random.
    x, t, cond = torch.ones(1, 16, 2), torch.ones(1), torch.ones(1, policy.encoder.cond_dim)
    said = [policy.backbone(x, t, cond) for _ in range(2)]
    assert torch.equal(*said) is not training


def test_a_plan_builds_no_graph(tiny: Tiny, make_policy: Make) -> None:
    policy = make_policy(tiny())
    assert all(parameter.requires_grad for parameter in policy.parameters())
    x, path = policy.sample({"state": states(1)}, return_path=True)
    assert not x.requires_grad
    assert not path.requires_grad


def test_weights_and_ranges_travel_together(tiny: Tiny, make_policy: Make) -> None:
    config = tiny()
    policy, other = make_policy(config, seed=1), make_policy(config, seed=2)
    obs = {"state": states(2)}
    x = policy.sample(obs, generator=seeded(0))
    assert not torch.equal(other.sample(obs, generator=seeded(0)), x)
    other.load_state_dict(policy.state_dict())
    assert torch.equal(other.sample(obs, generator=seeded(0)), x)


def test_the_mirror_makes_the_ranges_symmetrical() -> None:
    policy = DiffusionPolicy(PolicyConfig(), {"state": (5,)}, 2)
    g = seeded(0)
    state, action = torch.rand(50, 5, generator=g) * 300, torch.rand(50, 2, generator=g) * torch.tensor([300.0, 100.0])
    policy.fit_normalizer({"state": state}, action, mirror=True)
    center, half = policy.normalizer.action_center, policy.normalizer.action_half_range
    torch.testing.assert_close(center.sum(), torch.tensor(512.0))
    torch.testing.assert_close(half[0], half[1])
    policy.fit_normalizer({"state": state}, action, mirror=False)
    torch.testing.assert_close(policy.normalizer.action_center[1], (action[:, 1].max() + action[:, 1].min()) / 2)


def test_executed_actions_are_those_of_the_drawing() -> None:
    """The drawing in the module's text is read: its stars stand under the actions of the slice."""
    text = diffpolicy.policy.__doc__ or ""
    horizons = {name: int(n) for name, n in re.findall(r"((?:obs|pred|action)_horizon) (\d+)", text)}
    rows = {line.split()[0]: line for line in text.splitlines() if line.startswith("    ")}
    columns = [match.start() for match in re.finditer(r"x\[\d+\]", rows["x"].split(" pred_horizon")[0])]
    stars = [match.start() for match in re.finditer(r"\*", rows["executed"])]
    seen = [match.start() for match in re.finditer(r"\bo\b", rows["y"].split("obs_horizon")[0])]
    assert len(columns) == horizons["pred_horizon"]
    assert len(seen) == horizons["obs_horizon"]
    under = [min(range(len(columns)), key=lambda i: abs(columns[i] + 1 - star)) for star in stars]
    policy = DiffusionPolicy(PolicyConfig(task="plain", **horizons), {"state": (1,)}, 2)
    assert under == list(range(horizons["pred_horizon"]))[policy.executed]
    present = min(range(len(columns)), key=lambda i: abs(columns[i] + 1 - seen[-1]))
    assert under[0] == present


def test_the_policy_is_a_module_whose_device_is_known(tiny: Tiny, make_policy: Make) -> None:
    policy = make_policy(tiny())
    assert policy.device == torch.device("cpu")
    assert policy.to("meta").device == torch.device("meta")
    assert isinstance(policy, nn.Module)
