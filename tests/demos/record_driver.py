"""A person at the mouse, for tests of `diffpolicy demos record`: what they do in each control step, as pygame's events."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from diffpolicy_demos.expert import PushTExpert
from diffpolicy_envs.pusht import PushTEnv
from jaxtyping import Float

#: Pixels of a window of this size are those of the workspace.
WINDOW_PX = 512

Events = list[tuple[str, dict[str, Any]]]


def move(x: float, y: float) -> Events:
    """The pointer goes to a place, in whole px."""
    return [("MOUSEMOTION", {"pos": (round(x), round(y)), "rel": (0, 0), "buttons": (0, 0, 0)})]


def click(x: float, y: float) -> Events:
    """The left button goes down there."""
    return [("MOUSEBUTTONDOWN", {"pos": (round(x), round(y)), "button": 1})]


def key(name: str) -> Events:
    """A key goes down: "RETURN", "ESCAPE", "u"."""
    return [("KEYDOWN", {"key": name})]


CLOSE: Events = [("QUIT", {})]


def start_state(seed: int, protocol: str = "gym_pusht") -> Float[np.ndarray, "5"]:
    """The start of a seed, as a store can hold it."""
    obs = PushTEnv().reset(seed=seed, options={"protocol": protocol})[0]
    return np.asarray(obs).astype(np.float32).astype(np.float64)


def take_hold(seed: int, protocol: str = "gym_pusht") -> Iterator[Events]:
    """The pointer comes from a corner onto the agent of a start; the second step is recorded."""
    yield move(0, 0)
    yield move(*start_state(seed, protocol)[:2])


def wander(seed: int, steps: int, protocol: str = "gym_pusht") -> Iterator[Events]:
    """Takes hold of the agent and leads it about, beyond the edge of the table too; so many steps are recorded."""
    yield from take_hold(seed, protocol)
    rng = np.random.default_rng(seed)
    for _ in range(steps - 1):
        yield move(*rng.integers(-40, 560, 2).tolist())


def solve(seed: int) -> Iterator[Events]:
    """Takes hold of the agent and does as the expert does, until the block covers the goal."""
    env, act = PushTEnv(), PushTExpert()
    obs, _ = env.reset(options={"state": start_state(seed)})
    act.reset(0)
    yield from take_hold(seed)
    obs, _, done, _, _ = env.step(np.round(obs[:2]))
    while not done:
        target = np.round(act(obs))
        yield move(*target.tolist())
        obs, _, done, _, _ = env.step(target)


def person(script: Iterable[Events]) -> Callable[[], None]:
    """Returns a clock that takes no time: at each beat the person does the next thing, and at the end closes the window."""
    import pygame

    steps = iter(script)

    def beat() -> None:
        for kind, values in next(steps, CLOSE):
            named = {**values, "key": getattr(pygame, f"K_{values['key']}")} if "key" in values else values
            pygame.event.post(pygame.event.Event(getattr(pygame, kind), named))

    return beat
