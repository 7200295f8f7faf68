"""The capacity and log cores: an operation that raises in the middle has not happened.

As in `test_faults`: every statement that can raise at all is made to, in every operation; then a
new core is built from the records. What passes by itself may have passed.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from queueactors import QueueActorsError
from queueactors.cores import Changed
from queueactors.cores._pause import is_paused
from queueactors.cores.capacity import CapacityCore, CapacityRecords
from queueactors.cores.log import LogCore, LogRecords

from .faults import Fault, Faults
from .kit_chunks import Foreign, add, fields, push, set_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Subject = Any  # type: ignore[explicit-any] # either core

NOW = 100  # instant of the operation; some items expire just then
TTL = 60


@pytest.fixture(autouse=True)
def _tiny() -> Iterator[None]:
    before = set_limits((4, 16, 10, 2))
    yield
    set_limits(before)


def load(number: int) -> list[object]:
    """Read one of the records that were written."""
    return [bytes([number])] * 4


def let_go(core: CapacityCore | LogCore) -> None:
    """Leave the items of the oldest records to the store, as if they had been written."""
    held = [chunk for chunk in core.records.messages.values() if chunk.state == "kept"]
    for chunk in held[:2]:
        assert chunk.value == load(chunk.id)
        chunk.value = None


def full_capacity() -> CapacityCore:
    """Return a core with records that are in the store only, read in part, open, or large."""
    changed = Changed()
    core = CapacityCore(
        records=CapacityRecords(max_elements=20), max_elements=20, changed=changed, load=load
    )
    push(core, 0, *[b"\1"] * 4, *[b"\2"] * 4)
    core.pop(10)
    push(core, 20, b"3", Foreign(b"45"), bytes(17))
    push(core, 30, b"6", b"7")
    let_go(core)
    changed.written()
    core = CapacityCore(records=core.records, max_elements=20, changed=changed, load=load)
    push(core, NOW, b"8", b"9")
    return core


def full_log() -> LogCore:
    """Return a core with expired and live items, and labels before, inside and behind them."""
    changed = Changed()
    core = LogCore(ttl=TTL, changed=changed, load=load)
    for name, count in (("first", 0), ("inside", 6), ("live", 9), ("end", 12)):
        core.next(0, name)
        label = core.records.messages[core.records.next_id - 1]
        label.first = count
    for now, item in ((0, b"\5"), (NOW - TTL, b"\6"), (NOW - TTL + 1, b"7")):
        add(core, now, *[item] * 4)
    let_go(core)
    changed.written()
    core = LogCore(ttl=TTL, records=core.records, changed=changed, load=load)
    add(core, NOW, b"8", b"9")
    return core


def close(core: LogCore, _after: object) -> None:
    core.close(NOW)


PREPARATIONS: dict[str, Callable[[CapacityCore], object]] = {
    "push in vain": lambda core: core.resize(50, 14),
    "wait_push in vain": lambda core: core.resize(50, 14),
    "push too many": lambda core: core.resize(50, 2),
    "push into a closed one": lambda core: core.close(50),
    "pop the rest of a closed one": lambda core: core.close(50),
    "pop while paused": lambda core: core.pause(50),
    "pop after a pause": lambda core: core.pause(50, 20),
    "pop nothing": lambda core: core.pop(50, 99),
    "resume": lambda core: core.pause(50),
    "clear nothing": lambda core: core.pop(50, 99),
}
OPERATIONS: dict[str, Callable[[CapacityCore], object]] = {
    "advance": lambda core: core.advance(NOW),
    "push": lambda core: push(core, NOW, b"a"),
    "push several": lambda core: push(core, NOW, b"a", b"b", b"c", Foreign(b"d"), b"e"),
    "push later": lambda core: push(core, NOW + 1, b"a", bytes(17)),
    "push nothing": lambda core: push(core, NOW),
    "push in vain": lambda core: push(core, NOW, b"a", b"b"),
    "push too many": lambda core: core.wait_push(NOW, [b"a"] * 3, [1] * 3),
    "push into a closed one": lambda core: push(core, NOW, b"a"),
    "wait_push": lambda core: core.wait_push(NOW, [b"a"], [1]),
    "wait_push in vain": lambda core: core.wait_push(NOW, [b"a", b"b"], [1, 1]),
    "pop": lambda core: core.pop(NOW),
    "pop a record": lambda core: core.pop(NOW, 3),
    "pop several": lambda core: core.pop(NOW, 6),
    "pop all": lambda core: core.pop(NOW, 99),
    "pop the rest of a closed one": lambda core: core.pop(NOW, 99),
    "pop while paused": lambda core: core.pop(NOW, 99),
    "pop after a pause": lambda core: core.pop(NOW),
    "pop nothing": lambda core: core.pop(NOW),
    "clear": lambda core: core.clear(NOW),
    "clear nothing": lambda core: core.clear(NOW),
    "close": lambda core: core.close(NOW),
    "pause": lambda core: core.pause(NOW, 5),
    "resume": lambda core: core.resume(NOW),
    "resize": lambda core: core.resize(NOW, 1),
    "length": lambda core: (core.length(NOW), core.is_empty(NOW), core.payload_size(NOW)),
    "statistics": lambda core: (core.statistics(NOW), core.disk_size(NOW)),
}
READING = {
    "advance",
    "clear nothing",
    "length",
    "pop nothing",
    "pop while paused",
    "push in vain",
    "push into a closed one",
    "push nothing",
    "push too many",
    "statistics",
    "wait_push in vain",
}
LOG_PREPARATIONS: dict[str, Callable[[LogCore], object]] = {
    "add to a closed one": lambda core: core.close(50),
    "next while paused": lambda core: core.pause(50),
    "next after a pause": lambda core: core.pause(50, 20),
    "resume": lambda core: core.pause(50),
    "wait_next in vain": lambda core: core.commit(NOW, "end", 14),
    "wait_next on a closed one": lambda core: close(core, core.commit(NOW, "end", 14)),
    "wait_read on a closed one": lambda core: close(core, core.clear(NOW)),
}
LOG_OPERATIONS: dict[str, Callable[[LogCore], object]] = {
    "advance": lambda core: core.advance(NOW),
    "advance by slices": lambda core: core.advance(NOW + 7, 1),
    "advance later": lambda core: core.advance(NOW + 7),
    "add": lambda core: add(core, NOW, b"a"),
    "add several": lambda core: add(core, NOW, b"a", b"b", b"c", Foreign(b"d"), b"e"),
    "add to a closed one": lambda core: add(core, NOW, b"a"),
    "next": lambda core: core.next(NOW, "live", "oldest", 9),
    "next of those behind": lambda core: core.next(NOW - 1, "first", "oldest", 99),
    "next of a new label": lambda core: core.next(NOW, "new", "oldest", 9),
    "next while paused": lambda core: core.next(NOW, "first"),
    "next after a pause": lambda core: core.next(NOW, "first"),
    "wait_next": lambda core: core.wait_next(NOW, "inside", "oldest", 9),
    "wait_next of a new label": lambda core: core.wait_next(NOW, "new", "newest"),
    "wait_next in vain": lambda core: core.wait_next(NOW, "end"),
    "wait_next on a closed one": lambda core: core.wait_next(NOW, "end"),
    "wait_read": lambda core: core.wait_read(NOW, "live"),
    "wait_read of a new label": lambda core: core.wait_read(NOW, "new"),
    "wait_read on a closed one": lambda core: core.wait_read(NOW, "new"),
    "read": lambda core: core.read(NOW, "first", "oldest", 9),
    "read of a new label": lambda core: core.read(NOW, "new", "newest"),
    "commit": lambda core: core.commit(NOW, "live", 11),
    "commit in vain": lambda core: core.commit(NOW, "live", 8),
    "remove_label": lambda core: core.remove_label(NOW, "live"),
    "remove_label in vain": lambda core: core.remove_label(NOW, "new"),
    "labels": lambda core: core.labels(NOW),
    "clear": lambda core: core.clear(NOW),
    "close": lambda core: core.close(NOW),
    "pause": lambda core: core.pause(NOW, 5),
    "resume": lambda core: core.resume(NOW),
    "length": lambda core: (core.length(NOW), core.disk_size(NOW)),
    "statistics": lambda core: core.statistics(NOW),
}
LOG_READING = {
    "add to a closed one",
    "commit in vain",
    "labels",
    "length",
    "next while paused",
    "remove_label in vain",
    "statistics",
    "wait_next in vain",
    "wait_next on a closed one",
    "wait_read on a closed one",
}


def told(records: CapacityRecords | LogRecords) -> object:
    """Return all that records say, apart from a pause that is over."""
    chunks = {each: fields(chunk) for each, chunk in records.messages.items()}
    for facts in chunks.values():
        if isinstance(facts["value"], list):
            facts["value"] = [*facts["value"]]
    paused = is_paused(records.paused_until, NOW) and records.paused_until
    head = {**records.head(), "paused_until": paused}
    return chunks, head, records.closed, attrs.asdict(records.counters)


def is_whole(records: CapacityRecords | LogRecords) -> bool:
    """Return whether the numbers of the items are successive, up to the end."""
    chunks = [chunk for chunk in records.messages.values() if chunk.state == "kept"]
    for one, next_ in pairwise(chunks):
        if one.first + one.count != next_.first:
            return False
    return not chunks or chunks[-1].first + chunks[-1].count == records.end


def prepared_capacity(operation: str) -> CapacityCore:
    core = full_capacity()
    if operation in PREPARATIONS:
        PREPARATIONS[operation](core)
    return core


def prepared_log(operation: str) -> LogCore:
    core = full_log()
    if operation in LOG_PREPARATIONS:
        LOG_PREPARATIONS[operation](core)
    return core


@attrs.define(eq=False)
class Case:
    """An operation to be attacked."""

    name: str
    prepare: Callable[[], CapacityCore | LogCore]
    carry_out: Callable[[Subject], object]
    reads: bool
    cannot_raise: bool


PLAIN = {
    "add to a closed one",
    "close",
    "pause",
    "push into a closed one",
    "resize",
    "resume",
}
CASES = [
    *(
        Case(
            f"capacity, {each}",
            partial(prepared_capacity, each),
            does,
            each in READING,
            each in PLAIN,
        )
        for each, does in OPERATIONS.items()
    ),
    *(
        Case(f"log, {each}", partial(prepared_log, each), does, each in LOG_READING, each in PLAIN)
        for each, does in LOG_OPERATIONS.items()
    ),
]
all_cases = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


@all_cases
def test_an_operation_happens_or_does_not(case: Case) -> None:
    before = told(case.prepare().records)

    step = 0
    while True:
        step += 1
        core = case.prepare()
        with Faults(step) as faults, suppress(Fault, QueueActorsError):
            case.carry_out(core)
        assert is_whole(core.records)
        if faults.raised is None:
            break
        assert told(core.records) == before, faults.raised

    assert (step == 1) == case.cannot_raise
    assert (told(core.records) == before) == case.reads


@all_cases
def test_what_an_operation_changes_is_noted_for_the_store(case: Case) -> None:
    core = case.prepare()
    changed = core._changed  # noqa: SLF001
    assert changed is not None
    noted = {*changed}  # what came just now
    before = {each: fields(chunk) for each, chunk in core.records.messages.items()}

    with suppress(QueueActorsError):
        case.carry_out(core)

    after = {each: fields(chunk) for each, chunk in core.records.messages.items()}
    different = {each for each in {*before, *after} if before.get(each) != after.get(each)}
    assert changed.cleared == (case.name == "capacity, clear")
    assert {*changed} == (set() if changed.cleared else different | noted)


def test_the_cores_that_are_attacked_have_all_that_there_is() -> None:
    capacity, log = full_capacity(), full_log()

    held = [chunk.value is None for chunk in capacity.records.messages.values()]
    assert held == [True, True, False, False, False, False, False]
    assert capacity.length(NOW) == 14
    assert capacity.payload_size(NOW) == 7 + 1 + 2 + 17 + 2 + 2
    assert (log.length(NOW - 1), log.length(NOW), log.length(NOW + 1)) == (10, 6, 2)
    assert log.labels(NOW) == ["first", "inside", "live", "end"]
    lost = [log.read(NOW, label).expired for label in log.labels(NOW)]
    assert lost == [8, 2, 0, 0]
