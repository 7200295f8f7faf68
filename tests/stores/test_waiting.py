"""What becomes of those who wait, and of the queue's numbers, while its store fails and after."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, ClassVar, Final, cast

import attrs
import pytest
import trio

from queueactors import CodecError, Fixed, SqliteStore, StoreError, wait_until_idle
from queueactors._codecs import LARGEST
from queueactors.stores._file import Connection, StandardDriver
from supervisors import ChildStartError
from tests.stores.kit import LONG, define, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from trio.testing import MockClock

    from queueactors.stores._file import Driver
    from queueactors.stores._table import Row

A_WHILE: Final = 100.0  # seconds, after which the store has tried again


@attrs.define(eq=False)
class Switch:
    """Which statements fail: those that begin with one of these words."""

    broken: tuple[str, ...] = ()
    asked: int = 0
    calls: list[Callable[[], None]] = attrs.field(factory=list)  # what happens at the first

    def check(self, sql: str) -> None:
        """Fail as a disk does, if this one is to.

        Raises:
          sqlite3.OperationalError: If it is.
        """
        if sql.startswith(self.broken):
            self.asked += 1
            while self.calls:
                self.calls.pop()()
            raise sqlite3.OperationalError("database or disk is full")


class _Switched:
    def __init__(self, connection: Connection, switch: Switch) -> None:
        self._connection = connection
        self._switch = switch

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def execute(self, sql: str, values: Sequence[object] = (), /) -> Iterable[Row]:
        self._switch.check(sql)
        return self._connection.execute(sql, values)

    def executemany(self, sql: str, rows: Iterable[Row], /) -> object:
        self._switch.check(sql)
        return self._connection.executemany(sql, rows)

    def close(self) -> None:
        self._connection.close()


class SwitchedDriver(StandardDriver):
    def __init__(self, switch: Switch) -> None:
        self._switch = switch

    def connect(self, path: str) -> Connection:  # type: ignore[override] # it is one of an object
        return _Switched(StandardDriver.connect(path), self._switch)


def switched(switch: Switch) -> type[SqliteStore]:
    """Return a store whose statements fail as the switch says."""

    @attrs.define(eq=False)
    class SwitchedStore(SqliteStore):
        driver: ClassVar[Driver] = SwitchedDriver(switch)

    return SwitchedStore


WRITES: Final = ("BEGIN",)
MESSAGES: Final = ("SELECT id",)


@pytest.fixture
def switch() -> Switch:
    return Switch()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


async def test_a_reservation_that_waited_for_the_store_begins_when_it_works_again(
    path: Path, switch: Switch, autojump_clock: MockClock
) -> None:
    async with running(path, switched(switch), on_failure="wait") as runtime:
        queue = await define(runtime)
        await queue.insert(b"1")
        switch.broken = WRITES
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def take() -> None:
                reservation = await queue.reserve(30)
                assert reservation.deadline_at - queue.clock.now_ns() == 30 * 10**9

            await trio.sleep(A_WHILE)
            switch.broken = ()


async def test_a_wait_times_out_also_while_the_store_lets_callers_wait(
    path: Path, switch: Switch, autojump_clock: MockClock
) -> None:
    async with running(path, switched(switch), on_failure="wait") as runtime:
        queue = await define(runtime)
        start = trio.current_time()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def take() -> None:
                with pytest.raises(trio.TooSlowError):
                    await queue.reserve(timeout=5)
                assert trio.current_time() - start == pytest.approx(5)

            await trio.sleep(1)
            switch.broken = WRITES
            nursery.start_soon(queue.insert, b"1")
            await trio.sleep(A_WHILE)
            switch.broken = ()


async def test_a_taker_whose_message_cannot_be_written_times_out_as_well(
    path: Path, switch: Switch, autojump_clock: MockClock
) -> None:
    async with running(path, switched(switch), on_failure="wait") as runtime:
        queue = await define(runtime)
        await queue.insert(b"1")
        switch.broken = WRITES

        start = trio.current_time()
        with pytest.raises(trio.TooSlowError):
            await queue.reserve(timeout=5)

        assert trio.current_time() - start == pytest.approx(5)
        switch.broken = ()
        await trio.sleep(A_WHILE)
        assert (await queue.reserve()).attempt == 1


@pytest.mark.parametrize("commit", ["loop", "thread"])
async def test_who_leaves_while_a_commit_fails_is_let_go(
    commit: str, path: Path, switch: Switch
) -> None:
    async with running(path, switched(switch), on_failure="wait", commit=commit) as runtime:
        queue = await define(runtime)
        switch.broken = WRITES
        scope = trio.CancelScope()

        @switch.calls.append
        def leave() -> None:
            trio.from_thread.run_sync(scope.cancel) if commit == "thread" else scope.cancel()

        with trio.fail_after(5), scope:
            await queue.insert(b"1")
        assert scope.cancelled_caught
        switch.broken = ()
        assert await queue.len() == 0


@pytest.mark.parametrize("commit", ["loop", "thread"])
async def test_who_waited_and_leaves_while_a_commit_fails_is_let_go(
    commit: str, path: Path, switch: Switch
) -> None:
    async with running(path, switched(switch), on_failure="wait", commit=commit) as runtime:
        queue = await define(runtime)
        scope = trio.CancelScope()

        @switch.calls.append
        def leave() -> None:
            trio.from_thread.run_sync(scope.cancel) if commit == "thread" else scope.cancel()

        async def fail() -> None:
            while not (await queue.statistics()).waiting:
                pass
            switch.broken = WRITES
            queue.submit.insert(b"1")

        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail)
                with scope:
                    await queue.reserve()
        assert scope.cancelled_caught
        switch.broken = ()
        assert (await queue.reserve()).attempt == 1


async def test_a_store_that_fails_is_waited_for_until_all_is_idle(
    path: Path, switch: Switch, autojump_clock: MockClock
) -> None:
    async with running(path, switched(switch)) as runtime, trio.open_nursery() as nursery:
        queue = await define(runtime)
        switch.broken = (*WRITES, *MESSAGES)
        with pytest.raises(StoreError):
            await queue.insert(b"1")
        with pytest.raises(StoreError):
            await queue.statistics()
        nursery.start_soon(wait_until_idle, runtime)
        await trio.sleep(A_WHILE)
        assert nursery.child_tasks
        switch.broken = ()


async def test_a_queue_that_cannot_be_read_while_its_store_works_is_no_busy_loop(
    path: Path, switch: Switch, autojump_clock: MockClock
) -> None:
    async with running(path, switched(switch), on_failure="wait") as runtime:
        queue = await define(runtime)
        await queue.insert(b"1")
        switch.broken = WRITES
        async with trio.open_nursery() as nursery:
            nursery.start_soon(queue.insert, b"2")
            await trio.sleep(1)
            switch.broken = MESSAGES
            await trio.sleep(A_WHILE)
            assert 0 < switch.asked < 200
            switch.broken = ()


async def test_a_taker_is_served_when_a_queue_can_be_read_again(
    path: Path, switch: Switch, autojump_clock: MockClock
) -> None:
    async with running(path, switched(switch)) as runtime:
        queue = await define(runtime)
        await queue.insert(b"1", delay=A_WHILE)
        taker = queue.submit.reserve()
        await trio.sleep(1)
        switch.broken = WRITES
        with pytest.raises(StoreError):
            await queue.insert(b"2", delay=LONG)
        switch.broken = MESSAGES
        await trio.sleep(2 * A_WHILE)
        switch.broken = ()

        with trio.fail_after(A_WHILE):
            assert (await taker.get()).value == b"1"


async def test_takers_keep_their_order_when_a_batch_is_carried_out_again(
    path: Path, switch: Switch, autojump_clock: MockClock
) -> None:
    async with running(path, switched(switch), on_failure="wait") as runtime:
        queue = await define(runtime)
        await queue.insert(b"1")
        switch.broken = WRITES

        first, second = queue.submit.reserve(), queue.submit.reserve()
        await trio.sleep(A_WHILE)
        switch.broken = ()
        await trio.sleep(A_WHILE)

        assert first.is_ready
        assert not second.is_ready


@pytest.mark.parametrize("max_reservations", [None, 1])
@pytest.mark.parametrize("on_failure", ["error", "wait"])
async def test_what_happened_by_itself_is_counted_once_however_often_the_queue_is_read(
    max_reservations: int | None,
    on_failure: str,
    path: Path,
    switch: Switch,
    autojump_clock: MockClock,
) -> None:
    async with running(path, switched(switch), on_failure=on_failure) as runtime:
        queue = await define(runtime, max_reservations=max_reservations)
        await queue.insert(b"1", b"2")
        await queue.reserve_many(2, 1)
        switch.broken = WRITES
        for _ in range(3):
            await trio.sleep(2)
            queue.insert_nowait(b"3")
            await trio.sleep(A_WHILE)
        switch.broken = ()
        await trio.sleep(A_WHILE)

        told = await queue.statistics()
        assert (told.expired, told.exhausted) == (2, 2 if max_reservations else 0)


async def test_a_queue_that_could_not_be_defined_leaves_none_of_its_options_behind(
    path: Path, switch: Switch, autojump_clock: MockClock
) -> None:
    async with running(path) as runtime:
        await (await define(runtime, codec="json")).insert("1")
    async with running(path, switched(switch)) as runtime:
        switch.broken = MESSAGES
        with pytest.raises(ChildStartError):
            await define(runtime, unique=True, codec="msgpack")
        switch.broken = ()

        queue = await define(runtime, codec="json")

        assert await queue.insert("2", "2") == 2
        assert [each.value for each in await queue.peek("ready", 3)] == ["1", "2", "2"]


async def test_a_value_that_is_too_large_for_the_file_is_refused_at_the_call(
    path: Path, autojump_clock: MockClock
) -> None:
    async with running(path) as runtime:
        queue = await define(runtime)

        with pytest.raises(CodecError, match=f"at most {LARGEST} bytes, got {LARGEST + 1}$"):
            queue.insert_nowait(bytes(LARGEST + 1))

        assert await queue.insert(b"1") == 1


@pytest.mark.parametrize("kind", ["capacity", "log"])
async def test_an_item_that_is_too_large_for_the_file_is_refused_at_the_call(
    kind: str, path: Path, autojump_clock: MockClock
) -> None:
    async with running(path) as runtime:
        queue = await runtime.define("q", kind=kind, store="disk")
        add = queue.push_nowait if kind == "capacity" else queue.add_nowait

        with pytest.raises(CodecError, match=f"at most {LARGEST} bytes, got {LARGEST + 1}$"):
            add(b"1", bytes(LARGEST + 1))

        assert await queue.len() == 0


async def test_a_batch_queue_whose_store_fails_is_not_closed_and_says_so_in_time(
    path: Path, switch: Switch, autojump_clock: MockClock
) -> None:
    got: list[object] = []

    async def process(_queue: object, items: list[object]) -> None:
        await trio.lowlevel.checkpoint()
        got.extend(items)

    async with running(path, switched(switch), on_failure="wait") as runtime:
        queue = await runtime.define(
            "b", kind="batch", store="disk", process=process, flush_size=2, retry=Fixed(0, 1)
        )
        await queue.push(b"1")
        switch.broken = WRITES
        start = trio.current_time()
        for grace, seconds in ((2, 2), (0, 1)):
            with pytest.raises(trio.TooSlowError, match=r"^queue 'b' is not closed in time: "):
                await queue.close(grace)
            assert trio.current_time() - start == pytest.approx(seconds)
            start = trio.current_time()
        switch.broken = ()
        await trio.sleep(A_WHILE)

        await queue.push(b"2")  # it is open still
        await queue.flush()
        await trio.sleep(1)
        await queue.close()

    assert sorted(cast("list[bytes]", got)) == [b"1", b"2"]
