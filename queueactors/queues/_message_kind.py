"""What a store needs to keep a message queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import attrs

from queueactors._options import nanoseconds
from queueactors.cores.message import MessageCore, MessageRecords, QueuedMessage
from queueactors.stores import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queueactors._codecs import Values
    from queueactors.cores import Changed
    from queueactors.engines.redis import MessageWire
    from queueactors.stores import StoredMessage

    from ._options import MessageOptions

TABLE: Final = Table(
    "message",
    QueuedMessage,
    fixed=["mid"],
    head=MessageRecords().head(),
    fresh={"attempt": 0, "key": 0, "deadline_at": 0},
    held="locked",
    second="requeue",
)


@attrs.define(eq=False)
class MessageKind:
    """What a store needs to keep a message queue.

    Args:
      name: The queue's.
      options: The queue's.
      values: How its messages are encoded; None: they are not.
    """

    name: str
    options: MessageOptions
    values: Values | None = None
    table: Table = attrs.field(default=TABLE, init=False)

    def new_records(self) -> MessageRecords:
        """Return the records of a new queue."""
        return MessageRecords()

    def stored_records(
        self,
        head: Mapping[str, int | None],
        messages: Mapping[int, StoredMessage],
        set_aside: int,
    ) -> MessageRecords:
        """Return the records that were written, see `queueactors.stores.Kind`."""
        records = MessageRecords(set_aside=set_aside, **head)  # type: ignore[arg-type] # those of `MessageRecords.head`
        records.messages = cast("dict[int, QueuedMessage]", messages)
        return records

    def core(self, records: object, changed: Changed | None = None) -> MessageCore:
        """Return a core over those records; its indexes are still to be rebuilt."""
        core = MessageCore(
            name=self.name,
            records=cast("MessageRecords", records),
            changed=changed,
            ready=False,
        )
        self.configure(core)
        return core

    def wire(self) -> MessageWire:
        """Return how its operations travel to a server."""
        from queueactors.engines.redis import MessageWire

        values = cast("Values", self.values)  # on a server they are encoded
        return MessageWire(self.name, lambda: self.options, values.codec.name, values.decode)

    def configure(self, core: MessageCore) -> None:
        """Let a core go by the options as they are now."""
        core.configure(
            lock_time=nanoseconds("lock_time", self.options.lock_time),
            max_length=self.options.max_length,
        )
