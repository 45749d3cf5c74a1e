"""The demonstrated range becomes [-1, 1], and the way back is exact enough for a robot."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffpolicy.normalizer import Normalizer


def fitted(values: torch.Tensor) -> Normalizer:
    normalizer = Normalizer({"a": tuple(values.shape[1:])})
    normalizer.fit("a", values)
    return normalizer


def recorded(shape: tuple[int, ...] = (50, 9, 2), seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=g) * torch.rand(shape[1:], generator=g) * 512 - 100


def test_the_range_becomes_minus_one_to_one() -> None:
    values = recorded()
    found = fitted(values).normalize("a", values)
    torch.testing.assert_close(found.amin(dim=0), -torch.ones(9, 2), rtol=0, atol=1e-5)
    torch.testing.assert_close(found.amax(dim=0), torch.ones(9, 2), rtol=0, atol=1e-5)


@given(st.floats(-1e4, 1e4), st.floats(0.01, 1e4), st.integers(0, 100))
def test_the_way_back_is_the_inverse(low: float, width: float, seed: int) -> None:
    values = low + width * torch.rand(20, 3, generator=torch.Generator().manual_seed(seed))
    normalizer = fitted(values)
    beyond = values + width  # a value outside the range maps outside, and back
    for given_values in (values, beyond):
        back = normalizer.unnormalize("a", normalizer.normalize("a", given_values))
        torch.testing.assert_close(back, given_values, rtol=1e-5, atol=1e-5 * width)
    assert (normalizer.normalize("a", beyond).amax(dim=0) > 1).all()


def test_any_batch_shape_and_precision() -> None:
    normalizer, values = fitted(recorded()), recorded(shape=(2, 3, 4, 9, 2), seed=1)
    found = normalizer.normalize("a", values.double())
    assert found.dtype == torch.float32
    assert torch.equal(found, normalizer.normalize("a", values))
    assert torch.equal(found[1, 2, 3], normalizer.normalize("a", values[1, 2, 3]))


@pytest.mark.parametrize("constant", [0.0, 7.25, -3e4])
def test_a_number_that_never_varied(constant: float) -> None:
    """It maps to 0, and whatever a network makes of it maps back to its one value."""
    values = torch.stack([torch.full((30,), constant), torch.arange(30.0)], dim=1)
    normalizer = fitted(values)
    assert (normalizer.normalize("a", values)[:, 0] == 0).all()
    generated = torch.tensor([[-1.0, -1.0], [0.3, 0.0], [1.0, 1.0]])
    back = normalizer.unnormalize("a", generated)
    assert back[:, 0].tolist() == [constant] * 3
    torch.testing.assert_close(back[:, 1], torch.tensor([0.0, 14.5, 29.0]))
    # Seen with another value it stays finite, and says that it differs.
    other = normalizer.normalize("a", torch.tensor([constant + 2.0, 3.0]))
    assert other.isfinite().all()
    assert other[0] != 0


def test_ranges_are_part_of_the_weights() -> None:
    values = recorded()
    source, copy = fitted(values), Normalizer({"a": (9, 2)})
    assert set(source.state_dict()) == {"a_center", "a_half_range"}
    assert not list(source.parameters())
    copy.load_state_dict(source.state_dict())
    assert torch.equal(copy.normalize("a", values), source.normalize("a", values))


def test_keys_are_kept_apart() -> None:
    normalizer = Normalizer({"a": (1,), "b": (1,)})
    normalizer.fit("a", torch.tensor([[0.0], [10.0]]))
    before = normalizer.normalize("a", torch.tensor([5.0]))
    normalizer.fit("b", torch.tensor([[100.0], [300.0]]))
    assert torch.equal(normalizer.normalize("a", torch.tensor([5.0])), before)
    assert normalizer.normalize("b", torch.tensor([300.0])) == 1


def test_a_key_may_hold_a_dot() -> None:
    normalizer = Normalizer({"observation.state": (2,)})
    values = torch.tensor([[0.0, 10.0], [4.0, 30.0]])
    normalizer.fit("observation.state", values)
    torch.testing.assert_close(
        normalizer.normalize("observation.state", values), torch.tensor([[-1.0, -1.0], [1.0, 1.0]])
    )
    assert not any("observation.state" in name for name in normalizer.state_dict())
