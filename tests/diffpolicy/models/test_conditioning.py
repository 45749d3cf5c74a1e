"""What conditions a network: the noise level as waves, the observation history as one row of numbers."""

import math

import pytest
import torch

from diffpolicy.models import VectorEncoder
from diffpolicy.models.time_embedding import TimeEmbedding


def test_time_becomes_waves_of_geometric_frequencies() -> None:
    t = torch.tensor([0.0, 0.01, 0.5, 1.0])
    found = TimeEmbedding(6)(t)
    for row, time in enumerate(t.tolist()):
        for index, frequency in enumerate((1000.0, 10.0, 0.1)):
            # float32 rounds an angle of up to 1000 rad by 6e-5.
            assert abs(found[row, index] - math.sin(time * frequency)) < 2e-4
            assert abs(found[row, 3 + index] - math.cos(time * frequency)) < 2e-4


def test_waves_are_no_part_of_the_weights() -> None:
    embedding = TimeEmbedding(8)
    assert not embedding.state_dict()
    assert embedding(torch.rand(5)).shape == (5, 8)


def test_a_thousand_levels_stay_apart() -> None:
    found = TimeEmbedding(64)((torch.arange(1000) + 1) / 1000)
    assert torch.pdist(found).min() > 0.1


@pytest.mark.parametrize("obs_horizon", [1, 3])
def test_history_is_laid_out_step_by_step_and_key_by_key(obs_horizon: int) -> None:
    encoder = VectorEncoder({"keypoints": (3, 2), "agent_pos": (2,)}, obs_horizon)
    assert encoder.cond_dim == obs_horizon * 8
    assert not list(encoder.parameters())
    keypoints = torch.arange(2.0 * obs_horizon * 6).view(2, obs_horizon, 3, 2)
    agent = -torch.arange(2.0 * obs_horizon * 2).view(2, obs_horizon, 2)
    cond = encoder({"agent_pos": agent, "keypoints": keypoints})  # the encoder's order counts, not the observation's
    assert cond.shape == (2, obs_horizon, 8)
    for row in range(2):
        for step in range(obs_horizon):
            wanted = [*keypoints[row, step].flatten().tolist(), *agent[row, step].tolist()]
            assert cond[row, step].tolist() == wanted
