"""The timed core: the last allowed reservation, burying, and dead letters."""

from __future__ import annotations

import pytest

from queueactors import QueueClosedError, ReservationNotFoundError
from queueactors.cores.timed import DeadLetter, TimedCore

from .kit import S, reserve, values


def test_a_message_is_reserved_as_often_as_allowed_and_no_more() -> None:
    core = TimedCore(max_reservations=3)
    core.insert(0, ["a"])

    attempts = []
    now = 0
    while (reservation := core.reserve(now, 10)) is not None:
        attempts.append(reservation.attempt)
        now += 10

    assert attempts == [1, 2, 3]


def test_it_is_gone_when_its_last_reservation_ends_not_at_the_next_reserve() -> None:
    core = TimedCore(max_reservations=1, unique=True)
    core.insert(0, ["a"])
    reserve(core, 0, 10)

    assert core.insert(9, ["a"]) == 0
    assert core.insert(10, ["a"]) == 1


def test_a_release_ends_the_last_reservation_too() -> None:
    core = TimedCore(max_reservations=1)
    core.insert(0, ["a"])

    core.release(1, reserve(core, 0).key, delay=5)

    assert core.length(1) == 0


def test_the_last_reservation_can_be_extended_and_finished() -> None:
    core = TimedCore(max_reservations=1)
    core.insert(0, ["a"])
    key = core.touch(1, reserve(core, 0, 10).key, 10).key
    key = core.prolongate(2, key, 10).key

    assert core.delete(20, [key]) == 1
    assert core.statistics(20).exhausted == 0


def test_the_purge_of_exhausted_ones_holds_when_the_reserve_finds_nothing() -> None:
    core = TimedCore(max_reservations=1, unique=True)
    core.insert(0, ["a"])
    reserve(core, 0, 10)

    assert core.reserve(10, 10) is None
    assert core.length(10) == 0
    assert core.insert(10, ["a"]) == 1


def test_a_dropped_message_is_told_and_counted() -> None:
    core = TimedCore(max_reservations=1)
    core.insert(0, ["a"])

    core.release(1, reserve(core, 0).key, error="bad")

    assert core.notices == [("message_dropped", {"id": 1, "attempts": 1, "error": "bad"})]
    assert core.statistics(1).exhausted == 1


def test_in_one_instant_reservations_end_in_the_order_in_which_they_were_made() -> None:
    core = TimedCore(max_reservations=1)
    core.insert(1, ["a", "b"])
    long = reserve(core, 1, 10)
    reserve(core, 1, 5)

    core.touch(1, long.key, 5)  # a reservation anew

    core.advance(6)
    assert [facts["id"] for _, facts in core.notices] == [2, 1]


def test_an_exhausted_message_can_be_buried() -> None:
    core = TimedCore(max_reservations=1, on_exhausted="bury", unique=True)
    core.insert(0, ["a"])

    core.release(1, reserve(core, 0).key, error="bad")

    (message,) = core.peek(1, "buried")
    assert (message.value, message.attempts, message.error) == ("a", 1, "bad")
    assert core.insert(1, ["a"]) == 0
    assert core.notices == [("message_buried", {"id": 1, "attempts": 1, "error": "bad"})]


def test_an_exhausted_message_becomes_a_dead_letter() -> None:
    core = TimedCore(max_reservations=2, on_exhausted="other", name="here")
    core.insert(3, ["a"])
    core.release(4, reserve(core, 4).key, error="bad")

    reserve(core, 4, 10)
    core.advance(14)

    letter = DeadLetter(value="a", queue="here", id=1, attempts=2, error="bad", inserted_at=3)
    assert core.dead_letters(14) == [letter]
    assert core.notices == [("message_dead", {"id": 1, "attempts": 2, "error": "bad"})]
    assert core.length(14) == 0
    assert core.statistics(14).dead == 1


def test_a_dead_letter_is_there_until_it_is_removed_also_after_a_restart() -> None:
    core = TimedCore(max_reservations=1, on_exhausted="other")
    core.insert(0, ["a"])
    core.release(0, reserve(core, 0).key)

    core = TimedCore(on_exhausted="other", records=core.records)

    assert core.new_errands()
    assert [letter.id for letter in core.dead_letters(1)] == [1]
    assert core.remove(1, [1]) == 1
    assert core.dead_letters(1) == []


def test_dead_letters_come_in_portions() -> None:
    core = TimedCore(max_reservations=1, on_exhausted="other")
    core.insert(0, range(600))
    core.reserve_many(0, 600, 10)
    core.advance(10)

    portions = []
    while letters := core.dead_letters(10):
        portions.append(len(letters))
        core.remove(10, [letter.id for letter in letters])

    assert portions == [256, 256, 88]


def test_a_dead_letter_that_is_refused_is_buried() -> None:
    core = TimedCore(max_reservations=1, on_exhausted="other")
    core.insert(0, ["a"])
    core.release(0, reserve(core, 0).key, error="bad")

    core.bury_dead(1, 1)
    core.bury_dead(1, 1)
    core.bury_dead(1, 2)

    assert values(core, 1, "buried") == ["a"]
    assert core.peek(1, "buried")[0].error == "bad"


def test_clear_leaves_dead_letters_alone() -> None:
    core = TimedCore(max_reservations=1, on_exhausted="other")
    core.insert(0, ["dead", "alive"])
    core.release(0, reserve(core, 0).key)

    assert core.clear(1) == 1
    assert [letter.value for letter in core.dead_letters(1)] == ["dead"]


def test_there_are_new_errands_once_for_each_new_dead_letter() -> None:
    core = TimedCore(max_reservations=1, on_exhausted="other")
    core.insert(0, ["a", "b"])
    first, second = reserve(core, 0, 10), reserve(core, 0, 20)
    assert not core.new_errands()

    core.release(1, first.key)
    assert core.new_errands()
    assert not core.new_errands()

    core.release(2, second.key)
    assert core.new_errands()
    assert not core.new_errands()


def test_a_buried_message_is_not_handed_out_until_it_is_kicked() -> None:
    core = TimedCore()
    core.insert(0, ["a"])

    core.bury(1, reserve(core, 0).key, error="bad")

    assert core.reserve(1000 * S, S) is None
    assert core.kick(1000 * S) == 1
    assert reserve(core, 1000 * S).value == "a"


def test_bury_without_an_error_keeps_the_last_one() -> None:
    core = TimedCore()
    core.insert(0, ["a"])
    core.release(0, reserve(core, 0).key, error="bad")

    core.bury(0, reserve(core, 0).key)

    assert core.peek(0, "buried")[0].error == "bad"


def test_kick_starts_the_attempts_again() -> None:
    core = TimedCore(max_reservations=1, on_exhausted="bury")
    core.insert(0, ["a"])
    core.release(0, reserve(core, 0).key)

    core.kick(5)

    assert reserve(core, 5).attempt == 1


@pytest.mark.parametrize("restart", [False, True])
def test_kick_takes_the_oldest_messages_first(restart: bool) -> None:  # noqa: FBT001
    core = TimedCore()
    core.insert(0, "abc")
    for reservation in reversed(core.reserve_many(0, 3, S)):
        core.bury(1, reservation.key)
    if restart:
        core = TimedCore(records=core.records)

    assert core.kick(2, 2) == 2

    assert values(core, 2) == ["a", "b"]
    assert values(core, 2, "buried") == ["c"]
    assert core.kick(2, 2) == 1
    assert core.kick(2, 2) == 0


def test_kick_passes_over_removed_ones() -> None:
    core = TimedCore()
    core.insert(0, "abc")
    for reservation in core.reserve_many(0, 3, S):
        core.bury(1, reservation.key)
    core.remove(1, [1, 2])

    assert core.kick(2, 2) == 1
    assert values(core, 2) == ["c"]


def test_kicked_messages_keep_their_priority() -> None:
    core = TimedCore()
    core.insert(0, ["low"], priority=1)
    core.bury(0, reserve(core, 0).key)
    core.insert(0, ["usual"])

    core.kick(0)

    assert values(core, 0) == ["usual", "low"]


def test_remove_takes_messages_out_in_every_state() -> None:
    core = TimedCore(unique=True)
    core.insert(0, ["reserved", "expired", "buried", "ready"])
    reserved, _, buried = (reserve(core, 0, duration) for duration in (100, 10, 100))
    core.insert(0, ["delayed"], delay=S)
    core.bury(1, buried.key)

    assert core.remove(10, [1, 2, 3, 4, 5, 5, 6]) == 5

    assert core.length(10) == 0
    with pytest.raises(ReservationNotFoundError):
        core.delete(11, [reserved.key])
    assert core.insert(11, ["reserved", "expired", "buried", "ready", "delayed"]) == 5
    assert core.next_deadline(waiting=True) is None


def test_clear_voids_reservations() -> None:
    core = TimedCore()
    core.insert(0, ["a", "b", "c"])
    key = reserve(core, 0).key
    core.insert(0, ["d"], delay=S)

    assert core.clear(1) == 4

    assert core.length(1) == 0
    assert core.clear(1) == 0
    assert core.next_deadline(waiting=False) is None
    with pytest.raises(ReservationNotFoundError):
        core.release(1, key)


def test_a_closed_queue_takes_nothing_in() -> None:
    core = TimedCore(name="q")

    core.close(0)
    core.close(0)

    with pytest.raises(QueueClosedError, match=r"^queue 'q' is closed$"):
        core.insert(0, ["a"])


def test_what_is_in_a_closed_queue_can_be_taken_and_finished() -> None:
    core = TimedCore()
    core.insert(0, ["a"])
    core.insert(0, ["b"], delay=10)
    core.close(0)

    key = core.touch(0, reserve(core, 0).key, 5).key
    assert core.reserve(1, S) is None  # it may come back
    core.release(2, key)
    assert core.delete(3, [reserve(core, 3).key]) == 1
    assert core.reserve_many(4, 5, S) == []  # one is delayed
    assert core.delete(10, [reserve(core, 10).key]) == 1
    with pytest.raises(QueueClosedError):
        core.reserve(10, S)
    with pytest.raises(QueueClosedError):
        core.reserve_many(10, 5, S)


@pytest.mark.parametrize("on_exhausted", ["drop", "bury", "other"])
def test_a_closed_queue_whose_last_message_is_exhausted_is_drained(on_exhausted: str) -> None:
    core = TimedCore(max_reservations=1, on_exhausted=on_exhausted)
    core.insert(0, ["a"])
    reserve(core, 0, 10)
    core.close(0)

    with pytest.raises(QueueClosedError):
        core.reserve(10, S)


def test_a_paused_queue_hands_nothing_out_but_takes_in() -> None:
    core = TimedCore()
    core.insert(0, ["a", "b"])
    held = reserve(core, 0, 10)

    core.pause(1)

    assert core.reserve(1000, S) is None
    assert core.reserve_many(1000, 2, S) == []
    assert core.insert(1000, ["c"]) == 1
    assert values(core, 1000) == ["b", "a", "c"]
    assert core.statistics(1000).paused
    with pytest.raises(ReservationNotFoundError):
        core.delete(1000, [held.key + 1])
    core.resume(1001)
    assert reserve(core, 1001).value == "b"


def test_a_pause_ends_exactly_after_its_time() -> None:
    core = TimedCore()
    core.insert(0, ["a", "b"])

    core.pause(5, 10)

    assert core.next_deadline(waiting=True) == 15
    assert core.next_deadline(waiting=False) is None
    assert core.reserve(14, S) is None
    assert core.statistics(14).paused
    assert not core.statistics(15).paused
    assert [each.value for each in core.reserve_many(15, 1, S)] == ["a"]
    assert reserve(core, 15).value == "b"
    assert core.next_deadline(waiting=True) == 15 + S


def test_a_restart_keeps_pause_and_close() -> None:
    core = TimedCore()
    core.insert(0, ["a"])
    core.pause(0)
    core.close(0)

    core = TimedCore(records=core.records)

    assert core.reserve(1, S) is None
    with pytest.raises(QueueClosedError):
        core.insert(1, ["b"])


def test_initial_values_go_in_once_at_the_first_instant() -> None:
    core = TimedCore()
    core.records.initial = ("a", "b")

    core = TimedCore(records=core.records)
    assert core.length(7) == 2
    core = TimedCore(records=core.records)

    assert [(message.value, message.inserted_at) for message in core.peek(8, "ready", 3)] == [
        ("a", 7),
        ("b", 7),
    ]


def test_initial_values_are_in_a_queue_that_is_closed_at_once() -> None:
    core = TimedCore()
    core.records.initial = ("a",)
    core = TimedCore(records=core.records)

    core.close(7)

    assert reserve(core, 7).value == "a"
