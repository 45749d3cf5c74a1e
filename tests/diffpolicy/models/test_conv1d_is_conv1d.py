"""`Conv1d` is `nn.Conv1d`: the same output and the same gradients, computed another way on the CPU."""

import pytest
import torch
from torch import nn

from diffpolicy.models.conv1d import Conv1d


def pair(before: int, after: int, kernel: int, stride: int, padding: int) -> tuple[Conv1d, nn.Conv1d]:
    torch.manual_seed(0)
    ours = Conv1d(before, after, kernel, stride=stride, padding=padding)
    plain = nn.Conv1d(before, after, kernel, stride=stride, padding=padding)
    plain.load_state_dict(ours.state_dict())
    return ours, plain


def results(layer: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Output, then gradients of x, weight and bias, of a sum in which every number counts differently."""
    x = x.clone().requires_grad_()
    y = layer(x)
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
    return [y.detach(), *torch.autograd.grad((y * weights).sum(), (x, *layer.parameters()))]


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(5, 1, 2), (3, 1, 1), (1, 1, 0), (3, 2, 1), (3, 1, 0), (5, 1, 0), (3, 1, 2)]
)
@pytest.mark.parametrize("length", [16, 8, 5])
def test_output_and_gradients(kernel: int, stride: int, padding: int, length: int) -> None:
    ours, plain = (layer.double() for layer in pair(3, 4, kernel, stride, padding))
    x = torch.randn(7, 3, length, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for found, wanted in zip(results(ours, x), results(plain, x), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


def test_gradients_pass_the_numerical_check() -> None:
    ours = pair(2, 3, 5, 1, 2)[0].double()
    x = torch.randn(2, 2, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, w, b: torch.func.functional_call(ours, {"weight": w, "bias": b}, x), (x, ours.weight, ours.bias)
    )


def test_mixed_precision_is_as_close_as_torchs_own() -> None:
    ours, plain = pair(32, 48, 5, 1, 2)
    x = torch.randn(16, 32, 16, generator=torch.Generator().manual_seed(1))
    exact = results(plain, x)
    with torch.autocast("cpu", torch.bfloat16):
        coarse, theirs = results(ours, x), results(plain, x)
    assert [value.dtype for value in coarse] == [value.dtype for value in theirs]
    for found, other, wanted in zip(coarse, theirs, exact, strict=True):
        error = (found.float() - wanted).norm() / wanted.norm()
        assert error < 1.5 * (other.float() - wanted).norm() / wanted.norm() + 1e-3


def test_nothing_is_computed_that_nobody_asked_for() -> None:
    ours, x = pair(2, 3, 3, 1, 1)[0], torch.randn(4, 2, 8)
    ours.weight.requires_grad_(False)
    ours(x).sum().backward()
    assert ours.weight.grad is None
    assert ours.bias is not None
    assert ours.bias.grad is not None
