"""The message queue's core against a plain list, with a restart at any point."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from queueactors import QueueActorsError
from queueactors.cores import Changed
from queueactors.cores.message import MessageCore, QueuedMessage
from tests.torture import TORTURE

from .naive_message import NaiveMessages

if TYPE_CHECKING:
    from collections.abc import Callable

    from queueactors.cores.message import Result

MIDS = ("a", "b", "c", "d")

mids = st.sampled_from(MIDS)
values = st.integers(0, 99)
durations = st.sampled_from([1, 2, 5, 10])
delays = st.sampled_from([0, 0, 1, 2, 5])
gaps = st.sampled_from([0, 0, 0, 1, 2, 5, 10, 20])
picks = st.integers(0, 7)  # the how-manieth newest of all keys, or ids, that ever were


class MessageMachine(RuleBasedStateMachine):
    """Does the same to both, and compares all that can be seen."""

    core: MessageCore
    naive: NaiveMessages

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.keys = [0]
        self.changed = Changed()
        self.written: dict[int, tuple[object, ...]] = {}

    @initialize(lock_time=durations, max_length=st.sampled_from([None, None, 1, 3, 5]))
    def define(self, lock_time: int, max_length: int | None) -> None:
        def new_core(core: MessageCore | None) -> MessageCore:
            return MessageCore(
                lock_time=lock_time,
                max_length=max_length,
                records=None if core is None else core.records,
                changed=self.changed,
            )

        self.new_core = new_core
        self.core = new_core(None)
        self.naive = NaiveMessages(lock_time, max_length)
        self.core.inserters = self.naive.inserters

    def both(self, method: str, *arguments: object) -> None:
        self.naive.advance(self.now)
        expected = outcome(getattr(self.naive, method), self.now, *arguments)
        got = outcome(getattr(self.core, method), self.now, *arguments)
        assert got == expected
        if self.naive.last_key > self.keys[-1]:
            held = {item.key for item in self.naive.items}
            self.keys += sorted(held - set(self.keys))

    def key(self, pick: int) -> int:
        held = [item.key for item in self.naive.items if item.key]
        keys = held if held and pick < 6 else self.keys
        return keys[-1 - pick % len(keys)]

    @rule(gap=gaps)
    def pass_time(self, gap: int) -> None:
        self.now += gap

    @rule(limit=st.none() | st.integers(1, 3))
    def advance(self, limit: int | None) -> None:
        if self.core.advance(self.now, limit):
            due = self.core.next_deadline(waiting=False)
            assert due is None or due > self.now

    @rule()
    def restart(self) -> None:
        self.core = self.new_core(self.core)
        self.core.inserters = self.naive.inserters

    @rule(
        wait=st.booleans(),
        mid=mids,
        value=values,
        init_backoff=delays,
        lock_time=st.none() | durations,
        flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    )
    def enqueue(  # noqa: PLR0917
        self,
        wait: bool,  # noqa: FBT001
        mid: str,
        value: int,
        init_backoff: int,
        lock_time: int | None,
        flags: tuple[bool, bool, bool],
    ) -> None:
        method = "wait_enqueue" if wait else "enqueue"
        self.both(method, mid, value, init_backoff, lock_time, *flags)

    @rule(mid=mids, init_backoff=delays)
    def reset(self, mid: str, init_backoff: int) -> None:
        self.both("enqueue", mid, "not seen", init_backoff, None, False, False, True)

    @rule(waits=st.sampled_from([False, False, True]))
    def somebody_waits_for_room(self, *, waits: bool) -> None:
        self.naive.inserters[:] = [None] * waits

    @rule()
    def claim(self) -> None:
        self.both("claim")

    @rule(limit=st.integers(1, 4))
    def claim_many(self, limit: int) -> None:
        self.both("claim_many", limit)

    @rule(pick=picks, duration=st.none() | durations)
    def extend(self, pick: int, duration: int | None) -> None:
        self.both("extend", self.key(pick), duration)

    @rule(pick=picks, result=st.sampled_from(["success", "retry", "error"]), backoff=delays)
    def finish(self, pick: int, result: Result, backoff: int) -> None:
        self.both("finish", self.key(pick), result, backoff)

    @rule(pick=picks, delay=delays)
    def snooze(self, pick: int, delay: int) -> None:
        self.both("snooze", self.key(pick), delay)

    @rule(picks=st.lists(picks, max_size=3))
    def remove(self, picks: list[int]) -> None:
        self.both("remove", [self.naive.next_id - pick for pick in picks])

    @rule(really=st.integers(0, 3))
    def clear(self, really: int) -> None:
        if really == 3:
            self.both("clear")

    @rule(really=st.integers(0, 7))
    def close(self, really: int) -> None:
        if really == 7:  # there is no way back: not too early
            self.both("close")

    @rule(duration=st.none() | durations)
    def pause(self, duration: int | None) -> None:
        self.both("pause", duration)

    @rule()
    def resume(self) -> None:
        self.both("resume")

    @rule()
    def write(self) -> None:
        """Do as a store does, which then has all that the records have."""
        self.core.length(self.now)
        messages = self.core.records.messages
        if self.changed.cleared:
            self.written.clear()
        for each in [*self.changed]:
            if each in messages:
                written = self.written.get(each)
                self.written[each] = fields(messages[each])
                if written is not None and written[1] != messages[each].value:
                    assert each in self.changed.rewritten
            else:
                self.written.pop(each, None)
        self.changed.written()

        read = {each: QueuedMessage(*facts) for each, facts in self.written.items()}  # type: ignore[arg-type]
        before = self.core.records.messages
        records = self.core.records
        records.messages = read
        expired = records.counters.expired
        again = MessageCore(records=records, lock_time=self.naive.lock_time, max_length=None)
        seen = again.content(self.now, [*read]), again.queue_status(self.now), {**read}
        records.messages, records.counters.expired = before, expired
        self.core = self.new_core(self.core)
        self.core.inserters = self.naive.inserters
        assert seen[:2] == (
            self.core.content(self.now, [*before]),
            self.core.queue_status(self.now),
        )
        assert {each: fields(message) for each, message in seen[2].items()} == {
            each: fields(message) for each, message in before.items()
        }

    @invariant()
    def both_look_the_same(self) -> None:
        if not hasattr(self, "core"):
            return
        core, naive, now = self.core, self.naive, self.now
        naive.advance(now)
        ids = range(naive.next_id)
        assert core.content(now, ids) == naive.content(now, ids)
        assert core.statistics(now) == naive.statistics(now)
        assert core.queue_status(now) == naive.queue_status(now)
        assert core.queue_size(now) == naive.queue_size(now)
        assert core.length(now) == naive.length(now)
        assert sorted(core.ids(now).ids) == sorted(item.id for item in naive.items)
        for mid in MIDS:
            assert core.message_status(now, mid) == naive.status(now, mid)
        while not core.advance(now):
            pass  # what was cleared is let go of
        for waiting in (False, True):
            expected = naive.next_deadline(waiting=waiting)
            assert core.next_deadline(waiting=waiting) == expected

    @invariant()
    def everything_is_in_one_index(self) -> None:
        if hasattr(self, "core"):
            core = self.core
            states = [each.state for each in core.records.messages.values()]
            assert len(core._ready) == states.count("ready")  # noqa: SLF001
            assert len(core._locks) == states.count("locked")  # noqa: SLF001
            assert len(core._backoffs) == states.count("backoff")  # noqa: SLF001
            assert len(core._done) == states.count("done")  # noqa: SLF001
            assert len(core._requeues) == states.count("requeue")  # noqa: SLF001
            assert len(states) == sum(
                states.count(each) for each in ("ready", "locked", "backoff", "done", "requeue")
            )


def fields(message: QueuedMessage) -> tuple[object, ...]:
    return tuple(getattr(message, name) for name in message.__struct_fields__)


def outcome(operation: Callable[..., object], *args: object) -> object:  # type: ignore[explicit-any]
    """Return what an operation answers, or how it refuses."""
    try:
        return operation(*args)
    except QueueActorsError as error:
        return type(error), error.args


TestMessageCore = pytest.mark.slow(MessageMachine.TestCase)
TestMessageCore.settings = settings(
    max_examples=60 * TORTURE, stateful_step_count=50, deadline=None
)
