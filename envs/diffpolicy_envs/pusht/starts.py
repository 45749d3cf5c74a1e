"""Initial states by protocol and seed.

A published result belongs to the starts it was measured on, and the two public benchmarks draw them differently from
the same seed. Both then set the start in an order that moves the block (see `PushTPhysics.set_start`).
"""

from typing import Final

import numpy as np
from jaxtyping import Float

PROTOCOLS: Final = ("gym_pusht", "diffusion_policy")


def seeds_below(protocol: str | None) -> int | None:
    """Returns what the seeds of a protocol must be less than: NumPy's legacy generator takes 32 bits. None: no limit."""
    return 2**32 if protocol == "diffusion_policy" else None


def sample_start(protocol: str, rng: np.random.Generator, seed: int | None = None) -> Float[np.ndarray, "5"]:
    """Draws the five numbers that a protocol starts an episode from.

    "gym_pusht" is the rule of gym-pusht 0.1.8: whole px and an even angle, from the environment's generator.
    "diffusion_policy" is the rule of Chi et al., RSS 2023: whole px and a normal angle, from NumPy's legacy
    generator seeded with the seed itself.

    Args:
        protocol: One of `PROTOCOLS`.
        rng: The environment's generator, which the seed, if any, has already seeded.
        seed: The seed of the episode, in [0, 2**32) for "diffusion_policy". Without one, that protocol draws its
            seed from `rng`.

    Returns:
        Agent x, y, block x, y (px) and angle (rad, not wrapped), float64, to be given to `PushTPhysics.set_start`.

    Raises:
        ValueError: If the protocol is unknown, or the seed is too large for NumPy's legacy generator.
    """
    if protocol == "gym_pusht":
        agent = rng.integers(50, 450, size=2)
        block = rng.integers(100, 400, size=2)
        return np.array([*agent, *block, rng.uniform(-np.pi, np.pi)], dtype=np.float64)
    if protocol == "diffusion_policy":
        if seed is not None and not 0 <= seed < 2**32:
            raise ValueError(f"seed {seed}: the protocol 'diffusion_policy' takes seeds from 0 to 2**32 - 1")
        legacy = np.random.RandomState(int(rng.integers(2**32)) if seed is None else seed)
        agent_x, agent_y = legacy.randint(50, 450), legacy.randint(50, 450)
        block_x, block_y = legacy.randint(100, 400), legacy.randint(100, 400)
        return np.array([agent_x, agent_y, block_x, block_y, legacy.randn() * 2 * np.pi - np.pi], dtype=np.float64)
    raise ValueError(f"unknown protocol {protocol!r}; the protocols are {', '.join(PROTOCOLS)}")
