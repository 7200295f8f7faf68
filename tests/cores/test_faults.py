"""The timed core: an operation that raises in the middle has not happened.

Every statement of the core that can raise at all (it calls, looks up or compares something) is
made to raise in turn, in every operation; then a new core is built from the records. Plain
assignments, deletions of what is there and ``return`` are what the core relies on.
"""

from __future__ import annotations

from contextlib import suppress
from copy import deepcopy
from typing import TYPE_CHECKING, Literal, cast, get_args

import pytest

from queueactors import ReservationError, ReservationExpiredError
from queueactors.cores import timed
from queueactors.cores.timed import TimedCore

from .faults import Fault, Faults
from .kit import S, remembered, reserve

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = 100  # instant of the operation; some reservations and delays end just then
OnExhausted = Literal["drop", "bury", "other"]


def new_core(on_exhausted: OnExhausted, records: timed.TimedRecords) -> TimedCore:
    return TimedCore(
        unique=True,
        max_reservations=2,
        on_exhausted=on_exhausted,
        sync_interval=1,
        records=records,
    )


def full(on_exhausted: OnExhausted) -> tuple[TimedCore, dict[str, int]]:
    """Return a core with something in every state, and the keys of its reservations by name.

    A ``last`` one is the last that is allowed; a ``due`` one ends just now.
    """
    core = new_core(on_exhausted, timed.TimedRecords())
    core.insert(0, [["last"], ["due, last"], "dead"])
    for reservation in core.reserve_many(0, 3, 5):
        core.release(0, reservation.key, error="bad")
    core.insert(0, [["live"], ("due", []), "expired", "buried", ["buried"], "ready", ["ready"]])
    core.insert(0, [{"due": 1}, ["low"]], delay=NOW, priority=1)
    core.insert(0, ["delayed"], delay=S)
    keys = {
        name: reserve(core, 10, duration).key
        for name, duration in [
            ("last", S),
            ("due, last", NOW - 10),
            ("dead", S),
            ("live", S),
            ("due", NOW - 10),
            ("expired", 10),
            ("buried", S),
            ("also buried", S),
        ]
    }
    core.release(11, keys["dead"])
    core.bury(11, keys["buried"])
    core.bury(11, keys["also buried"])
    core.advance(50)
    core.reserve(50, S)  # the first ready one, so that an expired one is next
    core.release(50, core.records.last_key)
    return core, keys


def empty(core: TimedCore) -> None:
    """Let somebody find nothing, so that a refill is wanted."""
    for reservation in core.reserve_many(60, 9, S):
        core.release(60, reservation.key, delay=S)
    assert core.reserve(60, 1) is None


def refill(core: TimedCore) -> None:
    """Let a refill run."""
    empty(core)
    assert core.begin_refill(60)


def limit(core: TimedCore) -> None:
    """Leave room for two more when the operation comes."""
    on_exhausted = cast("OnExhausted", core._on_exhausted)  # noqa: SLF001
    held = new_core(on_exhausted, deepcopy(core.records)).length(NOW)
    core._max_length = held + 2  # noqa: SLF001 - a restart forgets it, and that is fine


def refill_into_little_room(core: TimedCore) -> None:
    """Let a refill run that brings more than there is room for."""
    refill(core)
    limit(core)


def give_initial(core: TimedCore) -> None:
    """Let values wait for the first instant."""
    core.records.initial = ("new", ["live"], ["new"])


PREPARATIONS: dict[str, Callable[[TimedCore], object]] = {
    "advance with initial values": give_initial,
    "begin_refill": empty,
    "refilled": refill,
    "refilled in vain": refill,
    "refilled with an error": refill,
    "insert into little room": limit,
    "insert_nowait in vain": lambda core: core.close(0),
    "refilled with little room": refill_into_little_room,
    "refill_lost": refill,
    "resume": lambda core: core.pause(50),
}
OPERATIONS: dict[str, Callable[[TimedCore, dict[str, int]], object]] = {
    "advance": lambda core, _: core.advance(NOW),
    "insert": lambda core, _: core.insert(NOW, ["new", ["live"], ["new"], 7]),
    "insert_nowait": lambda core, _: core.insert_nowait(NOW, ["new", ["live"], ["new"], 7]),
    "insert_nowait in vain": lambda core, _: core.insert_nowait(NOW, ["new", 7]),
    "insert delayed": lambda core, _: core.insert(NOW, ["new", [8]], delay=5, priority=-1),
    "reserve": lambda core, _: core.reserve(NOW, 5),
    "reserve_many": lambda core, _: core.reserve_many(NOW, 4, 5),
    "reserve_many of all": lambda core, _: core.reserve_many(NOW, 99, S),
    "prolongate": lambda core, keys: core.prolongate(NOW, keys["live"], 5),
    "touch": lambda core, keys: core.touch(NOW, keys["live"], 5),
    "release": lambda core, keys: core.release(NOW, keys["live"], 0, 5, "worse"),
    "release delayed": lambda core, keys: core.release(NOW, keys["live"], 5, -5, "worse"),
    "release the last": lambda core, keys: core.release(NOW, keys["last"], 0, 5, "worse"),
    "snooze": lambda core, keys: core.snooze(NOW, keys["last"]),
    "snooze delayed": lambda core, keys: core.snooze(NOW, keys["live"], 5),
    "fail": lambda core, keys: core.fail(NOW, keys["live"], "worse"),
    "delete": lambda core, keys: core.delete(NOW, [keys["live"]]),
    "delete several": lambda core, keys: core.delete(NOW, [keys["live"], keys["last"]]),
    "delete some": lambda core, keys: core.delete(NOW, [keys["live"], 5, keys["last"]]),
    "delete expired": lambda core, keys: core.delete(
        NOW, [keys["due"], keys["expired"]], expired_ok=True
    ),
    "bury": lambda core, keys: core.bury(NOW, keys["live"], "worse"),
    "kick": lambda core, _: core.kick(NOW, 2),
    "remove": lambda core, _: core.remove(NOW, range(20)),
    "clear": lambda core, _: core.clear(NOW),
    "close": lambda core, _: core.close(NOW),
    "pause": lambda core, _: core.pause(NOW, 5),
    "resume": lambda core, _: core.resume(NOW),
    "peek": lambda core, _: core.peek(NOW, "ready", 9),
    "statistics": lambda core, _: core.statistics(NOW),
    "dead_letters": lambda core, _: core.dead_letters(NOW),
    "bury_dead": lambda core, _: core.bury_dead(NOW, 3),
    "advance with initial values": lambda core, _: core.advance(NOW),
    "begin_refill": lambda core, _: core.begin_refill(NOW),
    "refilled": lambda core, _: core.refilled(NOW, ["new", ["live"], 7]),
    "refilled in vain": lambda core, _: core.refilled(NOW, None),
    "refilled with an error": lambda core, _: core.refilled(NOW, None, Fault()),
    "refill_lost": lambda core, _: core.refill_lost(NOW),
    "sync": lambda core, _: core.sync(NOW),
    "wait_insert": lambda core, _: core.wait_insert(NOW, ["new", ["live"], [8]], at=NOW + 5),
    "insert into little room": lambda core, _: core.insert(NOW, ["new", "new", ["live"], 7]),
    "refilled with little room": lambda core, _: core.refilled(NOW, ["new", ["live"], 7, 8, 9]),
}


@pytest.mark.parametrize("on_exhausted", get_args(OnExhausted))
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_happens_or_does_not(operation: str, on_exhausted: OnExhausted) -> None:
    def prepared() -> tuple[TimedCore, dict[str, int]]:
        core, keys = full(on_exhausted)
        if operation in PREPARATIONS:
            PREPARATIONS[operation](core)
        return core, keys

    def after_a_restart(core: TimedCore) -> object:
        restarted = new_core(on_exhausted, core.records)
        restarted.advance(NOW)
        return remembered(restarted.records)

    before = after_a_restart(prepared()[0])

    step = 0
    while True:
        step += 1
        core, keys = prepared()
        last_key, next_id = core.records.last_key, core.records.next_id
        with Faults(step) as faults, suppress(Fault, ReservationError):
            OPERATIONS[operation](core, keys)
        if faults.raised is None:
            break
        assert after_a_restart(core) == before, faults.raised
        assert core.records.last_key >= last_key
        assert core.records.next_id >= next_id

    assert (step == 1) == (operation in PLAIN)
    if operation == "bury_dead":
        assert (after_a_restart(core) != before) == (on_exhausted == "other")
    else:
        assert (after_a_restart(core) != before) == (operation not in READING)


READING = {"advance", "advance with initial values", "peek", "statistics", "dead_letters"}
PLAIN = {  # cannot raise
    "begin_refill",
    "pause",
    "refill_lost",
    "refilled in vain",
    "refilled with an error",
    "resume",
    "sync",
}


@pytest.mark.parametrize("on_exhausted", get_args(OnExhausted))
def test_the_core_that_is_attacked_has_something_in_every_state(on_exhausted: OnExhausted) -> None:
    core, keys = full(on_exhausted)

    statistics = core.statistics(NOW - 1)
    assert statistics.ready
    assert statistics.delayed
    assert statistics.reserved
    assert statistics.buried
    assert bool(statistics.dead) is (on_exhausted == "other")
    with pytest.raises(ReservationExpiredError):
        core.touch(NOW - 1, keys["expired"], S)


def test_a_fault_leaves_the_core_itself_broken_but_not_its_records() -> None:
    core, _ = full("drop")

    with Faults(10), pytest.raises(Fault):
        core.insert(NOW, ["new", "newer"])

    assert "new" not in [message.value for message in core.records.messages.values()]
