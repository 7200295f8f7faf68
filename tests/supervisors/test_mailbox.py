"""The mailbox and its operations, on their own."""
# ruff: noqa: SLF001 - looks inside

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from supervisors import (
    ActorCrashedError,
    ActorDownError,
    Mailbox,
    Operation,
    PendingReply,
)

from .kit import Boom, settle

if TYPE_CHECKING:
    from supervisors import DownReason


async def serve(mailbox: Mailbox) -> None:
    """Answer every operation with its own first argument."""
    while True:
        for operation in mailbox.take(16):
            if operation.state == "queued":
                operation.take()
                operation.value = operation.args[0]
                operation.resolve()
        await mailbox.wait()


async def call_cancelled(mailbox: Mailbox, operation: Operation) -> None:
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(mailbox.call, operation)
            await settle()
            scope.cancel()


async def test_a_call_gets_its_answer() -> None:
    mailbox = Mailbox("x")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, mailbox)

        assert await mailbox.call(Operation("echo", (7,))) == 7
        nursery.cancel_scope.cancel()


async def test_operations_are_taken_in_order_and_up_to_the_limit() -> None:
    mailbox = Mailbox("x")
    sent = [Operation(str(n)) for n in range(5)]
    for operation in sent:
        mailbox.cast(operation)

    assert mailbox.take(2) == sent[:2]
    assert mailbox.take(9) == sent[2:]
    assert mailbox.take(9) == []


async def test_a_full_mailbox_refuses_casts() -> None:
    mailbox = Mailbox("x", 2)
    mailbox.cast(Operation("a"))
    mailbox.cast(Operation("b"))

    with pytest.raises(trio.WouldBlock):
        mailbox.cast(Operation("c"))

    assert len(mailbox) == 2


async def test_a_cast_from_another_thread_is_refused_and_harms_nobody() -> None:
    mailbox = Mailbox("a", bound=1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.wait)
        await settle()

        with pytest.raises(RuntimeError):
            await trio.to_thread.run_sync(mailbox.cast, Operation("x"))

        assert (len(mailbox), mailbox.casts) == (0, 0)
        mailbox.cast(Operation("y"))
        with trio.fail_after(10):
            await settle()
            assert not nursery.child_tasks


async def test_waiting_calls_do_not_fill_a_mailbox() -> None:
    mailbox = Mailbox("x", 1)
    async with trio.open_nursery() as nursery:
        for n in range(5):
            nursery.start_soon(mailbox.call, Operation("call", (n,)))
        await settle()

        mailbox.cast(Operation("cast"))

        assert (len(mailbox), mailbox.casts) == (6, 1)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("limit", [1, 2, 3, 99])
async def test_casts_are_counted_exactly(limit: int) -> None:
    mailbox = Mailbox("x", 3)
    async with trio.open_nursery() as nursery:
        for n in range(3):
            nursery.start_soon(mailbox.call, Operation("call", (n,)))
            await settle()
            mailbox.cast(Operation("cast", (n,)))
        left = 6
        while left:
            batch = mailbox.take(limit)
            mailbox.put_back(batch[1:])
            left -= 1
            assert mailbox.casts == (left + 1) // 2
            for operation in batch[:1]:
                operation.resolve()

    assert mailbox.casts == 0


async def test_a_cancelled_call_is_withdrawn() -> None:
    mailbox = Mailbox("x")
    operation = Operation("a")

    await call_cancelled(mailbox, operation)

    assert operation.state == "withdrawn"
    assert len(mailbox) == 0
    assert mailbox.take(9) == []


async def test_a_call_in_a_cancelled_scope_sends_nothing() -> None:
    mailbox = Mailbox("x")
    operation = Operation("a")

    with trio.CancelScope() as scope:
        scope.cancel()
        await mailbox.call(operation)

    assert operation.state == "withdrawn"
    assert mailbox.take(9) == []


async def test_withdrawn_operations_do_not_pile_up() -> None:  # trap 5
    mailbox = Mailbox("x")
    for _ in range(500):
        await call_cancelled(mailbox, Operation("a"))

    assert len(mailbox) == 0
    assert len(mailbox._queue) < 70


async def test_withdrawn_operations_among_live_ones_do_not_pile_up_either() -> None:
    mailbox = Mailbox("x", 100)
    live = [Operation(str(n)) for n in range(100)]
    for operation in live:
        mailbox.cast(operation)
        for _ in range(5):
            await call_cancelled(mailbox, Operation("dead"))

    assert len(mailbox._queue) <= 201
    assert mailbox.take(999) == live
    assert mailbox.casts == 0


async def test_an_operation_withdrawn_after_it_was_taken_does_not_upset_the_count() -> None:
    mailbox = Mailbox("x")
    operation = Operation("a")
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(mailbox.call, operation)
            await settle()
            batch = mailbox.take(9)
            scope.cancel()

    assert batch == [operation]
    assert operation.state == "withdrawn"
    assert len(mailbox) == 0
    mailbox.put_back(batch)
    assert mailbox.take(9) == []


async def test_a_taken_operation_goes_on_without_its_caller() -> None:
    mailbox = Mailbox("x")
    operation = Operation("a")
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(mailbox.call, operation)
            await settle()
            (taken,) = mailbox.take(1)
            taken.take()
            scope.cancel()

    assert operation.state == "taken"
    operation.resolve()  # harms nobody


async def test_a_firm_operation_keeps_its_caller_until_it_is_answered() -> None:
    mailbox = Mailbox("x")
    operation = Operation("a")
    answers: list[object] = []

    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def cancelled_caller() -> None:
            with scope:
                answers.append(await mailbox.call(operation))

        nursery.start_soon(cancelled_caller)
        await settle()
        (taken,) = mailbox.take(1)
        taken.state = "firm"
        scope.cancel()
        await settle()
        assert answers == []
        taken.value = "done"
        taken.resolve()

    assert answers == ["done"]
    assert not scope.cancelled_caught  # trap 14: no check after the answer


async def test_a_full_mailbox_of_withdrawn_calls_takes_casts() -> None:  # trap 5
    mailbox = Mailbox("x", 1)
    for _ in range(20):
        await call_cancelled(mailbox, Operation("a"))

    mailbox.cast(Operation("b"))

    assert [each.method for each in mailbox.take(99)] == ["b"]


async def test_a_reader_may_take_what_a_cancelled_sender_is_just_sending() -> None:  # trap 3
    mailbox = Mailbox("x")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, mailbox)
        for _ in range(50):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as inner:
                    inner.start_soon(mailbox.call, Operation("echo", (1,)))
                    await trio.lowlevel.checkpoint()
                    scope.cancel()
        assert await mailbox.call(Operation("echo", (2,))) == 2
        nursery.cancel_scope.cancel()


async def test_what_waits_survives_the_death_of_its_reader() -> None:  # trap 9
    mailbox = Mailbox("x")
    answers: list[object] = []

    async def caller() -> None:
        answers.append(await mailbox.call(Operation("echo", (1,))))

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as first:
            first.cancel()
            await mailbox.wait()
        nursery.start_soon(caller)
        await settle()
        nursery.start_soon(serve, mailbox)
        await settle()
        nursery.cancel_scope.cancel()

    assert answers == [1]


@pytest.mark.parametrize("reason", ["stopped", "parked", "gone"])
async def test_closing_answers_everything(reason: DownReason) -> None:  # trap 11
    mailbox = Mailbox("x")
    pending = Operation("b")
    raised: list[ActorDownError] = []

    async def caller() -> None:
        try:
            await mailbox.call(Operation("a"))
        except ActorDownError as error:
            raised.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller)
        await settle()
        mailbox.cast(pending)
        mailbox.close(reason)

    assert [(each.actor, each.reason) for each in raised] == [("x", reason)]
    with pytest.raises(ActorDownError):
        PendingReply[object](pending).get_nowait()
    with pytest.raises(ActorDownError):
        await mailbox.call(Operation("c"))
    with pytest.raises(ActorDownError):
        mailbox.cast(Operation("d"))


async def test_the_error_tells_how_the_actor_was_down_though_it_starts_again() -> None:
    mailbox = Mailbox("a")
    mailbox.close("stopped")

    class Reopen(trio.abc.Instrument):
        def after_task_step(self, _task: trio.lowlevel.Task) -> None:
            mailbox.reopen()

    trio.lowlevel.add_instrument(spy := Reopen())
    with pytest.raises(ActorDownError, match="actor 'a' is stopped"):
        await mailbox.call(Operation("x"))
    trio.lowlevel.remove_instrument(spy)


async def test_closing_leaves_what_is_in_hand_to_its_actor() -> None:
    mailbox = Mailbox("x")
    operation = Operation("a")
    mailbox.cast(operation)
    (taken,) = mailbox.take(1)
    taken.take()

    mailbox.close("gone")

    assert operation.state == "taken"


async def test_putting_back_into_a_closed_mailbox_answers() -> None:
    mailbox = Mailbox("x")
    operation = Operation("a")
    mailbox.cast(operation)
    batch = mailbox.take(1)
    mailbox.close("gone")

    mailbox.put_back(batch)

    with pytest.raises(ActorDownError, match="actor 'x' is gone"):
        PendingReply[object](operation).get_nowait()


async def test_a_reopened_mailbox_takes_messages() -> None:
    mailbox = Mailbox("x")
    mailbox.close("stopped")

    mailbox.reopen()
    mailbox.cast(Operation("a"))

    assert len(mailbox) == 1


async def test_what_is_put_back_comes_first_and_in_order() -> None:
    mailbox = Mailbox("x")
    sent = [Operation(str(n)) for n in range(4)]
    for operation in sent[:3]:
        mailbox.cast(operation)
    batch = mailbox.take(9)
    mailbox.cast(sent[3])

    mailbox.put_back(batch[1:])

    assert mailbox.take(9) == sent[1:]


async def test_only_one_task_reads() -> None:
    mailbox = Mailbox("x")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.wait)
        await settle()

        with pytest.raises(trio.BusyResourceError, match="'x'"):
            await mailbox.wait()
        mailbox.wake()


async def test_a_wake_is_remembered() -> None:
    mailbox = Mailbox("x")
    mailbox.wake()

    await mailbox.wait()
    with trio.move_on_after(0) as scope:
        await mailbox.wait()

    assert scope.cancelled_caught


async def test_the_owner_cannot_call_itself() -> None:
    mailbox = Mailbox("x")
    mailbox.owner = trio.lowlevel.current_task()

    with pytest.raises(RuntimeError, match="actor 'x' calls itself"):
        await mailbox.call(Operation("a"))

    assert len(mailbox) == 0


async def test_a_pending_reply_is_repeatable() -> None:
    operation = Operation("a")
    reply = PendingReply[object](operation)
    with pytest.raises(trio.WouldBlock):
        reply.get_nowait()
    assert not reply.is_ready

    operation.value = 5
    operation.resolve()

    assert await reply.get() == 5
    assert [reply.get_nowait(), reply.try_get(), await reply.get(), await reply.get()] == [5] * 4


async def test_a_pending_reply_wakes_all_who_wait() -> None:
    operation = Operation("a")
    reply = PendingReply[object](operation)
    got: list[object] = []

    async def get() -> None:
        got.append(await reply.get())

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(get)
        await settle()
        operation.value = 1
        operation.resolve()

    assert got == [1, 1, 1]


async def test_a_cancelled_get_harms_nobody() -> None:
    operation = Operation("a")
    reply = PendingReply[object](operation)
    with trio.move_on_after(0):
        await reply.get()

    operation.value = 1
    operation.resolve()

    assert await reply.get() == 1


async def test_the_traceback_of_a_repeated_error_does_not_grow() -> None:
    operation = Operation("a")
    operation.crashed("x", Boom())
    reply = PendingReply[object](operation)
    depths = []
    for _ in range(3):
        with pytest.raises(ActorCrashedError) as caught:
            reply.get_nowait()
        depths.append(len(caught.traceback))

    assert depths[0] == depths[1] == depths[2]


def test_reprs_tell_what_matters() -> None:
    operation = Operation("insert")

    assert repr(operation) == "<Operation insert queued>"
    assert repr(PendingReply[object](operation)) == "<PendingReply to insert, ready: False>"
