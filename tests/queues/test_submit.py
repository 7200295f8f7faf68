"""The submit view: every operation of the handle, sent without waiting."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, assert_type

import pytest
import trio

from queueactors import (
    CapacityQueue,
    CapacitySubmit,
    ChannelQueue,
    ChannelSubmit,
    LogQueue,
    LogSubmit,
    MessageQueue,
    MessageSubmit,
    Reservation,
    TimedMessage,
    TimedQueue,
    TimedStatistics,
    TimedSubmit,
)
from supervisors import ActorCrashedError, ActorDownError, PendingReply

from .kit import FaultyStore, crash_once, running, settle

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock


KINDS = [
    # the handle and its view; what the view leaves out on purpose; how many it has
    (TimedQueue, TimedSubmit, {"reserved"}, 22),
    (MessageQueue, MessageSubmit, set[str](), 18),
    (CapacityQueue, CapacitySubmit, set[str](), 15),
    (LogQueue, LogSubmit, set[str](), 16),
    (ChannelQueue, ChannelSubmit, {"recv", "receive", "try_recv", "recv_many"}, 12),
]


def _operations(owner: type) -> set[str]:
    """Return the names of what is public and may be awaited or submitted."""
    return {
        name
        for name in dir(owner)
        if not name.startswith("_") and hasattr(getattr(owner, name), "__wrapped__")
    }


@pytest.mark.parametrize(("handle", "view", "left_out", "count"), KINDS)
def test_every_operation_that_answers_has_its_twin(
    handle: type, view: type, left_out: set[str], count: int
) -> None:
    twins = _operations(view)

    assert twins == _operations(handle) - left_out
    assert len(twins) == count


@pytest.mark.parametrize(
    ("handle", "view", "name"),
    [(handle, view, name) for handle, view, _, _ in KINDS for name in sorted(_operations(view))],
)
def test_a_twin_has_the_same_arguments(handle: type, view: type, name: str) -> None:
    twin, method = getattr(view, name), getattr(handle, name)

    assert inspect.signature(twin) == inspect.signature(method)
    assert twin.__doc__ == method.__doc__


async def test_a_twin_has_the_same_types(autojump_clock: MockClock) -> None:
    async with running() as rig:
        submit = rig.queue.submit
        assert_type(submit.insert("a", at=1 << 62), PendingReply[int])
        assert_type(submit.reserve(5, timeout=3), PendingReply[Reservation])
        assert_type(submit.try_reserve(), PendingReply[Reservation | None])
        assert_type(submit.reserve_many(5, timeout=0), PendingReply[list[Reservation]])
        assert_type(submit.statistics(), PendingReply[TimedStatistics])
        assert_type(submit.peek(), PendingReply[list[TimedMessage]])
        assert_type(await rig.queue.try_reserve(), Reservation | None)
        assert_type(await rig.queue.len(), int)
        assert repr(submit) == "<TimedQueue 'q', store 'memory'>.submit"


async def test_a_bad_argument_is_refused_at_the_call(autojump_clock: MockClock) -> None:
    async with running() as rig:
        with pytest.raises(ValueError, match="expected limit to be an int >= 1, got 0"):
            rig.queue.submit.kick(0)
        with pytest.raises(TypeError):
            rig.queue.submit.kick(limits=1)  # type: ignore[call-arg] # on purpose

        assert rig.queue.inflight_ops == 0


@pytest.mark.parametrize(
    ("call", "instead"),
    [
        (lambda queue: queue.reserve(0), "to take what is there without waiting, call try_reserve"),
        (lambda queue: queue.try_reserve(0), "to take what is there without waiting, call "),
        (lambda queue: queue.reserve_many(5, 0.0), "to take what is there without waiting, call "),
        (lambda queue: queue.prolongate(5, 0), r"to give the message back now, call release\(\)$"),
        (lambda queue: queue.touch(5, 0), r"to give the message back now, call release\(\)$"),
    ],
)
async def test_a_reservation_of_0_seconds_says_what_to_call_instead(
    call: Callable[[TimedQueue], object], instead: str, autojump_clock: MockClock
) -> None:
    async with running() as rig:
        rule = r"^expected seconds, how long it is yours, to be > 0, got 0; "
        with pytest.raises(ValueError, match=rule + instead):
            call(rig.queue)


async def test_a_block_of_0_seconds_says_what_to_call_instead(autojump_clock: MockClock) -> None:
    async with running() as rig:
        with pytest.raises(ValueError, match=r"call try_reserve"):
            await rig.queue.reserved(0).__aenter__()


async def test_an_answer_may_be_dropped_and_read_again(autojump_clock: MockClock) -> None:
    async with running() as rig:
        rig.queue.submit.insert("a")
        reply = rig.queue.submit.statistics()
        await settle()
        rig.queue.submit.insert("b")
        await settle()

        assert reply.get_nowait() is await reply.get()
        assert (reply.get_nowait().ready, await rig.queue.len()) == (1, 2)


async def test_the_numbers_are_those_of_the_answer(autojump_clock: MockClock) -> None:
    async with running() as rig:
        first = rig.queue.submit.statistics()
        rig.queue.submit.reserve()
        rig.queue.submit.reserve()
        second = rig.queue.submit.statistics()
        await settle()

        # One batch: what stands behind them in it was not in the mailbox any more.
        assert (first.get_nowait().mailbox, second.get_nowait().waiting) == (0, 2)


async def test_what_is_in_flight_when_the_actor_crashes_or_ends_is_answered(
    autojump_clock: MockClock,
) -> None:
    async with running(FaultyStore(crash_once("statistics")), max_length=1) as rig:
        crashing = rig.queue.submit.statistics()
        inserted = rig.queue.submit.insert("a")
        waiting = rig.queue.submit.wait_insert("b")
        await settle()

        with pytest.raises(ActorCrashedError):
            crashing.get_nowait()
        assert (inserted.get_nowait(), waiting.is_ready) == (1, False)
        await rig.supervisor.terminate_child("q")
        with pytest.raises(ActorDownError):
            await waiting.get()
        with pytest.raises(ActorDownError):
            rig.queue.submit.len()


async def test_a_wait_that_was_submitted_can_time_out(autojump_clock: MockClock) -> None:
    async with running(max_length=1) as rig:
        await rig.queue.insert("a")
        reply = rig.queue.submit.wait_insert("b", timeout=2)

        with pytest.raises(trio.TooSlowError):
            await reply.get()
        assert trio.current_time() == 2
