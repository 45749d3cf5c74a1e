"""The rollout: many worlds in lanes, their plans made in batches that are always full.

Worlds know nothing of each other, so lanes need not be at the same control step: each follows its plan until it needs the
next, and one whose episode has ended starts the next seed's. All batches have the same number of rows, because a product's
rounding depends on its shape; so an episode's result depends neither on how many were asked for nor on its neighbours. The
row it got must not matter either: rows that are left over repeat the first, and show whether that holds on this machine.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from diffpolicy.evaluation.controller import Controller
from diffpolicy.evaluation.film import WIDTH_PX, write_film
from diffpolicy.evaluation.metrics import EpisodeRecord
from diffpolicy.evaluation.traces import EpisodeTrace, start_of
from diffpolicy.evaluation.world import ACTING, RolloutSettings, check_fit, make_env, start_episode
from diffpolicy.policy import DiffusionPolicy

LANES = 63
"""With the row that is always left over a multiple of 32: vectorized loops round what remains beyond one otherwise."""


@dataclass(frozen=True)
class Round:
    """What came of one batch of plans.

    Attributes:
        records: the episodes that ended in it, perhaps none.
        traces: how these went, from moment to moment.
        rows_agree: whether the same observation and noise gave the same plan in each row that held them, bit for bit.
    """

    records: list[EpisodeRecord]
    traces: list[EpisodeTrace]
    rows_agree: bool


def rollout(
    policy: DiffusionPolicy,
    seeds: Sequence[int],
    settings: RolloutSettings,
    *,
    film: Mapping[int, Path] | None = None,
    film_px: int = WIDTH_PX,
    lanes: int = LANES,
) -> list[EpisodeRecord]:
    """Run one episode per seed, and return their records in the order of the seeds. Arguments and errors: see `rounds`."""
    ended = rounds(policy, seeds, settings, film=film, film_px=film_px, lanes=lanes)
    records = {record.seed: record for each in ended for record in each.records}
    return [records[seed] for seed in seeds]


def rounds(
    policy: DiffusionPolicy,
    seeds: Iterable[int],
    settings: RolloutSettings,
    *,
    film: Mapping[int, Path] | None = None,
    film_px: int = WIDTH_PX,
    lanes: int = LANES,
    crews: int | None = None,
) -> Generator[Round, None, None]:
    """Run one episode per seed, batch of plans by batch of plans.

    Args:
        policy: what acts; its noise in an episode comes from that episode's seed.
        seeds: where the episodes start from; each is taken when a lane is free for it.
        settings: the world and the manner of acting.
        film: videos to write, by seed.
        film_px: width of the videos, where the world reports a score to show below.
        lanes: episodes side by side in a crew; part of the protocol, see the module's text.
        crews: groups of lanes, one stepping its worlds while the plans of another are made. None: two where a device
            computes beside the processor, otherwise one. The results do not depend on it.

    Raises:
        ConfigError: the environment cannot be made or knows no such protocol, or the settings do not fit the policy.
        ObservationError: the environment shows something else than the policy observes.
    """
    queue = iter(seeds)
    team = [
        _Crew(policy, settings, film or {}, film_px, queue, lanes)
        for _ in range(crews or (2 if policy.device.type == "cuda" else 1))
    ]
    try:
        with _one_thread(policy.device):
            for _ in range(lanes):
                for crew in team:
                    crew.enlist()
            for crew in team:
                crew.plan()
            while any(crew.lanes for crew in team):
                for crew in team:
                    if crew.lanes:
                        ended = crew.follow()
                        crew.plan()
                        yield ended
    finally:
        for crew in team:
            crew.close()


def make_controller(policy: DiffusionPolicy, settings: RolloutSettings) -> Controller:
    """A controller that acts as the settings say, and as the policy's own config does where they say nothing.

    Raises:
        ConfigError: the policy cannot act so.
    """
    manner = {name: getattr(settings, name) for name in ACTING}
    return settings.controller(policy, steps=settings.steps, sampler=settings.sampler, **manner)


class _Crew:
    """Lanes whose plans are made together: first `plan`, which sets out, then `follow`, which waits for it.

    Where the device computes beside the processor, another crew can follow its plans between the two.
    """

    def __init__(
        self,
        policy: DiffusionPolicy,
        settings: RolloutSettings,
        film: Mapping[int, Path],
        film_px: int,
        queue: Iterator[int],
        lanes: int,
    ) -> None:
        self._policy, self._settings, self._queue = policy, settings, queue
        self._film, self._film_px = film, film_px
        self.lanes: list[_Lane] = []
        self._fill = [torch.Generator() for _ in range(lanes + 1)]
        self._plans: list[tuple[list[_Lane], torch.Tensor]] = []
        self._planned = torch.cuda.Event() if policy.device.type == "cuda" else None

    def enlist(self) -> None:
        """Open one more lane, if there is a seed for it."""
        seed = next(self._queue, None)
        if seed is not None:
            lane = _Lane(self._policy, self._settings, self._film, self._film_px)
            self.lanes.append(lane)
            lane.start(seed)

    def plan(self) -> None:
        """Set out to plan for all lanes, from what each sees now: for those that start warm apart from the others."""
        starts = [(lane, *lane.controller.start()) for lane in self.lanes]
        cold = [(lane, noise, None) for lane, noise, guess in starts if guess is None]
        warm = [(lane, noise, guess) for lane, noise, guess in starts if guess is not None]
        # Sent for at once: what is asked of the device later, for another crew, must not be waited for.
        self._plans = [
            ([lane for lane, *_ in some], self._sample(some).to("cpu", non_blocking=self._planned is not None))
            for some in (cold, warm)
            if some
        ]
        if self._planned is not None:
            self._planned.record()

    def _sample(self, starts: Sequence[tuple[_Lane, torch.Tensor, np.ndarray | None]]) -> torch.Tensor:
        """Plans for some lanes, all starting warm or none, as a full batch: the rows left over repeat the first."""
        left_over = self._fill[len(starts) :]
        controllers = [lane.controller for lane, *_ in starts]
        generators = [controller.generator for controller in controllers]
        first = generators[0].get_state()
        generators += [generator.set_state(first) for generator in left_over]
        rows = [*range(len(starts)), *[0] * len(left_over)]
        histories = [controller.history() for controller in controllers]
        x = self._policy.sample(
            {key: np.stack([histories[row][key] for row in rows]) for key in histories[0]},
            steps=self._settings.steps,
            sampler=self._settings.sampler,
            generator=generators,
            noise=torch.stack([starts[row][1] for row in rows]),
            guess=None if starts[0][2] is None else np.stack([starts[row][2] for row in rows]),
            warm_start=controllers[0].warm_start,
        )
        assert isinstance(x, torch.Tensor)
        return x

    def follow(self) -> Round:
        """Have each lane follow its plan until it needs the next one; those whose episode ends go on with the next seed."""
        if self._planned is not None:
            self._planned.synchronize()
        agree, records, traces, going_on = True, [], [], []
        for lanes, x in self._plans:
            plans = x.numpy().astype(np.float64)
            agree &= bool((plans[len(lanes) :] == plans[0]).all())
            for lane, plan in zip(lanes, plans, strict=False):
                if lane.follow(plan):
                    going_on.append(lane)
                    continue
                records.append(lane.finish())
                traces.append(lane.trace())
                seed = next(self._queue, None)
                if seed is None:
                    lane.close()
                else:
                    lane.start(seed)
                    going_on.append(lane)
        self.lanes = going_on
        return Round(records, traces, agree)

    def close(self) -> None:
        """Close all worlds."""
        for lane in self.lanes:
            lane.close()


class _Lane:
    """A world and a controller, for one episode after another. The world is made once and started anew by each seed."""

    def __init__(
        self, policy: DiffusionPolicy, settings: RolloutSettings, film: Mapping[int, Path], film_px: int
    ) -> None:
        self._policy, self._settings, self._film, self._film_px = policy, settings, film, film_px
        self.controller = make_controller(policy, settings)
        self._env: gym.Env | None = None
        self._filmed = False

    def start(self, seed: int) -> None:
        """Begin the episode of a seed; a plan is needed then."""
        filmed = seed in self._film
        if self._env is None or filmed or self._filmed:
            self.close()
            self._env = make_env(self._settings, render=filmed)
        self._seed, self._filmed = seed, filmed
        self._success = False
        self._rewards: list[float] = []
        self._coverages: list[float] = []
        self._frames: list[np.ndarray] = []
        obs, info = start_episode(self._env, self._settings, seed)
        check_fit(self._env, obs, self._settings, self._policy.obs_shapes, self._policy.action_dim)
        self.controller.reset(seed)
        self.controller.observe(obs)
        self._start = start_of(info, {key: values[-1] for key, values in self.controller.history().items()})
        self._watch(info)

    def follow(self, plans: np.ndarray) -> bool:
        """Act until the next plan is needed; False once the episode has ended."""
        env, controller = self._env, self.controller
        assert env is not None
        controller.accept(plans)
        while True:
            obs, reward, terminated, truncated, info = env.step(controller.act())
            self._rewards.append(float(reward))
            self._success |= bool(info.get("is_success", terminated))
            self._watch(info)
            if terminated or truncated or len(self._rewards) == self._settings.max_steps:
                return False
            controller.observe(obs)
            if controller.needs_plan:
                return True

    def finish(self) -> EpisodeRecord:
        """Write the film, if there is to be one, and say how the episode went."""
        if self._filmed and self._env is not None:
            write_film(self._film[self._seed], self._frames, self._coverages, self._env, self._film_px)
        return EpisodeRecord(
            seed=self._seed,
            score=max(self._rewards),
            success=self._success,
            steps=len(self._rewards),
            final_coverage=self._coverages[-1] if self._coverages else None,
        )

    def trace(self) -> EpisodeTrace:
        """How the episode went, from moment to moment."""
        coverage = np.array(self._coverages) if len(self._coverages) == len(self._rewards) + 1 else None
        return EpisodeTrace(self._seed, np.array(self._rewards), coverage, self._start)

    def close(self) -> None:
        """Close the world, if there is one."""
        if self._env is not None:
            self._env.close()
            self._env = None

    def _watch(self, info: Mapping[str, Any]) -> None:
        if "coverage" in info:
            self._coverages.append(float(info["coverage"]))
        if self._filmed and self._env is not None:
            self._frames.append(np.asarray(self._env.render()))


@contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    """Plans for a few lanes are too small to share among threads, and rounding depends on how they are shared."""
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
