"""A diffusion transformer over the steps of a plan, which look at each other and at what was observed.

Self-attention and a feed-forward network, both modulated by time and observation (adaLN-Zero, Peebles and Xie 2023, section
3.2), and between them cross-attention on one token per observation step, as in the transformer of Chi et al. 2023
(appendix C). Starts as the zero function, and each block as the identity.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, silu

from diffpolicy.config import TransformerConfig
from diffpolicy.models.backbone import Backbone
from diffpolicy.models.linear import Linear
from diffpolicy.models.time_embedding import TimeEmbedding


class TransformerBackbone(Backbone):
    """See the module's text. `cond` holds `obs_horizon` observation steps, one after another."""

    def __init__(
        self, config: TransformerConfig, *, horizon: int, action_dim: int, cond_dim: int, outputs: int, obs_horizon: int
    ) -> None:
        super().__init__()
        width, self.obs_horizon = config.width, obs_horizon
        self.embed_time = nn.Sequential(TimeEmbedding(width), Linear(width, width))
        self.embed_cond = nn.Sequential(Linear(cond_dim, width), nn.SiLU(), Linear(width, width))
        self.embed_step = Linear(cond_dim // obs_horizon, width)
        self.embed_action = Linear(action_dim, width)
        self.step_places = nn.Parameter(0.02 * torch.randn(obs_horizon, width))
        self.action_places = nn.Parameter(0.02 * torch.randn(horizon, width))
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.output = Linear(width, outputs)
        # Shift, scale and gate twice a block, the gate of its cross-attention, then shift and scale before the output.
        self.parts = 7 * config.blocks * (width,) + 2 * (width,)
        self.modulation = Linear(width, sum(self.parts))
        for layer in (self.modulation, self.output):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        # Scales are learned as what they differ from one by.
        ones = torch.zeros(len(self.parts), width)
        ones[[*(7 * i + j for i in range(config.blocks) for j in (1, 5)), -1]] = 1.0
        self.register_buffer("identity", ones.flatten(), persistent=False)
        self.identity: Tensor
        self.memory = Linear(width, 2 * config.blocks * width)

    def condition(
        self, t: Float[Tensor, "*times"], cond: Float[Tensor, "*rows cond"]
    ) -> Float[Tensor, "*both context"]:
        modulation = self.modulation(silu(self.embed_time(t) + self.embed_cond(cond)), self.identity)
        observed = self.embed_step(cond.unflatten(-1, (self.obs_horizon, -1))) + self.step_places
        memory = self.memory(observed).flatten(-2).expand(*modulation.shape[:-1], -1)
        return torch.cat([modulation, memory], dim=-1)

    def denoise(
        self, x: Float[Tensor, "*batch horizon action"], context: Float[Tensor, "*rows context"]
    ) -> Float[Tensor, "*batch horizon output"]:
        rows = context.expand(*x.shape[:-2], -1).flatten(0, -2)
        modulation, memory = rows.split((len(self.identity), rows.shape[-1] - len(self.identity)), dim=-1)
        *modulations, shift, scale = modulation[:, None].split(self.parts, dim=-1)
        memories = memory.unflatten(-1, (self.obs_horizon, -1)).chunk(len(self.blocks), dim=-1)
        h = self.embed_action(x.flatten(0, -3)) + self.action_places
        for index, (block, observed) in enumerate(zip(self.blocks, memories, strict=True)):
            h = block(h, observed, *modulations[7 * index : 7 * index + 7])
        return self.output(torch.addcmul(shift, self.norm(h), scale)).reshape(*x.shape[:-1], -1)


class _Block(nn.Module):
    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width, hidden = config.width, config.expansion * config.width
        self.heads = config.heads
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.attend = Linear(width, 3 * width)
        self.attended = Linear(width, width)
        self.look = Linear(width, width)
        self.looked = Linear(width, width)
        self.layers = nn.Sequential(Linear(width, hidden), nn.GELU(), nn.Dropout(config.dropout), Linear(hidden, width))

    def forward(
        self,
        h: Tensor,
        observed: Tensor,
        shift: Tensor,
        scale: Tensor,
        gate: Tensor,
        look_gate: Tensor,
        shift2: Tensor,
        scale2: Tensor,
        gate2: Tensor,
    ) -> Tensor:
        query, key, value = self.attend(torch.addcmul(shift, self.norm(h), scale)).chunk(3, dim=-1)
        h = torch.addcmul(h, gate, self.attended(self._attention(query, key, value)))
        key, value = observed.chunk(2, dim=-1)
        h = torch.addcmul(h, look_gate, self.looked(self._attention(self.look(self.norm(h)), key, value)))
        return torch.addcmul(h, gate2, self.layers(torch.addcmul(shift2, self.norm(h), scale2)))

    def _attention(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        split = [part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (query, key, value)]
        # A CPU's gradients of attention in bfloat16 take seven times as long as in single precision.
        slow = query.device.type == "cpu" and query.dtype == torch.bfloat16
        with torch.autocast("cpu", enabled=False) if slow else nullcontext():
            found = scaled_dot_product_attention(*(part.float() for part in split) if slow else split)
        return found.transpose(1, 2).flatten(-2)
