"""The capacity queue's core: what its docstrings say, and what its model had wrong."""

from __future__ import annotations

import pytest

from queueactors import QueueClosedError, QueueFullError
from queueactors.cores import Changed
from queueactors.cores._chunks import MOST
from queueactors.cores._pause import FOR_EVER
from queueactors.cores._trash import Trash
from queueactors.cores.capacity import SLICE, CapacityCore, CapacityRecords

from .kit_chunks import capacity_store, push


def test_items_come_out_in_the_order_in_which_they_went_in() -> None:
    core = CapacityCore()

    assert push(core, 0, b"a", b"b") == 2
    assert push(core, 1, b"c") == 1

    assert core.pop(2, 2) == [b"a", b"b"]
    assert core.pop(2, 2) == [b"c"]
    assert core.pop(2, 2) == []


def test_pop_takes_one_unless_told_otherwise() -> None:
    core = CapacityCore()
    push(core, 0, b"a", b"b")

    assert core.pop(0) == [b"a"]


def test_a_huge_limit_takes_what_is_there() -> None:
    """Where this comes from, a large limit ended the process."""
    core = CapacityCore()
    push(core, 0, b"a", b"b")

    assert core.pop(0, 10**12) == [b"a", b"b"]
    assert core.pop(0, 2**63) == []


def test_what_was_handed_out_does_not_change_what_is_left() -> None:
    core = CapacityCore()
    push(core, 0, b"a", b"b")

    core.pop(0).append(b"more")

    assert core.pop(0, 9) == [b"b"]


def test_a_list_that_was_pushed_still_belongs_to_its_owner() -> None:
    core = CapacityCore()
    items = [b"a", b"b"]
    core.push(0, items, [1, 1])

    items.clear()
    push(core, 0, b"c")

    assert items == []
    assert core.pop(0, 9) == [b"a", b"b", b"c"]


def test_an_item_of_no_bytes_is_an_item() -> None:
    core = CapacityCore(max_elements=1)
    push(core, 0, b"")

    assert (core.length(0), core.payload_size(0), core.is_empty(0)) == (1, 0, False)
    with pytest.raises(QueueFullError):
        push(core, 0, b"")
    assert core.pop(0) == [b""]
    assert core.is_empty(0)


# -- how many it may hold -------------------------------------------------------------------------


def test_a_push_goes_in_whole_up_to_the_capacity() -> None:
    core = CapacityCore(max_elements=3)
    push(core, 0, b"a")

    assert push(core, 0, b"b", b"c") == 2


def test_a_push_beyond_the_capacity_does_not_go_in_at_all() -> None:
    """Where this comes from, a sender could not tell it from success."""
    core = CapacityCore(max_elements=3)
    push(core, 0, b"a", b"b")
    before = core.statistics(0)

    with pytest.raises(QueueFullError) as caught:
        push(core, 0, b"c", b"d")

    error = caught.value
    assert (error.new, error.room, error.max_length) == (2, 1, 3)
    assert not error.never_fits
    assert core.statistics(0) == before


def test_a_pop_makes_room() -> None:
    core = CapacityCore(max_elements=2)
    push(core, 0, b"a", b"b")
    core.pop(0)

    assert push(core, 0, b"c") == 1
    with pytest.raises(QueueFullError):
        push(core, 0, b"d")


def test_a_queue_holds_a_thousand_million_items_unless_told_otherwise() -> None:
    assert CapacityCore().statistics(0).max_elements == MOST == 1_000_000_000


def test_whoever_waits_for_room_is_told_none_until_there_is() -> None:
    core = CapacityCore(max_elements=2)
    push(core, 0, b"a", b"b")

    assert core.wait_push(0, [b"c", b"d"], [1, 1]) is None
    core.pop(0)
    assert core.wait_push(0, [b"c", b"d"], [1, 1]) is None
    core.pop(0)
    assert core.wait_push(0, [b"c", b"d"], [1, 1]) == 2


def test_nobody_waits_for_room_that_there_never_is() -> None:
    core = CapacityCore(max_elements=2)

    with pytest.raises(QueueFullError) as caught:
        core.wait_push(0, [b"a", b"b", b"c"], [1, 1, 1])

    assert caught.value.never_fits


def test_nobody_overtakes_those_who_wait_for_room() -> None:
    core = CapacityCore(max_elements=3)
    push(core, 0, b"a", b"b")
    core.inserters = ["somebody"]

    with pytest.raises(QueueFullError) as caught:
        push(core, 0, b"c")

    assert caught.value.room is None
    assert core.wait_push(0, [b"c"], [1]) == 1  # that was the first of them


def test_a_push_of_nothing_is_always_done() -> None:
    core = CapacityCore(max_elements=1)
    push(core, 0, b"a")
    core.inserters = ["somebody"]

    assert push(core, 0) == 0
    assert core.length(0) == 1


def test_a_capacity_below_what_is_there_keeps_it() -> None:
    core = CapacityCore()
    push(core, 0, b"a", b"b", b"c")

    core.resize(0, 2)

    with pytest.raises(QueueFullError) as caught:
        push(core, 0, b"d")
    assert (caught.value.room, caught.value.max_length) == (0, 2)
    assert core.pop(0, 2) == [b"a", b"b"]
    assert push(core, 0, b"d") == 1
    assert core.pop(0, 9) == [b"c", b"d"]


def test_the_capacity_that_was_stored_stands_and_that_is_told() -> None:
    records = CapacityRecords(max_elements=5)

    core = CapacityCore(records=records, max_elements=7)

    assert core.statistics(0).max_elements == 5
    assert core.notices == [("capacity_kept", {"max_elements": 5, "configured": 7})]


def test_nothing_is_told_of_a_capacity_that_is_the_stored_one() -> None:
    assert CapacityCore(records=CapacityRecords(max_elements=5), max_elements=5).notices == []
    assert CapacityCore(max_elements=5).statistics(0).max_elements == 5


# -- an end, and pauses ---------------------------------------------------------------------------


def test_a_closed_queue_hands_out_what_it_has_and_takes_nothing_in() -> None:
    core = CapacityCore()
    push(core, 0, b"a")
    core.close(0)

    with pytest.raises(QueueClosedError):
        push(core, 0, b"b")
    with pytest.raises(QueueClosedError):
        core.wait_push(0, [b"b"], [1])
    assert core.pop(0, 9) == [b"a"]
    with pytest.raises(QueueClosedError):
        core.pop(0)


def test_nobody_waits_for_the_end_of_a_pause_of_a_queue_that_is_over() -> None:
    core = CapacityCore()
    core.close(0)
    core.pause(0)

    with pytest.raises(QueueClosedError):
        core.pop(0)


def test_a_paused_queue_hands_out_nothing_until_that_instant() -> None:
    core = CapacityCore()
    push(core, 0, b"a")
    core.pause(5, 10)

    assert core.pop(14) == []
    assert core.statistics(14).paused
    assert not core.statistics(15).paused
    assert core.pop(15) == [b"a"]


def test_a_pause_without_an_end_lasts_until_it_is_resumed() -> None:
    core = CapacityCore()
    push(core, 0, b"a")
    core.pause(0)
    assert core.records.paused_until == FOR_EVER
    assert core.pop(10**18) == []

    core.resume(10**18)

    assert core.pop(10**18) == [b"a"]


def test_a_pause_wakes_those_who_wait_once() -> None:
    core = CapacityCore()
    core.pause(0, 5)

    assert core.next_deadline(waiting=False) is None
    assert core.next_deadline(waiting=True) == 5
    assert core.pop(5) == []
    assert core.next_deadline(waiting=True) is None


def test_a_pause_without_an_end_wakes_nobody() -> None:
    core = CapacityCore()
    core.pause(0)

    assert core.next_deadline(waiting=True) is None


# -- numbers --------------------------------------------------------------------------------------


def test_the_payload_is_that_of_the_items_that_are_left() -> None:
    core = CapacityCore()
    push(core, 0, b"1", b"22", b"333")
    push(core, 1, b"4444")

    sizes = []
    while core.length(1):
        sizes.append((core.payload_size(1), core.disk_size(1)))
        core.pop(1)

    assert sizes == [(10, 10), (9, 10), (7, 10), (4, 4)]
    assert (core.payload_size(1), core.disk_size(1)) == (0, 0)


def test_its_statistics() -> None:
    core = CapacityCore(max_elements=9)
    push(core, 0, b"1", b"22", b"333", b"4444")
    core.pop(0)
    core.clear(0)
    push(core, 0, b"1", b"22")
    core.close(0)
    core.pause(0)

    numbers = core.statistics(0)

    assert (numbers.length, numbers.max_elements, numbers.payload_size) == (2, 9, 3)
    assert (numbers.pushed, numbers.popped, numbers.cleared) == (6, 1, 3)
    assert (numbers.closed, numbers.paused, numbers.set_aside) == (True, True, 0)
    assert (numbers.at_hand, numbers.in_hand, numbers.through) == (2, 0, 1)
    assert not numbers.is_quiet


def test_clear_empties_it_and_its_numbers_go_on() -> None:
    core = CapacityCore(max_elements=3)
    push(core, 0, b"a", b"b", b"c")
    core.pop(0)

    assert core.clear(0) == 2
    assert core.clear(0) == 0

    assert (core.length(0), core.payload_size(0), core.disk_size(0)) == (0, 0, 0)
    assert push(core, 0, b"d", b"e", b"f") == 3
    assert core.pop(0, 9) == [b"d", b"e", b"f"]
    assert core.statistics(0).is_quiet


def test_what_is_cleared_is_let_go_of_by_slices() -> None:
    core = CapacityCore()
    for now in range(2 * SLICE):
        push(core, now, b"a")
    messages = core.records.messages
    core.clear(0)

    assert core.next_deadline(waiting=False) == 0
    assert not core.advance(0)
    steps = 2
    while not core.advance(0):
        steps += 1
    assert steps > 3
    assert messages == {}
    assert core.next_deadline(waiting=False) is None


def test_the_indexes_are_rebuilt_by_slices() -> None:
    core = CapacityCore()
    for now in range(2 * SLICE + 1):
        push(core, now, b"a")
    again = CapacityCore(records=core.records, ready=False)

    assert sum(1 for _ in again.rebuild()) == 3
    assert again.pop(0, 10**4) == [b"a"] * (2 * SLICE + 1)


# -- commits that fail, and processes that end ----------------------------------------------------


def test_what_was_popped_comes_back_if_that_cannot_be_written() -> None:
    store = capacity_store()
    push(store.core, 0, b"a", b"b", b"c")
    core = store.turn(0)
    core.pop(0, 2)
    push(core, 0, b"d")

    core = store.fail(0)

    assert core.payload_size(0) == 3
    assert core.pop(0, 9) == [b"a", b"b", b"c"]
    assert core.statistics(0).popped == 3


def test_a_process_goes_on_in_the_middle_of_a_record() -> None:
    store = capacity_store(max_elements=4)
    push(store.core, 0, b"1", b"22", b"333")
    store.core.pop(0)
    store.turn(0)
    store.core.pop(0)
    store.turn(0)

    core = store.end_process()

    assert (core.length(0), core.payload_size(0), core.disk_size(0)) == (1, 3, 6)
    with pytest.raises(QueueFullError):
        push(core, 0, *[b"d"] * 4)
    assert push(core, 0, b"d") == 1
    assert core.pop(0, 9) == [b"333", b"d"]


def test_what_outlives_the_process_is_the_capacity_and_a_pause_but_not_the_end() -> None:
    store = capacity_store(max_elements=4)
    push(store.core, 0, b"a")
    store.core.resize(0, 2)
    store.core.pause(0, 50)
    store.core.close(0)
    store.turn(0)

    core = store.end_process()

    numbers = core.statistics(49)
    assert (numbers.max_elements, numbers.paused, numbers.closed) == (2, True, False)
    assert core.statistics(50).pushed == 0
    assert core.pop(50) == [b"a"]


def test_clear_is_one_note_for_the_store_whatever_was_there() -> None:
    changed = Changed()
    core = CapacityCore(changed=changed)
    for now in range(100):
        push(core, now, b"a")
    changed.written()
    push(core, 100, b"b")

    core.clear(100)

    assert changed.cleared
    assert not changed
    push(core, 100, b"c")
    assert changed == {102}


def test_a_trash_that_is_empty_is_no_deadline() -> None:
    core = CapacityCore()

    assert core.clear(0) == 0
    assert core.next_deadline(waiting=True) is None
    assert not Trash()


def test_it_has_no_errands() -> None:
    core = CapacityCore()

    assert not core.new_errands()
    assert (core.one_taker, core.independent, core.parting) == (False, False, None)
