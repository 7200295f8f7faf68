"""The one loop: its batches, its timer, its mailbox, and what becomes of those who wait."""

from __future__ import annotations

import pickle
import signal
from time import thread_time
from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from trio.testing import MockClock

from queueactors.engines import LocalEngine
from queueactors.engines._protocol import Lane
from supervisors import ActorCrashedError, ActorDownError, Backoff, Operation

from .kit import FaultyStore, Steps, crash_once, error_of, everything_in, running, settle, start

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queueactors import Reservation
    from queueactors.engines import Engine, Parked
    from queueactors.stores import Kind
    from tests.conftest import Events

SLOW_RESTART = Backoff(min=100, max=100, jitter=0)


# -- batches -----------------------------------------------------------------------------------


async def test_casts_of_one_task_are_carried_out_in_order(autojump_clock: MockClock) -> None:
    async with running() as rig:
        for value in range(600):
            rig.queue.insert_nowait(value)

        assert await everything_in(rig.queue) == list(range(600))


async def test_a_long_mailbox_lets_other_tasks_run_after_each_batch(
    autojump_clock: MockClock,
) -> None:
    """Trap 10: 256 operations between two checkpoints."""
    longest = 0
    since = 0

    def count(_number: int, _method: str) -> bool:
        nonlocal longest, since
        since += 1
        longest = max(longest, since)
        return False

    async with running(FaultyStore(count), mailbox=10_000) as rig:
        for value in range(5_000):
            rig.queue.insert_nowait(value)

        while len(rig.mailbox):
            since = 0
            await trio.lowlevel.checkpoint()

        assert longest <= 2 * 256  # one batch before and one after this task in trio's round
        assert await rig.queue.len() == 5_000


async def test_many_ends_of_reservations_at_one_instant_let_other_tasks_run(
    autojump_clock: MockClock,
) -> None:
    async with running(unique=True) as rig:
        await rig.queue.insert(*range(5_000))
        await rig.queue.reserve_many(5_000, 10)

        async with trio.open_nursery() as nursery:
            turns = await nursery.start(_count_turns, trio.current_time() + 10)
            again = await rig.queue.reserve_many(5_000)
            nursery.cancel_scope.cancel()

        assert [each.value for each in again] == list(range(5_000))
        assert turns[0] >= 4


async def test_clearing_a_long_queue_lets_other_tasks_run(autojump_clock: MockClock) -> None:
    async with running(unique=True) as rig:
        await rig.queue.insert(*range(5_000))
        assert await rig.queue.clear() == 5_000

        async with trio.open_nursery() as nursery:
            turns = await nursery.start(_count_turns, 0)
            assert await rig.queue.insert(1) == 1
            nursery.cancel_scope.cancel()

        assert turns[0] >= 4


async def test_a_restart_of_a_long_queue_lets_other_tasks_run(autojump_clock: MockClock) -> None:
    async with running(FaultyStore(crash_once("length"))) as rig:
        await rig.queue.insert(*range(5_000))

        async with trio.open_nursery() as nursery:
            turns = await nursery.start(_count_turns, 0)
            with pytest.raises(ActorCrashedError):
                await rig.queue.len()
            assert await rig.queue.len() == 5_000
            nursery.cancel_scope.cancel()

        assert turns[0] >= 10


async def _count_turns(
    at: float, *, task_status: trio.TaskStatus[list[int]] = trio.TASK_STATUS_IGNORED
) -> None:
    """Count own turns, from an instant on."""
    turns = [0]
    task_status.started(turns)
    await trio.sleep_until(at)
    while True:
        await trio.lowlevel.checkpoint()
        turns[0] += 1


async def test_a_batch_has_one_instant(autojump_clock: MockClock) -> None:
    async with running() as rig:
        rig.queue.insert_nowait("a")
        rig.queue.insert_nowait("b")

        messages = await rig.queue.peek("ready", 2)

        assert messages[0].inserted_at == messages[1].inserted_at


async def test_a_full_mailbox_refuses_casts_and_nothing_else(autojump_clock: MockClock) -> None:
    """Trap 3: a waiting call is bounded by its own task."""
    async with running(mailbox=2) as rig:
        rig.queue.insert_nowait("a")
        rig.queue.delete_nowait(12345)
        with pytest.raises(trio.WouldBlock):
            rig.queue.insert_nowait("never")
        with pytest.raises(trio.WouldBlock):
            rig.queue.delete_nowait(12345)

        assert await rig.queue.insert("b") == 1

        rig.queue.insert_nowait("c")
        assert await everything_in(rig.queue) == ["a", "b", "c"]


async def test_a_cast_that_is_dropped_is_logged(events: Events, autojump_clock: MockClock) -> None:
    async with running() as rig:
        await rig.queue.close()
        rig.queue.insert_nowait("a", "b")
        await settle()

    (event,) = [each for each in events if each["event"] == "insert_dropped"]
    assert event == {
        "event": "insert_dropped",
        "log_level": "warning",
        "queue": "q",
        "values": 2,
        "error": "queue 'q' is closed",
    }


async def test_calls_withdrawn_while_the_actor_is_down_block_nobody(
    autojump_clock: MockClock,
) -> None:
    """Trap 5: they leave no entries that fill the mailbox."""
    async with running(
        FaultyStore(crash_once("length", "length")), backoff=SLOW_RESTART, mailbox=10
    ) as rig:
        for _ in range(2):  # the first restart is at once
            with pytest.raises(ActorCrashedError):
                await rig.queue.len()

        for _ in range(500):
            with trio.move_on_after(0.01):
                await rig.queue.insert("never")

        assert len(rig.mailbox._queue) < 100  # noqa: SLF001 - its size is the point
        rig.queue.insert_nowait("live")
        assert await rig.queue.len() == 1
        assert trio.current_time() > 90


# -- the timer ---------------------------------------------------------------------------------


async def test_an_idle_queue_does_nothing(autojump_clock: MockClock) -> None:
    async with running() as rig, trio.open_nursery() as nursery:
        await rig.queue.insert("a")
        await rig.queue.reserve(1e8)
        await start(nursery, rig.queue.reserve)
        await start(nursery, lambda: rig.queue.reserve(timeout=1e8))

        with Steps() as steps:
            await trio.sleep(80_000)

        assert steps.count < 5
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("seconds", [1e-9, 3e-9, 0.1, 1 / 3, 12345.678901234, 1e6 + 1e-9])
async def test_a_deadline_costs_one_turn(seconds: float, autojump_clock: MockClock) -> None:
    """Traps 4 and 13: a timer that fires too early would be set again for ever."""
    async with running() as rig, trio.open_nursery() as nursery:
        await trio.sleep(1e6 / 3)
        await rig.queue.insert("a")
        held = await rig.queue.reserve(seconds)
        taker = await start(nursery, rig.queue.reserve)

        with Steps() as steps:
            await trio.sleep(seconds + 1)

        assert taker.got.value == "a"
        assert steps.count < 15
        with pytest.raises(trio.TooSlowError):
            await rig.queue.reserve(timeout=held.deadline_at % 7 / 1e9)


async def test_many_deadlines_cost_a_turn_each_at_most(autojump_clock: MockClock) -> None:
    async with running(unique=True) as rig, trio.open_nursery() as nursery:
        await rig.queue.insert(*range(100))
        for number in range(100):
            await rig.queue.reserve(1 + number * 37 % 100)
        for number in range(50):
            nursery.start_soon(lambda n: rig.queue.reserve(1000, timeout=n + 0.5), number + 50)
        await settle()

        with Steps() as steps:
            await trio.sleep(200)

        assert steps.count < 700
        assert (await rig.queue.statistics()).ready == 50


@attrs.define(eq=False)
class SlowEngine(LocalEngine):
    """An engine whose batches take time, as those of a server do."""

    seconds: float = 0.0

    async def execute(
        self, batch: Sequence[Operation], now: int, resolved: list[Operation]
    ) -> None:
        await trio.sleep(self.seconds)
        await LocalEngine.execute(self, batch, now, resolved)


@attrs.define(eq=False)
class SlowStore(FaultyStore):
    seconds: float = 0.0

    async def open_engine(self, queue: str, kind: Kind, parked: Parked) -> Engine:
        engine = await self.memory.open_engine(queue, kind, parked)
        return SlowEngine(engine.core, parked, self.seconds)


async def test_a_timer_that_fires_together_with_a_message_does_not_end_the_turn(
    mock_clock: MockClock,
) -> None:
    """Trap 12: an engine that waits is not cancelled by the loop's own timer."""
    async with running(SlowStore()) as rig:
        await rig.queue.insert("a")
        await rig.queue.reserve(5)
        await settle()

        reply = rig.submit("insert", ("b",))  # wakes the loop; before it runs, its timer is due
        mock_clock.jump(10)
        await settle()

        assert reply.is_ready
        assert await rig.queue.len() == 2


async def test_a_timer_does_not_fire_in_a_turn(autojump_clock: MockClock) -> None:
    """Trap 12 again: a deadline that passes while a batch is carried out."""
    async with running(SlowStore(seconds=3)) as rig:
        await rig.queue.insert("a")
        await rig.queue.reserve(5)
        await trio.sleep(4)

        with trio.fail_after(10):
            assert await rig.queue.insert("b") == 1
            assert await rig.queue.len() == 2


def test_lanes_are_left_from_the_front_in_linear_time() -> None:
    """Trap 6: a plain dict would be quadratic."""

    def seconds(count: int) -> float:
        lane = Lane()
        for _ in range(count):
            lane[Operation("reserve")] = None
        before = thread_time()
        while (first := lane.first()) is not None:
            lane.withdrawn(first)
        return thread_time() - before

    few = min(seconds(2_000) for _ in range(3))
    many = min(seconds(40_000) for _ in range(2))

    assert many < 100 * few  # 20 times in linear time, 400 in quadratic


# -- the end -----------------------------------------------------------------------------------


async def test_a_stop_answers_everybody(autojump_clock: MockClock) -> None:
    """Trap 11: also parked takers."""
    async with running() as rig, trio.open_nursery() as nursery:
        taker = await start(nursery, rig.queue.reserve)
        many = await start(nursery, lambda: rig.queue.reserve_many(3, timeout=1e6))
        submitted = rig.submit_reserve()
        await settle()

        await rig.supervisor.terminate_child("q")
        await settle()

        for error in (taker.error, many.error):
            assert isinstance(error, ActorDownError)
            assert error.reason == "stopped"
        with pytest.raises(ActorDownError):
            submitted.get_nowait()
        assert len(rig.actor.parked) == 0


async def test_what_comes_after_a_stop_is_refused_at_once(autojump_clock: MockClock) -> None:
    async with running() as rig:
        await rig.supervisor.terminate_child("q")

        for call in (rig.queue.len, rig.queue.reserve, lambda: rig.queue.insert("a")):
            with pytest.raises(ActorDownError, match="stopped"):
                await call()
        with pytest.raises(ActorDownError):
            rig.queue.insert_nowait("a")


async def test_after_a_stop_and_a_start_everything_is_there(autojump_clock: MockClock) -> None:
    async with running() as rig:
        await rig.queue.insert("a", "b")
        held = await rig.queue.reserve()
        await rig.supervisor.terminate_child("q")

        await rig.supervisor.restart_child("q")

        assert await rig.queue.delete(held) == 1
        assert await everything_in(rig.queue) == ["b"]


async def test_a_queue_that_is_parked_says_so_to_everybody(autojump_clock: MockClock) -> None:
    async with running(intensity=1) as rig, trio.open_nursery() as nursery:
        taker = await start(nursery, rig.queue.reserve)
        await rig.queue.insert("held")
        rig.store.fault = crash_once("length", "length")

        for _ in range(2):
            with pytest.raises(ActorCrashedError):
                await rig.queue.len()
        waiting = await start(nursery, rig.queue.reserve)

        assert taker.got.value == "held"
        assert isinstance(waiting.error, ActorDownError)
        assert waiting.error.reason == "parked"
        await rig.supervisor.restart_child("q")
        assert await everything_in(rig.queue) == ["held"]


async def test_takers_that_wait_when_a_queue_is_parked_hear_of_it(
    autojump_clock: MockClock,
) -> None:
    async with running(intensity=0) as rig, trio.open_nursery() as nursery:
        taker = await start(nursery, rig.queue.reserve)
        submitted = rig.submit_reserve()
        await settle()
        rig.store.fault = crash_once("length")
        crashing = rig.submit("length")
        queued = rig.submit("insert", ("a",))
        await settle()

        for error in (taker.error, error_of(submitted), error_of(queued)):
            assert isinstance(error, ActorDownError)
            assert error.reason == "parked"
        assert isinstance(error_of(crashing), ActorCrashedError)


async def test_when_the_supervisor_is_gone_everybody_hears_of_it(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        async with running() as rig:
            taker = await start(nursery, rig.queue.reserve)
        await settle()

        assert isinstance(taker.error, ActorDownError)
        for call in (rig.queue.len, rig.queue.reserve):
            with pytest.raises(ActorDownError) as caught:
                await call()
            assert caught.value.reason in {"gone", "stopped"}
            assert pickle.loads(pickle.dumps(caught.value)).reason == caught.value.reason  # noqa: S301


async def test_a_supervisor_that_is_cancelled_leaves_nobody_waiting(
    autojump_clock: MockClock,
) -> None:
    takers: list[object] = []

    async def take() -> None:
        with trio.CancelScope(shield=True):
            try:
                takers.append(await rig.queue.reserve())
            except ActorDownError as error:
                takers.append(error.reason)

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with running() as rig:
                nursery.start_soon(take)
                nursery.start_soon(take)
                await settle()
                rig.queue.insert_nowait("a")
                scope.cancel()

    assert len(takers) == 2
    assert "a" not in takers


async def test_while_the_actor_is_in_backoff_calls_wait(autojump_clock: MockClock) -> None:
    async with (
        running(FaultyStore(crash_once("length", "length")), backoff=SLOW_RESTART) as rig,
        trio.open_nursery() as nursery,
    ):
        for _ in range(2):
            with pytest.raises(ActorCrashedError):
                await rig.queue.len()

        taker = await start(nursery, rig.queue.reserve)
        insert = await start(nursery, lambda: rig.queue.insert("a"))
        assert not insert.done
        await trio.sleep(101)

        assert insert.got == 1
        assert taker.got.value == "a"


def test_ctrl_c_in_the_middle_of_an_operation_waits_until_it_is_over() -> None:
    """Trap 8: KeyboardInterrupt comes at a checkpoint, never inside the core."""
    after: list[object] = []

    class Interrupts:
        def __hash__(self) -> int:
            signal.raise_signal(signal.SIGINT)
            return 1

    async def main() -> None:
        async with running(unique=True) as rig:
            rig.submit("insert", (Interrupts(), "b"))
            try:
                await trio.sleep_forever()
            finally:
                records = rig.records
                after.extend(message.value for message in records.messages.values())

    with pytest.raises(KeyboardInterrupt):
        trio.run(main, clock=MockClock(autojump_threshold=0))

    assert len(after) == 2


async def test_takers_are_served_in_order_over_many_inserts(autojump_clock: MockClock) -> None:
    order: list[tuple[int, object]] = []

    async def take(number: int) -> None:
        reservation: Reservation = await rig.queue.reserve()
        order.append((number, reservation.value))

    async with running() as rig, trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(take, number)
            await settle()
        for value in range(20):
            rig.queue.insert_nowait(value)

    assert sorted(order) == [(number, number) for number in range(20)]
