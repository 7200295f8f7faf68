"""The tables of the message queue say what its core does: no more, and no less."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, get_args

import pytest

from queueactors import ClaimLostError
from queueactors.cores._message_table import (
    ENDS,
    PASSES,
    RULES,
    STATUSES,
    STEPS,
    End,
    MessageState,
    Refusal,
    Result,
    Rule,
    Status,
    Step,
)
from queueactors.cores.message import LOCK_TIME, Claimed, Enqueued, MessageCore, MessageInfo

if TYPE_CHECKING:
    from collections.abc import Callable

FLAGS = ("can_update", "can_requeue", "reset_init_backoff")
ALL_FLAGS = list(product((False, True), repeat=3))
BACKOFF = 60


def queued(core: MessageCore) -> None:
    core.enqueue(0, "x", "old", 0, 7)


def backed_off(core: MessageCore) -> None:
    core.enqueue(0, "x", "old", BACKOFF, 7)


def locked(core: MessageCore) -> None:
    queued(core)
    claim(core)


def locked_with_requeue(core: MessageCore) -> None:
    locked(core)
    core.enqueue(0, "x", "again", can_requeue=True)


def done(core: MessageCore) -> None:
    queued(core)
    core.finish(0, claim(core).key, "success", BACKOFF)


def done_with_requeue(core: MessageCore) -> None:
    done(core)
    core.enqueue(0, "x", "again", can_requeue=True)


WAYS: dict[Status | None, Callable[[MessageCore], None]] = {
    None: lambda _core: None,
    "queued": queued,
    "queued-with-backoff": backed_off,
    "locked": locked,
    "locked-with-requeue": locked_with_requeue,
    "done-with-backoff": done,
    "done-with-requeue": done_with_requeue,
}


def claim(core: MessageCore, now: int = 0) -> Claimed:
    """Claim a message that must be there."""
    claimed = core.claim(now)
    assert claimed is not None
    return claimed


def records(core: MessageCore) -> dict[int, tuple[object, ...]]:
    return {
        each: tuple(getattr(message, name) for name in message.__struct_fields__)
        for each, message in core.records.messages.items()
    }


def shown(core: MessageCore, now: int = 1) -> MessageInfo | None:
    return core.content(now, core.ids(now).ids).get("x")


def first_that_fits(status: Status | None, given: dict[str, bool]) -> Rule:
    return next(rule for rule in RULES if rule.status == status and all(map(given.get, rule.flags)))


# -- enqueue ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", ALL_FLAGS, ids=str)
@pytest.mark.parametrize("status", WAYS, ids=str)
def test_an_enqueue_does_what_the_first_rule_that_fits_says(
    status: Status | None, flags: tuple[bool, bool, bool]
) -> None:
    core = MessageCore()
    WAYS[status](core)
    before, counted = records(core), core.statistics(1)
    assert core.message_status(1, "x") == status
    rule = first_that_fits(status, dict(zip(FLAGS, flags, strict=True)))

    enqueued = core.enqueue(1, "x", "new", 9, 8, *flags)

    after, counts = records(core), core.statistics(1)
    new = [core.records.messages[each] for each in after if each not in before]
    changed = [each for each in before if before[each] != after[each]]
    if rule.step in get_args(Refusal):
        assert enqueued == Enqueued(False, "x", None, rule.step)  # type: ignore[arg-type]
        assert not enqueued
        assert (after, counts.refused) == (before, counted.refused + 1)
        return
    assert enqueued == Enqueued(True, "x", "updated" if "update" in rule.step else enqueued.action)
    assert enqueued
    assert (bool(new), bool(changed)) == (not changed, not new)
    match rule.step:
        case "add":
            assert enqueued.action == "added"
            assert shown(core) == MessageInfo("new", "queued-with-backoff", 0, 9e-9, 0, 1)
            assert (new[0].lock_time, new[0].ready_at) == (8, 10)
        case "requeue":
            assert enqueued.action == "added"
            assert (new[0].state, new[0].value, new[0].lock_time) == ("requeue", "new", 8)
            assert core.next_deadline(waiting=False) != 10  # its backoff does not count
        case "update" | "reset":
            (message,) = (core.records.messages[each] for each in changed)
            assert enqueued.action == "updated"
            expected = ("new", 8) if rule.step == "update" else ("old", 7)
            assert (message.value, message.lock_time) == expected
            ready_at = 10 if flags[2] else BACKOFF if status == "queued-with-backoff" else 0
            assert (message.ready_at, message.enqueued_at) == (ready_at, 0)
        case _:
            assert rule.step == "update-requeue"
            (message,) = (core.records.messages[each] for each in changed)
            assert (message.state, message.value, message.lock_time) == ("requeue", "new", 8)
    assert (counts.added - counted.added, counts.updated - counted.updated) == (
        len(new),
        len(changed),
    )


def test_no_rule_is_of_no_use() -> None:
    used = {
        first_that_fits(status, dict(zip(FLAGS, flags, strict=True)))
        for status in WAYS
        for flags in ALL_FLAGS
    }

    assert used == {*RULES}
    assert {rule.step for rule in RULES} == {
        *get_args(Refusal),
        *(each for each in get_args(get_args(Step)[0])),
    }


def test_there_is_a_step_for_every_status_and_all_flags() -> None:
    assert {*STEPS} == {(status, *flags) for status in WAYS for flags in ALL_FLAGS}
    assert {*WAYS} == {None, *get_args(Status)}


@pytest.mark.parametrize("status", ["queued", "queued-with-backoff"])
def test_a_reset_to_nothing_makes_a_message_ready_now(status: Status) -> None:
    core = MessageCore()
    WAYS[status](core)
    core.enqueue(2, "y", "other")

    core.enqueue(5, "x", "not seen", reset_init_backoff=True)

    order = ["x", "y"] if status == "queued" else ["y", "x"]  # one that is ready keeps its place
    assert [each.mid for each in core.claim_many(5, 9)] == order


# -- status ----------------------------------------------------------------------------------------

STATES: dict[tuple[str, bool], Callable[[MessageCore], None]] = {
    ("done", True): done_with_requeue,
    ("done", False): done,
    ("locked", True): locked_with_requeue,
    ("locked", False): locked,
    ("backoff", True): lambda core: give_back(core, 9),
    ("backoff", False): backed_off,
    ("ready", True): lambda core: give_back(core, 0),
    ("ready", False): queued,
}


def give_back(core: MessageCore, backoff: int) -> None:
    locked_with_requeue(core)
    core.finish(0, core.records.last_key, "retry", backoff)


@pytest.mark.parametrize("key", STATUSES, ids=str)
def test_every_row_of_statuses_is_what_a_message_is(key: tuple[str, bool]) -> None:
    core = MessageCore()
    STATES[key](core)

    message = core.records.messages[1]
    assert (message.state, core.statistics(0).requeues == 1) == key
    assert core.message_status(0, "x") == STATUSES[key]
    info = shown(core, 0)
    assert info is not None
    assert info.status == STATUSES[key]


def test_every_state_has_a_status_but_what_waits_and_what_is_gone() -> None:
    states = {*get_args(MessageState)} - {"requeue", "gone"}

    assert {*STATUSES} == {*product(states, (False, True))} == {*STATES}
    assert {*STATUSES.values()} == {*get_args(Status)}


# -- ends ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("requeued", [False, True], ids=["alone", "with requeue"])
@pytest.mark.parametrize("end", ENDS, ids=str)
def test_the_end_of_a_claim_is_that_of_its_row(end: tuple[Result, bool], requeued: bool) -> None:  # noqa: FBT001
    core = MessageCore()
    (locked_with_requeue if requeued else locked)(core)
    key = core.records.last_key
    result, backoff = end

    core.finish(5, key, result, BACKOFF if backoff else 0)

    state: dict[End, tuple[Status | None, float | None]] = {
        "drop": ("queued" if requeued else None, None),
        "remember": ("done-with-requeue" if requeued else "done-with-backoff", 60e-9),
        "ready": ("queued", None),
        "back off": ("queued-with-backoff", 60e-9),
    }
    info = shown(core, 5)
    status = core.message_status(5, "x")
    assert (status, None if info is None else info.backoff) == state[ENDS[end]]
    heir = requeued and ENDS[end] == "drop"
    if info is not None:
        expected = ("again", 0, 0) if heir else ("old", 1, 5e-9)
        assert (info.message, info.attempts, info.age) == expected
    counts = core.statistics(5)
    assert counts.requeues == (requeued and not heir)
    assert (counts.succeeded, counts.retried, counts.failed) == tuple(
        int(result == each) for each in ("success", "retry", "error")
    )
    with pytest.raises(ClaimLostError):
        core.finish(5, key, "success")


def test_there_is_an_end_for_every_result() -> None:
    assert {*ENDS} == {*product(get_args(Result), (False, True))}
    assert {*ENDS.values()} == {*get_args(End)}


# -- what passes -----------------------------------------------------------------------------------

PASSING: dict[MessageState, tuple[Callable[[MessageCore], None], int]] = {
    "backoff": (backed_off, BACKOFF),
    "locked": (locked_with_requeue, 7),
    "done": (done_with_requeue, BACKOFF),
}


@pytest.mark.parametrize("state", PASSES)
def test_what_passes_by_itself_passes_at_its_instant_as_its_row_says(state: MessageState) -> None:
    core = MessageCore()
    prepare, instant = PASSING[state]
    prepare(core)
    status = core.message_status(instant - 1, "x")
    assert core.records.messages[1].state == state

    taken = claim(core, instant)

    assert status != "queued"
    attempt = 2 if state == "locked" else 1
    value = "again" if PASSES[state] == "drop" else "old"
    assert (taken.message, taken.attempt) == (value, attempt)
    assert taken.age == (0 if state == "done" else instant)
    assert taken.lock_time == (LOCK_TIME if value == "again" else 7)
    assert core.statistics(instant).expired == (state == "locked")


def test_no_row_of_what_passes_is_left_out() -> None:
    assert {*PASSING} == {*PASSES}
    assert {*PASSES.values()} == {"ready", "drop"}
