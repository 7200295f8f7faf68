"""The batch queue's core: what is flushed when, in which order, and what becomes of it."""

from __future__ import annotations

import weakref
from itertools import pairwise
from typing import TYPE_CHECKING, cast

import pytest

from queueactors._errors import ItemRefusedError, QueueClosedError, QueueFullError
from queueactors.cores import Changed
from queueactors.cores._batch_indexes import SLICE
from queueactors.cores.batch import (
    NEVER,
    Appending,
    Batch,
    BatchCore,
    BatchRecords,
    Buffer,
    Claimed,
    Merging,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from queueactors.cores.batch import BatchState

ENDED = "the process ended that had it"


def claim(core: BatchCore, now: int, limit: int = 1) -> Claimed:
    """Claim what must be there."""
    claimed = core.claim(now, limit)
    assert claimed is not None
    return claimed


def processed(core: BatchCore, key: int, items: int = 1) -> None:
    """End a claim with success, and claim nothing."""
    core._done(key, items)  # noqa: SLF001 - else it goes with the next claim


def stored(core: BatchCore, now: int, *values: object) -> None:
    """Store each value as a batch."""
    for value in values:
        core.push(now, [value])
        core.flush(now)


def contents(core: BatchCore, now: int = 0) -> list[object]:
    """Return what the batches hold that can be claimed, in order."""
    return [batch.items for batch in core.peek(now, "ready", 1000)]


def drain(core: BatchCore, now: int) -> list[list[object]]:
    """Claim and process all there is; return the values of each claim."""
    seen = []
    while (claimed := core.claim(now)) is not None:
        seen.append([item for value in claimed.values for item in cast("list[object]", value)])
        processed(core, claimed.key)
    return seen


def flushed(core: BatchCore, now: int = 0) -> dict[str, int]:
    """Return how many items were flushed, by what caused it, where there were any."""
    return {cause: count for cause, count in core.statistics(now).flushed.items() if count}


def rebuilt(core: BatchCore, **options: object) -> BatchCore:
    """Return a new core over the same records."""
    return BatchCore(records=core.records, **options)  # type: ignore[arg-type]


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


# -- room ----------------------------------------------------------------------------------------


def test_a_queue_holds_so_many_items_and_no_more() -> None:
    core = BatchCore(flush_size=2, max_length=4)
    core.push(0, ["a", "b", "c"])

    with pytest.raises(QueueFullError) as caught:
        core.push(0, ["d", "e"])

    assert (caught.value.new, caught.value.room, caught.value.max_length) == (2, 1, 4)
    assert core.length(0) == 3
    core.push(0, ["d"])
    with pytest.raises(QueueFullError):
        core.push_whole(0, ["e"])
    assert core.wait_push_whole(0, ["e"]) is None


@pytest.mark.parametrize("state", ["claimed", "retry", "cooling", "buried"])
def test_what_is_not_processed_takes_up_room(state: str) -> None:
    core = BatchCore(max_length=1, max_claims=1 if state == "buried" else None, on_exhausted="bury")
    stored(core, 0, "a")
    key = claim(core, 0).key
    if state != "claimed":
        core.failed(0, key, "bad", 5 if state == "retry" else None, 5)

    with pytest.raises(QueueFullError):
        core.push(0, ["b"])
    core.remove(0, [1])
    core.push(0, ["b"])


def test_what_was_processed_makes_room() -> None:
    core = BatchCore(max_length=1)
    stored(core, 0, "a")
    key = claim(core, 0).key

    core.claim(0, 1, (key, 1))

    assert core.push(0, ["b"]) == 2


def test_others_stand_behind_those_who_wait_for_room() -> None:
    core = BatchCore(flush_size=0, max_length=2)
    core.inserters = [None]

    with pytest.raises(QueueFullError) as caught:
        core.push(0, ["a"])
    with pytest.raises(QueueFullError):
        core.push_whole(0, ["a"])

    assert caught.value.room is None
    assert core.wait_push(0, ["a"]) == 1
    assert core.wait_push_whole(0, ["b"]) == 1


def test_items_wait_together_for_room() -> None:
    core = BatchCore(flush_size=1, max_length=3)
    stored(core, 0, "a", "b")

    assert core.wait_push(0, ["c", "d"]) is None
    assert core.length(0) == 2

    processed(core, claim(core, 0).key)
    assert core.wait_push(0, ["c", "d"]) == 4


def test_items_that_never_fit_do_not_wait() -> None:
    core = BatchCore(max_length=2)

    with pytest.raises(QueueFullError) as caught:
        core.wait_push(0, ["a", "b", "c"])

    assert caught.value.never_fits


@pytest.mark.parametrize("whole", [False, True])
def test_a_buffer_that_fills_the_queue_is_flushed_for_those_who_wait(whole: bool) -> None:  # noqa: FBT001
    """Nothing else would ever make room."""
    core = BatchCore(flush_size=9, max_length=2)
    core.push(0, ["a", "b"])

    waits = core.wait_push_whole(0, ["c"]) if whole else core.wait_push(0, ["c"])

    assert waits is None
    assert core.next_deadline(waiting=False) == 0
    assert claim(core, 0).values == (["a", "b"],)


def test_a_buffer_is_not_flushed_while_others_hold_the_room() -> None:
    core = BatchCore(flush_size=9, max_length=4)
    core.push_whole(0, ["a"])
    core.push_whole(0, ["b"])
    core.push(0, ["c", "d"])

    assert core.wait_push(0, ["e"]) is None
    assert core.wait_push_whole(0, ["e"]) is None

    core.advance(0)
    assert core.statistics(0).buffered == 2


# -- order ---------------------------------------------------------------------------------------


def test_batches_are_claimed_in_the_order_in_which_they_were_flushed() -> None:
    core = BatchCore(flush_size=2)
    core.push(0, list(range(6)))

    assert drain(core, 0) == [[0, 1], [2, 3], [4, 5]]


def test_up_to_so_many_batches_are_claimed_together() -> None:
    core = BatchCore()
    stored(core, 0, "a", "b", "c")

    claimed = claim(core, 7, 2)

    assert claimed == Claimed(7, (1, 2), (["a"], ["b"]), 1, 1)
    assert claim(core, 7, 2) == Claimed(8, (3,), (["c"],), 1, 1)
    assert core.claim(7, 2) is None


def test_what_was_claimed_together_is_tried_again_together() -> None:
    core = BatchCore()
    stored(core, 0, "a", "b")
    core.failed(0, claim(core, 0, 2).key, "bad", 5)
    stored(core, 0, "c")

    assert claim(core, 4, 9).ids == (3,)
    assert core.claim(4, 9) is None
    assert core.next_deadline(waiting=True) == 5

    claimed = claim(core, 5, 1)  # the limit does not tear them apart
    assert (claimed.ids, claimed.attempt, claimed.claims) == ((1, 2), 2, 1)


def test_new_batches_do_not_join_those_that_are_tried_again() -> None:
    core = BatchCore()
    stored(core, 0, "a")
    core.failed(0, claim(core, 0).key, "bad", 5)
    core.advance(5)
    stored(core, 5, "b")

    assert claim(core, 5, 9).ids == (1,)
    assert claim(core, 5, 9).ids == (2,)


def test_those_that_are_tried_again_do_not_join_new_batches() -> None:
    core = BatchCore()
    stored(core, 0, "a", "b")
    core.failed(0, claim(core, 0).key, "bad", 0)

    assert claim(core, 0, 9).ids == (2,)
    assert claim(core, 0, 9).ids == (1,)


def test_what_was_released_comes_behind_all_others_and_alone() -> None:
    core = BatchCore()
    stored(core, 0, "a", "b", "c")
    core.failed(0, claim(core, 0, 2).key, "bad")
    stored(core, 0, "d")

    claims = [claim(core, 0, 9) for _ in range(4)]

    assert [each.ids for each in claims] == [(3,), (1,), (2,), (4,)]
    assert [(each.attempt, each.claims) for each in claims] == [(1, 1), (1, 2), (1, 2), (1, 1)]


def test_what_was_released_rests_for_its_cooldown() -> None:
    core = BatchCore()
    stored(core, 0, "a")
    core.failed(3, claim(core, 3).key, "bad", None, 10)

    assert core.statistics(12).cooling == 1
    assert core.claim(12) is None
    assert core.next_deadline(waiting=True) == 13
    assert claim(core, 13).ids == (1,)


def test_a_wait_that_ended_before_a_flush_comes_before_it() -> None:
    core = BatchCore(flush_size=0, flush_timeout=10)
    stored(core, 0, "a")
    core.failed(0, claim(core, 0).key, "bad", None, 8)
    core.push(0, ["b"])

    core.advance(10)

    assert contents(core, 10) == [["a"], ["b"]]


def test_a_batch_that_always_fails_starves_nobody() -> None:
    core = BatchCore()
    stored(core, 0, "bad")
    seen = []
    for now in range(1, 6):
        stored(core, now, now)
        for _ in range(2):
            claimed = claim(core, now)
            seen.append(claimed.ids[0])
            if claimed.ids == (1,):
                core.failed(now, claimed.key, "bad")
            else:
                processed(core, claimed.key)

    assert seen == [1, 2, 1, 3, 1, 4, 1, 5, 1, 6]


def test_a_stream_of_new_batches_starves_none_that_has_failed() -> None:
    core = BatchCore()
    stored(core, 0, "bad")
    core.failed(0, claim(core, 0).key, "bad", 5)
    seen: list[int] = []
    for now in range(1, 8):
        stored(core, now, now, now)
        claimed = claim(core, now, 2)
        seen += claimed.ids
        processed(core, claimed.key, 2)

    assert 1 in seen


def test_indexes_that_are_rebuilt_have_the_order_that_there_was() -> None:
    core = BatchCore()
    stored(core, 0, "retried", "cooled")
    core.failed(0, claim(core, 0).key, "bad", 5)
    core.failed(0, claim(core, 0).key, "bad", None, 6)
    stored(core, 4, "old")
    core.advance(6)
    stored(core, 7, "new")
    for batch in core.records.messages.values():
        batch.state = "cooling" if batch.value == ["cooled"] else batch.state  # as it was written

    again = rebuilt(core)

    assert [claim(again, 9).ids for _ in range(4)] == [(3,), (1,), (2,), (4,)]
    assert again.statistics(9).cooling == 0


# -- how often -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on_exhausted", "state", "event"),
    [
        ("drop", None, "batch_dropped"),
        ("bury", "buried", "batch_buried"),
        ("other", "dead", "batch_dead"),
    ],
)
def test_a_batch_that_was_claimed_too_often_is_given_up(
    on_exhausted: str, state: BatchState | None, event: str
) -> None:
    core = BatchCore(max_claims=2, on_exhausted=on_exhausted, name="q")
    core.new_errands()
    stored(core, 0, "a")
    core.failed(1, claim(core, 1).key, "bad")
    key = claim(core, 2).key
    core.failed(3, key, "bad", 0)  # another attempt is not another claim
    assert core.notices == []

    core.failed(4, claim(core, 4).key, "worse")

    facts = {"id": 1, "items": 1, "claims": 2, "error": "worse"}
    assert core.notices == [(event, facts)]
    numbers = core.statistics(4)
    assert (numbers.exhausted, numbers.released, numbers.process_errors) == (1, 1, 3)
    assert core.claim(9) is None
    assert core.new_errands() == (state == "dead")
    assert not core.new_errands()
    if state is None:
        assert (numbers.batches, numbers.items) == (0, 0)
    else:
        (batch,) = core.peek(4, state)
        assert (batch.claims, batch.attempt, batch.error) == (2, 0, "worse")


def test_a_dead_batch_is_a_letter_to_another_queue() -> None:
    core = BatchCore(max_claims=1, on_exhausted="other", name="q")
    core.push(3, ["a"])
    core.flush(4)
    core.failed(5, claim(core, 5).key, "bad")

    (letter,) = core.dead_letters(6)

    assert (letter.value, letter.queue, letter.id) == (["a"], "q", 1)
    assert (letter.attempts, letter.error, letter.inserted_at) == (1, "bad", 4)
    core.remove(6, [letter.id])
    assert core.dead_letters(6) == []


def test_a_dead_batch_that_nobody_takes_is_buried() -> None:
    core = BatchCore(max_claims=1, on_exhausted="other")
    stored(core, 0, "a", "b")
    core.failed(0, claim(core, 0, 2).key, "bad")

    core.bury_dead(0, 2)
    core.bury_dead(0, 2)
    core.bury_dead(0, 99)

    assert [batch.id for batch in core.peek(0, "buried", 9)] == [2]
    assert [letter.id for letter in core.dead_letters(0)] == [1]


def test_only_so_many_dead_letters_are_shown() -> None:
    core = BatchCore(max_claims=1, on_exhausted="other")
    stored(core, 0, *range(20))
    core.failed(0, claim(core, 0, 20).key, "bad")

    assert [letter.id for letter in core.dead_letters(0, 3)] == [1, 2, 3]
    assert len(core.dead_letters(0)) == 16


def test_a_buried_batch_that_is_kicked_comes_alone_as_if_never_before() -> None:
    core = BatchCore(max_claims=1, on_exhausted="bury")
    stored(core, 0, "a", "b", "c")
    core.failed(0, claim(core, 0, 3).key, "bad")
    stored(core, 1, "d")

    assert core.kick(2, 2) == 2

    assert core.peek(2, "ready", 9)[1].ready_at == 2
    claims = [claim(core, 2, 9) for _ in range(3)]
    assert [(each.ids, each.claims) for each in claims] == [((4,), 1), ((1,), 1), ((2,), 1)]
    assert core.kick(2, 9) == 1
    assert core.kick(2, 9) == 0


# -- the end of a claim --------------------------------------------------------------------------


def test_success_ends_a_claim_once() -> None:
    core = BatchCore()
    stored(core, 0, "a", "b")
    key = claim(core, 0, 2).key

    for _ in range(2):
        assert core.claim(0, 1, (key, 7)) is None
        assert core.statistics(0).processed == 7
        assert core.length(0) == 0


@pytest.mark.parametrize("end", ["done", "failed", "given back", "removed", "cleared"])
def test_a_claim_that_has_ended_cannot_end_once_more(end: str) -> None:
    core = BatchCore()
    stored(core, 0, "a", "b")
    key = claim(core, 0).key
    if end == "done":
        processed(core, key)
    elif end == "failed":
        core.failed(0, key, "bad", 0)
    elif end == "given back":
        core.give_back(0, key)
    elif end == "removed":
        core.remove(0, [1])
    else:
        core.clear(0)
    before = core.statistics(0)

    assert not core.failed(0, key, "worse")
    assert not core.give_back(0, key)
    processed(core, key, 5)

    assert core.statistics(0) == before


def test_a_claim_that_is_given_back_has_not_been_and_comes_first() -> None:
    core = BatchCore()
    stored(core, 0, "a", "b", "c")
    key = claim(core, 0, 2).key

    assert core.give_back(5, key)

    assert contents(core, 5) == [["a"], ["b"], ["c"]]
    claimed = claim(core, 5, 3)
    assert (claimed.ids, claimed.attempt, claimed.claims) == ((1, 2, 3), 1, 1)


def test_a_next_attempt_that_is_given_back_comes_first_and_together() -> None:
    core = BatchCore()
    stored(core, 0, "a", "b")
    core.failed(0, claim(core, 0, 2).key, "bad", 0)
    stored(core, 0, "c")
    key = claim(core, 1).key
    assert key
    core.give_back(1, key)  # that of c
    key = claim(core, 1).key
    processed(core, key)
    key = claim(core, 1).key
    stored(core, 1, "d")

    core.give_back(2, key)

    assert core.statistics(2).retrying == 2
    claimed = claim(core, 2, 9)
    assert (claimed.ids, claimed.attempt, claimed.claims) == ((1, 2), 2, 1)


def test_what_nobody_knows_of_is_given_back_in_its_order() -> None:
    core = BatchCore()
    stored(core, 0, "a", "b", "c", "d")
    keys = [claim(core, 0).key for _ in range(3)]

    assert core.keep(0, [keys[1]]) == 2

    assert contents(core) == [["a"], ["c"], ["d"]]
    assert core.give_back(0, keys[1])
    assert core.keep(0) == 0


def test_what_waits_for_its_next_attempt_is_not_given_back() -> None:
    core = BatchCore()
    stored(core, 0, "a")
    core.failed(0, claim(core, 0).key, "bad", 5)

    assert core.keep(0) == 0
    assert core.claim(4) is None


def test_keys_grow_though_the_clock_does_not() -> None:
    core = BatchCore()
    stored(core, 0, "a", "b", "c")

    assert [claim(core, now).key for now in (50, 50, 50)] == [50, 51, 52]
    assert core.records.last_key == 52


def test_what_a_process_had_that_has_ended_was_claimed_in_vain() -> None:
    core = BatchCore(max_claims=2, on_exhausted="bury")
    stored(core, 0, "a", "b")
    core.failed(0, claim(core, 0).key, "bad")
    for limit in (1, 1):
        claim(core, 1, limit)
    for batch in core.records.messages.values():
        assert batch.deadline_at == NEVER
        batch.deadline_at = 7

    core = rebuilt(core, max_claims=2, on_exhausted="bury")

    assert core.next_deadline(waiting=False) == 7
    core.advance(7)
    (buried,), (ready,) = core.peek(7, "buried", 9), core.peek(7, "ready", 9)
    assert (buried.id, buried.claims, buried.error) == (1, 2, ENDED)
    assert (ready.id, ready.claims, ready.error, ready.ready_at) == (2, 1, ENDED, 7)
    assert core.statistics(7).process_errors == 1


def test_a_claim_that_ended_with_its_process_does_not_end_once_more() -> None:
    """Also not before it is released, should the clock have been set back."""
    core = BatchCore()
    stored(core, 0, "a")
    key = claim(core, 0).key
    core.records.messages[1].deadline_at = 7
    core = rebuilt(core)

    assert core.keep(1) == 0
    assert not core.give_back(1, key)
    assert not core.failed(1, key, "bad")
    processed(core, key)

    assert claim(core, 7).ids == (1,)


# -- what an operator does -----------------------------------------------------------------------


def in_every_state() -> tuple[BatchCore, dict[int, BatchState]]:
    """Return a core with a batch in each state, and two of each that may be together."""
    core = BatchCore(max_claims=2, on_exhausted="other")
    stored(core, 0, "dead", "buried", "cooling")
    for _ in range(3):
        core.failed(0, claim(core, 0).key, "bad")
    for _ in range(2):
        core.failed(0, claim(core, 0).key, "bad")
    core.bury_dead(0, 2)
    core._max_claims = None  # noqa: SLF001
    core.failed(0, claim(core, 0).key, "bad", None, 99)
    stored(core, 0, "retry", "retry", "claimed", "claimed", "ready")
    core.failed(0, claim(core, 0, 2).key, "bad", 50)
    claim(core, 0, 2)
    return core, {batch.id: batch.state for batch in core.records.messages.values()}


def test_each_state_can_be_looked_at() -> None:
    core, states = in_every_state()

    assert len(set(states.values())) == 6
    for state in set(states.values()):
        expected = [number for number in states if states[number] == state]
        assert [batch.id for batch in core.peek(0, state, 9)] == expected
        assert [batch.id for batch in core.peek(0, state)] == expected[:1]
        assert {batch.state for batch in core.peek(0, state, 9)} == {state}


@pytest.mark.parametrize("number", range(1, 9))
def test_a_batch_can_be_removed_whatever_it_is(number: int) -> None:
    core, states = in_every_state()

    assert core.remove(0, [number, number, 99]) == 1

    del states[number]
    for again in (core, rebuilt(core)):
        for state in ("ready", "cooling", "retry", "claimed", "buried", "dead"):
            expected = [each for each in states if states[each] == state]
            assert [batch.id for batch in again.peek(0, state, 9)] == expected
        numbers = again.statistics(0)
        assert (numbers.batches, numbers.items) == (7, 7)
        counts = numbers.ready, numbers.cooling, numbers.retrying, numbers.claimed
        assert sum(counts) + numbers.buried + numbers.dead == 7


def test_what_was_claimed_together_goes_on_without_what_was_removed() -> None:
    core = BatchCore()
    stored(core, 0, "a", "b", "c")
    key = claim(core, 0, 3).key

    core.remove(0, [2])
    core.failed(0, key, "bad", 5)
    core.remove(0, [1])

    assert claim(core, 5, 9).ids == (3,)


def test_nothing_is_left_of_a_group_of_which_all_were_removed() -> None:
    core = BatchCore()
    stored(core, 0, "a", "b")
    core.failed(0, claim(core, 0, 2).key, "bad", 5)

    assert core.remove(0, [1, 2]) == 2

    assert core.next_deadline(waiting=True) is None
    assert core.claim(9) is None


def test_the_numbers_are_those_of_now() -> None:
    core, _ = in_every_state()
    core.push(0, ["x", "y"])
    core.flush(0)
    core._flush_size = 0  # noqa: SLF001
    core.push(2, ["z"])

    numbers = core.statistics(int(3e9))

    assert (numbers.buffered, numbers.batches, numbers.items) == (1, 10, 10)
    assert (numbers.ready, numbers.cooling, numbers.retrying, numbers.claimed) == (4, 0, 2, 2)
    assert (numbers.buried, numbers.dead, numbers.set_aside) == (1, 1, 0)
    assert numbers.oldest_age == 3.0
    assert (numbers.pushed, numbers.processed) == (11, 0)
    assert (numbers.process_errors, numbers.released, numbers.exhausted) == (7, 4, 2)
    assert (numbers.closed, numbers.paused, numbers.lost) == (False, False, 0)
    assert not numbers.is_quiet


def test_a_queue_is_quiet_when_only_buried_batches_are_left() -> None:
    core = BatchCore(max_claims=1, on_exhausted="bury")
    stored(core, 0, "a")
    assert not core.statistics(0).is_quiet

    core.failed(0, claim(core, 0).key, "bad")

    assert core.statistics(0).is_quiet


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
    core.records.intake = core.records.intake.after or core.records.intake
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

    assert sum(1 for _ in again.rebuild()) == 3
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


# -- buffers -------------------------------------------------------------------------------------


def counting() -> Buffer:
    """Return a buffer that counts items."""
    buffer = Merging(lambda pair: cast("tuple[str, int]", pair)[0], add_up)

    class Counting:
        """Takes words, and hands out pairs."""

        def push(self, item: object) -> None:
            buffer.push((item, 1))

        def __len__(self) -> int:
            return len(buffer)

        def __iter__(self) -> Iterator[object]:
            return iter(buffer)

    return Counting()


def add_up(there: object, pair: object) -> object:
    first, second = cast("tuple[str, int]", there), cast("tuple[str, int]", pair)
    return first[0], first[1] + second[1]


def test_an_appending_buffer_keeps_items_in_their_order() -> None:
    buffer = Appending()
    for item in (3, 1, 3):
        buffer.push(item)

    assert (len(buffer), list(buffer)) == (3, [3, 1, 3])


def test_a_merging_buffer_keeps_one_item_for_each_key_in_the_order_of_keys() -> None:
    buffer = Merging(lambda pair: cast("tuple[str, int]", pair)[0], add_up)
    for pair in (("b", 1), ("a", 2), ("b", 3)):
        buffer.push(pair)

    assert (len(buffer), list(buffer)) == (2, [("b", 4), ("a", 2)])
    assert repr(buffer) == "<Merging buffer of 2 items>"


@pytest.mark.parametrize("raises", ["key", "merge", "check", "hash"])
def test_a_merging_buffer_is_as_it_was_if_a_function_raises(raises: str) -> None:
    bad: list[object] = []

    def key(item: object) -> str:
        if raises == "key" and bad:
            raise ValueError("bad")
        return cast("str", [] if raises == "hash" and bad else "key")

    def merge(there: object, item: object) -> object:
        if raises == "merge":
            raise ValueError("bad")
        return there, item

    def check(item: object) -> None:
        if raises == "check":
            raise ValueError("bad")

    buffer = Merging(key, merge, check)
    buffer.push("first")
    bad.append(True)

    with pytest.raises((ValueError, TypeError)):
        buffer.push("second")

    assert list(buffer) == ["first"]


def test_a_merging_buffer_checks_only_what_was_merged() -> None:
    checked: list[object] = []
    buffer = Merging(lambda _: 0, lambda there, item: (there, item), checked.append)

    buffer.push("first")
    buffer.push("second")

    assert checked == [("first", "second")]


class Picky:
    """A buffer that does not take everything, nor hand everything out."""

    def __init__(self) -> None:
        self.items: list[object] = []

    def push(self, item: object) -> None:
        if item == "bad":
            raise ValueError("I do not take that")
        self.items.append(item)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[object]:
        yield from self.items
        if "worse" in self.items:
            raise KeyError("worse")


def test_an_item_that_the_buffer_does_not_take_is_refused_and_those_before_it_went_in() -> None:
    core = BatchCore(flush_size=2, records=BatchRecords(Picky), name="q")

    for push in (core.push, core.wait_push):
        with pytest.raises(ItemRefusedError) as caught:
            push(0, ["a", "b", "c", "bad", "d"])

        error = caught.value
        assert (error.queue, error.error, error.pushed) == (
            "q",
            "ValueError: I do not take that",
            3,
        )
        assert isinstance(error.__cause__, ValueError)

    assert core.statistics(0).pushed == 6
    assert contents(core) == [["a", "b"], ["c", "a"], ["b", "c"]]


def test_the_time_of_a_buffer_does_not_begin_with_an_item_that_it_does_not_take() -> None:
    core = BatchCore(flush_size=0, flush_timeout=9, records=BatchRecords(Picky))

    with pytest.raises(ItemRefusedError):
        core.push(0, ["bad"])

    assert core.next_deadline(waiting=False) is None


def test_a_buffer_that_does_not_hand_out_its_items_has_lost_them() -> None:
    core = BatchCore(flush_size=0, records=BatchRecords(Picky))
    core.push(0, ["a", "worse"])

    assert core.flush(0) == 0

    assert core.notices == [("items_lost", {"items": 2, "error": "KeyError: 'worse'"})]
    assert core.statistics(0).lost == 2
    assert core.stored(0, 2) is True
    stored(core, 0, "b")
    assert contents(core) == [["b"]]


class Words:
    """Packs each item by itself, and only words."""

    def __init__(self) -> None:
        self.lost: list[BaseException] = []

    def __call__(self, items: list[object]) -> Sequence[tuple[object, int]]:
        self.lost += [TypeError(f"no word: {item}") for item in items if type(item) is not str]
        return [([item], 1) for item in items if type(item) is str]


def test_what_cannot_be_kept_is_lost_and_the_rest_is_stored() -> None:
    core = BatchCore(flush_size=0, pack=Words())
    core.push(0, ["a", 1, "b", 2])

    assert core.flush(0) == 2

    assert contents(core) == [["a"], ["b"]]
    assert core.notices == [("items_lost", {"items": 2, "error": "TypeError: no word: 1"})]
    numbers = core.statistics(0)
    assert (numbers.pushed, numbers.lost, numbers.items) == (4, 2, 2)
    core.push(0, ["c"])
    core.flush(0)
    assert core.statistics(0).lost == 2


def test_a_flush_of_which_nothing_can_be_kept_stores_no_batch() -> None:
    core = BatchCore(flush_size=0, pack=Words())
    core.push(0, [1])

    assert core.flush(0) == 0

    assert core.records.messages == {}
    assert core.records.next_id == 1


# -- commits that fail ---------------------------------------------------------------------------


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
