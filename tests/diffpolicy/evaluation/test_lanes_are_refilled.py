"""A lane whose episode has ended takes the next seed at once: batches are full while there are seeds, none is mixed up."""

import sys
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise, zip_longest
from pathlib import Path

import av
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from ledger import Ledger, Scribe, settings, steps_of, watched

from diffpolicy.errors import ObservationError
from diffpolicy.evaluation.metrics import EpisodeRecord
from diffpolicy.evaluation.rollout import rollout, rounds

pytestmark = pytest.mark.filterwarnings("ignore:.*share an object")  # the ledger reuses its array on purpose


@pytest.fixture(autouse=True)
def _new_books() -> Iterator[None]:
    Ledger.opened.clear()
    Ledger.events.clear()
    yield
    assert all(world.closed for world in Ledger.opened)


def expected(seed: int, action_horizon: int = 4, delay: int = 0, max_steps: int | None = None) -> EpisodeRecord:
    """What must become of a seed; its score is the step at which the last plan was made that an action came from."""
    steps = min(steps_of(seed), max_steps or 1000)
    last_plan = max(0, (steps - 1 - delay) // action_horizon * action_horizon)
    success = seed % 2 == 0 and steps == steps_of(seed)
    return EpisodeRecord(seed=seed, score=float(last_plan), success=success, steps=steps, final_coverage=None)


@pytest.mark.parametrize("episodes", [0, 1, 2, 3, 4, 40])  # fewer than lanes, as many, more
@pytest.mark.parametrize(("action_horizon", "delay"), [(4, 0), (1, 0), (4, 3), (1, 5), (11, 0)])
@pytest.mark.parametrize("crews", [1, 2])
def test_every_seed_has_its_own_episode_once(episodes: int, action_horizon: int, delay: int, crews: int) -> None:
    world = settings(delay, action_horizon)
    found = [
        record
        for each in rounds(Scribe(action_horizon), range(episodes), world, lanes=3, crews=crews)
        for record in each.records
    ]
    assert sorted(found, key=lambda record: record.seed) == [
        expected(seed, action_horizon, delay) for seed in range(episodes)
    ]
    assert sum(world.starts for world in Ledger.opened) == episodes
    assert len(Ledger.opened) == min(episodes, 3 * crews)  # a world is used again


def test_records_come_in_the_order_of_the_seeds() -> None:
    seeds = [30, 2, 2, 17, 0, 12, 30]
    assert rollout(Scribe(), seeds, settings(), lanes=2) == [expected(seed) for seed in seeds]


@pytest.mark.parametrize("max_steps", [1, 3, 6])
def test_an_episode_may_be_cut_short_in_the_middle_of_a_plan(max_steps: int) -> None:
    records = rollout(Scribe(), range(20), settings(max_steps=max_steps), lanes=3)
    assert records == [expected(seed, max_steps=max_steps) for seed in range(20)]


@pytest.mark.parametrize("delay", [0, 2])
@pytest.mark.parametrize("lanes", [1, 2, 7])
def test_batches_have_one_shape_and_are_full_while_there_are_seeds(lanes: int, delay: int) -> None:
    policy = Scribe()
    queue, taken_after = watched(range(60), lambda: len(policy.batches))
    assert sum(len(each.records) for each in rounds(policy, queue, settings(delay), lanes=lanes)) == 60
    assert {len(batch) for batch in policy.batches} == {lanes + 1}
    for number, batch in enumerate(policy.batches):
        live = len(set(batch))
        assert batch[live:] == batch[:1] * (lanes + 1 - live)
        assert live == lanes or number >= taken_after[-1]


def test_a_seed_is_taken_when_a_lane_is_free_for_it() -> None:
    def ended() -> int:
        steps = Counter(seeds[0] for kind, seeds in Ledger.events if kind == "step")
        return sum(steps_of(seed) == count for seed, count in steps.items())

    queue, ended_before = watched(range(50), ended)
    assert sum(len(each.records) for each in rounds(Scribe(), queue, settings(), lanes=4)) == 50
    assert ended_before == [max(0, place - 3) for place in range(50)]


def test_two_rollouts_may_share_their_seeds() -> None:
    queue = iter(range(50))
    pair = [rounds(Scribe(), queue, settings(), lanes=lanes) for lanes in (2, 5)]
    found: list[list[int]] = [[], []]
    for turn in zip_longest(*pair):
        for own, each in zip(found, turn, strict=True):
            own += [record.seed for record in each.records] if each else []
    assert min(map(len, found)) > 5
    assert sorted(found[0] + found[1]) == list(range(50))


def test_noise_depends_on_the_seed_alone_and_rows_left_over_have_that_of_the_first() -> None:
    noise: dict[int, dict[int, list[tuple[float, float]]]] = {}
    for lanes in (1, 3, 8):
        policy, own = Scribe(), noise.setdefault(lanes, {})
        rollout(policy, range(30), settings(), lanes=lanes)
        for batch, drawn in zip(policy.batches, policy.noise, strict=True):
            live = len(set(batch))
            assert drawn[live:] == drawn[:1] * (lanes + 1 - live)
            for seed, number in zip(batch[:live], drawn[:live], strict=True):
                own.setdefault(seed, []).append(number)
    assert noise[1] == noise[3] == noise[8]
    drawn = [number for numbers in noise[1].values() for number in numbers]
    assert len(set(drawn)) == len(drawn) > 30


def test_one_crew_steps_its_worlds_while_the_plans_of_the_other_are_made() -> None:
    both = list(rounds(Scribe(), range(60), settings(), lanes=4, crews=2))
    assert sum(len(each.records) for each in both) == 60
    plans = [number for number, (kind, _) in enumerate(Ledger.events) if kind == "plan"]
    overlapping = 0
    for here, following in pairwise(plans):
        under_way = set(Ledger.events[here][1])
        stepped = {seeds[0] for _, seeds in Ledger.events[here + 1 : following]}
        overlapping += bool(stepped) and not stepped & under_way
    assert overlapping >= len(plans) - 12  # but for the first plan and the end, when one crew has nothing left


@pytest.mark.parametrize("filmed", [1, 9, 26])  # one of the first; one that starts late; one more, of a single step
def test_a_film_may_start_late_and_disturbs_nobody(filmed: int, tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    records = rollout(Scribe(), range(30), settings(), lanes=2, film={filmed: path})
    assert records == [expected(seed) for seed in range(30)]
    with av.open(str(path)) as container:
        shades = [frame.to_ndarray(format="rgb24").mean() for frame in container.decode(video=0)]
    assert len(shades) >= steps_of(filmed) + 1
    assert max(shades) - min(shades) == pytest.approx(10 * steps_of(filmed), abs=5)
    assert [world.starts for world in Ledger.opened if world.render_mode] == [1]  # drawing is for that episode alone


@pytest.mark.parametrize("moment", ["start", "step", "observation"])
def test_a_world_that_fails_is_an_error_and_all_worlds_are_closed(moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method = "reset" if moment == "start" else "step"
    whole = getattr(Ledger, method)

    def failing(self: Ledger, *args: object, **kwargs: object) -> object:
        obs, *rest = whole(self, *args, **kwargs)
        if self.seed == 17 and moment != "observation":
            raise KeyError("no such bolt")
        return (np.full(2, np.nan) if self.seed == 17 else obs, *rest)

    monkeypatch.setattr(Ledger, method, failing)
    error = ObservationError if moment == "observation" else KeyError
    with pytest.raises(error):
        rollout(Scribe(), range(30), settings(), lanes=3)
    assert any(world.starts > 1 for world in Ledger.opened)
