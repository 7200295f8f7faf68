"""The channel's core against a plain list, with restarts; and what raises has not happened."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from queueactors import QueueClosedError, QueueEndedError
from queueactors.cores import channel
from queueactors.cores.channel import ChannelCore, ChannelRecords, Places

from .faults import Fault, Faults

if TYPE_CHECKING:
    from collections.abc import Callable

values = st.sampled_from([None, 0, "", "a", "b"])


class ChannelMachine(RuleBasedStateMachine):
    """Does the same to both, and compares all that can be seen."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.limit: int | None = None
        self.items: list[object] = []  # the naive channel
        self.coming: deque[object] = deque()  # sent without waiting, on their way
        self.closed = False
        self.paused_until = 0.0
        self.counts = {"sent": 0, "received": 0, "cleared": 0}

    @initialize(limit=st.sampled_from([None, 1, 2, 5]))
    def define(self, limit: int | None) -> None:
        self.limit = limit
        self.core = ChannelCore(places=Places(limit))

    @property
    def full(self) -> bool:
        return self.limit is not None and len(self.items) + len(self.coming) >= self.limit

    def took(self, count: int) -> list[object]:
        """Take values from the naive channel."""
        taken, self.items = self.items[:count], self.items[count:]
        self.counts["received"] += len(taken)
        return taken

    def put(self, value: object) -> None:
        self.items.append(value)
        self.counts["sent"] += 1

    @rule(value=values)
    def send(self, value: object) -> None:
        if self.closed:
            with pytest.raises(QueueClosedError):
                self.core.send(self.now, value)
        else:
            room = not self.full
            assert self.core.send(self.now, value) is (True if room else None)
            if room:
                self.put(value)

    @rule(value=values)
    def try_send(self, value: object) -> None:
        room = not self.full and not self.closed
        assert self.core.try_send(self.now, value) is room
        if room:
            self.put(value)

    @rule(value=values)
    def promise(self, value: object) -> None:
        places = self.core.places
        assert (places.full, places.closed) == (self.full, self.closed)
        if not self.full and not self.closed:
            places.promise()
            self.coming.append(value)

    @precondition(lambda self: self.coming)
    @rule(gone=st.sampled_from([False, False, True]))
    def arrive(self, *, gone: bool) -> None:
        value = self.coming.popleft()
        if not gone:
            self.core.send_nowait(self.now, value)
            self.put(value)
        self.core.places.arrived(gone=gone)

    @rule(limit=st.sampled_from([None, 1, 2, 9]))
    def receive(self, limit: int | None) -> None:
        def take() -> object:
            if limit is None:
                return self.core.recv(self.now)
            return self.core.recv_many(self.now, limit)

        if self.closed and not self.items and not self.coming:
            with pytest.raises(QueueEndedError):
                take()
            return
        found = self.took(limit or 1) if self.now >= self.paused_until else []
        expected: object = found
        if limit is None:
            expected = tuple(found) or None
        assert take() == expected

    @rule(back=st.lists(values, max_size=3))
    def give_back(self, back: list[object]) -> None:
        back = back[: self.counts["received"]]
        assert self.core.give_back(self.now, back) == len(back)
        self.items[:0] = back
        self.counts["received"] -= len(back)

    @rule(duration=st.sampled_from([None, 1, 5]))
    def pause(self, duration: int | None) -> None:
        self.core.pause(self.now, duration)
        self.paused_until = float("inf") if duration is None else self.now + duration

    @rule()
    def resume(self) -> None:
        self.core.resume(self.now)
        self.paused_until = 0

    @rule()
    def clear(self) -> None:
        assert self.core.clear(self.now) == len(self.items)
        self.counts["cleared"] += len(self.items)
        self.items = []
        assert self.core.next_deadline(waiting=False) == 0
        while not self.core.advance(self.now):
            pass

    @rule()
    def close(self) -> None:
        self.core.close(self.now)
        self.closed = True

    @rule(gap=st.sampled_from([0, 1, 4, 5]))
    def pass_time(self, gap: int) -> None:
        self.now += gap

    @rule()
    def restart(self) -> None:
        self.core.places.taken = -99  # derived: counted again
        self.core.places.closed = not self.closed
        self.core = ChannelCore(places=self.core.places, records=self.core.records)

    @invariant()
    def the_same_can_be_seen(self) -> None:
        core, now = self.core, self.now
        assert list(core.records.items) == self.items
        assert core.length(now) == len(self.items)
        assert core.is_empty(now) == (not self.items)
        assert core.is_closed(now) == self.closed
        assert core.places.taken == len(self.items) + len(self.coming)
        numbers = attrs.asdict(core.statistics(now))
        assert {name: numbers[name] for name in self.counts} == self.counts
        assert numbers["limit"] == self.limit
        assert numbers["paused"] == (now < self.paused_until)
        due = core.next_deadline(waiting=True)
        if now < self.paused_until:
            assert due == (None if self.paused_until == float("inf") else self.paused_until)


TestChannel = pytest.mark.slow(ChannelMachine.TestCase)
TestChannel.settings = settings(max_examples=100, stateful_step_count=40)


# -- all or nothing ------------------------------------------------------------------------------

OPERATIONS: dict[str, Callable[[ChannelCore], object]] = {
    "send": lambda core: core.send(0, "new"),
    "try_send": lambda core: core.try_send(0, "new"),
    "send_nowait": lambda core: core.send_nowait(0, "new"),
    "recv": lambda core: core.recv(0),
    "recv_many": lambda core: core.recv_many(0, 9),
    "recv_many, not all": lambda core: core.recv_many(0, 2),
    "give_back": lambda core: core.give_back(0, ["new", "newer"]),
    "clear": lambda core: core.clear(0),
    "close": lambda core: core.close(0),
    "pause": lambda core: core.pause(0, 5),
    "resume": lambda core: core.resume(0),
}


def seen(records: ChannelRecords) -> list[object]:
    return [list(records.items), *attrs.astuple(records)[1:]]


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_that_raises_in_the_middle_has_not_happened(name: str) -> None:
    raised = 0
    while True:
        core = ChannelCore(places=Places(5))
        for value in "abc":
            core.send(0, value)
        before = seen(core.records)

        with Faults(raised + 1) as faults, suppress(Fault):
            OPERATIONS[name](core)

        if faults.raised is None:
            break
        raised += 1
        again = ChannelCore(places=core.places, records=core.records)
        assert seen(again.records) == before, faults.raised
        assert again.places.taken == 3
    assert raised or name in {"close", "pause", "resume"}


def test_what_a_pause_leaves_of_a_deadline_is_over_once_somebody_was_served() -> None:
    core = ChannelCore()
    core.pause(0, 5)
    assert core.next_deadline(waiting=False) is None
    assert core.next_deadline(waiting=True) == 5

    assert core.recv(5) is None

    assert core.next_deadline(waiting=True) is None


def test_a_channel_that_was_cleared_lets_go_of_its_values_bit_by_bit() -> None:
    core = ChannelCore()
    for number in range(channel.SLICE + 1):
        core.send(0, number)

    assert core.clear(0) == channel.SLICE + 1

    assert not core.advance(0)
    assert core.advance(0)
    assert core.next_deadline(waiting=True) is None
