"""How the records of each kind stand in lines, and on a Redis server; see ``transfer.lua``."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, ClassVar, Final, Protocol, cast

import attrs
import msgspec

from queueactors._codecs import ITEMS, LETTER, Encoded
from queueactors.cores._chunks import ITEMS as MOST_ITEMS
from queueactors.cores._chunks import SIZE
from queueactors.engines.redis import (
    CapacityWire,
    LogWire,
    MessageWire,
    TimedWire,
    from_body,
    to_body,
    to_micros,
    to_nanos,
)

from ._chunk_lines import NAMES, items_of, name_of
from ._transfer import TransferError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from ._table import Row
    from ._transfer import Import

EXACT: Final = 1 << 53  # up to here a number is exact there
LATEST: Final = 9 * 10**15  # microseconds: the latest instant there, in the year 2255
FIRST_VALUE: Final = 5  # the number of the first value's argument
_BIAS: Final = 1 << 63  # a priority is 8 bytes that compare as it does

Fields = dict[str, object]
Item = tuple[str, bytes]  # its codec, and its bytes


class Asks(Protocol):
    """Asks a server for a part of a queue."""

    async def __call__(
        self, operation: str, argument: object, /
    ) -> tuple[Sequence[object], Sequence[bytes]]:
        """Return the answer, and the values in it."""


@attrs.frozen
class Held:
    """A queue that is held.

    Args:
      at: Microseconds: since when.
      records: How many it has.
      facts: What it is beside them.
    """

    at: int  # microseconds
    records: int
    facts: Mapping[str, int]


@attrs.frozen
class Reader:
    """Reads one queue that is held.

    Args:
      ask: Asks the server.
      held: The queue.
      page: How many messages are asked for at once.
    """

    ask: Asks
    held: Held
    page: int

    async def messages(self) -> AsyncIterator[tuple[Sequence[object], Sequence[bytes]]]:
        """Yield messages by number, with the values of which they are parts."""
        cursor: object = (1, "0")
        known = array("q")
        while cursor:
            (some, cursor), _ = await self.ask("numbers", cursor)
            known.extend(cast("list[int]", some))
        numbers = sorted(set(known))
        first = 0
        while first < len(numbers):
            rows, values = await self.ask("read", numbers[first : first + self.page])
            for row in rows:
                yield cast("Sequence[object]", row), values
            first += len(rows)


class Part(Protocol):
    """What is a kind's own."""

    wire: type

    def rows(self, reader: Reader) -> AsyncIterator[Row]:
        """Yield a queue's rows, as `Table.select` has them, by id."""

    def head(self, held: Held, lines: int) -> dict[str, int | None]:
        """Return the header's facts."""

    def check(self, lines: Import) -> bool:
        """See that lines can be kept; return whether its keys, if it has any, are new ones."""

    def facts(self, lines: Import) -> list[object]:
        """Return what a queue begins with: names and numbers."""

    def pack(
        self, fields: Fields, codec: str, values: list[bytes], key: int | None
    ) -> list[tuple[object, ...]]:
        """Return how a line is sent; its values are added to the others.

        Args:
          fields: The line's.
          codec: That of values that say none.
          values: Those that are sent with it.
          key: Its new key, if it has one; None: it keeps its own.
        """


def _micros(fields: Fields, name: str) -> int:
    """Return an instant, or a duration, of a line."""
    return min(max(to_micros(cast("int", fields[name])), 0), LATEST)


def _add_value(fields: Fields, codec: str, values: list[bytes]) -> int:
    values.append(to_body(cast("bytes | Encoded", fields["value"]), codec))
    return FIRST_VALUE + len(values) - 1


def _codec_and_data(body: bytes) -> Item:
    value = from_body(body, "bytes")
    return (value.codec, value.data) if isinstance(value, Encoded) else ("bytes", value)


class _Messages:
    """What timed and message queues have."""

    instants: ClassVar[tuple[str, ...]] = ("synced_at", "paused_until")

    def head(self, held: Held, lines: int) -> dict[str, int | None]:  # noqa: ARG002 - as every part
        head: dict[str, int | None] = {"next_id": 1, "last_key": 0}
        head |= dict.fromkeys(self.instants)
        for name, value in held.facts.items():
            head[name] = to_nanos(value) if name in self.instants and value >= 0 else value
        return head

    def check(self, lines: Import) -> bool:
        head = lines.head
        if (head.get("next_id") or 0) >= EXACT:
            raise TransferError(f"queue {lines.queue!r} has ids that a server cannot count")
        return not head or (head.get("last_key") or 0) >= EXACT

    def facts(self, lines: Import) -> list[object]:
        head = lines.head
        many = lines.messages
        found: list[object] = ["next_id", head.get("next_id") or many + 1]
        found += ["last_key", many if self.check(lines) else head["last_key"]]
        for name in self.instants:
            value = head.get(name)
            if value is not None:
                found += [name, to_micros(value) if value >= 0 else value]
        return found


class _Timed(_Messages):
    wire: type = TimedWire

    async def rows(self, reader: Reader) -> AsyncIterator[Row]:
        async for row, values in reader.messages():
            id_, body, state, priority, inserted, ready, attempt, key, deadline, error = cast(
                "tuple[int, int, str, int, int, int, int, int, int, str | bool]", row
            )
            codec, data = _codec_and_data(values[body - 1])
            biased = int.from_bytes(values[priority - 1], "big") - _BIAS
            times = to_nanos(inserted), to_nanos(ready), attempt, key, to_nanos(deadline)
            yield id_, data, state, biased, *times, None if error is False else error, codec

    def pack(
        self, fields: Fields, codec: str, values: list[bytes], key: int | None
    ) -> list[tuple[object, ...]]:
        value = _add_value(fields, codec, values)
        values.append((cast("int", fields["priority"]) + _BIAS).to_bytes(8, "big"))
        own = fields["key"]
        return [
            (
                fields["id"] or key,
                value,
                fields["state"],
                value + 1,
                _micros(fields, "inserted_at"),
                _micros(fields, "ready_at"),
                fields["attempt"],
                key if key and own else own,
                _micros(fields, "deadline_at"),
                fields["error"] if fields["error"] is not None else False,
            )
        ]


class _Message(_Messages):
    wire: type = MessageWire
    instants: ClassVar[tuple[str, ...]] = ("paused_until",)

    async def rows(self, reader: Reader) -> AsyncIterator[Row]:
        async for row, values in reader.messages():
            id_, body, state, mid, enqueued, instant, lock_time, attempt, key = cast(
                "tuple[int, int, str, str, int, int, int | bool, int, int]", row
            )
            codec, data = _codec_and_data(values[body - 1])
            ends = state in {"locked", "done"}
            enqueued_at, at = to_nanos(enqueued), to_nanos(instant)
            ready_at, deadline_at = (enqueued_at, at) if ends else (at, 0)
            lock = None if lock_time is False else to_nanos(lock_time)
            facts = enqueued_at, ready_at, lock, attempt, key, deadline_at
            yield id_, data, state, mid, *facts, codec

    def pack(
        self, fields: Fields, codec: str, values: list[bytes], key: int | None
    ) -> list[tuple[object, ...]]:
        own, state = fields["key"], fields["state"]
        instant = "deadline_at" if state in {"locked", "done"} else "ready_at"
        return [
            (
                fields["id"] or key,
                _add_value(fields, codec, values),
                state,
                fields["mid"] or f"imported-{key}",
                _micros(fields, "enqueued_at"),
                _micros(fields, instant),
                _micros(fields, "lock_time") if fields["lock_time"] is not None else False,
                fields["attempt"],
                key if key and own else own,
            )
        ]


class _Chunks:
    """What capacity and log queues have."""

    def check(self, lines: Import) -> bool:
        for number, fields in lines.read():
            codec, data = lines.kept(fields)
            if cast("int", fields["first"]) + cast("int", fields["count"]) >= EXACT:
                raise TransferError(f"queue {lines.queue!r} has more items than a server can count")
            label = fields["state"] == "label"
            if (name_of(codec, data) if label else items_of(codec, data)) is None:
                raise TransferError(
                    f"line {number - lines.first_line + 1} of queue {lines.queue!r} has items "
                    "that cannot be read: there is no place for them on a server"
                )
        return False

    def items(self, fields: Fields, codec: str) -> list[bytes]:
        """Return the items of a line, as they are kept there."""
        body = to_body(cast("bytes | Encoded", fields["value"]), codec)
        known, data = _codec_and_data(body)
        name = known.removeprefix(ITEMS)
        prefix = b"" if name == "bytes" else name.encode()
        return [prefix + b"\0" + item for item in items_of(known, data) or ()]


def _chunks(items: Sequence[Item]) -> Iterable[tuple[str, list[bytes]]]:
    """Yield items that are kept together, with their codec; a dead letter is alone."""
    some: list[bytes] = []
    codec, size = "", 0
    for name, data in items:
        full = len(some) == MOST_ITEMS or size + len(data) > SIZE
        if some and (name != codec or full or name.startswith(LETTER)):
            yield codec, some
            some, size = [], 0
        some.append(data)
        codec, size = name, size + len(data)
    if some:
        yield codec, some


def _chunk_row(id_: int, codec: str, items: list[bytes], first: int, at: int) -> Row:
    data = msgspec.msgpack.encode(items)
    return id_, data, "kept", first, len(items), sum(map(len, items)), at, ITEMS + codec


class _Capacity(_Chunks):
    wire: type = CapacityWire

    async def rows(self, reader: Reader) -> AsyncIterator[Row]:
        id_ = first = 0
        at = to_nanos(reader.held.at)
        while first < reader.held.records:
            _, values = await reader.ask("read", first)
            for codec, items in _chunks([_codec_and_data(body) for body in values]):
                id_ += 1
                yield _chunk_row(id_, codec, items, first, at)
                first += len(items)

    def head(self, held: Held, lines: int) -> dict[str, int | None]:
        paused = held.facts.get("paused_until")
        return {
            "next_id": lines + 1,
            "begin": 0,
            "end": held.records,
            "taken": 0,
            "max_elements": held.facts["max_elements"],
            "paused_until": paused if paused is None or paused < 0 else to_nanos(paused),
        }

    def facts(self, lines: Import) -> list[object]:
        head = lines.head
        found: list[object] = []
        if head.get("max_elements") is not None:
            found += ["max_elements", min(cast("int", head["max_elements"]), EXACT)]
        paused = head.get("paused_until")
        if paused is not None:
            found += ["paused_until", to_micros(paused) if paused >= 0 else paused]
        return found

    def pack(
        self,
        fields: Fields,
        codec: str,
        values: list[bytes],
        key: int | None,  # noqa: ARG002 - as every part
    ) -> list[tuple[object, ...]]:
        items = self.items(fields, codec)
        first = FIRST_VALUE + len(values)
        values += items
        return [(first, len(items), _size(items))]


def _size(items: Iterable[bytes]) -> int:
    """Return how many bytes items have, behind their codec's name."""
    return sum(len(item) - item.index(b"\0") - 1 for item in items)


class _Log(_Chunks):
    wire: type = LogWire

    async def rows(self, reader: Reader) -> AsyncIterator[Row]:
        id_ = 0
        after = "-"
        while True:
            rows, values = await reader.ask("read", ("items", after))
            for row in rows:
                at, first, value, many, last = cast("tuple[int, int, int, int, str]", row)
                bodies = values[value - 1 : value - 1 + many]
                for codec, items in _chunks([_codec_and_data(body) for body in bodies]):
                    id_ += 1
                    yield _chunk_row(id_, codec, items, first, to_nanos(at))
                    first += len(items)
                after = f"({last}"
            if not rows:
                break
        seen, at = 0, to_nanos(reader.held.at)
        while True:
            rows, values = await reader.ask("read", ("labels", seen))
            if not rows:
                return
            for row in rows:
                name, position = cast("tuple[int, int]", row)
                id_ += 1
                data = msgspec.msgpack.encode([values[name - 1]])
                yield id_, data, "label", position, 0, 0, at, NAMES
            seen += len(rows)

    def head(self, held: Held, lines: int) -> dict[str, int | None]:
        paused = held.facts.get("paused_until")
        return {
            "next_id": lines + 1,
            "end": held.facts.get("added", 0),
            "paused_until": paused if paused is None or paused < 0 else to_nanos(paused),
        }

    def facts(self, lines: Import) -> list[object]:
        end = lines.head.get("end")
        if end is None:
            end = max(
                (
                    cast("int", fields["first"]) + cast("int", fields["count"])
                    for _, fields in lines.read()
                ),
                default=0,
            )
        found: list[object] = ["added", end]
        paused = lines.head.get("paused_until")
        if paused is not None:
            found += ["paused_until", to_micros(paused) if paused >= 0 else paused]
        return found

    def pack(
        self,
        fields: Fields,
        codec: str,
        values: list[bytes],
        key: int | None,  # noqa: ARG002 - as every part
    ) -> list[tuple[object, ...]]:
        first = cast("int", fields["first"])
        items = self.items(fields, codec)
        if fields["state"] == "label":
            return [(items[0].partition(b"\0")[2].decode(), first)]
        rows: list[tuple[object, ...]] = []
        at = _micros(fields, "at")
        for begin in range(0, len(items), MOST_ITEMS):
            some = items[begin : begin + MOST_ITEMS]
            argument = FIRST_VALUE + len(values)
            rows.append((first + begin, at, argument, len(some), _size(some)))
            values += some
        return rows


PARTS: Final[Mapping[str, Part]] = {
    "timed": _Timed(),
    "message": _Message(),
    "capacity": _Capacity(),
    "log": _Log(),
}
