"""The policy p(x | y): the one place where network, objective, sampler, task and normalizer meet.

The one drawing of what horizon means, for obs_horizon 2, pred_horizon 8, action_horizon 4, deciding at step t:

    step       t-1    t   t+1   t+2   t+3   t+4   t+5   t+6
    y           o     o                                        obs_horizon observations, the last is the present
    x          x[0]  x[1]  x[2]  x[3]  x[4]  x[5]  x[6]  x[7]  pred_horizon actions, x[0] belongs to the oldest
    executed          *     *     *     *                      x[obs_horizon - 1 :][:action_horizon]; then look again
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NotRequired, TypedDict

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from diffpolicy.config import PolicyConfig
from diffpolicy.diffusion import Generators, build_objective, look_times, noise_levels, sample, standard_normal
from diffpolicy.errors import ConfigError, ObservationError
from diffpolicy.models import ObservationEncoder, Supervision, build_backbone
from diffpolicy.normalizer import Normalizer
from diffpolicy.policy_inputs import check_guess, check_noise, check_warm_start, checked_observation
from diffpolicy.tasks import Observation, load_task

_STEPS_AT_ONCE = 2048


class Batch(TypedDict):
    """Training windows: obs (batch, obs_horizon, *shape) by key, action (batch, pred_horizon, action)."""

    obs: Observation
    action: Float[Tensor, "batch horizon action"]
    mask: NotRequired[Bool[Tensor, "batch horizon"]]
    """True where an action is left out of the loss."""


def executed(obs_horizon: int, action_horizon: int, speed: float) -> slice:
    """The actions of x from the first to the last that are followed, at a speed, before looking again."""
    return slice(obs_horizon - 1, obs_horizon + math.ceil((action_horizon - 1) * speed))


class DiffusionPolicy(nn.Module):
    """A conditional generative model of action sequences.

    Args:
        config: horizons, observation, network, objective, sampler.
        shapes: the shape of one step of each key in `config.recorded_keys`: of what is observed, and of what supervises
            the image encoder, if anything does.
        action_dim: numbers in one action.
    """

    def __init__(self, config: PolicyConfig, shapes: Mapping[str, tuple[int, ...]], action_dim: int) -> None:
        super().__init__()
        self.config = config
        self.recorded_shapes = {key: tuple(shapes[key]) for key in config.recorded_keys}
        self.obs_shapes = {key: self.recorded_shapes[key] for key in config.observations}
        self.action_dim = action_dim
        self.task = load_task(config.task)
        self.objective = build_objective(config.objective)
        observed = self._feature_shapes(config.observations)
        told = self._feature_shapes(config.image_encoder.supervision) if config.image_encoder else {}
        encoder = ObservationEncoder(observed, config.obs_horizon, config.image_encoder)
        self.encoder = encoder
        self.supervision = Supervision(told, encoder) if told else None
        # Pictures are bytes until they are in the encoder, and need no ranges.
        numbers = {key: observed[key] for key in encoder.numbers}
        self.normalizer = Normalizer({**numbers, **told, "action": (action_dim,)})
        self.backbone = build_backbone(
            config.backbone,
            horizon=config.pred_horizon,
            action_dim=action_dim,
            cond_dim=encoder.cond_dim,
            obs_horizon=config.obs_horizon,
            outputs=self.objective.outputs(action_dim),
            members=config.members,
        )

    @property
    def device(self) -> torch.device:
        return self.normalizer.get_buffer("action_center").device

    @property
    def executed(self) -> slice:
        """The actions of x that the closed loop follows before it looks again."""
        return executed(self.config.obs_horizon, self.config.action_horizon, self.config.execution_speed)

    def fit_normalizer(self, obs: Observation, action: Float[Tensor, "steps action"], *, mirror: bool) -> None:
        """Take the ranges of features and actions from recorded steps, and from their mirror images if asked.

        Raises:
            ObservationError: what should be pictures are none.
        """
        seen: dict[str, list[Tensor]] = {key: [] for key in self.normalizer.keys}
        # A part at a time: the mirror images of all pictures at once would take as much memory again.
        for start in range(0, len(action), _STEPS_AT_ONCE):
            part = slice(start, start + _STEPS_AT_ONCE)
            views = [({key: value[part] for key, value in obs.items()}, action[part])]
            reflected = self.task.mirror(*views[0]) if mirror else None
            for o, a in views if reflected is None else [*views, reflected]:
                features = {**self._features(o), "action": a}
                for key, values in seen.items():
                    values.append(features[key])
        for key, values in seen.items():
            self.normalizer.fit(key, torch.cat(values))

    def loss(
        self,
        batch: Batch,
        *,
        generator: torch.Generator | None = None,
        observation_noise: float = 0.0,
        draws: int = 1,
        teacher: DiffusionPolicy | None = None,
    ) -> Float[Tensor, ""]:
        """The training loss: how far the network's output is from what the objective wants it to be.

        Where something supervises the image encoder, its error is added, by its weight.

        Args:
            batch: observations and actions in the world's units, and the mask of actions to leave out.
            generator: the source of times, noise and, in training, of what is done to pictures.
            observation_noise: standard deviation of the noise added to normalized features; pictures get none.
            draws: times, and noises with them, drawn for each window; a teacher makes one plan, for all its times.
            teacher: a policy whose plans are learned in place of the recorded actions, each with the noise it grew from,
                of the standard deviation that plans start from in closed loop.

        Raises:
            ObservationError: the batch lacks what supervises the image encoder, or what the teacher observes.
        """
        x0 = self.normalizer.normalize("action", batch["action"])
        t = self.objective.times(len(x0) * draws, generator, x0.device)
        if teacher is None:
            x0 = x0.repeat_interleave(draws, dim=0)
            noise = torch.randn(x0.shape, generator=generator, device=x0.device)
        else:
            # From the noise that plans will start from: what lies elsewhere need not be learned. One plan a window,
            # seen at several times: it costs more than they do.
            noise = self.config.noise_scale * torch.randn(x0.shape, generator=generator, device=x0.device)
            plans = teacher.sample(batch["obs"], noise=noise[:, None])
            assert isinstance(plans, Tensor)
            x0 = self.normalizer.normalize("action", plans[:, 0]).repeat_interleave(draws, dim=0)
            noise = noise.repeat_interleave(draws, dim=0)
        cond = self.encode(batch["obs"], generator, observation_noise)
        seen = self.objective.seen(self.objective.corrupt(x0, noise, t), t)
        output = self.backbone(seen, t, cond.repeat_interleave(draws, dim=0))
        weight = (~batch["mask"]).repeat_interleave(draws, dim=0)[..., None].float() if "mask" in batch else None
        loss = self.objective.loss(output.float(), x0, noise, t, weight)
        if self.supervision is None:
            return loss
        assert self.config.image_encoder is not None
        told = self._told(batch["obs"], self.config.image_encoder.supervision)
        return loss + self.config.image_encoder.supervision_weight * self.supervision(cond, told)

    # Training calls the module itself, so that wrappers (mixed precision, several processes) see the call.
    forward = loss

    @torch.no_grad()
    def sample(
        self,
        obs: Mapping[str, Tensor | np.ndarray],
        n: int | None = None,
        *,
        steps: int | None = None,
        sampler: str | None = None,
        generator: Generators = None,
        noise: Float[Tensor, "batch n horizon action"] | None = None,
        guess: Float[Tensor | np.ndarray, "batch horizon action"] | None = None,
        warm_start: float | None = None,
        return_path: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Draw action sequences for each observation, from noise alone or from a guess with noise in it.

        Args:
            obs: (batch, obs_horizon, *shape) by key, in the world's units; arrays or tensors.
            n: sequences per observation; one, unless `noise` holds more.
            steps: network evaluations; the config's number when None.
            sampler: the config's when None.
            generator: the source of all noise: one, or one per row of the batch (then a row's result does not depend on
                the other rows); torch's global one when None.
            noise: what to start from, instead of standard normal numbers; it decides `n`, which is then left out.
            guess: one plan for each observation, in the world's units; with it, only the rest of the way is gone.
            warm_start: the share of the way from noise to data that a guess spares; the config's when None.
            return_path: also return the solver's states.

        Returns:
            x of shape (batch, n, pred_horizon, action) in the world's units, within the demonstrated range. With
            `return_path` also (frames, batch, n, pred_horizon, action): what it starts from first, x last, in the world's
            units.

        Raises:
            ObservationError: a key is missing, a shape does not fit, or a number is not finite.
            ConfigError: steps, sampler or warm_start are not possible for this policy, or noise or guess do not fit.
            ValueError: a list of generators is not one per row.
        """
        if n is not None and n < 1:
            raise ConfigError(f"n is {n}; at least one sequence is drawn")
        observation = self.checked(obs)
        rows = len(next(iter(observation.values())))
        if noise is None:
            noise = standard_normal((rows, n or 1, self.config.pred_horizon, self.action_dim), generator, self.device)
        plan = (self.config.pred_horizon, self.action_dim)
        check_noise(noise, rows, n, plan)
        sampler, steps = sampler or self.config.sampler, self.config.steps if steps is None else steps
        x, spared = noise.to(self.device, torch.float32), self.config.warm_start if warm_start is None else warm_start
        check_warm_start(spared)
        start = 1.0 if guess is None else 1 - spared
        if guess is not None:
            check_guess(guess, rows, plan)
            if spared:
                x = self.warm(x, guess, look_times(self.objective, sampler, steps, start)[0])
        with self.in_use():
            x, path = sample(
                self.backbone,
                self.objective,
                self.encode(observation),
                x,
                sampler=sampler,
                steps=steps,
                start=start,
                generator=generator,
            )
        x = self.normalizer.unnormalize("action", x)
        return (x, self.normalizer.unnormalize("action", path)) if return_path else x

    def warm(
        self,
        noise: Float[Tensor, "batch n horizon action"],
        guess: Float[Tensor | np.ndarray, "batch horizon action"],
        t: float,
    ) -> Float[Tensor, "batch n horizon action"]:
        """The states of a time whose data are a guess, in the world's units, and whose noise is given."""
        x0 = self.normalizer.normalize("action", torch.as_tensor(guess).to(self.device, torch.float32))
        return self.objective.corrupt(x0[:, None], noise, torch.full((1,), t, device=self.device))

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Meanwhile without dropout, and in single precision, even where training has lowered it."""
        was_training = self.training
        self.eval()
        try:
            with torch.autocast(self.device.type, enabled=False):
                yield
        finally:
            self.train(was_training)

    def noise_levels(
        self, steps: int | None = None, sampler: str | None = None, *, warm_start: float = 0.0
    ) -> Float[Tensor, " frames"]:
        """The standard deviation of the noise in each frame of a path, in normalized units: 1 first, 0 last.

        Args:
            steps: network evaluations; the config's number when None.
            sampler: the config's when None.
            warm_start: the share of the way that a guess spared; then the first frame has less noise.
        """
        steps = self.config.steps if steps is None else steps
        return noise_levels(self.objective, sampler or self.config.sampler, steps, 1 - warm_start)

    def encode(
        self, obs: Observation, generator: torch.Generator | None = None, noise: float = 0.0
    ) -> Float[Tensor, "batch cond"]:
        """What conditions the network: observations (batch, obs_horizon, *shape) by key as one row of numbers each.

        Args:
            obs: in the world's units; pictures as uint8.
            generator: the source of noise and, in training, of what is done to pictures.
            noise: standard deviation of the noise added to normalized features.
        """
        features = self._features(obs)
        for key in self.encoder.numbers:
            value = self.normalizer.normalize(key, features[key])
            if noise:
                value = value + noise * torch.randn(value.shape, generator=generator, device=value.device)
            features[key] = value
        return self.encoder(features, generator)

    def _features(self, obs: Observation) -> Observation:
        """What the task shows of an observation, a dictionary of our own."""
        features = dict(self.task.features(obs))
        for key in self.encoder.pictures:
            if key in features and features[key].dtype != torch.uint8:
                raise ObservationError(
                    f"observation {key!r} has the shape of a picture, but is {features[key].dtype}; with an image encoder "
                    "it must be uint8, 0 to 255, as it was recorded"
                )
        return features

    def _told(self, obs: Observation, keys: Sequence[str]) -> Observation:
        """What the image encoder must tell of recorded steps, normalized."""
        if missing := [key for key in keys if key not in obs]:
            raise ObservationError(
                f"the batch lacks {', '.join(map(repr, missing))}, which policy.image_encoder.supervision asks for in "
                f"training; found {', '.join(obs)}"
            )
        features = self._features({key: obs[key] for key in keys})
        return {key: self.normalizer.normalize(key, value) for key, value in features.items()}

    def _feature_shapes(self, keys: Sequence[str]) -> dict[str, tuple[int, ...]]:
        """What the task shows of one step of these recorded keys."""
        probe = self.task.features({key: torch.zeros(1, *self.recorded_shapes[key]) for key in keys})
        return {key: tuple(value.shape[1:]) for key, value in probe.items()}

    def checked(self, obs: Mapping[str, Tensor | np.ndarray]) -> Observation:
        """What is observed, as tensors where the policy is. Raises an ObservationError that says what does not fit."""
        return checked_observation(obs, self.obs_shapes, self.config.obs_horizon, self.device)

    def extra_repr(self) -> str:
        size = sum(math.prod(p.shape) for p in self.parameters())
        return f"{size / 1e6:.2f}M parameters, x ({self.config.pred_horizon}, {self.action_dim})"
