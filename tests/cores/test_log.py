"""The log queue's core: what its docstrings say, and what its model had wrong."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from queueactors import PositionError, QueueClosedError, StoreError
from queueactors.cores import Changed, _chunks
from queueactors.cores import log as log_module
from queueactors.cores.log import LATE, SLICE, LogCore, Read

from .kit_chunks import S, add, log_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


def ten(core: LogCore, now: int = 0) -> None:
    """Add ten items one by one: the digits."""
    for digit in range(10):
        add(core, now + digit, b"%d" % digit)


# -- labels ---------------------------------------------------------------------------------------


def test_each_label_reads_all_at_its_own_pace() -> None:
    core = LogCore()
    ten(core)

    assert core.next(9, "a") == ([b"0"], 0)
    assert core.next(9, "b", "oldest", 9) == ([b"%d" % each for each in range(9)], 0)
    assert core.next(9, "a", "oldest", 2) == ([b"1", b"2"], 0)
    assert core.next(9, "b", "oldest", 9) == ([b"9"], 0)
    assert core.next(9, "b", "oldest", 9) == ([], 0)
    assert core.length(9) == 10


def test_a_new_label_begins_at_the_oldest_item_or_at_the_newest() -> None:
    core = LogCore()
    ten(core)

    assert core.next(9, "old", "oldest") == ([b"0"], 0)
    assert core.next(9, "new", "newest", 9) == ([b"9"], 0)


def test_in_an_empty_log_a_new_label_gets_the_next_to_come() -> None:
    core = LogCore(ttl=5)
    ten(core)
    assert core.length(20) == 0

    assert core.next(20, "old", "oldest") == ([], 0)
    assert core.next(20, "new", "newest") == ([], 0)

    add(core, 20, b"a", b"b")
    assert core.next(20, "old", "oldest", 9) == ([b"a", b"b"], 0)
    assert core.next(20, "new", "newest", 9) == ([b"a", b"b"], 0)


def test_the_newest_item_is_none_that_has_expired() -> None:
    core = LogCore(ttl=5)
    add(core, 0, b"a")

    assert core.next(4, "alive", "newest") == ([b"a"], 0)
    assert core.next(5, "gone", "newest") == ([], 0)


def test_where_a_known_label_begins_is_not_looked_at() -> None:
    core = LogCore()
    ten(core)
    core.next(9, "a")

    assert core.next(9, "a", "newest") == ([b"1"], 0)


def test_a_label_is_made_also_if_there_is_nothing_to_read() -> None:
    for method in ("next", "read", "wait_next", "wait_read"):
        core = LogCore()
        getattr(core, method)(0, "a")
        assert core.labels(0) == ["a"]


def test_labels_come_in_the_order_in_which_they_were_made() -> None:
    core = LogCore()
    for name in "bca":
        core.next(0, name)

    assert core.labels(0) == ["b", "c", "a"]
    assert LogCore(records=core.records).labels(0) == ["b", "c", "a"]


def test_a_label_may_have_any_name() -> None:
    core = LogCore()
    ten(core)
    for name in ("", "a b", "é", "x" * 10**5):
        core.next(9, name)
    again = LogCore(records=core.records)

    assert [again.next(9, name) for name in again.labels(9)] == [([b"1"], 0)] * 4


def test_a_removed_label_begins_anew() -> None:
    core = LogCore()
    ten(core)
    core.next(9, "a", "oldest", 3)

    assert core.remove_label(9, "a")
    assert not core.remove_label(9, "a")

    assert core.labels(9) == []
    assert core.next(9, "a") == ([b"0"], 0)


def test_labels_never_expire() -> None:
    """Where this comes from, they did, and what had been read came again."""
    store = log_store(ttl=5 * S)
    add(store.core, 0, b"a", b"b")
    store.core.next(0, "a")
    store.turn(0)

    for year in range(1, 7):
        now = year * 365 * 86400 * S
        store.turn(now)
        store.end_process()
        store.begin(now)
        assert store.core.labels(now) == ["a"]
        add(store.core, now, b"c")
        assert store.core.next(now, "a") == ([b"c"], 1 if year == 1 else 0)


def test_many_labels_are_as_quick_as_one() -> None:
    core = LogCore()
    add(core, 0, *[b"a"] * 1000)
    core.next(0, "a")
    alone = statements(lambda: core.next(0, "a"))
    for number in range(10_000):
        core.next(0, str(number))

    assert statements(lambda: core.next(0, "a")) == alone


# -- committed reads ------------------------------------------------------------------------------


def test_what_was_read_comes_again_until_it_is_committed() -> None:
    core = LogCore()
    ten(core)

    read = core.read(9, "a", "oldest", 3)

    assert read == Read([b"0", b"1", b"2"], 0, 3)
    assert core.read(9, "a", "oldest", 2) == Read([b"0", b"1"], 0, 2)
    assert core.commit(9, "a", read.position) == 3
    assert core.read(9, "a", "oldest", 1) == Read([b"3"], 0, 4)


def test_a_part_of_what_was_read_can_be_committed() -> None:
    core = LogCore()
    ten(core)
    core.read(9, "a", "oldest", 5)

    assert core.commit(9, "a", 2) == 2

    assert core.next(9, "a") == ([b"2"], 0)


@pytest.mark.parametrize(("position", "good"), [(3, False), (4, True), (10, True), (11, False)])
def test_a_position_is_from_where_the_label_stands_up_to_the_end(
    position: int,
    good: bool,  # noqa: FBT001
) -> None:
    core = LogCore()
    ten(core)
    core.next(9, "a", "oldest", 4)

    if good:
        assert core.commit(9, "a", position) == position - 4
        return
    with pytest.raises(PositionError) as caught:
        core.commit(9, "a", position)
    error = caught.value
    assert (error.label, error.position, error.least, error.most) == ("a", position, 4, 10)
    assert core.next(9, "a") == ([b"4"], 0)


def test_a_label_that_is_not_known_cannot_be_committed() -> None:
    core = LogCore()
    ten(core)

    with pytest.raises(PositionError) as caught:
        core.commit(9, "a", 0)

    assert caught.value.least is None
    assert core.labels(9) == []


def test_what_expired_before_a_label_came_is_told_until_it_is_committed() -> None:
    core = LogCore(ttl=5)
    ten(core)
    core.next(0, "a")

    read = core.read(8, "a", "oldest", 2)

    assert read == Read([b"4", b"5"], 3, 6)
    assert core.read(8, "a", "oldest", 2) == read
    core.commit(8, "a", read.position)
    assert core.read(8, "a", "oldest", 2) == Read([b"6", b"7"], 0, 8)


# -- expiry ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ttl", [1, 5, 7 * S, 10**15])
def test_an_item_is_there_until_the_very_nanosecond(ttl: int) -> None:
    core = LogCore(ttl=ttl)
    add(core, 3, b"a")
    core.next(3, "new", "newest", 1)

    assert core.read(3 + ttl - 1, "a") == Read([b"a"], 0, 1)
    assert core.length(3 + ttl - 1) == 1
    assert core.read(3 + ttl, "a") == Read([], 1, 1)
    assert core.length(3 + ttl) == 0


@pytest.mark.parametrize("advance", [False, True])
@pytest.mark.parametrize("size", [1, 3, 10])
def test_expiry_at_every_position_with_a_label_at_every_other(size: int, advance: bool) -> None:  # noqa: FBT001
    """Where this comes from, live items were skipped after an expiry."""
    for expired in range(11):
        core = LogCore(ttl=100)
        for first in range(0, 10, size):
            add(core, first, *[b"%d" % each for each in range(first, min(first + size, 10))])
        for at in range(11):
            core.read(9, str(at))
            core.commit(9, str(at), at)
        now = 100 + expired - 1
        begin = min(-(-expired // size) * size, 10)
        if advance:
            while not core.advance(now):
                pass
        left = [b"%d" % each for each in range(begin, 10)]

        assert core.length(now) == len(left)
        assert core.next(now, "fresh", "oldest", 99) == (left, 0)
        for at in range(11):
            found, lost = core.next(now, str(at), "oldest", 99)
            assert found == left[max(at - begin, 0) :]
            assert lost == max(begin - at, 0)
            assert core.next(now, str(at), "oldest", 99) == ([], 0)


def test_a_reader_loses_what_expired_and_nothing_else() -> None:
    """That of the specification: 100 old items, 800 new ones, and a reader at the tenth."""
    core = LogCore(ttl=25 * S)
    for number in range(100):
        add(core, 0, b"old %d" % number)
    core.next(0, "behind", "oldest", 10)
    for number in range(800):
        add(core, 20 * S, b"new %d" % number)
    now = 26 * S
    core.advance(now)

    assert core.next(now, "fresh") == ([b"new 0"], 0)
    found, lost = core.next(now, "behind", "oldest", 10**12)
    assert (len(found), found[0], lost) == (800, b"new 0", 90)


def test_what_expires_while_it_is_read_is_counted_once() -> None:
    core = LogCore(ttl=5)
    ten(core)
    core.next(0, "a")

    lost = [core.next(now, "a")[1] for now in (0, 7, 7, 9, 100, 100)]

    assert lost == [0, 1, 0, 0, 4, 0]


def test_without_a_time_to_live_nothing_expires() -> None:
    core = LogCore()
    add(core, 0, b"a")
    core.advance(10**19)

    assert core.next_deadline(waiting=True) is None
    assert core.next(10**19, "a") == ([b"a"], 0)


@pytest.mark.parametrize(("ttl", "late"), [(8, 1), (80 * S, LATE), (8 * LATE - 8, LATE - 1)])
def test_storage_is_given_back_a_little_later(ttl: int, late: int) -> None:
    changed = Changed()
    core = LogCore(ttl=ttl, changed=changed)
    add(core, 0, b"abc")
    changed.written()

    assert core.next_deadline(waiting=False) == ttl + late
    core.advance(ttl + late - 1, 1000)
    assert (core.length(ttl + late - 1), core.disk_size(ttl + late - 1)) == (0, 3)
    assert not changed

    assert core.advance(ttl + late, 1000)
    assert core.disk_size(ttl + late) == 0
    assert changed == {1}
    assert core.next_deadline(waiting=False) is None


def test_with_what_is_late_all_goes_that_has_expired() -> None:
    core = LogCore(ttl=80)
    for now in range(20):
        add(core, now, b"a")

    core.advance(90, 1000)

    assert core.disk_size(90) == core.length(90) == 9


def test_storage_is_given_back_by_slices() -> None:
    core = LogCore(ttl=8)
    for now in range(10):
        add(core, now, b"a", b"b")

    steps = 1
    while not core.advance(50, 3):
        steps += 1
        assert core.length(50) == 0
        assert core.statistics(50).expired == 20

    assert steps == 4
    assert core.statistics(50).expired == 20


def statements(does: Callable[[], object]) -> int:
    """Return how many lines of the cores that executes."""
    files = {_chunks.__file__, log_module.__file__}
    count = 0

    def trace(frame: FrameType, event: str, _arg: object) -> object:
        nonlocal count
        if frame.f_code.co_filename not in files:
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)  # type: ignore[arg-type] # its own protocol
    try:
        does()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.slow
def test_giving_back_takes_as_long_as_what_expired_is_much() -> None:
    def cost(expired: int, alive: int) -> int:
        core = LogCore(ttl=100, changed=Changed())
        for now in range(expired):
            add(core, 0, b"a" * (_chunks.SIZE // 2 + 1))
            assert now >= 0
        for now in range(alive):
            add(core, 1000 + now, b"a")
        return statements(lambda: core.advance(1000))

    assert cost(100, 20_000) < 1.1 * cost(100, 1000)
    assert 8 < cost(1000, 20_000) / cost(100, 20_000) < 11


def test_a_read_looks_for_what_expired_without_going_through_it() -> None:
    core = LogCore(ttl=100)
    for now in range(5000):
        add(core, now, b"a")

    assert statements(lambda: core.next(4000, "a")) < 200


# -- waiting, an end, and pauses ------------------------------------------------------------------


def test_whoever_waits_is_told_none_until_there_is_an_item() -> None:
    core = LogCore()

    assert core.wait_next(0, "a") is None
    assert core.wait_read(0, "b") is None
    add(core, 1, b"x")

    assert core.wait_next(1, "a") == ([b"x"], 0)
    assert core.wait_read(1, "b") == Read([b"x"], 0, 1)
    assert core.wait_next(1, "b") == ([b"x"], 0)
    assert core.wait_next(1, "b") is None


def test_whoever_waits_is_told_what_it_lost_with_the_next_item() -> None:
    core = LogCore(ttl=5)
    core.wait_next(0, "a")
    add(core, 0, b"x")

    assert core.wait_next(5, "a") is None
    add(core, 5, b"y")

    assert core.wait_next(5, "a") == ([b"y"], 1)


@pytest.mark.parametrize("method", ["next", "wait_next", "read", "wait_read"])
def test_an_item_that_is_handed_out_counts_once(method: str) -> None:
    core = LogCore()
    ten(core)

    getattr(core, method)(9, "a", "oldest", 4)

    assert core.statistics(9).read == 4


def test_a_closed_log_can_be_read_to_its_end() -> None:
    core = LogCore()
    core.next(0, "end")
    add(core, 0, b"a", b"b")
    core.next(0, "end", "oldest", 2)
    core.close(0)

    with pytest.raises(QueueClosedError):
        add(core, 0, b"c")
    assert core.next(0, "a") == ([b"a"], 0)
    assert core.wait_next(0, "a") == ([b"b"], 0)
    for wait in (core.wait_next, core.wait_read):
        with pytest.raises(QueueClosedError):
            wait(0, "end")
    assert core.next(0, "end") == ([], 0)
    assert core.read(0, "end") == Read([], 0, 2)


def test_a_closed_log_is_over_once_its_rest_has_expired() -> None:
    core = LogCore(ttl=5)
    core.wait_next(0, "a")
    add(core, 0, b"x")
    core.close(0)

    for wait in (core.wait_next, core.wait_read):
        assert core.read(4, "b").items == [b"x"]
        with pytest.raises(QueueClosedError):
            wait(5, "a")
    assert core.next(5, "a") == ([], 1)


def test_a_wait_that_is_refused_makes_no_label() -> None:
    core = LogCore()
    core.close(0)

    for wait in (core.wait_next, core.wait_read):
        with pytest.raises(QueueClosedError):
            wait(0, "a")

    assert core.labels(0) == []
    assert core.records.next_id == 1


def test_a_paused_log_hands_out_nothing_until_that_instant() -> None:
    core = LogCore()
    add(core, 0, b"a")
    core.pause(5, 10)

    assert core.next(14, "a") == ([], 0)
    assert core.read(14, "b", "newest") == Read([], 0, 0)
    assert core.wait_next(14, "a") is None
    assert core.statistics(14).paused
    assert core.next(15, "a") == ([b"a"], 0)
    assert core.next(15, "b") == ([b"a"], 0)


def test_what_expires_during_a_pause_is_told_after_it() -> None:
    core = LogCore(ttl=5)
    ten(core)
    core.next(0, "a")
    core.pause(0)

    assert core.next(7, "a") == ([], 0)
    core.resume(7)

    assert core.next(7, "a") == ([b"3"], 2)


def test_a_closed_log_that_is_paused_lets_wait_for_what_is_left() -> None:
    core = LogCore()
    add(core, 0, b"a")
    core.close(0)
    core.pause(0, 5)

    assert core.wait_next(4, "a") is None
    assert core.wait_next(5, "a") == ([b"a"], 0)
    core.pause(5)
    with pytest.raises(QueueClosedError):
        core.wait_next(5, "a")


def test_a_pause_wakes_those_who_wait_once() -> None:
    core = LogCore()
    core.pause(0, 5)
    core.wait_next(0, "a")

    assert core.next_deadline(waiting=False) is None
    assert core.next_deadline(waiting=True) == 5
    assert core.wait_next(5, "a") is None
    assert core.next_deadline(waiting=True) is None


def test_a_pause_without_an_end_wakes_nobody() -> None:
    core = LogCore()
    core.pause(0)

    assert core.next_deadline(waiting=True) is None


def test_what_comes_first_wakes_it() -> None:
    core = LogCore(ttl=8)
    add(core, 0, b"a")
    core.pause(0, 5)
    assert core.next_deadline(waiting=True) == 5
    core.pause(0, 50)
    assert core.next_deadline(waiting=True) == 9


# -- clear ----------------------------------------------------------------------------------------


def test_clear_leaves_labels_and_tells_them_what_they_lost() -> None:
    core = LogCore()
    ten(core)
    core.next(9, "a", "oldest", 4)
    core.next(9, "b", "oldest", 10)

    assert core.clear(9) == 10
    assert core.clear(9) == 0

    assert core.labels(9) == ["a", "b"]
    assert (core.length(9), core.disk_size(9)) == (0, 0)
    assert core.statistics(9).behind == 0
    add(core, 9, b"new")
    assert core.next(9, "a") == ([b"new"], 6)
    assert core.next(9, "b") == ([b"new"], 0)
    assert core.next(9, "c") == ([b"new"], 0)


def test_what_was_read_before_a_clear_can_be_committed() -> None:
    core = LogCore()
    ten(core)
    read = core.read(9, "a", "oldest", 4)

    core.clear(9)

    assert core.commit(9, "a", read.position) == 4
    assert core.wait_next(9, "a") is None
    add(core, 9, b"new")
    assert core.wait_next(9, "a") == ([b"new"], 6)


@pytest.mark.parametrize("now", [101, 200])  # its storage is still there, or not
def test_clear_throws_away_only_what_has_not_expired(now: int) -> None:
    core = LogCore(ttl=100)
    add(core, 0, b"a", b"b")
    core.next(0, "a")
    add(core, 100, b"c")
    core.advance(now, 1000)
    alive = now == 101

    assert core.clear(now) == alive

    numbers = core.statistics(now)
    assert (numbers.expired, numbers.cleared) == (3 - alive, alive)
    assert core.next(now, "a") == ([], 2)


def test_what_is_cleared_is_let_go_of_by_slices() -> None:
    core = LogCore()
    for now in range(2 * SLICE):
        add(core, now, b"a")
    messages = core.records.messages
    core.clear(2 * SLICE)

    assert core.next_deadline(waiting=False) == 0
    assert not core.advance(0)
    while not core.advance(0):
        pass
    assert messages == {}
    assert core.next_deadline(waiting=False) is None


def test_clear_notes_all_that_went_and_no_label() -> None:
    store = log_store()
    core = store.core
    core.next(0, "behind")
    core.next(0, "at the end")
    for now in range(3):
        add(core, now, b"a")
    core.next(2, "at the end", "oldest", 3)
    store.turn(2)

    core.clear(2)

    assert store.changed == {3, 4, 5}
    store.turn(2)
    assert sorted(store.rows) == [1, 2]


# -- numbers --------------------------------------------------------------------------------------


def test_its_statistics() -> None:
    core = LogCore(ttl=5)
    ten(core)
    core.next(9, "a", "oldest", 3)
    core.read(9, "b", "oldest", 2)
    core.pause(9)
    core.close(9)

    numbers = core.statistics(9)

    assert (numbers.length, numbers.labels, numbers.behind, numbers.disk_size) == (5, 2, 5, 10)
    assert (numbers.added, numbers.read, numbers.expired, numbers.cleared) == (10, 5, 5, 0)
    assert (numbers.closed, numbers.paused, numbers.set_aside) == (True, True, 0)
    assert (numbers.at_hand, numbers.in_hand, numbers.through) == (5, 0, 5)
    assert not numbers.is_quiet


def test_nobody_is_behind_without_a_label() -> None:
    core = LogCore()
    ten(core)

    numbers = core.statistics(9)

    assert (numbers.behind, numbers.at_hand, numbers.is_quiet) == (None, 0, True)


def test_what_expired_is_not_behind() -> None:
    core = LogCore(ttl=5)
    ten(core)
    core.next(0, "a")

    assert core.statistics(4).behind == 9
    assert core.statistics(9).behind == 5
    assert core.statistics(99).behind == 0
    assert core.statistics(99).is_quiet


def test_its_length_is_true_whoever_has_looked() -> None:
    """Where this comes from, it was that of the last operation, and counted what was gone."""
    core = LogCore(ttl=10)
    ten(core)

    assert [core.length(now) for now in range(9, 21)] == [10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0]


# -- commits that fail, and processes that end ----------------------------------------------------


def test_a_label_comes_back_if_its_move_cannot_be_written() -> None:
    store = log_store(ttl=100)
    ten(store.core)
    store.core.next(9, "a", "oldest", 2)
    core = store.turn(9)
    core.next(9, "a", "oldest", 5)
    core.next(9, "b")
    core.remove_label(9, "c")

    core = store.fail(9)

    assert core.labels(9) == ["a"]
    assert core.next(9, "a") == ([b"2"], 0)
    assert core.statistics(9).read == 3


def test_what_expired_counts_once_though_its_end_cannot_be_written() -> None:
    store = log_store(ttl=8)
    ten(store.core)
    store.turn(9)
    store.begin(30)

    core = store.fail(30)

    assert core.statistics(30).expired == 10
    assert core.disk_size(30) == 0


def test_all_labels_and_items_outlive_the_process_but_not_the_end() -> None:
    store = log_store(ttl=100)
    ten(store.core)
    store.core.next(9, "a", "oldest", 2)
    store.core.pause(9, 50)
    store.core.close(9)
    store.turn(9)

    core = store.end_process()

    numbers = core.statistics(9)
    assert (numbers.length, numbers.closed, numbers.paused) == (10, False, True)
    assert core.next(59, "a", "oldest", 99) == ([b"%d" % each for each in range(2, 10)], 0)
    assert add(core, 59, b"more") == 1
    assert core.next(59, "a") == ([b"more"], 0)


def test_only_the_newest_items_stay_in_memory_once_they_are_written() -> None:
    store = log_store()
    item = bytes(_chunks.SIZE)
    for now in range(_chunks.KEPT // _chunks.SIZE + 3):
        add(store.core, now, item)
        store.turn(now)

    held = sum(chunk.size for chunk in store.core.records.messages.values() if chunk.value)

    assert held == _chunks.KEPT


@pytest.mark.parametrize("method", ["next", "wait_next", "read", "wait_read"])
def test_if_the_store_fails_a_label_stays_or_is_not_made(method: str) -> None:
    store = log_store()
    ten(store.core)
    store.core.next(9, "a", "oldest", 4)
    store.write()
    core = store.end_process()
    before = core.statistics(9)
    store.broken = True

    for label in ("a", "new"):
        with pytest.raises(StoreError):
            getattr(core, method)(9, label)

    assert core.labels(9) == ["a"]
    assert core.statistics(9) == before
    assert not store.changed
    store.broken = False
    assert core.next(9, "a") == ([b"4"], 0)


def test_a_label_that_does_not_move_is_not_written() -> None:
    changed = Changed()
    core = LogCore(changed=changed)
    core.next(0, "a")
    assert changed == {1}
    changed.written()

    core.next(0, "a")
    core.read(0, "a")
    core.commit(0, "a", 0)

    assert not changed


def test_the_indexes_are_rebuilt_by_slices() -> None:
    core = LogCore()
    core.next(0, "a")
    for now in range(2 * SLICE):
        add(core, now, b"a")
    again = LogCore(records=core.records, ready=False)

    assert sum(1 for _ in again.rebuild()) == 3
    assert again.labels(0) == ["a"]
    assert len(again.next(0, "a", "oldest", 10**12)[0]) == 2 * SLICE


def test_it_has_no_errands() -> None:
    core = LogCore()

    assert not core.new_errands()
    assert (core.one_taker, core.independent, core.parting) == (False, True, None)
