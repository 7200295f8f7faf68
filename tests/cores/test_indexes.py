"""The indexes of a timed queue: what is dead is skipped, and swept out in slices."""

from __future__ import annotations

import weakref
from heapq import heappop, heappush
from itertools import islice, pairwise
from random import Random
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueactors.cores import _lazy_heap
from queueactors.cores._agenda import Agenda
from queueactors.cores._lazy_heap import FEW, LazyHeap
from queueactors.cores._ready import ReadyMessages
from queueactors.cores._timed_indexes import SLICE
from queueactors.cores._timed_values import Message
from queueactors.cores.timed import PeekState, TimedCore

# What to do: push with this priority, pop, or kill the n-th of those that are there.
Steps = list[tuple[str, int]]
steps = st.lists(
    st.tuples(st.sampled_from(["push", "push", "pop", "kill", "kill"]), st.integers(0, 99)),
    max_size=60,
)


@given(steps)
def test_a_lazy_heap_agrees_with_a_sorted_list(history: Steps) -> None:
    live: set[int] = set()
    heap = LazyHeap[tuple[int, int]](lambda entry: entry[1] in live)
    naive: list[tuple[int, int]] = []

    for number, (action, value) in enumerate(history):
        if action == "push":
            live.add(number)
            heap.push((value, number))
            naive.append((value, number))
        elif action == "pop":
            first = min(naive, default=None)
            assert heap.first() == first
            assert heap.pop() == first
            if first is not None:
                naive.remove(first)
        elif naive:
            dead = naive.pop(value % len(naive))
            live.remove(dead[1])
            heap.died()
        assert len(heap) == len(naive)


def test_a_large_lazy_heap_is_swept_in_slices_and_stays_in_order() -> None:
    random = Random(1)
    live: set[int] = set()
    heap = LazyHeap[tuple[int, int]](lambda entry: entry[1] in live)
    asked = 0
    for number in range(5000):
        live.add(number)
        heap.push((random.randrange(1000), number))
    popped: list[tuple[int, int]] = []

    for number in random.sample(range(5000), 4900):
        if number in live:
            live.remove(number)
            before = heap.kept
            heap.died()
            assert before - heap.kept <= _lazy_heap.SLICE
            asked += 1
        if asked % 50 == 0 and (entry := heap.pop()) is not None:
            live.remove(entry[1])
            popped.append(entry)

    assert heap.kept <= 2 * len(live) + 2 * FEW
    rest = []
    while (entry := heap.pop()) is not None:
        rest.append(entry)
    assert rest == sorted(rest)
    assert {entry[1] for entry in rest} == live


@given(steps, st.randoms(use_true_random=False))
def test_ready_messages_agree_with_a_heap(history: Steps, random: Random) -> None:
    _compare(history, random)


def test_many_ready_messages_agree_with_a_heap() -> None:
    """As many as a sweep needs, with another killed or pushed in the middle of it."""
    for seed in range(20):
        random = Random(seed)
        actions = (
            ["push"] * 300 + ["kill"] * 280 + random.choices(["push", "pop", "kill", "kill"], k=400)
        )
        _compare([(action, random.randrange(1000)) for action in actions], random)


def test_a_sweep_of_ready_messages_drops_the_dead() -> None:
    ready = ReadyMessages[Message]()
    messages = [Message(number, None, "ready", 0, 0, number) for number in range(1000)]
    for message in messages:
        ready.push(message, 0, message.ready_at)

    for message in [*messages[1:-1:2], *messages[::2]]:
        ready.died(message)
        message.state = "gone"
    late = Message(1000, None, "ready", 0, 0, 500)
    ready.push(late, 0, 500)

    assert ready.kept < 4 * FEW
    assert [ready.pop(), ready.pop(), ready.pop()] == [late, messages[-1], None]


def _compare(history: Steps, random: Random) -> None:
    ready = ReadyMessages[Message]()
    naive: list[tuple[int, int, int, Message]] = []
    now = 0
    for number, (action, value) in enumerate(history):
        now += random.choice([0, 1])
        if action == "push":
            priority, ready_at = value % 3 // 2, now - value % 2
            message = Message(number, None, "ready", priority, 0, ready_at)
            ready.push(message, priority, ready_at)
            heappush(naive, (priority, ready_at, number, message))
        elif action == "pop":
            first = heappop(naive)[3] if naive else None
            assert ready.first() is first
            assert ready.pop() is first
        elif naive:
            index = value % len(naive)
            message = naive.pop(index)[3]
            naive.sort(key=lambda entry: entry[:3])
            before = ready.kept
            ready.died(message)
            message.state = "gone"
            assert before - ready.kept <= 2 * _lazy_heap.SLICE
        assert len(ready) == len(naive)
        assert ready.kept <= 2 * len(naive) + 4 * FEW


class Item:
    """Has no order."""


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.integers(0, 2)), max_size=60))
def test_an_agenda_agrees_with_a_dict(history: list[tuple[bool, int, int]]) -> None:
    """Also where a number comes again at the same instant, for something else."""
    agenda = Agenda[Item]()
    naive: dict[int, tuple[int, int, Item]] = {}

    for put, number, at in history:
        if put:
            item = Item()
            agenda.put(number, at, item)
            naive[number] = (at, number, item)
        else:
            taken = agenda.take(number)
            assert taken is naive.pop(number, (None, None, None))[2]
        in_order = [naive[each] for each in sorted(naive, key=lambda each: naive[each][:2])]
        assert agenda.first() == (in_order[0] if in_order else None)
        assert list(agenda.in_order()) == [entry[2] for entry in in_order]
        assert [agenda.get(each) for each in naive] == [entry[2] for entry in naive.values()]
        assert len(agenda) == len(naive)

    while naive:
        first = agenda.pop()
        assert first == min(naive.values(), key=lambda entry: entry[:2])
        del naive[first[1]]
    assert agenda.pop() is None


@pytest.mark.parametrize("again_at", [5, 7])
def test_what_died_among_the_ready_may_come_again_before_it_is_swept(again_at: int) -> None:
    ready = ReadyMessages[Message]()
    ready.push(Message(9, None, "ready", 0, 0, 9), 0, 9)
    old, new = (Message(1, None, "ready", 0, 0, ready_at) for ready_at in (5, again_at))
    ready.push(old, 0, 5)  # not at the end of the line
    ready.died(old)
    old.state = "gone"

    ready.push(new, 0, again_at)

    assert next(ready.in_order()) is new
    assert ready.pop() is new
    assert len(ready) == 1


@given(st.lists(st.integers(0, 9), max_size=60), st.sets(st.integers(0, 59)))
def test_a_lazy_heap_is_read_in_order_and_stays_as_it_is(
    numbers: list[int], dead: set[int]
) -> None:
    heap = LazyHeap[tuple[int, int]](lambda entry: entry[1] not in dead)
    for number in enumerate(numbers):
        heap.push(number[::-1])
    live = sorted((number, place) for place, number in enumerate(numbers) if place not in dead)

    assert list(heap.in_order()) == live
    assert list(islice(heap.in_order(), 3)) == live[:3]
    assert heap.kept == len(numbers)


def test_the_first_of_a_large_heap_are_found_without_looking_at_all() -> None:
    asked = 0

    def is_live(_entry: tuple[int]) -> bool:
        nonlocal asked
        asked += 1
        return True

    heap = LazyHeap[tuple[int]](is_live)
    for number in Random(1).sample(range(5000), 5000):
        heap.push((number,))

    assert list(islice(heap.in_order(), 10)) == [(number,) for number in range(10)]
    assert asked < 20


@pytest.mark.parametrize("state", get_args(PeekState))
def test_what_is_rebuilt_in_slices_has_its_order(state: PeekState) -> None:
    """Also where the slices overlap: the records are in the order of their ids."""
    random = Random(2)
    core = TimedCore()
    places = random.choices(["ready", "delayed", "reserved", "buried", "expired"], k=4 * SLICE)
    for place in places:
        instant = random.randrange(1000)
        delay = 5000 + instant if place == "delayed" else instant
        core.insert(1, [place], delay, random.choice([0, 0, 1]))
        if place in {"reserved", "buried", "expired"}:
            reservation = core.reserve(2000, 1 if place == "expired" else 10**9 + instant)
            assert reservation is not None
            if place == "buried":
                core.bury(2000, reservation.key)
    before = core.peek(2001, state, 9 * SLICE)

    core = TimedCore(records=core.records, ready=False)
    slices = sum(1 for _ in core.rebuild())

    assert slices >= 8
    assert before
    assert core.peek(2001, state, 9 * SLICE) == before


def test_what_is_rebuilt_in_slices_is_handed_out_in_order() -> None:
    random = Random(3)
    core = TimedCore()
    for number in random.sample(range(3 * SLICE), 3 * SLICE):
        core.insert(0, [number], number)
    core.advance(3 * SLICE)

    core = TimedCore(records=core.records)
    handed_out = core.reserve_many(3 * SLICE, 3 * SLICE, 1)

    assert [each.value for each in handed_out] == list(range(3 * SLICE))


def test_what_has_become_due_happens_in_slices_in_the_order_of_its_instants() -> None:
    core = TimedCore()
    core.insert(0, range(0, 100, 2))
    for number in range(1, 100, 2):
        core.insert(0, [number], number)
    core.reserve_many(0, 25, 20)  # 0 to 48 end at 20
    core.reserve_many(0, 25, 10)  # 50 to 98 end at 10

    through = [core.advance(99, 30) for _ in range(4)]

    assert through == [False, False, False, True]
    handed_out = [each.value for each in core.reserve_many(99, 100, 1)]
    due = {number: number for number in range(1, 100, 2)}
    due |= dict.fromkeys(range(0, 50, 2), 20) | dict.fromkeys(range(50, 100, 2), 10)
    ids = {number: number // 2 if number % 2 == 0 else 50 + number // 2 for number in due}
    assert handed_out == sorted(due, key=lambda number: (due[number], ids[number]))


def test_an_operation_does_not_overlook_what_is_still_due() -> None:
    core = TimedCore()
    core.insert(0, range(10))
    core.reserve_many(0, 10, 5)

    assert not core.advance(5, 3)

    assert core.statistics(5).expired == 10


class Counted:
    """A value that can be seen to go."""


def test_what_was_cleared_is_let_go_of_in_slices() -> None:
    values = [Counted() for _ in range(3 * SLICE)]
    left = weakref.WeakSet(values)
    core = TimedCore(unique=True)
    core.insert(0, values)
    core.reserve_many(0, SLICE, 5)
    del values

    core.clear(1)
    counts = [len(left)]
    while not core.advance(1, 1):
        counts.append(len(left))

    assert counts[0] == 3 * SLICE
    assert counts[-1] == 0
    assert max(before - after for before, after in pairwise(counts)) <= SLICE
    assert core.insert(1, ["new"]) == 1
