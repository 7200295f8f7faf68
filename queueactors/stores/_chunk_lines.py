"""Chunks and labels as lines, and what makes them a queue: their positions. See `_lines`.

A chunk's value is a list of its items; of bytes that are UTF-8, as texts. In a line that somebody
else writes, ``first`` may be left out: the chunk follows the one before it. A label has one item,
its name, and says with ``first`` how many items of the file are behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import msgspec

from queueactors._codecs import ITEMS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ._lines import Header

NAMES: Final = f"{ITEMS}bytes"  # the codec of a label's name

END: Final = 1 << 62  # a number that no item ever gets, and that SQLite can keep

Fields = dict[str, object]


class LineError(Exception):
    """A line is not what it should be."""


def items_text(codec: str, data: bytes) -> bytes | None:
    """Return the items of a chunk as JSON; None: the same bytes would not come back from it."""
    try:
        decode = _EACH[codec][0]
        text = msgspec.json.encode([decode(item) for item in _BYTES(data)])
        return text if items_bytes(codec, text) == data else None
    except Exception:  # noqa: BLE001 - whatever it is, it is not JSON
        return None


def items_bytes(codec: str, text: bytes) -> bytes:
    """Return the bytes of a chunk whose items are written as JSON.

    Raises:
      LineError: If there are none in that codec.
    """
    if codec not in _EACH:
        raise LineError(f"expected data, not value, with codec {codec!r}")
    encode = _EACH[codec][1]
    try:
        items = msgspec.json.decode(text, type=list[object])
        return msgspec.msgpack.encode([encode(item) for item in items])
    except (ValueError, OverflowError, TypeError, RecursionError) as error:
        raise LineError(f"expected value to be a list of items: {error}") from None


def items_of(codec: str, data: bytes) -> list[bytes] | None:
    """Return the items of a chunk, as they are kept; None: it cannot be read."""
    if not codec.startswith(ITEMS):
        return None
    try:
        return _BYTES(data)
    except msgspec.DecodeError:
        return None


def name_of(codec: str, data: bytes) -> str | None:
    """Return the name of a label; None: it cannot be read."""
    items = items_of(codec, data) if codec == NAMES else None
    if items is None or len(items) != 1:
        return None
    try:
        return items[0].decode()
    except UnicodeDecodeError:
        return None


def check_chunk(fields: Fields, codec: str, data: bytes, *, raw: bool, labels: bool) -> None:
    """See that a chunk or label is what it says; complete it.

    Args:
      fields: The line's.
      codec: The value's.
      data: Its bytes.
      raw: They stand in the line: then they may be what nobody can decode, as in the store that
        they come from.
      labels: Whether there may be any in that queue.

    Raises:
      LineError: If it is not.
    """
    first = cast("int | None", fields["first"])
    if first is not None and first < 0:
        raise LineError(f"expected first to be >= 0, got {first}")
    if fields["state"] == "label":
        if not labels:
            raise LineError("expected state to be 'kept', got 'label'")
        _check_label(fields, codec, data, raw=raw)
        return
    items = items_of(codec, data)
    if items is None:
        if not raw:
            raise LineError("expected value to be a list of items")
        if fields["count"] is None or fields["size"] is None:
            rule = "expected count and size, as data is no list of items that can be read"
            raise LineError(rule)
    else:
        for what, is_ in (("count", len(items)), ("size", sum(map(len, items)))):
            if fields[what] not in {None, is_}:
                raise LineError(f"expected {what} to be {is_}, as of its items, got {fields[what]}")
            fields[what] = is_
    if cast("int", fields["count"]) < 1 or cast("int", fields["size"]) < 0:
        raise LineError("expected a list of at least one item")


def _check_label(fields: Fields, codec: str, data: bytes, *, raw: bool) -> None:
    if name_of(codec, data) is None and not raw:
        raise LineError(f"expected a label's name as the one text in value, in codec {NAMES!r}")
    if fields["first"] is None:
        raise LineError("expected first, as state is 'label'")
    for what in ("count", "size"):
        if fields[what] not in {None, 0}:
            raise LineError(f"expected {what} to be 0, as state is 'label', got {fields[what]}")
        fields[what] = 0


def check_head(head: Mapping[str, int | None]) -> None:
    """See that a queue can go on by what its header says of it.

    Raises:
      LineError: If it cannot.
    """
    end = head["end"]
    most = {"begin": end, "end": END}
    for name in sorted({"begin", "end", "max_elements", "taken"} & {*head}, reverse=True):
        value, least, limit = head[name], int(name == "max_elements"), most.get(name)
        if value is None or value < least or (limit is not None and value > limit):
            rule = f">= {least}" if limit is None else f"from {least} to {limit}"
            raise LineError(f"expected {name} of the header to be {rule}, got {value}")


class Positions:
    """Follows the chunks and labels of one queue: where they stand.

    Args:
      header: The header of their section; None: it has none.
      what: A label's number is that of.
    """

    def __init__(self, header: Header | None, what: str = "line") -> None:
        self._what = what
        self.end = 0
        self._limit = None if header is None else header.head.get("end")
        self._names: dict[str, int] = {}
        self._labels: list[tuple[int, int]] = []  # a line, and where its label stands

    def place(self, fields: Fields) -> None:
        """Complete a chunk.

        Raises:
          LineError: If it does not follow the one before it.
        """
        if fields["state"] == "label":
            return
        first = cast("int | None", fields["first"])
        if first is None:
            first = fields["first"] = self.end
        if first < self.end:
            raise LineError(f"expected first to be at least {self.end}, got {first}")
        self.end = first + cast("int", fields["count"])
        if self._limit is not None and self.end > self._limit:
            told = f"expected first + count to be at most end, {self._limit}, got {self.end}"
            raise LineError(told)

    def note(self, number: int, fields: Fields, codec: str, data: bytes) -> None:
        """Note a label; ``number`` is that of its line.

        Raises:
          LineError: If there is one of that name.
        """
        if fields["state"] != "label":
            return
        self._labels.append((number, cast("int", fields["first"])))
        name = name_of(codec, data)
        if name is None:
            return
        line = self._names.setdefault(name, number)
        if line != number:
            raise LineError(f"label {name!r} is that of {self._what} {line}")

    def last(self) -> int:
        """Return the highest number at which a chunk ends, or a label stands."""
        return max([self.end, *(first for _, first in self._labels)])

    def beyond(self) -> tuple[int, str] | None:
        """Return the line of a label that stands behind the end, and what is wrong with it."""
        limit = self.end if self._limit is None else self._limit
        for number, first in self._labels:
            if first > limit:
                return number, f"expected first to be at most {limit}, got {first}"
        return None


def cut(fields: Fields, begin: int, codec: str, data: bytes) -> bytes | None:
    """Take away what was popped of a chunk: items before ``begin``. None: there is none.

    Returns:
      What is left of its bytes.
    """
    first, count = cast("int", fields["first"]), cast("int", fields["count"])
    items = items_of(codec, data)
    if items is None or not first < begin < first + count:
        return None
    left = items[begin - first :]
    fields.update(first=begin, count=len(left), size=sum(map(len, left)))
    return msgspec.msgpack.encode(left)


def _text_of(data: bytes) -> object:
    return data.decode()


def _bytes_of(value: object) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, got {value!r:.100}; give other bytes as data")
    return value.encode()


# The codecs that know their items by the bytes alone: what decodes, and what encodes.
_EACH: Final[Mapping[str, tuple[Callable[[bytes], object], Callable[[object], bytes]]]] = {
    NAMES: (_text_of, _bytes_of),
    f"{ITEMS}msgpack": (msgspec.msgpack.Decoder().decode, msgspec.msgpack.Encoder().encode),
    f"{ITEMS}json": (msgspec.json.Decoder().decode, msgspec.json.Encoder().encode),
}
_BYTES: Final = msgspec.msgpack.Decoder(list[bytes]).decode
