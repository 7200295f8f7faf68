"""The message queue's core: all or nothing, its order, its slices, what it keeps in memory."""

from __future__ import annotations

import weakref
from contextlib import suppress
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING

import attrs
import pytest

from queueactors import ClaimLostError, QueueClosedError
from queueactors.cores import Changed
from queueactors.cores._message_indexes import SLICE
from queueactors.cores.message import MessageCore, MessageRecords, QueuedMessage

from .faults import Fault, Faults

if TYPE_CHECKING:
    from collections.abc import Callable

    from queueactors.cores.message import Claimed

NOW = 100  # instant of the operation; some locks and backoffs end just then
S = 1_000_000_000  # nanoseconds of a second


def claim(core: MessageCore, now: int) -> Claimed:
    """Claim a message that must be there."""
    claimed = core.claim(now)
    assert claimed is not None
    return claimed


def mids(core: MessageCore, now: int) -> list[str]:
    """Claim all that is ready; return the names in order."""
    return [claimed.mid for claimed in core.claim_many(now, 1 << 30)]


def fields(message: QueuedMessage) -> tuple[object, ...]:
    return tuple(getattr(message, name) for name in message.__struct_fields__)


# -- all or nothing ------------------------------------------------------------------------------


def full() -> tuple[MessageCore, dict[str, int]]:
    """Return a core with something in every state, and the keys of its claims by name."""
    core = MessageCore(lock_time=S, changed=Changed())
    keys = {}
    for mid, lock_time in [
        ("live", None),
        ("again", None),
        ("due", NOW - 10),
        ("done", None),
        ("done again", None),
        ("retried", None),
        ("done due", None),
    ]:
        core.enqueue(0, mid, mid, 0, lock_time)
        keys[mid] = claim(core, 10).key
    for mid, backoff in [("done", S), ("done again", S), ("done due", NOW - 20)]:
        core.finish(20, keys[mid], "success", backoff)
    for mid in ("again", "done again", "done due"):
        core.enqueue(20, mid, "requeue", can_requeue=True)
    core.finish(20, keys["retried"], "retry", S)
    core.enqueue(20, "ready", "ready")
    core.enqueue(20, "other", "other")
    core.enqueue(20, "later", "later", S)
    core.enqueue(20, "then", "then", NOW - 20)
    return core, keys


def room(core: MessageCore) -> None:
    """Leave room for one more when the operation comes."""
    core._max_length = len(core.records.messages) + 1  # noqa: SLF001 - a restart forgets it


PREPARATIONS: dict[str, Callable[[MessageCore], object]] = {
    "resume": lambda core: core.pause(50),
    "enqueue into little room": room,
    "wait_enqueue": room,
}
OPERATIONS: dict[str, Callable[[MessageCore, dict[str, int]], object]] = {
    "advance": lambda core, _: core.advance(NOW),
    "enqueue": lambda core, _: core.enqueue(NOW, "new", 1),
    "enqueue with a backoff": lambda core, _: core.enqueue(NOW, "new", 1, 5),
    "enqueue into little room": lambda core, _: core.enqueue(NOW, "new", 1),
    "enqueue in vain": lambda core, _: core.enqueue(NOW, "ready", 1),
    "wait_enqueue": lambda core, _: core.wait_enqueue(NOW, "new", 1),
    "update": lambda core, _: core.enqueue(NOW, "ready", 1, 0, 5, can_update=True),
    "reset a ready one": lambda core, _: core.enqueue(NOW, "ready", 1, 5, reset_init_backoff=True),
    "reset a later one": lambda core, _: core.enqueue(NOW, "later", 1, 5, reset_init_backoff=True),
    "reset it to now": lambda core, _: core.enqueue(NOW, "later", 1, reset_init_backoff=True),
    "update and reset": lambda core, _: core.enqueue(
        NOW, "ready", 1, 5, can_update=True, reset_init_backoff=True
    ),
    "requeue": lambda core, _: core.enqueue(NOW, "live", 1, can_requeue=True),
    "requeue a done one": lambda core, _: core.enqueue(NOW, "done", 1, can_requeue=True),
    "update a requeue": lambda core, _: core.enqueue(
        NOW, "again", 1, 0, 5, can_update=True, can_requeue=True
    ),
    "claim": lambda core, _: core.claim(NOW),
    "claim_many": lambda core, _: core.claim_many(NOW, 3),
    "claim_many of all": lambda core, _: core.claim_many(NOW, 99),
    "extend": lambda core, keys: core.extend(NOW, keys["live"], 5),
    "extend as at first": lambda core, keys: core.extend(NOW, keys["live"]),
    "success": lambda core, keys: core.finish(NOW, keys["live"], "success"),
    "success before a requeue": lambda core, keys: core.finish(NOW, keys["again"], "success"),
    "success with a backoff": lambda core, keys: core.finish(NOW, keys["again"], "success", 5),
    "retry": lambda core, keys: core.finish(NOW, keys["live"], "retry"),
    "retry with a backoff": lambda core, keys: core.finish(NOW, keys["live"], "retry", 5),
    "error": lambda core, keys: core.finish(NOW, keys["again"], "error", 5),
    "snooze": lambda core, keys: core.snooze(NOW, keys["live"]),
    "snooze for a while": lambda core, keys: core.snooze(NOW, keys["live"], 5),
    "finish in vain": lambda core, keys: core.finish(NOW, keys["due"], "success"),
    "remove": lambda core, _: core.remove(NOW, [1, 4, 5, 6, 10, 12]),
    "remove all": lambda core, _: core.remove(NOW, range(20)),
    "clear": lambda core, _: core.clear(NOW),
    "close": lambda core, _: core.close(NOW),
    "pause": lambda core, _: core.pause(NOW, 5),
    "resume": lambda core, _: core.resume(NOW),
    "content": lambda core, _: core.content(NOW, range(20)),
    "queue_status": lambda core, _: core.queue_status(NOW),
    "message_status": lambda core, _: core.message_status(NOW, "again"),
    "statistics": lambda core, _: core.statistics(NOW),
    "length": lambda core, _: core.length(NOW),
}
READING = {
    "advance",
    "content",
    "finish in vain",
    "length",
    "message_status",
    "queue_status",
    "statistics",
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_happens_or_does_not(operation: str) -> None:
    def prepared() -> tuple[MessageCore, dict[str, int]]:
        core, keys = full()
        if operation in PREPARATIONS:
            PREPARATIONS[operation](core)
        return core, keys

    def after_a_restart(core: MessageCore) -> object:
        restarted = MessageCore(lock_time=S, records=core.records)
        restarted.advance(NOW)
        records = restarted.records
        messages = {each: fields(message) for each, message in records.messages.items()}
        return attrs.asdict(records.counters), messages, records.closed, records.paused_until

    before = after_a_restart(prepared()[0])

    step = 0
    while True:
        step += 1
        core, keys = prepared()
        last_key, next_id = core.records.last_key, core.records.next_id
        with Faults(step) as faults, suppress(Fault, ClaimLostError):
            OPERATIONS[operation](core, keys)
        if faults.raised is None:
            break
        assert after_a_restart(core) == before, faults.raised
        assert core.records.last_key >= last_key
        assert core.records.next_id >= next_id

    assert (step == 1) == (operation in {"pause", "resume"})
    assert (after_a_restart(core) != before) == (operation not in READING)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_an_operation_changes_is_noted_for_the_store(operation: str) -> None:
    core, keys = full()
    core.advance(NOW)
    changed = core._changed  # noqa: SLF001
    assert changed is not None
    changed.written()
    before = {each: fields(message) for each, message in core.records.messages.items()}
    contents = {each: message.value for each, message in core.records.messages.items()}

    with suppress(ClaimLostError):
        OPERATIONS[operation](core, keys)

    after = {each: fields(message) for each, message in core.records.messages.items()}
    if operation == "clear":
        assert (changed.cleared, {*changed}) == (True, set())
        return
    assert {*changed} == {each for each in {*before, *after} if before.get(each) != after.get(each)}
    assert changed.rewritten == {
        each
        for each, message in core.records.messages.items()
        if each in contents and contents[each] != message.value
    }


def test_the_core_that_is_attacked_has_something_in_every_state() -> None:
    core, _ = full()

    numbers = core.statistics(NOW - 1)

    assert (numbers.queued, numbers.backoff, numbers.locked) == (2, 3, 3)
    assert (numbers.done, numbers.requeues) == (3, 3)
    states = [message.state for message in core.records.messages.values()]
    assert len(states) == 14
    core.advance(NOW)
    assert core.statistics(NOW).queued == 5  # a lock, a backoff and what was done have ended


# -- order ---------------------------------------------------------------------------------------


def test_what_comes_back_and_what_is_new_stand_in_the_order_of_becoming_ready() -> None:
    core = MessageCore(lock_time=30)
    core.enqueue(0, "expired", 0, 0, 12)
    core.enqueue(0, "retried", 0)
    core.enqueue(0, "snoozed", 0)
    core.enqueue(0, "requeued", 0)
    expired, retried, snoozed, requeued = core.claim_many(0, 4)
    core.enqueue(1, "delayed", 0, 9)
    core.finish(2, retried.key, "retry", 9)
    core.snooze(2, snoozed.key, 11)
    core.enqueue(2, "requeued", 0, can_requeue=True)
    core.finish(3, requeued.key, "success", 11)
    for now in (9, 10, 11, 12, 13, 14):
        core.enqueue(now, f"new at {now}", 0)

    assert expired.mid == "expired"
    assert mids(core, 20) == [
        "new at 9",
        "delayed",
        "new at 10",
        "retried",
        "new at 11",
        "expired",
        "new at 12",
        "snoozed",
        "new at 13",
        "requeued",
        "new at 14",
    ]


def test_a_message_that_comes_back_again_and_again_starves_nobody() -> None:
    core = MessageCore()
    core.enqueue(0, "bad", 0)
    core.enqueue(0, "good", 0)

    seen = []
    for now in range(1, 5):
        claimed = claim(core, now)
        seen.append(claimed.mid)
        core.finish(now, claimed.key, "retry")

    assert seen == ["bad", "good", "bad", "good"]


def test_a_stream_of_new_messages_starves_nobody() -> None:
    core = MessageCore(lock_time=3)
    core.enqueue(0, "lost", 0)
    core.claim(0)

    seen = []
    for now in range(1, 5):
        core.enqueue(now, f"{now}", 0)
        core.enqueue(now, f"{now}, too", 0)
        for claimed in core.claim_many(now, 1 + (now > 2)):
            seen.append(claimed.mid)
            core.finish(now, claimed.key, "success")

    assert seen == ["1", "1, too", "2", "2, too", "lost", "3"]


def test_the_turn_of_a_requeue_is_when_what_it_waited_for_is_over() -> None:
    core = MessageCore()
    for mid in ("removed", "done"):
        core.enqueue(0, mid, 0)
    removed, done = core.claim_many(0, 2)
    for mid in ("removed", "done"):
        core.enqueue(0, mid, 0, can_requeue=True)
    core.finish(0, done.key, "success", 6)

    core.remove(5, [removed.id])
    core.enqueue(7, "new", 0)  # nobody looked at 6

    claims = core.claim_many(9, 9)
    assert [(each.mid, each.age) for each in claims] == [("removed", 4), ("done", 3), ("new", 2)]


# -- in slices -----------------------------------------------------------------------------------


def test_what_is_rebuilt_in_slices_has_its_order() -> None:
    random = Random(3)
    core = MessageCore()
    instants = random.sample(range(3 * SLICE), 3 * SLICE)
    for number in instants:
        core.enqueue(0, f"{number}", number, number + 1)
    core.advance(3 * SLICE)

    core = MessageCore(records=core.records, ready=False)
    slices = sum(1 for _ in core.rebuild())

    assert slices == 6
    assert mids(core, 3 * SLICE) == [f"{number}" for number in range(3 * SLICE)]


def test_what_has_become_due_happens_in_slices_in_the_order_of_its_instants() -> None:
    core = MessageCore(lock_time=50)
    for number in range(30):
        core.enqueue(0, f"locked {number}", 0, 0, 30 - number)
    core.claim_many(0, 30)
    for number in range(30):
        core.enqueue(0, f"late {number}", 0, 30 - number)

    through = [core.advance(99, 25) for _ in range(3)]

    assert through == [False, False, True]
    order = [(number, what) for number in range(30) for what in ("locked", "late")]
    assert mids(core, 99) == [f"{what} {29 - number}" for number, what in order]


def test_an_operation_does_not_overlook_what_is_still_due() -> None:
    core = MessageCore(lock_time=5)
    for number in range(10):
        core.enqueue(0, f"{number}", 0)
    core.claim_many(0, 10)

    assert not core.advance(5, 3)

    assert core.queue_status(5).nqueued == 10


class Counted:
    """A value that can be seen to go."""


def test_what_was_cleared_is_let_go_of_in_slices() -> None:
    values = [Counted() for _ in range(4 * SLICE)]
    left = weakref.WeakSet(values)
    core = MessageCore()
    for number, value in enumerate(values[:SLICE]):
        core.enqueue(0, f"done {number}", value)
    for claimed in core.claim_many(0, SLICE):
        core.finish(0, claimed.key, "success", S)
    for number, value in enumerate(values[SLICE:]):
        core.enqueue(0, f"{number}", value, S * (number % 2))
    core.claim_many(0, SLICE)
    del values, value, claimed

    assert core.clear(1) == 4 * SLICE
    counts = [len(left)]
    while not core.advance(1, 1):
        counts.append(len(left))

    assert counts[0] == 4 * SLICE
    assert counts[-1] == 0
    assert max(before - after for before, after in pairwise(counts)) <= SLICE
    assert core.next_deadline(waiting=True) is None
    assert core.enqueue(1, "0", "new")


@pytest.mark.slow
def test_a_hundred_thousand_messages_are_cleared_and_the_queue_goes_on_meanwhile() -> None:
    core = MessageCore()
    for number in range(100_000):
        core.enqueue(0, f"{number}", number)
    key = claim(core, 1).key

    assert core.clear(2) == 100_000

    turns = 0
    while not core.advance(2):
        turns += 1
        core.enqueue(2, "new", turns)
        taken = claim(core, 2)
        assert taken.mid == "new"
        core.finish(2, taken.key, "success")
    assert turns > 50
    with pytest.raises(ClaimLostError):
        core.finish(2, key, "success")
    assert core.length(2) == 0


# -- memory --------------------------------------------------------------------------------------


def kept(core: MessageCore) -> int:
    """Return how many entries the indexes have, dead ones included."""
    indexes = (core._ready, core._backoffs, core._locks, core._done)  # noqa: SLF001
    return sum(each.kept for each in indexes) + len(core._mids) + len(core._requeues)  # noqa: SLF001


@pytest.mark.slow
def test_indexes_do_not_grow_with_use() -> None:
    core = MessageCore(lock_time=10 * S)
    core.enqueue(0, "long", 0, 0, 1 << 60)
    core.claim(0)
    most = 0
    for now in range(1, 5000):
        mid = f"{now}"
        core.enqueue(now, mid, now, S)
        core.enqueue(now, mid, now, 2 * S, reset_init_backoff=True)
        core.enqueue(now, mid, now, reset_init_backoff=True)
        core.enqueue(now, mid, now, S, reset_init_backoff=True, can_update=True)
        core.enqueue(now, mid, now, reset_init_backoff=True)
        claimed = claim(core, now)
        core.extend(now, claimed.key)
        core.extend(now, claimed.key, 20 * S)
        core.enqueue(now, mid, now, can_requeue=True)
        core.finish(now, claimed.key, ("success", "retry", "error")[now % 3], S * (now % 2))
        core.remove(now, [each for each in core.ids(now).ids if each != 1])
        most = max(most, kept(core))

    assert core.length(5000) == 1
    assert most < 1000


@pytest.mark.slow
def test_one_message_that_is_locked_and_extended_for_long_takes_no_more_room() -> None:
    core = MessageCore()
    core.enqueue(0, "x", 0)
    key = claim(core, 0).key
    for now in range(1, 5000):
        core.extend(now, key, 1000)

    assert kept(core) < 200


# -- what a store could not decode ---------------------------------------------------------------


def test_what_waits_for_one_that_could_not_be_decoded_is_ready() -> None:
    records = MessageRecords(next_id=4)
    for number, (mid, state) in enumerate([("y", "ready"), ("x", "requeue"), ("z", "ready")], 1):
        records.messages[number] = QueuedMessage(number, mid, state, mid, number, number)  # type: ignore[arg-type]
    changed = Changed()

    core = MessageCore(records=records, changed=changed)

    assert changed == {2}
    assert core.message_status(9, "x") == "queued"
    assert mids(core, 9) == ["y", "x", "z"]


def test_two_of_one_mid_can_both_be_handled() -> None:
    """One of them could not be decoded for a while, and another took its mid."""
    records = MessageRecords(next_id=3)
    for number in (1, 2):
        records.messages[number] = QueuedMessage(number, number, "ready", "x", number, number)
    core = MessageCore(records=records)

    for now in (10, 20):
        core.finish(now, claim(core, now).key, "success")

    assert records.messages == {}
    assert core.message_status(30, "x") is None
    assert core.queue_status(30).ntotal == 0


@pytest.mark.parametrize(("pause", "due"), [(5, 5), (9, 7), (None, 7)])
def test_the_next_deadline_is_the_first_of_a_pause_and_what_is_due(
    pause: int | None, due: int
) -> None:
    core = MessageCore()
    core.enqueue(0, "x", 0, 7)
    core.pause(0, pause)

    assert core.next_deadline(waiting=True) == due
    assert core.next_deadline(waiting=False) == 7


# -- the end -------------------------------------------------------------------------------------


def test_a_closed_queue_has_ended_when_nothing_is_left_to_be_handled() -> None:
    core = MessageCore()
    core.enqueue(0, "x", 1)
    key = claim(core, 0).key
    core.enqueue(0, "x", 2, can_requeue=True)
    core.close(0)

    assert core.claim(0) is None  # it may come back
    core.finish(0, key, "success", 10)
    assert core.claim(0) is None  # its requeue will come
    taken = claim(core, 10)
    core.finish(10, taken.key, "success", 10)
    with pytest.raises(QueueClosedError):
        core.claim(10)  # what is only remembered is handled
    assert core.length(10) == 1
