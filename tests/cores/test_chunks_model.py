"""The capacity and log cores against plain lists: with restarts, process ends, failed commits.

Chunks and what stays in memory of them are tiny, so most items are in the store only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from queueactors import QueueActorsError
from queueactors.cores.capacity import CapacityCore, CapacityRecords
from queueactors.cores.log import LATE, LogCore, LogRecords
from tests.torture import TORTURE

from .kit_chunks import ChunkStore, Foreign, capacity_store, log_store, set_limits
from .naive_chunks import NaiveCapacity, NaiveLog

if TYPE_CHECKING:
    from collections.abc import Callable

Start = Literal["oldest", "newest"]
Subject = Any  # type: ignore[explicit-any] # either core, or either model

TINY = (4, 16, 12, 2)
S = 1_000_000_000

item = st.binary(max_size=3) | st.binary(min_size=15, max_size=18) | st.builds(Foreign)
items = st.lists(st.binary(max_size=3), max_size=9) | st.lists(item, max_size=9)
limits = st.sampled_from([1, 1, 2, 3, 5, 9, 10**12])
gaps = st.sampled_from([0, 0, 1, 2, 7, 8, 9, 20]).map(lambda gap: gap * S // 8)
durations = st.none() | st.sampled_from([1, 8, 16]).map(lambda gap: gap * S // 8)
names = st.sampled_from("abcd")
starts: st.SearchStrategy[Start] = st.sampled_from(["oldest", "newest"])
seldom = st.integers(0, 9)


class ChunkMachine(RuleBasedStateMachine):
    """Does the same to both, and compares all that can be seen."""

    naive: Subject
    store: ChunkStore[Subject] | None
    memory: Subject

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.store = None
        self.limits = set_limits(TINY)

    def teardown(self) -> None:
        set_limits(self.limits)

    @property
    def core(self) -> Subject:
        return self.memory if self.store is None else self.store.core

    def anew(self) -> Subject:
        """Return a core over the records of that in memory."""
        raise NotImplementedError

    def both(self, method: str, *arguments: object) -> object:
        expected = outcome(getattr(self.naive, method), self.now, *arguments)
        got = outcome(getattr(self.core, method), self.now, *arguments)
        assert got == expected
        return got

    def begin(self) -> None:
        if self.store is None:
            while not self.memory.advance(self.now, 2):
                pass
        else:
            self.store.begin(self.now)
        self.naive_expires()
        self.before = self.naive.copy()

    def naive_expires(self) -> None:
        """Let items get old in the model, too."""

    @rule(gap=gaps)
    def pass_time(self, gap: int) -> None:
        """End the turn; all that happens in one has one instant."""
        if self.store is not None:
            self.store.write()
            self.saved = self.naive.copy()
        self.now += gap
        self.begin()

    @rule(written=st.booleans(), gap=gaps)
    def fail(self, gap: int, *, written: bool) -> None:
        if self.store is None:
            return
        self.store.fail(self.now, written=written)
        if written:
            self.saved = self.naive.copy()
            self.naive.counts, self.naive.closed = self.before.counts, self.before.closed
        else:
            self.naive = self.before
        self.now += gap
        self.begin()

    @rule()
    def restart(self) -> None:
        if self.store is None:
            self.memory = self.anew()
        else:
            self.pass_time(0)
            self.store.restart()
        self.begin()

    @rule(really=seldom)
    def end_process(self, really: int) -> None:
        if self.store is None or really < 7:
            return
        self.store.end_process()
        self.naive = self.saved.copy()
        self.naive.counts, self.naive.closed = {}, False
        self.begin()
        if isinstance(self.naive, NaiveLog):  # what has expired may be counted once more
            self.naive.counts["expired"] = self.core.statistics(self.now).expired
            self.before = self.naive.copy()

    @rule(really=seldom)
    def fail_to_read(self, really: int) -> None:
        """Let the store fail while something is read: then nothing happens."""
        if self.store is None or really < 5:
            return
        self.store.broken = True
        try:
            self.read_all()
        except QueueActorsError:
            pass
        finally:
            self.store.broken = False

    def read_all(self) -> None:
        """Read more than is in memory, but for the label ``"never"``."""

    @rule(really=seldom)
    def clear(self, really: int) -> None:
        if really > 6:
            self.both("clear")

    @rule(really=seldom)
    def close(self, really: int) -> None:
        if really > 8:
            self.both("close")

    @rule(duration=durations, really=seldom)
    def pause(self, duration: int | None, really: int) -> None:
        if really > 4:
            self.both("pause", duration)

    @rule()
    def resume(self) -> None:
        self.both("resume")

    # -- what must be the same -------------------------------------------------------------------

    @invariant()
    def both_look_the_same(self) -> None:
        if not hasattr(self, "naive"):
            return
        numbers = self.core.statistics(self.now)
        if isinstance(self.core, LogCore):
            numbers = attrs.evolve(numbers, disk_size=0)
        assert numbers == self.naive.statistics(self.now)
        for method in ("length", "labels", "is_empty", "payload_size"):
            if hasattr(self.naive, method):
                self.both(method)

    @invariant()
    def chunks_are_as_they_say(self) -> None:
        if not hasattr(self, "naive"):
            return
        chunks = [c for c in self.core.records.messages.values() if c.state == "kept"]
        assert self.core.disk_size(self.now) == sum(chunk.size for chunk in chunks)
        number = chunks[0].first if chunks else 0
        for chunk in chunks:
            assert chunk.first == number
            number += chunk.count
            assert 1 <= chunk.count <= TINY[0]
            assert chunk.size <= TINY[1] or chunk.count == 1
            if chunk.value is not None:
                assert len(chunk.value) == chunk.count
                assert sum(map(len, chunk.value)) == chunk.size
        if chunks:
            assert number == self.core.records.end
        if self.store is not None:
            unwritten = {*self.store.changed}
            kept = [c.size for c in chunks if c.value is not None and c.id not in unwritten]
            held = self.core._chunks  # noqa: SLF001
            assert held._kept <= TINY[2]  # noqa: SLF001
            assert len(held._loaded) <= TINY[3]  # noqa: SLF001
            assert not unwritten or sum(kept) >= held._kept  # noqa: SLF001


class CapacityMachine(ChunkMachine):
    """The capacity queue's."""

    @initialize(max_elements=st.sampled_from([3, 10, 10, 100]), stored=st.booleans())
    def define(self, max_elements: int, *, stored: bool) -> None:
        self.naive = NaiveCapacity(max_elements=max_elements)
        if stored:
            self.store = capacity_store(max_elements=max_elements)
        else:
            self.memory = CapacityCore(records=CapacityRecords(max_elements=max_elements))
        self.saved = self.naive.copy()
        self.begin()

    def begin(self) -> None:
        super().begin()
        self.core.inserters = self.naive.inserters

    def anew(self) -> CapacityCore:
        return CapacityCore(records=self.memory.records)

    def read_all(self) -> None:
        before = self.naive.copy()
        try:
            got = self.core.pop(self.now, 10**12)
        except QueueActorsError:
            assert attrs.asdict(self.naive) == attrs.asdict(before)
            raise
        assert got == self.naive.pop(self.now, 10**12)

    @rule(items=items, wait=st.booleans())
    def push(self, items: list[bytes], *, wait: bool) -> None:
        self.both("wait_push" if wait else "push", items, list(map(len, items)))

    @rule(waits=st.sampled_from([False, False, False, True]))
    def somebody_waits_for_room(self, *, waits: bool) -> None:
        self.naive.inserters[:] = [None] * waits

    @rule(limit=limits)
    def pop(self, limit: int) -> None:
        self.both("pop", limit)

    @rule(max_elements=st.sampled_from([1, 5, 10, 20]))
    def resize(self, max_elements: int) -> None:
        self.both("resize", max_elements)

    @invariant()
    def nothing_is_kept_of_what_is_gone(self) -> None:
        if hasattr(self, "naive") and not self.naive.items:
            assert self.core.disk_size(self.now) == 0


class LogMachine(ChunkMachine):
    """The log queue's."""

    @initialize(ttl=st.sampled_from([None, S, S, 2 * S, 16 * S]), stored=st.booleans())
    def define(self, ttl: int | None, *, stored: bool) -> None:
        self.ttl = ttl
        self.naive = NaiveLog() if ttl is None else NaiveLog(ttl=ttl)
        if stored:
            self.store = log_store(ttl=ttl)
        else:
            self.memory = LogCore(ttl=ttl, records=LogRecords())
        self.saved = self.naive.copy()
        self.begin()

    def anew(self) -> LogCore:
        return LogCore(ttl=self.ttl, records=self.memory.records)

    def naive_expires(self) -> None:
        self.naive.expire(self.now)

    def read_all(self) -> None:
        read = self.core.read(self.now, "a", "oldest", 10**12)
        assert read == self.naive.read(self.now, "a", "oldest", 10**12)

    @rule(items=items)
    def add(self, items: list[bytes]) -> None:
        self.both("add", items, list(map(len, items)))

    @rule(name=names, start=starts, limit=limits, wait=st.booleans())
    def next(self, name: str, start: Start, limit: int, *, wait: bool) -> None:
        self.both("wait_next" if wait else "next", name, start, limit)

    @rule(name=names, start=starts, limit=limits, wait=st.booleans(), done=st.booleans())
    def read(self, name: str, start: Start, limit: int, *, wait: bool, done: bool) -> None:
        got = self.both("wait_read" if wait else "read", name, start, limit)
        if done and got is not None and not isinstance(got, tuple):
            self.both("commit", name, got.position)  # type: ignore[attr-defined] # a Read

    @rule(name=names, by=st.integers(-2, 4))
    def commit(self, name: str, by: int) -> None:
        self.both("commit", name, self.naive.marks.get(name, 0) + by)

    @rule(name=names, really=seldom)
    def remove_label(self, name: str, really: int) -> None:
        if really > 5:
            self.both("remove_label", name)

    @invariant()
    def storage_is_given_back_in_time(self) -> None:
        if hasattr(self, "naive") and self.ttl is not None:
            late = self.ttl + min(LATE, self.ttl // 8)
            for chunk in self.core.records.messages.values():
                assert chunk.state == "label" or chunk.at + late > self.now


def outcome(operation: Callable[..., object], *args: object) -> object:  # type: ignore[explicit-any]
    """Return what an operation answers, or how it refuses."""
    try:
        return operation(*args)
    except QueueActorsError as error:
        return type(error), error.args


TestCapacityCore = pytest.mark.slow(CapacityMachine.TestCase)
TestCapacityCore.settings = settings(
    max_examples=60 * TORTURE, stateful_step_count=50, deadline=None
)
TestLogCore = pytest.mark.slow(LogMachine.TestCase)
TestLogCore.settings = settings(max_examples=60 * TORTURE, stateful_step_count=50, deadline=None)
