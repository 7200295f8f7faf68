"""Histories of all operations over SQLite: with crashes, and with the file read again at any time.

Those of `tests/queues/test_histories.py`. Beside the answers, what is in memory is compared with
what the file would give back.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, cast

import attrs
import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from queueactors import Clock, SqliteStore, TimedOptions, TimedQueue
from queueactors._codecs import BytesCodec, Values
from queueactors.engines import DurableEngine
from queueactors.queues import QueueActor
from queueactors.queues._timed_kind import TABLE, TimedKind
from queueactors.stores import Place
from supervisors import ChildSpec, Mailbox, open_supervisor
from tests.cores.naive import NaiveQueue
from tests.queues.kit import NEVER_GIVES_UP, NO_BACKOFF, Rig, settle
from tests.queues.test_histories import (
    OPTIONS,
    STEPS,
    TICK,
    Ask,
    DoomedStore,
    NaiveActor,
    Play,
    Step,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queueactors.cores.timed import TimedCore
    from queueactors.engines import Engine, Parked
    from queueactors.stores import Kind, StoredMessage
    from queueactors.stores._actor import StoreActor
    from queueactors.stores._journal import SqliteJournal


@attrs.define(eq=False)
class DurableStore(DoomedStore):
    """An SQLite store whose queue crashes before those operations that are marked."""

    engine: DurableEngine | None = attrs.field(default=None, init=False)

    @property
    def sqlite(self) -> SqliteStore:
        return cast("SqliteStore", self.memory)

    @property
    def journal(self) -> SqliteJournal:
        return self.sqlite._journals["q"]  # noqa: SLF001

    async def open_engine(self, queue: str, kind: Kind, parked: Parked) -> Engine:
        engine = await DoomedStore.open_engine(self, queue, kind, parked)
        assert isinstance(engine, DurableEngine)
        self.engine = engine
        return engine

    def forget(self, now: int) -> None:  # type: ignore[override] # what is in memory
        """Let the file be read again, as after a commit that failed."""
        engine = cast("DurableEngine", self.engine)
        snapshot = engine.core.records.snapshot()
        self.journal.records, self.journal.unwritten = None, (now, snapshot)
        engine._stale = True  # noqa: SLF001

    async def read(self, now: int) -> TimedCore:
        """Return what the file would give back, as it is at this instant."""
        journal = self.journal
        file = cast("StoreActor", self.sqlite._actor)._reader  # noqa: SLF001
        assert file is not None
        queue = file.queue("q")
        head: Mapping[str, int | None] = {}
        messages: dict[int, StoredMessage] = {}
        if queue is not None:
            head = queue.head
            rows = TABLE.messages(list(file.messages(queue, TABLE)), "bytes")
            messages = {row.id: row for row in rows}
        records = journal.kind.stored_records(head, messages, 0)
        core = cast("TimedCore", journal.kind.core(records, None))
        for _ in core.rebuild():
            pass
        core.advance(now)
        return core


@attrs.define(eq=False)
class DurablePlay(Play):
    """Compares also what is in memory with what the file would give back."""

    random: Random = attrs.field(factory=lambda: Random(0))

    async def step(self, step: Step) -> None:
        store = cast("DurableStore", self.store)
        if step != "stop" and self.random.random() < 0.3:
            store.forget(self.now)
            self.rig.mailbox.wake()
            await settle()
        await Play.step(self, step)

    async def compare(self) -> None:
        await Play.compare(self)
        store = cast("DurableStore", self.store)
        core = cast("TimedCore", cast("DurableEngine", store.engine).core)
        stored = await store.read(self.now)
        assert records_of(stored) == records_of(core)
        if core._unique is not None:  # noqa: SLF001
            assert stored._unique is not None  # noqa: SLF001
            assert stored._unique._counts == core._unique._counts  # noqa: SLF001
        journal = store.journal
        assert journal._head == core.records.head()  # noqa: SLF001
        assert not journal.changed


def records_of(core: TimedCore) -> object:
    """Return all that outlives the process."""
    messages = {each.id: msgspec.structs.asdict(each) for each in core.records.messages.values()}
    return core.records.head(), messages


def encoded(step: Step) -> Step:
    """Return a step whose values are bytes, as an SQLite store keeps them; equal ones are equal."""
    if not isinstance(step, tuple):
        return step
    return tuple(
        attrs.evolve(each, args=tuple(map(_encoded, each.args)))
        if isinstance(each, Ask)
        and each.method in {"insert", "insert_nowait", "wait_insert", "refilled"}
        else each
        for each in step
    )


def _encoded(argument: object) -> object:
    if not isinstance(argument, tuple):
        return argument
    return tuple(b"1" if each == 1 else repr(each).encode() for each in argument)


async def play(steps: list[Step], options: dict[str, object], seed: int) -> None:
    options = dict(options)
    refilled = options.pop("refilled", False)
    naive = NaiveQueue(name="q", interval=2 * TICK if refilled else None, **options)  # type: ignore[arg-type]
    if refilled:  # nobody runs it: the history says when it begins and ends
        options |= {"sync_fn": list, "sync_interval": 2 * TICK / 1e9}
    given = TimedOptions(reservation_time=60, codec="bytes", **options)  # type: ignore[arg-type]
    kind = TimedKind("q", given, Values(BytesCodec()))
    clock = Clock.open()
    with tempfile.TemporaryDirectory() as directory:
        sqlite = SqliteStore(commit="inline")
        store = DurableStore(memory=sqlite)  # type: ignore[arg-type] # it stands for that
        place = Place("disk", Path(directory), frozenset({"q"}), clock, Random(0))
        actor = QueueActor(
            "q",
            clock,
            Mailbox("q", given.mailbox),
            lambda parked: store.open_engine("q", kind, parked),
        )
        specs = [sqlite.child(place), ChildSpec(id="q", start=actor, backoff=NO_BACKOFF)]
        async with open_supervisor(specs, intensity=NEVER_GIVES_UP, period=60) as supervisor:
            rig = Rig(TimedQueue(actor, given, None), actor, store, supervisor)
            played = DurablePlay(rig, store, NaiveActor(naive), random=Random(seed))
            for step in steps:
                with trio.fail_after(3600):
                    await played.step(encoded(step))


@pytest.mark.slow
@pytest.mark.no_cover
@given(
    steps=st.lists(STEPS, min_size=8, max_size=30),
    options=OPTIONS,
    seed=st.integers(0, 1 << 16),
)
@settings(max_examples=50)
def test_any_history_goes_as_in_memory_however_often_the_file_is_read_again(
    steps: list[Step], options: dict[str, object], seed: int
) -> None:
    trio.run(play, steps, options, seed, clock=MockClock(autojump_threshold=0))
