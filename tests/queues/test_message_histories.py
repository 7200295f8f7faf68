"""Histories of a message queue through its actor, with crashes between any two operations.

As `test_histories` does for the timed queue; the plain list is `tests/cores/naive_message.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from queueactors import MessageQueue
from queueactors.engines import ROOM, TAKERS
from tests.cores.naive_message import NaiveMessages

from .kit import running_kind
from .test_histories import (
    TICK,
    Ask,
    DoomedStore,
    Leave,
    NaiveActor,
    Play,
    asks,
    delays,
    durations,
    often,
    picks,
)

if TYPE_CHECKING:
    from .test_histories import Pick, Step

MIDS = ("a", "b", "c", "d")

flags = [st.booleans() for _ in range(3)]
enqueued = (
    st.sampled_from(MIDS),
    st.integers(0, 99),
    delays,
    st.none() | durations,
    *flags,
)
results = st.sampled_from(["success", "success", "retry", "error"])
ASKS: st.SearchStrategy[Ask | Leave] = often(
    (6, asks("enqueue", *enqueued)),
    (4, asks("wait_enqueue", *enqueued)),
    (5, asks("claim")),
    (2, asks("claim_many", st.integers(1, 3))),
    (4, asks("finish", picks("key"), results, delays)),
    (1, asks("extend", picks("key"), st.none() | durations)),
    (1, asks("snooze", picks("key"), delays)),
    (1, asks("remove", picks("ids"))),
    (1, asks("pause", durations) | st.just(Ask("pause", (None,)))),
    (2, st.just(Ask("resume"))),
    (2, st.sampled_from([Ask("length", crashes=True)] * 9 + [Ask("close"), Ask("clear")])),
    (2, st.builds(Leave, st.sampled_from([ROOM, TAKERS]), st.integers(0, 2))),
)
STEPS: st.SearchStrategy[Step] = often(
    (12, st.lists(ASKS, min_size=1, max_size=6).map(tuple)),
    (5, st.integers(1, 4)),
    (1, st.just("stop")),
)


class MessagePlay(Play):
    """The same for a message queue."""

    def pick(self, pick: Pick) -> object:
        naive = self.model.naive
        if pick.what == "ids":
            return (naive.next_id - pick.number, naive.next_id - 2 * pick.number)
        held = sorted(item.key for item in naive.items if item.key)
        self.keys += sorted(set(held) - set(self.keys))
        keys = held if held and pick.number < 5 else self.keys
        return keys[-1 - pick.number % len(keys)]

    async def look(self) -> None:
        naive, now = self.model.naive, self.now
        ids = tuple(range(naive.next_id))
        assert await self.ask("content", ids) == naive.content(now, ids)
        assert await self.ask("queue_status") == naive.queue_status(now)
        for mid in MIDS:
            assert await self.ask("message_status", mid) == naive.status(now, mid)


async def play(steps: list[Step], lock_time: int, max_length: int | None) -> None:
    naive = NaiveMessages(lock_time, max_length, name="q")
    store = DoomedStore()
    async with running_kind(
        MessageQueue, "q", store, lock_time=lock_time / 1e9, max_length=max_length
    ) as rig:
        played = MessagePlay(rig, store, NaiveActor(naive))
        for step in steps:
            with trio.fail_after(3600):
                await played.step(step)


@pytest.mark.slow
@pytest.mark.no_cover
@given(
    steps=st.lists(STEPS, min_size=8, max_size=30),
    lock_time=st.sampled_from([TICK, 4 * TICK]),
    max_length=st.sampled_from([None, 1, 3]),
)
@settings(max_examples=80, deadline=None)
def test_any_history_with_crashes_goes_as_without_them(
    steps: list[Step], lock_time: int, max_length: int | None
) -> None:
    trio.run(play, steps, lock_time, max_length, clock=MockClock(autojump_threshold=0))
