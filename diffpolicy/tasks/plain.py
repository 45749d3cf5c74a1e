"""A task of which nothing special is known: numbers are shown as they are, and there is no mirror."""

from __future__ import annotations

from torch import Tensor

from diffpolicy.tasks import Observation


class Plain:
    """The default for a robot of your own."""

    def features(self, obs: Observation) -> Observation:
        """The observation itself."""
        return obs

    def mirror(self, obs: Observation, action: Tensor) -> tuple[Observation, Tensor] | None:
        """None: no symmetry is assumed."""
        return None


TASK = Plain()
