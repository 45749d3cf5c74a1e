"""What ours is compared with does the same job: the same outputs, gradients, plans and weights after training."""

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from diffpolicy_demos import open_store
from torch import nn

from diffpolicy.benchmarking.plain_network import in_plain_style
from diffpolicy.benchmarking.plain_sampling import PlainSampler
from diffpolicy.benchmarking.plain_training import PlainTraining
from diffpolicy.benchmarking.sampling_speed import with_ddim
from diffpolicy.config import ExperimentConfig
from diffpolicy.errors import ConfigError
from diffpolicy.policy import DiffusionPolicy
from diffpolicy.training.learner import Learner
from diffpolicy.training.windows import Windows, load_windows

Tiny = Callable[..., ExperimentConfig]
MakePolicy = Callable[..., DiffusionPolicy]

UNET = {"name": "unet1d", "channels": [8, 16, 24], "groups": 4, "time_width": 8}
NETWORKS = {"mlp": {}, "unet1d": {"backbone": UNET}}
PLAIN_LAYERS = (nn.Linear, nn.Conv1d, nn.ConvTranspose1d, nn.GroupNorm, nn.LayerNorm)


def observations(rows: int) -> dict[str, torch.Tensor]:
    drawn = np.random.default_rng(0).uniform([0, 0, 0, 0, 0], [512, 512, 512, 512, 6.28], (rows, 2, 5))
    return {"state": torch.from_numpy(drawn.astype(np.float32))}


@pytest.mark.parametrize("changes", NETWORKS.values(), ids=NETWORKS)
def test_outputs_and_gradients(changes: dict, tiny: Tiny, make_policy: MakePolicy) -> None:
    ours = make_policy(tiny(policy=changes)).backbone
    plain = in_plain_style(copy.deepcopy(ours))
    g = torch.Generator().manual_seed(0)
    x, t, cond = (torch.randn(shape, generator=g) for shape in ((6, 16, 2), (6,), (6, 36)))
    for network in (ours, plain):
        network(x, t, cond).square().mean().backward()
    torch.testing.assert_close(plain(x, t, cond), ours(x, t, cond), rtol=1e-5, atol=1e-5)
    with torch.no_grad():  # where ours takes other ways than with gradients
        torch.testing.assert_close(plain(x, t, cond), ours(x, t, cond), rtol=1e-5, atol=1e-5)
    for (name, one), (_, other) in zip(plain.named_parameters(), ours.named_parameters(), strict=True):
        assert one.grad is not None, name
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-5 * float(one.grad.abs().max()), msg=name)


@pytest.mark.parametrize("changes", NETWORKS.values(), ids=NETWORKS)
def test_no_layer_of_ours_is_left(changes: dict, tiny: Tiny, make_policy: MakePolicy) -> None:
    ours = make_policy(tiny(policy=changes)).backbone
    own = {type(m) for m in ours.modules() if isinstance(m, PLAIN_LAYERS) and type(m) not in PLAIN_LAYERS}
    assert own, "there are no layers of ours to replace, so this shows nothing"
    kinds = {type(m) for m in in_plain_style(copy.deepcopy(ours)).modules() if isinstance(m, PLAIN_LAYERS)}
    assert not own & kinds
    assert own <= {type(m) for m in ours.modules()}, "the original is left alone"


@pytest.mark.parametrize("steps", [1, 3, 10])
@pytest.mark.parametrize("sampler", ["euler", "ddim"])
def test_plans(sampler: str, steps: int, tiny: Tiny, make_policy: MakePolicy) -> None:
    policy = make_policy(tiny(policy={"steps": steps}))
    policy = with_ddim(policy) if sampler == "ddim" else policy
    assert policy.config.sampler == sampler
    obs, seeded = observations(3), torch.Generator().manual_seed
    ours = policy.sample(obs, 4, steps=steps, generator=seeded(1))
    plain = PlainSampler(policy).sample(obs, 4, steps=steps, generator=seeded(1))
    assert plain.shape == (3, 4, 16, 2)
    assert isinstance(ours, torch.Tensor)
    spread = float((plain - plain.mean()).abs().max())
    torch.testing.assert_close(plain, ours, rtol=0, atol=1e-4 * spread)
    assert not torch.allclose(plain, PlainSampler(policy).sample(obs, 4, steps=steps, generator=seeded(2)), atol=spread)


def test_samplers_without_a_plain_loop_are_refused(tiny: Tiny, make_policy: MakePolicy) -> None:
    ancestral = make_policy(tiny(policy={"objective": {"name": "ddpm"}, "sampler": "ddpm"}))
    with pytest.raises(ConfigError, match=r"sampler 'ddpm': no plain loop .* euler and ddim"):
        PlainSampler(ancestral)


@pytest.fixture
def learned(tiny: Tiny, make_store: Callable[..., Path]) -> tuple[ExperimentConfig, Windows]:
    """An experiment without warm-up, and with an average that follows the weights equally closely from the first step."""
    config = tiny(
        data={"mirror": False, "observation_noise": 0.05},
        training={"warmup_steps": 0, "ema_decay": 0.25, "steps": 10**6},
    )
    horizons = {"obs_horizon": 2, "pred_horizon": 16}
    return config, load_windows(open_store(make_store()), config.data, ("state",), **horizons)[0]


def test_an_update(learned: tuple[ExperimentConfig, Windows], make_policy: MakePolicy) -> None:
    """From the same weights, with the same windows and draws: times, noise, gradients, clipping, AdamW, average."""
    config, windows = learned
    policy = make_policy(config).train()
    plain = PlainTraining(config, windows, policy)
    learner = Learner(config, copy.deepcopy(policy), Accelerator(cpu=True, mixed_precision="no"))
    torch.manual_seed(config.training.seed)
    for first in (0, 8):
        batch = windows.batch(torch.arange(first, first + 8))
        del batch["mask"]
        assert plain.learn(batch) == pytest.approx(float(learner.step(batch)), rel=1e-5)
    pairs = [(plain.policy, learner.policy), (plain.averaged, learner.refresh_average())]
    for one, other in pairs:
        for a, b, start in zip(one.parameters(), other.parameters(), policy.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=2e-5)  # a fiftieth of what an update changes at most
            assert not torch.equal(a, start)


def test_plain_training_goes_through_the_windows_and_learns(
    learned: tuple[ExperimentConfig, Windows], make_policy: MakePolicy
) -> None:
    config, windows = learned
    small = dataclasses.replace(config.training, batch_size=16, learning_rate=3e-3)
    torch.manual_seed(0)
    plain = PlainTraining(dataclasses.replace(config, training=small), windows, make_policy(config))
    losses = [plain.step() for _ in range(60)]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])
