"""The batch queue's core: what is flushed when, and the queue as a whole."""

from __future__ import annotations

import weakref
from itertools import pairwise
from typing import TYPE_CHECKING, cast

import pytest

from queueactors._state_errors import QueueClosedError
from queueactors.cores._batch_indexes import SLICE
from queueactors.cores.batch import (
    BatchCore,
    BatchRecords,
)

from .kit_batch import (
    claim,
    contents,
    counting,
    flushed,
    in_every_state,
    rebuilt,
    stored,
)

if TYPE_CHECKING:
    from collections.abc import Callable


# -- triggers ------------------------------------------------------------------------------------


def test_a_buffer_is_flushed_when_it_has_reached_its_size() -> None:
    core = BatchCore(flush_size=3)

    core.push(0, ["a", "b"])
    core.advance(0)
    assert contents(core) == []

    core.push(0, ["c"])
    assert core.next_deadline(waiting=False) == 0
    core.advance(0)
    assert contents(core) == [["a", "b", "c"]]
    assert flushed(core) == {"size": 3}


def test_a_buffer_is_flushed_after_so_many_pushes_however_few_items_they_left() -> None:
    core = BatchCore(flush_size=3, flush_pushes=4, records=BatchRecords(counting))

    core.push(0, ["a", "a", "a"])
    core.advance(0)
    assert contents(core) == []

    core.push(0, ["a"])
    core.advance(0)
    assert contents(core) == [[("a", 4)]]
    assert flushed(core) == {"pushes": 1}


def test_a_buffer_is_flushed_so_long_after_its_first_item() -> None:
    core = BatchCore(flush_size=0, flush_timeout=10)

    core.push(5, ["a"])
    core.push(14, ["b"])
    assert core.next_deadline(waiting=False) == 15
    core.advance(14)
    assert contents(core, 14) == []

    core.advance(15)
    assert contents(core, 15) == [["a", "b"]]
    assert flushed(core, 15) == {"timeout": 2}
    assert core.next_deadline(waiting=False) is None


def test_the_time_of_a_buffer_begins_anew_after_each_flush() -> None:
    core = BatchCore(flush_size=0, flush_timeout=10)
    core.push(0, ["a"])
    core.flush(9)
    assert core.next_deadline(waiting=False) is None

    core.push(12, ["b"])

    assert core.next_deadline(waiting=False) == 22


def test_without_a_trigger_only_a_flush_stores() -> None:
    core = BatchCore(flush_size=0)
    core.push(0, list(range(10_000)))
    assert core.advance(1 << 60)
    assert core.next_deadline(waiting=True) is None

    assert core.flush(9) == 10_000
    assert core.flush(9) == 0
    assert flushed(core) == {"manual": 10_000}


def test_a_flush_is_no_part_of_the_push_that_causes_it() -> None:
    core = BatchCore(flush_size=2)

    core.push(0, ["a", "b"])

    assert core.records.messages == {}
    assert core.length(0) == 2


@pytest.mark.parametrize("next_operation", ["claim", "peek", "statistics"])
def test_a_flush_that_is_due_has_passed_before_whatever_comes_next(next_operation: str) -> None:
    core = BatchCore(flush_size=2)
    core.push(0, ["a", "b"])

    if next_operation == "claim":
        assert claim(core, 0).values == (["a", "b"],)
    elif next_operation == "peek":
        assert contents(core) == [["a", "b"]]
    else:
        assert core.statistics(0).ready == 1


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7, 9])
@pytest.mark.parametrize(("size", "pushes"), [(3, 0), (0, 3), (3, 5), (5, 3)])
def test_items_that_are_pushed_together_are_flushed_exactly_at_the_limit(
    count: int, size: int, pushes: int
) -> None:
    core = BatchCore(flush_size=size, flush_pushes=pushes)
    one_by_one = BatchCore(flush_size=size, flush_pushes=pushes)
    core.push(0, ["first"])
    one_by_one.push(0, ["first"])

    assert core.push(0, list(range(count))) == 1 + count
    for item in range(count):
        one_by_one.push(0, [item])

    core.advance(0)
    one_by_one.advance(0)
    assert all(len(cast("list[object]", each)) == 3 for each in contents(core))
    assert contents(core) == contents(one_by_one)
    assert [*core.records.intake.buffer] == [*one_by_one.records.intake.buffer]
    assert len(core.records.intake.buffer) == (1 + count) % 3
    assert flushed(core) == flushed(one_by_one)


def test_items_that_are_pushed_together_to_a_buffer_of_ones_own_are_flushed_at_the_limit() -> None:
    core = BatchCore(flush_size=2, records=BatchRecords(counting))

    core.push(0, ["a", "a", "b", "c", "c"])

    assert contents(core) == [[("a", 2), ("b", 1)]]
    assert list(core.records.intake.buffer) == [("c", 2)]


# -- an item that is to be stored ----------------------------------------------------------------


def test_whoever_waits_for_an_item_to_be_stored_lets_it_be_flushed() -> None:
    core = BatchCore(flush_size=0)
    number = core.push(0, ["a"])

    assert core.stored(0, number) is None
    assert core.next_deadline(waiting=False) == 0
    core.advance(0)

    assert core.stored(0, number) is True
    assert flushed(core) == {"stored": 1}


def test_a_flush_that_somebody_waited_for_is_not_wanted_any_more_when_it_has_been() -> None:
    core = BatchCore(flush_size=0)
    core.stored(0, core.push(0, ["a"]))
    core.flush(0)

    core.push(0, ["b"])
    core.advance(0)

    assert contents(core) == [["a"]]


def test_an_item_is_stored_that_another_flush_has_taken_along() -> None:
    core = BatchCore(flush_size=0)
    number = core.push(0, ["a"])
    core.flush(0)
    core.push(0, ["b"])

    assert core.stored(0, number) is True
    assert core.next_deadline(waiting=False) is None


def test_an_item_does_not_count_as_stored_with_those_before_it() -> None:
    core = BatchCore(flush_size=0)
    core.push(0, ["a"])
    core.flush(0)

    assert core.stored(0, core.push(0, ["b"])) is None


def test_whoever_waits_for_a_flush_does_not_wait_for_what_was_cleared() -> None:
    core = BatchCore(flush_size=0)
    number = core.push(0, ["a"])
    core.stored(0, number)
    core.clear(0)
    core.push(0, ["b"])

    assert core.stored(0, number) is True
    core.advance(0)
    assert contents(core) == []  # nor is a flush wanted any more


def test_an_item_can_be_stored_past_the_buffer() -> None:
    core = BatchCore(flush_size=0)
    core.push(0, ["in the buffer"])

    assert core.push_whole(0, ["whole"]) == 1

    assert contents(core) == [["whole"]]
    numbers = core.statistics(0)
    assert (numbers.pushed, numbers.buffered, numbers.items) == (2, 1, 1)
    assert flushed(core) == {"stored": 1}


def test_what_goes_past_the_buffer_does_not_overtake_a_flush_that_is_due() -> None:
    core = BatchCore(flush_size=1)
    core.push(0, ["first"])

    core.push_whole(0, ["second"])

    assert contents(core) == [["first"], ["second"]]


# -- the whole queue -----------------------------------------------------------------------------


def test_a_paused_queue_hands_nothing_out_until_its_time_is_over() -> None:
    core = BatchCore()
    stored(core, 0, "a")
    core.pause(0, 10)

    assert core.claim(9) is None
    assert core.statistics(9).paused
    assert core.next_deadline(waiting=True) == 10
    assert core.next_deadline(waiting=False) is None
    assert not core.statistics(10).paused
    assert claim(core, 10).ids == (1,)
    assert core.next_deadline(waiting=True) is None


def test_a_queue_is_paused_until_it_is_resumed() -> None:
    core = BatchCore()
    stored(core, 0, "a")
    core.pause(0)

    assert core.claim(1 << 60) is None
    assert core.next_deadline(waiting=True) is None
    core.resume(0)
    assert core.claim(1 << 60) is not None


def test_a_paused_queue_takes_in_and_flushes() -> None:
    core = BatchCore()
    core.pause(0)

    core.push(0, ["a"])
    core.advance(0)

    assert contents(core) == [["a"]]


def test_a_pause_does_not_stop_the_end_of_a_claim() -> None:
    core = BatchCore()
    stored(core, 0, "a")
    key = claim(core, 0).key
    core.pause(0)

    assert core.claim(0, 1, (key, 1)) is None

    assert core.statistics(0).processed == 1


def test_a_queue_that_closes_stores_its_buffer_and_takes_in_only_what_processing_brings() -> None:
    core = BatchCore(flush_size=0)
    stored(core, 0, "claimed")
    key = claim(core, 0).key
    core.push(0, ["buffered"])

    core.close(0)

    assert flushed(core) == {"manual": 1, "close": 1}
    for push in (core.push, core.wait_push, core.push_whole, core.wait_push_whole):
        with pytest.raises(QueueClosedError):
            cast("Callable[..., object]", push)(0, ["new"])  # type: ignore[explicit-any]
    assert core.push(0, ["back"], inside=True) == 3
    assert core.flush(0) == 1
    with pytest.raises(QueueClosedError):
        core.claim(0, 1, (key, 1))
    assert core.statistics(0).processed == 1
    assert contents(core) == [["buffered"], ["back"]]
    assert core.statistics(0).closed


def test_a_queue_that_was_shut_has_stored_all_and_nobody_has_anything() -> None:
    core = BatchCore(flush_size=0)
    stored(core, 0, "claimed")
    claim(core, 0)
    core.close(0)
    core.push(0, ["back"], inside=True)

    core.shut(0)

    assert contents(core) == [["claimed"], ["back"]]
    with pytest.raises(QueueClosedError):
        core.push(0, ["late"], inside=True)
    with pytest.raises(QueueClosedError):
        core.flush(0)
    core.close(0)
    assert core.records.closed == "closed"
    assert core.flush(0, "close") == 0


def test_an_actor_that_stops_flushes() -> None:
    core = BatchCore(flush_size=0)
    core.push(0, ["a"])
    method, arguments = core.parting

    getattr(core, method)(0, *arguments)

    assert flushed(core) == {"close": 1}


def test_a_queue_that_is_cleared_has_nothing_left() -> None:
    core, _ = in_every_state()
    core._flush_size = 0  # noqa: SLF001
    core.push(0, ["x", "y"])
    before = core.statistics(0)

    assert core.clear(0) == 10

    assert core.length(0) == 0
    numbers = core.statistics(0)
    assert (numbers.batches, numbers.items, numbers.buffered, numbers.ready) == (0, 0, 0, 0)
    assert (numbers.cooling, numbers.retrying, numbers.claimed) == (0, 0, 0)
    assert (numbers.pushed, numbers.flushed) == (before.pushed, before.flushed)
    assert core.clear(0) == 0
    while not core.advance(0):
        pass
    assert core.next_deadline(waiting=True) is None
    stored(core, 0, "new")
    assert claim(core, 0).ids == (9,)


def test_the_time_of_a_buffer_that_was_cleared_is_over() -> None:
    core = BatchCore(flush_size=0, flush_timeout=10)
    core.push(0, ["a"])

    core.clear(1)
    core.advance(1)

    assert core.next_deadline(waiting=False) is None


class Counted:
    """A value that can be seen to go."""


def test_what_was_cleared_is_let_go_of_in_slices() -> None:
    values = [Counted() for _ in range(4 * SLICE)]
    left = weakref.WeakSet(values)
    core = BatchCore(flush_size=1)
    core.push(0, values)
    core.advance(0)
    claim(core, 0, SLICE)
    core.failed(0, claim(core, 0, SLICE).key, "bad", None, 9)
    del values

    assert core.clear(0) == 4 * SLICE
    counts = [len(left)]
    assert core.next_deadline(waiting=False) == 0
    while not core.advance(0, 1):
        counts.append(len(left))

    assert counts[0] > 3 * SLICE
    assert len(left) <= 1  # the buffer's last one
    assert max(before - after for before, after in pairwise(counts)) <= SLICE


def test_what_has_become_due_happens_in_slices() -> None:
    core = BatchCore()
    stored(core, 0, *range(10))
    for _ in range(10):
        core.failed(0, claim(core, 0).key, "bad", None, 5)
    core.push(0, ["last"])

    assert [core.advance(5, 4) for _ in range(3)] == [False, False, True]

    assert [batch.id for batch in core.peek(5, "ready", 99)] == [*range(1, 12)]


def test_indexes_are_rebuilt_in_slices() -> None:
    core = BatchCore(flush_size=1)
    core.push(0, list(range(2 * SLICE + 1)))
    core.advance(0)

    again = rebuilt(core, ready=False)

    assert sum(1 for _ in again.rebuild()) == 6
    assert contents(again)[:2] == [[0], [1]]
    assert again.statistics(0) == core.statistics(0)


@pytest.mark.slow
def test_indexes_do_not_grow_with_use() -> None:
    core = BatchCore(flush_size=1)
    most = 0
    for now in range(1, 3000):
        core.push(now, ["a", "b"])
        core.failed(now, claim(core, now, 2).key, "bad", 1)
        core.advance(now + 1)
        core.failed(now + 1, claim(core, now + 1).key, "bad", None, 10**9)
        core.remove(now + 1, [each.id for each in core.peek(now + 1, "cooling", 9)])
        most = max(most, core._cooling.kept + len(core._ready) + len(core._groups))  # noqa: SLF001

    assert core.length(5000) == 0
    assert most < 200
