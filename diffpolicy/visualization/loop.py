"""The plans of one episode in closed loop: which is followed when, and how far. What the film draws is asked of it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from diffpolicy.visualization.checks import Number, checked_executed, checked_numbers, checked_positive


@dataclass(frozen=True)
class Loop:
    """An episode's plans, with every argument checked.

    Attributes:
        plans: The plan taken up at each look, (looks, horizon, 2), px.
        looks: The moment of each look, rising, the first 0.
        samples: Other plans of the same moments, (looks, samples, horizon, 2), px, or None.
        agent_px: Where the agent was at each moment, or None.
        executed: Indices of the actions of a plan that are executed before the next look.
        speed: Actions of a plan that one moment passes.
        moments: Moments of the episode.
    """

    plans: Float[np.ndarray, "looks horizon 2"]
    looks: Int[np.ndarray, "looks"]
    samples: Float[np.ndarray, "looks samples horizon 2"] | None
    agent_px: Float[np.ndarray, "moments 2"] | None
    executed: range
    speed: Number
    moments: int

    @property
    def horizon(self) -> int:
        """Actions in a plan."""
        return self.plans.shape[1]

    def at(self, moment: int) -> tuple[int, int]:
        """Which plan is followed at a moment, and for how many moments it has been."""
        look = int(np.searchsorted(self.looks, moment, side="right")) - 1
        return look, moment - int(self.looks[look])

    def followed(self, look: int, since: int) -> tuple[Float[np.ndarray, "2"], Float[np.ndarray, "left 2"]]:
        """What a plan bids the agent do when it has been followed for a while, and what is left of it from there on."""
        plan, place = self.plans[look], min(self.executed.start + since * self.speed, self.horizon - 1)
        low = int(place)
        bid = plan[low] + (plan[min(low + 1, self.horizon - 1)] - plan[low]) * (place - low)
        return bid, np.concatenate([bid[None], plan[low + 1 :]])

    def lasts(self, look: int) -> int:
        """For how many moments a plan is followed."""
        following = self.looks[look + 1] if look + 1 < len(self.looks) else self.moments
        return max(1, int(following - self.looks[look]))


def checked_loop(
    plans: object,
    looks: object,
    samples: object,
    agent_px: object,
    executed: slice | None,
    speed: Number,
    moments: int,
) -> Loop:
    """Returns the plans of an episode of so many moments.

    Raises:
        ValueError: If an argument has the wrong shape, holds NaN or does not fit the others; the message names it.
    """
    taken = checked_numbers("plans", plans, ("looks", "horizon", 2))
    count, horizon, _ = taken.shape
    at = np.asarray(looks)
    if at.shape != (count,) or at.dtype.kind not in "iu" or at[0] != 0 or (np.diff(at) < 1).any() or at[-1] >= moments:
        raise ValueError(
            f"looks: expected {count} rising moments, one per plan, the first 0, all below {moments}, found {at.tolist()}"
        )
    if executed is None:
        executed = slice(0, horizon)
    return Loop(
        plans=taken,
        looks=at.astype(np.int64),
        samples=None if samples is None else checked_numbers("samples", samples, (count, "samples", horizon, 2)),
        agent_px=None if agent_px is None else checked_numbers("agent_px", agent_px, (moments, 2)),
        executed=checked_executed(executed, horizon),
        speed=checked_positive("speed", speed),
        moments=moments,
    )
