"""The contract of a channel: every rule, through the handle and the real actor.

Each rule is an async function of one argument: what makes an empty store. All of them obey
`trio.testing.MockClock` and take long without it. Use them as those of `check_timed`.
"""

from __future__ import annotations

import threading
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import trio
from trio.testing import wait_all_tasks_blocked

from queueactors import (
    QueueActorsError,
    QueueBusyError,
    QueueClosedError,
    QueueEndedError,
)

from ._timed_kit import (
    FOREVER,
    SECOND,
    MakeStore,
    a_runtime,
    check_rules,
    equal,
    refused,
    start_calls,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from queueactors import ChannelQueue

    from ._timed_kit import TimedRule as ChannelRule


async def check_channel(make: MakeStore) -> None:
    """Check every rule of `CHANNEL_RULES`, one after the other.

    Args:
      make: Makes an empty store; called once a rule, or more often.

    Raises:
      AssertionError: If a rule does not hold.
    """
    await check_rules(CHANNEL_RULES, make)


@asynccontextmanager
async def a_channel(make: MakeStore, **options: object) -> AsyncIterator[ChannelQueue]:
    async with a_runtime(make) as runtime:
        yield await runtime.define("c", kind="channel", **options)


async def drain(channel: ChannelQueue) -> list[object]:
    """Receive all that is there; return it as it comes."""
    values = []
    while True:
        try:
            values.append(await channel.try_recv())
        except (trio.WouldBlock, trio.EndOfChannel):
            return values


async def fill(channel: ChannelQueue, *values: object) -> None:
    for value in values:
        await channel.send(value)


# -- in and out --------------------------------------------------------------------------------


async def _values_come_in_the_order_in_which_they_went_in(make: MakeStore) -> None:
    async with a_channel(make) as channel:
        await channel.send("a")
        equal(await channel.try_send("b"), True)
        channel.send_nowait("c")
        await channel.send_timeout("d", 1)
        await channel.submit.send("e").get()
        equal(await drain(channel), ["a", "b", "c", "d", "e"])


async def _who_looks_takes_nothing_and_gets_copies(make: MakeStore) -> None:
    async with a_channel(make, limit=3) as channel:
        equal(await channel.peek(), [])
        await fill(channel, 1, [2], None)
        found = await channel.peek(2)
        equal(found, [1, [2]])
        found[1].append("changed")
        equal((await channel.submit.peek(9).get(), await channel.len()), ([1, [2], None], 3))
        equal(await drain(channel), [1, [2], None])


async def _every_way_to_receive_takes_the_oldest(make: MakeStore) -> None:
    async with a_channel(make) as channel:
        await fill(channel, *"abcdef")
        equal(await channel.recv(), "a")
        equal(await channel.receive(), "b")
        equal(await channel.try_recv(), "c")
        equal(await channel.recv_many(2), ["d", "e"])
        equal(await channel.recv_many(2), ["f"])


async def _none_and_other_empty_values_are_values(make: MakeStore) -> None:
    values: list[object] = [None, 0, False, "", (), [], {}]
    async with a_channel(make) as channel:
        await fill(channel, *values)
        equal([await channel.recv() for _ in values], values)
        await fill(channel, *values)
        equal(await channel.recv_many(10), values)
        await fill(channel, *values)
        equal(await drain(channel), values)


async def _a_receiver_waits_for_a_value(make: MakeStore) -> None:
    for send in ("send", "try_send"):
        async with a_channel(make) as channel, trio.open_nursery() as nursery:
            (one,) = await start_calls(nursery, channel.recv)
            equal(one.outcome, None)
            await getattr(channel, send)("a")
            await wait_all_tasks_blocked()
            equal(one.outcome, "a")
            (many,) = await start_calls(nursery, partial(channel.recv_many, 5))
            channel.send_nowait("b")
            channel.send_nowait("c")
            await wait_all_tasks_blocked()
            equal(many.outcome, ["b"])  # it never waits for more
            equal(await channel.recv(), "c")


async def _an_empty_channel_has_nothing_to_take_now(make: MakeStore) -> None:
    async with a_channel(make) as channel:
        with refused(trio.WouldBlock):
            await channel.try_recv()
        equal((await channel.is_empty(), await channel.len()), (True, 0))


async def _a_second_receiver_that_would_wait_is_refused(make: MakeStore) -> None:
    async with a_channel(make) as channel, trio.open_nursery() as nursery:
        (first,) = await start_calls(nursery, channel.recv)
        with refused(trio.BusyResourceError):
            await channel.recv()
        with refused(QueueBusyError):
            await channel.recv_many(1)
        with refused(trio.WouldBlock):
            await channel.try_recv()
        await channel.send("a")
        await wait_all_tasks_blocked()
        equal(first.outcome, "a")
        (second,) = await start_calls(nursery, channel.recv)
        await channel.send("b")
        await wait_all_tasks_blocked()
        equal(second.outcome, "b")


async def _a_receiver_that_left_swallows_nothing(make: MakeStore) -> None:
    async with a_channel(make) as channel:
        for receive in (channel.recv, partial(channel.recv_many, 3)):
            with trio.move_on_after(1):
                await receive()
            await channel.send("a")
            equal(await drain(channel), ["a"])


async def _a_loop_receives_until_the_end(make: MakeStore) -> None:
    async with a_channel(make) as channel:
        await fill(channel, "a", "b")
        await channel.close()
        equal([value async for value in channel], ["a", "b"])
        equal([value async for value in channel], [])


async def _batches_end_when_the_channel_ends(make: MakeStore) -> None:
    async with a_channel(make) as channel:
        await fill(channel, *range(5))
        await channel.close()
        equal([batch async for batch in channel.batches(2)], [[0, 1], [2, 3], [4]])
        equal([batch async for batch in channel.batches()], [])


# -- room --------------------------------------------------------------------------------------


async def _without_a_limit_there_is_always_room(make: MakeStore) -> None:
    async with a_channel(make) as channel:
        before = channel.clock.now_ns()
        for number in range(3000):
            equal(await channel.try_send(number), True)
        await channel.send_timeout("last", 0)
        equal(channel.clock.now_ns(), before)
        equal((await channel.statistics()).limit, None)


async def _a_full_channel_takes_nothing_more(make: MakeStore) -> None:
    async with a_channel(make, limit=2) as channel:
        await fill(channel, "a", "b")
        equal(await channel.try_send("c"), False)
        with refused(trio.WouldBlock):
            channel.send_nowait("c")
        begin = channel.clock.now_ns()
        with refused(trio.TooSlowError):
            await channel.send_timeout("c", 2.5)
        equal(channel.clock.now_ns() - begin, 2.5 * SECOND)
        with refused(trio.TooSlowError):
            await channel.send_timeout("c", 0)
        equal((await channel.len(), await channel.is_empty()), (2, False))
        equal(await drain(channel), ["a", "b"])


async def _a_receive_makes_room(make: MakeStore) -> None:
    async with a_channel(make, limit=1) as channel:
        for receive in (channel.recv, channel.try_recv, partial(channel.recv_many, 4)):
            equal(await channel.try_send("a"), True)
            equal(await channel.try_send("b"), False)
            await receive()
        await channel.send_timeout("c", 0)
        equal(await drain(channel), ["c"])


async def _senders_are_served_in_the_order_in_which_they_began_to_wait(make: MakeStore) -> None:
    async with a_channel(make, limit=1) as channel, trio.open_nursery() as nursery:
        await channel.send("a")
        sends = [
            partial(channel.send, "b"),
            partial(channel.send_timeout, "c", 100),
            partial(channel.send, "d"),
        ]
        await start_calls(nursery, *sends)
        equal((await channel.statistics()).sending, 3)
        equal([await channel.recv() for _ in range(4)], ["a", "b", "c", "d"])


async def _nobody_overtakes_a_sender_that_waits(make: MakeStore) -> None:
    async with a_channel(make, limit=2) as channel, trio.open_nursery() as nursery:
        await fill(channel, "a", "b")
        await start_calls(nursery, partial(channel.send, "c"))
        receiving = channel.recv()  # it makes room, and that is taken before it returns
        equal(await receiving, "a")
        equal(await channel.try_send("x"), False)
        with refused(trio.WouldBlock):
            channel.send_nowait("x")
        equal(await drain(channel), ["b", "c"])


async def _a_sender_that_left_sends_nothing(make: MakeStore) -> None:
    async with a_channel(make, limit=1) as channel, trio.open_nursery() as nursery:
        await channel.send("a")
        with trio.move_on_after(1):
            await channel.send("gone")
        await start_calls(nursery, partial(channel.send, "b"))
        with trio.move_on_after(1):
            await channel.send("gone")
        equal(await drain(channel), ["a", "b"])


async def _a_place_at_the_very_instant_of_a_timeout_is_taken(make: MakeStore) -> None:
    async with a_channel(make, limit=1) as channel, trio.open_nursery() as nursery:
        await channel.send("a")
        (sender,) = await start_calls(nursery, partial(channel.send_timeout, "b", 5))
        (other,) = await start_calls(nursery, partial(_receive_after, channel, 5))
        await trio.sleep(6)
        left = await drain(channel)
        equal(other.outcome, "a")
        equal(left, [] if sender.outcome is trio.TooSlowError else ["b"])


async def _receive_after(channel: ChannelQueue, seconds: float) -> object:
    await trio.sleep(seconds)
    return await channel.recv()


async def _what_is_sent_without_waiting_has_its_place_at_once(make: MakeStore) -> None:
    async with a_channel(make, limit=3) as channel:
        for number in range(3):
            channel.send_nowait(number)
        with refused(trio.WouldBlock):
            channel.send_nowait("too many")
        equal(await channel.try_send("too many"), False)
        equal(await channel.recv(), 0)
        channel.send_nowait(3)
        with refused(trio.WouldBlock):
            channel.send_nowait("too many")
        equal(await channel.recv_many(10), [1, 2, 3])


async def _a_full_mailbox_is_no_room_either(make: MakeStore) -> None:
    async with a_channel(make, mailbox=2) as channel:
        channel.send_nowait("a")
        channel.send_nowait("b")
        equal(channel.inflight_ops, 2)
        with refused(trio.WouldBlock):
            channel.send_nowait("c")
        with refused(trio.WouldBlock):
            channel.submit.send("c")
        equal(await channel.len(), 2)
        channel.send_nowait("c")
        equal(await drain(channel), ["a", "b", "c"])


# -- the end -----------------------------------------------------------------------------------


async def _a_closed_channel_takes_nothing_in(make: MakeStore) -> None:
    async with a_channel(make, limit=2) as channel:
        await channel.send("left")
        equal(await channel.is_closed(), False)
        await channel.close()
        await channel.close()
        equal(await channel.is_closed(), True)
        for send in (channel.send, partial(channel.send_timeout, seconds=5)):
            with refused(trio.ClosedResourceError):
                await send("a")
        with refused(QueueClosedError):
            channel.send_nowait("a")
        equal(await channel.try_send("a"), False)
        equal((await channel.len(), await channel.is_empty()), (1, False))


async def _what_is_left_can_be_received_after_the_close(make: MakeStore) -> None:
    for receive in ("recv", "try_recv", "receive"):
        async with a_channel(make) as channel:
            await fill(channel, "a", "b")
            await channel.close()
            equal(await getattr(channel, receive)(), "a")
            equal(await channel.recv_many(5), ["b"])
            with refused(trio.EndOfChannel):
                await getattr(channel, receive)()
            with refused(QueueEndedError):
                await channel.recv_many(5)
            equal((await channel.len(), await channel.is_closed()), (0, True))


async def _a_close_wakes_a_receiver_that_waits(make: MakeStore) -> None:
    for limit in (None, 5):
        async with a_channel(make) as channel, trio.open_nursery() as nursery:
            receive = channel.recv if limit is None else partial(channel.recv_many, limit)
            (receiver,) = await start_calls(nursery, receive)
            await channel.close()
            await wait_all_tasks_blocked()
            equal(receiver.outcome, QueueEndedError)


async def _a_close_wakes_senders_that_wait(make: MakeStore) -> None:
    async with a_channel(make, limit=1) as channel, trio.open_nursery() as nursery:
        await channel.send("a")
        sends = [partial(channel.send, "b"), partial(channel.send_timeout, "c", 100)]
        senders = await start_calls(nursery, *sends)
        await channel.close()
        await wait_all_tasks_blocked()
        equal([sender.outcome for sender in senders], [QueueClosedError] * 2)
        equal(await drain(channel), ["a"])


async def _what_was_on_its_way_at_the_close_still_comes(make: MakeStore) -> None:
    async with a_channel(make) as channel, trio.open_nursery() as nursery:
        (receiver,) = await start_calls(nursery, channel.recv)
        channel.submit.close()
        channel.send_nowait("a")
        channel.send_nowait("b")
        await wait_all_tasks_blocked()
        equal(receiver.outcome, "a")
        equal(await channel.is_closed(), True)
        equal([value async for value in channel], ["b"])


async def _async_with_closes_it_also_when_cancelled(make: MakeStore) -> None:
    async with a_channel(make) as channel:
        async with channel as same:
            equal(same is channel, True)
            await channel.send("a")
        equal(await drain(channel), ["a"])
        equal(await channel.is_closed(), True)
    async with a_channel(make) as channel:
        with trio.move_on_after(1) as scope:
            async with channel:
                await trio.sleep(FOREVER)
        equal((scope.cancelled_caught, await channel.is_closed()), (True, True))
    async with a_channel(make) as channel:
        with trio.CancelScope() as scope:
            scope.cancel()
            await channel.aclose()
        equal((scope.cancelled_caught, await channel.is_closed()), (True, True))


# -- the operator --------------------------------------------------------------------------------


async def _clear_throws_all_away_and_makes_room(make: MakeStore) -> None:
    async with a_channel(make, limit=2) as channel, trio.open_nursery() as nursery:
        await fill(channel, "a", "b")
        await start_calls(nursery, partial(channel.send, "c"))
        equal(await channel.clear(), 2)
        equal(await channel.len(), 1)
        equal(await channel.try_send("d"), True)
        equal(await channel.try_send("e"), False)
        equal(await drain(channel), ["c", "d"])
        equal(await channel.clear(), 0)


async def _what_is_given_back_comes_first(make: MakeStore) -> None:
    async with a_channel(make, limit=3) as channel, trio.open_nursery() as nursery:
        await fill(channel, *"abc")
        taken = await channel.recv_many(2)
        await fill(channel, *"de")
        (sender,) = await start_calls(nursery, lambda: channel.send("f"))
        equal(await channel._give_back(taken), 2)  # noqa: SLF001 - for workers
        equal((await channel.len(), await channel.try_send("g")), (5, False))
        await channel.close()
        await wait_all_tasks_blocked()
        equal(sender.outcome, QueueClosedError)
        equal(await channel.recv_many(9), ["a", "b", "c", "d", "e"])
        await channel._give_back(["e"])  # noqa: SLF001
        equal(await drain(channel), ["e"])


async def _what_is_given_back_wakes_a_receiver(make: MakeStore) -> None:
    async with a_channel(make) as channel, trio.open_nursery() as nursery:
        await fill(channel, "a")
        taken = await channel.recv_many(2)
        (one,) = await start_calls(nursery, channel.recv)
        await channel._give_back(taken)  # noqa: SLF001
        await wait_all_tasks_blocked()
        equal(one.outcome, "a")


async def _a_paused_channel_takes_in_and_hands_nothing_out(make: MakeStore) -> None:
    async with a_channel(make, limit=2) as channel, trio.open_nursery() as nursery:
        await channel.pause()
        await channel.send("a")
        with refused(trio.WouldBlock):
            await channel.try_recv()
        (receiver,) = await start_calls(nursery, channel.recv)
        with refused(QueueBusyError):
            await channel.recv_many(1)
        await channel.send("b")
        equal(await channel.try_send("c"), False)
        equal((receiver.outcome, (await channel.statistics()).paused), (None, True))
        await channel.resume()
        await wait_all_tasks_blocked()
        equal(receiver.outcome, "a")
        equal(await channel.recv(), "b")


async def _a_pause_ends_at_its_instant(make: MakeStore) -> None:
    async with a_channel(make) as channel:
        begin = channel.clock.now_ns()
        await channel.pause(9)
        await channel.pause(5)
        await channel.send("a")
        equal(await channel.recv(), "a")
        equal(channel.clock.now_ns() - begin, 5 * SECOND)
        equal((await channel.statistics()).paused, False)


async def _a_paused_channel_that_is_closed_and_drained_has_ended(make: MakeStore) -> None:
    async with a_channel(make) as channel, trio.open_nursery() as nursery:
        await channel.pause()
        (receiver,) = await start_calls(nursery, channel.recv)
        await channel.close()
        await wait_all_tasks_blocked()
        equal(receiver.outcome, QueueEndedError)


async def _statistics_are_of_now_and_ever(make: MakeStore) -> None:
    async with a_channel(make, limit=4) as channel, trio.open_nursery() as nursery:
        await fill(channel, *"abcd")
        await start_calls(nursery, partial(channel.send, "e"), partial(channel.send, "f"))
        numbers = await channel.statistics()
        equal((numbers.length, numbers.limit, numbers.sending), (4, 4, 2))
        equal((numbers.sent, numbers.received, numbers.cleared), (4, 0, 0))
        await channel.recv()
        await channel.recv_many(2)
        await channel.clear()
        await start_calls(nursery, channel.recv)
        numbers = await channel.statistics()
        equal((numbers.length, numbers.waiting, numbers.sending), (0, 1, 0))
        equal((numbers.sent, numbers.received, numbers.cleared), (6, 3, 3))
        equal((numbers.closed, numbers.paused, numbers.restarts), (False, False, 0))
        await channel.close()
        equal((await channel.statistics()).closed, True)


async def _a_restart_changes_nothing(make: MakeStore) -> None:
    async with a_runtime(make) as runtime:
        channel = await runtime.define("c", kind="channel", limit=3)
        await fill(channel, "a", "b", "c")
        await channel.pause()
        await runtime.restart("c")
        equal(await channel.try_send("d"), False)
        with refused(trio.WouldBlock):
            channel.send_nowait("d")
        with refused(trio.WouldBlock):
            await channel.try_recv()
        await channel.resume()
        equal(await channel.recv(), "a")
        equal(await channel.try_send("d"), True)
        await channel.close()
        await runtime.restart("c")
        with refused(QueueClosedError):
            channel.send_nowait("e")
        equal([value async for value in channel], ["b", "c", "d"])
        equal((await channel.statistics()).sent, 4)


async def _the_first_definition_stands(make: MakeStore) -> None:
    async with a_runtime(make) as runtime:
        first = await runtime.define("c", kind="channel", limit=1)
        await first.send("a")
        for options in ({}, {"limit": 5}, {"snapshot": False}):
            again = await runtime.define("c", kind="channel", **options)
            equal(again is first, True)
        equal(await first.try_send("b"), False)
        await first.close()
        equal(await (await runtime.define("c", kind="channel")).is_closed(), True)
        with refused(ValueError):
            await runtime.define("c", kind="channel", limit=0)
        with refused(ValueError):
            await runtime.define("c", kind="timed", reservation_time=1)


# -- values --------------------------------------------------------------------------------------


async def _what_is_sent_is_a_copy(make: MakeStore) -> None:
    async with a_channel(make) as channel:
        inner: list[object] = [1]
        data = bytearray(b"a")
        value: dict[str, object] = {"list": inner, "tuple": (inner, {2}), "bytes": data}
        await channel.send(value)
        inner.append("changed")
        value["list"] = "changed"
        data.extend(b"changed")
        equal(await channel.recv(), {"list": [1], "tuple": ([1], {2}), "bytes": bytearray(b"a")})


async def _without_snapshots_what_is_sent_is_what_comes_out(make: MakeStore) -> None:
    async with a_channel(make, snapshot=False) as channel:
        for value in ([1], print, threading.Lock()):
            await channel.send(value)
            equal((await channel.recv()) is value, True)


async def _what_cannot_be_sent_is_refused_before_any_wait(make: MakeStore) -> None:
    async with a_channel(make, limit=1) as channel:
        await channel.send("a")
        for bad in (print, [print], {"key": (channel,)}, (each for each in "ab")):
            for send in (channel.send, partial(channel.send_timeout, seconds=1), channel.try_send):
                with refused(TypeError):
                    await send(bad)
            with refused(TypeError):
                channel.send_nowait(bad)
        await channel.close()
        with refused(TypeError):
            await channel.try_send(print)
        equal(await drain(channel), ["a"])


async def _a_bad_argument_is_refused_before_anything_happens(make: MakeStore) -> None:
    async with a_channel(make) as channel:
        await channel.send("a")
        for limit in (0, -1, 1.5, True, None):
            with refused(ValueError):
                await channel.recv_many(limit)  # type: ignore[arg-type]
            with refused(ValueError):
                channel.batches(limit)  # type: ignore[arg-type]
        for seconds in (-1, float("nan"), float("inf"), "1"):
            with refused(ValueError):
                await channel.send_timeout("b", seconds)  # type: ignore[arg-type]
        with refused(ValueError):
            await channel.pause(0)
        equal(await drain(channel), ["a"])


async def _a_handle_says_what_it_is(make: MakeStore) -> None:
    async with a_channel(make) as channel:
        equal((channel.name, channel.kind), ("c", "channel"))
        equal(repr(channel), "<ChannelQueue 'c', store 'memory'>")
        equal(repr(channel.submit), "<ChannelQueue 'c', store 'memory'>.submit")
        equal(isinstance(channel, trio.abc.SendChannel), True)
        equal(isinstance(channel, trio.abc.ReceiveChannel), True)
        equal(issubclass(QueueEndedError, QueueActorsError), True)


async def _submitted_operations_answer_later(make: MakeStore) -> None:
    async with a_channel(make, limit=1) as channel:
        submit = channel.submit
        replies = [submit.send("a"), submit.send("b"), submit.send_timeout("c", 1)]
        equal(await submit.try_send("d").get(), False)
        equal([reply.is_ready for reply in replies], [True, False, False])
        equal((await submit.len().get(), await submit.is_empty().get()), (1, False))
        equal((await submit.statistics().get()).sending, 2)
        with refused(trio.TooSlowError):
            await replies[2].get()
        await submit.pause().get()
        await submit.resume().get()
        equal(await submit.clear().get(), 1)
        await replies[1].get()
        await submit.close().get()
        equal(await submit.is_closed().get(), True)
        equal(await drain(channel), ["b"])


CHANNEL_RULES: Final[tuple[ChannelRule, ...]] = (
    _values_come_in_the_order_in_which_they_went_in,
    _who_looks_takes_nothing_and_gets_copies,
    _every_way_to_receive_takes_the_oldest,
    _none_and_other_empty_values_are_values,
    _a_receiver_waits_for_a_value,
    _an_empty_channel_has_nothing_to_take_now,
    _a_second_receiver_that_would_wait_is_refused,
    _a_receiver_that_left_swallows_nothing,
    _a_loop_receives_until_the_end,
    _batches_end_when_the_channel_ends,
    _without_a_limit_there_is_always_room,
    _a_full_channel_takes_nothing_more,
    _a_receive_makes_room,
    _senders_are_served_in_the_order_in_which_they_began_to_wait,
    _nobody_overtakes_a_sender_that_waits,
    _a_sender_that_left_sends_nothing,
    _a_place_at_the_very_instant_of_a_timeout_is_taken,
    _what_is_sent_without_waiting_has_its_place_at_once,
    _a_full_mailbox_is_no_room_either,
    _a_closed_channel_takes_nothing_in,
    _what_is_left_can_be_received_after_the_close,
    _a_close_wakes_a_receiver_that_waits,
    _a_close_wakes_senders_that_wait,
    _what_was_on_its_way_at_the_close_still_comes,
    _async_with_closes_it_also_when_cancelled,
    _clear_throws_all_away_and_makes_room,
    _what_is_given_back_comes_first,
    _what_is_given_back_wakes_a_receiver,
    _a_paused_channel_takes_in_and_hands_nothing_out,
    _a_pause_ends_at_its_instant,
    _a_paused_channel_that_is_closed_and_drained_has_ended,
    _statistics_are_of_now_and_ever,
    _a_restart_changes_nothing,
    _the_first_definition_stands,
    _what_is_sent_is_a_copy,
    _without_snapshots_what_is_sent_is_what_comes_out,
    _what_cannot_be_sent_is_refused_before_any_wait,
    _a_bad_argument_is_refused_before_anything_happens,
    _a_handle_says_what_it_is,
    _submitted_operations_answer_later,
)
