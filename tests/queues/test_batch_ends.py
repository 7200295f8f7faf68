"""A batch queue that is closed, stopped, or ends with its runtime: in time, losing nothing."""

from __future__ import annotations

import threading
from math import inf
from typing import TYPE_CHECKING

import attrs
import pytest
import trio

from queueactors import BatchQueue, QueueClosedError, SqliteStore, open_runtime
from queueactors.config import Config, StoreConfig
from queueactors.engines import LocalEngine
from queueactors.retry import Fixed
from queueactors.testing import cancel_at_every_step, run_until_idle
from supervisors import ActorCrashedError, ActorDownError

from .kit import FaultyStore, cancel_after_every_step_of_all, crash_once, settle
from .kit_batch import Process, fails, hangs, lasts, records, running, submit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from trio.testing import MockClock

    from queueactors import Runtime
    from queueactors.cores.batch import BatchState
    from queueactors.engines import Engine, Parked
    from queueactors.stores import Kind
    from supervisors import Operation

    from .kit_batch import Act

GRACE = 5.0
STATES: tuple[BatchState, ...] = ("ready", "cooling", "retry", "claimed", "buried", "dead")


async def everything_in(queue: BatchQueue) -> list[object]:
    """Return all stored items, in whatever state their batches are."""
    found: list[object] = []
    for state in STATES:
        for batch in await queue.peek(state, 10**6):
            found += batch.items
    return found


# -- closing ---------------------------------------------------------------------------------------


async def swallows(_queue: BatchQueue, _items: list[object]) -> None:
    while True:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            return


async def never_hears(_queue: BatchQueue, _items: list[object]) -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep(1000)


async def lingers(_queue: BatchQueue, _items: list[object]) -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep(3)


async def fails_at_the_end(_queue: BatchQueue, _items: list[object]) -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise ValueError


async def pushes_back(queue: BatchQueue, items: list[object]) -> None:
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await queue.push_many([("back", item) for item in items])


async def pushes_back_and_is_done(queue: BatchQueue, items: list[object]) -> None:
    try:
        await trio.sleep_forever()
    except trio.Cancelled:
        with trio.CancelScope(shield=True):
            await queue.push_many([("back", item) for item in items])


@attrs.frozen
class Case:
    """What a queue does as it is closed, and what must come of it.

    Args:
      act: What each call does.
      seconds: How long the close takes.
      options: The queue's.
    """

    act: Act | None
    seconds: float = 0
    options: dict[str, object] = attrs.field(factory=dict)


CASES = {
    "a backlog": Case(hangs),
    "calls that fail": Case(fails, options={"retry": Fixed(0, 0)}),
    "calls that fail without attempts": Case(fails, options={"retry": Fixed(1, 0)}),
    "batches that cool": Case(fails, options={"retry": Fixed(1, 0, cooldown=100)}),
    "batches that wait": Case(fails, options={"retry": Fixed(0, 100)}),
    "calls that fail as they are cancelled": Case(fails_at_the_end),
    "calls that swallow it": Case(swallows),
    "calls that linger": Case(lingers, 3),
    "calls that never hear": Case(never_hears, GRACE),
    "calls that push back": Case(pushes_back),
    "calls that push back and are done": Case(pushes_back_and_is_done),
    "many calls at a time": Case(pushes_back, options={"workers": 20, "batches": 3}),
    "a buffer alone": Case(hangs, options={"flush_size": 10**6}),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("paused", [False, True], ids=["", "paused"])
async def test_a_close_ends_in_time_and_loses_nothing(
    name: str,
    paused: bool,  # noqa: FBT001
    autojump_clock: MockClock,
) -> None:
    case, items = CASES[name], list(range(101))
    process = Process(always=case.act)
    async with running(process, **({"flush_size": 2} | case.options)) as rig:  # type: ignore[arg-type] # they are the queue's
        queue = rig.queue
        await queue.push_many(items)
        await pass_turns(50)
        if paused:
            await queue.pause()
        begin = trio.current_time()

        await queue.close(GRACE)

        assert trio.current_time() - begin == case.seconds
        calls = len(process.calls)
        numbers = await queue.statistics()
        assert (numbers.closed, numbers.claimed, numbers.buffered) == (True, 0, 0)
        found = await everything_in(queue)
        kept = {item[1] if isinstance(item, tuple) else item for item in found}
        assert kept | {*process.done} == {*items}
        assert len(set(map(str, found))) == len(found)
        await queue.resume()
        with pytest.raises(QueueClosedError):
            await queue.push("x")
        await trio.sleep(2000)
        assert len(process.calls) == calls  # the function is not called any more
        assert await queue.len() == len(found)


async def pass_turns(turns: int) -> None:
    """Let so many turns of all tasks happen: what retries at once never settles."""
    for _ in range(turns):
        await trio.lowlevel.checkpoint()


async def test_a_thread_that_hangs_holds_up_no_closing() -> None:
    go = threading.Event()

    def process(_queue: BatchQueue, _items: list[object]) -> None:
        go.wait(20)

    async with running(process) as rig:
        await rig.queue.push("a")
        await settle()
        with trio.fail_after(2):
            await rig.queue.close()

        assert await everything_in(rig.queue) == ["a"]
        go.set()


async def test_a_full_mailbox_holds_up_no_closing(autojump_clock: MockClock) -> None:
    async with running(Process(), flush_size=2, mailbox=5) as rig:
        for item in range(5):
            rig.queue.push_nowait(item)
        with pytest.raises(trio.WouldBlock):
            rig.queue.push_nowait(5)

        await rig.queue.close()

        assert (await rig.queue.statistics()).pushed == 5


async def test_what_is_pushed_with_the_close_is_in_or_refused(autojump_clock: MockClock) -> None:
    outcomes: list[object] = []

    async def push(queue: BatchQueue, item: int) -> None:
        for _ in range(item % 7):
            await trio.lowlevel.checkpoint()
        try:
            await queue.push(item, stored=bool(item % 2))
        except QueueClosedError:
            outcomes.append(None)
        else:
            outcomes.append(item)

    async with running(Process(always=hangs), flush_size=0) as rig:
        async with trio.open_nursery() as nursery:
            for item in range(50):
                nursery.start_soon(push, rig.queue, item)
            nursery.start_soon(rig.queue.close)

        assert len(outcomes) == 50
        pushed = {item for item in outcomes if item is not None}
        assert set(await everything_in(rig.queue)) == pushed
        assert None in outcomes


@pytest.mark.parametrize(
    "sweep", [cancel_at_every_step, cancel_after_every_step_of_all], ids=["own steps", "all steps"]
)
async def test_a_close_that_is_cancelled_can_be_called_again(
    sweep: Callable[
        [Callable[[], Awaitable[object]], Callable[[], Awaitable[object]]], Awaitable[int]
    ],
    autojump_clock: MockClock,
) -> None:
    queues: list[BatchQueue] = []
    async with open_runtime() as runtime:

        async def prepare() -> None:
            queue = await runtime.define(
                f"q{len(queues)}",
                kind="batch",
                process=Process(always=pushes_back),
                flush_size=2,
                workers=2,
            )
            await queue.push_many("abcde")
            await settle()
            queues.append(queue)

        async def operation() -> None:
            await queues[-1].close()

        async def check() -> None:
            await settle()
            with trio.fail_after(GRACE + 1):
                await queues[-1].close()
            found = await everything_in(queues[-1])
            assert {*"abcde"} <= {*found}
            assert (await queues[-1].statistics()).claimed == 0
            await prepare()

        await prepare()
        assert await sweep(operation, check) > 3


@pytest.mark.parametrize("method", ["close", "shut", "give_back", "done", "failed", "keep"])
async def test_a_crash_while_it_is_closed_loses_nothing(
    method: str, autojump_clock: MockClock
) -> None:
    store = FaultyStore()
    process = Process([swallows, hangs], always=fails_at_the_end)
    async with running(process, store, workers=3, flush_size=2) as rig:
        await rig.queue.push_many("abcdefg")
        await settle()
        store.fault = crash_once(method)

        try:
            await rig.queue.close()
        except ActorCrashedError:
            assert method in {"close", "shut"}  # its own operations: it has not happened
            await rig.queue.close()

        assert {*await everything_in(rig.queue)} | {*process.done} == {*"abcdefg"}
        assert {*await everything_in(rig.queue)}.isdisjoint(process.done)
        assert (await rig.queue.statistics()).closed


async def test_a_queue_stays_closed_over_a_crash(autojump_clock: MockClock) -> None:
    store = FaultyStore()
    process = Process()
    async with running(process, store) as rig:
        await rig.queue.close()
        store.fault = crash_once("length")
        with pytest.raises(ActorCrashedError):
            await rig.queue.len()

        with pytest.raises(QueueClosedError):
            await rig.queue.push("a")
        await rig.supervisor.terminate_child("process")
        await rig.supervisor.restart_child("process")
        await settle()
        assert (await rig.queue.statistics()).closed
        assert process.calls == []


@pytest.mark.parametrize("down", ["q", "process"])
async def test_a_close_ends_whatever_is_down(down: str, autojump_clock: MockClock) -> None:
    process = Process(always=hangs)
    async with running(process) as rig:
        await rig.queue.push_many("ab")
        await settle()
        await rig.supervisor.terminate_child(down)
        with trio.fail_after(GRACE + 1):
            if down == "q":
                with pytest.raises(ActorDownError):
                    await rig.queue.close()
                await rig.supervisor.restart_child("q")
                await rig.queue.close()
            else:
                await rig.queue.close()

        assert await everything_in(rig.queue) == ["a", "b"]
        assert (await rig.queue.statistics()).claimed == 0


async def test_two_closes_with_different_graces_end_each_in_its_own(
    autojump_clock: MockClock,
) -> None:
    ends: list[float] = []

    async def close(grace: float) -> None:
        await rig.queue.close(grace)
        ends.append(trio.current_time() - begin)

    async with running(Process(always=never_hears)) as rig:
        await rig.queue.push("a")
        await settle()
        begin = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(close, 2)
            nursery.start_soon(close, 7)

        assert ends == [2, 7]


async def test_what_is_pushed_back_after_the_grace_is_refused(autojump_clock: MockClock) -> None:
    errors: list[Exception] = []

    async def too_late(queue: BatchQueue, _items: list[object]) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(10)
            try:
                await queue.push("late")
            except QueueClosedError as error:
                errors.append(error)

    async with running(Process(always=too_late)) as rig:
        await rig.queue.push("a")
        await settle()
        await rig.queue.close(1)
        await trio.sleep(20)

        assert len(errors) == 1
        assert await everything_in(rig.queue) == ["a"]


@pytest.mark.slow
async def test_nothing_is_called_any_more_once_it_is_closed(autojump_clock: MockClock) -> None:
    too_late: list[bool] = []

    async def process(_queue: BatchQueue, _items: list[object]) -> None:
        too_late.append(trio.current_effective_deadline() == -inf)
        await trio.lowlevel.checkpoint()

    for _ in range(50):  # which of the two hears first is a matter of chance
        async with running(process) as rig, trio.open_nursery() as nursery:
            await rig.queue.pause()
            await rig.queue.push("a")
            submit(rig, "resume")  # the worker gets its batch in the turn of the close
            nursery.start_soon(rig.queue.close)
            await settle()
            for batch in await rig.queue.peek("ready"):
                assert batch.claims == 0

    assert True not in too_late


async def test_another_handle_cannot_push_while_it_closes(autojump_clock: MockClock) -> None:
    async with running(Process(always=lingers)) as rig, trio.open_nursery() as nursery:
        await rig.queue.push("a")
        await settle()
        nursery.start_soon(rig.queue.close)
        await trio.sleep(1)

        with pytest.raises(QueueClosedError):
            await rig.queue.push("b")
        await trio.sleep(5)
        assert await rig.queue.len() == 0


# -- stopping, restarting, the end -----------------------------------------------------------------


def on_disk(path: Path) -> Config:
    options: dict[str, object] = {"path": str(path / "q.sqlite"), "commit": "inline"}
    return Config(stores={"disk": StoreConfig(type="sqlite", factory=SqliteStore, options=options)})


async def define(runtime: Runtime, process: object, **options: object) -> BatchQueue:
    given: dict[str, object] = {"store": "disk", "flush_size": 0, "process": process}
    return await runtime.define("q", kind="batch", **(given | options))


@pytest.mark.parametrize("how", ["the end", "an error", "a cancellation"])
async def test_an_orderly_end_flushes_the_buffer(
    how: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async def push() -> None:
        async with open_runtime(on_disk(tmp_path)) as runtime:
            queue = await define(runtime, Process())
            await queue.push("a")
            queue.push_nowait("b")
            await queue.len()
            if how == "an error":
                raise ZeroDivisionError
            if how == "a cancellation":
                await trio.sleep_forever()

    with trio.move_on_after(1):
        try:
            await push()
        except ZeroDivisionError:
            assert how == "an error"

    process = Process()
    async with open_runtime(on_disk(tmp_path)) as runtime:
        await define(runtime, process)
        await settle()
    assert process.calls == [["a", "b"]]


@pytest.mark.parametrize("turns", range(3, 12))
async def test_an_end_in_the_midst_of_a_cleaning_up_flushes_the_buffer(
    turns: int, autojump_clock: MockClock
) -> None:
    async with running(Process(), flush_size=0, flush_timeout=1000) as rig:
        await rig.queue.pause()
        for item in range(6_000):
            submit(rig, "push_whole", item)
            if item % 500 == 0:
                await rig.queue.len()
        await rig.queue.len()
        submit(rig, "clear")  # what it had is let go of bit by bit, with others in between
        submit(rig, "push", ["a"])
        await pass_turns(turns)

        await rig.supervisor.terminate_child("q")

        assert [batch.value for batch in records(rig).messages.values()] == [["a"]]


@attrs.define(eq=False)
class StuckEngine(LocalEngine):
    """An engine whose batches do not end: its store has gone away."""

    batches: list[int] = attrs.field(factory=list)
    stuck: bool = False

    async def execute(
        self, batch: Sequence[Operation], now: int, resolved: list[Operation]
    ) -> None:
        self.batches.append(len(batch))
        if self.stuck:
            await trio.sleep_forever()
        await LocalEngine.execute(self, batch, now, resolved)


class StuckStore(FaultyStore):
    """A store with such an engine."""

    engine: StuckEngine

    async def open_engine(self, queue: str, kind: Kind, parked: Parked) -> Engine:
        engine = await FaultyStore.open_engine(self, queue, kind, parked)
        assert isinstance(engine, LocalEngine)
        self.engine = StuckEngine(engine.core, parked)
        return self.engine


async def test_an_end_in_the_midst_of_a_batch_carries_out_nothing_more(
    autojump_clock: MockClock,
) -> None:
    store = StuckStore()
    async with running(Process(), store, flush_size=0) as rig:
        await rig.queue.push("a")
        store.engine.stuck = True
        rig.queue.push_nowait("b")
        await settle()
        before = len(store.engine.batches)
        begin = trio.current_time()

        await rig.supervisor.terminate_child("q")

        assert len(store.engine.batches) == before
        assert trio.current_time() == begin


@pytest.mark.parametrize("name", [name for name in CASES if name != "calls that never hear"])
async def test_the_end_of_the_runtime_comes_in_time_and_loses_nothing(
    name: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    case, items = CASES[name], list(range(31))
    process = Process(always=case.act)
    async with open_runtime(on_disk(tmp_path)) as runtime:
        queue = await define(runtime, process, **({"flush_size": 2} | case.options))
        await queue.push_many(items)
        await pass_turns(50)
        begin = trio.current_time()
    assert trio.current_time() - begin <= GRACE

    async with open_runtime(on_disk(tmp_path)) as runtime:
        queue = await define(runtime, hangs)
        await queue.pause()
        await settle()  # now nothing moves any more
        found = await everything_in(queue)
    kept = {item[1] if isinstance(item, list) else item for item in found}
    assert kept | {*process.done} == {*items}
    assert len(set(map(str, found))) == len(found)


async def test_an_orderly_end_counts_no_claim(tmp_path: Path, autojump_clock: MockClock) -> None:
    for _ in range(3):
        async with open_runtime(on_disk(tmp_path)) as runtime:
            queue = await define(runtime, Process(always=hangs), max_claims=2)
            if not await queue.len():
                await queue.push("a", stored=True)
            await settle()
            (batch,) = await queue.peek("claimed")
            assert (batch.claims, batch.attempt) == (1, 1)


async def test_what_was_not_processed_when_it_was_closed_comes_with_the_next_process(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_runtime(on_disk(tmp_path)) as runtime:
        queue = await define(runtime, Process(always=pushes_back))
        await queue.push_many("ab", stored=True)
        await settle()
        await queue.close()

    process = Process()
    async with open_runtime(on_disk(tmp_path)) as runtime:
        queue = await define(runtime, process)
        await settle()
        assert not (await queue.statistics()).closed
    assert process.calls == [["a", "b"], [["back", "a"], ["back", "b"]]]


async def test_an_operator_stops_and_starts_the_queue_with_its_processing(
    autojump_clock: MockClock,
) -> None:
    process = Process([hangs])
    async with open_runtime() as runtime:
        queue = await runtime.define("q", kind="batch", process=process, flush_size=2)
        await queue.push_many("abc")
        await settle()

        await runtime.stop("q")
        assert process.cancelled == 1
        with pytest.raises(ActorDownError):
            await queue.push("d")
        await runtime.start("q")
        await settle()

        assert process.calls == [["a", "b"], ["a", "b"], ["c"]]
        assert (await queue.statistics()).batches == 0


async def test_processing_alone_may_be_stopped_and_started(autojump_clock: MockClock) -> None:
    process = Process([hangs])
    async with open_runtime() as runtime:
        queue = await runtime.define("q", kind="batch", process=process)
        await queue.push("a")
        await settle()
        await runtime.stop("process.q")
        await queue.push("b")
        await trio.sleep(100)

        assert (await queue.statistics()).ready == 2
        await runtime.start("process.q")
        await settle()
        assert process.calls == [["a"], ["a"], ["b"]]


@pytest.mark.parametrize("act", [hangs, lasts(1), fails, swallows, lingers])
async def test_restarts_at_any_time_lose_and_repeat_nothing_that_is_done(
    act: Act, autojump_clock: MockClock
) -> None:
    process = Process([act] * 3)
    async with open_runtime() as runtime:
        queue = await runtime.define(
            "q", kind="batch", process=process, workers=2, flush_size=2, retry=Fixed(0, 1)
        )
        for item in range(20):
            await queue.push(item)
            if item % 5 == 0:
                await runtime.restart("q")
        await queue.flush()
        await trio.sleep(100)

        assert sorted(map(int, map(str, process.done))) == list(range(20))
        assert (await queue.statistics()).batches == 0


# -- until idle ------------------------------------------------------------------------------------


async def test_until_idle_flushes_what_nothing_else_would(autojump_clock: MockClock) -> None:
    second = Process()
    async with open_runtime() as runtime:
        then = await runtime.define("then", kind="batch", process=second, flush_size=9)

        async def hand_on(_queue: BatchQueue, items: list[object]) -> None:
            await then.push_many(items)

        first = await runtime.define("first", kind="batch", process=hand_on, flush_size=9)
        await first.push_many("abc")

        with trio.fail_after(60):
            await run_until_idle(runtime)

        assert second.calls == [["a", "b", "c"]]


async def test_until_idle_waits_for_what_is_tried_again(autojump_clock: MockClock) -> None:
    process = Process([fails, fails, lasts(3)])
    async with open_runtime() as runtime:
        queue = await runtime.define(
            "q", kind="batch", process=process, retry=Fixed(1, 0, cooldown=5)
        )
        await queue.push("a")

        await run_until_idle(runtime)

        assert process.done == ["a"]
        assert trio.current_time() >= 13


@pytest.mark.parametrize("exhausted", ["closed", "buried", "buffer of a closed one"])
async def test_until_idle_waits_for_nothing_that_never_comes(
    exhausted: str, autojump_clock: MockClock
) -> None:
    async with open_runtime() as runtime:
        queue = await runtime.define(
            "q",
            kind="batch",
            process=Process(always=fails if exhausted == "buried" else hangs),
            retry=Fixed(1, 0),
            max_claims=1,
            on_exhausted="bury",
        )
        await queue.push("a")
        await settle()
        if exhausted != "buried":
            await queue.close()
        assert await queue.len() == 1

        with trio.fail_after(60):
            await run_until_idle(runtime)
