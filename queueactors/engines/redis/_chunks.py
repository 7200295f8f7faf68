"""How the operations of capacity and log queues travel; see ``lua/capacity.lua``, ``lua/log.lua``.

There are no chunks on a server: each item is a value by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, cast

import attrs

from queueactors._codecs import BUILT_IN, LETTER, check_codec
from queueactors._errors import CodecError, PositionError, QueueFullError
from queueactors._options import nanoseconds
from queueactors._state_errors import QueueClosedError
from queueactors.cores.capacity import CapacityStatistics
from queueactors.cores.log import LogStatistics, Read

from ._wire import BEYOND, FIRST_VALUE, from_body, join_values, origin_of, to_body, to_micros

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from queueactors._codecs import Encoded
    from queueactors._errors import QueueActorsError
    from supervisors import Operation

    from ._wire import Aside, Join, Statistics

MOST: Final = BEYOND  # up to here, a Lua number is exact
QUIET: Final = frozenset(
    {
        "commit",
        "disk_size",
        "labels",
        "length",
        "next",
        "peek",
        "read",
        "statistics",
        "wait_next",
        "wait_read",
    }
)


@attrs.define(eq=False)
class _ChunkWire:
    """What the wires of both kinds have.

    Args:
      queue: The queue's name.
      codec: The name of its items' codec.
    """

    aside: ClassVar[list[Aside]] = []  # the script sets aside, by the codecs' names
    queue: str
    codec: str
    _known: dict[str, object] = attrs.field(init=False)

    @_known.default
    def _knows(self) -> dict[str, object]:
        """Return what tells the script which items it may hand out."""
        known = {self.codec, *BUILT_IN} - ({"pickle"} - {self.codec})
        return {"codecs": ["", *sorted(known)], "letter": LETTER}

    def notice(self, event: str, facts: Sequence[object]) -> dict[str, object]:  # noqa: ARG002 - there is one
        """Return what the log is told of what is set aside."""
        number, codec = cast("tuple[int | bool, str]", facts)
        error = "it has no codec"
        try:
            check_codec(codec, self.codec)
        except CodecError as refusal:
            error = refusal.error
        return {"id": None if number is False else number, "codec": codec, "error": error}

    def pack(self, operation: Operation, values: list[bytes]) -> tuple[object, ...]:
        """Return an operation's arguments, see `Wire.pack`."""
        args = operation.args
        match operation.method:
            case "add" | "push" | "wait_push":
                first = FIRST_VALUE + len(values)
                items = cast("Sequence[bytes | Encoded]", args[0])
                values += [to_body(item, self.codec) for item in items]
                return first, len(items), origin_of(operation, values)
            case "peek" | "pop" | "resize":
                (number,) = args or (1,)
                return (min(cast("int", number), MOST),)
            case "pause":
                duration = cast("int | None", args[0]) if args else None
                return (None if duration is None else min(to_micros(duration), MOST),)
            case _:
                return args

    def _items(self, first: int, count: int, values: Sequence[bytes]) -> list[object]:
        """Return some of a reply's values as items."""
        codec = self.codec
        return [from_body(body, codec) for body in values[first - 1 : first - 1 + count]]

    def unpack(self, operation: Operation, answer: object, values: Sequence[bytes]) -> object:
        """Return an operation's answer, see `Wire.unpack`."""
        match operation.method:
            case "peek" | "pop":
                first, count = cast("tuple[int, int]", answer)
                return self._items(first, count, values)
            case "close" | "pause" | "resize" | "resume":
                return None
            case _:
                return answer

    def refusal(
        self,
        operation: Operation,  # noqa: ARG002 - as every wire
        name: str,
        facts: Sequence[object],  # noqa: ARG002 - likewise
    ) -> QueueActorsError:
        """Return the error that an operation was refused with."""
        if name == "closed":
            return QueueClosedError(self.queue)
        raise AssertionError(f"the script refuses with {name!r}")


@attrs.define(eq=False)
class CapacityWire(_ChunkWire):
    """The wire of one capacity queue.

    Args:
      queue: Its name.
      codec: The name of its items' codec.
      most: Says how many items a new queue may hold.
    """

    name: ClassVar[str] = "capacity"
    keys: ClassVar[tuple[str, ...]] = ("items", "taken_over", "aside")
    tables: ClassVar[str] = ""
    joint: ClassVar[Mapping[str, Join]] = {"push": join_values}
    quiet: ClassVar[frozenset[str] | None] = None
    most: Callable[[], int]

    def options(self, values: list[bytes]) -> dict[str, object]:  # noqa: ARG002 - as every wire
        """Return what the script goes by, see `Wire.options`."""
        return {"max_elements": min(self.most(), MOST), **self._known}

    def refusal(self, operation: Operation, name: str, facts: Sequence[object]) -> QueueActorsError:
        """Return the error that an operation was refused with."""
        if name == "full":
            new, room, most = cast("tuple[int, int | bool, int]", facts)
            known = None if room is False else room
            return QueueFullError(self.queue, new, known, most, "max_elements")
        return super().refusal(operation, name, facts)

    def notice(self, event: str, facts: Sequence[object]) -> dict[str, object]:
        """Return what the log is told of an event."""
        if event == "message_set_aside":
            return super().notice(event, facts)
        return dict(zip(("max_elements", "configured"), facts, strict=True))

    def statistics(
        self,
        now: int,  # noqa: ARG002 - as every wire
        known: Statistics,
        counts: Mapping[str, int],
    ) -> CapacityStatistics:
        """Return the queue's numbers, see `Wire.statistics`."""
        return CapacityStatistics(**known.facts, **counts)  # type: ignore[arg-type] # the script's


@attrs.define(eq=False)
class LogWire(_ChunkWire):
    """The wire of one log queue.

    Args:
      queue: Its name.
      codec: The name of its items' codec.
      ttl: Says how many seconds an item lives; None: for ever.
    """

    name: ClassVar[str] = "log"
    keys: ClassVar[tuple[str, ...]] = (
        "items",
        "times",
        "labels",
        "positions",
        "taken_over",
        "aside",
    )
    tables: ClassVar[str] = ""
    joint: ClassVar[Mapping[str, Join]] = {"add": join_values}
    quiet: ClassVar[frozenset[str] | None] = QUIET
    ttl: Callable[[], float | None]

    def options(self, values: list[bytes]) -> dict[str, object]:  # noqa: ARG002 - as every wire
        """Return what the script goes by, see `Wire.options`."""
        ttl = self.ttl()
        if ttl is None:
            return self._known
        return {"ttl": min(to_micros(nanoseconds("ttl", ttl)), MOST), **self._known}

    def pack(self, operation: Operation, values: list[bytes]) -> tuple[object, ...]:
        """Return an operation's arguments, see `Wire.pack`."""
        args = operation.args
        match operation.method:
            case "next" | "wait_next" | "read" | "wait_read":
                start = args[1] if len(args) > 1 else "oldest"
                limit = cast("int", args[2]) if len(args) > 2 else 1
                return args[0], start, min(limit, MOST)
            case "commit":
                label, position = args
                return label, max(-1, min(cast("int", position), MOST))
            case _:
                return super().pack(operation, values)

    def unpack(self, operation: Operation, answer: object, values: Sequence[bytes]) -> object:
        """Return an operation's answer, see `Wire.unpack`."""
        match operation.method:
            case "next" | "wait_next":
                first, count, lost = cast("tuple[int, int, int]", answer)
                return self._items(first, count, values), lost
            case "read" | "wait_read":
                first, count, lost, position = cast("tuple[int, int, int, int]", answer)
                return Read(self._items(first, count, values), lost, position)
            case "labels":
                return list(cast("Sequence[str]", answer or ()))
            case _:
                return super().unpack(operation, answer, values)

    def refusal(self, operation: Operation, name: str, facts: Sequence[object]) -> QueueActorsError:
        """Return the error that an operation was refused with."""
        if name == "position":
            label, position = cast("tuple[str, int]", operation.args)
            least, most = cast("tuple[int | bool, int]", facts)
            known = None if least is False else least
            return PositionError(self.queue, label, position, known, most)
        return super().refusal(operation, name, facts)

    def statistics(
        self,
        now: int,  # noqa: ARG002 - as every wire
        known: Statistics,
        counts: Mapping[str, int],
    ) -> LogStatistics:
        """Return the queue's numbers, see `Wire.statistics`."""
        facts = dict(known.facts)
        expired = cast("int", facts.pop("expired")) + counts.get("expired", 0)
        return LogStatistics(**facts, **{**counts, "expired": expired})  # type: ignore[arg-type] # the script's
