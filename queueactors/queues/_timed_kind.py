"""What a store needs to keep a timed queue, and how its values are decoded again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import attrs

from queueactors._options import nanoseconds
from queueactors.cores.timed import (
    Message,
    Reservation,
    TimedCore,
    TimedMessage,
    TimedRecords,
)
from queueactors.stores import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queueactors._codecs import Values
    from queueactors.cores import Changed
    from queueactors.engines.redis import TimedWire
    from queueactors.stores import StoredMessage

    from ._options import TimedOptions

TABLE: Final = Table(
    "timed",
    Message,
    fixed=["inserted_at"],
    head=TimedRecords().head(),
    fresh={"attempt": 0, "key": 0, "deadline_at": 0, "error": None},
    held="reserved",
)


@attrs.define(eq=False)
class TimedKind:
    """What a store needs to keep a timed queue.

    Args:
      name: The queue's.
      options: The queue's.
      values: How its values are encoded; None: they are not.

    Raises:
      CodecError: If one of the configured values cannot be encoded.
    """

    name: str
    options: TimedOptions
    values: Values | None = None
    table: Table = attrs.field(default=TABLE, init=False)
    _initial: tuple[object, ...] = attrs.field(init=False)

    @_initial.default
    def _encoded(self) -> tuple[object, ...]:
        values = self.options.values
        return values if self.values is None else tuple(map(self.values.encode, values))

    def new_records(self) -> TimedRecords:
        """Return the records of a new queue, with the configured values in it."""
        return TimedRecords(initial=self._initial)

    def stored_records(
        self,
        head: Mapping[str, int | None],
        messages: Mapping[int, StoredMessage],
        set_aside: int,
    ) -> TimedRecords:
        """Return the records that were written, see `queueactors.stores.Kind`."""
        records = TimedRecords(set_aside=set_aside, **head)  # type: ignore[arg-type] # those of `TimedRecords.head`
        records.messages = cast("dict[int, Message]", messages)
        return records

    def core(self, records: object, changed: Changed | None = None) -> TimedCore:
        """Return a core over those records; its indexes are still to be rebuilt."""
        core = TimedCore(
            name=self.name,
            unique=self.options.unique,
            records=cast("TimedRecords", records),
            decode=None if self.values is None else self.values.decode,
            changed=changed,
            ready=False,
        )
        self.configure(core)
        return core

    def wire(self) -> TimedWire:
        """Return how its operations travel to a server."""
        from queueactors.engines.redis import TimedWire

        values = cast("Values", self.values)  # on a server they are encoded
        initial = cast("tuple[bytes, ...]", self._initial)
        return TimedWire(self.name, self._limits, values.codec.name, initial, values.decode)

    def _limits(self) -> dict[str, object]:
        """Return what the queue goes by on a server; instants are microseconds there."""
        options = self.options
        limits: dict[str, object] = {
            "unique": options.unique,
            "on_exhausted": options.on_exhausted,
        }
        if options.max_reservations is not None:
            limits["max_reservations"] = options.max_reservations
        if options.max_length is not None:
            limits["max_length"] = options.max_length
        if options.sync_interval is not None:
            limits["sync_interval"] = round(options.sync_interval * 1e6)
        return limits

    def configure(self, core: TimedCore) -> None:
        """Let a core go by the options as they are now."""
        options = self.options
        core.configure(
            max_reservations=options.max_reservations,
            on_exhausted=options.on_exhausted,
            max_length=options.max_length,
            sync_interval=None
            if options.sync_interval is None
            else nanoseconds("sync_interval", options.sync_interval, positive=False),
        )


def decode_one(values: Values, taken: Reservation) -> Reservation:
    """Return a reservation with the value that was inserted."""
    message, key, value, *rest = taken
    return Reservation(message, key, values.decode(value), *rest)


def decode_any(values: Values, taken: Reservation | None) -> Reservation | None:
    """Return a reservation, if there is one, with the value that was inserted."""
    return None if taken is None else decode_one(values, taken)


def decode_many(values: Values, taken: list[Reservation]) -> list[Reservation]:
    """Return reservations with the values that were inserted."""
    return [decode_one(values, each) for each in taken]


def decode_shown(values: Values, shown: list[TimedMessage]) -> list[TimedMessage]:
    """Return messages with the values that were inserted."""
    return [attrs.evolve(each, value=values.decode(each.value)) for each in shown]
