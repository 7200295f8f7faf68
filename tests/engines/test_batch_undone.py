"""The batch queue's core in the durable engine, over a journal that fails now and then."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import attrs
import trio
import trio.testing

from queueactors import StoreError
from queueactors._clock import Clock
from queueactors.cores import Changed
from queueactors.cores.batch import Appending, Batch, BatchCore, BatchRecords, Claimed
from queueactors.engines import DurableEngine, Parked
from supervisors import Operation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queueactors.engines import Core, Records

S = 1_000_000_000  # nanoseconds of a second


@attrs.define(eq=False)
class PlainJournal:
    """Keeps copies of the batches in a dict."""

    clock: Clock
    waits: bool = False
    store: str = "plain"
    works: bool = True
    records: Records | None = None
    unwritten: tuple[int, tuple[object, ...]] | None = None
    changed: Changed = attrs.field(factory=Changed)
    fails: int = 0  # so many times
    answers: bool = True  # or it is written, and nobody is told
    written: dict[int, tuple[object, ...]] = attrs.field(factory=dict)
    head: dict[str, int | None] = attrs.field(factory=dict)

    def new_records(self) -> BatchRecords:
        return BatchRecords(Appending)

    async def load(self) -> BatchRecords:
        await trio.lowlevel.checkpoint()
        self.changed.written()
        records = BatchRecords(Appending, **self.head)  # type: ignore[arg-type]
        for number, facts in sorted(self.written.items()):
            records.messages[number] = Batch(*facts)  # type: ignore[arg-type]
        return records

    def core(self, records: object) -> Core:
        return BatchCore(
            flush_size=0,
            flush_timeout=5 * S,
            records=cast("BatchRecords", records),
            changed=self.changed,
            ready=False,
        )

    def changes(self, now: int, operations: Sequence[object]) -> object | None:  # noqa: ARG002
        return self.changed or self.changed.cleared or None

    def write_promptly(self, _changes: object) -> bool:
        return False

    async def write(self, changes: object) -> None:  # noqa: ARG002
        await trio.lowlevel.checkpoint()
        failing, self.fails = self.fails > 0, max(self.fails - 1, 0)
        if failing and self.answers:
            raise StoreError(self.store, "not applied", "no room")
        records = cast("BatchRecords", self.records)
        if self.changed.cleared:
            self.written.clear()
        for each in self.changed:
            self.written.pop(each, None)
            if each in records.messages:
                batch = records.messages[each]
                facts = tuple(getattr(batch, name) for name in batch.__struct_fields__)
                self.written[each] = facts
        self.head = records.head()
        self.changed.written()
        if failing:
            raise StoreError(self.store, "unknown", "no answer")

    async def recovered(self) -> None:
        await trio.lowlevel.checkpoint()


@attrs.define(eq=False)
class Queue:
    """Does as the loop does."""

    journal: PlainJournal
    engine: DurableEngine

    @classmethod
    async def open(cls, *, waits: bool = False) -> Queue:
        journal = PlainJournal(Clock.open(), waits)
        return cls(journal, await DurableEngine.open(journal, Parked(lambda: None, "q")))

    async def turn(self, *operations: Operation) -> None:
        now = self.journal.clock.now_ns()
        while not self.engine.advance(now):
            pass
        await self.engine.execute(operations, now, [])

    async def call(self, method: str, *args: object) -> object:
        operation = Operation(method, args)
        await self.turn(operation)
        if operation.error is not None:
            raise operation.error
        return operation.value

    async def all_values(self) -> list[object]:
        """Claim and process all there is, and return it."""
        seen: list[object] = []
        ended = None
        while (claimed := await self.call("claim", 9, ended)) is not None:
            assert isinstance(claimed, Claimed)
            seen += claimed.values
            ended = claimed.key, 1
        return seen


async def test_a_flush_that_was_due_when_a_commit_failed_is_not_lost(
    autojump_clock: trio.testing.MockClock,
) -> None:
    for waits in (False, True):
        queue = await Queue.open(waits=waits)
        await queue.call("push", ["a"])
        await trio.sleep(5)
        queue.journal.fails = 2

        await queue.turn()  # its time is over
        await queue.turn()
        await queue.turn()

        assert await queue.all_values() == [["a"]]


async def test_what_was_pushed_before_and_while_commits_fail_comes_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    queue = await Queue.open()
    await queue.turn(Operation("push", (["a"],)), Operation("flush"), Operation("push", (["b"],)))
    queue.journal.fails = 3
    for item in "cde":
        await queue.turn(Operation("push", ([item],)), Operation("flush"))

    assert await queue.all_values() == [["a"], ["b", "c"], ["d"], ["e"]]
    assert queue.journal.written == {}


async def test_what_was_processed_when_an_answer_was_lost_does_not_come_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    queue = await Queue.open()
    queue.journal.fails, queue.journal.answers = 1, False
    now = queue.journal.clock.now_ns()
    await queue.turn(
        Operation("push", (["a"],)),
        Operation("flush"),
        Operation("claim"),
        Operation("claim", (1, (now, 1))),  # as it is the first claim, its key is the instant
    )

    assert await queue.all_values() == []


async def test_what_was_stored_past_the_buffer_comes_once_though_a_commit_failed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    queue = await Queue.open(waits=True)
    queue.journal.fails = 2

    assert await queue.call("push_whole", ["a"]) == 1

    assert await queue.all_values() == [["a"]]
