"""The batch queue's core when what it did could not be written."""

from __future__ import annotations

import pytest

from queueactors.cores import Changed
from queueactors.cores.batch import (
    Appending,
    Batch,
    BatchCore,
    BatchRecords,
    Merging,
)

from .kit_batch import (
    claim,
    contents,
    flushed,
    stored,
)


class Store:
    """Keeps what a core has written, and reads it again."""

    def __init__(self, **options: object) -> None:
        self.changed = Changed()
        self.options = options
        self.written: dict[int, list[object]] = {}
        self.records = BatchRecords(Appending)
        self.head = self.records.head()
        self.core = self.new_core()
        self.begin()

    def new_core(self) -> BatchCore:
        return BatchCore(records=self.records, changed=self.changed, **self.options)  # type: ignore[arg-type]

    def begin(self) -> None:
        self.snapshot = self.records.snapshot()

    def write(self) -> None:
        messages = self.records.messages
        if self.changed.cleared:
            self.written.clear()
        for each in self.changed:
            self.written.pop(each, None)
            if each in messages:
                batch = messages[each]
                self.written[each] = [getattr(batch, name) for name in batch.__struct_fields__]
        self.head = self.records.head()
        self.changed.written()

    def fail(self, *, written: bool = False) -> BatchCore:
        """Let the commit fail, or its answer be lost."""
        if written:
            self.write()
        self.changed.written()
        self.records = BatchRecords(Appending, **self.head)  # type: ignore[arg-type]
        self.records.messages.update(
            (number, Batch(*facts))  # type: ignore[arg-type]
            for number, facts in sorted(self.written.items())
        )
        self.records.resume(self.snapshot)
        self.core = self.new_core()
        self.records.resume(self.snapshot)
        return self.core


def test_what_was_pushed_counts_though_the_commit_fails() -> None:
    store = Store(flush_size=2)
    store.core.push(0, ["a", "b", "c"])
    store.core.push(0, ["d", "e"])

    core = store.fail()

    assert contents(core) == [["a", "b"], ["c", "d"]]
    assert list(store.records.intake.buffer) == ["e"]
    assert store.changed == {1, 2}
    assert core.push(0, ["f"]) == 6


def test_what_was_flushed_between_two_commits_counts_though_the_second_fails() -> None:
    store = Store(flush_size=0, flush_timeout=5)
    store.core.push(0, ["a"])
    store.write()
    store.core.advance(5)  # the loop does this before it begins
    store.begin()
    store.core.pause(5)

    for _ in range(3):
        core = store.fail()
        assert contents(core, 5) == [["a"]]
        assert store.changed == {1}
        store.begin()

    store.write()
    store.begin()
    claim(store.core, 6)
    store.write()
    store.begin()
    assert store.records.intake.unwritten == {}


def test_what_was_stored_past_the_buffer_has_not_happened_if_the_commit_fails() -> None:
    store = Store(flush_size=0)
    store.core.push_whole(0, ["whole"])
    store.core.push(0, ["a"])
    store.core.flush(0)

    core = store.fail()

    assert contents(core) == [["a"]]
    numbers = core.statistics(0)
    assert (numbers.pushed, numbers.items) == (1, 1)
    assert flushed(core) == {"manual": 1}


def test_what_was_done_has_not_happened_if_the_commit_fails() -> None:
    store = Store(max_claims=1)
    stored(store.core, 0, "a", "b")
    store.write()
    store.begin()
    claimed = claim(store.core, 0)
    store.core.failed(0, claim(store.core, 0).key, "bad")
    store.core.claim(0, 1, (claimed.key, 1))
    store.core.close(0)

    core = store.fail()

    numbers = core.statistics(0)
    assert (numbers.ready, numbers.processed, numbers.process_errors) == (2, 0, 0)
    assert (numbers.exhausted, numbers.closed) == (0, False)


def test_a_clear_that_is_undone_gives_everything_back_and_keeps_what_came_after() -> None:
    store = Store(flush_size=0, flush_timeout=9)
    stored(store.core, 0, "stored")
    store.write()
    store.begin()
    store.core.push(1, ["flushed"])
    store.core.flush(1)
    store.core.push(2, ["before"])
    store.core.clear(3)
    store.core.push(4, ["between"])
    store.core.clear(5)
    store.core.push(6, ["flushed later"])
    store.core.flush(6)
    store.core.push(7, ["after"])

    core = store.fail()

    assert contents(core) == [["stored"], ["flushed"], ["flushed later"]]
    assert list(store.records.intake.buffer) == ["before", "between", "after"]
    assert core.next_deadline(waiting=False) == 11
    assert core.statistics(7).pushed == 6


@pytest.mark.parametrize("flush", ["by hand", "in time", "as it is waited for"])
def test_what_was_pushed_after_a_clear_that_is_undone_is_flushed(flush: str) -> None:
    store = Store(flush_size=0, flush_timeout=9 if flush == "in time" else 0)
    stored(store.core, 0, "stored")
    store.write()
    store.begin()
    store.core.clear(0)
    number = store.core.push(0, ["after"])
    if flush == "as it is waited for":
        store.core.stored(0, number)

    core = store.fail()

    if flush == "by hand":
        assert core.flush(0) == 1
    core.advance(9)
    assert contents(core) == [["stored"], ["after"]]


def test_a_queue_that_was_closed_before_is_so_when_a_commit_has_failed() -> None:
    store = Store()
    store.core.close(0)
    store.write()
    store.begin()
    store.core.shut(0)

    core = store.fail()

    assert core.records.closed == "closing"


def test_what_goes_with_nothing_any_more_when_a_clear_is_undone_is_lost() -> None:
    def refuse(_there: object, item: object) -> object:
        raise ValueError(item)

    records = BatchRecords(lambda: Merging(lambda item: item, refuse))
    core = BatchCore(flush_size=0, records=records)
    before = records.snapshot()
    core.push(0, ["a"])
    core.clear(0)
    core.push(0, ["a", "b"])

    records.resume(before)

    assert list(records.intake.buffer) == ["a", "b"]
    assert records.intake.lost == 1


def test_what_was_processed_does_not_come_back_if_only_the_answer_was_lost() -> None:
    store = Store(flush_size=1)
    store.core.push(0, ["a", "b"])
    key = claim(store.core, 0).key
    store.core.claim(0, 1, (key, 1))

    core = store.fail(written=True)

    assert [batch.id for batch in core.peek(0, "claimed", 9)] == [2]
    assert core.statistics(0).batches == 1
    assert store.records.next_id == 3


def test_numbers_of_batches_that_were_not_written_are_not_given_twice() -> None:
    store = Store(flush_size=1)
    store.core.push(0, ["a"])
    store.core.advance(0)
    core = store.fail()
    core.push(0, ["b"])

    assert contents(core) == [["a"], ["b"]]
    assert [batch.id for batch in core.peek(0, "ready", 9)] == [1, 2]


def test_whoever_waited_for_a_flush_that_is_undone_waits_no_longer_than_for_the_next() -> None:
    store = Store(flush_size=0)
    number = store.core.push(0, ["a"])
    assert store.core.stored(0, number) is None

    core = store.fail()
    core.advance(0)

    assert core.stored(0, number) is True
    assert store.changed == {1}


def test_a_queue_without_a_store_remembers_nothing_to_write() -> None:
    core = BatchCore()
    stored(core, 0, "a", "b")

    assert core.records.intake.unwritten == {}


def test_the_next_process_finds_the_queue_open_and_its_head() -> None:
    core = BatchCore()
    stored(core, 0, "a")
    key = claim(core, 9).key
    core.pause(9, 5)
    core.close(9)

    assert core.records.head() == {"next_id": 2, "last_key": key, "paused_until": 14}
