"""The timed core: deadlines, refills, statistics, and what it costs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from queueactors import QueueClosedError
from queueactors.cores.timed import MIN_REFILL_NS, TimedCore, TimedStatistics, check_peek_state

from .kit import S, reserve, values

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


def test_an_empty_queue_has_no_deadline() -> None:
    assert TimedCore().next_deadline(waiting=False) is None
    assert TimedCore().next_deadline(waiting=True) is None


def test_the_next_deadline_is_the_first_thing_that_happens_by_itself() -> None:
    core = TimedCore()
    core.insert(0, ["a", "b", "c"])
    long, short, _ = (reserve(core, 0, duration) for duration in (100, 50, 70))
    core.insert(0, ["d"], delay=60)

    deadlines = [core.next_deadline(waiting=False)]
    core.delete(1, [short.key])
    deadlines.append(core.next_deadline(waiting=False))
    core.remove(1, [4])
    deadlines.append(core.next_deadline(waiting=False))
    core.advance(70)
    deadlines.append(core.next_deadline(waiting=False))
    core.touch(70, long.key, 5)
    deadlines.append(core.next_deadline(waiting=False))
    core.advance(75)
    deadlines.append(core.next_deadline(waiting=False))

    assert deadlines == [50, 60, 70, 100, 75, None]


def test_an_empty_reserve_wants_a_refill_at_once_the_first_time() -> None:
    core = TimedCore(sync_interval=100 * S)

    assert core.reserve(0, S) is None

    assert core.new_errands()
    assert core.begin_refill(0)
    assert core.statistics(0).refilling


def test_a_refill_is_wanted_once() -> None:
    core = TimedCore(sync_interval=100 * S)
    core.reserve(0, S)
    core.reserve(0, S)

    assert core.new_errands()
    assert not core.new_errands()
    assert core.begin_refill(0)
    assert not core.begin_refill(0)


def test_without_a_refill_nothing_is_wanted() -> None:
    core = TimedCore()

    core.reserve(0, S)

    assert not core.new_errands()
    assert not core.begin_refill(0)


def test_a_queue_that_has_something_wants_no_refill() -> None:
    core = TimedCore(sync_interval=100 * S)
    core.insert(0, ["a"])

    core.reserve(0, S)

    assert not core.new_errands()
    assert not core.begin_refill(0)


def test_taking_less_than_the_limit_is_not_finding_nothing() -> None:
    core = TimedCore(sync_interval=100 * S)
    core.insert(0, ["a"])

    core.reserve_many(0, 5, S)

    assert not core.begin_refill(0)


def test_a_running_refill_is_not_begun_again() -> None:
    core = TimedCore(sync_interval=1 * S)
    core.reserve(0, S)
    core.begin_refill(0)
    core.new_errands()

    core.reserve(10 * S, S)

    assert not core.new_errands()
    assert not core.begin_refill(10 * S)
    assert core.next_deadline(waiting=True) is None


def test_the_next_refill_is_wanted_an_interval_after_the_end_of_the_last() -> None:
    core = TimedCore(sync_interval=5 * S)
    core.reserve(0, S)
    core.begin_refill(0)

    assert core.refilled(2 * S, []) == 0

    assert core.next_deadline(waiting=True) == 7 * S
    assert core.next_deadline(waiting=False) is None
    core.reserve(7 * S - 1, S)
    assert not core.begin_refill(7 * S - 1)
    core.reserve(7 * S, S)
    assert core.begin_refill(7 * S)


def test_an_interval_of_0_is_no_busy_loop() -> None:
    core = TimedCore(sync_interval=0)
    core.reserve(0, S)
    core.begin_refill(0)

    core.refilled(0, [])

    assert core.next_deadline(waiting=True) == MIN_REFILL_NS == 10_000_000


def test_a_wanted_refill_is_no_deadline() -> None:
    core = TimedCore(sync_interval=0)

    core.reserve(0, S)

    assert core.next_deadline(waiting=True) is None


def test_a_refill_inserts_what_it_brought_through_the_unique_check() -> None:
    core = TimedCore(sync_interval=0, unique=True)
    core.reserve(0, S)
    core.begin_refill(0)
    core.insert(0, ["a"])

    assert core.refilled(1, ["a", "b"]) == 1

    assert values(core, 1) == ["a", "b"]
    statistics = core.statistics(1)
    assert (statistics.refills, statistics.last_refill, statistics.refilling) == (1, 1, False)


def test_a_failed_refill_is_counted_and_keeps_the_interval() -> None:
    core = TimedCore(sync_interval=5 * S)
    core.reserve(0, S)
    core.begin_refill(0)

    core.refilled(1 * S, None)

    statistics = core.statistics(1)
    assert (statistics.refill_errors, statistics.last_refill) == (1, 0)
    assert core.next_deadline(waiting=True) == 6 * S


def test_a_refill_for_a_queue_that_was_closed_meanwhile_puts_nothing_in() -> None:
    core = TimedCore(sync_interval=0)
    core.reserve(0, S)
    core.begin_refill(0)
    core.close(0)

    assert core.refilled(1, ["a"]) == 0

    with pytest.raises(QueueClosedError):
        core.reserve(1, S)


def test_a_lost_refill_makes_room_for_the_next() -> None:
    core = TimedCore(sync_interval=5 * S)
    core.reserve(0, S)
    core.begin_refill(0)

    core.refill_lost(1 * S)
    core.refill_lost(1 * S)

    assert core.statistics(1 * S).refill_errors == 1
    assert core.next_deadline(waiting=True) == 5 * S


def test_a_restart_keeps_the_interval_and_a_running_refill() -> None:
    core = TimedCore(sync_interval=5 * S)
    core.reserve(0, S)
    core.begin_refill(0)

    core = TimedCore(sync_interval=5 * S, records=core.records)

    assert core.statistics(0).refilling
    core.refilled(2 * S, [])
    core = TimedCore(sync_interval=5 * S, records=core.records)
    assert core.next_deadline(waiting=True) == 7 * S


def test_a_paused_queue_wants_no_refill() -> None:
    core = TimedCore(sync_interval=0)
    core.pause(0, 10)

    core.reserve(0, S)

    assert not core.new_errands()
    assert core.next_deadline(waiting=True) == 10


def test_statistics_say_how_much_is_in_which_state() -> None:
    core = TimedCore(max_reservations=1, on_exhausted="other", unique=True)
    core.insert(0, ["deleted", "dead", "expired", "buried", "reserved", "ready", "ready"])
    core.insert(0, ["delayed"], delay=S)
    deleted, dead, _, buried, _ = core.reserve_many(0, 5, 5 * S)
    core.delete(1, [deleted.key])
    core.release(1, dead.key)
    core.bury(1, buried.key)
    core.advance(S)

    assert core.statistics(S + 1) == TimedStatistics(
        ready=2,
        reserved=2,
        buried=1,
        dead=1,
        oldest_age=1.000000001,
        inserted=7,
        duplicates=1,
        reserved_total=5,
        released=1,
        deleted=1,
        exhausted=1,
    )
    assert core.statistics(5 * S).expired == 2


def test_the_oldest_age_is_that_of_the_first_ready_message() -> None:
    core = TimedCore()
    assert core.statistics(0).oldest_age is None

    core.insert(1 * S, ["a"])
    core.insert(3 * S, ["b"])

    assert core.statistics(5 * S).oldest_age == 4.0
    core.delete(5 * S, [reserve(core, 5 * S).key])
    assert core.statistics(5 * S).oldest_age == 2.0


def test_length_counts_every_state_but_dead() -> None:
    core = TimedCore(max_reservations=1, on_exhausted="other")
    core.insert(0, ["dead", "buried", "reserved", "ready"])
    core.insert(0, ["delayed"], delay=S)
    dead, buried, _ = core.reserve_many(0, 3, 10 * S)
    core.release(0, dead.key)
    core.bury(0, buried.key)

    assert core.length(0) == 4


def test_peek_shows_the_first_in_their_order_and_changes_nothing() -> None:
    core = TimedCore()
    core.insert(5, ["b", "c"])
    core.insert(6, ["a"], priority=-1)
    reserve(core, 6)

    first = core.peek(7, "ready", 1)
    again = core.peek(7, "ready", 1)

    assert first == again
    assert (first[0].value, first[0].inserted_at, first[0].ready_at) == ("b", 5, 5)
    assert [message.state for message in core.peek(7, "reserved", 5)] == ["reserved"]


def test_an_unknown_state_is_refused() -> None:
    with pytest.raises(
        ValueError,
        match=r"^expected state to be one of ready, delayed, reserved, buried, got 'dead'$",
    ):
        check_peek_state("dead")


def lines(work: Callable[[], object]) -> int:
    """Count the lines of Python that some work takes."""
    count = 0

    def trace(_frame: FrameType, event: str, _arg: object) -> object:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)  # type: ignore[arg-type] # its own protocol
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def cycle(core: TimedCore, count: int) -> None:
    """Use every operation ``count`` times in one instant."""
    core.insert(1, range(count))
    core.insert(1, range(count), delay=5)
    core.insert(1, range(count), priority=1)
    keys = [each.key for each in core.reserve_many(1, count, S)]
    keys += [reserve(core, 1).key for _ in range(count)]
    keys = [core.touch(1, key, S).key for key in keys]
    keys = [core.prolongate(1, key, S).key for key in keys]
    for key in keys[: count // 2]:
        core.release(1, key)
    for key in keys[count // 2 : count]:
        core.bury(1, key)
    for _ in range(count // 2):
        core.kick(1)
    core.delete(1, keys[count:])
    core.remove(1, range(1, count, 2))
    core.advance(10)


def test_many_operations_in_one_instant_take_linear_time() -> None:
    few = lines(lambda: cycle(TimedCore(unique=False), 200))
    many = lines(lambda: cycle(TimedCore(unique=False), 2000))

    assert many < 11 * few


def test_expiries_of_a_whole_queue_take_linear_time() -> None:
    def expire(count: int) -> int:
        core = TimedCore()
        core.insert(0, range(count))
        for duration in range(count):
            reserve(core, 0, 1 + duration * 7919 % count)
        return lines(lambda: core.advance(S))

    assert expire(2000) < 11 * expire(200)


def test_a_wanted_refill_is_wanted_after_a_restart_too() -> None:
    core = TimedCore(sync_interval=0)
    core.reserve(0, S)

    core = TimedCore(sync_interval=0, records=core.records)

    assert core.new_errands()
    assert core.begin_refill(0)
    assert not TimedCore(sync_interval=0, records=core.records).new_errands()
