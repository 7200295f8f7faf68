"""The timed core against a plain list, over all operations, with a restart at any point."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from queueactors import QueueActorsError
from queueactors.cores.timed import TimedCore

from .kit import ALL, STATES
from .naive import NaiveQueue

if TYPE_CHECKING:
    from collections.abc import Callable

MS = 1_000_000
VALUES: list[object] = [1, 1.0, True, "a", b"a", [1], [1.0], {1}, (1, [2]), {"a": 1}, None]

values = st.lists(st.sampled_from(VALUES), max_size=4)
durations = st.sampled_from([1, 2, 5, 10 * MS, 15 * MS])
delays = st.sampled_from([0, 0, 1, 5, 10 * MS])
gaps = st.sampled_from([0, 0, 0, 1, 2, 5, 10 * MS, 20 * MS])
priorities = st.sampled_from([0, 0, 0, -1, 1])
limits = st.sampled_from([1, 2, 3, 50])
picks = st.integers(0, 11)  # the how-manieth newest of all keys, or ids, that ever were
errors = st.sampled_from([None, "bad", "worse"])


class Boom(Exception):  # noqa: N818 - what it is
    """What a refill failed with."""


class TimedMachine(RuleBasedStateMachine):
    """Does the same to both, and compares all that can be seen."""

    core: TimedCore
    naive: NaiveQueue

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.keys = [0]
        self.notices: Counter[str] = Counter()

    @initialize(
        unique=st.booleans(),
        max_reservations=st.sampled_from([None, None, 1, 2, 3]),
        on_exhausted=st.sampled_from(["drop", "bury", "other"]),
        interval=st.sampled_from([None, 0, 15 * MS]),
        max_length=st.sampled_from([None, None, 1, 3, 5]),
    )
    def define(
        self,
        *,
        unique: bool,
        max_reservations: int | None,
        on_exhausted: Literal["drop", "bury", "other"],
        interval: int | None,
        max_length: int | None,
    ) -> None:
        def new_core(core: TimedCore | None) -> TimedCore:
            return TimedCore(
                unique=unique,
                max_reservations=max_reservations,
                on_exhausted=on_exhausted,
                max_length=max_length,
                sync_interval=interval,
                records=None if core is None else core.records,
            )

        self.new_core = new_core
        self.core = new_core(None)
        self.naive = NaiveQueue(unique, max_reservations, on_exhausted, interval, max_length)
        self.who_waits()

    def both(self, name: str, *args: object) -> None:
        """Carry out an operation on both."""
        self.naive.advance(self.now)
        expected = outcome(getattr(self.naive, name), self.now, *args)
        actual = outcome(getattr(self.core, name), self.now, *args)
        assert actual == expected
        held = [item.key for item in self.naive.items if item.key is not None]
        self.keys += sorted(set(held) - set(self.keys))

    def key(self, pick: int) -> int:
        """Return a key that is live or expired, or one that was, or never was."""
        held = [item.key for item in self.naive.items if item.key is not None]
        keys = held if held and pick % 4 else self.keys
        return keys[-1 - pick % len(keys)]

    @rule(gap=gaps)
    def wait(self, gap: int) -> None:
        self.now += gap

    @rule()
    def wait_for_the_next_deadline(self) -> None:
        self.naive.advance(self.now)
        self.now = max(self.now, self.naive.next_deadline(waiting=True) or 0)

    @rule()
    def advance(self) -> None:
        self.core.advance(self.now)

    @rule()
    def restart(self) -> None:
        self.notices.update(event for event, _ in self.core.notices)
        self.core = self.new_core(self.core)
        self.who_waits()

    def who_waits(self) -> None:
        self.core.inserters, self.core.syncers = self.naive.inserters, self.naive.syncers

    @rule(values=values, delay=delays, priority=priorities, early=st.none() | delays)
    def insert(self, values: list[object], delay: int, priority: int, early: int | None) -> None:
        at = 0 if early is None else max(self.now - 3 + early, 0)
        self.both("insert", values, delay, priority, at)

    @rule(values=values, delay=delays, priority=priorities)
    def insert_nowait(self, values: list[object], delay: int, priority: int) -> None:
        self.both("insert_nowait", values, delay, priority, 0)

    @rule(values=values, delay=delays, priority=priorities)
    def wait_insert(self, values: list[object], delay: int, priority: int) -> None:
        self.both("wait_insert", values, delay, priority)

    @rule(waits=st.sampled_from([False, False, True]))
    def somebody_waits_for_room(self, *, waits: bool) -> None:
        self.naive.inserters[:] = [None] * waits

    @rule()
    def sync(self) -> None:
        self.both("sync")
        self.naive.syncers[:] = [] if self.naive.synced else [None]

    @rule()
    def leave_sync(self) -> None:
        self.naive.syncers.clear()

    @rule(duration=durations)
    def reserve(self, duration: int) -> None:
        self.both("reserve", duration)

    @rule(limit=limits, duration=durations)
    def reserve_many(self, limit: int, duration: int) -> None:
        self.both("reserve_many", limit, duration)

    @rule(pick=picks, duration=durations)
    def prolongate(self, pick: int, duration: int) -> None:
        self.both("prolongate", self.key(pick), duration)

    @rule(pick=picks, duration=durations)
    def touch(self, pick: int, duration: int) -> None:
        self.both("touch", self.key(pick), duration)

    @rule(pick=picks, delay=delays, priority=st.none() | priorities, error=errors)
    def release(self, pick: int, delay: int, priority: int | None, error: str | None) -> None:
        self.both("release", self.key(pick), delay, priority, error)

    @rule(pick=picks, delay=delays)
    def snooze(self, pick: int, delay: int) -> None:
        self.both("snooze", self.key(pick), delay)

    @rule(pick=picks, error=errors)
    def fail(self, pick: int, error: str | None) -> None:
        self.both("fail", self.key(pick), error)

    @rule(picks=st.lists(picks, max_size=4), expired_ok=st.booleans())
    def delete(self, picks: list[int], *, expired_ok: bool) -> None:
        self.both("delete", list(map(self.key, picks)), expired_ok)

    @rule(pick=picks, error=errors)
    def bury(self, pick: int, error: str | None) -> None:
        self.both("bury", self.key(pick), error)

    @rule(limit=limits)
    def kick(self, limit: int) -> None:
        self.both("kick", limit)

    @rule(picks=st.lists(picks, max_size=3))
    def remove(self, picks: list[int]) -> None:
        self.both("remove", [self.naive.next_id - pick for pick in picks])

    @rule()
    def clear(self) -> None:
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
    def begin_refill(self) -> None:
        self.both("begin_refill")

    @rule(values=st.none() | values)
    def refilled(self, values: list[object] | None) -> None:
        if self.naive.refilling:
            self.both("refilled", values, Boom("no") if values is None else None)

    @rule()
    def refill_lost(self) -> None:
        self.both("refill_lost")

    @rule(pick=picks)
    def bury_dead(self, pick: int) -> None:
        dead = [0, *(item.id for item in self.naive.first("dead"))]
        self.both("bury_dead", dead[-1 - pick % len(dead)])

    @invariant()
    def both_look_the_same(self) -> None:
        if not hasattr(self, "core"):
            return
        core, naive, now = self.core, self.naive, self.now
        naive.advance(now)
        for state in STATES:
            assert core.peek(now, state, ALL) == naive.peek(state)
        assert core.statistics(now) == naive.statistics(now)
        assert core.size(now) == len(naive.first("ready"))
        assert core.length(now) == len(naive.items) - len(naive.first("dead"))
        assert sorted(core.dead_letters(now), key=_id) == naive.dead_letters(now)
        for waiting in (False, True):
            expected = naive.next_deadline(waiting=waiting)
            assert core.next_deadline(waiting=waiting) == expected

    @invariant()
    def stale_entries_are_counted(self) -> None:
        if hasattr(self, "core"):
            core = self.core
            states = [each.state for each in core.records.messages.values()]
            assert len(core._ready) == states.count("ready")  # noqa: SLF001
            assert len(core._delayed) == states.count("delayed")  # noqa: SLF001
            assert len(core._buried) == states.count("buried")  # noqa: SLF001

    @invariant()
    def each_exhausted_one_is_told(self) -> None:
        if hasattr(self, "core"):
            told = self.notices + Counter(event for event, _ in self.core.notices)
            told["refill_left_out"] = 0
            assert told.pop("insert_dropped", 0) == self.naive.refused_casts
            assert told.total() == self.naive.counts.get("exhausted", 0)


def _id(letter: object) -> int:
    return letter.id  # type: ignore[attr-defined, no-any-return] # of a DeadLetter


def outcome(operation: Callable[..., object], *args: object) -> object:  # type: ignore[explicit-any]
    """Return what an operation answers, or how it refuses."""
    try:
        return operation(*args)
    except QueueActorsError as error:
        return type(error), error.args


TestTimedCore = pytest.mark.slow(TimedMachine.TestCase)
TestTimedCore.settings = settings(max_examples=60, stateful_step_count=50)
