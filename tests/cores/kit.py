"""What all tests of the timed core share: short instants, and a look at everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from queueactors.cores._timed_values import Message
    from queueactors.cores.timed import (
        PeekState,
        Reservation,
        TimedCore,
        TimedMessage,
        TimedRecords,
    )

S = 1_000_000_000  # nanoseconds of a second
ALL = 1 << 30  # more than there is
STATES: tuple[PeekState, ...] = ("ready", "delayed", "reserved", "buried")


def reserve(core: TimedCore, now: int, duration: int = 10 * S) -> Reservation:
    """Reserve a message that must be there."""
    reservation = core.reserve(now, duration)
    assert reservation is not None
    return reservation


def values(core: TimedCore, now: int, state: PeekState = "ready") -> list[object]:
    """Return the values in a state, in order."""
    return [message.value for message in core.peek(now, state, ALL)]


def seen(core: TimedCore, now: int) -> dict[PeekState, list[TimedMessage]]:
    """Return all that `peek` shows."""
    return {state: core.peek(now, state, ALL) for state in STATES}


def drain(core: TimedCore, now: int) -> list[object]:
    """Reserve everything that is ready; return the values in the order of being handed out."""
    taken = []
    while (reservation := core.reserve(now, S)) is not None:
        taken.append(reservation.value)
    return taken


def remembered(records: TimedRecords) -> object:
    """Return all that records say, apart from numbers that may have gaps."""
    return (
        attrs.asdict(records.counters),
        {message.id: _fields(message) for message in records.messages.values()},
        records.initial,
        records.synced_at,
        records.refill_wanted,
        records.refilling,
        records.last_refill,
        records.synced,
        records.closed,
        records.paused_until,
    )


def _fields(message: Message) -> tuple[object, ...]:
    return tuple(getattr(message, name) for name in message.__struct_fields__)
