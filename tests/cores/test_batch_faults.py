"""The batch queue's core: an operation that raises in the middle has not happened.

As in `test_faults`: every statement that can raise at all is made to, in every operation; then a
new core is built from the records. What passes by itself may have passed.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Literal, get_args

import attrs
import pytest

from queueactors import QueueActorsError
from queueactors.cores import Changed
from queueactors.cores._pause import is_paused
from queueactors.cores.batch import Appending, Batch, BatchCore, BatchRecords, Buffer, Merging

from .faults import Fault, Faults

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = 100  # instant of the operation; some waits end just then
LATER = 10**9
OnExhausted = Literal["drop", "bury", "other"]


def new_core(
    on_exhausted: OnExhausted,
    records: BatchRecords,
    changed: Changed | None = None,
    max_length: int | None = None,
) -> BatchCore:
    return BatchCore(
        flush_size=4,
        flush_timeout=NOW - 30,
        max_claims=2,
        on_exhausted=on_exhausted,
        max_length=max_length,
        records=records,
        changed=changed,
    )


def merging() -> Buffer:
    return Merging(lambda item: item, lambda _there, item: item)


def claim(core: BatchCore, now: int, limit: int = 1) -> int:
    """Claim what must be there; return the key."""
    claimed = core.claim(now, limit)
    assert claimed is not None
    return claimed.key


def full(
    on_exhausted: OnExhausted, new_buffer: Callable[[], Buffer] = Appending
) -> tuple[BatchCore, dict[str, int]]:
    """Return a core with something in every state, and the keys of its claims by name."""
    changed = Changed()
    core = new_core(on_exhausted, BatchRecords(new_buffer), changed, max_length=40)
    keys = {}

    def push(*items: str) -> None:
        for item in items:
            core.push(0, [item])
            core.flush(0)

    push("last 1", "last 2", "gone 1", "gone 2", "buried")
    for limit in (2, 2, 1):  # once in vain
        core.failed(1, claim(core, 1, limit), "bad")
    for name in ("last", "last, too", "gone", "gone, too", "buried"):
        keys[name] = claim(core, 2)
    for name in ("gone", "gone, too", "buried"):
        core.failed(3, keys[name], "bad")
    push("pair 1", "pair 2", "again 1", "again 2", "soon 1", "soon 2", "cooling", "cool until now")
    keys["pair"] = claim(core, 4, 2)
    keys["again"] = claim(core, 4, 2)
    core.failed(5, keys["again"], "bad", 0)
    core.advance(5)
    keys["again"] = claim(core, 5)
    core.failed(6, claim(core, 6, 2), "bad", NOW - 6)
    core.failed(6, claim(core, 6), "bad", None, LATER)
    core.failed(6, claim(core, 6), "bad", None, NOW - 6)
    push("far 1", "far 2", "ready", "ready, too")
    core.failed(7, claim(core, 7, 2), "bad", LATER)
    core.push(50, ["in the buffer", "likewise"])
    for batch in core.records.messages.values():
        if batch.value == ["last, too"]:
            batch.deadline_at = NOW
    changed.written()
    core.records.snapshot()
    core.records.snapshot()
    return core, keys


def limit(core: BatchCore) -> None:
    """Leave room for one more when the operation comes."""
    core._max_length = core.length(NOW) + 1  # noqa: SLF001 - a restart forgets it


def reach_the_size(core: BatchCore) -> None:
    core.push(60, ["third", "fourth"])


def allow_one_claim(core: BatchCore) -> None:
    core._max_claims = 1  # noqa: SLF001


PREPARATIONS: dict[str, Callable[[BatchCore], object]] = {
    "advance to a flush": reach_the_size,
    "push after a flush": reach_the_size,
    "push_whole after a flush": reach_the_size,
    "give up several": allow_one_claim,
    "push in vain": limit,
    "wait_push in vain": limit,
    "wait_push": limit,
    "resume": lambda core: core.pause(50),
    "claim after a pause": lambda core: core.pause(50, 20),
    "claim while paused": lambda core: core.pause(50),
    "claim in vain": lambda core: core.close(50),
    "push in vain into a closed one": lambda core: core.close(50),
    "push from inside": lambda core: core.close(50),
}
OPERATIONS: dict[str, Callable[[BatchCore, dict[str, int]], object]] = {
    "advance": lambda core, _: core.advance(NOW),
    "advance to a flush": lambda core, _: core.advance(NOW),
    "push": lambda core, _: core.push(NOW, ["new"]),
    "push after a flush": lambda core, _: core.push(NOW, ["new"]),
    "push in vain": lambda core, _: core.push(NOW, ["new", "newer"]),
    "push in vain into a closed one": lambda core, _: core.push(NOW, ["new"]),
    "push from inside": lambda core, _: core.push(NOW, ["new"], inside=True),
    "wait_push": lambda core, _: core.wait_push(NOW, ["new"]),
    "wait_push in vain": lambda core, _: core.wait_push(NOW, ["new", "newer"]),
    "push_whole": lambda core, _: core.push_whole(NOW, ["new"]),
    "push_whole after a flush": lambda core, _: core.push_whole(NOW, ["new"]),
    "wait_push_whole": lambda core, _: core.wait_push_whole(NOW, ["new"]),
    "stored": lambda core, _: core.stored(NOW, core.records.intake.pushed),
    "flush": lambda core, _: core.flush(NOW),
    "claim": lambda core, _: core.claim(NOW),
    "claim several": lambda core, _: core.claim(NOW, 9),
    "claim after another": lambda core, keys: core.claim(NOW, 9, (keys["pair"], 2)),
    "claim after a pause": lambda core, _: core.claim(NOW),
    "claim while paused": lambda core, _: core.claim(NOW),
    "claim in vain": lambda core, _: core.claim(NOW),
    "fail": lambda core, keys: core.failed(NOW, keys["pair"], "worse", 5),
    "fail once more": lambda core, keys: core.failed(NOW, keys["again"], "worse", 0),
    "fail the last": lambda core, keys: core.failed(NOW, keys["last"], "worse"),
    "fail in vain": lambda core, keys: core.failed(NOW, keys["gone"], "worse"),
    "release": lambda core, keys: core.failed(NOW, keys["pair"], "worse"),
    "release to cool": lambda core, keys: core.failed(NOW, keys["pair"], "worse", None, 5),
    "give up several": lambda core, keys: core.failed(NOW, keys["pair"], "worse"),
    "give_back": lambda core, keys: core.give_back(NOW, keys["pair"]),
    "give_back a next attempt": lambda core, keys: core.give_back(NOW, keys["again"]),
    "give_back in vain": lambda core, keys: core.give_back(NOW, keys["gone"]),
    "keep": lambda core, keys: core.keep(NOW, [keys["last"]]),
    "peek": lambda core, _: [core.peek(NOW, state, 9) for state in ("ready", "retry", "cooling")],
    "kick": lambda core, _: core.kick(NOW, 2),
    "remove": lambda core, _: core.remove(NOW, [1, 2, 4, 6, 8, 10, 99]),
    "remove all": lambda core, _: core.remove(NOW, range(99)),
    "dead_letters": lambda core, _: core.dead_letters(NOW),
    "bury_dead": lambda core, _: core.bury_dead(NOW, 3),
    "close": lambda core, _: core.close(NOW),
    "clear": lambda core, _: core.clear(NOW),
    "pause": lambda core, _: core.pause(NOW, 5),
    "resume": lambda core, _: core.resume(NOW),
    "length": lambda core, _: core.length(NOW),
    "statistics": lambda core, _: core.statistics(NOW),
}
ENDS: dict[str, tuple[OnExhausted, ...]] = {  # where they matter
    each: get_args(OnExhausted)
    for each in ("advance", "fail the last", "give up several", "remove", "clear", "statistics")
} | dict.fromkeys(("bury_dead", "dead_letters", "kick"), ("bury", "other"))
READING = {
    "advance",
    "advance to a flush",
    "claim in vain",
    "claim while paused",
    "dead_letters",
    "fail in vain",
    "give_back in vain",
    "length",
    "peek",
    "push in vain",
    "push in vain into a closed one",
    "statistics",
    "wait_push in vain",
}


def fields(batch: Batch) -> tuple[object, ...]:
    return tuple(getattr(batch, name) for name in batch.__struct_fields__)


def told(records: BatchRecords) -> object:
    """Return all that records say, apart from numbers that may have gaps."""
    intake = records.intake
    return (
        {each: fields(batch) for each, batch in records.messages.items()},
        attrs.asdict(records.counters),
        (records.closed, is_paused(records.paused_until, NOW) and records.paused_until),
        list(intake.buffer),
        (intake.pushes, intake.first_at, intake.pushed, intake.sealed, intake.asked, intake.lost),
        intake.flushed,
    )


def after_a_restart(core: BatchCore, on_exhausted: OnExhausted) -> object:
    again = new_core(on_exhausted, core.records)
    again.advance(NOW)
    return told(again.records)


@pytest.mark.parametrize(
    ("operation", "on_exhausted"),
    [(each, end) for each in OPERATIONS for end in ENDS.get(each, ("bury",))],
)
def test_an_operation_happens_or_does_not(operation: str, on_exhausted: OnExhausted) -> None:
    def prepared() -> tuple[BatchCore, dict[str, int]]:
        core, keys = full(on_exhausted)
        if operation in PREPARATIONS:
            PREPARATIONS[operation](core)
        return core, keys

    allowed = [after_a_restart(prepared()[0], on_exhausted)]
    if operation == "claim after another":  # the end of that one is an operation of its own
        core, keys = prepared()
        core.done(NOW, keys["pair"], 2)
        allowed.append(after_a_restart(core, on_exhausted))

    step = 0
    while True:
        step += 1
        core, keys = prepared()
        last_key, next_id = core.records.last_key, core.records.next_id
        with Faults(step) as faults, suppress(Fault, QueueActorsError):
            OPERATIONS[operation](core, keys)
        if faults.raised is None:
            break
        assert after_a_restart(core, on_exhausted) in allowed, faults.raised
        assert core.records.last_key >= last_key
        assert core.records.next_id >= next_id

    assert (step == 1) == (operation in {"pause", "resume", "stored"})
    changed = after_a_restart(core, on_exhausted) != allowed[0]
    if operation == "bury_dead":
        assert changed == (on_exhausted == "other")
    elif operation == "kick":
        assert changed == (on_exhausted == "bury")
    else:
        assert changed == (operation not in READING)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_an_operation_changes_is_noted_for_the_store(operation: str) -> None:
    for on_exhausted in ENDS.get(operation, ("bury",)):
        core, keys = full(on_exhausted)
        core.advance(NOW)
        if operation in PREPARATIONS:
            PREPARATIONS[operation](core)
            core.advance(NOW)
        changed = core._changed  # noqa: SLF001
        assert changed is not None
        changed.written()
        before = {each: fields(batch) for each, batch in core.records.messages.items()}

        with suppress(QueueActorsError):
            OPERATIONS[operation](core, keys)

        after = {each: fields(batch) for each, batch in core.records.messages.items()}
        different = {each for each in {*before, *after} if before.get(each) != after.get(each)}
        assert changed.cleared == (operation == "clear")
        assert {*changed} == (set() if changed.cleared else different)


def test_the_end_of_a_queue_goes_on_where_it_was_interrupted() -> None:
    whole, _ = full("bury")
    whole.shut(NOW)

    step = 0
    while True:
        step += 1
        core, _ = full("bury")
        with Faults(step) as faults, suppress(Fault):
            core.shut(NOW)
        if faults.raised is None:
            break
        again = new_core("bury", core.records)
        again.shut(NOW)
        assert told(again.records) == told(whole.records), faults.raised

    assert step > 10


def test_items_that_are_pushed_together_go_in_one_after_the_other() -> None:
    """A buffer cannot give them back."""
    items = ["a", "b", "c", "d", "e", "f"]
    for new_buffer in (Appending, merging):
        step = 0
        while True:
            step += 1
            core, _ = full("drop", new_buffer)
            before = core.length(NOW)
            with Faults(step) as faults, suppress(Fault):
                core.push(NOW, items)
            if faults.raised is None:
                break
            again = new_core("drop", core.records)
            again.flush(NOW)
            count = again.length(NOW) - before
            batches = sorted(again.records.messages.values(), key=lambda batch: batch.id)
            held: list[object] = []
            for batch in batches:
                assert isinstance(batch.value, list)
                held += batch.value
            assert held[len(held) - count :] == items[:count]
            assert again.records.intake.pushed == core.records.intake.pushed
        assert step > 10


@pytest.mark.parametrize("on_exhausted", get_args(OnExhausted))
def test_the_core_that_is_attacked_has_something_in_every_state(on_exhausted: OnExhausted) -> None:
    core, _ = full(on_exhausted)

    numbers = core.statistics(NOW - 1)

    assert (numbers.ready, numbers.cooling, numbers.retrying, numbers.claimed) == (2, 3, 4, 5)
    assert numbers.buried == 3 * (on_exhausted == "bury")
    assert numbers.dead == 3 * (on_exhausted == "other")
    assert numbers.buffered == 2
