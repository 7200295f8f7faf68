"""A message as a line of JSON, and back: what `export` writes and `import` reads.

A file has one section for each queue: a header line, and a line for each message. A value is
written as JSON if the very same bytes come back from it, and otherwise as its bytes in base64: so
is what no codec here can decode. In a line that somebody else writes, all but the value may be
left out: it is a new message then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, TypeAlias, cast

import msgspec

from queueactors._codecs import ITEMS, LETTER, Encoded

from ._chunk_lines import LineError, check_chunk, items_bytes, items_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._table import Row, Table

FORMAT: Final = 1  # the version of what is written here
HEADER: Final = b'{"queueactors":'  # how a header line begins, and no other


class Header(msgspec.Struct):
    """The first line of a queue's section.

    Args:
      queueactors: The version of the format.
      store: Identifies the store's file.
      queue: The queue's name.
      kind: Its kind.
      codec: That of its messages whose lines name none.
      messages: How many lines follow.
      at: Epoch nanoseconds of the queue's last change.
      head: What the queue is beside its messages.
    """

    queueactors: int
    store: str
    queue: str
    kind: str
    codec: str
    messages: int
    at: int
    head: dict[str, int | None]


class _Letter(msgspec.Struct, forbid_unknown_fields=True):
    """What a dead letter says of its message."""

    queue: str
    id: int
    attempts: int
    error: str | None
    inserted_at: int


def header_line(header: Header) -> bytes:
    """Return a header as a line."""
    return msgspec.json.encode(header) + b"\n"


def read_header(line: bytes) -> Header:
    """Return the header that a line is.

    Raises:
      LineError: If it is not one that can be read.
    """
    try:
        version = msgspec.json.decode(line, type=dict[str, object])["queueactors"]
        if version != FORMAT:
            raise LineError(f"expected format version {FORMAT}, got {version!r}")
        return msgspec.json.decode(line, type=Header)
    except msgspec.DecodeError as error:
        raise LineError(f"the header cannot be read: {error}") from None


class Lines:
    """Makes lines of the rows of one queue, and reads them.

    Args:
      table: That of the queue's kind.
      codec: The codec that lines do not name.
      now: Epoch nanoseconds: for what a line leaves out.
    """

    def __init__(self, table: Table, codec: str, now: int = 0) -> None:
        self._table = table
        self._codec = codec
        self._facts = table.message.__struct_fields__[2:]
        self._encode = msgspec.json.Encoder().encode
        line = cast(
            "Callable[[bytes], object]", msgspec.json.Decoder(_line_type(table, now)).decode
        )
        self._decode = line

    def write(self, row: Row) -> bytes:
        """Return the line of a row of `Table.select`."""
        data, *facts, codec = row[1:]
        line = {"id": row[0], **dict(zip(self._facts, facts, strict=True))}
        if codec != self._codec:
            line["codec"] = codec
        codec, data = cast("str", codec), cast("bytes", data)
        if self._table.together and count_items(codec, data) != line["size"]:
            line["data"] = data  # what is no such list is no value
        elif self._table.lazy:
            text = items_text(codec, data)
            line |= {"data": data} if text is None else {"value": msgspec.Raw(text)}
        else:
            _put_value(line, codec, data)
        return self._encode(line) + b"\n"

    def read(self, line: bytes) -> dict[str, object]:
        """Return the fields of the message in a line; its value is bytes in the queue's codec, or
        an `Encoded`. What would be unique and is left out, ``id`` and ``mid``, is None.

        Raises:
          LineError: If it is no message.
        """
        try:
            fields = msgspec.structs.asdict(cast("msgspec.Struct", self._decode(line)))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise LineError(str(error)) from None
        codec = cast("str", fields.pop("codec") or self._codec)
        raw, given = fields.pop("value"), fields.pop("data")
        letter = cast("_Letter | None", fields.pop("dead_letter"))
        if fields.get("state") == "gone":
            raise LineError("expected state to be that of a message that is there, got 'gone'")
        if (raw is msgspec.UNSET) == (given is None):
            raise LineError("expected either value or data")
        if self._table.lazy and letter is not None:
            raise LineError("expected data, without dead_letter, in that kind of queue")
        if given is None and self._table.lazy:
            data = items_bytes(codec, bytes(cast("msgspec.Raw", raw)))
        elif given is None:
            data = _bytes(codec, bytes(cast("msgspec.Raw", raw)), letter)
        else:
            data = cast("bytes", given)
        if self._table.together:
            self._check_batch(fields, codec, data, raw=given is not None)
        if self._table.lazy:
            labels = "begin" not in self._table.head  # what is taken away has no readers
            check_chunk(fields, codec, data, raw=given is not None, labels=labels)
        fields["value"] = data if codec == self._codec else Encoded(codec, data)
        return fields

    def _check_batch(
        self, fields: dict[str, object], codec: str, data: bytes, *, raw: bool
    ) -> None:
        """See that a batch is a list of as many items as it says, and has a key only if it may.

        Args:
          fields: The line's; completed.
          codec: The value's.
          data: Its bytes.
          raw: They stand in the line: then they may be what nobody can decode, as in the store
            that they come from.
        """
        size, count = cast("int | None", fields["size"]), count_items(codec, data)
        if count is None:
            if not raw:
                raise LineError("expected value to be a list of items")
            if size is None:
                raise LineError("expected size, as data is no list of items that can be read")
            count = size
        if count < 1:
            raise LineError("expected a list of at least one item")
        if size not in {None, count}:
            raise LineError(f"expected size to be {count}, the number of items, got {size}")
        fields["size"] = count
        state, key = fields["state"], fields["key"]
        if key and state not in self._table.together:
            raise LineError(f"expected key to be 0, as state is {state!r}, got {key}")


def count_items(codec: str, data: bytes) -> int | None:
    """Return how many items a batch has; None: it cannot be read, or is no list."""
    if codec.startswith(LETTER):
        return 1
    if codec.startswith(ITEMS):
        lists: _Decoder = _BYTES
    elif codec in _LISTS:
        lists = _LISTS[codec]
    else:
        return None
    try:
        return len(lists(data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def header_codec(codec: str) -> str:
    """Return the codec that a queue's header names, from that of one of its messages."""
    while codec.startswith(LETTER):
        codec = codec.removeprefix(LETTER)
    return codec


def _line_type(table: Table, now: int) -> type[msgspec.Struct]:
    """Return a class for the lines: the fields of the messages, none of them required."""
    known: list[tuple[str, object, object]] = [("id", _Integer | None, None)]
    for field in msgspec.structs.fields(table.message)[2:]:
        default = field.default
        if default is msgspec.NODEFAULT:
            default = now if field.name.rpartition("_")[2] == "at" else 0
            default = table.usual if field.name == "state" else default
        if field.name in {"first", "count", "size"}:  # it is counted
            known.append((field.name, _Integer | None, None))
            continue
        if field.name == "mid":  # who reads it gives it one
            known.append((field.name, _Mid | None, None))
            continue
        known.append((field.name, _Integer if field.type is int else field.type, default))
    known.append(("codec", str | None, None))
    known.append(("value", msgspec.Raw, msgspec.UNSET))
    known.append(("data", bytes | None, None))
    known.append(("dead_letter", _Letter | None, None))
    return msgspec.defstruct("Line", known, forbid_unknown_fields=True)


_Integer = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
_Mid = Annotated[str, msgspec.Meta(min_length=1)]


def _put_value(line: dict[str, object], codec: str, data: bytes) -> None:
    """Add a value to a line: as JSON if the same bytes come back from it."""
    value, letter = data, None
    inner = codec.removeprefix(LETTER)
    try:
        if inner is not codec:
            *facts, value = msgspec.msgpack.decode(data)
            letter = dict(zip(_Letter.__struct_fields__, facts, strict=True))
        text = msgspec.json.encode(_PLAIN[inner][0](value))
        read = None if letter is None else msgspec.convert(letter, _Letter)
        if _bytes(codec, text, read) == data:
            if letter is not None:
                line["dead_letter"] = letter
            line["value"] = msgspec.Raw(text)
            return
    except Exception:  # noqa: BLE001, S110 - whatever it is, it is not JSON
        pass
    line["data"] = data


def _bytes(codec: str, text: bytes, letter: _Letter | None) -> bytes:
    """Return the bytes of a value that is written as JSON.

    Raises:
      LineError: If there are none in that codec.
    """
    inner = codec.removeprefix(LETTER)
    if (inner != codec) != (letter is not None):
        raise LineError("expected dead_letter with a codec dead_letter:..., and only then")
    if inner not in _PLAIN:
        raise LineError(f"expected data, not value, with codec {codec!r}")
    try:
        data = _PLAIN[inner][1](msgspec.json.decode(text))
    except (ValueError, OverflowError, TypeError, RecursionError) as error:
        raise LineError(f"the value cannot be encoded: {error}") from None
    if letter is None:
        return data
    return msgspec.msgpack.encode((*msgspec.structs.astuple(letter), data))


# The codecs that know their values by the bytes alone: what decodes, and what encodes.
_PLAIN: Final[dict[str, tuple[Callable[[bytes], object], Callable[[object], bytes]]]] = {
    "msgpack": (msgspec.msgpack.Decoder().decode, msgspec.msgpack.Encoder().encode),
    "json": (msgspec.json.Decoder().decode, msgspec.json.Encoder().encode),
}

_Decoder: TypeAlias = "Callable[[bytes], Sequence[object]]"
_LISTS: Final[dict[str, _Decoder]] = {
    "msgpack": msgspec.msgpack.Decoder(list[msgspec.Raw]).decode,
    "json": msgspec.json.Decoder(list[msgspec.Raw]).decode,
}
_BYTES: Final[_Decoder] = msgspec.msgpack.Decoder(list[bytes]).decode  # the items' own
