"""A recording session without a window: when it records, what each command does, and that what is kept is on disk."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from diffpolicy_demos import Store, create_store, open_store
from diffpolicy_demos.record import Command, Phase, RecordSession, percent
from diffpolicy_demos.replay import replay

SEED = 500_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with create_store(tmp_path / "a.zarr") as store:
        yield store


def begin(session: RecordSession, steps: int = 1) -> None:
    """Takes hold of the agent, and leads it about for so many steps in all."""
    session.advance((0.0, 0.0))
    session.advance(session.status.agent_px)
    for step in range(1, steps):
        session.advance((100.0 + 7 * step, 400.0 - 3 * step))
    assert session.status.phase is Phase.RECORDING
    assert session.status.steps == steps


def test_nothing_moves_until_the_agent_is_taken_hold_of(store: Store) -> None:
    session = RecordSession(store, SEED)
    before = session.status
    assert before.pointer_must_leave
    session.advance(None)
    session.advance((0.0, 0.0))
    for far in (15.1, 40.0):
        session.advance((before.agent_px[0] + far, before.agent_px[1]))
    assert session.status.phase is Phase.WAITING
    assert session.status.agent_px == before.agent_px
    assert not session.status.pointer_must_leave
    session.advance((before.agent_px[0] + 14.9, before.agent_px[1]))
    assert session.status.phase is Phase.RECORDING
    assert session.status.steps == 1


@pytest.mark.parametrize("how", [Command.DISCARD, Command.KEEP, Command.NEXT])
def test_a_pointer_that_is_there_already_takes_no_hold(store: Store, how: Command) -> None:
    """After one episode it may happen to be where the next begins; that would record what nobody meant."""
    session = RecordSession(store, SEED)
    begin(session)
    session.press(how)
    for _ in range(3):
        session.advance(session.status.agent_px)
    assert session.status.phase is Phase.WAITING
    assert session.status.pointer_must_leave
    begin(session)


def test_discarding_gives_the_same_start_and_another_is_another(store: Store) -> None:
    session = RecordSession(store, SEED)
    start, picture = session.status.agent_px, session.draw()
    begin(session, 20)
    session.press(Command.DISCARD)
    assert (session.status.agent_px, session.status.seed, session.status.steps) == (start, SEED, 0)
    np.testing.assert_array_equal(session.draw(), picture)
    begin(session, 20)
    session.press(Command.NEXT)
    assert session.status.agent_px != start
    assert session.status.seed == SEED + 1
    assert store.n_episodes == 0


def test_what_is_kept_is_on_disk_before_the_next_begins(store: Store) -> None:
    session = RecordSession(store, SEED)
    for index in range(3):
        begin(session, 5 + index)
        session.press(Command.KEEP)
        seen = open_store(store.path)  # as anybody else sees it now
        assert seen.n_episodes == index + 1
        assert seen.episode_info(index)["seed"] == SEED + index
        assert session.status.notice.startswith(f"Episode {index + 1} kept: {5 + index} steps")
    session.close()
    assert session.ended


def test_taking_back_offers_the_same_start_again(store: Store) -> None:
    session = RecordSession(store, SEED)
    for _ in range(2):
        begin(session, 5)
        session.press(Command.KEEP)
    session.press(Command.NEXT)
    session.press(Command.UNDO)
    assert open_store(store.path).n_episodes == 1
    assert (session.status.seed, session.status.episode, session.status.kept) == (SEED + 1, 2, 1)
    begin(session, 9)
    session.press(Command.KEEP)
    assert open_store(store.path).episode_lengths.tolist() == [5, 9]
    assert [info["seed"] for info in open_store(store.path).episode_infos()] == [SEED, SEED + 1]
    assert (session.status.seed, session.status.kept) == (SEED + 2, 2)


def test_nothing_is_taken_back_by_a_slip(store: Store) -> None:
    session = RecordSession(store, SEED)
    session.press(Command.UNDO)
    assert session.status.notice == "No episode of this sitting to take back."
    begin(session, 5)
    session.press(Command.KEEP)
    begin(session, 5)
    session.press(Command.UNDO)  # in the middle of another
    assert session.status.notice == "Keep or discard this episode first."
    assert session.status.phase is Phase.RECORDING
    assert store.n_episodes == 1


def test_there_must_be_something_to_keep(store: Store) -> None:
    session = RecordSession(store, SEED)
    for command in (Command.KEEP, Command.CLICK, Command.DISCARD):
        session.press(command)
    assert store.n_episodes == 0
    assert session.status.notice == "Nothing is recorded yet."


def test_the_click_that_takes_hold_keeps_nothing(store: Store) -> None:
    """People click on what they want to grasp."""
    session = RecordSession(store, SEED)
    begin(session, 9)
    session.press(Command.CLICK)
    assert session.status.phase is Phase.RECORDING
    session.advance((200.0, 200.0))
    session.press(Command.CLICK)
    assert store.episode_lengths.tolist() == [10]


def test_time_is_up(store: Store) -> None:
    session = RecordSession(store, SEED, max_steps=12)
    begin(session, 11)
    session.advance((250.0, 250.0))
    assert session.status.phase is Phase.OUT_OF_TIME
    after = session.status
    session.advance((10.0, 10.0))  # nothing moves any more
    assert session.status == after
    session.press(Command.CLICK)
    assert store.episode_lengths.tolist() == [12]
    assert store.episode_info(0)["success"] is False


def test_it_ends_with_as_many_as_wanted(store: Store) -> None:
    session = RecordSession(store, SEED, wanted=2)
    for _ in range(2):
        assert not session.ended
        begin(session, 3)
        session.press(Command.KEEP)
    assert session.ended
    assert RecordSession(store, SEED, wanted=2).ended


def test_leaving_in_the_middle_keeps_nothing_of_it(store: Store) -> None:
    session = RecordSession(store, SEED)
    begin(session, 30)
    session.press(Command.QUIT)
    assert session.ended
    assert store.n_episodes == 0


def test_targets_off_the_table_are_recorded_as_executed(store: Store) -> None:
    session = RecordSession(store, SEED)
    begin(session)
    session.advance((-40.0, 900.0))
    session.advance((0.1, 511.9))
    session.press(Command.KEEP)
    np.testing.assert_array_equal(store.episode(0)["action"][1:], np.float32([[0.0, 512.0], [0.1, 511.9]]))


def test_the_record_alone_decides_what_follows(store: Store) -> None:
    """Rounding the start after the fact sends some of these elsewhere at a corner of the block, by a tenth of a px."""
    session, rng = RecordSession(store, SEED), np.random.default_rng(0)
    for _ in range(20):
        begin(session)
        for _ in range(30):
            session.advance(tuple(rng.uniform(100.0, 400.0, 2).tolist()))
        session.press(Command.KEEP)
    assert max(drift.drift_px for drift in replay(store)) < 5e-5


def test_94_point_9_is_not_95() -> None:
    assert [percent(share) for share in (0.0, 0.949, 0.95, 0.999, 1.0)] == ["0%", "94%", "95%", "99%", "100%"]
