"""Dead letters of durable queues: in one transaction within a store, at least once between two."""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

import attrs
import pytest
import trio

from queueactors import (
    BatchQueue,
    Config,
    DeadLetter,
    MessageQueue,
    SqliteStore,
    StoreError,
    TimedQueue,
    open_runtime,
)
from queueactors.config import StoreConfig
from queueactors.stores._file import Connection, StandardDriver
from supervisors import Supervisor
from tests.stores.kit import define, define_batches, define_messages, on_disk, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence
    from pathlib import Path

    from trio.testing import MockClock

    from queueactors import Runtime
    from queueactors.stores._file import Driver
    from queueactors.stores._table import Row

A_WHILE: Final = 100.0  # seconds, after which everybody has tried again
Target = BatchQueue | MessageQueue | TimedQueue


class Define(Protocol):
    """Defines a queue that dead letters go to."""

    async def __call__(self, runtime: Runtime, name: str = ..., **options: object) -> Target: ...


async def _define_batches(runtime: Runtime, name: str = "q", **options: object) -> BatchQueue:
    queue = await define_batches(runtime, name, **options)
    await queue.pause()
    return queue


TARGETS: Final[dict[str, Define]] = {
    "timed": define,
    "message": define_messages,
    "batch": _define_batches,
}
to_each_kind = pytest.mark.parametrize("kind", TARGETS)


@attrs.define(eq=False)
class Commits:
    """What happens at each commit of a store: nothing, unless it is told."""

    at: Callable[[], None] = attrs.field(default=lambda: None)
    broken: bool = False

    def begin(self) -> None:
        """Be told of a commit.

        Raises:
          sqlite3.OperationalError: If it is to fail.
        """
        self.at()
        if self.broken:
            raise sqlite3.OperationalError("database or disk is full")


class _Watched:
    def __init__(self, connection: Connection, commits: Commits) -> None:
        self._connection = connection
        self._commits = commits

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def execute(self, sql: str, values: Sequence[object] = (), /) -> Iterable[Row]:
        if sql == "COMMIT":
            self._commits.begin()
        return self._connection.execute(sql, values)

    def executemany(self, sql: str, rows: Iterable[Row], /) -> object:
        return self._connection.executemany(sql, rows)

    def close(self) -> None:
        self._connection.close()


class _WatchedDriver(StandardDriver):
    def __init__(self, commits: Commits) -> None:
        self._commits = commits

    def connect(self, path: str) -> Connection:  # type: ignore[override] # it is one of an object
        return _Watched(StandardDriver.connect(path), self._commits)


def watched(commits: Commits) -> type[SqliteStore]:
    """Return a store whose commits are watched."""

    @attrs.define(eq=False)
    class WatchedStore(SqliteStore):
        driver: ClassVar[Driver] = _WatchedDriver(commits)

    return WatchedStore


@asynccontextmanager
async def two_stores(
    tmp_path: Path, commits: Commits, on_failure: str, kind: str
) -> AsyncIterator[tuple[Runtime, TimedQueue, Target]]:
    """Run a queue whose dead letters go to a queue of another store, which is watched."""
    options = {"commit": "inline", "on_failure": on_failure}
    makes: dict[str, type[SqliteStore]] = {"disk": SqliteStore, "far": watched(commits)}
    stores = {
        name: StoreConfig(
            type="sqlite", factory=make, options=options | {"path": str(tmp_path / name)}
        )
        for name, make in makes.items()
    }
    async with open_runtime(Config(stores=stores)) as runtime:
        other = await TARGETS[kind](runtime, "other", store="far")
        queue = await define(runtime, max_reservations=1, on_exhausted="other")
        yield runtime, queue, other


async def exhaust(queue: TimedQueue, value: bytes) -> None:
    """Let a message be exhausted."""
    await queue.insert(value)
    await queue.release(await queue.reserve(), error="bad")


async def letters_in(queue: Target) -> list[object]:
    """Return the values of the dead letters that are there."""
    if isinstance(queue, MessageQueue):
        shown = [info.message for info in (await queue.queue_content()).values()]
    elif isinstance(queue, BatchQueue):
        shown = [item for batch in await queue.peek("ready", 100) for item in batch.items]
    else:
        shown = [message.value for message in await queue.peek("ready", 100)]
    assert all(isinstance(each, DeadLetter) for each in shown)
    return [each.value for each in shown if isinstance(each, DeadLetter)]


@to_each_kind
async def test_within_a_store_a_message_leaves_one_queue_and_enters_the_other_in_one_commit(
    kind: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    path, copy = tmp_path / "f", tmp_path / "copy"
    commits = Commits()
    seen = set()

    def look() -> None:
        seen.add(tuple(len(on_disk(path, copy, name).messages) for name in ("q", "other")))

    async with running(path, watched(commits)) as runtime:
        other = await TARGETS[kind](runtime, "other")
        queue = await define(runtime, max_reservations=1, on_exhausted="other")
        commits.at = look
        await exhaust(queue, b"1")
        await trio.sleep(A_WHILE)
        look()
        commits.at = lambda: None

        assert await letters_in(other) == [b"1"]
    assert seen == {(0, 0), (1, 0), (0, 1)}


@to_each_kind
async def test_errands_that_are_stopped_at_any_commit_deliver_once_within_a_store(
    kind: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    number = reached = 0
    while reached == number:
        number += 1
        reached = await _stopped_at(tmp_path / str(number), kind, number)
    assert number > 3


async def _stopped_at(path: Path, kind: str, number: int) -> int:
    """Stop the errands at one commit, start them again; return how many commits there were."""
    commits = Commits()
    reached = 0
    async with running(path, watched(commits)) as runtime, trio.open_nursery() as nursery:
        other = await TARGETS[kind](runtime, "other")
        queue = await define(runtime, max_reservations=1, on_exhausted="other")
        group = runtime.supervisor.value_of("queues")
        assert isinstance(group, Supervisor)

        def stop() -> None:
            nonlocal reached
            if reached < number:
                reached += 1
                if reached == number:
                    nursery.start_soon(group.terminate_child, "errands.q")

        commits.at = stop
        await exhaust(queue, b"1")
        await trio.sleep(A_WHILE)
        if reached == number:
            await group.restart_child("errands.q")
            await trio.sleep(A_WHILE)

        assert await letters_in(other) == [b"1"]
        assert (await queue.statistics()).dead == 0
    return reached


@to_each_kind
@pytest.mark.parametrize("on_failure", ["error", "wait"])
async def test_dead_letters_for_a_store_that_fails_stay_until_it_works(
    on_failure: str, kind: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    commits = Commits()
    async with two_stores(tmp_path, commits, on_failure, kind) as (_, queue, other):
        commits.broken = True
        await exhaust(queue, b"1")
        await exhaust(queue, b"2")
        await trio.sleep(A_WHILE)
        assert (await queue.statistics()).dead == 2

        commits.broken = False
        await trio.sleep(A_WHILE)

        assert await letters_in(other) == [b"1", b"2"]
        assert (await queue.statistics()).dead == 0


async def test_errands_wait_for_a_store_of_their_own_that_fails(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    commits = Commits()
    calls = 0

    async def refill() -> list[bytes]:
        nonlocal calls
        calls += 1
        commits.broken = True
        return [b"%d" % calls]

    async with running(tmp_path / "f", watched(commits)) as runtime:
        queue = await define(runtime, sync_fn=refill, sync_interval=1e6)
        taker = queue.submit.reserve()
        await trio.sleep(A_WHILE)
        commits.broken = False
        await trio.sleep(A_WHILE)

        with pytest.raises(StoreError):  # with the batch that served it
            taker.get_nowait()
        assert [each.value for each in await queue.peek("ready", 9)] == [b"1"]
        assert (await queue.statistics()).refilling is False


async def test_a_dead_letter_outlives_the_process_as_a_message(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with running(tmp_path / "f") as runtime:
        await define_messages(runtime, "other", max_length=1)
        queue = await define(runtime, max_reservations=1, on_exhausted="other")
        await exhaust(queue, b"1")
        await exhaust(queue, b"2")
        await trio.sleep(A_WHILE)
        assert (await queue.statistics()).dead == 1  # there was room for one

    async with running(tmp_path / "f") as runtime:
        other = await define_messages(runtime, "other", max_length=1)
        queue = await define(runtime, max_reservations=1, on_exhausted="other")
        letters = []
        for _ in range(2):
            claim = await other.claim()
            letters.append(claim.message)
            await claim.finish()
        assert [each.value for each in letters if isinstance(each, DeadLetter)] == [b"1", b"2"]
        assert {each.queue for each in letters if isinstance(each, DeadLetter)} == {"q"}
        assert await queue.len() == 0
