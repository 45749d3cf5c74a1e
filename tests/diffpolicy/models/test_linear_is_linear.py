"""`Linear` is `nn.Linear`: the same numbers and gradients; and without gradients a row depends on nothing but itself."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import linear

from diffpolicy.models.linear import Linear

SIZES = [(36, 256), (256, 6144), (512, 1024), (1024, 512), (512, 32), (7, 5)]


def made(features: int, out: int) -> Linear:
    torch.manual_seed(0)
    return Linear(features, out)


def rows(count: int, features: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, features, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("features", "out"), SIZES)
@torch.no_grad()
def test_it_says_what_linear_says(features: int, out: int) -> None:
    layer = made(features, out)
    for shape in ((3, features), (2, 3, features), (features,), (0, features)):
        x = rows(8, features).flatten()[: torch.Size(shape).numel()].view(shape)
        torch.testing.assert_close(layer(x), linear(x, layer.weight, layer.bias), rtol=1e-5, atol=1e-5)
        offset = torch.arange(float(out))
        torch.testing.assert_close(layer(x, offset), linear(x, layer.weight, layer.bias) + offset, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("features", "out"), SIZES)
@torch.no_grad()
def test_a_row_depends_neither_on_its_place_nor_on_the_others_nor_on_threads(features: int, out: int) -> None:
    """What lets one robot's plan be, to the last bit, the plan it gets among fifty."""
    layer, x = made(features, out), rows(130, features)
    whole = layer(x)
    order = torch.randperm(130, generator=torch.Generator().manual_seed(2))
    assert torch.equal(layer(x[order]), whole[order])
    for count in (1, 2, 10, 50, 64):
        assert torch.equal(layer(x[:count]), whole[:count])
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            assert torch.equal(layer(x), whole)
    finally:
        torch.set_num_threads(before)


@torch.no_grad()
def test_a_changed_weight_is_seen() -> None:
    layer, x = made(16, 8), rows(3, 16)
    first = layer(x)
    layer.weight.mul_(2)
    torch.testing.assert_close(layer(x) - layer.bias, 2 * (first - layer.bias))
    layer.load_state_dict(made(16, 8).state_dict())
    assert torch.equal(layer(x), first)
    layer.weight = nn.Parameter(torch.zeros(8, 16))
    assert torch.equal(layer(x), layer.bias.expand(3, 8))
    layer.bias.zero_()
    assert (layer(x) == 0).all()


def test_learning_goes_through_the_plain_weight() -> None:
    layer, plain = made(16, 8), nn.Linear(16, 8)
    plain.load_state_dict(layer.state_dict())
    x = rows(5, 16).requires_grad_()
    gradients = [torch.autograd.grad(m(x).square().sum(), (x, *m.parameters())) for m in (layer, plain)]
    assert all(map(torch.equal, *gradients))


def test_a_copy_learns_for_itself() -> None:
    layer, x = made(16, 8), rows(3, 16)
    with torch.no_grad():
        layer(x)
        twin = copy.deepcopy(layer)
        twin.weight.zero_()
        assert torch.equal(twin(x), twin.bias.expand(3, 8))
        assert not torch.equal(layer(x), twin(x))


@torch.no_grad()
def test_other_types_and_autocast_are_linears_own() -> None:
    layer, x = made(16, 8), rows(3, 16)
    exact = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        coarse = layer(x)
    assert coarse.dtype == torch.bfloat16
    torch.testing.assert_close(coarse.float(), exact, rtol=0.02, atol=0.02)
    double = copy.deepcopy(layer).double()
    torch.testing.assert_close(double(x.double()).float(), exact, rtol=1e-5, atol=1e-6)
