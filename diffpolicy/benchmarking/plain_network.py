"""Our networks with PyTorch's own layers in place of ours: the same weights, the same results, no shortcuts."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor, nn

_Module = TypeVar("_Module", bound=nn.Module)


def in_plain_style(network: _Module) -> _Module:
    """Turns every layer that is derived from one of PyTorch's back into it, in place, and returns the network."""
    for module in network.modules():
        plain = next((plain for layer, plain in _PLAIN.items() if isinstance(module, layer)), None)
        if plain is not None:
            module.__class__ = plain
    return network


class _Linear(nn.Linear):
    """PyTorch's own, called as ours can be."""

    def forward(self, x: Tensor, offset: Tensor | None = None) -> Tensor:
        y = super().forward(x)
        return y if offset is None else y + offset


_PLAIN: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: _Linear,
    nn.Conv1d: nn.Conv1d,
    nn.ConvTranspose1d: nn.ConvTranspose1d,
    nn.GroupNorm: nn.GroupNorm,
    nn.LayerNorm: nn.LayerNorm,
}
