"""What the tests of Carmine's message queue check, one test each, at our operations.

Its names and numbers are kept; its times, in milliseconds there, are seconds. Where it polls, we
ask; what its polls answer beside a message (``skip``, ``sleep``) is a look at the status here. A
finished message waits for its garbage collection there (``done-awaiting-gc``), and is gone here.

Source: what the tests of Carmine's message queue, version 2, assert.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from queueactors import ClaimLostError, Enqueued, MessageQueue, QueueStatus, open_runtime

from .kit import running_kind, settle, start

if TYPE_CHECKING:
    from trio.testing import MockClock

running = partial(running_kind, MessageQueue, "tq1")

HOUR = 3600  # seconds: the reference's default lock


def added(mid: str) -> Enqueued:
    return Enqueued(True, mid, "added")


def refused(mid: str, error: str) -> Enqueued:
    return Enqueued(False, mid, None, error)  # type: ignore[arg-type] # one of its three


# -- basics ----------------------------------------------------------------------------------------


async def test_an_empty_queue_has_nothing(autojump_clock: MockClock) -> None:
    async with running() as rig:
        assert await rig.queue.try_claim() is None
        assert await rig.queue.queue_status() == QueueStatus(0, 0, 0, 0)


async def test_a_mid_goes_in_once_and_can_be_updated(autojump_clock: MockClock) -> None:
    async with running() as rig:
        queue = rig.queue

        assert await queue.enqueue("msg1a", "mid1") == added("mid1")
        assert await queue.message_status("mid1") == "queued"
        assert await queue.enqueue("msg1b", "mid1") == refused("mid1", "already-queued")
        updated = await queue.enqueue("msg1c", "mid1", can_update=True)
        assert updated == Enqueued(True, "mid1", "updated")
        assert await queue.message_status("mid1") == "queued"


async def test_what_is_claimed_is_the_update_and_is_locked_for_an_hour(
    autojump_clock: MockClock,
) -> None:
    async with running() as rig:
        queue = rig.queue
        await queue.enqueue("msg1a", "mid1")
        await queue.enqueue("msg1b", "mid1", can_update=True)

        claim = await queue.claim()

        assert (claim.mid, claim.message, claim.attempt) == ("mid1", "msg1b", 1)
        assert claim.lock_time == HOUR
        assert await queue.message_status("mid1") == "locked"
        assert await queue.try_claim() is None


async def test_a_queue_is_listed_by_its_name(autojump_clock: MockClock) -> None:
    async with open_runtime() as runtime:
        await runtime.define("tq1", kind="message")

        assert runtime.queue_names("tq*") == ("tq1",)


# -- init-backoff ----------------------------------------------------------------------------------


async def test_backoffs_at_first_end_independently(autojump_clock: MockClock) -> None:
    async with running() as rig:
        queue = rig.queue
        assert await queue.enqueue("msg1", "mid1", init_backoff=0.5) == added("mid1")
        assert await queue.enqueue("msg2", "mid2", init_backoff=0.125) == added("mid2")
        content = await queue.queue_content()
        assert [(mid, info.message) for mid, info in content.items()] == [
            ("mid1", "msg1"),
            ("mid2", "msg2"),
        ]
        assert await queue.enqueue("msg1", "mid1") == refused("mid1", "already-queued")
        assert await queue.enqueue("msg2", "mid2") == refused("mid2", "already-queued")
        assert await queue.try_claim() is None

        await trio.sleep(0.125)
        assert await queue.message_status("mid1") == "queued-with-backoff"
        assert await queue.message_status("mid2") == "queued"
        await trio.sleep(0.375)
        assert await queue.message_status("mid1") == "queued"
        assert await queue.enqueue("msg1", "mid1") == refused("mid1", "already-queued")


async def test_a_backoff_at_first_can_be_reset(autojump_clock: MockClock) -> None:
    async with running() as rig:
        queue = rig.queue
        await queue.enqueue("msg1", "mid1", init_backoff=0.5)
        await queue.enqueue("msg2", "mid2", init_backoff=0.125)
        await trio.sleep(0.125)

        reset = await queue.enqueue("msg2", "mid2", init_backoff=5, reset_init_backoff=True)
        await trio.sleep(0.375)

        assert reset == Enqueued(True, "mid2", "updated")
        claim = await queue.claim()
        assert (claim.mid, claim.attempt) == ("mid1", 1)
        assert await queue.try_claim() is None
        assert await queue.message_status("mid2") == "queued-with-backoff"


# -- handlers --------------------------------------------------------------------------------------


async def test_a_success_is_gone(autojump_clock: MockClock) -> None:
    async with running() as rig:
        await rig.queue.enqueue("msg1", "mid1")

        await (await rig.queue.claim()).finish("success")

        assert await rig.queue.message_status("mid1") is None
        assert await rig.queue.try_claim() is None


async def test_an_error_is_not_tried_again(autojump_clock: MockClock) -> None:
    async with running() as rig:
        await rig.queue.enqueue("msg1", "mid1")

        await (await rig.queue.claim()).finish("error", 2)

        assert await rig.queue.message_status("mid1") is None
        assert await rig.queue.try_claim() is None


async def test_a_success_with_a_backoff_is_done_with_it_and_then_gone(
    autojump_clock: MockClock,
) -> None:
    async with running() as rig:
        await rig.queue.enqueue("msg1", "mid1")

        await (await rig.queue.claim()).finish("success", 2)

        assert await rig.queue.message_status("mid1") == "done-with-backoff"
        assert await rig.queue.try_claim() is None
        await trio.sleep(2)
        assert await rig.queue.message_status("mid1") is None


async def test_a_retry_with_a_backoff_is_the_second_attempt_then(
    autojump_clock: MockClock,
) -> None:
    async with running() as rig:
        await rig.queue.enqueue("msg1", "mid1")

        await (await rig.queue.claim()).finish("retry", 2)

        assert await rig.queue.message_status("mid1") == "queued-with-backoff"
        assert await rig.queue.try_claim() is None
        await trio.sleep(2)
        assert (await rig.queue.claim()).attempt == 2


@pytest.mark.parametrize(("own", "lasts"), [(None, 1), (2, 2)])
async def test_a_lock_that_times_out_is_the_second_attempt(
    own: float | None, lasts: float, autojump_clock: MockClock
) -> None:
    async with running(lock_time=1 if own is None else 0.5) as rig:
        await rig.queue.enqueue("msg1", "mid1", lock_time=own)
        first = await rig.queue.claim()
        assert first.lock_time == lasts

        await trio.sleep(lasts - 0.25)
        assert await rig.queue.try_claim() is None
        await trio.sleep(0.25)

        again = await rig.queue.claim()
        assert (again.mid, again.attempt, again.lock_time) == ("mid1", 2, lasts)
        with pytest.raises(ClaimLostError):
            await first.finish()


async def test_a_handler_is_given_what_it_needs(autojump_clock: MockClock) -> None:
    async with running() as rig:
        await rig.queue.enqueue("msg1", "mid1", lock_time=7)
        await trio.sleep(3)

        claim = await rig.queue.claim()

        assert rig.queue.name == "tq1"
        assert (claim.mid, claim.message, claim.attempt) == ("mid1", "msg1", 1)
        assert (claim.lock_time, claim.age) == (7, 3)


# -- requeue ---------------------------------------------------------------------------------------


async def test_a_requeue_while_it_is_locked(autojump_clock: MockClock) -> None:
    async with running() as rig:
        queue = rig.queue
        await queue.enqueue("msg1a", "mid1")
        claim = await queue.claim()

        assert await queue.enqueue("msg1b", "mid1") == refused("mid1", "locked")
        assert await queue.enqueue("msg1c", "mid1", can_requeue=True) == added("mid1")
        again = await queue.enqueue("msg1d", "mid1", can_requeue=True)
        assert again == refused("mid1", "already-queued")
        updated = await queue.enqueue(
            "msg1e", "mid1", lock_time=0.5, can_requeue=True, can_update=True
        )
        assert updated == Enqueued(True, "mid1", "updated")
        assert await queue.message_status("mid1") == "locked-with-requeue"
        await claim.finish("success", 1)
        assert await queue.message_status("mid1") == "done-with-requeue"
        await trio.sleep(1)
        requeued = await queue.claim()
        assert (requeued.message, requeued.attempt) == ("msg1e", 1)
        assert requeued.lock_time == 0.5


async def test_a_requeue_while_it_is_done_with_a_backoff(autojump_clock: MockClock) -> None:
    async with running() as rig:
        queue = rig.queue
        await queue.enqueue("msg1a", "mid1")
        await (await queue.claim()).finish("success", 2)

        assert await queue.enqueue("msg1b", "mid1") == refused("mid1", "backoff")
        assert await queue.enqueue("msg1c", "mid1", can_requeue=True) == added("mid1")
        assert await queue.message_status("mid1") == "done-with-requeue"
        assert await queue.try_claim() is None
        await trio.sleep(2)
        assert (await queue.claim()).message == "msg1c"


# -- workers ---------------------------------------------------------------------------------------


async def test_messages_are_handled_in_their_order_and_gone(autojump_clock: MockClock) -> None:
    async with running() as rig, trio.open_nursery() as nursery:
        queue = rig.queue
        await queue.enqueue("msg1", "mid1")
        await queue.enqueue("msg2", "mid2")
        assert [*await queue.queue_content()] == ["mid1", "mid2"]
        handled = []

        async def work() -> None:
            while True:
                claim = await queue.claim()
                handled.append(claim.message)
                await claim.finish()

        worker = await start(nursery, work)
        await trio.sleep(1)

        assert handled == ["msg1", "msg2"]
        assert not worker.done
        assert await queue.queue_content() == {}
        await queue.enqueue("msg3", "mid3")
        await settle()
        assert handled[-1] == "msg3"
        nursery.cancel_scope.cancel()
