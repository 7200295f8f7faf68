"""A runtime over a store's file, and three looks at a queue: from outside, in memory, on disk."""

from __future__ import annotations

import shutil
from contextlib import asynccontextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, cast

import attrs
import msgspec

from queueactors import BatchOptions, Config, SqliteStore, open_runtime
from queueactors._codecs import Values, make_codec
from queueactors.config import StoreConfig
from queueactors.cores import Changed
from queueactors.cores.batch import Batch, BatchCore
from queueactors.cores.capacity import CapacityCore, Chunk
from queueactors.cores.log import LogCore
from queueactors.cores.message import MessageCore, QueuedMessage
from queueactors.queues import KINDS, MessageOptions
from queueactors.queues._batch_kind import TABLE as BATCH_TABLE
from queueactors.queues._batch_kind import BatchKind
from queueactors.queues._message_kind import TABLE, MessageKind
from queueactors.stores._file import StandardDriver, StoreFile
from supervisors import Supervisor
from tests.cores.kit import STATES
from tests.cores.naive import NaiveQueue

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from queueactors import (
        BatchQueue,
        CapacityQueue,
        Clock,
        LogQueue,
        MessageQueue,
        Runtime,
        TimedQueue,
    )
    from queueactors.cores.timed import Message
    from queueactors.stores import StoredMessage
    from queueactors.stores._actor import StoreActor
    from queueactors.stores._protocol import StoredRecords

LONG = 1e6  # seconds: longer than any test

Facts = dict[int, tuple[object, ...]]


@attrs.frozen
class Seen:
    """What a queue is: its messages by id, and what numbers them.

    A reservation's key counts only while the message is reserved.
    """

    messages: Facts
    next_id: int
    last_key: int
    paused_until: float | None


@asynccontextmanager
async def running(
    path: Path,
    make: type[SqliteStore] = SqliteStore,
    clock: Clock | None = None,
    **options: object,
) -> AsyncIterator[Runtime]:
    """Run a runtime with one store, named ``disk``."""
    store = StoreConfig(
        type="sqlite", factory=make, options={"path": str(path), "commit": "inline"} | options
    )
    async with open_runtime(Config(stores={"disk": store}), clock=clock) as runtime:
        yield runtime


async def define(runtime: Runtime, name: str = "q", **options: object) -> TimedQueue:
    """Define a queue in it."""
    given: dict[str, object] = {"store": "disk", "reservation_time": LONG, "codec": "bytes"}
    return await runtime.define(name, **(given | options))  # type: ignore[call-overload, no-any-return] # they are the queue's


async def define_messages(runtime: Runtime, name: str = "q", **options: object) -> MessageQueue:
    """Define a message queue in it."""
    given: dict[str, object] = {"store": "disk", "lock_time": LONG, "codec": "bytes"}
    return await runtime.define(name, kind="message", **(given | options))


async def define_batches(runtime: Runtime, name: str = "q", **options: object) -> BatchQueue:
    """Define a batch queue in it."""
    return await runtime.define(name, kind="batch", **(BATCHES | options))


async def define_idle(runtime: Runtime, name: str = "q", **options: object) -> BatchQueue:
    """Define a batch queue whose batches nobody claims by himself."""
    queue = await define_batches(runtime, name, **options)
    group = runtime.supervisor.value_of("queues")
    assert isinstance(group, Supervisor)
    await group.terminate_child(f"process.{name}")
    return queue


async def define_capacity(runtime: Runtime, name: str = "q", **options: object) -> CapacityQueue:
    """Define a capacity queue in it."""
    return await runtime.define(name, kind="capacity", **({"store": "disk"} | options))


async def define_log(runtime: Runtime, name: str = "q", **options: object) -> LogQueue:
    """Define a log queue in it."""
    return await runtime.define(name, kind="log", **({"store": "disk"} | options))


async def process_nothing(_queue: BatchQueue, _items: list[object]) -> None:
    """Be what batches are processed by."""


BATCHES: dict[str, object] = {
    "store": "disk",
    "process": process_nothing,
    "codec": "bytes",
    "flush_size": 2,
}


def a_model(**options: object) -> NaiveQueue:
    """Return a plain list that does what the queue ``q`` of `define` does."""
    given: dict[str, object] = {"unique": False, "max_reservations": None, "on_exhausted": "drop"}
    return NaiveQueue(name="q", interval=None, **(given | options))  # type: ignore[arg-type] # likewise


def actor_of(runtime: Runtime) -> StoreActor:
    """Return the actor of its store."""
    store = cast("SqliteStore", runtime._stores["disk"])  # noqa: SLF001
    return cast("StoreActor", store._actor)  # noqa: SLF001


def in_memory(runtime: Runtime, name: str = "q") -> Seen:
    """Return what its queue is to itself."""
    store = cast("SqliteStore", runtime._stores["disk"])  # noqa: SLF001
    records = cast("StoredRecords", store._journals[name].records)  # noqa: SLF001
    return _seen(records.messages.values(), records.head())


def on_disk(path: Path, copy: Path, name: str = "q") -> Seen:
    """Return what would be there if the process were killed now.

    The file is copied: who closes one that SQLite has open takes its locks away.
    """
    copy_of(path, copy)
    return stored(copy, name)


def copy_of(path: Path, copy: Path) -> None:
    """Copy a file with its log."""
    for suffix in ("", "-wal"):
        source = path.with_name(path.name + suffix)
        target = copy.with_name(copy.name + suffix)
        target.unlink(missing_ok=True)
        if source.exists():
            shutil.copyfile(source, target)


def stored(path: Path, name: str = "q") -> Seen:
    """Return what a file that nobody has open holds of a queue."""
    file = StoreFile(path, "process", StandardDriver())
    try:
        file._pragma("synchronous = OFF")  # noqa: SLF001 - nobody needs it any more
        assert file.faults() == []
        queue = file.queue(name)
        if queue is None:
            return Seen({}, 1, 0, None)
        table = KINDS[queue.kind].table
        assert table is not None
        codec = "items:bytes" if table.together or table.lazy else "bytes"
        rows = table.messages(list(file.messages(queue, table)), codec)
        return _seen(rows, queue.head)
    finally:
        file.close()


def expected(naive: NaiveQueue) -> Seen:
    """Return what the plain list says that the queue must be."""
    messages: Facts = {
        item.id: (
            item.value,
            item.place,
            item.priority,
            item.inserted_at,
            item.ready_at if item.place != "reserved" else None,
            item.attempts,
            (item.key, item.deadline_at) if item.place == "reserved" else None,
            item.error,
        )
        for item in naive.items
    }
    return Seen(messages, naive.next_id, naive.last_key, naive.paused_until)


@attrs.frozen
class MessageModel:
    """A message queue's core that nobody writes: what one in a store must always be like."""

    core: MessageCore

    @classmethod
    def new(cls) -> MessageModel:
        """Return what the queue of `define_messages` is at first."""
        return cls(MessageCore(name="q", lock_time=int(LONG * 1e9)))

    @classmethod
    def read(cls, path: Path, copy: Path) -> MessageModel:
        """Return what the next process would make of a file; it is copied."""
        copy_of(path, copy)
        file = StoreFile(copy, "process", StandardDriver())
        try:
            queue = file.queue("q")
            if queue is None:
                return cls.new()
            rows = TABLE.messages(list(file.messages(queue, TABLE)), "bytes")
            messages = {row.id: row for row in rows}
            kind = MessageKind("q", MessageOptions(lock_time=LONG, codec="bytes"))
            core = kind.core(kind.stored_records(queue.head, messages, 0))
        finally:
            file.close()
        for _ in core.rebuild():
            pass
        return cls(core)

    def copy(self) -> MessageModel:
        """Return another that is the same."""
        records = deepcopy(self.core.records)
        return MessageModel(MessageCore(name="q", lock_time=int(LONG * 1e9), records=records))

    def seen(self, now: int) -> Seen:
        """Return what the queue must be now."""
        self.core.advance(now)
        records = self.core.records
        return Seen(_facts(records.messages.values()), **_numbers(records.head()))  # type: ignore[arg-type]


@attrs.frozen
class ChunkModel:
    """A core that nobody writes: what a capacity or log queue in a store must always be like."""

    core: CapacityCore | LogCore
    changed: Changed

    @classmethod
    def new(cls, kind: str, records: object = None) -> ChunkModel:
        """Return what the queue of `define_capacity` or `define_log` is at first."""
        make = CapacityCore if kind == "capacity" else LogCore
        return cls(make(name="q", records=records, changed=(changed := Changed())), changed)  # type: ignore[arg-type] # its own

    def copy(self) -> ChunkModel:
        """Return another that is the same."""
        kind = "capacity" if isinstance(self.core, CapacityCore) else "log"
        return ChunkModel.new(kind, deepcopy(self.core.records))

    def do(self, method: str, now: int, *args: object) -> object:
        """Carry out an operation, and keep nothing of it open for the next."""
        answer: object = getattr(self.core, method)(now, *args)
        self.changed.written()
        return answer

    def seen(self) -> Seen:
        """Return what the queue must be now."""
        return _seen(self.core.records.messages.values(), self.core.records.head())


@attrs.frozen
class BatchModel:
    """A batch queue's core that nobody writes: what one in a store must always be like."""

    core: BatchCore
    kind: BatchKind

    @classmethod
    def new(cls, **options: object) -> BatchModel:
        """Return what the queue of `define_batches` is at first."""
        made = BatchOptions(**(BATCHES | options))  # type: ignore[arg-type] # the queue's
        kind = BatchKind.of("q", made, Values(make_codec("bytes")))
        return cls(_rebuilt(kind.core(kind.new_records())), kind)

    def stored(self, path: Path, copy: Path) -> BatchModel:
        """Return what the next process would make of a file; it is copied."""
        copy_of(path, copy)
        file = StoreFile(copy, "process", StandardDriver())
        try:
            queue = file.queue("q")
            assert queue is not None
            rows = BATCH_TABLE.messages(list(file.messages(queue, BATCH_TABLE)), "items:bytes")
        finally:
            file.close()
        BATCH_TABLE.release(rows, queue.at)
        records = self.kind.stored_records(queue.head, {row.id: row for row in rows}, 0)
        return BatchModel(_rebuilt(self.kind.core(records)), self.kind)

    def copy(self) -> BatchModel:
        """Return another that is the same."""
        return BatchModel(_rebuilt(self.kind.core(deepcopy(self.core.records))), self.kind)

    def seen(self, now: int) -> Seen:
        """Return what the queue must be now."""
        self.core.advance(now)
        records = self.core.records
        return Seen(_facts(records.messages.values()), **_numbers(records.head()))  # type: ignore[arg-type]


def _rebuilt(core: BatchCore) -> BatchCore:
    for _ in core.rebuild():
        pass
    return core


def _seen(messages: Iterable[StoredMessage], head: object) -> Seen:
    """Return what a queue is; of chunks that is also where it begins and ends, as message 0."""
    facts, numbers = _facts(messages), msgspec.convert(head, dict[str, int | None])
    if numbers.get("end"):  # something was in it
        facts[0] = tuple(numbers.get(each) for each in ("begin", "end", "taken", "max_elements"))
    return Seen(facts, **_numbers(head))  # type: ignore[arg-type]


def _facts(messages: Iterable[StoredMessage]) -> Facts:
    return {each.id: _fact(each) for each in messages}


def _fact(message: StoredMessage) -> tuple[object, ...]:
    if isinstance(message, Batch):
        return _batch(message)
    if isinstance(message, QueuedMessage):
        return _named(message)
    if isinstance(message, Chunk):
        return _chunk(message)
    return _timed(cast("Message", message))


def _chunk(chunk: Chunk) -> tuple[object, ...]:
    """Return all but the items, which may be in the file only."""
    name = chunk.value if chunk.state == "label" else None
    if isinstance(name, bytes):
        name = msgspec.msgpack.decode(name)[0].decode()
    return chunk.state, name, chunk.first, chunk.count, chunk.size, chunk.at


def _batch(batch: Batch) -> tuple[object, ...]:
    claimed, waits = batch.state == "claimed", batch.state in {"ready", "cooling", "retry"}
    fresh = batch.state == "ready" and not batch.claims  # flushed while a store failed, or later
    return (
        batch.value,
        batch.state,
        batch.size,
        None if fresh else batch.pushed_at,
        batch.ready_at if waits and not fresh else None,
        batch.claims,
        batch.attempt,
        batch.key,
        batch.deadline_at if claimed else None,
        batch.error,
    )


def _timed(message: Message) -> tuple[object, ...]:
    reserved = message.state == "reserved"
    return (
        message.value,
        message.state,
        message.priority,
        message.inserted_at,
        None if reserved else message.ready_at,
        message.attempt,
        (message.key, message.deadline_at) if reserved else None,
        message.error,
    )


def _named(message: QueuedMessage) -> tuple[object, ...]:
    locked = message.state == "locked"
    return (
        message.value,
        message.state,
        message.mid,
        message.enqueued_at,
        message.ready_at if message.state in {"ready", "backoff"} else None,
        message.attempt,
        (message.key, message.deadline_at) if locked else None,
        message.deadline_at if message.state == "done" else None,
        message.lock_time,
    )


def _numbers(head: object) -> dict[str, object]:
    numbers = msgspec.convert(head, dict[str, int | None])
    paused = numbers["paused_until"]
    return {
        "next_id": numbers["next_id"],
        "last_key": numbers.get("last_key", 0),
        "paused_until": float("inf") if paused == -1 else paused,
    }


async def shown(queue: TimedQueue) -> list[object]:
    """Return all that its users can see."""
    return [await queue.peek(state, 10**6) for state in STATES]
