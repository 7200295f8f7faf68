"""Nothing is answered before its commit, and nobody who waits for one can be harmed."""

from __future__ import annotations

import resource
import threading
from typing import TYPE_CHECKING, ClassVar, cast

import attrs
import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock, wait_all_tasks_blocked

from queueactors import SqliteStore, StoreError
from queueactors.stores import _actor
from queueactors.stores._actor import StoreActor
from queueactors.stores._file import Connection, StandardDriver
from queueactors.stores._journal import SqliteJournal
from supervisors import ActorDownError

from .kit import actor_of, define, on_disk, running

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import structlog

    from queueactors import Runtime, TimedQueue
    from queueactors.stores._file import Changes, Driver, StoreFile
    from queueactors.stores._table import Row
    from tests.conftest import Events

SOON = 5.0  # real seconds: a test that waits longer has failed


@attrs.define(eq=False)
class Gate:
    """Keeps each commit waiting, once it is closed; or another statement than that."""

    word: str = "COMMIT"

    open: threading.Event = attrs.field(factory=threading.Event)
    reached: threading.Event = attrs.field(factory=threading.Event)
    commits: int = 0

    def pass_(self) -> None:
        self.commits += 1
        if not self.open.is_set():
            self.reached.set()
            assert self.open.wait(SOON)


class _Gated:
    def __init__(self, connection: Connection, gate: Gate) -> None:
        self._connection = connection
        self._gate = gate

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def execute(self, sql: str, values: Sequence[object] = (), /) -> Iterable[Row]:
        if sql.startswith(self._gate.word):
            self._gate.pass_()
        return self._connection.execute(sql, values)

    def executemany(self, sql: str, rows: Iterable[Row], /) -> object:
        return self._connection.executemany(sql, rows)

    def close(self) -> None:
        self._connection.close()


class _GatedDriver(StandardDriver):
    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def connect(self, path: str) -> Connection:  # type: ignore[override] # it is one of an object
        return _Gated(StandardDriver.connect(path), self._gate)


def gated(gate: Gate) -> type[SqliteStore]:
    """Return a store whose commits wait at the gate."""

    @attrs.define(eq=False)
    class GatedStore(SqliteStore):
        driver: ClassVar[Driver] = _GatedDriver(gate)

    return GatedStore


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Return a gate that is open, and will be at the end."""
    gate = Gate()
    gate.open.set()
    yield gate
    gate.open.set()


async def begun(runtime: Runtime, name: str = "q") -> TimedQueue:
    """Return a queue that is in the file already."""
    queue = await define(runtime, name)
    await queue.len()
    return queue


async def reached(gate: Gate) -> None:
    """Wait until a thread is about to commit."""
    assert await trio.to_thread.run_sync(gate.reached.wait, SOON)


async def test_nobody_is_answered_before_the_commit(gate: Gate, tmp_path: Path) -> None:
    async with running(tmp_path / "f", gated(gate), commit="thread") as runtime:
        queue = await begun(runtime)
        gate.open.clear()
        async with trio.open_nursery() as nursery:
            reply = queue.submit.insert(b"a")
            nursery.start_soon(queue.insert, b"b")
            await reached(gate)
            await wait_all_tasks_blocked(0.01)

            assert not reply.is_ready
            gate.open.set()

        assert reply.get_nowait() == 1
        assert await queue.len() == 2


async def test_a_caller_cannot_leave_during_the_commit(gate: Gate, tmp_path: Path) -> None:
    async with running(tmp_path / "f", gated(gate), commit="thread") as runtime:
        queue = await begun(runtime)
        gate.open.clear()
        answers: list[int] = []
        async with trio.open_nursery() as nursery:

            async def insert() -> None:
                answers.append(await queue.insert(b"a"))

            nursery.start_soon(insert)
            await reached(gate)
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
            gate.open.set()

        assert answers == [1]
        assert await queue.len() == 1


async def test_a_waiting_taker_cannot_leave_during_the_commit_that_serves_it(
    gate: Gate, tmp_path: Path
) -> None:
    """Or it would have a message and not know it."""
    async with running(tmp_path / "f", gated(gate), commit="thread") as runtime:
        queue = await begun(runtime)
        values: list[object] = []
        async with trio.open_nursery() as nursery:

            async def take() -> None:
                values.append((await queue.reserve()).value)

            nursery.start_soon(take)
            await wait_all_tasks_blocked(0.01)
            gate.open.clear()
            reply = queue.submit.insert(b"a")
            await reached(gate)
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
            gate.open.set()

        assert values == [b"a"]
        assert reply.get_nowait() == 1


@pytest.mark.parametrize("stop", ["stop", "restart", "drop"])
async def test_a_queue_is_stopped_only_after_its_commit(
    stop: str, gate: Gate, tmp_path: Path
) -> None:
    """Trap 11: a commit that awaits is shielded."""
    async with running(tmp_path / "f", gated(gate), commit="thread") as runtime:
        queue = await begun(runtime)
        gate.open.clear()
        reply = queue.submit.insert(b"a")
        await reached(gate)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(getattr(runtime, stop), "q")
            await trio.lowlevel.checkpoint()
            gate.open.set()

        assert reply.get_nowait() == 1
        if stop != "drop":
            await runtime.start("q")
            assert await queue.len() == 1


async def test_a_queue_is_stopped_only_after_its_commit_has_had_its_turn(
    gate: Gate, tmp_path: Path
) -> None:
    async with running(tmp_path / "f", gated(gate), commit="thread") as runtime:
        first, second = await begun(runtime), await begun(runtime, "other")
        gate.open.clear()
        replies = [first.submit.insert(b"a")]
        await reached(gate)
        replies.append(second.submit.insert(b"b"))  # waits for the commit of the first
        await wait_all_tasks_blocked(0.01)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.stop, "other")
            await wait_all_tasks_blocked(0.01)
            gate.open.set()

        assert [reply.get_nowait() for reply in replies] == [1, 1]
        await runtime.start("other")
        assert await second.len() == 1


async def test_the_store_is_stopped_only_after_its_commit(gate: Gate, tmp_path: Path) -> None:
    async with running(tmp_path / "f", gated(gate), commit="thread") as runtime:
        queue = await begun(runtime)
        gate.open.clear()
        reply = queue.submit.insert(b"a")
        await reached(gate)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.stop, "store.disk")
            await trio.lowlevel.checkpoint()
            gate.open.set()

        assert reply.get_nowait() == 1
        with pytest.raises(StoreError, match=r"store 'disk' failed: .*not applied$") as caught:
            await queue.insert(b"b")
        assert isinstance(caught.value.__cause__, ActorDownError)
        await runtime.start("store.disk")
        assert await queue.insert(b"b") == 1
        assert await queue.len() == 2


async def test_many_queues_share_a_commit(
    gate: Gate, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with running(tmp_path / "f", gated(gate), commit="loop") as runtime:
        queues = [await define(runtime, f"q{number}") for number in range(20)]
        await wait_all_tasks_blocked()
        before = gate.commits
        async with trio.open_nursery() as nursery:
            for queue in queues:
                for _ in range(10):
                    nursery.start_soon(queue.insert, b"a")

        assert gate.commits - before <= 2
        assert [await queue.len() for queue in queues] == [10] * 20


@pytest.mark.usefixtures("autojump_clock")
@pytest.mark.parametrize(("commit", "asked"), [("inline", 0), ("loop", 3)])
async def test_a_commit_inline_takes_no_turn_of_the_stores_actor(
    commit: str,
    asked: int,
    gate: Gate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asking = StoreActor.write
    calls = 0

    async def ask(actor: StoreActor, changes: Changes | str) -> None:
        nonlocal calls
        calls += 1
        await asking(actor, changes)

    async with running(tmp_path / "f", gated(gate), commit=commit) as runtime:
        queue = await begun(runtime)
        await queue.insert(b"a")
        await wait_all_tasks_blocked()
        before = gate.commits
        monkeypatch.setattr(StoreActor, "write", ask)

        for _ in range(3):
            await queue.insert(b"a")

        assert (calls, gate.commits - before) == (asked, 3)


@pytest.mark.usefixtures("autojump_clock")
async def test_many_queues_share_a_commit_soon_also_if_it_is_inline(
    gate: Gate, tmp_path: Path
) -> None:
    async with running(tmp_path / "f", gated(gate), commit="inline") as runtime:
        queues = [await define(runtime, f"q{number}") for number in range(20)]

        async def write(turns: int) -> int:
            before = gate.commits
            for _ in range(turns):
                async with trio.open_nursery() as nursery:
                    for queue in queues:
                        nursery.start_soon(queue.insert, b"a")
            return gate.commits - before

        assert await write(5) < 5 * 20
        assert await write(5) <= 5 * 2


@pytest.mark.usefixtures("autojump_clock")
async def test_a_queue_that_writes_alone_again_commits_inline_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = StoreActor.write
    calls = 0

    async def ask(actor: StoreActor, changes: Changes | str) -> None:
        nonlocal calls
        calls += 1
        await asking(actor, changes)

    async with running(tmp_path / "f", commit="inline") as runtime:
        queues = [await define(runtime, f"q{number}") for number in range(20)]
        for _ in range(5):
            async with trio.open_nursery() as nursery:
                for queue in queues:
                    nursery.start_soon(queue.insert, b"a")
        monkeypatch.setattr(StoreActor, "write", ask)

        for _ in range(_actor.LOOK):
            await queues[0].insert(b"a")

        assert calls == 1


async def test_a_commit_inline_keeps_out_of_a_transaction_that_is_open(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with running(tmp_path / "f", commit="inline") as runtime:
        large, small = await begun(runtime, "large"), await begun(runtime, "small")
        actor = actor_of(runtime)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(large.insert, *[b"a"] * 5_000)
            while not cast("StoreFile", actor._file)._connection.in_transaction:  # noqa: SLF001
                await trio.lowlevel.checkpoint()
            commits = actor.statistics().commits

            await small.insert(b"b")

            assert actor.statistics().commits == commits + 2
        assert await large.len() == 5_000
        assert on_disk(tmp_path / "f", tmp_path / "copy", "small")


@pytest.mark.parametrize(
    ("seconds", "commit"),
    [(0.000_01, "inline"), (0.000_05, "inline"), (0.000_06, "loop"), (0.000_51, "thread")],
)
async def test_where_commits_run_is_a_matter_of_how_long_one_takes(
    seconds: float,
    commit: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    events: list[structlog.typing.EventDict],
) -> None:
    monkeypatch.setattr(_actor, "measure", lambda _file: seconds)
    async with running(tmp_path / "f", commit="auto") as runtime:
        queue = await begun(runtime)
        assert await queue.insert(b"a") == 1

    (opened,) = (event for event in events if event["event"] == "store_opened")
    assert opened["commit"] == commit


async def test_a_batch_that_changes_nothing_is_not_committed(
    gate: Gate, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with running(tmp_path / "f", gated(gate)) as runtime:
        queue = await define(runtime, unique=True)
        await queue.insert(b"a")
        await wait_all_tasks_blocked()
        before = gate.commits

        await queue.len()
        await queue.peek()
        await queue.statistics()
        assert await queue.insert(b"a") == 0

        assert gate.commits == before


async def test_a_commit_in_a_thread_that_takes_too_long_is_given_up(
    gate: Gate, tmp_path: Path
) -> None:
    async with running(tmp_path / "f", gated(gate), commit="thread", timeout=0.1) as runtime:
        queue = await define(runtime)
        await queue.insert(b"a")
        gate.open.clear()

        with pytest.raises(StoreError, match=r"not committed within 0\.1 s; .*: unknown$"):
            await queue.insert(b"b")

        with pytest.raises(StoreError, match="not applied"):
            await queue.insert(b"c")
        gate.open.set()
        with trio.fail_after(SOON):
            while True:
                try:
                    await queue.insert(b"d")
                except StoreError:
                    await trio.sleep(0.01)
                else:
                    break
        values = [message.value for message in await queue.peek("ready", 9)]
        assert values in ([b"a", b"b", b"d"], [b"a", b"d"])


async def test_a_commit_in_a_thread_does_not_wait_for_the_threads_of_the_program(
    tmp_path: Path,
) -> None:
    async with running(tmp_path / "f", commit="thread") as runtime:
        queue = await begun(runtime)
        limiter = trio.to_thread.current_default_thread_limiter()
        tokens = limiter.total_tokens
        limiter.total_tokens = 1
        async with limiter:
            with trio.fail_after(SOON):
                await queue.insert(b"a")
        limiter.total_tokens = tokens


@pytest.mark.slow
async def test_a_log_that_cannot_be_moved_keeps_nobody_waiting_longer_than_a_commit_may(
    gate: Gate, tmp_path: Path
) -> None:
    gate.word = "PRAGMA wal_checkpoint"
    async with running(tmp_path / "f", gated(gate), timeout=0.1) as runtime:
        queue = await begun(runtime)
        await queue.insert(*[bytes(18_000)] * 1001)
        with trio.fail_after(SOON):
            while not actor_of(runtime)._hold:  # noqa: ASYNC110, SLF001 - in real time
                await trio.sleep(0.01)
        gate.open.clear()

        start = trio.current_time()
        await queue.insert(b"a")
        await queue.insert(b"a")

        assert gate.reached.is_set()
        assert trio.current_time() - start < SOON / 2


@pytest.mark.parametrize("commit", ["inline", "loop"])
async def test_a_log_that_grows_by_small_commits_begins_anew(
    commit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_actor, "WATCH", 20)
    monkeypatch.setattr(_actor, "LOG", 100_000)
    async with running(tmp_path / "f", commit=commit) as runtime:
        queue = await begun(runtime)
        file = cast("StoreFile", actor_of(runtime)._file)  # noqa: SLF001
        sizes = [0]
        with trio.fail_after(SOON):
            while sizes[-1] >= sizes[-2:][0]:
                await queue.insert(bytes(3_000))
                sizes.append(file.log_size())
                if sizes[-1] > 200_000:
                    await trio.sleep(0.001)  # in real time: a thread moves it

        assert max(sizes) > 100_000


async def test_a_log_that_cannot_be_looked_at_harms_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: Events, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr(_actor, "WATCH", 1)
    async with running(tmp_path / "f") as runtime:
        queue = await begun(runtime)
        files = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, files[1]))  # no more than are open
        try:
            for _ in range(9):
                assert await queue.insert(b"a") == 1
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, files)

        assert {each["event"] for each in events if each["log_level"] in {"warning", "error"}} == {
            "store_log_not_moved"
        }
        assert await queue.len() == 9


async def test_a_large_transaction_lets_others_run(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with running(tmp_path / "f") as runtime:
        queue = await define(runtime)
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            await queue.insert(*[b"a"] * 5_000)
            inserted = turns
            await queue.clear()
            nursery.cancel_scope.cancel()

        assert inserted >= 8
        assert turns - inserted >= 8


@pytest.mark.parametrize(("commit", "method"), [("inline", "write_promptly"), ("loop", "write")])
async def test_a_defect_of_the_journal_crashes_the_actor_and_answers_everybody(
    commit: str,
    method: str,
    tmp_path: Path,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(tmp_path / "f", commit=commit) as runtime:
        queue = await begun(runtime)
        await queue.insert(b"a")

        def broken(_journal: SqliteJournal, _changes: object) -> None:
            raise ZeroDivisionError

        with monkeypatch.context() as patch:
            patch.setattr(SqliteJournal, method, broken)
            with pytest.raises(StoreError, match=r"ZeroDivisionError; .*: unknown$"):
                await queue.insert(b"b")

        assert await queue.insert(b"c") == 1
        assert [message.value for message in await queue.peek("ready", 9)] == [b"a", b"c"]
        assert (await queue.statistics()).restarts == 1


async def test_a_name_that_cannot_be_encoded_is_refused(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with running(tmp_path / "f") as runtime:
        with pytest.raises(ValueError, match=r"^expected name to be text that can be encoded"):
            await define(runtime, "bad \ud800")
