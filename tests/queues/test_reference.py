"""What timed_queue, the Erlang library, does, sentence by sentence: kept, or changed on purpose.

Its own tests check these sentences; the names of the tests say what holds here. Where we changed
something on purpose, the test says so with the word "here". Tested elsewhere:

- keys are unique, however many are given out in one instant:
  `tests/cores/test_order.py::test_keys_increase_strictly_within_one_instant_and_over_restarts`
- a bad option is an error at creation: `tests/test_options.py::test_a_bad_option_is_refused`
- a waiting taker is served exactly at a deadline: `queueactors.testing.TIMED_RULES`,
  ``an_expiry_wakes_the_first_taker_at_its_instant``
- the refill's interval, and that it is kept after a failure:
  `tests/cores/test_time.py::test_the_next_refill_is_wanted_an_interval_after_the_end_of_the_last`,
  `tests/cores/test_time.py::test_a_failed_refill_is_counted_and_keeps_the_interval`
- `values` go in once, not again at a restart: `queueactors.testing.TIMED_RULES`,
  ``initial_values_go_in_once``
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from queueactors import (
    ReservationExpiredError,
    ReservationNotFoundError,
    TimedQueue,
    open_runtime,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import Events

SECOND = 1_000_000_000  # nanoseconds


@asynccontextmanager
async def a_queue(**options: object) -> AsyncIterator[TimedQueue]:
    async with open_runtime() as runtime:
        yield await runtime.define("q", kind="timed", **({"reservation_time": 10} | options))


async def taken(queue: TimedQueue) -> list[object]:
    """Reserve all there is; return the values in their order."""
    values = []
    while (reservation := await queue.try_reserve()) is not None:
        values.append(reservation.value)
    return values


# -- insert ------------------------------------------------------------------------------------


async def test_what_is_inserted_is_available_at_once(autojump_clock: MockClock) -> None:
    async with a_queue() as queue:
        await queue.insert("a")

        assert await taken(queue) == ["a"]


async def test_a_value_that_is_available_is_not_inserted_again(autojump_clock: MockClock) -> None:
    async with a_queue(unique=True) as queue:
        await queue.insert("a")

        assert await queue.insert("a") == 0
        assert await queue.len() == 1


async def test_a_value_that_is_reserved_is_not_inserted_again(autojump_clock: MockClock) -> None:
    async with a_queue(unique=True) as queue:
        await queue.insert("a")
        await queue.reserve()

        assert await queue.insert("a") == 0
        assert await queue.len() == 1


async def test_without_unique_it_is(autojump_clock: MockClock) -> None:
    async with a_queue() as queue:
        await queue.insert("a", "a")

        assert await queue.len() == 2


async def test_values_are_compared_by_value(autojump_clock: MockClock) -> None:
    async with a_queue(unique=True) as queue:
        assert await queue.insert({"to": ["ann"]}, {"to": ["ann"]}, [1, 2], [1, 2], [2, 1]) == 3


async def test_a_cast_inserts_too(autojump_clock: MockClock) -> None:
    async with a_queue() as queue:
        queue.insert_nowait("a", "b")

        assert await taken(queue) == ["a", "b"]


# -- reserve -----------------------------------------------------------------------------------


async def test_an_empty_queue_says_so_at_once(autojump_clock: MockClock) -> None:
    async with a_queue() as queue:
        assert await queue.try_reserve() is None
        assert trio.current_time() == 0


async def test_a_queue_whose_messages_are_all_reserved_is_empty(autojump_clock: MockClock) -> None:
    async with a_queue() as queue:
        await queue.insert("a")
        await queue.reserve()

        assert await queue.try_reserve() is None


async def test_here_a_reserve_may_also_wait(autojump_clock: MockClock) -> None:
    async with a_queue() as queue:
        await queue.insert("a")
        await queue.reserve(7)

        assert (await queue.reserve()).attempt == 2
        assert trio.current_time() == 7


async def test_the_key_is_proof_of_the_reservation(autojump_clock: MockClock) -> None:
    async with a_queue() as queue:
        await queue.insert("a")
        key = (await queue.reserve()).key

        assert await queue.delete(key) == 1


async def test_a_reservation_lasts_as_long_as_asked_for(autojump_clock: MockClock) -> None:
    async with a_queue() as queue:
        await queue.insert("a")
        before = queue.clock.now_ns()

        assert (await queue.reserve(3)).deadline_at == before + 3 * SECOND


async def test_or_as_long_as_the_queue_says(autojump_clock: MockClock) -> None:
    async with a_queue(reservation_time=4) as queue:
        await queue.insert("a")
        before = queue.clock.now_ns()

        assert (await queue.reserve()).deadline_at == before + 4 * SECOND


async def test_messages_come_in_the_order_of_their_insertion(autojump_clock: MockClock) -> None:
    async with a_queue() as queue:
        await queue.insert("a", "b")
        await queue.insert("c")

        assert await taken(queue) == ["a", "b", "c"]


async def test_what_comes_back_queues_up_by_the_instant_at_which_it_came_back(
    autojump_clock: MockClock,
) -> None:
    async with a_queue() as queue:
        await queue.insert("expires at 3", "released at 2")
        await queue.reserve(3)
        second = await queue.reserve(9)
        await trio.sleep(1)
        await queue.insert("inserted at 1")
        await trio.sleep(1)
        await queue.release(second)
        await trio.sleep(2)
        await queue.insert("inserted at 4")

        assert await taken(queue) == [
            "inserted at 1",
            "released at 2",
            "expires at 3",
            "inserted at 4",
        ]


# -- max_reservations --------------------------------------------------------------------------


async def test_what_was_reserved_as_often_as_allowed_is_removed_and_the_next_one_tried(
    autojump_clock: MockClock,
) -> None:
    async with a_queue(max_reservations=2) as queue:
        await queue.insert("a")
        for _ in range(2):
            await queue.release(await queue.reserve())
        await queue.insert("b")

        assert (await queue.reserve()).value == "b"
        assert await queue.len() == 1


async def test_the_unique_value_of_what_was_removed_is_free(autojump_clock: MockClock) -> None:
    async with a_queue(max_reservations=1, unique=True) as queue:
        await queue.insert("a")
        await queue.reserve(1)
        await trio.sleep(1)
        await queue.try_reserve()

        assert await queue.insert("a") == 1


async def test_here_it_is_removed_when_the_last_reservation_ends_not_at_the_next_reserve(
    autojump_clock: MockClock,
) -> None:
    async with a_queue(max_reservations=1, unique=True) as queue:
        await queue.insert("a")
        await queue.reserve(1)
        await trio.sleep(1)

        assert await queue.len() == 0
        assert await queue.insert("a") == 1


async def test_here_the_removal_holds_though_the_reserve_finds_nothing(
    autojump_clock: MockClock,
) -> None:
    async with a_queue(max_reservations=1, unique=True) as queue:
        await queue.insert("a")
        await queue.reserve(1)
        await trio.sleep(1)

        assert await queue.try_reserve() is None
        assert (await queue.statistics()).exhausted == 1
        assert await queue.insert("a") == 1


async def test_without_a_limit_a_message_is_reserved_again_and_again(
    autojump_clock: MockClock,
) -> None:
    async with a_queue() as queue:
        await queue.insert("a")

        attempts = [(await queue.reserve(1)).attempt for _ in range(50)]

        assert attempts == list(range(1, 51))


# -- prolongate --------------------------------------------------------------------------------


async def test_prolongate_adds_to_the_old_deadline_not_to_now(autojump_clock: MockClock) -> None:
    async with a_queue() as queue:
        await queue.insert("a")
        held = await queue.reserve(5)
        await trio.sleep(4)

        assert (await queue.prolongate(held, 3)).deadline_at == held.deadline_at + 3 * SECOND


async def test_prolongate_takes_the_queues_own_time_too(autojump_clock: MockClock) -> None:
    async with a_queue(reservation_time=4) as queue:
        await queue.insert("a")
        held = await queue.reserve(1)

        assert (await queue.prolongate(held)).deadline_at == held.deadline_at + 4 * SECOND


async def test_prolongate_returns_a_new_key_and_the_value(autojump_clock: MockClock) -> None:
    async with a_queue() as queue:
        await queue.insert("a")
        held = await queue.reserve(5)

        longer = await queue.prolongate(held, 3)

        assert longer.value == "a"
        assert longer.key != held.key
        assert await queue.delete(longer) == 1


async def test_the_old_key_is_dead(autojump_clock: MockClock) -> None:
    async with a_queue() as queue:
        await queue.insert("a")
        held = await queue.reserve(5)
        await queue.prolongate(held, 3)

        with pytest.raises(ReservationNotFoundError):
            await queue.prolongate(held, 3)


@pytest.mark.parametrize("operation", ["prolongate", "release"])
async def test_an_unknown_key_does_not_exist(operation: str, autojump_clock: MockClock) -> None:
    async with a_queue() as queue:
        with pytest.raises(ReservationNotFoundError):
            await getattr(queue, operation)(12345)


@pytest.mark.parametrize("operation", ["prolongate", "release"])
async def test_a_key_at_its_deadline_has_expired(operation: str, autojump_clock: MockClock) -> None:
    async with a_queue() as queue:
        await queue.insert("a")
        held = await queue.reserve(5)
        await trio.sleep(5)

        with pytest.raises(ReservationExpiredError):
            await getattr(queue, operation)(held)


# -- release -----------------------------------------------------------------------------------


async def test_a_released_message_is_available_at_the_tail(autojump_clock: MockClock) -> None:
    async with a_queue() as queue:
        await queue.insert("a", "b")
        first = await queue.reserve()
        await trio.sleep(1)

        await queue.release(first)

        assert await taken(queue) == ["b", "a"]


async def test_a_release_keeps_the_count_of_reservations(autojump_clock: MockClock) -> None:
    async with a_queue(max_reservations=2) as queue:
        await queue.insert("a")
        await queue.release(await queue.reserve())

        assert (await queue.reserve()).attempt == 2


# -- delete ------------------------------------------------------------------------------------


async def test_a_live_reservation_is_deleted(autojump_clock: MockClock) -> None:
    async with a_queue() as queue:
        await queue.insert("a")

        queue.delete_nowait(await queue.reserve())

        assert await queue.len() == 0


async def test_the_unique_value_of_what_was_deleted_is_free(autojump_clock: MockClock) -> None:
    async with a_queue(unique=True) as queue:
        await queue.insert("a")
        await queue.delete(await queue.reserve())

        assert await queue.insert("a") == 1


async def test_unknown_and_expired_keys_are_silently_ignored_by_the_cast(
    events: Events, autojump_clock: MockClock
) -> None:
    async with a_queue() as queue:
        await queue.insert("a")
        held = await queue.reserve(1)
        await trio.sleep(1)

        queue.delete_nowait(held, 12345)

        assert await taken(queue) == ["a"]
        told = {event["event"] for event in events if "queue" in event}
    assert told == set()


async def test_here_an_awaited_delete_refuses_them(autojump_clock: MockClock) -> None:
    async with a_queue() as queue:
        await queue.insert("a")
        held = await queue.reserve(1)
        await trio.sleep(1)

        with pytest.raises(ReservationExpiredError) as caught:
            await queue.delete(held, 12345)

        assert caught.value.keys == (held.key, 12345)


async def test_here_an_expired_one_can_be_deleted_as_long_as_nobody_had_it_since(
    autojump_clock: MockClock,
) -> None:
    async with a_queue() as queue:
        await queue.insert("a", "b")
        first, second = await queue.reserve_many(2, 1)
        await trio.sleep(1)

        assert await queue.delete(first, expired_ok=True) == 1
        await queue.reserve()
        with pytest.raises(ReservationNotFoundError):
            await queue.delete(second, expired_ok=True)


# -- the server --------------------------------------------------------------------------------


async def test_a_queue_is_found_by_its_name(autojump_clock: MockClock) -> None:
    async with open_runtime() as runtime:
        queue = await runtime.define("q", reservation_time=1)

        assert runtime.queue("q") is queue


async def test_the_time_of_a_reservation_is_required(autojump_clock: MockClock) -> None:
    async with open_runtime() as runtime:
        with pytest.raises(TypeError, match=r"^reservation_time is required$"):
            await runtime.define("q")


async def test_values_are_there_from_the_start(autojump_clock: MockClock) -> None:
    async with a_queue(values=["a", "b", "a"], unique=True) as queue:
        assert await taken(queue) == ["a", "b"]


async def test_here_a_restart_keeps_everything(autojump_clock: MockClock) -> None:
    async with open_runtime() as runtime:
        queue = await runtime.define("q", reservation_time=10, values=["a", "b"])
        held = await queue.reserve()

        await runtime.restart("q")

        assert await taken(queue) == ["b"]
        assert await queue.delete(held) == 1


# -- the refill --------------------------------------------------------------------------------


async def test_a_reserve_that_finds_nothing_answers_so_and_asks_for_a_refill(
    autojump_clock: MockClock,
) -> None:
    async with a_queue(sync_fn=Calls(["a"]).refill, sync_interval=60) as queue:
        assert await queue.try_reserve() is None
        assert (await queue.reserve()).value == "a"


async def test_here_a_reserve_that_waits_gets_what_the_refill_brings(
    autojump_clock: MockClock,
) -> None:
    async with a_queue(sync_fn=Calls(["a"]).refill, sync_interval=60) as queue:
        assert (await queue.reserve()).value == "a"


async def test_the_first_reserve_that_finds_nothing_refills_whatever_the_interval(
    autojump_clock: MockClock,
) -> None:
    calls = Calls([])
    async with a_queue(sync_fn=calls.refill, sync_interval=1e6) as queue:
        await queue.try_reserve()
        await wait_all_tasks_blocked()

    assert calls.at == [0]


async def test_before_the_interval_is_over_there_is_no_refill(autojump_clock: MockClock) -> None:
    calls = Calls([])
    async with a_queue(sync_fn=calls.refill, sync_interval=10) as queue:
        for _ in range(25):
            await queue.try_reserve()
            await trio.sleep(1)

    assert calls.at == [0, 10, 20]


async def test_without_a_reserve_there_is_no_refill(autojump_clock: MockClock) -> None:
    calls = Calls([])
    async with a_queue(sync_fn=calls.refill, sync_interval=1) as queue:
        await queue.insert("a")
        await queue.reserve(100)
        await trio.sleep(50)

    assert calls.at == []


async def test_the_function_gets_its_arguments(autojump_clock: MockClock) -> None:
    async def between(first: int, last: int) -> list[int]:
        return list(range(first, last))

    async with a_queue(sync_fn=between, sync_args=[3, 5], sync_interval=1) as queue:
        assert await queue.sync() == 2
        assert await taken(queue) == [3, 4]


async def test_what_a_refill_brings_goes_through_the_unique_check(
    autojump_clock: MockClock,
) -> None:
    async with a_queue(sync_fn=Calls(["a", "b"]).refill, sync_interval=1, unique=True) as queue:
        await queue.insert("a")

        assert await queue.sync() == 1
        assert await queue.len() == 2


async def test_a_refill_that_raises_is_logged_and_the_queue_lives_on(
    events: Events, autojump_clock: MockClock
) -> None:
    async with a_queue(sync_fn=Calls(KeyError("no")).refill, sync_interval=1) as queue:
        await queue.try_reserve()
        await wait_all_tasks_blocked()
        assert await queue.insert("a") == 1
        assert (await queue.statistics()).restarts == 0

    (event,) = [each for each in events if each["event"] == "refill_failed"]
    assert (event["log_level"], event["error"]) == ("error", "KeyError: 'no'")


async def test_a_refill_that_fails_is_not_hammered(autojump_clock: MockClock) -> None:
    calls = Calls(KeyError("no"))
    async with a_queue(sync_fn=calls.refill, sync_interval=10) as queue:
        with pytest.raises(trio.TooSlowError):
            await queue.reserve(timeout=25)

    assert calls.at == [0, 10, 20]


async def test_here_the_queue_serves_others_meanwhile(autojump_clock: MockClock) -> None:
    async def slow() -> list[str]:
        await trio.sleep(5)
        return ["late"]

    async with a_queue(sync_fn=slow, sync_interval=1) as queue:
        await queue.try_reserve()
        await trio.sleep(1)

        assert await queue.insert("a") == 1
        assert await taken(queue) == ["a"]
        assert trio.current_time() == 1


async def test_here_a_sync_answers_when_it_is_done(autojump_clock: MockClock) -> None:
    async with a_queue(sync_fn=Calls(["a", "b"]).refill, sync_interval=1e6) as queue:
        assert await queue.sync() == 2
        assert await queue.sync() == 2


class Calls:
    """A refill that brings the same each time, or fails, and notes when it was called."""

    def __init__(self, brings: list[str] | Exception) -> None:
        self.brings = brings
        self.at: list[float] = []

    async def refill(self) -> list[str]:
        await trio.lowlevel.checkpoint()
        self.at.append(trio.current_time())
        if isinstance(self.brings, Exception):
            raise self.brings
        return self.brings
