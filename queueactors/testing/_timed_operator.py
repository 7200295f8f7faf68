"""The contract of a timed queue: burying, removing, pausing, refilling now, and submitting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final

import trio
from trio.testing import wait_all_tasks_blocked

from queueactors import (
    QueueClosedError,
    RefillError,
    ReservationExpiredError,
    ReservationNotFoundError,
)

from ._timed_kit import (
    FOREVER,
    SECOND,
    MakeStore,
    TimedRule,
    a_queue,
    a_runtime,
    drain,
    equal,
    refused,
    start_calls,
    start_takers,
    values_in,
)

if TYPE_CHECKING:
    from queueactors import Reservation

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


# -- at ----------------------------------------------------------------------------------------


async def _a_message_is_ready_at_the_instant_it_was_inserted_for(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        at = queue.clock.now_ns() + 5 * SECOND
        equal(await queue.insert("a", at=at), 1)
        (message,) = await queue.peek("delayed")
        equal(message.ready_at, at)
        await queue.reserve()
        if not at <= queue.clock.now_ns() <= at + 1000:  # its float resolution
            raise AssertionError(f"expected {at}, got {queue.clock.now_ns()}")


async def _an_instant_may_be_a_datetime_of_any_time_zone(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        microseconds = queue.clock.now_ns() // 1000 + 5_000_000
        moment = EPOCH + timedelta(microseconds=microseconds)
        queue.insert_nowait("a", at=moment.astimezone(timezone(timedelta(hours=5))))
        (message,) = await queue.peek("delayed")
        equal(message.ready_at, microseconds * 1000)


async def _an_instant_that_has_passed_is_now(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await queue.insert("a")
        now = queue.clock.now_ns()
        await queue.insert("b", at=now - 5 * SECOND)
        await queue.insert("c", at=now)
        equal([message.ready_at for message in await queue.peek("ready", 9)], [now] * 3)
        equal(await drain(queue), ["a", "b", "c"])


# -- bury, kick, remove ------------------------------------------------------------------------


async def _a_buried_message_is_nobodys_until_it_is_kicked(make: MakeStore) -> None:
    async with a_queue(make, unique=True) as queue:
        await queue.insert("a")
        held = await queue.reserve()
        await queue.bury(held, error="bad")
        equal(await queue.try_reserve(), None)
        (message,) = await queue.peek("buried")
        equal((message.value, message.attempts, message.error), ("a", 1, "bad"))
        equal((await queue.len(), await queue.insert("a")), (1, 0))
        with refused(ReservationNotFoundError):
            await queue.delete(held)
        equal(await queue.kick(), 1)
        equal((await queue.reserve()).attempt, 1)


async def _only_a_live_reservation_can_be_buried(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await queue.insert("a")
        held = await queue.reserve(1)
        await trio.sleep(1)
        with refused(ReservationExpiredError):
            await queue.bury(held)
        with refused(ReservationNotFoundError):
            await queue.bury(12345)
        equal(await values_in(queue), ["a"])


async def _kick_takes_the_oldest_and_wakes_takers(make: MakeStore) -> None:
    async with a_queue(make) as queue, trio.open_nursery() as nursery:
        await queue.insert("a", "b", "c", "d")
        for reservation in reversed(await queue.reserve_many(4)):
            await queue.bury(reservation)
        first, second = await start_takers(nursery, queue, "ab", [])
        equal(await queue.kick(2), 2)
        await wait_all_tasks_blocked()
        equal((first.outcome, second.outcome), ("a", "b"))
        equal(await queue.kick(9), 2)
        equal(await queue.kick(), 0)
        equal(await drain(queue), ["c", "d"])


async def _attempts_start_again_after_a_kick(make: MakeStore) -> None:
    async with a_queue(make, max_reservations=1, on_exhausted="bury") as queue:
        await queue.insert("a")
        for _ in range(2):
            held = await queue.reserve()
            equal(held.attempt, 1)
            await queue.release(held)
            equal(await values_in(queue, "buried"), ["a"])
            equal(await queue.kick(), 1)


async def _remove_takes_messages_out_in_any_state(make: MakeStore) -> None:
    async with a_queue(make, unique=True) as queue:
        await queue.insert("buried", "reserved", "expired", "ready", "kept")
        await queue.insert("delayed", delay=60)
        buried, reserved, expired = await queue.reserve_many(3, 30)
        await queue.bury(buried)
        await queue.touch(expired, 1)
        await trio.sleep(1)
        ids = [
            message.id
            for state in ("ready", "delayed", "reserved", "buried")
            for message in await queue.peek(state, 9)
            if message.value != "kept"
        ]
        equal(await queue.remove(*ids, ids[0], 12345), 5)
        equal(await queue.remove(*ids), 0)
        for reservation in (reserved, expired):
            with refused(ReservationNotFoundError):
                await queue.delete(reservation, expired_ok=True)
        equal((await queue.len(), await queue.kick()), (1, 0))
        equal(await queue.insert("buried", "reserved", "expired", "ready", "delayed"), 5)
        equal((await drain(queue))[0], "kept")


# -- pause -------------------------------------------------------------------------------------


async def _a_paused_queue_takes_in_but_hands_nothing_out(make: MakeStore) -> None:
    async with a_queue(make) as queue, trio.open_nursery() as nursery:
        await queue.insert("held")
        held = await queue.reserve()
        (taker,) = await start_takers(nursery, queue, "a", [])
        await queue.pause()
        equal(await queue.insert("a"), 1)
        await wait_all_tasks_blocked()
        equal((taker.outcome, await queue.try_reserve()), (None, None))
        with refused(trio.TooSlowError):
            await queue.reserve_many(5, timeout=1)
        equal(((await queue.statistics()).paused, await queue.delete(held)), (True, 1))
        await queue.resume()
        await queue.resume()
        await wait_all_tasks_blocked()
        equal((taker.outcome, (await queue.statistics()).paused), ("a", False))


async def _a_timed_pause_ends_exactly_and_wakes_takers(make: MakeStore) -> None:
    async with a_queue(make) as queue, trio.open_nursery() as nursery:
        await queue.insert("a")
        await queue.pause(50)
        await queue.pause(5)
        end = queue.clock.now_ns() + 5 * SECOND
        (taker,) = await start_takers(nursery, queue, "a", [])
        equal(taker.outcome, None)
        await trio.sleep(10)
        equal(taker.outcome, "a")
        if not end <= (taker.at_ns or 0) <= end + 1000:  # its float resolution
            raise AssertionError(f"expected {end}, got {taker.at_ns}")


async def _a_pause_survives_a_restart(make: MakeStore) -> None:
    async with a_runtime(make) as runtime:
        queue = await runtime.define("q", reservation_time=30)
        await queue.insert("a")
        await queue.pause(5)
        await runtime.restart("q")
        equal(await queue.try_reserve(), None)
        await trio.sleep(5)
        equal((await queue.reserve(timeout=0)).value, "a")
        await queue.pause()
        await runtime.restart("q")
        equal((await queue.statistics()).paused, True)


async def _a_paused_queue_that_is_closed_and_drained_says_so(make: MakeStore) -> None:
    async with a_queue(make) as queue, trio.open_nursery() as nursery:
        await queue.pause()
        (taker,) = await start_takers(nursery, queue, "a", [])
        await queue.close()
        await wait_all_tasks_blocked()
        equal(taker.outcome, QueueClosedError)


# -- sync --------------------------------------------------------------------------------------


async def _sync_refills_now_and_says_how_many_went_in(make: MakeStore) -> None:
    calls = 0

    async def refill() -> list[object]:
        nonlocal calls
        calls += 1
        return ["a", "b", calls]

    async with a_queue(make, sync_fn=refill, sync_interval=1e6, unique=True) as queue:
        equal([await queue.sync(), await queue.sync()], [3, 1])
        equal(await values_in(queue), ["a", "b", 1, 2])
        numbers = await queue.statistics()
        equal((numbers.refills, numbers.last_refill, numbers.duplicates), (2, 1, 2))


async def _a_sync_that_brings_nothing_is_over_too(make: MakeStore) -> None:
    async def refill() -> list[object]:
        return []

    async with a_queue(make, sync_fn=refill, sync_interval=10) as queue:
        equal(await queue.sync(), 0)


async def _those_who_sync_at_once_share_one_refill(make: MakeStore) -> None:
    calls = 0

    async def refill() -> list[int]:
        nonlocal calls
        calls += 1
        await trio.sleep(5)
        return [calls]

    async with a_queue(make, sync_fn=refill, sync_interval=10) as queue:
        async with trio.open_nursery() as nursery:
            first, second = await start_calls(nursery, queue.sync, queue.sync)
            with trio.move_on_after(1):
                await queue.sync()
            reply = queue.submit.sync()
        equal((first.outcome, second.outcome, reply.get_nowait(), calls), (1, 1, 1, 1))
        equal((await queue.sync(), calls), (1, 2))


async def _a_sync_joins_a_refill_that_a_taker_asked_for(make: MakeStore) -> None:
    calls = 0

    async def refill() -> list[int]:
        nonlocal calls
        calls += 1
        await trio.sleep(5)
        return [1, 2]

    async with a_queue(make, sync_fn=refill, sync_interval=10) as queue:
        await queue.try_reserve()
        await trio.sleep(1)
        equal((await queue.sync(), calls), (2, 1))


async def _the_failure_of_a_refill_is_raised_to_those_who_sync(make: MakeStore) -> None:
    error = KeyError("no")
    answers: list[object] = [error, "rubbish", [1]]

    async def refill() -> object:
        await trio.sleep(1)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with a_queue(make, sync_fn=refill, sync_interval=10) as queue:
        async with trio.open_nursery() as nursery:
            callers = await start_calls(nursery, queue.sync, queue.sync)
            with refused(RefillError) as refusal:
                await queue.sync()
        equal([caller.outcome for caller in callers], [RefillError] * 2)
        equal(str(refusal.error), "the refill of queue 'q' failed: KeyError: 'no'")
        equal(refusal.error and refusal.error.__cause__, error)
        with refused(RefillError):
            await queue.sync()
        equal(await queue.sync(), 1)
        equal((await queue.statistics()).refill_errors, 2)


async def _a_closed_queue_is_not_refilled(make: MakeStore) -> None:
    async def refill() -> list[int]:
        await trio.sleep(5)
        return [1]

    async with (
        a_queue(make, sync_fn=refill, sync_interval=10) as queue,
        trio.open_nursery() as nursery,
    ):
        (caller,) = await start_calls(nursery, queue.sync)
        await queue.close()
        await wait_all_tasks_blocked()
        equal(caller.outcome, QueueClosedError)
        with refused(QueueClosedError):
            await queue.sync()
        await trio.sleep(10)
        equal(await queue.len(), 0)


async def _without_sync_fn_there_is_nothing_to_sync(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        with refused(ValueError) as refusal:
            await queue.sync()
        equal(str(refusal.error), "queue 'q' has no sync_fn to call; define it with one")


# -- submit ------------------------------------------------------------------------------------


async def _a_submitted_operation_is_answered_later(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        inserted = queue.submit.insert("a", "b", priority=3)
        reserved = queue.submit.reserve(7)
        equal((inserted.is_ready, reserved.is_ready, queue.inflight_ops), (False, False, 2))
        with refused(trio.WouldBlock):
            inserted.get_nowait()
        equal((await inserted.get(), await inserted.get()), (2, 2))
        held: Reservation = reserved.get_nowait()
        equal((held.value, queue.inflight_ops), ("a", 0))
        numbers = await queue.submit.statistics().get()
        equal((numbers.reserved, numbers.ready, numbers.waiting), (1, 1, 0))
        refusal = queue.submit.delete(12345)
        with refused(ReservationNotFoundError):
            await refusal.get()
        equal(await queue.submit.delete(held).get(), 1)


async def _every_operation_that_answers_can_be_submitted(make: MakeStore) -> None:
    async def refill() -> list[str]:
        return ["refilled"]

    async with a_queue(make, sync_fn=refill, sync_interval=10) as queue:
        submit = queue.submit
        equal(await submit.insert("a", "b", "c", "d").get(), 4)
        equal(await submit.wait_insert("e").get(), 1)
        held = await submit.reserve().get()
        first = await submit.try_reserve().get()
        (many,) = await submit.reserve_many(1).get()
        equal((held.value, first and first.value, many.value), ("a", "b", "c"))
        held = await submit.touch(await submit.prolongate(held, 5).get(), 5).get()
        await submit.release(held, error="bad").get()
        await submit.bury(many).get()
        equal(await submit.kick().get(), 1)
        await submit.snooze(await submit.reserve().get()).get()
        await submit.fail(await submit.reserve().get()).get()
        equal([message.value for message in await submit.peek(limit=9).get()], ["c", "d", "e"])
        equal(await submit.remove(many.id).get(), 1)
        equal((await submit.sync().get(), await submit.len().get()), (1, 4))
        await submit.pause(5).get()
        equal((await submit.statistics().get()).paused, True)
        await submit.resume().get()
        equal((await submit.delete(first or 0).get(), await submit.clear().get()), (1, 3))
        await submit.close().get()
        with refused(QueueClosedError):
            await submit.insert("f").get()


async def _a_full_mailbox_refuses_what_is_submitted(make: MakeStore) -> None:
    async with a_queue(make, mailbox=2) as queue:
        queue.insert_nowait("a")
        reply = queue.submit.insert("b")
        with refused(trio.WouldBlock):
            queue.submit.insert("c")
        equal((queue.inflight_ops, await queue.len()), (2, 2))
        equal((reply.get_nowait(), queue.inflight_ops), (1, 0))


async def _a_submitted_taker_waits_and_no_other_overtakes_it(make: MakeStore) -> None:
    async with a_queue(make) as queue, trio.open_nursery() as nursery:
        first = queue.submit.reserve()
        late = queue.submit.reserve(timeout=1)
        (second,) = await start_takers(nursery, queue, "b", [])
        equal((await queue.statistics()).waiting, 3)
        with refused(trio.TooSlowError):
            await late.get()
        await queue.insert(1, 2)
        await wait_all_tasks_blocked()
        equal((first.get_nowait().value, second.outcome), (1, 2))


# -- whatever it is in -------------------------------------------------------------------------


async def _a_queue_that_stops_tells_all_who_wait_and_goes_on_after(make: MakeStore) -> None:
    async def refill() -> list[str]:
        await trio.sleep(FOREVER)
        return []

    async with a_runtime(make) as runtime:
        queue = await runtime.define(
            "q", reservation_time=30, max_length=1, sync_fn=refill, sync_interval=10
        )
        await queue.insert("a")
        for pause in (False, True):
            if pause:
                await queue.pause()
            held = None if pause else await queue.reserve()
            async with trio.open_nursery() as nursery:
                calls = await start_calls(
                    nursery, queue.reserve, lambda: queue.wait_insert("b"), queue.sync
                )
                numbers = await queue.statistics()
                equal((numbers.waiting, numbers.inserting), (1, 1))
                await runtime.restart("q")
            equal(
                [str(getattr(call.outcome, "__name__", "")) for call in calls],
                ["ActorDownError"] * 3,
            )
            numbers = await queue.statistics()
            equal((numbers.waiting, numbers.inserting, await queue.len()), (0, 0, 1))
            if held is not None:
                await queue.release(held)


OPERATOR_RULES: Final[tuple[TimedRule, ...]] = (
    _a_message_is_ready_at_the_instant_it_was_inserted_for,
    _an_instant_may_be_a_datetime_of_any_time_zone,
    _an_instant_that_has_passed_is_now,
    _a_buried_message_is_nobodys_until_it_is_kicked,
    _only_a_live_reservation_can_be_buried,
    _kick_takes_the_oldest_and_wakes_takers,
    _attempts_start_again_after_a_kick,
    _remove_takes_messages_out_in_any_state,
    _a_paused_queue_takes_in_but_hands_nothing_out,
    _a_timed_pause_ends_exactly_and_wakes_takers,
    _a_pause_survives_a_restart,
    _a_paused_queue_that_is_closed_and_drained_says_so,
    _sync_refills_now_and_says_how_many_went_in,
    _a_sync_that_brings_nothing_is_over_too,
    _those_who_sync_at_once_share_one_refill,
    _a_sync_joins_a_refill_that_a_taker_asked_for,
    _the_failure_of_a_refill_is_raised_to_those_who_sync,
    _a_closed_queue_is_not_refilled,
    _without_sync_fn_there_is_nothing_to_sync,
    _a_submitted_operation_is_answered_later,
    _every_operation_that_answers_can_be_submitted,
    _a_full_mailbox_refuses_what_is_submitted,
    _a_submitted_taker_waits_and_no_other_overtakes_it,
    _a_queue_that_stops_tells_all_who_wait_and_goes_on_after,
)
