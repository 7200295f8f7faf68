"""The timed core: what the holder of a reservation can do, and when it is too late."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from queueactors import ReservationExpiredError, ReservationNotFoundError
from queueactors.cores.timed import Reservation, TimedCore

from .kit import S, reserve, values

if TYPE_CHECKING:
    from collections.abc import Callable

USES: dict[str, Callable[[TimedCore, int, int], object]] = {
    "prolongate": lambda core, now, key: core.prolongate(now, key, S),
    "touch": lambda core, now, key: core.touch(now, key, S),
    "release": lambda core, now, key: core.release(now, key),
    "delete": lambda core, now, key: core.delete(now, [key]),
    "bury": lambda core, now, key: core.bury(now, key),
}
use_it = pytest.mark.parametrize("use", USES.values(), ids=USES)


@pytest.fixture
def core() -> TimedCore:
    core = TimedCore()
    core.insert(0, ["a"])
    return core


def test_a_reservation_says_what_it_is(core: TimedCore) -> None:
    reservation = core.reserve(5, 10)

    assert reservation == Reservation(
        id=1, key=5, value="a", deadline_at=15, attempt=1, inserted_at=0
    )


def test_prolongate_adds_to_the_deadline(core: TimedCore) -> None:
    first = reserve(core, 0, 10)

    second = core.prolongate(3, first.key, 10)

    assert second.deadline_at == 20
    assert (second.id, second.value, second.attempt) == (first.id, "a", 1)


def test_touch_counts_from_now(core: TimedCore) -> None:
    first = reserve(core, 0, 10)

    assert core.touch(3, first.key, 4).deadline_at == 7


def test_a_shortened_reservation_ends_at_its_new_deadline(core: TimedCore) -> None:
    core.touch(3, reserve(core, 0, 100).key, 4)

    assert values(core, 6) == []
    assert values(core, 7) == ["a"]


@use_it
def test_a_reservation_can_be_used_until_its_last_nanosecond(
    core: TimedCore, use: Callable[[TimedCore, int, int], object]
) -> None:
    first = reserve(core, 0, 10)

    use(core, 9, first.key)

    assert values(core, 9, "reserved") == [] or core.peek(9, "reserved")


@use_it
def test_at_its_deadline_a_reservation_has_expired(
    core: TimedCore, use: Callable[[TimedCore, int, int], object]
) -> None:
    first = reserve(core, 0, 10)

    with pytest.raises(ReservationExpiredError) as caught:
        use(core, 10, first.key)

    assert caught.value.keys == (first.key,)
    assert values(core, 10) == ["a"]


@use_it
@pytest.mark.parametrize("end", USES)
def test_a_used_up_key_is_not_found(
    core: TimedCore, use: Callable[[TimedCore, int, int], object], end: str
) -> None:
    first = reserve(core, 0, 10)
    USES[end](core, 1, first.key)

    with pytest.raises(ReservationNotFoundError) as caught:
        use(core, 2, first.key)

    assert caught.value.keys == (first.key,)


@use_it
def test_a_reservation_that_expired_and_was_taken_by_another_is_not_found(
    core: TimedCore, use: Callable[[TimedCore, int, int], object]
) -> None:
    first = reserve(core, 0, 10)
    second = reserve(core, 10, 10)

    with pytest.raises(ReservationNotFoundError):
        use(core, 11, first.key)

    assert core.delete(11, [second.key]) == 1


@use_it
def test_a_reservation_that_expired_after_another_had_it_stays_not_found(
    core: TimedCore, use: Callable[[TimedCore, int, int], object]
) -> None:
    first = reserve(core, 0, 10)
    reserve(core, 10, 10)

    with pytest.raises(ReservationNotFoundError):
        use(core, 30, first.key)


@use_it
def test_a_key_that_never_was_is_not_found(
    core: TimedCore, use: Callable[[TimedCore, int, int], object]
) -> None:
    with pytest.raises(ReservationNotFoundError):
        use(core, 1, 12345)


@use_it
def test_a_restart_forgets_neither_live_nor_expired_reservations(
    core: TimedCore, use: Callable[[TimedCore, int, int], object]
) -> None:
    core.insert(0, ["b"])
    expired, live = reserve(core, 0, 10), reserve(core, 0, 100)
    core.advance(10)

    core = TimedCore(records=core.records)

    with pytest.raises(ReservationExpiredError):
        use(core, 20, expired.key)
    use(core, 20, live.key)


def test_a_refused_use_changes_nothing(core: TimedCore) -> None:
    first = reserve(core, 0, 10)

    with pytest.raises(ReservationExpiredError):
        core.release(10, first.key, delay=5, priority=3, error="late")

    (message,) = core.peek(10)
    assert (message.priority, message.error, message.ready_at) == (0, None, 10)


def test_delete_finishes_the_live_ones_and_names_all_stale_ones(core: TimedCore) -> None:
    core.insert(0, "bcd")
    expired, taken, live, other = (reserve(core, 0, 10 + 90 * (n > 1)) for n in range(4))
    reserve(core, 10)
    reserve(core, 10)
    core.release(10, other.key)

    with pytest.raises(ReservationNotFoundError) as caught:
        core.delete(11, [taken.key, live.key, expired.key, other.key])

    assert caught.value.keys == (taken.key, expired.key, other.key)
    assert core.length(11) == 3


@pytest.mark.parametrize(
    ("order", "error"), [((0, 1), ReservationExpiredError), ((1, 0), ReservationNotFoundError)]
)
def test_delete_raises_what_the_first_stale_one_deserves(
    core: TimedCore, order: tuple[int, int], error: type[Exception]
) -> None:
    keys = reserve(core, 0, 10).key, 999

    with pytest.raises(error) as caught:
        core.delete(10, [keys[each] for each in order])

    assert caught.value.keys == tuple(keys[each] for each in order)  # type: ignore[attr-defined]


def test_delete_of_nothing_finishes_nothing(core: TimedCore) -> None:
    assert core.delete(0, []) == 0
    assert core.length(0) == 1


@pytest.mark.parametrize("now", [1, 10 * S])
def test_the_same_key_twice_counts_once(now: int, core: TimedCore) -> None:
    key = reserve(core, 0).key

    assert core.delete(now, [key, key], expired_ok=True) == 1
    assert core.statistics(now).deleted == 1


def test_a_stale_key_that_is_given_twice_is_named_once(core: TimedCore) -> None:
    key = reserve(core, 0).key

    with pytest.raises(ReservationNotFoundError) as caught:
        core.delete(1, [7, key, 8, key, 7])

    assert caught.value.keys == (7, 8)
    assert core.length(1) == 0


def test_expired_ok_finishes_an_expired_one(core: TimedCore) -> None:
    first = reserve(core, 0, 10)

    assert core.delete(10, [first.key], expired_ok=True) == 1
    assert core.length(10) == 0
    assert core.reserve(10, S) is None


def test_expired_ok_does_not_take_from_somebody_else(core: TimedCore) -> None:
    first = reserve(core, 0, 10)
    reserve(core, 10, 10)

    with pytest.raises(ReservationNotFoundError):
        core.delete(11, [first.key], expired_ok=True)


def test_expired_ok_does_not_take_from_who_had_it_since(core: TimedCore) -> None:
    first = reserve(core, 0, 10)
    core.release(11, reserve(core, 10, 10).key)

    with pytest.raises(ReservationNotFoundError):
        core.delete(12, [first.key], expired_ok=True)

    assert core.length(12) == 1


def test_many_expired_ones_that_are_finished_late_leave_nothing_behind() -> None:
    core = TimedCore()
    core.insert(0, ["first"])
    for now in range(0, 1000, 10):
        core.insert(now, range(10))
        keys = [each.key for each in core.reserve_many(now, 11, 5)][1:]
        core.delete(now + 5, keys, expired_ok=True)

    assert core.length(1000) == 1
    assert core._ready.kept < 200  # noqa: SLF001 - its size is the point


def test_removed_ready_ones_leave_nothing_behind() -> None:
    core = TimedCore()
    core.insert(0, ["first"])
    core.insert(0, ["first"], priority=-1)

    for number in range(3, 1003):
        core.insert(0, [number], priority=number % 2)
        core.remove(0, [number])

    assert core._ready.kept < 200  # noqa: SLF001 - its size is the point


def test_removed_delayed_ones_leave_nothing_behind() -> None:
    core = TimedCore()

    for number in range(1, 1001):
        core.insert(0, [number], delay=S)
        core.remove(0, [number])

    assert core.statistics(0).delayed == 0
    assert core._delayed.kept < 200  # noqa: SLF001 - its size is the point


def test_touched_reservations_leave_nothing_behind() -> None:
    core = TimedCore()
    core.insert(0, "ab")
    reserve(core, 0, 1000 * S)
    key = reserve(core, 0, S).key

    for now in range(1000):
        key = core.touch(now, key, S).key

    assert core._others.kept < 200  # noqa: SLF001 - its size is the point


def test_messages_buried_and_removed_leave_nothing_behind() -> None:
    core = TimedCore()

    for number in range(1, 1001):
        core.insert(0, [number])
        core.bury(0, reserve(core, 0).key)
        core.remove(0, [number])

    assert core._buried.kept < 200  # noqa: SLF001 - its size is the point
