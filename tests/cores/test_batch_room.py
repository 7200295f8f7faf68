"""The batch queue's core: how much it holds, and who waits for room."""

from __future__ import annotations

import pytest

from queueactors._errors import QueueFullError
from queueactors.cores.batch import (
    BatchCore,
)

from .kit_batch import (
    claim,
    processed,
    stored,
)


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
