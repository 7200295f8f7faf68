"""Where batches go that were claimed too often, and what comes to a batch queue that way."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
import trio

from queueactors import DeadLetter, MemoryStore, SqliteStore, open_runtime
from queueactors.config import Config, StoreConfig
from queueactors.retry import Fixed

from .kit import settle
from .kit_batch import Process, fails, hangs

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

    from queueactors import BatchQueue, Runtime
    from queueactors.queues import AnyQueue
    from tests.conftest import Events

KINDS: dict[str, dict[str, object]] = {
    "timed": {"reservation_time": 30},
    "message": {},
    "channel": {},
    "batch": {},
}


def stores(path: Path) -> Config:
    """Return a configuration with two stores on disk, and one in memory."""
    each: dict[str, StoreConfig] = {
        name: StoreConfig(
            type="sqlite",
            factory=SqliteStore,
            options={"path": str(path / f"{name}.sqlite"), "commit": "inline"},
        )
        for name in ("disk", "other")
    }
    return Config(
        stores=each | {"memory": StoreConfig(type="memory", factory=MemoryStore, options={})}
    )


async def a_dead_end(runtime: Runtime, kind: str, store: str, process: Process) -> AnyQueue:
    """Define the queue that gets dead letters."""
    more: dict[str, object] = {"process": process} if kind == "batch" else {}
    return await runtime.define("dead", kind=kind, store=store, **(KINDS[kind] | more))


async def failing(runtime: Runtime, store: str, **options: object) -> BatchQueue:
    """Define a queue whose calls all fail, once."""
    given: dict[str, object] = {
        "process": Process(always=fails),
        "store": store,
        "flush_size": 2,
        "retry": Fixed(1, 0),
        "max_claims": 1,
        "on_exhausted": "dead",
    }
    return await runtime.define("q", kind="batch", **(given | options))


async def taken_from(queue: AnyQueue, process: Process) -> DeadLetter:
    """Take the one letter out of a queue of whatever kind."""
    found: object
    with trio.fail_after(10):
        match queue.kind:
            case "timed":
                found = (await queue.reserve()).value
            case "message":
                found = (await queue.claim()).message
            case "channel":
                found = await queue.recv()
            case _:
                await settle()
                ((found,),) = process.calls
    return cast("DeadLetter", found)


@pytest.mark.parametrize(
    ("store", "target"),
    [("memory", "memory"), ("disk", "disk"), ("disk", "other"), ("disk", "memory")],
)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_batch_goes_to_a_queue_of_any_kind_in_any_store(
    kind: str, store: str, target: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    if kind == "channel":
        target = "memory"
    process = Process()
    async with open_runtime(stores(tmp_path)) as runtime:
        dead = await a_dead_end(runtime, kind, target, process)
        queue = await failing(runtime, store)
        begin = queue.clock.now_ns()
        await queue.push_many(["a", "b"])
        await trio.sleep(1)

        letter = await taken_from(dead, process)

        assert (letter.value, letter.queue, letter.attempts) == (["a", "b"], "q", 1)
        assert (letter.error, letter.inserted_at) == ("Boom: over ['a', 'b']", begin)
        assert await queue.len() == 0
        assert (await queue.statistics()).exhausted == 1


async def test_letters_wait_for_room(tmp_path: Path, autojump_clock: MockClock) -> None:
    process = Process()
    async with open_runtime(stores(tmp_path)) as runtime:
        dead = await runtime.define(
            "dead", kind="batch", store="disk", process=process, max_length=1
        )
        await dead.pause()
        queue = await failing(runtime, "disk", flush_size=1)
        await queue.push_many("abc")
        await trio.sleep(5)

        assert (await queue.statistics()).dead == 2
        assert (await dead.statistics()).pushing == 1
        await dead.resume()
        await trio.sleep(5)
        letters = cast("list[list[DeadLetter]]", process.calls)
        assert [letter.value for (letter,) in letters] == [["a"], ["b"], ["c"]]
        assert await queue.len() == 0


async def test_what_a_closed_queue_refuses_is_buried(
    tmp_path: Path, autojump_clock: MockClock, events: Events
) -> None:
    async with open_runtime(stores(tmp_path)) as runtime:
        dead = await a_dead_end(runtime, "batch", "disk", Process())
        await dead.close()
        queue = await failing(runtime, "disk")
        await queue.push_many("ab")
        await trio.sleep(1)

        (batch,) = await queue.peek("buried")
        assert batch.items == ["a", "b"]
        assert [event["id"] for event in events if event["event"] == "dead_letter_refused"] == [
            batch.id
        ]


async def test_a_letter_from_another_kind_is_a_batch_of_its_own(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    process = Process()
    async with open_runtime(stores(tmp_path)) as runtime:
        dead = await runtime.define(
            "dead", kind="batch", store="disk", process=process, flush_size=9
        )
        await dead.push("mine")
        timed = await runtime.define(
            "t", store="disk", on_exhausted="dead", reservation_time=5, max_reservations=1
        )
        await timed.insert("a")
        await timed.reserve()
        await trio.sleep(6)

        ((letter,),) = cast("list[list[DeadLetter]]", process.calls)
        assert (letter.value, letter.queue) == ("a", "t")
        assert (await dead.statistics()).buffered == 1


@pytest.mark.parametrize("target", ["q", "nowhere"])
async def test_letters_need_a_queue_that_is_there(target: str) -> None:
    async with open_runtime() as runtime:
        with pytest.raises(ValueError, match=r"dead letter queue|there is no queue 'nowhere'"):
            await failing(runtime, "memory", on_exhausted=target)


async def test_a_batch_that_its_process_took_with_it_goes_the_same_way(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    config = stores(tmp_path)
    copy = tmp_path / "crashed"
    copy.mkdir()
    async with open_runtime(config) as runtime:
        await a_dead_end(runtime, "timed", "disk", Process())
        queue = await failing(runtime, "disk", process=Process(always=hangs))
        await queue.push_many("ab")
        await settle()
        for suffix in ("", "-wal"):  # what a crash would leave
            source = tmp_path / f"disk.sqlite{suffix}"
            (copy / source.name).write_bytes(source.read_bytes())

    process = Process(always=hangs)
    async with open_runtime(stores(copy)) as runtime:
        dead = await a_dead_end(runtime, "timed", "disk", Process())
        queue = await failing(runtime, "disk", process=process)
        letter = await taken_from(dead, Process())

        assert (letter.value, letter.error) == (["a", "b"], "the process ended that had it")
        assert process.calls == []
