"""What a training step and a plan cost at least, counted: operations by PyTorch's own counter, bytes by arithmetic.

All is counted on the backbone in plain style and without running it, so that no trick of ours is counted as work; what
encodes pictures before it is left out. A convolution's products with the zeros that pad it count, as is customary.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from diffpolicy.benchmarking.plain_network import in_plain_style
from diffpolicy.policy import DiffusionPolicy

#: Bytes an update moves for each weight, at least, in float32: its gradient is read for the norm; then gradient, weight,
#: both moments and the average are read, and the last four written.
UPDATE_BYTES_PER_WEIGHT = 4 + 4 * (5 + 4)


def training_flops(policy: DiffusionPolicy, batch: int) -> int:
    """Operations of the network's forward and backward pass over a batch; the first layer passes no gradient on."""
    network = _nowhere(policy)
    x, t, cond = _inputs(policy, batch)
    return _counted(lambda: network(x, t, cond).sum().backward())


def update_bytes(policy: DiffusionPolicy) -> int:
    """Bytes that clipping, AdamW and the average of the weights move."""
    return UPDATE_BYTES_PER_WEIGHT * sum(weight.numel() for weight in policy.parameters())


def plan_flops(policy: DiffusionPolicy, rows: int, n: int, steps: int) -> int:
    """Operations of n plans for each of some observations; what does not depend on x is computed once for each of those."""
    network, (x, _, cond) = _nowhere(policy), _inputs(policy, rows * n)
    with torch.no_grad():
        before = _counted(lambda: network.condition(torch.zeros(steps, 1, device="meta"), cond[:rows]))
        context = network.condition(x[:, 0, 0], cond)
        return before + steps * _counted(lambda: network.denoise(x, context))


def plan_bytes(policy: DiffusionPolicy, steps: int) -> int:
    """Bytes of weights that a plan reads: all steps share what does not depend on x, the rest is read at each."""
    network, (x, t, cond) = _nowhere(policy), _inputs(policy, 1)
    with torch.no_grad():
        context = network.condition(t, cond)
        shared = _bytes_of_used(network, lambda: network.condition(t, cond))
        return shared + steps * _bytes_of_used(network, lambda: network.denoise(x, context))


def _nowhere(policy: DiffusionPolicy) -> Any:
    """The network on the device that computes shapes and nothing else."""
    return in_plain_style(copy.deepcopy(policy.backbone)).to("meta").requires_grad_(True)


def _inputs(policy: DiffusionPolicy, batch: int) -> tuple[Tensor, Tensor, Tensor]:
    shapes = (batch, policy.config.pred_horizon, policy.action_dim), (batch,), (batch, policy.encoder.cond_dim)
    x, t, cond = (torch.zeros(shape, device="meta") for shape in shapes)
    return x, t, cond


def _counted(work: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def _bytes_of_used(network: nn.Module, work: Callable[[], object]) -> int:
    used: set[nn.Parameter] = set()
    hooks = [
        module.register_forward_hook(lambda layer, *_: used.update(layer.parameters(recurse=False)))
        for module in network.modules()
    ]
    work()
    for hook in hooks:
        hook.remove()
    return sum(weight.nbytes for weight in used)
