"""A convolution over time whose gradients are computed as products.

Over the 16 steps of a plan, oneDNN's backward convolution reaches less than half the speed of its forward one on a CPU. The
gradient of the input is itself a forward convolution, and that of the weight is one matrix product of unfolded patches.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv1d, pad


class Conv1d(nn.Conv1d):
    """`nn.Conv1d` of stride 1, 2, ... with zero padding, the same weights, names and results.

    Where gradients are wanted on the CPU and the stride is 1 they are computed as products; elsewhere it is `nn.Conv1d`.
    """

    def __init__(self, before: int, after: int, kernel_size: int, *, stride: int = 1, padding: int = 0) -> None:
        super().__init__(before, after, kernel_size, stride=stride, padding=padding)

    def forward(self, x: Float[Tensor, "batch before length"]) -> Float[Tensor, "batch after shorter"]:
        if torch.is_grad_enabled() and x.device.type == "cpu" and self.stride == (1,):
            weight, bias = self.weight, self.bias
            if torch.is_autocast_enabled("cpu"):  # which does not reach inside a function of our own
                dtype = torch.get_autocast_dtype("cpu")
                x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
            return _Convolve.apply(x, weight, bias, self.padding[0])
        return super().forward(x)


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding, ctx.biased = padding, bias is not None
        return conv1d(x, weight, bias, padding=padding)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        grad = grad.contiguous()
        kernel, padding = weight.shape[-1], ctx.padding
        to_x = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            # What each input reached, gathered back: the kernel reversed, inputs and outputs exchanged.
            to_x = conv1d(grad, weight.transpose(0, 1).flip(-1).contiguous(), padding=kernel - 1 - padding)
        if ctx.needs_input_grad[1]:
            # One product over all steps of all sequences; with the sequences innermost, patches are copied in long runs.
            steps_last = pad(x, (padding, padding)).permute(1, 2, 0).contiguous()
            patches = steps_last.unfold(1, kernel, 1).permute(0, 3, 1, 2).reshape(x.shape[1] * kernel, -1)
            outputs = grad.permute(1, 2, 0).reshape(grad.shape[1], -1)
            to_weight = (outputs @ patches.t()).view_as(weight)
        if ctx.biased and ctx.needs_input_grad[2]:
            to_bias = grad.sum(dim=(0, 2))
        return to_x, to_weight, to_bias, None
