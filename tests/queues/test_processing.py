"""Calls of the process function: what it may be, how it may end, and what comes then."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, cast

import attrs
import pytest
import trio
from trio.testing import MockClock

from queueactors import (
    BatchQueue,
    CodecError,
    OptionsError,
    QueueFullError,
    SqliteStore,
    open_runtime,
)
from queueactors.config import Config, StoreConfig
from queueactors.retry import Fixed

from .kit import Boom, FaultyStore, crash_once, settle
from .kit_batch import Process, fails, lasts, raises, records, running, submit, until_empty

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path
    from random import Random

    from tests.conftest import Events


def named(events: Events, name: str) -> list[dict[str, object]]:
    """Return the facts of the events of one name."""
    return [dict(event) for event in events if event["event"] == name]


# -- what it may be --------------------------------------------------------------------------------


class Callables:
    """Process functions of all sorts; each appends to ``seen``."""

    def __init__(self) -> None:
        self.seen: list[tuple[object, bool]] = []  # the items; in trio's thread

    def note(self, items: list[object]) -> None:
        self.seen.append((items, threading.current_thread() is threading.main_thread()))

    def plain(self, _queue: BatchQueue, items: list[object]) -> None:
        self.note(items)

    async def asynchronous(self, _queue: BatchQueue, items: list[object]) -> None:
        await trio.lowlevel.checkpoint()
        self.note(items)

    async def __call__(self, _queue: BatchQueue, items: list[object]) -> None:
        await trio.lowlevel.checkpoint()
        self.note(items)

    def with_more(self, _more: int, _queue: BatchQueue, items: list[object]) -> None:
        self.note(items)

    def returns_an_awaitable(self, queue: BatchQueue, items: list[object]) -> Awaitable[None]:
        return self.asynchronous(queue, items)


@pytest.mark.parametrize(
    ("make", "in_trio"),
    [
        (lambda own: own.asynchronous, True),
        (lambda own: own, True),
        (lambda own: functools.partial(own.asynchronous), True),
        (lambda own: own.plain, False),
        (lambda own: functools.partial(own.with_more, 1), False),
        (lambda own: own.returns_an_awaitable, True),
    ],
    ids=["async", "async __call__", "partial", "plain", "partial plain", "returns an awaitable"],
)
async def test_a_process_function_is_called_in_its_place(
    make: Callable[[Callables], object],
    in_trio: bool,  # noqa: FBT001
) -> None:
    own = Callables()

    async with running(make(own)) as rig:
        await rig.queue.push("a")
        await until_empty(rig.queue)

    assert own.seen == [(["a"], in_trio)]


def generator(_queue: BatchQueue, items: list[object]) -> Iterator[object]:
    yield from items


async def async_generator(_queue: BatchQueue, _items: list[object]) -> AsyncIterator[object]:
    await trio.lowlevel.checkpoint()
    yield 1


@pytest.mark.parametrize("process", [generator, async_generator, functools.partial(generator)])
async def test_a_generator_function_is_refused_as_its_body_would_not_run(process: object) -> None:
    with pytest.raises(OptionsError, match=r"is a generator function, whose body would not run$"):
        async with running(process):
            pass


async def test_what_a_thread_raises_is_a_failure() -> None:
    calls: list[list[object]] = []

    def process(_queue: BatchQueue, items: list[object]) -> None:
        calls.append(items)
        if len(calls) == 1:
            raise Boom

    async with running(process, retry=Fixed(0, 0)) as rig:
        await rig.queue.push("a")
        await until_empty(rig.queue)
        numbers = await rig.queue.statistics()

    assert calls == [["a"], ["a"]]
    assert (numbers.process_errors, numbers.processed) == (1, 1)


async def test_more_threads_than_trio_has_places_may_run() -> None:
    together = threading.Barrier(50)

    def process(_queue: BatchQueue, _items: list[object]) -> None:
        together.wait(10)

    async with running(process, workers=50) as rig:
        await rig.queue.push_many(range(50))
        await until_empty(rig.queue)
        assert (await rig.queue.statistics()).process_errors == 0


async def test_what_a_call_does_with_its_list_harms_no_later_attempt(
    autojump_clock: MockClock,
) -> None:
    async def empties(_queue: BatchQueue, items: list[object]) -> None:
        items.clear()
        raise Boom

    process = Process([empties])
    async with running(process, flush_size=2) as rig:
        await rig.queue.push_many("ab")
        await trio.sleep(10)

        assert process.calls == [["a", "b"], ["a", "b"]]
        assert (await rig.queue.statistics()).processed == 2


# -- how it may end --------------------------------------------------------------------------------


class Unprintable(Exception):  # noqa: N818 - what it is
    """Raises wherever somebody wants to show it."""

    def __str__(self) -> str:
        raise Boom

    __repr__ = __str__


@pytest.mark.parametrize(
    "error",
    [
        ExceptionGroup("several", [Boom(1), Boom(2)]),
        BaseException("of my own"),
        BaseExceptionGroup("several", [BaseException("odd"), Boom()]),
        Unprintable(),
        Boom("\ud800"),
        StopAsyncIteration(),
        QueueFullError("other", 1, 0, 1),
        trio.TooSlowError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_a_call_raises_its_batch_is_tried_again(
    error: BaseException, autojump_clock: MockClock, events: Events
) -> None:
    process = Process([raises(error)])
    async with running(process) as rig:
        await rig.queue.push("a")
        await trio.sleep(10)
        numbers = await rig.queue.statistics()

        assert process.waits == [1]
        assert (numbers.processed, numbers.process_errors, numbers.restarts) == (1, 1, 0)
        assert len(named(events, "batch_failed")) == 1
        assert not named(events, "child_terminated")


async def test_a_cancellation_of_a_scope_of_its_own_is_its_own_affair(
    autojump_clock: MockClock,
) -> None:
    async def gives_up(_queue: BatchQueue, _items: list[object]) -> None:
        with trio.move_on_after(3):
            await trio.sleep_forever()

    process = Process([gives_up])
    async with running(process) as rig:
        await rig.queue.push("a")
        await trio.sleep(5)
        numbers = await rig.queue.statistics()

        assert (numbers.processed, numbers.process_errors, process.cancelled) == (1, 0, 0)


async def test_a_cancellation_that_is_raised_anew_is_a_failure(autojump_clock: MockClock) -> None:
    async def raises_anew(_queue: BatchQueue, _items: list[object]) -> None:
        kept: list[trio.Cancelled] = []
        with trio.move_on_after(1):
            try:
                await trio.sleep_forever()
            except trio.Cancelled as error:
                kept.append(error)
                raise
        raise kept[0]

    process = Process([raises_anew])
    async with running(process) as rig:
        await rig.queue.push("a")
        await trio.sleep(10)
        numbers = await rig.queue.statistics()

        assert (numbers.processed, numbers.process_errors) == (1, 1)


async def test_a_call_that_swallows_its_cancellation_and_succeeds_has_succeeded(
    autojump_clock: MockClock,
) -> None:
    async def swallows(_queue: BatchQueue, _items: list[object]) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            return

    process = Process([swallows])
    async with running(process) as rig:
        await rig.queue.push("a")
        await settle()
        await rig.supervisor.terminate_child("process")
        await rig.supervisor.restart_child("process")
        await settle()
        numbers = await rig.queue.statistics()

        assert (len(process.calls), numbers.processed, numbers.batches) == (1, 1, 0)


async def test_a_call_that_fails_as_it_is_cancelled_has_failed(
    autojump_clock: MockClock, events: Events
) -> None:
    async def fails_then(_queue: BatchQueue, _items: list[object]) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            raise Boom from None

    process = Process([fails_then])
    async with running(process) as rig:
        await rig.queue.push("a")
        await settle()
        await rig.supervisor.terminate_child("process")

        assert len(named(events, "batch_failed")) == 1
        (batch,) = await rig.queue.peek("retry")
        assert (batch.attempt, batch.error) == (1, "Boom")
        await rig.supervisor.restart_child("process")
        await trio.sleep(5)
        assert (process.waits, await rig.queue.len()) == ([1], 0)


async def test_a_call_that_also_fails_as_it_is_cancelled_is_given_back_and_told(
    autojump_clock: MockClock, events: Events
) -> None:
    async def one_of_two_fails(_queue: BatchQueue, _items: list[object]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(fails_at_the_end)

    async def fails_at_the_end() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise Boom

    process = Process([one_of_two_fails])
    async with running(process) as rig:
        await rig.queue.push("a")
        await settle()
        await rig.supervisor.terminate_child("process")

        assert len(named(events, "batch_failed")) == 1
        (batch,) = await rig.queue.peek("ready")
        assert (batch.attempt, batch.claims) == (0, 0)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_an_exit_ends_the_program_and_its_batch_is_not_counted(error: BaseException) -> None:
    process = Process([raises(error)])
    store = FaultyStore()

    async def main() -> None:
        async with running(process, store) as rig:
            rigs.append(rig)
            await rig.queue.push("a")
            await trio.sleep(10)

    rigs: list[object] = []
    with pytest.raises(type(error)):
        trio.run(main, clock=MockClock(autojump_threshold=0))

    (batch,) = records(rigs[0]).messages.values()  # type: ignore[arg-type] # a rig
    assert (batch.state, batch.claims, batch.attempt) == ("ready", 0, 0)


async def test_a_crash_of_the_processing_loses_nothing(autojump_clock: MockClock) -> None:
    store = FaultyStore()
    process = Process([lasts(5)])
    async with running(process, store, workers=3, flush_size=2) as rig:
        await rig.queue.push_many("abcdefg")
        await settle()
        store.fault = crash_once(*["claim"] * 30)  # more often than anybody insists

        await trio.sleep(20)
        await rig.queue.flush()
        await settle()

        assert sorted(set(map(str, process.done))) == list("abcdefg")
        numbers = await rig.queue.statistics()
        assert (numbers.batches, numbers.claimed, numbers.restarts) == (0, 0, 30)


async def test_what_nobody_could_give_back_is_given_back_by_the_next_processing(
    autojump_clock: MockClock,
) -> None:
    process = Process([lasts(100)] * 2)
    async with running(process, workers=2) as rig:
        await rig.queue.push_many("ab")
        await settle()

        for child in ("q", "process"):  # the actor is gone when the calls are cancelled
            await rig.supervisor.terminate_child(child)
        assert {batch.state for batch in records(rig).messages.values()} == {"claimed"}
        for child in ("q", "process"):
            await rig.supervisor.restart_child(child)
        await settle()

        assert sorted(map(str, process.done)) == ["a", "b"]
        assert await rig.queue.len() == 0


# -- error handlers --------------------------------------------------------------------------------


@attrs.define(eq=False)
class Handler:
    """An error handler that notes, and does what it was told."""

    error: BaseException | None = None
    seen: list[BaseException] = attrs.field(factory=list)

    def plain(self, error: BaseException) -> None:
        self.seen.append(error)
        if self.error is not None:
            raise self.error

    async def asynchronous(self, error: BaseException) -> None:
        await trio.lowlevel.checkpoint()
        self.plain(error)


@pytest.mark.parametrize("sort", ["plain", "asynchronous"])
async def test_an_error_handler_gets_each_error_itself(
    sort: str, autojump_clock: MockClock
) -> None:
    handler, errors = Handler(), [Boom(1), Boom(2)]
    process = Process([raises(error) for error in errors])
    async with running(process, on_process_error=getattr(handler, sort)) as rig:
        await rig.queue.push("a")
        await trio.sleep(10)

        assert handler.seen == errors
        assert process.done == ["a"]


@pytest.mark.parametrize("sort", ["plain", "asynchronous"])
async def test_an_error_handler_that_fails_harms_nothing(
    sort: str, autojump_clock: MockClock, events: Events
) -> None:
    handler = Handler(Boom("worse"))
    process = Process([fails, fails])
    async with running(process, on_process_error=getattr(handler, sort)) as rig:
        await rig.queue.push("a")
        await trio.sleep(10)

        assert (len(handler.seen), process.done) == (2, ["a"])
        told = named(events, "error_handler_failed")
        assert [(each["queue"], each["error"]) for each in told] == [("q", "Boom: worse")] * 2


async def test_an_error_handler_that_hangs_holds_up_no_closing(autojump_clock: MockClock) -> None:
    async def handler(_error: BaseException) -> None:
        await trio.sleep_forever()

    async with running(Process([fails]), on_process_error=handler) as rig:
        await rig.queue.push("a")
        await settle()
        begin = trio.current_time()

        await rig.queue.close()

        assert trio.current_time() == begin
        (batch,) = await rig.queue.peek("retry")
        assert batch.attempt == 1


# -- what cannot be read ---------------------------------------------------------------------------


class Strict:
    """A codec that does not decode what is poison, and may be told not to encode at a flush."""

    name = "strict"

    def encode(self, value: object) -> bytes:
        return str(value).encode()

    def decode(self, data: bytes) -> object:
        if b"poison" in data:
            raise Boom("cannot be read")
        return data.decode()


def on_disk(path: Path) -> Config:
    options: dict[str, object] = {"path": str(path / "q.sqlite"), "commit": "inline"}
    return Config(stores={"disk": StoreConfig(type="sqlite", factory=SqliteStore, options=options)})


async def test_a_batch_that_cannot_be_decoded_neither_kills_nor_starves(
    tmp_path: Path, autojump_clock: MockClock, events: Events
) -> None:
    process, inside, outside = Process(), Handler(), Handler()
    async with open_runtime(on_disk(tmp_path)) as runtime:
        queue = await runtime.define(
            "q",
            kind="batch",
            store="disk",
            codec=Strict,
            process=process,
            flush_size=2,
            retry=Fixed(1, 0, cooldown=5),
            max_claims=3,
            on_exhausted="bury",
            on_internal_error=inside.plain,
            on_process_error=outside.plain,
        )
        await queue.push_many(["a", "poison", "b", "c"])
        await trio.sleep(4)

        assert process.calls == [["b", "c"]]
        assert [type(error) for error in inside.seen] == [CodecError]
        await trio.sleep(60)
        assert (len(inside.seen), outside.seen) == (3, [])
        numbers = await queue.statistics()
        assert (numbers.buried, numbers.process_errors, numbers.restarts) == (1, 3, 0)
        assert len(named(events, "batch_not_read")) == 3
        with pytest.raises(CodecError):
            await queue.peek("buried")


async def test_an_error_whose_text_cannot_be_encoded_is_stored_all_the_same(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    process = Process([raises(Boom("\ud800"))])
    async with open_runtime(on_disk(tmp_path)) as runtime:
        queue = await runtime.define(
            "q", kind="batch", store="disk", process=process, retry=Fixed(0, 5)
        )
        await queue.push("a")
        await trio.sleep(1)

        (batch,) = await queue.peek("retry")
        assert batch.error == "Boom: \\ud800"
        await trio.sleep(9)
        assert process.done == ["a"]


async def test_batches_that_cannot_be_merged_are_tried_again(autojump_clock: MockClock) -> None:
    angry = [True]

    def merge(old: object, new: object) -> object:
        if angry[0]:
            raise Boom("angry")
        return (cast("tuple[object, ...]", old)[0], new)

    process, inside = Process(), Handler()
    async with running(
        process,
        buffer="merging",
        merge_key=lambda item: item[0],
        merge=merge,
        batches=2,
        on_internal_error=inside.plain,
    ) as rig:
        await rig.queue.pause()
        await rig.queue.push_many(["aa", "ab"])
        await rig.queue.resume()
        await trio.sleep(2.5)
        angry[0] = False
        await trio.sleep(5)

        assert list(map(str, inside.seen)) == ["angry"] * 3
        assert process.calls == [[("a", "ab")]]


# -- retry policies --------------------------------------------------------------------------------


@attrs.define
class Own:
    """A retry policy of one's own."""

    waits: list[object]
    cooldown: object = 0.0

    def delay(self, attempt: int, _random: Random, /) -> float | None:
        wait = self.waits[attempt - 1]
        if isinstance(wait, Exception):
            raise wait
        return cast("float | None", wait)


async def test_a_policy_may_be_ones_own(autojump_clock: MockClock) -> None:
    process = Process([fails] * 5)
    async with running(process, retry=Own([3, 1.5, 0, None], cooldown=7)) as rig:
        await rig.queue.push("a")
        await trio.sleep(100)

        assert process.waits == [3, 1.5, 0, 7, 3]


@pytest.mark.parametrize(
    "policy",
    [
        Own([Boom("no idea")] * 9),
        Own([-1.0] * 9),
        Own(["soon"] * 9),
        Own([float("nan")] * 9),
        Own([float("inf")] * 9),
        Own([]),
        Own([None] * 9, cooldown=-1),
        Own([None] * 9, cooldown=None),
    ],
    ids=lambda policy: repr(policy)[:30],
)
async def test_a_policy_that_fails_is_replaced_by_the_default(
    policy: Own, autojump_clock: MockClock, events: Events
) -> None:
    process = Process([fails] * 3)
    async with running(process, retry=policy) as rig:
        await rig.queue.push("a")
        await trio.sleep(100)

        assert process.waits == pytest.approx([1, 2, 4], rel=0.1)  # its jitter
        assert len(named(events, "retry_failed")) == 3


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        (Own([5e9]), "expected the delay of the retry policy to be seconds below 1e+09, got 5e9"),
        (Own([-1.0]), "expected the delay of the retry policy to be seconds >= 0, got -1.0"),
        (
            Own([None], cooldown=-1),
            "expected the cooldown of the retry policy to be seconds >= 0, got -1",
        ),
    ],
    ids=["long", "negative", "cooldown"],
)
async def test_it_is_logged_what_is_wrong_with_a_policy(
    policy: Own, told: str, autojump_clock: MockClock, events: Events
) -> None:
    async with running(Process([fails]), retry=policy) as rig:
        await rig.queue.push("a")
        await settle()

        (event,) = named(events, "retry_failed")
        assert str(event["error"]).split(": ", 1)[1] == told.replace("5e9", repr(5e9))


async def test_a_policy_without_a_cooldown_has_none(autojump_clock: MockClock) -> None:
    class Once:
        def delay(self, _attempt: int, _random: Random, /) -> float | None:
            return None

    process = Process([fails] * 3)
    async with running(process, retry=Once()) as rig:
        await rig.queue.push("a")
        await trio.sleep(1)

        assert process.waits == [0, 0, 0]


# -- what is claimed is known ----------------------------------------------------------------------


async def test_what_a_worker_is_told_of_while_another_asks_to_keep_is_kept(
    autojump_clock: MockClock,
) -> None:
    process = Process(always=lasts(5))
    async with running(process) as rig:
        await rig.queue.pause()
        await rig.queue.push("a")
        await settle()
        processing = rig.queue._processing  # noqa: SLF001

        submit(rig, "resume")  # the worker that waits gets a claim, and in the same turn
        submit(rig, "keep", processing.known())  # another asks what it would after a failed commit
        await trio.sleep(30)

        assert len(process.calls) == 1


async def test_what_a_worker_has_done_and_not_told_yet_is_known(autojump_clock: MockClock) -> None:
    store, process = FaultyStore(), Process()
    known: list[bool] = []

    async with running(process, store) as rig:
        processing = rig.queue._processing  # noqa: SLF001

        def look(_number: int, method: str) -> bool:
            if method == "claim" and process.done and not known:
                (batch,) = records(rig).messages.values()
                known.append(batch.key in processing.known())
            return False

        store.fault = look
        await rig.queue.push("a")
        await settle()

        assert known == [True]
        assert list(processing.known()) == []
