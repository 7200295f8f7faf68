"""The timed core: how many messages it may hold, and refills on demand."""

from __future__ import annotations

import pytest

from queueactors import QueueClosedError, QueueFullError, RefillError
from queueactors.cores.timed import TimedCore, TimedStatistics

from .kit import S, reserve, values


def full(**options: object) -> TimedCore:
    """Return a core with a message in each of two places, which is all that it may hold."""
    core = TimedCore(max_length=2, **options)  # type: ignore[arg-type] # of TimedCore
    core.insert(0, ["a", "b"])
    return core


# -- max_length --------------------------------------------------------------------------------


def test_a_queue_holds_exactly_its_maximum() -> None:
    core = TimedCore(max_length=3)

    assert core.insert(0, ["a", "b", "c"]) == 3
    with pytest.raises(QueueFullError) as caught:
        core.insert(0, ["d"])

    error = caught.value
    assert (error.queue, error.new, error.room, error.max_length) == ("timed", 1, 0, 3)


def test_without_a_maximum_there_is_always_room() -> None:
    core = TimedCore()
    core.inserters = [None]

    assert core.insert(0, range(10_000)) == 10_000


def test_a_refused_insert_changes_nothing() -> None:
    core = full()
    before = core.statistics(0)

    with pytest.raises(QueueFullError):
        core.insert(0, ["c", "d"])

    assert core.statistics(0) == before
    assert core.records.next_id == 3


def test_a_message_whose_instant_has_come_makes_room_by_being_exhausted() -> None:
    core = full(max_reservations=1)
    reserve(core, 0, 10)

    with pytest.raises(QueueFullError):
        core.insert(9, ["c"])
    assert core.insert(10, ["c"]) == 1


def test_a_dead_letter_takes_no_room_until_it_is_refused() -> None:
    core = full(max_reservations=1, on_exhausted="other")
    core.release(0, reserve(core, 0).key)
    core.insert(0, ["c"])

    core.bury_dead(0, 1)

    assert core.length(0) == 3
    with pytest.raises(QueueFullError, match="room for 0"):
        core.insert(0, ["d"])
    core.remove(0, [2])
    assert core.wait_insert(0, ["d"]) is None
    core.remove(0, [3])
    assert core.wait_insert(0, ["d"]) == 1


def test_what_a_cast_finds_no_room_for_is_told_and_counted() -> None:
    core = TimedCore(max_length=1, name="jobs")

    assert core.insert_nowait(0, ["a"]) == 1
    assert core.insert_nowait(0, ["b", "c"]) == 0
    core.close(0)
    assert core.insert_nowait(0, ["d"]) == 0

    assert core.statistics(0).dropped == 3
    assert values(core, 0) == ["a"]
    assert core.notices == [
        (
            "insert_dropped",
            {
                "values": 2,
                "error": (
                    "queue 'jobs' never has room for 2 new values: its max_length is 1; "
                    "give it fewer at a time"
                ),
            },
        ),
        ("insert_dropped", {"values": 1, "error": "queue 'jobs' is closed"}),
    ]


def test_duplicates_need_no_room_also_among_themselves() -> None:
    core = TimedCore(max_length=2, unique=True)
    core.insert(0, [["a"]])

    assert core.insert(0, [["a"], 1, 1.0, ["a"]]) == 1
    assert core.insert(0, [["a"], 1]) == 0
    with pytest.raises(QueueFullError, match="1 new value, room for 0"):
        core.insert(0, [2, ["a"], 2])


# -- waiting for room --------------------------------------------------------------------------


def test_whoever_waits_gets_none_until_there_is_room() -> None:
    core = full()

    assert core.wait_insert(0, ["c"]) is None
    core.remove(0, [1])
    assert core.wait_insert(0, ["c"]) == 1


def test_a_new_insert_does_not_overtake_those_who_wait() -> None:
    core = TimedCore(max_length=2, unique=True)
    core.insert(0, ["a"])
    core.inserters = [None]

    with pytest.raises(QueueFullError, match="others wait for room") as caught:
        core.insert(0, ["b"])

    assert caught.value.room is None
    assert core.insert(0, ["a"]) == 0  # takes no room
    assert core.insert(0, []) == 0
    assert core.wait_insert(0, ["b"]) == 1  # it is the first of them


def test_what_never_fits_does_not_wait() -> None:
    core = TimedCore(max_length=2)

    with pytest.raises(QueueFullError) as caught:
        core.wait_insert(0, ["a", "b", "c"])

    assert caught.value.never_fits


def test_nobody_waits_for_room_in_a_closed_queue() -> None:
    core = full()
    core.close(0)

    with pytest.raises(QueueClosedError):
        core.wait_insert(0, ["c"])


def test_what_waited_is_ready_at_its_instant_or_after_its_delay() -> None:
    core = TimedCore(max_length=9)

    core.wait_insert(5, ["late"], at=S)
    core.wait_insert(5, ["past"], at=3)
    core.wait_insert(5, ["delayed"], 10)
    core.wait_insert(5, ["now"], at=5)

    assert [message.ready_at for message in core.peek(5, "delayed", 9)] == [15, S]
    assert [message.ready_at for message in core.peek(5, "ready", 9)] == [5, 5]
    assert core.next_deadline(waiting=False) == 15


# -- refills -----------------------------------------------------------------------------------


def test_a_refill_leaves_out_what_finds_no_room() -> None:
    core = TimedCore(max_length=3, sync_interval=1, unique=True)
    core.insert(0, ["a"])

    assert core.refilled(1, ["b", "a", "b", "c", "a", "d", "e"]) == 2

    assert values(core, 1) == ["a", "b", "c"]
    assert core.notices == [("refill_left_out", {"values": 2})]
    assert (core.statistics(1).left_out, core.statistics(1).duplicates) == (2, 3)


def test_a_refill_does_not_overtake_those_who_wait_for_room() -> None:
    core = TimedCore(max_length=3, sync_interval=1)
    core.inserters = [None]

    assert core.refilled(1, ["a"]) == 0
    assert core.statistics(1).left_out == 1


def test_what_a_closed_queue_is_refilled_with_is_not_left_out() -> None:
    core = full(sync_interval=1)
    core.close(0)

    assert core.refilled(1, ["c"]) == 0
    assert core.notices == []


def test_sync_asks_for_a_refill_whatever_the_interval() -> None:
    core = TimedCore(sync_interval=S)
    core.refilled(0, [])
    assert core.reserve(1, S) is None
    assert not core.begin_refill(1)

    assert core.sync(1) is None

    assert core.new_errands()
    assert core.begin_refill(1)


def test_all_who_sync_get_the_answer_and_the_next_one_another() -> None:
    core = TimedCore(sync_interval=S)
    core.sync(0)
    core.syncers = [None, None]
    core.begin_refill(0)
    assert core.sync(0) is None

    core.refilled(1, ["a", "b"])

    assert [core.sync(1), core.sync(1)] == [2, 2]
    core.syncers = []
    assert core.sync(1) is None
    assert core.begin_refill(1)


def test_a_sync_during_a_refill_asks_for_no_second_one() -> None:
    core = TimedCore(sync_interval=S)
    core.reserve(0, S)
    core.begin_refill(0)

    assert core.sync(0) is None

    assert not core.records.refill_wanted


def test_the_failure_of_a_refill_is_raised_as_often_as_somebody_waits() -> None:
    core = TimedCore(sync_interval=S)
    core.sync(0)
    core.syncers = [None, None]
    core.begin_refill(0)
    error = KeyError("no")

    core.refilled(1, None, error)

    caught = []
    for _ in range(2):
        with pytest.raises(RefillError) as each:
            core.sync(1)
        caught.append(each.value)
    assert caught[0] is not caught[1]
    assert {each.__cause__ for each in caught} == {error}
    core.syncers = []
    core.sync(1)
    core.begin_refill(1)
    core.refilled(2, [])
    core.syncers = [None]
    assert core.sync(2) == 0


def test_a_failure_that_nobody_waits_for_is_not_kept() -> None:
    core = TimedCore(sync_interval=S)

    core.refilled(1, None, KeyError("no"))

    assert core.records.sync_error is None


@pytest.mark.parametrize("waiting", [False, True])
def test_a_lost_refill_is_wanted_again_if_somebody_waits(waiting: bool) -> None:  # noqa: FBT001
    core = TimedCore(sync_interval=S)
    core.sync(0)
    core.begin_refill(0)
    core.new_errands()
    core.syncers = [None] * waiting

    core.refill_lost(1)

    assert core.new_errands() is waiting
    assert core.begin_refill(1) is waiting
    assert core.statistics(1) == TimedStatistics(
        refills=1 + waiting, refill_errors=1, refilling=waiting
    )


def test_a_closed_queue_is_not_synced() -> None:
    core = TimedCore(sync_interval=S)
    core.close(0)

    with pytest.raises(QueueClosedError):
        core.sync(0)


# -- pause -------------------------------------------------------------------------------------


def test_a_paused_queue_that_is_closed_hands_nothing_out_until_it_is_drained() -> None:
    core = full()
    core.pause(0)
    core.close(0)
    assert core.reserve(0, S) is None
    assert core.reserve_many(0, 2, S) == []

    core.clear(0)

    with pytest.raises(QueueClosedError):
        core.reserve(0, S)
    with pytest.raises(QueueClosedError):
        core.reserve_many(0, 2, S)
