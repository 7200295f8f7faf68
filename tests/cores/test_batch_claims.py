"""The batch queue's core: order, what is claimed together, and what becomes of it."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from queueactors.cores.batch import (
    NEVER,
    BatchCore,
    Claimed,
)
from queueactors.retry import Fixed

from .kit_batch import (
    ENDED,
    claim,
    contents,
    drain,
    in_every_state,
    processed,
    rebuilt,
    stored,
)

if TYPE_CHECKING:
    from queueactors.cores.batch import BatchState

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


def test_new_batches_are_not_claimed_past_one_that_is_tried_again() -> None:
    core = BatchCore()
    stored(core, 0, "a", "b")
    core.failed(0, claim(core, 0).key, "bad", 5)
    core.advance(5)
    stored(core, 5, "c")

    assert [claim(core, 5, 9).ids for _ in range(3)] == [(2,), (1,), (3,)]


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


def test_what_rests_still_does_so_when_indexes_are_rebuilt() -> None:
    core = BatchCore()
    stored(core, 0, "a", "b")
    core.failed(0, claim(core, 0).key, "bad", None, 8)
    core.failed(0, claim(core, 0).key, "bad", 9)
    stored(core, 7, "c")

    again = rebuilt(core)

    assert [batch.id for batch in again.peek(7, "ready", 9)] == [3]
    assert (again.statistics(7).cooling, again.statistics(7).retrying) == (1, 1)
    assert again.next_deadline(waiting=True) == 8


def test_a_batch_is_tried_as_its_policy_says_and_then_rests() -> None:
    policy = Fixed(3, 100, jitter=0, cooldown=500)
    core = BatchCore()
    stored(core, 0, "a")
    now, seen = 0, []
    for _ in range(9):
        core.advance(now)
        claimed = claim(core, now)
        seen.append((now, claimed.attempt, claimed.claims))
        wait = policy.delay(claimed.attempt, Random(0))
        delay = None if wait is None else int(wait)
        core.failed(now, claimed.key, "bad", delay, int(policy.cooldown))
        due = core.next_deadline(waiting=True)
        assert due is not None
        now = due

    assert seen == [
        (700 * round_ + 100 * attempt, attempt + 1, round_ + 1)
        for round_ in range(3)
        for attempt in range(3)
    ]


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
        kinds = ("ready", "cooling", "retry", "claimed", "buried", "dead")
        expected = [list(map(str, states.values())).count(each) for each in kinds]
        assert [*counts, numbers.buried, numbers.dead] == expected


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
