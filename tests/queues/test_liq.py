"""What liq's own tests check (seed 003), one test each; and that its defects are not ours.

Its numbers are kept. Where it stores rows and claims them, we look with `peek`. A second ``Close``
is an error there and waits for the same end here. What its configuration and its policies refuse
is in ``test_batch.py`` and ``tests/test_retry.py``.

Source: what the tests of liq assert, and what was found by running it.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import TYPE_CHECKING

import attrs
import pytest
import trio

from queueactors import CodecError, QueueClosedError, SqliteStore, open_runtime
from queueactors.config import Config, StoreConfig
from queueactors.cores.batch import Appending, Merging
from queueactors.retry import Exponential, Fixed, Linear
from queueactors.stores import MemoryStore
from tests.stores.kit import copy_of

from .kit import settle
from .kit_batch import Process, fails, hangs, lasts

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from trio.testing import MockClock

    from queueactors import BatchQueue, Runtime

THOUSAND = list(range(1000))


@attrs.frozen
class Liq:
    """Opens a queue ``liq`` on the same store again and again."""

    path: Path | None

    def open(self) -> AbstractAsyncContextManager[Runtime]:
        store = StoreConfig(type="memory", factory=MemoryStore, options={})
        if self.path is not None:
            options: dict[str, object] = {"path": str(self.path), "commit": "inline"}
            store = StoreConfig(type="sqlite", factory=SqliteStore, options=options)
        return open_runtime(Config(stores={"here": store}))

    async def queue(self, runtime: Runtime, process: object, **options: object) -> BatchQueue:
        given: dict[str, object] = {"store": "here", "process": process}
        return await runtime.define("liq", kind="batch", **(given | options))


@pytest.fixture(params=["memory", "file"])
def liq(request: pytest.FixtureRequest, tmp_path: Path) -> Liq:
    return Liq(tmp_path / "liq.sqlite" if request.param == "file" else None)


@pytest.fixture
def file(tmp_path: Path) -> Liq:
    return Liq(tmp_path / "liq.sqlite")


async def until_done(process: Process, count: int) -> None:
    """Wait until so many items are done; a thread that cleans up a log may take its time."""
    with trio.fail_after(600):
        while len(process.done) < count:  # noqa: ASYNC110 - nothing tells of it
            await trio.sleep(1)


# -- the queue -------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["flush_size", "flush_pushes"])
async def test_a_thousand_pushes_are_one_batch(
    option: str, liq: Liq, autojump_clock: MockClock
) -> None:
    process = Process()
    async with liq.open() as runtime:
        options = {"flush_size": 0} | {option: 1000}
        queue = await liq.queue(runtime, process, **options)

        for item in THOUSAND[:-1]:
            await queue.push(item)
        await settle()
        assert process.calls == []
        await queue.push(THOUSAND[-1])
        await settle()

        assert process.calls == [THOUSAND]


async def test_an_hour_after_the_first_push_it_is_a_batch(
    liq: Liq, autojump_clock: MockClock
) -> None:
    process = Process()
    async with liq.open() as runtime:
        queue = await liq.queue(runtime, process, flush_size=0, flush_timeout=3600)
        begin = trio.current_time()

        for item in THOUSAND:
            await queue.push(item)
        await trio.sleep(4000)

        assert process.calls == [THOUSAND]
        assert process.at[0] - begin == 3600


async def test_nothing_is_processed_before_the_flush(liq: Liq, autojump_clock: MockClock) -> None:
    process = Process()
    async with liq.open() as runtime:
        queue = await liq.queue(runtime, process, flush_size=0)
        for item in THOUSAND:
            await queue.push(item)
        await trio.sleep(10**6)
        assert process.calls == []

        assert await queue.flush() == 1000
        await settle()

        assert process.calls == [THOUSAND]


@pytest.mark.slow
async def test_of_a_thousand_single_pushes_none_is_missed(
    liq: Liq, autojump_clock: MockClock
) -> None:
    autojump_clock.autojump_threshold = 0.2  # the log is cleaned up in a thread
    process = Process()
    async with liq.open() as runtime:
        queue = await liq.queue(runtime, process)

        for item in THOUSAND:
            await queue.push(item)
        await until_done(process, 1000)

        assert process.calls == [[item] for item in THOUSAND]


async def test_what_a_call_pushes_while_it_is_closed_comes_again(
    file: Liq, autojump_clock: MockClock
) -> None:
    async def push_back(queue: BatchQueue, items: list[object]) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await queue.push_many(items)

    async with file.open() as runtime:
        queue = await file.queue(runtime, Process([push_back]), flush_size=10)
        await queue.push_many(range(10))
        await settle()
        await queue.close()
        await queue.close()  # there: an error
        with pytest.raises(QueueClosedError):
            await queue.push(11)

    process = Process()
    async with file.open() as runtime:
        await file.queue(runtime, process)
        await settle()
        assert process.calls == [list(range(10))]


async def test_what_is_stored_and_what_is_buffered_comes_again_as_one_call(
    file: Liq, autojump_clock: MockClock
) -> None:
    async with file.open() as runtime:
        queue = await file.queue(runtime, Process(), flush_size=0)
        await queue.pause()
        await queue.push_many(range(5))
        await queue.flush()
        await queue.push_many(range(5, 10))
        await queue.close()

    process = Process()
    async with file.open() as runtime:
        queue = await file.queue(runtime, process, batches=2)
        await queue.resume()
        await settle()
        assert process.calls == [list(range(10))]


async def test_every_call_gets_ten_batches_of_ten_each_item_once(
    liq: Liq, autojump_clock: MockClock
) -> None:
    process = Process()
    async with liq.open() as runtime:
        queue = await liq.queue(runtime, process, flush_size=10, batches=10)
        await queue.pause()
        for item in THOUSAND:
            await queue.push(item)
        await queue.resume()
        await settle()

        assert [len(call) for call in process.calls] == [100] * 10
        assert process.done == THOUSAND


async def test_ten_workers_need_one_second_for_ten_seconds_of_work(
    liq: Liq, autojump_clock: MockClock
) -> None:
    process = Process(always=lasts(1))
    async with liq.open() as runtime:
        queue = await liq.queue(runtime, process, workers=10)
        begin = trio.current_time()
        await queue.push_many(range(10))
        await trio.sleep(0.999)
        assert process.done == []
        await trio.sleep(0.001)
        await settle()

        assert trio.current_time() - begin == 1
        assert sorted(map(str, process.done)) == sorted(map(str, range(10)))


@pytest.mark.slow
async def test_retries_keep_their_exact_cycle_a_thousand_times(
    liq: Liq, autojump_clock: MockClock
) -> None:
    process = Process(always=fails)
    policy = Fixed(3, 0.1, jitter=0, cooldown=0.5)
    async with liq.open() as runtime:
        queue = await liq.queue(runtime, process, workers=10, retry=policy)
        await queue.push("a")
        # On disk fewer: the clock must not jump while a thread cleans up the log.
        cycles = 1000 if liq.path is None else 20
        await trio.sleep(0.7 * cycles)
        await queue.pause()

        assert process.waits[: 3 * cycles - 2] == ([0.1, 0.1, 0.5] * cycles)[:-2]


# -- what is stored --------------------------------------------------------------------------------


async def test_a_batch_has_a_number_of_its_own(liq: Liq, autojump_clock: MockClock) -> None:
    async with liq.open() as runtime:
        queue = await liq.queue(runtime, Process())
        await queue.pause()
        await queue.push_many(range(100))

        batches = await queue.peek("ready", 1000)

        assert len({batch.id for batch in batches}) == 100


@pytest.mark.parametrize("batches", [1, 2])
async def test_the_oldest_are_claimed_first(
    batches: int, liq: Liq, autojump_clock: MockClock
) -> None:
    process = Process()
    async with liq.open() as runtime:
        queue = await liq.queue(runtime, process, batches=batches)
        await queue.pause()
        for item in range(6):
            await queue.push(item)
            await trio.sleep(1)
        await queue.resume()
        await settle()

        assert [len(call) for call in process.calls] == [batches] * (6 // batches)
        assert process.done == list(range(6))


@pytest.mark.slow
async def test_no_batch_is_claimed_twice_by_a_hundred_workers(
    liq: Liq, autojump_clock: MockClock
) -> None:
    process = Process(always=lasts(0))
    autojump_clock.autojump_threshold = 0.2  # a large commit may be in a thread
    async with liq.open() as runtime:
        queue = await liq.queue(runtime, process, workers=100)
        await queue.pause()
        await queue.push_many(range(10_000))
        await queue.resume()
        await until_done(process, 10_000)

        assert set(Counter(map(str, process.done)).values()) == {1}
        assert len(process.done) == 10_000


async def test_a_release_changes_but_the_count_and_the_cooldown_blocks(
    liq: Liq, autojump_clock: MockClock
) -> None:
    process = Process(always=fails)
    async with liq.open() as runtime:
        queue = await liq.queue(runtime, process, retry=Fixed(1, 0, cooldown=8))
        await queue.pause()
        await queue.push_many(["other"])
        await queue.clear()
        await queue.push("a")
        (before,) = await queue.peek("ready")
        await queue.resume()
        await trio.sleep(7)

        (after,) = await queue.peek("cooling")
        for fact in ("id", "items", "size", "pushed_at"):
            assert getattr(after, fact) == getattr(before, fact)
        assert (before.claims, after.claims) == (0, 1)
        await trio.sleep(2)
        assert process.waits == [8]


async def test_the_numbers_are_of_all_that_is_stored(liq: Liq, autojump_clock: MockClock) -> None:
    async with liq.open() as runtime:
        queue = await liq.queue(runtime, Process([hangs]), flush_size=4, workers=2)
        await queue.push_many(range(4))
        await settle()
        await queue.pause()
        await queue.push_many(range(9))
        (one,) = await queue.peek("ready", 1)

        numbers = await queue.statistics()
        assert (numbers.batches, numbers.items, numbers.buffered) == (3, 12, 1)
        assert await queue.remove(one.id) == 1
        numbers = await queue.statistics()
        assert (numbers.batches, numbers.items, numbers.claimed) == (2, 8, 1)


async def test_a_wait_is_over_at_once_when_the_queue_is_closed(
    liq: Liq, autojump_clock: MockClock
) -> None:
    process = Process(always=fails)
    async with liq.open() as runtime:
        queue = await liq.queue(runtime, process, retry=Fixed(0, 3600))
        await queue.push("a")
        await trio.sleep(1)
        begin = trio.current_time()

        await queue.close()

        assert trio.current_time() == begin
        assert len(process.calls) == 1


async def test_each_batch_has_attempts_of_its_own(liq: Liq, autojump_clock: MockClock) -> None:
    process = Process(always=fails)
    async with liq.open() as runtime:
        policy = Linear(4, 1, 3, jitter=0, cooldown=100)
        queue = await liq.queue(runtime, process, workers=2, retry=policy)
        await queue.push("a")
        await trio.sleep(1.5)
        await queue.push("b")
        await trio.sleep(50)

        at = {
            item: [at for at, call in zip(process.at, process.calls, strict=True) if call == [item]]
            for item in "ab"
        }
        assert [time - at["a"][0] for time in at["a"]] == [0, 1, 3, 6]
        assert [time - at["b"][0] for time in at["b"]] == [0, 1, 3, 6]


# -- buffers and codecs ----------------------------------------------------------------------------


def test_an_appending_buffer_keeps_all_in_order() -> None:
    buffer = Appending()
    for item in THOUSAND:
        buffer.push(item)

    assert len(buffer) == 1000
    assert list(buffer) == THOUSAND


def test_a_merging_buffer_keeps_one_of_each_key_in_order() -> None:
    buffer = Merging(
        lambda item: int(str(item)) % 10, lambda old, new: int(str(old)) + int(str(new))
    )
    for item in THOUSAND:
        buffer.push(item)

    assert len(buffer) == 10
    assert list(buffer) == [sum(range(first, 1000, 10)) for first in range(10)]


@pytest.mark.parametrize("codec", ["json", "msgpack", "pickle"])
async def test_a_thousand_items_come_back_as_they_were(
    codec: str, file: Liq, autojump_clock: MockClock
) -> None:
    items = [{"number": item, "text": str(item), "none": None} for item in THOUSAND]
    process = Process()
    async with file.open() as runtime:
        queue = await file.queue(runtime, process, codec=codec, flush_size=1000)
        await queue.push_many(items)
        await settle()

        assert process.calls == [items]


# -- its defects -----------------------------------------------------------------------------------


async def test_a_close_ends_with_a_backlog_whose_calls_fail_as_they_are_cancelled(
    file: Liq, autojump_clock: MockClock
) -> None:
    async def fail_at_the_end(_queue: BatchQueue, _items: list[object]) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            raise ValueError from None

    async with file.open() as runtime:
        queue = await file.queue(runtime, Process(always=hangs))
        await queue.push_many(THOUSAND)
        await settle()

    process = Process(always=fail_at_the_end)
    async with file.open() as runtime:
        queue = await file.queue(runtime, process, workers=10, retry=Fixed(1, 0))
        await settle()
        with trio.fail_after(1):
            await queue.close()
        assert len(process.calls) == 10  # and none more, with a cancelled scope
        await trio.sleep(100)
        assert len(process.calls) == 10
        assert await queue.len() == 1000


async def test_a_flush_after_the_close_does_not_hang(liq: Liq, autojump_clock: MockClock) -> None:
    async with liq.open() as runtime:
        queue = await liq.queue(runtime, Process())
        await queue.close()

        with trio.fail_after(1), pytest.raises(QueueClosedError):
            await queue.flush()


@pytest.mark.parametrize("attempts", [1, 2])
async def test_a_linear_policy_may_have_one_or_two_attempts(
    attempts: int, liq: Liq, autojump_clock: MockClock
) -> None:
    process = Process(always=fails)
    async with liq.open() as runtime:
        policy = Linear(attempts, 1, 5, jitter=0, cooldown=50)
        queue = await liq.queue(runtime, process, retry=policy)
        await queue.push("a")
        await trio.sleep(40)

        assert process.waits == [1] * (attempts - 1)


async def test_a_fraction_as_the_base_is_not_cut(liq: Liq, autojump_clock: MockClock) -> None:
    process = Process(always=fails)
    async with liq.open() as runtime:
        queue = await liq.queue(runtime, process, retry=Exponential(0, 1, 3600, 1.5, jitter=0))
        await queue.push("a")
        await trio.sleep(13)

        assert process.waits == [1, 1.5, 2.25, 3.375]


async def test_an_item_that_cannot_be_encoded_costs_no_other(
    file: Liq, autojump_clock: MockClock
) -> None:
    process = Process()
    async with file.open() as runtime:
        queue = await file.queue(runtime, process, flush_size=2)
        await queue.push("a")
        with pytest.raises(CodecError):
            await queue.push(object())
        await queue.push("b")
        await settle()

        assert process.calls == [["a", "b"]]


async def test_another_codec_than_before_neither_kills_nor_loses(
    file: Liq, autojump_clock: MockClock
) -> None:
    async with file.open() as runtime:
        queue = await file.queue(runtime, Process(), codec="pickle")
        await queue.pause()
        await queue.push({1, 2})
        await queue.push("b")

    process = Process()
    for _ in range(2):
        async with file.open() as runtime:
            queue = await file.queue(runtime, process, codec="json")
            await queue.resume()
            await queue.push("new")
            await settle()
            numbers = await queue.statistics()
            assert numbers.batches + numbers.set_aside == 2
    assert process.done == ["new", "new"]

    async with file.open() as runtime:
        await file.queue(runtime, process, codec="pickle")
        await trio.sleep(3700)
    assert process.done[2:] in ([{1, 2}, "b"], ["b", {1, 2}])


async def test_a_cooldown_ends_on_time_though_others_are_claimed(
    liq: Liq, autojump_clock: MockClock
) -> None:
    process = Process([hangs, fails])
    async with liq.open() as runtime:
        queue = await liq.queue(runtime, process, workers=2, retry=Fixed(1, 0, cooldown=5))
        await queue.push("claimed")
        await settle()
        await queue.push("cooling")
        await trio.sleep(6)

        assert process.calls == [["claimed"], ["cooling"], ["cooling"]]
        assert process.waits[1] == 5


async def test_a_handle_that_a_call_kept_does_not_hang_after_the_close(
    liq: Liq, autojump_clock: MockClock
) -> None:
    kept: list[BatchQueue] = []

    async def keep(queue: BatchQueue, _items: list[object]) -> None:
        kept.append(queue)

    async with liq.open() as runtime:
        queue = await liq.queue(runtime, Process([keep]))
        await queue.push("a")
        await settle()
        await queue.close()

        with trio.fail_after(1), pytest.raises(QueueClosedError):
            await kept[0].push("b")


async def test_what_is_acknowledged_as_stored_is_on_disk(
    file: Liq, tmp_path: Path, autojump_clock: MockClock
) -> None:
    assert file.path is not None
    async with file.open() as runtime:
        queue = await file.queue(runtime, Process(), flush_size=0)
        await queue.pause()
        await queue.push("buffered")
        await queue.push("stored", stored=True)
        await queue.push("not yet")

        copy = tmp_path / "copy.sqlite"
        copy_of(file.path, copy)

    connection = sqlite3.connect(copy)
    assert connection.execute("SELECT sum(size) FROM batch").fetchone() == (2,)
    connection.close()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
async def test_a_poison_batch_without_a_cooldown_starves_nobody(
    workers: int, liq: Liq, autojump_clock: MockClock
) -> None:
    async def fail_over_poison(queue: BatchQueue, items: list[object]) -> None:
        if "poison" in items:
            await fails(queue, items)

    process = Process(always=fail_over_poison)
    async with liq.open() as runtime:
        queue = await liq.queue(runtime, process, workers=workers, retry=Fixed(1, 0))
        await queue.push("poison")
        for item in range(50):
            await queue.push(item)
        for _ in range(300):
            await queue.len()

        assert sorted(map(str, process.done)) == sorted(map(str, range(50)))
        await queue.clear()
