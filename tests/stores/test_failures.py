"""What else can happen to a store's file, to its actor, and to its thread.

Each caller gets an answer, nothing is lost, and service goes on by itself.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ClassVar, Final

import attrs
import pytest
import trio

from queueactors import SqliteStore, StoreError
from queueactors.stores._file import Driver, StandardDriver, StoreFile
from supervisors import ChildStartError, Supervisor
from tests.stores.kit import define, in_memory, on_disk, running
from tests.stores.vfs import Disk, store_on

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from trio.testing import MockClock

    from queueactors import Runtime, TimedQueue
    from queueactors.stores._file import Connection
    from queueactors.stores._table import Row

A_WHILE: Final = 100.0  # seconds, after which the store has tried again


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk()
    yield disk
    disk.unregister()


async def values_of(queue: TimedQueue) -> list[object]:
    return [message.value for message in await queue.peek("ready", 100)]


async def reopened(path: Path) -> list[object]:
    """Return the values that are there after a restart."""
    async with running(path) as runtime:
        return await values_of(await define(runtime))


async def outcome_of(call: Awaitable[object]) -> str | None:
    """Return what a call says of its outcome; None: it succeeded."""
    try:
        await call
    except StoreError as error:
        return error.outcome
    return None


async def insist_on(queue: TimedQueue, value: bytes) -> None:
    """Insert a value as soon as that can be done."""
    while await outcome_of(queue.insert(value)) is not None:  # noqa: ASYNC110 - in real time
        await trio.sleep(0.05)


def stores_of(runtime: Runtime) -> Supervisor:
    group = runtime.supervisor.value_of("stores")
    assert isinstance(group, Supervisor)
    return group


@asynccontextmanager
async def meanwhile(call: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Let a call wait while the body runs; then it must succeed."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await trio.testing.wait_all_tasks_blocked()
        yield


# -- the file ------------------------------------------------------------------------------------


def _delete(path: Path, *suffixes: str) -> None:
    for suffix in suffixes or ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _move(path: Path, target: Path, *suffixes: str) -> None:
    for suffix in suffixes:
        path.with_name(path.name + suffix).rename(target.with_name(target.name + suffix))


def _read(path: Path) -> bytes:
    return path.read_bytes()


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


@pytest.mark.parametrize(
    "suffixes",
    [("", "-wal", "-shm"), ("",), ("-wal",), ("-wal", "-shm")],
    ids=["with its log", "alone", "its log", "its log and index"],
)
async def test_a_file_that_was_deleted_is_put_back(
    suffixes: tuple[str, ...], path: Path, autojump_clock: MockClock
) -> None:
    async with running(path) as runtime:
        queue = await define(runtime)
        await queue.insert(b"1", b"2")
        _delete(path, *suffixes)

        assert await outcome_of(queue.insert(b"3")) == "not applied"
        await trio.sleep(A_WHILE)

        assert await values_of(queue) == [b"1", b"2"]
        await queue.insert(b"4")
        assert on_disk(path, path.with_name("copy")) == in_memory(runtime)
    assert await reopened(path) == [b"1", b"2", b"4"]


async def test_who_waits_does_not_notice_that_the_file_was_deleted(
    path: Path, autojump_clock: MockClock
) -> None:
    async with running(path, on_failure="wait") as runtime:
        queue = await define(runtime)
        await queue.insert(b"1")
        _delete(path)

        await queue.insert(b"2")

    assert await reopened(path) == [b"1", b"2"]


@pytest.mark.parametrize("kept", [("",), ("", "-wal", "-shm")], ids=["alone", "with its log"])
async def test_a_file_that_another_store_replaced_is_not_touched(
    kept: tuple[str, ...], path: Path, autojump_clock: MockClock
) -> None:
    """Whose log stays behind must not find its way into the other."""
    other = path.with_name("other.sqlite")
    async with running(other) as runtime:
        await (await define(runtime)).insert(b"other")
    before = _read(other)
    async with running(path) as runtime:
        queue = await define(runtime)
        await queue.insert(b"1")
        _move(path, path.with_name("kept"), *kept)
        _move(other, path, "")

        assert await outcome_of(queue.insert(b"2")) == "not applied"
        await trio.sleep(A_WHILE)
        with pytest.raises(StoreError, match="replaced") as caught:
            await queue.insert(b"2")
        assert caught.value.outcome == "not applied"
        assert _read(path) == before
        _move(path.with_name("kept"), path, *kept)
        await trio.sleep(A_WHILE)

        await queue.insert(b"3")
        assert await values_of(queue) == [b"1", b"3"]
    assert await reopened(path) == [b"1", b"3"]


async def test_a_file_that_is_no_database_any_more_is_not_touched(
    path: Path, autojump_clock: MockClock
) -> None:
    async with running(path) as runtime:
        queue = await define(runtime)
        await queue.insert(b"1")
        _delete(path)
        _write(path, b"a text, and not even a short one" * 100)

        assert await outcome_of(queue.insert(b"2")) == "not applied"
        await trio.sleep(A_WHILE)
        assert await outcome_of(queue.insert(b"2")) == "not applied"
        assert _read(path).startswith(b"a text")
        _delete(path)
        await trio.sleep(A_WHILE)

        assert await outcome_of(queue.insert(b"3")) is None
    assert await reopened(path) == [b"1", b"3"]


async def test_a_backup_that_replaces_the_file_is_mixed_with_nothing(
    path: Path, autojump_clock: MockClock
) -> None:
    backup = path.with_name("backup")
    async with running(path) as runtime:
        queue, other = await define(runtime), await define(runtime, "other")
        await queue.insert(b"1")
        await other.insert(b"1")
        _back_up(path, backup)
        await queue.insert(b"2")
        await other.insert(b"2")
        _delete(path, "-wal", "-shm")
        _move(backup, path, "")

        assert await outcome_of(queue.insert(b"3")) == "not applied"
        await trio.sleep(A_WHILE)
        with pytest.raises(StoreError, match="replaced") as caught:
            await queue.insert(b"3")
        assert caught.value.outcome == "not applied"
        _delete(path)
        await trio.sleep(A_WHILE)

        await queue.insert(b"4")
        await other.insert(b"4")
        for name in ("q", "other"):
            assert on_disk(path, path.with_name("copy"), name) == in_memory(runtime, name)
    assert await reopened(path) == [b"1", b"2", b"4"]


def _back_up(path: Path, target: Path) -> None:
    file = StoreFile(path, "process", StandardDriver())
    file._connection.execute("VACUUM INTO ?", (str(target),))  # noqa: SLF001
    file.close()


async def test_a_page_that_is_corrupt_stops_its_own_queue_only(
    path: Path, autojump_clock: MockClock
) -> None:
    async with running(path) as runtime:
        await (await define(runtime)).insert(b"1")
        await (await define(runtime, "other")).insert(b"x" * 20_000)
    content = bytearray(_read(path))
    page = content.index(b"x" * 4092) // 4096 * 4096
    content[page : page + 4096] = b"\x55" * 4096
    _write(path, bytes(content))

    async with running(path) as runtime:
        with pytest.raises(ChildStartError, match="malformed"):
            await define(runtime, "other")
        queue = await define(runtime)
        await queue.insert(b"2")
        assert await values_of(queue) == [b"1", b"2"]


async def test_pages_that_are_corrupt_when_it_opens_the_file_again_stop_it_for_so_long(
    path: Path, disk: Disk, autojump_clock: MockClock
) -> None:
    async with running(path, store_on(disk)) as runtime:
        queue = await define(runtime)
        await queue.insert(b"1")
        disk.fail("io", lasting=False)
        await outcome_of(queue.insert(b"2"))
        disk.fail("corrupt")

        await trio.sleep(A_WHILE)
        assert disk.failures > 0
        assert await outcome_of(queue.insert(b"2")) == "not applied"
        disk.heal()
        await trio.sleep(A_WHILE)

        await queue.insert(b"3")
        assert in_memory(runtime) == on_disk(path, path.with_name("copy"))
    assert (await reopened(path))[-1] == b"3"


@pytest.mark.parametrize("fault", ["full", "readonly", "io"])
async def test_a_store_that_cannot_be_opened_says_so(
    fault: str, path: Path, disk: Disk, autojump_clock: MockClock
) -> None:
    disk.fail(fault)  # type: ignore[arg-type] # one of them

    with pytest.raises(ChildStartError) as caught:
        async with running(path, store_on(disk)):
            pass

    causes = []
    cause: BaseException | None = caught.value
    while cause is not None:
        causes.append(type(cause))
        cause = cause.__cause__
    assert StoreError in causes
    disk.heal()
    assert await reopened(path) == []


async def test_a_lock_that_somebody_else_holds_is_waited_for(
    path: Path, autojump_clock: MockClock
) -> None:
    async with running(path) as runtime:
        queue = await define(runtime)
        await queue.insert(b"1")
        other = StoreFile(path, "process", StandardDriver())
        other.begin()

        with pytest.raises(StoreError, match="locked") as caught:
            await queue.insert(b"2")
        assert caught.value.outcome == "not applied"
        other.rollback()
        other.close()
        await trio.sleep(A_WHILE)

        await queue.insert(b"3")
    assert await reopened(path) == [b"1", b"3"]


async def test_who_waits_for_a_message_gets_it_after_a_failure_that_others_noticed(
    path: Path, disk: Disk, autojump_clock: MockClock
) -> None:
    async with running(path, store_on(disk)) as runtime:
        queue = await define(runtime)
        await queue.insert(b"later", delay=1000)

        async with meanwhile(queue.reserve):
            start = trio.current_time()
            disk.fail("full", lasting=False)
            assert await outcome_of(queue.insert(b"2", delay=5000)) == "not applied"

        assert trio.current_time() - start == pytest.approx(1000)


async def test_a_failure_does_not_open_a_closed_queue_and_resets_no_counter(
    path: Path, disk: Disk, autojump_clock: MockClock
) -> None:
    async with running(path, store_on(disk)) as runtime:
        queue = await define(runtime)
        await queue.insert(b"1", b"2")
        await queue.close()
        disk.fail("full", lasting=False)
        assert await outcome_of(queue.reserve()) == "not applied"
        await trio.sleep(A_WHILE)

        told = await queue.statistics()
        assert (told.closed, told.inserted, told.reserved_total) == (True, 2, 0)


# -- the actor -----------------------------------------------------------------------------------


async def test_without_its_actor_a_store_refuses_everything(
    path: Path, autojump_clock: MockClock
) -> None:
    async with running(path) as runtime:
        queue = await define(runtime)
        await queue.insert(b"1")
        await stores_of(runtime).terminate_child("store.disk")

        assert await outcome_of(queue.insert(b"2")) == "not applied"
        assert await outcome_of(queue.insert(b"2")) == "not applied"
        await stores_of(runtime).restart_child("store.disk")
        await queue.insert(b"3")

        assert await values_of(queue) == [b"1", b"3"]
    assert await reopened(path) == [b"1", b"3"]


async def test_whoever_waits_does_so_until_the_actor_is_back(
    path: Path, autojump_clock: MockClock
) -> None:
    async with running(path, on_failure="wait") as runtime:
        queue = await define(runtime)
        await queue.insert(b"1")
        await stores_of(runtime).terminate_child("store.disk")

        async with meanwhile(lambda: queue.insert(b"2")):
            await trio.sleep(A_WHILE)
            await stores_of(runtime).restart_child("store.disk")

        assert await values_of(queue) == [b"1", b"2"]
    assert await reopened(path) == [b"1", b"2"]


async def test_whoever_waits_while_it_fails_does_so_until_another_incarnation_works(
    path: Path, disk: Disk, autojump_clock: MockClock
) -> None:
    async with running(path, store_on(disk), on_failure="wait") as runtime:
        queue = await define(runtime)
        disk.fail("full")

        async with meanwhile(lambda: queue.insert(b"1")):
            await stores_of(runtime).terminate_child("store.disk")
            disk.heal()
            await stores_of(runtime).restart_child("store.disk")

        assert await values_of(queue) == [b"1"]
    assert await reopened(path) == [b"1"]


@pytest.mark.parametrize("on_failure", ["error", "wait"])
async def test_a_defect_restarts_the_actor_and_nothing_else_happens(
    on_failure: str, path: Path, disk: Disk, autojump_clock: MockClock
) -> None:
    async with running(path, store_on(disk), on_failure=on_failure) as runtime:
        queue = await define(runtime)
        await queue.insert(b"1")
        disk.fail("defect", lasting=False)

        outcome = await outcome_of(queue.insert(b"2"))
        await trio.sleep(A_WHILE)

        await queue.insert(b"3")
        there = await values_of(queue)
        assert there[0] == b"1"
        assert there[-1] == b"3"
        if outcome != "unknown":
            assert (b"2" in there) == (outcome is None)
        assert in_memory(runtime) == on_disk(path, path.with_name("copy"))
    assert await reopened(path) == there


# -- statements that hang or fail ----------------------------------------------------------------


@attrs.define(eq=False)
class Hanging:
    """Opens files whose statements hang, or fail, when they begin with what is told to."""

    Error: type[Exception] = StandardDriver.Error
    word: str | None = None
    error: Exception | None = None
    go_on: threading.Event = attrs.field(factory=threading.Event)

    def connect(self, path: str) -> Connection:
        return _HangingConnection(StandardDriver.connect(path), self)


@attrs.define(eq=False)
class _HangingConnection:
    _real: Connection
    _driver: Hanging

    @property
    def in_transaction(self) -> bool:
        return self._real.in_transaction

    def execute(self, sql: str, values: Sequence[object] = (), /) -> Iterable[Row]:
        if self._driver.word is not None and sql.startswith(self._driver.word):
            self._driver.word = None
            if self._driver.error is not None:
                raise self._driver.error
            self._driver.go_on.wait()
        return self._real.execute(sql, values)

    def executemany(self, sql: str, rows: Iterable[Row], /) -> object:
        return self._real.executemany(sql, rows)

    def close(self) -> None:
        self._real.close()


@pytest.mark.slow
@pytest.mark.parametrize("word", ["BEGIN", "UPDATE queue", "COMMIT"])
def test_a_commit_that_hangs_is_given_up_and_never_undoes_what_came_later(
    word: str, path: Path
) -> None:
    hanging = Hanging()

    class Store(SqliteStore):
        driver: ClassVar[Driver] = hanging

    async def main() -> None:
        async with running(path, Store, commit="thread", timeout=1.0) as runtime:
            queue = await define(runtime)
            await queue.insert(b"1")
            hanging.word = word

            assert await outcome_of(queue.insert(b"2")) == "unknown"
            await trio.sleep(0.5)  # real time: it is a real thread
            hanging.go_on.set()
            await insist_on(queue, b"3")
            await queue.insert(b"4")

            there = await values_of(queue)
            assert there in ([b"1", b"3", b"4"], [b"1", b"2", b"3", b"4"])
            await trio.sleep(0.3)
            assert in_memory(runtime) == on_disk(path, path.with_name("copy"))
        assert await reopened(path) == there

    trio.run(main)


@pytest.mark.slow
def test_a_commit_that_hangs_before_it_begins_does_not_happen_any_more(path: Path) -> None:
    hanging = Hanging()

    class Store(SqliteStore):
        driver: ClassVar[Driver] = hanging

    async def main() -> None:
        async with running(path, Store, commit="thread", timeout=1.0) as runtime:
            queue = await define(runtime)
            await queue.insert(b"1")
            taken = await queue.reserve()
            hanging.word = "BEGIN"

            assert await outcome_of(queue.bury(taken)) == "unknown"
            await insist_on(queue, b"2")
            await queue.release(taken, error="later")
            hanging.go_on.set()
            await trio.sleep(0.3)
            await queue.insert(b"3")

            assert set(await values_of(queue)) == {b"1", b"2", b"3"}
            assert in_memory(runtime) == on_disk(path, path.with_name("copy"))
        assert set(await reopened(path)) == {b"1", b"2", b"3"}

    trio.run(main)


@pytest.mark.slow
@pytest.mark.parametrize("commit", ["inline", "loop", "thread"])
@pytest.mark.parametrize(
    "error",
    [sqlite3.IntegrityError("no"), ZeroDivisionError("a defect")],
    ids=["refusal", "defect"],
)
def test_a_statement_that_fails_leaves_no_transaction_open(
    error: Exception, commit: str, path: Path
) -> None:
    failing = Hanging()

    class Store(SqliteStore):
        driver: ClassVar[Driver] = failing

    async def main() -> None:
        async with running(path, Store, commit=commit) as runtime:
            queue = await define(runtime)
            await queue.insert(b"1")
            failing.word, failing.error = "UPDATE queue", error

            assert await outcome_of(queue.insert(b"2")) == "not applied"
            with trio.fail_after(30):
                await insist_on(queue, b"3")

            assert await values_of(queue) == [b"1", b"3"]
        assert await reopened(path) == [b"1", b"3"]

    trio.run(main)
