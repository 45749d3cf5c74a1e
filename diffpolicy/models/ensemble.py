"""Several networks that learn apart and speak as one: their mean errs less than any of them where demonstrations are few.

Each starts from weights of its own and learns from noise of its own (Lakshminarayanan et al. 2017). Where one network has
learned by chance to stand still, the others have not, and a policy in closed loop gets going again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from diffpolicy.models.backbone import Backbone


class Ensemble(Backbone):
    """The mean of its members. In training each row of a batch is answered by one member alone, in turn."""

    def __init__(self, members: Sequence[Backbone]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    @property
    def _each(self) -> list[Backbone]:
        return [cast(Backbone, member) for member in self.members]

    def forward(
        self,
        x: Float[Tensor, "batch horizon action"],
        t: Float[Tensor, " batch"],
        cond: Float[Tensor, "batch cond"],
    ) -> Float[Tensor, "batch horizon output"]:
        if not self.training:
            return super().forward(x, t, cond)
        rows, every = torch.arange(len(x), device=x.device), len(self.members)
        turns = [rows[k::every] for k in range(every)]
        answers = [member(x[own], t[own], cond[own]) for member, own in zip(self._each, turns, strict=True)]
        return torch.cat(answers)[torch.cat(turns).argsort()]  # back in the order of the batch

    def condition(
        self, t: Float[Tensor, "*times"], cond: Float[Tensor, "*rows cond"]
    ) -> Float[Tensor, "*both context"]:
        return torch.cat([member.condition(t, cond) for member in self._each], dim=-1)

    def denoise(
        self, x: Float[Tensor, "*batch horizon action"], context: Float[Tensor, "*rows context"]
    ) -> Float[Tensor, "*batch horizon output"]:
        contexts = context.chunk(len(self.members), dim=-1)
        answers = [member.denoise(x, own) for member, own in zip(self._each, contexts, strict=True)]
        return torch.stack(answers).mean(dim=0)
