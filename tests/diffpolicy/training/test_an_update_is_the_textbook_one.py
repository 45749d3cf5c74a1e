"""One update is backward, clipping, AdamW and averaging, as their textbook forms compute them."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from diffpolicy_demos import open_store

from diffpolicy.policy import DiffusionPolicy
from diffpolicy.training.batches import Batches
from diffpolicy.training.learner import Learner, learning_rate
from diffpolicy.training.windows import load_windows


@pytest.mark.parametrize("clip", [1e-3, 1e3])
def test_five_updates(clip: float, make_store: Any, tiny: Any, make_policy: Callable[..., DiffusionPolicy]) -> None:
    config = tiny(training={"gradient_clip": clip, "warmup_steps": 2, "steps": 10, "weight_decay": 0.1})
    settings, store = config.training, open_store(make_store(steps=40))
    windows = load_windows(store, config.data, ("state",), obs_horizon=2, pred_horizon=16)[0]
    policy = make_policy(config)
    plain, average = copy.deepcopy(policy), copy.deepcopy(policy)
    learner = Learner(config, policy, Accelerator(cpu=True, mixed_precision="no"))
    optimizer = torch.optim.AdamW(
        plain.parameters(), betas=settings.betas, weight_decay=settings.weight_decay, foreach=False
    )
    generator = torch.Generator().manual_seed(settings.seed)
    for step in range(5):
        batch = Batches(windows, config, "cpu").draw(step)
        found = learner.step(batch)
        optimizer.param_groups[0]["lr"] = learning_rate(step, settings)
        loss = plain.loss(batch, generator=generator, observation_noise=config.data.observation_noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), clip)
        optimizer.step()
        optimizer.zero_grad()
        decay = min(settings.ema_decay, 1 - (2 + step) ** -settings.ema_power)
        with torch.no_grad():
            for mean, weight in zip(average.parameters(), plain.parameters(), strict=True):
                mean.mul_(decay).add_(weight, alpha=1 - decay)
        torch.testing.assert_close(found, loss.detach())
        assert not found.requires_grad
    assert learner.step_number == learner.ema.step == 5
    for ours, theirs in ((learner.policy, plain), (learner.refresh_average(), average)):
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)
    assert any(
        (a - b).abs().max() > 1e-4 for a, b in zip(plain.parameters(), make_policy(config).parameters(), strict=True)
    )
