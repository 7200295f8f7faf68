"""The indexes of a timed queue: what is dead is skipped, and swept out in slices."""

from __future__ import annotations

from heapq import heappop, heappush
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from queueactors.cores._lazy_heap import FEW, SLICE, LazyHeap
from queueactors.cores._ready import ReadyMessages
from queueactors.cores._timed_values import Message

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
            assert before - heap.kept <= SLICE
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
    ready = ReadyMessages()
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
    ready = ReadyMessages()
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
            assert before - ready.kept <= 2 * SLICE
        assert len(ready) == len(naive)
        assert ready.kept <= 2 * len(naive) + 4 * FEW
