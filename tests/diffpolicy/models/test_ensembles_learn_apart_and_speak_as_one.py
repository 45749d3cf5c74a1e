"""An ensemble's answer is its members' mean; in training each row is one member's own, and teaches no other."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from diffpolicy.config import MLPConfig, PolicyConfig
from diffpolicy.config_objectives import MixtureConfig
from diffpolicy.models import Ensemble, build_backbone

Small = Callable[..., nn.Module]
MEMBERS, ROWS = 3, 8


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(1)
    return torch.randn(ROWS, 8, 2, generator=g), torch.rand(ROWS, generator=g), torch.randn(ROWS, 5, generator=g)


def test_in_use_it_says_the_mean(small: Small) -> None:
    ensemble = small("ensemble")
    assert isinstance(ensemble, Ensemble)
    said = [member(*inputs()) for member in ensemble.members]
    assert (said[0] - said[1]).abs().max() > 0.1
    torch.testing.assert_close(ensemble(*inputs()), sum(said) / MEMBERS)


def test_in_training_each_row_is_one_members_own(small: Small) -> None:
    ensemble = small("ensemble").train()
    said = [member(*inputs()) for member in ensemble.members]
    answer = ensemble(*inputs())
    for row in range(ROWS):
        torch.testing.assert_close(answer[row], said[row % MEMBERS][row])


def test_a_row_teaches_no_other_member(small: Small) -> None:
    ensemble = small("ensemble").train()
    ensemble(*inputs())[1].sum().backward()
    learned = [any(p.grad is not None and p.grad.any() for p in member.parameters()) for member in ensemble.members]
    assert learned == [False, True, False]


def test_fewer_rows_than_members_are_answered(small: Small) -> None:
    ensemble = small("ensemble").train()
    x, t, cond = inputs()
    torch.testing.assert_close(ensemble(x[:1], t[:1], cond[:1]), ensemble.members[0](x[:1], t[:1], cond[:1]))


def test_members_start_apart() -> None:
    ensemble = build_backbone(MLPConfig(width=16, cond_width=8), horizon=8, action_dim=2, cond_dim=5, members=2)
    first, second = (member.embed_action.weight for member in ensemble.members)
    assert not torch.equal(first, second)


def test_one_member_is_a_network_as_ever() -> None:
    assert not isinstance(build_backbone(MLPConfig(), horizon=8, action_dim=2, cond_dim=5, members=1), Ensemble)


def test_mixtures_are_not_averaged() -> None:
    with pytest.raises(ValueError, match="members: the mixtures"):
        PolicyConfig(members=2, objective=MixtureConfig(), sampler="direct", steps=1)
    with pytest.raises(ValueError, match="members"):
        PolicyConfig(members=0)
