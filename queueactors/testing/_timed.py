"""The contract of a timed queue: every rule, through the handle and the real actor.

Each rule is an async function of one argument: what makes an empty store. All of them obey
`trio.testing.MockClock` and take long without it. For pytest:

    @pytest.mark.parametrize("rule", TIMED_RULES, ids=rule_name)
    async def test_it_keeps_the_contract(rule: TimedRule, autojump_clock: MockClock) -> None:
        await rule(MemoryStore)

`check_timed` is for everybody else. The file is over 500 lines because it is one list of rules;
`_timed_operator` and `_timed_room` have the others.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final, get_args

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from queueactors import (
    DeadLetter,
    QueueClosedError,
    ReservationExpiredError,
    ReservationNotFoundError,
)
from queueactors.cores.timed import PeekState

from ._timed_kit import (
    FOREVER,
    SECOND,
    MakeStore,
    Taker,
    TimedRule,
    a_queue,
    a_runtime,
    check_rules,
    drain,
    equal,
    refused,
    start_takers,
    values_in,
)
from ._timed_operator import OPERATOR_RULES
from ._timed_room import ROOM_RULES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from queueactors import Reservation


async def check_timed(make: MakeStore) -> None:
    """Check every rule of `TIMED_RULES`, one after the other.

    Args:
      make: Makes an empty store; called once a rule.

    Raises:
      AssertionError: If a rule does not hold.
    """
    await check_rules(TIMED_RULES, make)


# -- order -------------------------------------------------------------------------------------


async def _messages_come_in_the_order_of_their_insertion(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        equal(await queue.insert("a", "b"), 2)
        await queue.insert("c")
        equal(await drain(queue), ["a", "b", "c"])


async def _a_smaller_priority_comes_first(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await queue.insert("usual")
        await queue.insert("late", priority=1)
        await queue.insert("early", priority=-1)
        equal(await drain(queue), ["early", "usual", "late"])


async def _a_delayed_message_is_ready_exactly_then(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        before = queue.clock.now_ns()
        await queue.insert("a", delay=5)
        equal(await queue.try_reserve(), None)
        equal((await queue.reserve()).value, "a")
        equal(queue.clock.now_ns(), before + 5 * SECOND)


async def _the_instant_of_becoming_ready_counts(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await queue.insert("delayed", delay=5)
        await queue.insert("expired")
        await queue.reserve(7)
        await trio.sleep(1)
        await queue.insert("early")
        await trio.sleep(8)
        await queue.insert("late")
        equal(await drain(queue), ["early", "delayed", "expired", "late"])


async def _a_released_message_goes_to_the_tail(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await queue.insert("a", "b")
        held = await queue.reserve()
        await trio.sleep(1)
        await queue.release(held)
        equal(await drain(queue), ["b", "a"])


async def _a_release_may_delay_and_change_the_priority(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await queue.insert("a", "b")
        await queue.release(await queue.reserve(), delay=5, priority=-1, error="bad")
        (message,) = await queue.peek("delayed")
        equal((message.value, message.attempts, message.error), ("a", 1, "bad"))
        await trio.sleep(5)
        equal(await drain(queue), ["a", "b"])


async def _a_snooze_does_not_count_as_an_attempt(make: MakeStore) -> None:
    async with a_queue(make, max_reservations=1) as queue:
        await queue.insert("a", "b")
        held = await queue.reserve()
        await trio.sleep(1)
        await queue.snooze(held)
        equal(await drain(queue), ["b", "a"])
        await queue.insert("c")
        await queue.snooze(await queue.reserve(), 5)
        (message,) = await queue.peek("delayed")
        equal((message.value, message.attempts), ("c", 0))
        started = trio.current_time()
        again = await queue.reserve()
        equal((again.value, again.attempt, trio.current_time() - started), ("c", 1, 5))
        await queue.delete(again)
        for use in (queue.snooze, queue.fail):
            with refused(ReservationNotFoundError):
                await use(again)


# -- handing out -------------------------------------------------------------------------------


async def _an_empty_queue_has_nothing_to_reserve_now(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        equal(await queue.try_reserve(), None)


async def _a_reservation_says_what_it_is(make: MakeStore) -> None:
    async with a_queue(make, reservation_time=7) as queue:
        await queue.insert("a")
        now = queue.clock.now_ns()
        reservation = await queue.reserve()
        equal((reservation.value, reservation.attempt), ("a", 1))
        equal(reservation.deadline_at, now + 7 * SECOND)
        await queue.release(reservation)
        again = await queue.reserve(3)
        equal((again.id, again.attempt), (reservation.id, 2))
        equal(again.deadline_at, now + 3 * SECOND)


async def _reserve_waits_for_an_insert(make: MakeStore) -> None:
    async with a_queue(make) as queue, trio.open_nursery() as nursery:
        order: list[str] = []
        (taker,) = await start_takers(nursery, queue, "a", order)
        equal(order, [])
        await queue.insert("v")
        await wait_all_tasks_blocked()
        equal(taker.outcome, "v")


async def _takers_are_served_in_the_order_in_which_they_began_to_wait(make: MakeStore) -> None:
    async with a_queue(make) as queue, trio.open_nursery() as nursery:
        takers = await start_takers(nursery, queue, "abc", [])
        await queue.insert(1, 2)
        queue.insert_nowait(3)
        await wait_all_tasks_blocked()
        equal([taker.outcome for taker in takers], [1, 2, 3])


async def _a_new_taker_does_not_overtake_one_that_waits(make: MakeStore) -> None:
    async with a_queue(make) as queue, trio.open_nursery() as nursery:
        first, second = await start_takers(nursery, queue, "ab", [])
        queue.insert_nowait("v")
        third = Taker(queue)
        nursery.start_soon(third.run, [])
        await wait_all_tasks_blocked()
        equal((first.outcome, second.outcome, third.outcome), ("v", None, None))
        nursery.cancel_scope.cancel()


async def _a_timeout_is_exact_and_takes_nothing(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        before = queue.clock.now_ns()
        with refused(trio.TooSlowError) as refusal:
            await queue.reserve(timeout=2)
        equal(queue.clock.now_ns(), before + 2 * SECOND)
        equal(str(refusal.error), "queue 'q': reserve waited 2 s in vain")
        with refused(trio.TooSlowError) as refusal:
            await queue.reserve_many(5, timeout=0)
        equal(str(refusal.error), "queue 'q': reserve_many waited 0 s in vain")
        await queue.insert("a")
        equal((await queue.reserve(timeout=0)).value, "a")


async def _a_message_at_the_very_instant_of_a_timeout_is_handed_out(make: MakeStore) -> None:
    async with a_queue(make, max_length=1, max_reservations=1) as queue:
        await queue.insert("a", delay=2)
        held = await queue.reserve(2, timeout=2)
        equal((held.value, (await queue.statistics()).reserved), ("a", 1))
        equal(await queue.wait_insert("b", timeout=2), 1)
        equal(await values_in(queue), ["b"])


async def _a_taker_that_left_swallows_nothing(make: MakeStore) -> None:
    async with a_queue(make) as queue, trio.open_nursery() as nursery:
        with trio.move_on_after(1):
            await queue.reserve()
        with refused(trio.TooSlowError):
            await queue.reserve(timeout=1)
        (taker,) = await start_takers(nursery, queue, "a", [])
        await queue.insert("v")
        await wait_all_tasks_blocked()
        equal(taker.outcome, "v")


async def _an_expiry_wakes_the_first_taker_at_its_instant(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        order: list[str] = []
        await queue.insert("v")
        held = await queue.reserve(3.000000001)
        async with trio.open_nursery() as nursery:
            first, second = await start_takers(nursery, queue, "ab", order)
            await trio.sleep(10)
            equal((first.outcome, second.outcome), ("v", None))
            at_ns = first.at_ns or 0
            if not held.deadline_at <= at_ns <= held.deadline_at + 1000:  # its float resolution
                raise AssertionError(f"expected {held.deadline_at}, got {at_ns}")
            nursery.cancel_scope.cancel()


async def _reserve_many_takes_up_to_its_limit(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await queue.insert("a", "b", "c")
        taken = await queue.reserve_many(2, 5)
        equal([each.value for each in taken], ["a", "b"])
        equal([each.value for each in await queue.reserve_many(2)], ["c"])
        equal(await queue.delete(*taken), 2)


async def _reserve_many_waits_for_the_first_only(make: MakeStore) -> None:
    async with a_queue(make) as queue, trio.open_nursery() as nursery:
        taken: list[Reservation] = []

        async def take() -> None:
            taken.extend(await queue.reserve_many(5))

        nursery.start_soon(take)
        await wait_all_tasks_blocked()
        await queue.insert("a", "b")
        await wait_all_tasks_blocked()
        equal([each.value for each in taken], ["a", "b"])


# -- reservations ------------------------------------------------------------------------------


async def _prolongate_adds_to_the_deadline(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await queue.insert("a")
        first = await queue.reserve(10)
        await trio.sleep(3)
        second = await queue.prolongate(first, 5)
        equal(second.deadline_at, first.deadline_at + 5 * SECOND)
        equal((second.id, second.value, second.attempt), (first.id, "a", 1))
        with refused(ReservationNotFoundError):
            await queue.delete(first)
        equal(await queue.delete(second), 1)


async def _touch_counts_from_now(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await queue.insert("a")
        first = await queue.reserve(10)
        await trio.sleep(3)
        second = await queue.touch(first.key, 1)
        equal(second.deadline_at, queue.clock.now_ns() + SECOND)
        with refused(ReservationNotFoundError):
            await queue.release(first)
        await trio.sleep(1)
        with refused(ReservationExpiredError):
            await queue.release(second)


async def _an_expired_reservation_is_refused_as_expired(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await queue.insert("a")
        held = await queue.reserve(10)
        await trio.sleep(10)
        for use in (queue.prolongate, queue.touch, queue.release, queue.delete):
            with refused(ReservationExpiredError) as refusal:
                await use(held)
            equal(refusal.error and refusal.error.keys, (held.key,))
        equal(await values_in(queue), ["a"])


async def _one_that_somebody_took_since_is_not_found(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await queue.insert("a")
        held = await queue.reserve(10)
        other = await queue.reserve(10)
        for use in (queue.prolongate, queue.touch, queue.release, queue.delete):
            with refused(ReservationNotFoundError):
                await use(held)
        with refused(ReservationNotFoundError):
            await queue.delete(held, expired_ok=True)
        equal(await queue.delete(other), 1)


async def _a_key_that_never_was_is_not_found(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        for use in (queue.prolongate, queue.touch, queue.release, queue.delete):
            with refused(ReservationNotFoundError):
                await use(12345)


async def _a_number_may_be_of_any_size(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        for power in (31, 53, 63, 64, 100):
            large = 2**power + 1
            await queue.insert("a")
            equal(len(await queue.peek(limit=large)), 1)
            (held,) = await queue.reserve_many(large)
            for use in (queue.touch, queue.release, queue.bury, queue.fail):
                with refused(ReservationNotFoundError) as refusal:
                    await use(large)
                equal(refusal.error and refusal.error.keys, (large,))
            with refused(ReservationNotFoundError) as other:
                await queue.delete(large, held, large + 1)
            equal(other.error and other.error.keys, (large, large + 1))
            equal(await queue.remove(large), 0)
            equal(await queue.kick(large), 0)


async def _delete_finishes_the_live_ones_and_names_the_stale(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await queue.insert("a", "b", "c")
        expired = await queue.reserve(1)
        released, live = await queue.reserve_many(2, 30)
        await queue.release(released, delay=60)
        await trio.sleep(1)
        with refused(ReservationExpiredError) as refusal:
            await queue.delete(expired, live, released)
        equal(refusal.error and refusal.error.keys, (expired.key, released.key))
        with refused(ReservationNotFoundError) as other:
            await queue.delete(released.key, expired.key)
        equal(other.error and other.error.keys, (released.key, expired.key))
        equal(await queue.len(), 2)


async def _expired_ok_finishes_what_nobody_took_since(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await queue.insert("a")
        held = await queue.reserve(1)
        await trio.sleep(1)
        equal(await queue.delete(held, expired_ok=True), 1)
        equal(await queue.len(), 0)


async def _a_cast_to_delete_is_silent_about_stale_ones(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await queue.insert("a", "b")
        expired, live = await queue.reserve(1), await queue.reserve(30)
        await trio.sleep(1)
        queue.delete_nowait(expired, 12345, live)
        equal(await values_in(queue, "reserved"), [])
        equal(await queue.len(), 1)


async def _keys_increase_also_over_a_restart(make: MakeStore) -> None:
    async with a_runtime(make) as runtime:
        queue = await runtime.define("q", reservation_time=30)
        await queue.insert(*range(20))
        keys = [each.key for each in await queue.reserve_many(10)]
        await queue.delete(*keys)
        await runtime.restart("q")
        keys += [each.key for each in await queue.reserve_many(10)]
        keys += [(await queue.touch(key)).key for key in keys[10:]]
        equal(keys, sorted(set(keys)))


# -- unique values, limits, dead letters -------------------------------------------------------


async def _a_unique_value_goes_in_once(make: MakeStore) -> None:
    async with a_queue(make, unique=True) as queue:
        equal(await queue.insert("ready", "ready", "reserved"), 2)
        await queue.release(await queue.reserve(), delay=60)
        held = await queue.reserve(60)
        equal(held.value, "reserved")
        equal(await queue.insert("ready", "reserved"), 0)
        await queue.delete(held)
        equal(await queue.insert("reserved"), 1)
        equal((await queue.statistics()).duplicates, 3)


async def _without_unique_it_goes_in_again(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        equal(await queue.insert("a", "a"), 2)


async def _a_message_is_handed_out_as_often_as_allowed(make: MakeStore) -> None:
    async with a_queue(make, max_reservations=2, unique=True) as queue:
        await queue.insert("a")
        await queue.release(await queue.reserve())
        equal((await queue.reserve(10)).attempt, 2)
        with refused(trio.TooSlowError):
            await queue.reserve(timeout=10)
        equal(await queue.len(), 0)
        equal((await queue.statistics()).exhausted, 1)
        equal(await queue.insert("a"), 1)


async def _an_exhausted_message_can_be_buried(make: MakeStore) -> None:
    async with a_queue(make, max_reservations=1, on_exhausted="bury") as queue:
        await queue.insert("a")
        await queue.release(await queue.reserve(), error="bad")
        (message,) = await queue.peek("buried")
        equal((message.value, message.attempts, message.error), ("a", 1, "bad"))


async def _a_message_that_is_given_up_goes_where_exhausted_ones_go(make: MakeStore) -> None:
    async with a_runtime(make) as runtime:
        for on_exhausted in ("drop", "bury"):
            queue = await runtime.define(
                on_exhausted, reservation_time=30, on_exhausted=on_exhausted, unique=True
            )
            await queue.insert("a")
            await queue.fail(await queue.reserve(), "bad")
            buried = [(each.value, each.error) for each in await queue.peek("buried", 9)]
            equal(buried, [("a", "bad")] if on_exhausted == "bury" else [])
            equal((await queue.statistics()).exhausted, 1)
            equal(await queue.insert("a"), int(on_exhausted == "drop"))
        other = await runtime.define("other", reservation_time=30)
        queue = await runtime.define("q", reservation_time=30, on_exhausted="other")
        await queue.insert("a")
        await queue.fail(await queue.reserve(), "bad")
        letter = (await other.reserve(timeout=10)).value
        equal(
            letter,
            DeadLetter(
                value="a",
                queue="q",
                id=1,
                attempts=1,
                error="bad",
                inserted_at=queue.clock.now_ns(),
            ),
        )


async def _an_exhausted_message_goes_to_the_queue_for_dead_letters(make: MakeStore) -> None:
    async with a_runtime(make) as runtime:
        other = await runtime.define("other", reservation_time=30)
        queue = await runtime.define(
            "q", reservation_time=30, max_reservations=1, on_exhausted="other"
        )
        inserted_at = queue.clock.now_ns()
        await queue.insert("a")
        held = await queue.reserve()
        await trio.sleep(1)
        await queue.release(held, error="bad")
        letter = DeadLetter(
            value="a", queue="q", id=held.id, attempts=1, error="bad", inserted_at=inserted_at
        )
        equal((await other.reserve(timeout=10)).value, letter)
        await wait_all_tasks_blocked()
        equal((await queue.statistics()).dead, 0)


async def _initial_values_go_in_once(make: MakeStore) -> None:
    async with a_runtime(make) as runtime:
        queue = await runtime.define("q", reservation_time=30, values=["a", "b"])
        equal((await queue.statistics()).oldest_age, 0.0)
        equal(await queue.delete(await queue.reserve()), 1)
        await runtime.restart("q")
        equal(await drain(queue), ["b"])


# -- the whole queue ---------------------------------------------------------------------------


async def _a_restart_changes_nothing(make: MakeStore) -> None:
    async with a_runtime(make) as runtime:
        queue = await runtime.define("q", reservation_time=60, unique=True, max_reservations=2)
        await queue.insert("reserved", "ready", "expired")
        await queue.insert("delayed", delay=5)
        await queue.insert("low", priority=1)
        reserved, released = await queue.reserve_many(2)
        await trio.sleep(1)
        await queue.release(released, error="bad")
        expired = await queue.reserve(1)
        await trio.sleep(1)
        states = get_args(PeekState)
        before = [await queue.peek(state, 9) for state in states]
        numbers = await queue.statistics()
        await runtime.restart("q")
        equal([await queue.peek(state, 9) for state in states], before)
        equal(attrs.evolve(await queue.statistics(), restarts=0), numbers)
        equal(await queue.insert("reserved", "ready", "expired", "delayed", "low"), 0)
        with refused(ReservationExpiredError):
            await queue.touch(expired)
        equal(await queue.delete(reserved), 1)
        await trio.sleep(3)
        equal(await drain(queue), ["ready", "expired", "delayed", "low"])


async def _a_closed_queue_takes_nothing_in_but_hands_out_the_rest(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await queue.insert("a", "b")
        held = await queue.reserve()
        await queue.close()
        await queue.close()
        with refused(QueueClosedError):
            await queue.insert("c")
        queue.insert_nowait("c")
        equal((await queue.statistics()).closed, True)
        await trio.sleep(1)
        await queue.release(held)
        for value in ("b", "a"):
            held = await queue.reserve()
            equal(held.value, value)
            await queue.delete(held)
        for take in (queue.reserve, queue.try_reserve, lambda: queue.reserve_many(1)):
            with refused(QueueClosedError):
                await take()


async def _takers_of_a_closed_queue_wait_while_something_may_come_back(make: MakeStore) -> None:
    async with a_queue(make) as queue, trio.open_nursery() as nursery:
        await queue.insert("a")
        held = await queue.reserve(5)
        first, second = await start_takers(nursery, queue, "ab", [])
        await queue.close()
        await wait_all_tasks_blocked()
        equal((first.outcome, second.outcome), (None, None))
        await trio.sleep_until(queue.clock.deadline(held.deadline_at + 1))
        equal((first.outcome, second.outcome), ("a", None))
        await queue.clear()
        await wait_all_tasks_blocked()
        equal(second.outcome, QueueClosedError)


async def _clear_removes_all_and_voids_reservations(make: MakeStore) -> None:
    async with a_queue(make, unique=True) as queue:
        await queue.insert("a", "b")
        await queue.insert("c", delay=5)
        held = await queue.reserve()
        equal(await queue.clear(), 3)
        equal((await queue.len(), await queue.clear()), (0, 0))
        with refused(ReservationNotFoundError):
            await queue.delete(held)
        equal(await queue.insert("a", "b", "c"), 3)


async def _peek_changes_nothing(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        now = queue.clock.now_ns()
        await queue.insert("a", "b")
        await queue.insert("c", priority=-1)
        equal([message.value for message in await queue.peek()], ["c"])
        equal(await values_in(queue), ["c", "a", "b"])
        (message,) = await queue.peek()
        equal((message.state, message.attempts, message.priority), ("ready", 0, -1))
        equal((message.inserted_at, message.ready_at, message.error), (now, now, None))
        equal(await drain(queue), ["c", "a", "b"])


async def _statistics_in_a_batch_are_those_of_their_place(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await queue.insert("a")
        sent = [(queue.submit.insert("a"), queue.submit.statistics()) for _ in range(3)]
        told = [await numbers.get() for _, numbers in sent]
        equal([(each.inserted, each.ready) for each in told], [(2, 2), (3, 3), (4, 4)])
        numbers = await queue.statistics()
        equal((numbers.inserted, numbers.ready), (4, 4))


async def _statistics_count(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await queue.insert("a", "b", "c", "d")
        await queue.insert("e", delay=60)
        deleted, released, expired = await queue.reserve_many(3, 5)
        await queue.delete(deleted)
        await queue.release(released)
        await queue.touch(expired, 1)
        await trio.sleep(2)
        numbers = await queue.statistics()
        equal((numbers.ready, numbers.delayed, numbers.reserved), (3, 1, 0))
        equal((numbers.inserted, numbers.reserved_total, numbers.deleted), (5, 3, 1))
        equal((numbers.released, numbers.expired, numbers.exhausted), (1, 1, 0))
        equal((numbers.oldest_age, numbers.waiting, numbers.restarts), (2.0, 0, 0))
        equal(await queue.len(), 4)


async def _a_bad_argument_is_refused_before_anything_happens(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await queue.insert("a")
        held = await queue.reserve()
        bad: list[tuple[type[Exception], Callable[[], Awaitable[object]]]] = [
            (ValueError, lambda: queue.insert("b", delay=-1)),
            (TypeError, lambda: queue.insert("b", priority="high")),  # type: ignore[arg-type]
            (ValueError, lambda: queue.insert("b", delay=1, at=queue.clock.now_ns())),
            (ValueError, lambda: queue.insert("b", at=1 << 63)),
            (ValueError, lambda: queue.insert("b", at=1_767_225_600)),
            (ValueError, lambda: queue.insert("b", at=datetime(2000, 1, 1))),  # noqa: DTZ001
            (TypeError, lambda: queue.insert("b", at=1.5)),  # type: ignore[arg-type]
            (ValueError, lambda: queue.wait_insert("b", timeout=-1)),
            (ValueError, lambda: queue.wait_insert("b", delay=-1)),
            (TypeError, lambda: queue.bury("key")),  # type: ignore[arg-type]
            (TypeError, lambda: queue.bury(held, error=KeyError())),  # type: ignore[arg-type]
            (ValueError, lambda: queue.kick(0)),
            (TypeError, lambda: queue.remove(held)),  # type: ignore[arg-type]
            (TypeError, lambda: queue.remove(True)),
            (ValueError, lambda: queue.pause(0)),
            (ValueError, queue.sync),
            (ValueError, lambda: queue.reserve(0)),
            (ValueError, lambda: queue.reserve(float("inf"))),
            (ValueError, lambda: queue.reserve(timeout=-1)),
            (ValueError, lambda: queue.try_reserve(float("nan"))),
            (ValueError, lambda: queue.reserve_many(0)),
            (ValueError, lambda: queue.reserve_many(True)),
            (ValueError, lambda: queue.prolongate(held, -1)),
            (ValueError, lambda: queue.touch(held, 0)),
            (TypeError, lambda: queue.touch("key")),  # type: ignore[arg-type]
            (ValueError, lambda: queue.release(held, delay=-1)),
            (ValueError, lambda: queue.snooze(held, -1)),
            (TypeError, lambda: queue.fail(held, KeyError())),  # type: ignore[arg-type]
            (TypeError, lambda: queue.release(held, priority=True)),
            (TypeError, lambda: queue.release(held, priority=1.5)),  # type: ignore[arg-type]
            (TypeError, lambda: queue.release(held, error=KeyError())),  # type: ignore[arg-type]
            (TypeError, lambda: queue.delete(held, None)),  # type: ignore[arg-type]
            (ValueError, lambda: queue.peek("dead")),  # type: ignore[arg-type]
            (ValueError, lambda: queue.peek(limit=0)),
        ]
        for kind, call in bad:
            with refused(kind):
                await call()
        for nowait in (
            lambda: queue.insert_nowait("b", delay=1, at=queue.clock.now_ns()),
            lambda: queue.submit.reserve(0),
            queue.submit.sync,
        ):
            with refused(ValueError):
                nowait()
        equal(await queue.len(), 1)
        equal(await queue.delete(held), 1)


async def _a_handle_says_what_it_is(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        equal(repr(queue), "<TimedQueue 'q', store 'memory'>")
        equal((queue.name, queue.kind), ("q", "timed"))


# -- refills -----------------------------------------------------------------------------------


async def _a_refill_is_called_when_a_taker_finds_nothing(make: MakeStore) -> None:
    async def refill(first: int, last: int) -> list[int]:
        return list(range(first, last))

    options = {"sync_fn": refill, "sync_args": [3, 5], "sync_interval": 10}
    async with a_queue(make, **options) as queue:
        await wait_all_tasks_blocked()
        equal(await queue.len(), 0)
        equal((await queue.reserve(timeout=1)).value, 3)
        equal((await queue.reserve(timeout=1)).value, 4)
        numbers = await queue.statistics()
        equal((numbers.refills, numbers.last_refill, numbers.inserted), (1, 2, 2))


async def _a_try_that_finds_nothing_asks_for_a_refill_too(make: MakeStore) -> None:
    async def refill() -> list[str]:
        return ["a"]

    async with a_queue(make, sync_fn=refill, sync_interval=10) as queue:
        equal(await queue.try_reserve(), None)
        await wait_all_tasks_blocked()
        equal(await drain(queue), ["a"])


async def _while_somebody_waits_a_refill_comes_every_interval(make: MakeStore) -> None:
    instants: list[float] = []

    async def refill() -> list[object]:
        instants.append(trio.current_time())
        return []

    async with a_queue(make, sync_fn=refill, sync_interval=10) as queue:
        await trio.sleep(25)
        equal(instants, [])
        start = trio.current_time()
        with refused(trio.TooSlowError):
            await queue.reserve(timeout=25)
        equal([round(each - start, 3) for each in instants], [0.0, 10.0, 20.0])
        await trio.sleep(100)
        equal(len(instants), 3)


async def _a_queue_that_is_closed_is_not_refilled(make: MakeStore) -> None:
    calls: list[object] = []

    async def refill() -> list[str]:
        calls.append(None)
        return ["lost"]

    async with a_queue(make, sync_fn=refill, sync_interval=10) as queue:
        synced = queue.submit.sync()
        await queue.close()
        with refused(QueueClosedError):
            synced.get_nowait()
        await trio.sleep(100)
        equal((calls, (await queue.statistics()).refills), ([], 0))


async def _a_failed_refill_harms_nothing(make: MakeStore) -> None:
    answers: list[object] = [KeyError("no"), "rubbish", None, 5, {"a": 1}, ["v"]]

    async def refill() -> object:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with a_queue(make, sync_fn=refill, sync_interval=10) as queue:
        start = trio.current_time()
        equal((await queue.reserve(timeout=60)).value, "v")
        equal(round(trio.current_time() - start, 3), 50.0)
        numbers = await queue.statistics()
        equal((numbers.refills, numbers.refill_errors), (6, 5))


async def _a_refill_that_hangs_is_given_up(make: MakeStore) -> None:
    calls = 0

    async def refill() -> list[str]:
        nonlocal calls
        calls += 1
        if calls == 1:
            await trio.sleep(FOREVER)
        return ["v"]

    async with a_queue(make, sync_fn=refill, sync_interval=10, sync_timeout=3) as queue:
        start = trio.current_time()
        equal((await queue.reserve()).value, "v")
        equal(round(trio.current_time() - start, 3), 13.0)


async def _the_queue_keeps_serving_while_it_is_refilled(make: MakeStore) -> None:
    async def refill() -> list[str]:
        await trio.sleep(100)
        return ["late"]

    async with a_queue(make, sync_fn=refill, sync_interval=10) as queue:
        with refused(trio.TooSlowError):
            await queue.reserve(timeout=1)
        equal((await queue.statistics()).refilling, True)
        await queue.insert("early")
        equal(await queue.delete(await queue.reserve()), 1)
        equal((await queue.reserve()).value, "late")


# -- reserved() --------------------------------------------------------------------------------


async def _a_reserved_block_finishes_its_message(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await queue.insert("a")
        async with queue.reserved() as reservation:
            equal((reservation.value, reservation.attempt), ("a", 1))
            equal(await values_in(queue, "reserved"), ["a"])
        equal(await queue.len(), 0)


async def _a_reserved_block_that_fails_gives_its_message_back(make: MakeStore) -> None:
    for keep_alive in (False, True):
        async with a_queue(make) as queue:
            await queue.insert("a")
            error = KeyError("bad")

            async def work() -> None:
                async with queue.reserved(keep_alive=keep_alive):  # noqa: B023 - awaited at once
                    raise error  # noqa: B023

            with refused(KeyError) as refusal:
                await work()
            equal(refusal.error is error, True)
            (message,) = await queue.peek()
            equal((message.value, message.error), ("a", "KeyError: 'bad'"))


async def _a_reserved_block_that_is_cancelled_gives_its_message_back(make: MakeStore) -> None:
    for keep_alive in (False, True):
        async with a_queue(make) as queue:
            await queue.insert("a")
            with trio.move_on_after(1):
                async with queue.reserved(keep_alive=keep_alive):
                    await trio.sleep(FOREVER)
            equal(await values_in(queue), ["a"])


async def _a_reserved_block_that_outlives_its_reservation_raises(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await queue.insert("a")
        with refused(ReservationExpiredError):
            async with queue.reserved(1):
                await trio.sleep(1)
        with refused(ReservationNotFoundError):
            async with queue.reserved(1, keep_alive=True):
                await queue.clear()
                await trio.sleep(5)


async def _a_reservation_that_is_kept_alive_does_not_expire(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await queue.insert("a")
        async with queue.reserved(1, keep_alive=True) as reservation:
            first = reservation.key, reservation.deadline_at
            with refused(trio.TooSlowError):
                await queue.reserve(timeout=10)
            equal(reservation.key > first[0] and reservation.deadline_at > first[1], True)
            equal(reservation.deadline_at > queue.clock.now_ns(), True)
        equal(await queue.len(), 0)


TIMED_RULES: Final[tuple[TimedRule, ...]] = (
    _messages_come_in_the_order_of_their_insertion,
    _a_smaller_priority_comes_first,
    _a_delayed_message_is_ready_exactly_then,
    _the_instant_of_becoming_ready_counts,
    _a_released_message_goes_to_the_tail,
    _a_release_may_delay_and_change_the_priority,
    _a_snooze_does_not_count_as_an_attempt,
    _an_empty_queue_has_nothing_to_reserve_now,
    _a_reservation_says_what_it_is,
    _reserve_waits_for_an_insert,
    _takers_are_served_in_the_order_in_which_they_began_to_wait,
    _a_new_taker_does_not_overtake_one_that_waits,
    _a_timeout_is_exact_and_takes_nothing,
    _a_message_at_the_very_instant_of_a_timeout_is_handed_out,
    _a_taker_that_left_swallows_nothing,
    _an_expiry_wakes_the_first_taker_at_its_instant,
    _reserve_many_takes_up_to_its_limit,
    _reserve_many_waits_for_the_first_only,
    _prolongate_adds_to_the_deadline,
    _touch_counts_from_now,
    _an_expired_reservation_is_refused_as_expired,
    _one_that_somebody_took_since_is_not_found,
    _a_key_that_never_was_is_not_found,
    _a_number_may_be_of_any_size,
    _delete_finishes_the_live_ones_and_names_the_stale,
    _expired_ok_finishes_what_nobody_took_since,
    _a_cast_to_delete_is_silent_about_stale_ones,
    _keys_increase_also_over_a_restart,
    _a_unique_value_goes_in_once,
    _without_unique_it_goes_in_again,
    _a_message_is_handed_out_as_often_as_allowed,
    _an_exhausted_message_can_be_buried,
    _a_message_that_is_given_up_goes_where_exhausted_ones_go,
    _an_exhausted_message_goes_to_the_queue_for_dead_letters,
    _initial_values_go_in_once,
    _a_restart_changes_nothing,
    _a_closed_queue_takes_nothing_in_but_hands_out_the_rest,
    _takers_of_a_closed_queue_wait_while_something_may_come_back,
    _clear_removes_all_and_voids_reservations,
    _peek_changes_nothing,
    _statistics_in_a_batch_are_those_of_their_place,
    _statistics_count,
    _a_bad_argument_is_refused_before_anything_happens,
    _a_handle_says_what_it_is,
    _a_refill_is_called_when_a_taker_finds_nothing,
    _a_try_that_finds_nothing_asks_for_a_refill_too,
    _while_somebody_waits_a_refill_comes_every_interval,
    _a_queue_that_is_closed_is_not_refilled,
    _a_failed_refill_harms_nothing,
    _a_refill_that_hangs_is_given_up,
    _the_queue_keeps_serving_while_it_is_refilled,
    _a_reserved_block_finishes_its_message,
    _a_reserved_block_that_fails_gives_its_message_back,
    _a_reserved_block_that_is_cancelled_gives_its_message_back,
    _a_reserved_block_that_outlives_its_reservation_raises,
    _a_reservation_that_is_kept_alive_does_not_expire,
    *OPERATOR_RULES,
    *ROOM_RULES,
)
