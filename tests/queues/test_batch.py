"""A batch queue's handle: what it refuses, and that no crash and no cancellation harms it."""

from __future__ import annotations

import re
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, assert_type, cast

import attrs
import pytest
import trio

from queueactors import (
    BatchOptions,
    BatchQueue,
    BatchStatistics,
    CodecError,
    ItemRefusedError,
    OptionsError,
    QueueFullError,
    SqliteStore,
    StoredBatch,
    open_runtime,
)
from queueactors._insist import insist
from queueactors.config import Config, StoreConfig
from queueactors.retry import FOR_EVER, Fixed
from queueactors.testing import cancel_at_every_step
from supervisors import ActorCrashedError, ActorDownError, ChildStartError, PendingReply

from .kit import (
    Boom,
    Caller,
    FaultyStore,
    cancel_after_every_step_of_all,
    crash_at,
    crash_once,
    settle,
    start,
)
from .kit_batch import Process, fails, lasts, records, running, submit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from trio.testing import MockClock

    from tests.conftest import Events

    from .kit_batch import Rig

    Sweep = Callable[
        [Callable[[], Awaitable[object]], Callable[[], Awaitable[object]]], Awaitable[int]
    ]

sweeps = pytest.mark.parametrize(
    "sweep", [cancel_at_every_step, cancel_after_every_step_of_all], ids=["own steps", "all steps"]
)


async def nothing(_queue: BatchQueue, _items: list[object]) -> None:
    await trio.lowlevel.checkpoint()


# -- options ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"process": 1}, "expected process to be callable, got 1"),
        ({"flush_size": -1}, "expected flush_size to be an int >= 0, got -1"),
        ({"flush_size": 1.5}, "expected flush_size to be an int >= 0, got 1.5"),
        ({"flush_pushes": -1}, "expected flush_pushes to be an int >= 0, got -1"),
        ({"flush_timeout": -1}, "expected flush_timeout to be seconds >= 0, got -1"),
        ({"workers": 0}, "expected workers to be an int >= 1, got 0"),
        ({"batches": 0}, "expected batches to be an int >= 1, got 0"),
        ({"max_claims": 0}, "expected max_claims to be an int >= 1, got 0"),
        ({"max_length": 0}, "expected max_length to be an int >= 1, got 0"),
        ({"mailbox": 0}, "expected mailbox to be an int >= 1, got 0"),
        ({"store": ""}, "expected store to be a non-empty string, got ''"),
        ({"on_exhausted": 1}, "expected on_exhausted to be a non-empty string, got 1"),
        ({"on_process_error": 1}, "expected on_process_error to be callable, got 1"),
        ({"on_internal_error": 1}, "expected on_internal_error to be callable, got 1"),
        ({"retry": 1}, "expected retry to be a retry policy, with delay(attempt, random), got 1"),
        (
            {"retry": Fixed},
            (
                "expected retry to be a retry policy, with delay(attempt, random), "
                "got <class 'queueactors.retry.Fixed'>"
            ),
        ),
        (
            {"buffer": "heap"},
            "expected buffer to be 'appending', 'merging' or callable, got 'heap'",
        ),
        ({"merge": max}, "merge needs buffer = 'merging'"),
        ({"merge_key": len}, "merge_key needs buffer = 'merging'"),
        ({"buffer": "merging", "merge": max}, "buffer 'merging' needs a merge_key"),
        ({"buffer": "merging", "merge_key": len}, "buffer 'merging' needs a merge"),
        ({"codec": "gob"}, "expected codec to be"),
    ],
)
def test_an_option_that_breaks_its_rule_is_refused(options: dict[str, object], fault: str) -> None:
    with pytest.raises(OptionsError) as caught:
        BatchOptions(**({"process": nothing} | options))  # type: ignore[arg-type] # on purpose

    assert str(caught.value).startswith(fault)
    assert len(caught.value.faults) == 1


def test_the_defaults_are_those_of_the_reference() -> None:
    options = BatchOptions(process=nothing)

    assert (options.flush_size, options.flush_pushes, options.flush_timeout) == (1, 0, 0)
    assert (options.workers, options.batches, options.buffer) == (1, 1, "appending")
    assert (options.retry, options.max_claims, options.max_length) == (FOR_EVER, None, None)
    assert options.traps == []


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"flush_size": 0}, "flush_size"),
        ({"flush_size": 2}, "flush_timeout"),
        ({"flush_size": 0, "flush_pushes": 2}, "flush_timeout"),
        ({"on_exhausted": "bury", "retry": Fixed(1, 1)}, "on_exhausted"),
        ({"max_claims": 3}, "max_claims"),
    ],
)
async def test_what_is_valid_and_surprising_is_logged(
    options: dict[str, object], option: str, events: Events
) -> None:
    async with open_runtime() as runtime:
        await runtime.define("q", kind="batch", process=nothing, **options)

    (warning,) = [event for event in events if event["event"] == "config_warning"]
    assert warning["path"] == f"queue.q.{option}"


# -- arguments -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (
            lambda queue: queue.peek("asleep"),
            ValueError,
            (
                "expected state to be one of 'ready', 'cooling', 'retry', 'claimed', 'buried', "
                "'dead', got 'asleep'"
            ),
        ),
        (
            lambda queue: queue.peek("ready", 0),
            ValueError,
            "expected limit to be an int >= 1, got 0",
        ),
        (lambda queue: queue.kick(True), ValueError, "expected limit to be an int >= 1, got True"),
        (lambda queue: queue.remove(1, "2"), TypeError, "expected ids to be ints, got '2'"),
        (
            lambda queue: queue.wait_push(1, 2, 3, 4),
            ValueError,
            "expected at most 3 items (max_length), got 4",
        ),
        (
            lambda queue: queue.wait_push(1, timeout=-1),
            ValueError,
            "expected timeout to be seconds >= 0, got -1",
        ),
        (
            lambda queue: queue.wait_push(1, timeout=float("nan")),
            ValueError,
            "expected timeout to be seconds >= 0, got nan",
        ),
        (lambda queue: queue.pause(0), ValueError, "expected seconds to be seconds > 0, got 0"),
        (
            lambda queue: queue.submit.wait_push(1, 2, 3, 4),
            ValueError,
            "expected at most 3 items (max_length), got 4",
        ),
        (lambda queue: queue.push_many(5), TypeError, "'int' object is not iterable"),
    ],
)
async def test_a_bad_argument_is_refused_at_the_call(
    call: Callable[[BatchQueue], object],
    error: type[Exception],
    told: str,
    autojump_clock: MockClock,
) -> None:
    async with running(nothing, max_length=3) as rig:
        with pytest.raises(error) as caught:
            call(rig.queue)  # nothing is awaited

        assert str(caught.value) == told
        assert (await rig.queue.statistics()).pushed == 0


@pytest.mark.parametrize(
    ("grace", "error", "told"),
    [
        (-1, ValueError, "expected grace to be seconds >= 0, got -1"),
        (float("inf"), ValueError, "expected grace to be seconds >= 0, got inf"),
        ("1s", TypeError, "expected grace to be seconds >= 0, got '1s'"),
    ],
)
async def test_a_bad_grace_closes_nothing(
    grace: float, error: type[Exception], told: str, autojump_clock: MockClock
) -> None:
    async with running(nothing) as rig:
        with pytest.raises(error) as caught:
            await rig.queue.close(grace)

        assert str(caught.value) == told
        assert not (await rig.queue.statistics()).closed


async def test_an_item_that_cannot_be_encoded_is_refused_at_the_call(tmp_path: Path) -> None:
    async with open_runtime(on_disk(tmp_path)) as runtime:
        for name, more in {
            "appending": {},
            "merging": {"buffer": "merging", "merge_key": id, "merge": max},
        }.items():
            queue = await runtime.define(
                name, kind="batch", store="disk", process=nothing, flush_size=0, **more
            )
            calls: list[Callable[[], object]] = [
                lambda: queue.push(object()),  # noqa: B023 - called at once
                lambda: queue.push_many([1, object()]),  # noqa: B023
                lambda: queue.push_nowait(1, object()),  # noqa: B023
                lambda: queue.wait_push(object()),  # noqa: B023
                lambda: queue.submit.push(object()),  # noqa: B023
            ]
            for call in calls:
                with pytest.raises(CodecError):
                    call()
            assert (await queue.statistics()).pushed == 0


def on_disk(path: Path) -> Config:
    options: dict[str, object] = {"path": str(path / "q.sqlite"), "commit": "inline"}
    return Config(stores={"disk": StoreConfig(type="sqlite", factory=SqliteStore, options=options)})


async def test_what_merging_makes_and_cannot_be_encoded_is_refused(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    process = Process()
    async with open_runtime(on_disk(tmp_path)) as runtime:
        queue = await runtime.define(
            "q",
            kind="batch",
            store="disk",
            process=process,
            buffer="merging",
            merge_key=lambda item: item[0],
            merge=lambda old, new: old + new if new != "a!" else object(),
            flush_size=0,
        )
        await queue.push_many(["a1", "a2", "b1"])
        with pytest.raises(ItemRefusedError):
            await queue.push("a!")
        await queue.flush()
        await settle()

        assert process.calls == [["a1a2", "b1"]]


class Surprising(list[object]):
    """A buffer that hands out more than it was given, which cannot be encoded."""

    push = list.append

    def __iter__(self) -> Iterator[object]:
        yield from super().__iter__()
        yield object()


class Angry(list[object]):
    """A buffer that hands nothing out."""

    push = list.append

    def __iter__(self) -> Iterator[object]:
        raise Boom


@pytest.mark.parametrize(("buffer", "done"), [(Surprising, ["a"]), (Angry, [])])
async def test_what_a_buffer_of_ones_own_spoils_is_logged_and_harms_nothing_else(
    buffer: type,
    done: list[object],
    tmp_path: Path,
    autojump_clock: MockClock,
    events: Events,
) -> None:
    process = Process()
    async with open_runtime(on_disk(tmp_path)) as runtime:
        bad = await runtime.define(
            "bad", kind="batch", store="disk", process=process, buffer=buffer
        )
        await bad.push("a")
        await settle()
        numbers = await bad.statistics()

        assert (numbers.lost, numbers.restarts, numbers.buffered) == (1, 0, 0)
        assert [item for item in process.done if isinstance(item, str)] == done
        assert [event["items"] for event in events if event["event"] == "items_lost"] == [1]


class Endless:
    def push(self, item: object) -> None:
        pass


@pytest.mark.parametrize(
    ("buffer", "told"),
    [
        (object, r"<object object at .*>, which has no push and no __len__ and no __iter__"),
        (Endless, r"<.*Endless object at .*>, which has no __len__ and no __iter__"),
        (list, r"\[\], which has no push"),
        (lambda: None, r"None, which has no push and no __len__ and no __iter__"),
    ],
)
async def test_what_makes_no_buffers_is_refused_where_it_is_given(
    buffer: Callable[[], object], told: str, autojump_clock: MockClock
) -> None:
    async with open_runtime() as runtime:
        with pytest.raises(ChildStartError) as caught:
            await runtime.define("q", kind="batch", process=nothing, buffer=buffer)

    rule = "expected buffer to return what has push, __len__ and __iter__, got"
    assert isinstance(caught.value.__cause__, TypeError)
    assert re.fullmatch(f"{rule} {told}", str(caught.value.__cause__))


async def test_a_limit_may_be_any_number(autojump_clock: MockClock) -> None:
    async with running(Process()) as rig:
        await rig.queue.pause()
        await rig.queue.push("a")

        assert [batch.items for batch in await rig.queue.peek(limit=10**30)] == [["a"]]
        assert await rig.queue.kick(10**30) == 0
        assert (await rig.queue.statistics()).restarts == 0


async def test_the_shortest_flush_timeout_is_not_never(autojump_clock: MockClock) -> None:
    process = Process()
    async with running(process, flush_size=0, flush_timeout=1e-12) as rig:
        await rig.queue.push("a")
        await trio.sleep(0.001)

        assert process.done == ["a"]


async def test_memory_keeps_the_object_itself(autojump_clock: MockClock) -> None:
    process, item = Process(), object()
    async with running(process) as rig:
        await rig.queue.push(item)
        await settle()

        assert process.done[0] is item


async def test_no_items_are_none(autojump_clock: MockClock) -> None:
    process = Process()
    async with running(process, max_length=1) as rig:
        await rig.queue.push("a")
        await settle()
        await rig.queue.push_many([])
        await rig.queue.push_many([], stored=True)
        await rig.queue.wait_push()
        rig.queue.push_nowait()
        await settle()

        assert process.calls == [["a"]]
        assert (await rig.queue.statistics()).pushed == 1


async def test_a_twin_has_the_same_types(autojump_clock: MockClock) -> None:
    async with running(nothing) as rig:
        submit_ = rig.queue.submit
        assert_type(submit_.push("a"), PendingReply[None])
        assert_type(submit_.flush(), PendingReply[int])
        assert_type(submit_.peek(), PendingReply[list[StoredBatch]])
        assert_type(submit_.statistics(), PendingReply[BatchStatistics])
        assert_type(await rig.queue.flush(), int)
        assert_type(await rig.queue.statistics(), BatchStatistics)


async def test_a_queue_stands_in_the_tree_with_its_processing() -> None:
    async with open_runtime() as runtime:
        queue = await runtime.define("pages", kind="batch", process=nothing)

        ids = [info.id for info in runtime.supervisor.value_of("queues").which_children()]
        assert ids == ["queue.pages", "process.pages"]
        assert list(queue.companions) == ["process"]
        await runtime.drop("pages")
        assert not runtime.supervisor.value_of("queues").which_children()


async def test_a_full_mailbox_refuses_casts_and_no_calls(autojump_clock: MockClock) -> None:
    process = Process()
    async with running(process, mailbox=2, flush_size=4) as rig:
        rig.queue.push_nowait("a")
        rig.queue.submit.push("b")
        with pytest.raises(trio.WouldBlock):
            rig.queue.push_nowait("c")
        with pytest.raises(trio.WouldBlock):
            rig.queue.submit.push("c")
        await rig.queue.push_many("de")
        await settle()

        assert process.calls == [["a", "b", "d", "e"]]


async def test_who_waits_for_the_store_is_answered_by_whatever_flushes(
    autojump_clock: MockClock,
) -> None:
    async with running(nothing, flush_size=0) as rig, trio.open_nursery() as nursery:
        await rig.queue.pause()
        callers = [Caller(partial(rig.queue.push, item, stored=True)) for item in "abc"]
        for caller in callers:
            nursery.start_soon(caller.run)
        await settle()

        assert [caller.done for caller in callers] == [True] * 3
        sizes = [batch.size for batch in await rig.queue.peek("ready", 9)]
        assert sum(sizes) == 3


async def test_a_clear_answers_who_waits_for_the_store(autojump_clock: MockClock) -> None:
    async with running(nothing, flush_size=0) as rig, trio.open_nursery() as nursery:
        caller = Caller(partial(rig.queue.push, "a", stored=True))
        nursery.start_soon(caller.run)
        submit(rig, "clear")
        await settle()

        assert caller.done


async def test_room_that_a_success_makes_is_taken_at_once(autojump_clock: MockClock) -> None:
    process = Process(always=lasts(2))
    async with running(process, workers=2, max_length=1) as rig, trio.open_nursery() as nursery:
        await rig.queue.push("a")
        callers = [await start(nursery, partial(rig.queue.wait_push, item)) for item in "bc"]
        await trio.sleep(2.5)
        assert [caller.done for caller in callers] == [True, False]
        await trio.sleep(4)

        assert process.done == ["a", "b", "c"]


async def test_what_is_flushed_amid_pushes_of_one_turn_is_processed_at_once(
    autojump_clock: MockClock,
) -> None:
    process = Process()
    async with running(process, flush_size=2) as rig:
        await settle()
        for item in "abc":  # the third finds a full buffer
            rig.queue.submit.push(item)
        await settle()

        assert process.calls == [["a", "b"]]


# -- crashes ---------------------------------------------------------------------------------------


@attrs.define(eq=False)
class Traffic:
    """Pushes in every way there is, and what came of it."""

    rig: Rig
    sure: set[int] = attrs.field(factory=set)  # what was acknowledged
    casts: set[int] = attrs.field(factory=set)
    crashed: int = 0

    async def push(self, number: int) -> None:
        """Push a few numbers, each its own way."""
        queue = self.rig.queue
        ways: list[Callable[[int], Awaitable[object]]] = [
            queue.push,
            partial(queue.push, stored=True),
            lambda item: queue.push_many([item]),
            partial(queue.wait_push, timeout=500),
            lambda item: queue.submit.push(item).get(),
        ]
        for more, way in enumerate(ways):
            item = number * 10 + more
            try:
                await way(item)
            except ActorCrashedError:
                self.crashed += 1
                if more == 1:
                    self.casts.add(item)  # pushed, perhaps; not known to be stored
            except QueueFullError:
                await trio.sleep(1)
            else:
                self.sure.add(item)
        self.casts.add(number * 10 + 9)
        queue.push_nowait(number * 10 + 9)

    async def run(self) -> None:
        with trio.fail_after(1000):
            async with trio.open_nursery() as nursery:
                for number in range(4):
                    nursery.start_soon(self.push, number)
            while await insist(self.rig.queue.len):
                await insist(self.rig.queue.flush)
                await trio.sleep(1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"flush_size": 1},
        {"flush_size": 3, "workers": 3, "batches": 2},
        {"flush_size": 0, "flush_timeout": 2, "workers": 2},
        {"flush_size": 2, "max_length": 3},
    ],
    ids=str,
)
async def test_an_actor_that_dies_at_any_operation_loses_and_repeats_nothing(
    options: dict[str, object], autojump_clock: MockClock
) -> None:
    number = 0
    died = True
    while died:
        number += 1
        store = FaultyStore(crash_at(number))
        process = Process([fails, lasts(1)])
        async with running(process, store, **options) as rig:
            traffic = Traffic(rig)
            await traffic.run()
            died = rig.actor.restarts == 1

            counts = Counter(process.done)
            assert set(counts.values()) == {1}
            assert traffic.sure <= set(counts) <= traffic.sure | traffic.casts
            assert traffic.crashed <= 1
            numbers = await insist(rig.queue.statistics)
            assert (numbers.batches, numbers.claimed, numbers.items) == (0, 0, 0)
            assert numbers.processed == len(process.done)
    assert number > 30


@pytest.mark.slow
@pytest.mark.parametrize("every", [3, 5, 8])
async def test_crash_after_crash_loses_nothing(every: int, autojump_clock: MockClock) -> None:
    store = FaultyStore(lambda number, _method: number % every == 0)
    process = Process()
    async with running(process, store, flush_size=2, workers=2) as rig:
        for item in range(50):
            await insist(partial(rig.queue.push, item))
        await insist(rig.queue.flush)
        with trio.fail_after(1000):
            while await insist(rig.queue.len):  # noqa: ASYNC110 - nothing tells of it
                await trio.sleep(1)

        assert sorted(process.done, key=str) == sorted(range(50), key=str)


@pytest.mark.parametrize(
    "method", ["push", "push_many", "wait_push", "flush", "peek", "kick", "remove", "len"]
)
async def test_the_operation_that_crashed_the_actor_has_not_happened(
    method: str, autojump_clock: MockClock
) -> None:
    calls: dict[str, Callable[[BatchQueue], Awaitable[object]]] = {
        "push": lambda queue: queue.push("x"),
        "push_many": lambda queue: queue.push_many("xy"),
        "remove": lambda queue: queue.remove(1),
    }
    names = {"push_many": "push", "len": "length"}

    async def call(queue: BatchQueue) -> object:
        if method in calls:
            return await calls[method](queue)
        return await cast("Callable[[], Awaitable[object]]", getattr(queue, method))()

    store = FaultyStore()
    async with running(nothing, store, flush_size=0) as rig:
        await rig.queue.pause()
        await rig.queue.push("a", stored=True)
        await rig.queue.push("b")
        before = remembered(rig)
        store.fault = crash_once(names.get(method, method))

        with pytest.raises(ActorCrashedError):
            await call(rig.queue)
        await settle()

        assert remembered(rig) == before
        assert rig.actor.restarts == 1


def remembered(rig: Rig) -> object:
    """Return all that the records say, apart from numbers that may have gaps."""
    kept = records(rig)
    batches = [
        tuple(getattr(batch, name) for name in batch.__struct_fields__)
        for batch in kept.messages.values()
    ]
    intake = kept.intake
    buffer = list(intake.buffer), intake.pushes, intake.first_at, intake.pushed
    return batches, buffer, kept.closed, kept.paused_until, attrs.asdict(kept.counters)


# -- cancellation ----------------------------------------------------------------------------------


OPERATIONS: dict[str, Callable[[BatchQueue, int], Awaitable[object]]] = {
    "push": lambda queue, _: queue.push("new"),
    "push_many": lambda queue, _: queue.push_many(["new", "newer"]),
    "wait_push": lambda queue, _: queue.wait_push("new"),
    "wait_push with a timeout": lambda queue, _: queue.wait_push("new", timeout=5),
    "flush": lambda queue, _: queue.flush(),
    "peek": lambda queue, _: queue.peek(),
    "kick": lambda queue, _: queue.kick(5),
    "remove": lambda queue, first: queue.remove(first, first + 1),
    "len": lambda queue, _: queue.len(),
    "statistics": lambda queue, _: queue.statistics(),
    "clear": lambda queue, _: queue.clear(),
    "pause": lambda queue, _: queue.pause(),
    "resume": lambda queue, _: queue.resume(),
}
READING = {"peek", "len", "statistics"}
OTHERS = {"close", "push_nowait", "submit"}  # have tests of their own, or no step


def test_every_operation_is_swept() -> None:
    public = {
        name
        for name in dir(BatchQueue)
        if not name.startswith("_") and callable(getattr(BatchQueue, name))
    }

    assert {name.split()[0] for name in OPERATIONS} | OTHERS - {"submit"} == public


@sweeps
@pytest.mark.parametrize("name", OPERATIONS)
async def test_a_cancelled_operation_has_not_happened(
    name: str, sweep: Sweep, autojump_clock: MockClock
) -> None:
    completed = False
    before: object = None
    first = 0
    process = Process(always=fails)

    async with running(
        process,
        flush_size=0,
        max_length=9,
        retry=Fixed(1, 0),
        max_claims=1,
        on_exhausted="bury",
    ) as rig:
        queue = rig.queue

        async def prepare() -> None:
            nonlocal completed, before, first
            completed = False
            await queue.resume()
            await queue.clear()
            await queue.push("buried", stored=True)
            await settle()
            await queue.pause(1000)
            for item in "ab":
                await queue.push(item, stored=True)
            await queue.push("buffered")
            first = (await queue.peek())[0].id
            if name == "pause":
                await queue.pause(500)
            before = remembered(rig)

        async def operation() -> None:
            nonlocal completed
            await OPERATIONS[name](queue, first)
            completed = True

        async def check() -> None:
            await settle()
            assert (remembered(rig) != before) == (completed and name not in READING)
            assert (await queue.statistics()).pushing == 0
            await prepare()

        await prepare()
        assert await sweep(operation, check) > 1


@sweeps
async def test_a_push_that_was_to_be_stored_is_whole_or_not_there(
    sweep: Sweep, autojump_clock: MockClock
) -> None:
    completed = False
    async with running(nothing, flush_size=0) as rig:
        await rig.queue.pause()

        async def operation() -> None:
            nonlocal completed
            completed = False
            await rig.queue.push_many("ab", stored=True)
            completed = True

        async def check() -> None:
            await settle()
            stored = [batch.items for batch in await rig.queue.peek("ready", 9)]
            assert stored == [["a", "b"]] if completed else stored in ([], [["a", "b"]])
            assert await rig.queue.len() in {0, 2}
            await rig.queue.clear()

        assert await sweep(operation, check) > 2


@sweeps
@pytest.mark.parametrize("seconds", [None, 5])
async def test_who_is_cancelled_while_waiting_for_room_pushes_nothing(
    seconds: float | None, sweep: Sweep, autojump_clock: MockClock
) -> None:
    went_in: list[object] = []
    async with running(nothing, max_length=2) as rig:
        queue = rig.queue
        await queue.pause()

        async def make_room() -> None:
            await trio.lowlevel.checkpoint()
            with trio.CancelScope(shield=True):
                assert await queue.clear() == 2

        async def operation() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(make_room)
                await queue.wait_push("c", "d", timeout=seconds)
                went_in.extend("cd")

        async def check() -> None:
            await settle()
            found = [item for batch in await queue.peek("ready", 9) for item in batch.items]
            assert found == went_in or (found == ["a", "b"] and not went_in)
            assert (await queue.statistics()).pushing == 0
            went_in.clear()
            await queue.clear()
            await queue.push_many("ab")

        await queue.push_many("ab")
        assert await sweep(operation, check) > 2


@sweeps
async def test_those_behind_a_push_that_is_cancelled_have_their_turn(
    sweep: Sweep, autojump_clock: MockClock
) -> None:
    async with running(nothing, max_length=3) as rig:
        queue = rig.queue
        behind: list[PendingReply[None]] = []

        async def operation() -> None:
            with trio.move_on_after(5):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(queue.wait_push, "never", "never")
                    with trio.CancelScope(shield=True):
                        await settle()
                        behind.append(queue.submit.wait_push("behind"))

        async def check() -> None:
            with trio.fail_after(10):
                await behind.pop().get()
            await queue.clear()
            await queue.push_many("ab")

        await queue.pause()
        await queue.push_many("ab")
        assert await sweep(operation, check) > 1


async def test_those_who_leave_do_not_pile_up(autojump_clock: MockClock) -> None:
    async with running(nothing, max_length=1) as rig:
        await rig.queue.pause()
        await rig.queue.push("a")
        for _ in range(1000):
            with trio.move_on_after(0.001):
                await rig.queue.wait_push("b", timeout=1e6)

        assert len(rig.actor.parked._timeouts) < 200  # noqa: SLF001
        assert (await rig.queue.statistics()).pushing == 0


# -- every call resolves ---------------------------------------------------------------------------


@pytest.mark.parametrize("down", ["stopped", "gone"])
async def test_every_call_resolves_when_the_queue_goes(
    down: str, autojump_clock: MockClock
) -> None:
    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        queue = await runtime.define("q", kind="batch", process=nothing, max_length=1)
        await queue.pause()
        await queue.push("a")
        waiting = await start(nursery, partial(queue.wait_push, "b"))
        replies = [queue.submit.wait_push("c"), queue.submit.wait_push("d")]
        if down == "stopped":
            await runtime.stop("q")
        else:
            await runtime.drop("q")
        await settle()

        assert isinstance(waiting.error, ActorDownError)
        assert waiting.error.reason == "stopped"  # that is how it goes
        for reply in replies:
            with pytest.raises(ActorDownError):
                reply.get_nowait()
        for call in (queue.push, queue.wait_push, partial(queue.push, stored=True)):
            with pytest.raises(ActorDownError):
                await call("x")
        with pytest.raises(ActorDownError):
            queue.push_nowait("x")
        with pytest.raises(ActorDownError):
            await queue.close()
