"""Receding-horizon execution: remember observations, plan, execute the first part of the plan, look again."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from diffpolicy.config_objectives import check_sampler
from diffpolicy.errors import ConfigError, ObservationError
from diffpolicy.policy import DiffusionPolicy
from diffpolicy.policy_inputs import check_warm_start

_STILL = 0.08
"""Root mean square distance of two observations, in half ranges of the demonstrations, below which nothing moved far."""


class Controller:
    """One robot, one observation at a time: `controller.reset()`, then `action = controller(obs)` once per step.

    A batched rollout runs many of these and makes their plans together, through `observe`, `needs_plan`, `history`,
    `start`, `accept` and `act`; calling the controller does just that for one. A subclass may draw other `noise`, `choose`
    among several plans, or have other `actions` follow from one.

    Args:
        policy: what plans.
        steps: network evaluations per plan; the policy's own number when None.
        sampler: the policy's own when None.
        action_horizon: actions executed before looking again; the policy's own when None.
        speed: how fast a plan is followed; between its actions it is read off linearly; the policy's own when None.
        noise_scale: standard deviation of the noise that plans start from; the policy's own when None.
        patience: control steps after which, if nothing observed has moved far meanwhile, plans start from full noise until
            something does; 0: they never do. The policy's own when None. Pictures are not compared.
        warm_start: share of the way from noise to plan that is spared by starting from what is left of the plan before;
            the policy's own when None.
        delay: control steps between an observation and the first action that its plan decides; until then the previous
            plan goes on. The first plan of an episode is waited for, and lasts until the second decides.
        seed: the seed of the noise of all plans after a reset.

    Raises:
        ConfigError: the plan is too short for this horizon and delay, or no plans can be drawn so.
    """

    def __init__(
        self,
        policy: DiffusionPolicy,
        *,
        steps: int | None = None,
        sampler: str | None = None,
        action_horizon: int | None = None,
        speed: float | None = None,
        noise_scale: float | None = None,
        warm_start: float | None = None,
        patience: int | None = None,
        delay: int = 0,
        seed: int = 0,
    ) -> None:
        config = policy.config
        self.policy, self.steps, self.sampler, self.seed = policy, steps, sampler, seed
        self.action_horizon = config.action_horizon if action_horizon is None else action_horizon
        self.speed = config.execution_speed if speed is None else speed
        self.noise_scale = config.noise_scale if noise_scale is None else noise_scale
        self.warm_start = config.warm_start if warm_start is None else warm_start
        self.patience = config.patience if patience is None else patience
        self.delay = delay
        room = config.pred_horizon - config.obs_horizon + 1
        if not self.speed > 0:
            raise ConfigError(
                f"speed is {self.speed}; a plan is followed at a positive speed, 1 as it was demonstrated"
            )
        if not 0 <= self.noise_scale < math.inf:
            raise ConfigError(f"noise_scale is {self.noise_scale}; a standard deviation is 0 or more, and finite")
        check_warm_start(self.warm_start)
        if self.warm_start:  # before the robot moves: the first plan is made without
            try:
                solved: Any = sampler or config.sampler
                check_sampler(config.objective, solved, config.steps if steps is None else steps, self.warm_start)
            except ValueError as error:
                raise ConfigError(str(error)) from None
        if self.patience < 0:
            raise ConfigError(f"patience is {self.patience}; it is a number of control steps, 0 for none")
        if self.patience and not policy.encoder.numbers:
            raise ConfigError(f"patience is {self.patience}, but pictures alone do not tell what moved; set it to 0")
        used = 1 + (self.action_horizon + delay - 1) * self.speed
        if self.action_horizon < 1 or delay < 0 or used > room:
            raise ConfigError(
                f"action_horizon {self.action_horizon} with delay {delay} at speed {self.speed:g} does not fit: "
                f"a plan holds {room} actions from the present on; 1 + (action_horizon + delay - 1) * speed must "
                "stay within that, with action_horizon at least 1 and delay at least 0"
            )
        # Where along a plan the actions lie that decide the following steps: between the one before and the one after.
        place = config.obs_horizon - 1 + np.arange(delay + self.action_horizon) * self.speed
        self._before = np.floor(place).astype(int)
        self._after = np.minimum(self._before + 1, config.pred_horizon - 1)
        self._between = (place - self._before)[:, None]
        self.reset()

    def reset(self, seed: int | None = None) -> None:
        """Forget everything; noise starts again from the seed."""
        self.seed = self.seed if seed is None else seed
        self.generator = torch.Generator().manual_seed(self.seed)
        self._seen: deque[Mapping[str, np.ndarray]] = deque(maxlen=self.policy.config.obs_horizon)
        self._queue: deque[np.ndarray] = deque()
        # Of the looks within the last `patience` steps, the present one included.
        self._places: deque[torch.Tensor] = deque(maxlen=1 + math.ceil(self.patience / self.action_horizon))
        self._plan: np.ndarray | None = None
        self.guess: np.ndarray | None = None
        self.noise_size = self.noise_scale

    def __call__(self, obs: Mapping[str, np.ndarray] | np.ndarray) -> Float[np.ndarray, " action"]:
        """The action for this step.

        Raises:
            ObservationError: the observation does not fit the policy.
        """
        self.observe(obs)
        if self.needs_plan:
            self.plan()
        return self.act()

    def observe(self, obs: Mapping[str, np.ndarray] | np.ndarray) -> None:
        """Remember an observation. The first after a reset fills the whole history."""
        named = name_observation(obs, self.policy.obs_shapes)
        self._seen.extend([named] * (self._seen.maxlen or 1) if not self._seen else [named])

    @property
    def needs_plan(self) -> bool:
        """Whether a plan must be made from the present observation."""
        return len(self._queue) <= self.delay

    def history(self) -> dict[str, np.ndarray]:
        """y: (obs_horizon, *shape) by key."""
        return {key: np.stack([seen[key] for seen in self._seen]) for key in self.policy.obs_shapes}

    def plan(self) -> Float[np.ndarray, "horizon action"]:
        """Make plans from the present observation and take one up. Returns that one, in the world's units."""
        batch = {key: value[None] for key, value in self.history().items()}
        noise, guess = self.start()
        x = self.policy.sample(
            batch,
            steps=self.steps,
            sampler=self.sampler,
            generator=[self.generator],
            noise=noise[None],
            guess=None if guess is None else guess[None],
            warm_start=self.warm_start,
        )
        assert isinstance(x, torch.Tensor)
        return self.accept(x[0].double().cpu().numpy())

    def start(self) -> tuple[Float[torch.Tensor, "n horizon action"], Float[np.ndarray, "horizon action"] | None]:
        """What the next plans start from: noise, and what is left of the plan before, or None where from noise alone.

        To be asked once for each plan: noise is drawn, and where the robot is is remembered.
        """
        still = self._stands_still()
        self.guess = None if still or not self.warm_start else self.rest()
        self.noise_size = 1.0 if still else self.noise_scale
        return self.noise_size * self.noise(), self.guess

    def noise(self) -> Float[torch.Tensor, "n horizon action"]:
        """Standard normal numbers for the next plans; one plan, unless there is a choice."""
        shape = (1, self.policy.config.pred_horizon, self.policy.action_dim)
        return torch.randn(shape, generator=self.generator)

    def rest(self) -> Float[np.ndarray, "horizon action"] | None:
        """The plan before as it looks from now on, its last action held; None where none came before."""
        if self._plan is None:
            return None
        # It was made action_horizon steps ago, whatever the delay.
        return read_off(self._plan, np.arange(len(self._plan)) + self.action_horizon * self.speed)

    def _stands_still(self) -> bool:
        """Whether at each look of the last while all that is observed in numbers was about where it is now."""
        if not self.patience:
            return False
        policy = self.policy
        seen = {key: torch.as_tensor(value, device=policy.device)[None] for key, value in self._seen[-1].items()}
        features = policy.task.features({key: v if v.dtype == torch.uint8 else v.float() for key, v in seen.items()})
        normalized = [policy.normalizer.normalize(key, features[key]).flatten() for key in policy.encoder.numbers]
        self._places.append(torch.cat(normalized).cpu())
        far = max(float((place - self._places[-1]).square().mean()) for place in self._places)
        return len(self._places) == self._places.maxlen and far < _STILL**2

    def accept(self, plans: Float[np.ndarray, "n horizon action"]) -> Float[np.ndarray, "horizon action"]:
        """Choose among plans made from the present observation, and take one up from where the queued actions end.

        Returns the one chosen.
        """
        plan = self.choose(plans)
        # Nothing is queued only at the start of an episode, or without a delay.
        self._queue.extend(self.actions(plan)[len(self._queue) :])
        self._plan = plan
        return plan

    def choose(self, plans: Float[np.ndarray, "n horizon action"]) -> Float[np.ndarray, "horizon action"]:
        """The plan to follow: the first."""
        return plans[0]

    def actions(self, plan: Float[np.ndarray, "horizon action"]) -> Float[np.ndarray, "steps action"]:
        """What a plan says of the control steps from the present one on, at the controller's speed."""
        before, after = plan[self._before], plan[self._after]
        return before + (after - before) * self._between

    def act(self) -> Float[np.ndarray, " action"]:
        """The next action of the plan."""
        return self._queue.popleft()


def read_off(
    plan: Float[np.ndarray, "horizon action"], places: Float[np.ndarray, " places"]
) -> Float[np.ndarray, "places action"]:
    """A plan at places along it, linearly between its actions; its ends are held."""
    return np.stack([np.interp(places, np.arange(len(plan)), column) for column in plan.T], axis=-1)


def name_observation(
    obs: Mapping[str, np.ndarray] | np.ndarray, obs_shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, np.ndarray]:
    """An observation by the policy's keys: a bare array is the one key, and `agent_pos` is the first two of `state`.

    Args:
        obs: what the world shows at one step.
        obs_shapes: the shape of one step of each key that the policy observes.

    Raises:
        ObservationError: a key is missing, a shape does not fit, or a number is not finite.
    """
    if not isinstance(obs, Mapping):
        if len(obs_shapes) > 1:
            raise ObservationError(
                f"the observation is a bare array, but this policy observes {', '.join(obs_shapes)}; give a dict"
            )
        obs = dict.fromkeys(obs_shapes, obs)
    named = {}
    for key, shape in obs_shapes.items():
        # Copies: an environment may reuse its arrays, and then the history would hold the present twice.
        if key in obs:
            value = np.array(obs[key])
        elif key == "agent_pos" and "state" in obs:
            value = np.array(obs["state"])[:2]
        else:
            raise ObservationError(
                f"observation lacks {key!r}: this policy observes {', '.join(obs_shapes)}; found "
                f"{', '.join(map(str, obs)) or 'nothing'}"
            )
        if value.shape != shape:
            raise ObservationError(f"observation {key!r} has shape {value.shape}; expected {shape}")
        kind = value.dtype.kind  # whole numbers, such as a picture's, are always finite
        if kind not in "biu" and not (kind == "f" and np.isfinite(value).all()):
            raise ObservationError(f"observation {key!r} holds what is no finite number; a sensor failed, so no action")
        named[key] = value
    return named
