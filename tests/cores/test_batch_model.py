"""The batch queue's core against plain lists: with restarts, process ends and failed commits."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from queueactors import QueueActorsError
from queueactors.cores import Changed
from queueactors.cores.batch import (
    NEVER,
    Appending,
    Batch,
    BatchCore,
    BatchRecords,
    Buffer,
    Merging,
)
from tests.torture import TORTURE

from .naive_batch import NaiveBatches

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from queueactors.cores.batch import BatchState

STATES: tuple[BatchState, ...] = ("ready", "cooling", "retry", "claimed", "buried", "dead")
GROUPED = {"claimed", "retry"}

items = st.lists(st.integers(0, 99), min_size=1, max_size=3) | st.lists(
    st.integers(0, 99), max_size=9
)
gaps = st.sampled_from([0, 0, 0, 1, 2, 5, 10, 20])
durations = st.sampled_from([1, 2, 5, 10])
delays = st.sampled_from([0, 0, 1, 2, 5])
sizes = st.sampled_from([0, 1, 2, 3, 5])
picks = st.integers(0, 7)  # the how-manieth newest of all keys, or ids, that ever were
seldom = st.integers(0, 7)


def merge_key(item: object) -> int:
    return cast("int", item) % 3


def merge(there: object, item: object) -> int:
    return cast("int", there) + 3 * cast("int", item)


def check(item: object) -> None:
    if cast("int", item) > 500:
        raise ValueError(f"{item} is too much")


def merging() -> Buffer:
    return Merging(merge_key, merge, check)


def pieces(kept: Sequence[object]) -> list[tuple[object, int]]:
    return [(list(kept[at : at + 2]), len(kept[at : at + 2])) for at in range(0, len(kept), 2)]


def can_be_kept(item: object) -> bool:
    return cast("int", item) % 10 != 7


class Pieces:
    """Packs by two; what ends in a seven cannot be kept."""

    def __init__(self) -> None:
        self.lost: list[BaseException] = []

    def __call__(self, items: list[object]) -> Sequence[tuple[object, int]]:
        self.lost += [ValueError(item) for item in items if not can_be_kept(item)]
        return pieces([item for item in items if can_be_kept(item)])


def naive_pieces(items: list[object]) -> tuple[list[tuple[object, int]], int]:
    kept = [item for item in items if can_be_kept(item)]
    return pieces(kept), len(items) - len(kept)


class BatchMachine(RuleBasedStateMachine):
    """Does the same to both, and compares all that can be seen."""

    core: BatchCore
    naive: NaiveBatches

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.keys = [0]
        self.changed = Changed()
        # As a store has it: the batches, the head, and the first number that is not in it.
        self.written: dict[int, tuple[object, ...]] = {}
        self.head: dict[str, int | None] = {}
        self.written_at = 0
        self.is_new = False  # a process that has not written yet: what is claimed is another's

    @initialize(
        flush=st.tuples(sizes, sizes, sizes),
        max_claims=st.sampled_from([None, 1, 2]),
        on_exhausted=st.sampled_from(["drop", "bury", "other"]),
        max_length=st.sampled_from([None, None, None, 3, 8, 20]),
        merged=st.booleans(),
        packed=st.booleans(),
    )
    def define(  # noqa: PLR0917
        self,
        flush: tuple[int, int, int],
        max_claims: int | None,
        on_exhausted: str,
        max_length: int | None,
        merged: bool,  # noqa: FBT001
        packed: bool,  # noqa: FBT001
    ) -> None:
        self.new_buffer: Callable[[], Buffer] = merging if merged else Appending

        def new_core(records: BatchRecords) -> BatchCore:
            core = BatchCore(
                flush_size=flush[0],
                flush_pushes=flush[1],
                flush_timeout=flush[2],
                max_claims=max_claims,
                on_exhausted=on_exhausted,
                max_length=max_length,
                records=records,
                pack=Pieces() if packed else None,
                changed=self.changed,
            )
            core.inserters = self.naive.inserters
            return core

        naive_merge = (lambda item: item % 3, lambda there, item: there + 3 * item)
        self.naive = NaiveBatches(
            *flush,
            max_claims,
            on_exhausted,
            max_length,
            naive_merge if merged else None,
            naive_pieces if packed else None,
        )
        self.new_core = new_core
        self.core = new_core(BatchRecords(self.new_buffer))
        self.head = self.core.records.head()
        self.saved = self.naive.copy()
        self.begin()

    def both(self, method: str, *arguments: object) -> None:
        self.catch_up()
        expected = outcome(getattr(self.naive, method), self.now, *arguments)
        got = outcome(getattr(self.core, method), self.now, *arguments)
        assert got == expected
        self.keys += sorted({party.key for party in self.naive.groups} - set(self.keys))

    def catch_up(self) -> None:
        """Do as the loop does before it carries something out."""
        while not self.core.advance(self.now, 2):
            pass
        self.naive.advance(self.now)

    def key(self, pick: int) -> int:
        held = [p.key for p in self.naive.groups if p.lots[0].state == "claimed"]
        keys = held if held and pick < 6 else self.keys
        return keys[-1 - pick % len(keys)]

    def begin(self) -> None:
        """Begin a batch of operations."""
        self.catch_up()
        self.begun_at = self.now
        self.snapshot = self.core.records.snapshot()
        self.before = self.naive.copy()
        self.naive.fresh, self.naive.cleared = [], []

    def load(self) -> BatchRecords:
        """Read the records as a store does."""
        records = BatchRecords(self.new_buffer, **self.head)  # type: ignore[arg-type]
        for number, facts in sorted(self.written.items()):
            batch = records.messages[number] = Batch(*facts)  # type: ignore[arg-type]
            if self.is_new and batch.state == "claimed" and batch.deadline_at > self.written_at:
                batch.deadline_at = self.written_at
                self.changed.add(number)
        return records

    def save(self) -> None:
        """Write as a store does."""
        messages = self.core.records.messages
        if self.changed.cleared:
            self.written = {each: fields(batch) for each, batch in messages.items()}
        for each in self.changed:
            if each in messages:
                self.written[each] = fields(messages[each])
            else:
                self.written.pop(each, None)
        self.head = self.core.records.head()
        self.written_at = self.now
        self.is_new = False
        self.changed.written()

    # -- what may come between -------------------------------------------------------------------

    @rule(gap=gaps)
    def pass_time(self, gap: int) -> None:
        self.now += gap

    @rule()
    def restart(self) -> None:
        self.core = self.new_core(self.core.records)
        self.naive.restart()
        self.catch_up()

    @rule(gap=gaps)
    def commit(self, gap: int) -> None:
        self.save()
        self.saved = self.naive.copy()
        seen = {each: lasting(batch) for each, batch in self.load().messages.items()}
        messages = self.core.records.messages
        assert seen == {each: lasting(batch) for each, batch in messages.items()}

        self.naive.fresh, self.naive.restored = [], 0
        self.now += gap
        self.begin()

    @rule(written=st.booleans(), again=st.integers(0, 2))
    def commit_in_vain(self, *, written: bool, again: int) -> None:
        if written:
            self.save()
        for _ in range(1 + again):  # it may fail again and again
            self.changed.written()
            records = self.load()
            records.resume(self.snapshot)
            core = self.new_core(records)
            while not core.advance(self.begun_at, 2):
                pass
            records.resume(self.snapshot)
            self.core = core
            self.naive = self.naive.undone(self.before, written=written)
            counts = self.naive.counts.copy()
            self.naive.advance(self.begun_at)
            self.naive.counts = counts
            self.keys += sorted({party.key for party in self.naive.groups} - set(self.keys))
            if written:
                self.saved, written = self.naive.copy(), False
            self.begin()

    @rule(really=seldom)
    def end_process(self, really: int) -> None:
        if really < 6:
            return
        self.changed.written()
        self.is_new = True
        records = self.load()
        waits = self.naive.inserters
        self.naive = self.saved.copy()
        self.naive.inserters = waits
        self.naive.end(self.written_at)
        self.core = self.new_core(records)
        self.begin()

    # -- operations ------------------------------------------------------------------------------

    @rule(items=items, wait=st.booleans(), inside=st.booleans())
    def push(self, *, items: list[int], wait: bool, inside: bool) -> None:
        self.both("wait_push" if wait else "push", items, inside)

    @rule(waits=st.sampled_from([False, False, True]))
    def somebody_waits_for_room(self, *, waits: bool) -> None:
        self.naive.inserters[:] = [None] * waits

    @rule(wait=st.booleans(), item=st.integers(0, 99))
    def push_whole(self, *, wait: bool, item: int) -> None:
        self.both("wait_push_whole" if wait else "push_whole", [item])

    @rule(pick=picks)
    def stored(self, pick: int) -> None:
        self.both("stored", self.naive.pushed - pick)

    @rule()
    def flush(self) -> None:
        self.both("flush")

    @rule(limit=st.integers(1, 4))
    def claim(self, limit: int) -> None:
        self.both("claim", limit)

    @rule(limit=st.integers(1, 4), pick=picks, items=st.integers(0, 9))
    def claim_after(self, limit: int, pick: int, items: int) -> None:
        self.both("claim", limit, (self.key(pick), items))

    @rule(pick=picks, delay=delays)
    def try_again(self, pick: int, delay: int) -> None:
        self.both("failed", self.key(pick), "bad", delay)

    @rule(pick=picks, cooldown=delays)
    def give_up(self, pick: int, cooldown: int) -> None:
        self.both("failed", self.key(pick), "worse", None, cooldown)

    @rule(pick=picks)
    def give_back(self, pick: int) -> None:
        self.both("give_back", self.key(pick))

    @rule(some=st.lists(picks, max_size=2))
    def keep(self, some: list[int]) -> None:
        self.both("keep", [self.key(pick) for pick in some])

    @rule(limit=st.integers(1, 3))
    def kick(self, limit: int) -> None:
        self.both("kick", limit)

    @rule(some=st.lists(picks, max_size=3))
    def remove(self, some: list[int]) -> None:
        there = [0, *(lot.id for lot in self.naive.lots())]
        self.both("remove", [there[pick % len(there)] for pick in some])

    @rule(pick=picks)
    def bury_dead(self, pick: int) -> None:
        self.both("bury_dead", self.naive.next_id - pick)

    @rule(really=seldom)
    def clear(self, really: int) -> None:
        if really > 4:
            self.both("clear")

    @rule(really=seldom)
    def close(self, really: int) -> None:
        if really > 5:
            self.both("close")

    @rule(really=seldom)
    def shut(self, really: int) -> None:
        if really > 6:  # there is no way back, but a new process: not too early
            self.both("shut")

    @rule(duration=st.none() | durations)
    def pause(self, duration: int | None) -> None:
        self.both("pause", duration)

    @rule()
    def resume(self) -> None:
        self.both("resume")

    # -- what must be the same -------------------------------------------------------------------

    @invariant()
    def both_look_the_same(self) -> None:
        if not hasattr(self, "core"):
            return
        core, naive, now = self.core, self.naive, self.now
        self.catch_up()
        assert core.statistics(now) == naive.statistics(now)
        assert core.length(now) == naive.length(now)
        for state in STATES:
            for limit in (1, 1000):
                assert core.peek(now, state, limit) == naive.peek(now, state, limit)
        assert core.dead_letters(now, 2) == naive.dead_letters(now, 2)
        assert list(core.records.intake.buffer) == naive.buffer
        for waiting in (False, True):
            expected = naive.next_deadline(waiting=waiting)
            assert core.next_deadline(waiting=waiting) == expected

    @invariant()
    def a_claim_is_never_due(self) -> None:
        if hasattr(self, "core"):
            for batch in self.core.records.messages.values():
                held = batch.state == "claimed"
                assert (batch.deadline_at != 0) == held
                assert (batch.key != 0) == (batch.state in GROUPED)
                assert batch.deadline_at in {0, NEVER} or batch.deadline_at > self.now


def lasting(batch: Batch) -> tuple[object, ...]:
    """Return a batch as it is, whether what it waited for has passed or not."""
    state = "ready" if batch.state == "cooling" else batch.state
    return batch.id, batch.value, state, *fields(batch)[3:]


def fields(batch: Batch) -> tuple[object, ...]:
    return tuple(getattr(batch, name) for name in batch.__struct_fields__)


def outcome(operation: Callable[..., object], *args: object) -> object:  # type: ignore[explicit-any]
    """Return what an operation answers, or how it refuses."""
    try:
        return operation(*args)
    except QueueActorsError as error:
        return type(error), error.args


TestBatchCore = pytest.mark.slow(BatchMachine.TestCase)
TestBatchCore.settings = settings(max_examples=60 * TORTURE, stateful_step_count=50, deadline=None)
