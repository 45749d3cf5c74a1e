"""Which different plans there are among many samples, and how likely each is: the modes of p(x | y), counted.

How many is not given but found, as hills of the density of samples. Two hills count as two only where the valley between
them is deeper than chance digs: an even spread of samples is one mode, however wide it is.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from diffpolicy.intervals import wilson_interval
from diffpolicy.visualization.checks import checked_numbers

# A valley is real when its count lies so many standard deviations of chance below the hill's. At this value and with
# `_neighbours` samples around each, one Gaussian of 1 to 32 dimensions fell apart in at most 3% of trials with 64 to 512
# samples, and one even stretch, the hardest, in at most 8%.
_DEEP = 2.75
# Directions kept: plans vary in few (Push-T, measured: 96% of the variance or more lies in four); in many no place is dense.
_DIRECTIONS = 4
# Plans closer than this are the same plan: a policy that knows only one says it with rounding errors.
_SAME_PX = 0.01
# All pairs are held in memory at once, a few times over.
MOST_PLANS = 4096


@dataclass(frozen=True)
class Modes:
    """The modes of a set of plans, the heaviest first.

    Attributes:
        labels: The mode of each plan, 0 to modes - 1.
        weights: Share of the plans in each mode, 0 to 1.
        intervals: 95% Wilson interval of each weight, (low, high): what other samples of this size could have shown.
        medoids: The index of each mode's representative: the plan with the least mean distance to the others of its
            mode, so a real sample and never an average through the block.
    """

    labels: Int[np.ndarray, "samples"]
    weights: Float[np.ndarray, "modes"]
    intervals: Float[np.ndarray, "modes 2"]
    medoids: Int[np.ndarray, "modes"]

    def __len__(self) -> int:
        return len(self.weights)


def modes(plans: Float[np.ndarray, "samples horizon 2"]) -> Modes:
    """Finds the modes of a set of plans.

    The density at a plan is measured by the distance to its k-th nearest neighbour, k the root of the number of samples,
    in the four directions in which plans vary most. Every plan joins the hill that its denser neighbours stand on (Koontz,
    Narendra and Fukunaga 1976). Where two hills meet, as many samples as chance allows may be missing: within the radius
    that holds k samples at the lower summit, c lie around the meeting point; (k - c) / sqrt(k + c), the deviation of two
    Poisson counts, must exceed 2.75, or the hills are one. (Merging by prominence: Chazal, Guibas, Oudot and Skraba 2013.)

    So a mode has about the root of the number of samples in it or more: 4% of 512. Fewer are counted to a larger one, as
    are plans between two modes: to the one that is uphill. Fewer than 64 samples tell modes apart only where nothing lies
    between.

    Args:
        plans: Sampled for one observation, px; at most 4096. Their order does not matter.

    Raises:
        ValueError: If the shape is another, there are too many, or a number is not finite.
    """
    plans = checked_plans(plans)
    distance_px = _pairwise(_main_directions(plans)) / math.sqrt(plans.shape[1])
    distance_px[distance_px < _SAME_PX] = 0.0
    hills = _hills(distance_px, _neighbours(len(plans)))
    names, counts = np.unique(hills, return_counts=True)
    # Equal weights in the order of their densest plans, which the order of samples does not change.
    names = names[np.lexsort((names, -counts))]
    labels = np.empty(len(plans), dtype=np.int64)
    for label, name in enumerate(names):
        labels[hills == name] = label
    counts = np.bincount(labels)
    return Modes(
        labels=labels,
        weights=counts / len(plans),
        intervals=np.stack(wilson_interval(counts, len(plans)), axis=-1),
        medoids=np.array([_medoid(plans, np.flatnonzero(labels == label)) for label in range(len(names))]),
    )


def checked_plans(plans: object) -> Float[np.ndarray, "samples horizon 2"]:
    """Returns the plans as float64 after checking that modes can be looked for among them.

    Raises:
        ValueError: If the shape is another, there are more than 4096, or a number is not finite.
    """
    checked = checked_numbers("plans", plans, ("samples", "horizon", 2))
    if len(checked) > MOST_PLANS:
        raise ValueError(
            f"plans: found {len(checked)}; modes are looked for among {MOST_PLANS} at most: all pairs are compared"
        )
    return checked


def nearest_mode(
    plans: Float[np.ndarray, "others horizon 2"], samples: Float[np.ndarray, "samples horizon 2"], found: Modes
) -> Int[np.ndarray, "others"]:
    """Returns the mode of the sample that is nearest to each of some other plans: what was done, or demonstrated."""
    return np.array([found.labels[((samples - plan) ** 2).sum(axis=(1, 2)).argmin()] for plan in plans], dtype=np.int64)


def mode_reached(
    plans: Float[np.ndarray, "others horizon 2"], samples: Float[np.ndarray, "samples horizon 2"], found: Modes
) -> Int[np.ndarray, "others"]:
    """Returns the nearest mode of each of some other plans, or -1 where the plan is elsewhere.

    That is where it lies farther from the mode's representative than every sample of the mode does.
    """
    nearest = nearest_mode(plans, samples, found)
    for label, medoid in enumerate(found.medoids):
        reach, away = (((some - samples[medoid]) ** 2).sum(axis=(1, 2)) for some in (samples, plans))
        nearest[(nearest == label) & (away > reach[found.labels == label].max())] = -1
    return nearest


def _neighbours(samples: int) -> int:
    # With fewer than ten around a summit, not even an empty valley is beyond chance.
    return min(samples - 1, max(10, round(math.sqrt(samples))))


def _main_directions(plans: Float[np.ndarray, "samples horizon 2"]) -> Float[np.ndarray, "samples directions"]:
    flat = plans.reshape(len(plans), -1)
    flat = flat - flat.mean(axis=0)
    _, directions = np.linalg.eigh(flat.T @ flat)
    return flat @ directions[:, -_DIRECTIONS:]


def _pairwise(points: Float[np.ndarray, "points numbers"]) -> Float[np.ndarray, "points points"]:
    """Returns Euclidean distances, exactly zero between equal points."""
    square = np.zeros((len(points), len(points)))
    for column in points.T:
        square += (column[:, None] - column) ** 2
    return np.sqrt(square)


def _hills(distance_px: Float[np.ndarray, "samples samples"], k: int) -> Int[np.ndarray, "samples"]:
    """Returns for each sample the hill it stands on, named by how many samples are denser than its summit."""
    if k < 1:
        return np.zeros(len(distance_px), dtype=np.int64)
    ranked = np.sort(distance_px, axis=1)
    radius = ranked[:, k]
    # Denser first; from here on samples go by their place in this order.
    order = np.argsort(radius, kind="stable")
    ranked, radius = ranked[order], radius[order]
    near = _near(distance_px[np.ix_(order, order)], radius)
    parent = list(range(len(order)))

    def summit(sample: int) -> int:
        while parent[sample] != sample:
            parent[sample] = parent[parent[sample]]
            sample = parent[sample]
        return sample

    for sample in range(len(order)):
        denser = np.flatnonzero(near[sample, :sample]).tolist()
        if not denser:
            continue
        parent[sample] = summit(denser[0])
        for other in denser[1:]:
            higher, lower = sorted((summit(sample), summit(other)))
            if higher == lower:
                continue
            around = np.searchsorted(ranked[sample], radius[lower], side="right") - 1
            if k - around <= _DEEP * math.sqrt(k + around):
                parent[lower] = higher
    hills = np.empty(len(order), dtype=np.int64)
    hills[order] = [summit(sample) for sample in range(len(order))]
    return hills


def _near(
    distance_px: Float[np.ndarray, "samples samples"], radius: Float[np.ndarray, "samples"]
) -> Bool[np.ndarray, "samples samples"]:
    """Returns who is among whose nearest, either way round; equal plans always are."""
    reached = distance_px <= radius[:, None]
    return reached | reached.T


def _medoid(plans: Float[np.ndarray, "samples horizon 2"], members: Int[np.ndarray, "members"]) -> int:
    own = plans[members].reshape(len(members), -1)
    return int(members[_pairwise(own).sum(axis=1).argmin()])
