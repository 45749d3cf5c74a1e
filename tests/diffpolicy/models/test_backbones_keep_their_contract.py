"""Every backbone is a function model(x, t, cond) of the shape of x, of all its arguments, row by row."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from diffpolicy.config import UNet1DConfig
from diffpolicy.models import build_backbone

Small = Callable[..., nn.Module]

NAMES = ["mlp", "transformer", "unet1d", "ensemble"]


def inputs(rows: int = 4, horizon: int = 8, action_dim: int = 2, seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    x, cond = torch.randn(rows, horizon, action_dim, generator=g), torch.randn(rows, 5, generator=g)
    return x, torch.rand(rows, generator=g), cond


@pytest.mark.parametrize("action_dim", [1, 2, 7])
@pytest.mark.parametrize("horizon", [4, 8, 16, 20])
@pytest.mark.parametrize("name", NAMES)
def test_output_has_the_shape_of_x(small: Small, name: str, horizon: int, action_dim: int) -> None:
    backbone = small(name, horizon, action_dim)
    for rows in (1, 3):
        x, t, cond = inputs(rows, horizon, action_dim)
        output = backbone(x, t, cond)
        assert output.shape == x.shape
        assert output.isfinite().all()
        assert output.std() > 0


@pytest.mark.parametrize("name", NAMES)
def test_every_argument_matters(small: Small, name: str) -> None:
    """Each number of the output depends on each number of x, of cond, and on t."""
    backbone = small(name)
    x, t, cond = inputs(rows=1)
    gradients = torch.autograd.functional.jacobian(lambda *a: backbone(*a), (x, t, cond))
    for gradient, argument in zip(gradients, (x, t, cond), strict=True):
        per_output = gradient.reshape(x.numel(), argument.numel())
        assert (per_output.abs() > 1e-9).all()


@pytest.mark.parametrize("name", NAMES)
def test_neighbouring_noise_levels_are_told_apart(small: Small, name: str) -> None:
    backbone = small(name)
    x, _, cond = (value[:1].expand(100, *value.shape[1:]) for value in inputs())
    said = backbone(x, (torch.arange(100) + 1) / 100, cond).flatten(1)
    assert torch.pdist(said).min() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_rows_do_not_see_each_other(small: Small, name: str) -> None:
    backbone = small(name)
    x, t, cond = inputs()
    others = inputs(seed=2)
    mixed = [torch.cat([own[:1], other[1:]]) for own, other in zip((x, t, cond), others, strict=True)]
    torch.testing.assert_close(backbone(*mixed)[0], backbone(x, t, cond)[0], rtol=0, atol=0)
    alone = backbone(x[2:3], t[2:3], cond[2:3])
    torch.testing.assert_close(alone[0], backbone(x, t, cond)[2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_used(small: Small, name: str) -> None:
    backbone = small(name)
    backbone(*inputs()).square().mean().backward()
    assert [n for n, p in backbone.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_the_first_weights(small: Small, name: str) -> None:
    def fresh(seed: int) -> list[Tensor]:
        torch.manual_seed(seed)
        return list(small(name, perturbed=False).parameters())

    assert all(map(torch.equal, fresh(1), fresh(1)))
    assert not all(map(torch.equal, fresh(1), fresh(2)))


@pytest.mark.parametrize("name", NAMES)
def test_double_precision_works(small: Small, name: str) -> None:
    """What float32 says is what float64 says, to its rounding."""
    backbone = small(name)
    x, t, cond = inputs()
    single = backbone(x, t, cond)
    double = backbone.double()(x.double(), t.double(), cond.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_mixed_precision_stays_close(small: Small, name: str) -> None:
    backbone = small(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        coarse = backbone(*inputs())
    exact = backbone(*inputs())
    assert (coarse.float() - exact).norm() < 0.05 * exact.norm()  # bfloat16 keeps 8 bits


@pytest.mark.parametrize("channels", [(8,), (8, 16), (8, 16, 24, 32)])
def test_a_unet_of_any_depth(channels: tuple[int, ...]) -> None:
    config = UNet1DConfig(channels=channels, kernel_size=5, groups=8, time_width=8)
    backbone = build_backbone(config, horizon=16, action_dim=2, cond_dim=5)
    x, t, cond = inputs(horizon=16)
    assert backbone(x, t, cond).shape == x.shape


def test_a_unets_skips_carry_what_the_depth_does_not(small: Small) -> None:
    """With the way into the deepest level cut, the output still sees x through the level above."""
    backbone = small("unet1d")
    x, t, cond = inputs()

    first, second = (m for m in backbone.modules() if isinstance(m, nn.Conv1d) and m.stride == (2,))

    def change() -> float:
        with torch.no_grad():
            return float((backbone(x + 0.5, t, cond) - backbone(x, t, cond)).abs().max())

    whole = change()
    second.register_forward_hook(lambda module, arguments, output: torch.zeros_like(output))
    assert 1e-3 < change() != whole
    first.register_forward_hook(lambda module, arguments, output: torch.zeros_like(output))
    assert change() == 0  # the topmost skip is not used


def test_the_papers_unet_has_the_published_size() -> None:
    """Two observations of nine keypoints and the agent; the published network has 65.8M, no weight of it idle."""
    with torch.device("meta"):
        backbone = build_backbone(UNet1DConfig(), horizon=16, action_dim=2, cond_dim=40)
        output = backbone(torch.zeros(1, 16, 2), torch.zeros(1), torch.zeros(1, 40))
    output.sum().backward()
    size = sum(parameter.numel() for parameter in backbone.parameters())
    assert size == 65_783_298
    assert all(parameter.grad is not None for parameter in backbone.parameters())
