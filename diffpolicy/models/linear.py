"""A linear layer that oneDNN multiplies on the CPU when nothing is being learned.

A plan is made from products too small for MKL to do well; packed once, oneDNN's are faster. And they are invariant: a row's
result does not depend on its place, on the number of rows, or on the threads (a test holds it), so one robot's plan is, bit
for bit, the plan it would get among fifty.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear

# The layout is chosen for so many rows and kept for any number: with another, sums may be taken in another order.
_PACKED_FOR_ROWS = 64


_multiply = torch.ops.mkldnn._linear_pointwise


class _Packed(NamedTuple):
    version: int
    address: int
    weight: Tensor


class Linear(nn.Linear):
    """`nn.Linear`, with the same weights, names and gradients.

    Without gradients, in float32 on the CPU, it multiplies by a packed copy of the weight, made again when the weight has
    changed. Everywhere else it is `nn.Linear` itself.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self._packed: _Packed | None = None

    def forward(
        self, x: Float[Tensor, "*batch features"], offset: Float[Tensor, " out"] | None = None
    ) -> Float[Tensor, "*batch out"]:
        """The products of x with the weight, plus the bias, plus a constant offset where one is given."""
        # A plan passes here a hundred times, so what is asked is asked in the cheapest way (`self.weight` is a search).
        weight: Tensor | None
        bias: Tensor | None
        weight, bias = self._parameters["weight"], self._parameters["bias"]
        assert weight is not None
        assert bias is not None
        if offset is not None:
            bias = bias + offset
        if torch.is_grad_enabled() or not x.is_cpu or x.dtype is not torch.float32:
            return linear(x, weight, bias)
        if torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling():
            return linear(x, weight, bias)
        packed = self._packed
        # Any change in place counts the version up; a weight on other memory has another address.
        if packed is None or packed.version != weight._version or packed.address != weight.data_ptr():
            packed = self._packed = _pack(weight)
        if packed is None:
            return linear(x, weight, bias)
        if x.ndim == 2:
            return _multiply(x, packed.weight, bias, "none", [], "")
        y = _multiply(x.reshape(-1, self.in_features), packed.weight, bias, "none", [], "")
        return y.view(*x.shape[:-1], self.out_features)

    def __getstate__(self) -> dict[str, Any]:
        """Copies pack for themselves: a packed weight can neither be copied nor sent."""
        return {**self.__dict__, "_packed": None}


def _pack(weight: Tensor) -> _Packed | None:
    # A tensor made in inference mode does not tell when it changes.
    if weight.dtype != torch.float32 or weight.is_inference() or not torch.backends.mkldnn.is_available():
        return None
    packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), _PACKED_FOR_ROWS)
    return _Packed(weight._version, weight.data_ptr(), packed)
