"""Codecs: how the values of a durable queue become bytes, and values again.

The memory store needs none: it keeps the objects themselves. A durable store hands out what its
codec decodes: so a tuple comes back as a list, and an attrs class as a dict unless ``type`` says
which class it is.

Each record has the name of its codec. In memory a message's value is its bytes if they are in the
queue's own codec, as almost always, and otherwise an `Encoded`.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Final, Protocol, cast

import msgspec

from supervisors import describe, did_you_mean

from ._errors import CodecError
from .cores._timed_values import DeadLetter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


class Codec(Protocol):
    """Turns values into bytes and back. Both functions may raise anything: it is a `CodecError`.

    Attributes:
      name: Stored with each record; what it once encoded it must decode for ever.
    """

    name: str

    def encode(self, value: object) -> bytes:
        """Return a value's bytes."""

    def decode(self, data: bytes) -> object:
        """Return the value of some bytes."""


class Encoded(msgspec.Struct, gc=False, frozen=True):
    """Bytes that are not in the queue's own codec.

    Args:
      codec: The name of the codec they are in.
      data: The bytes.
    """

    codec: str
    data: bytes

    def __len__(self) -> int:
        """Return how many bytes that is."""
        return len(self.data)


class Plain:
    """A value that has been decoded already."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


class MsgpackCodec:
    """MessagePack: what JSON can say, and bytes, timestamps and more; compact and fast.

    Args:
      type: The class to decode into. None: plain dicts, lists, strings and numbers.
    """

    name = "msgpack"

    def __init__(self, type: type | None = None) -> None:
        self.encode = _encoder(msgspec.msgpack.Encoder().encode, type)
        decoder = msgspec.msgpack.Decoder() if type is None else msgspec.msgpack.Decoder(type)
        self.decode = cast("Callable[[bytes], object]", decoder.decode)


class JsonCodec:
    """JSON: readable, and what other programs read.

    Args:
      type: The class to decode into. None: plain dicts, lists, strings and numbers.
    """

    name = "json"

    def __init__(self, type: type | None = None) -> None:
        self.encode = _encoder(msgspec.json.Encoder().encode, type)
        decoder = msgspec.json.Decoder() if type is None else msgspec.json.Decoder(type)
        self.decode = cast("Callable[[bytes], object]", decoder.decode)


class BytesCodec:
    """Bytes as they are; nothing else."""

    name = "bytes"

    @staticmethod
    def encode(value: object) -> bytes:
        """Return the bytes."""
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(value)
        hint = "; set a codec, such as msgpack, for other values" if isinstance(value, str) else ""
        raise TypeError(f"expected bytes, got {value!r:.100}{hint}")

    @staticmethod
    def decode(data: bytes) -> object:
        """Return the bytes."""
        return data


class PickleCodec:
    """Any Python object. Who can write the store's file can run code in this program."""

    name = "pickle"

    @staticmethod
    def encode(value: object) -> bytes:
        """Return the pickled value."""
        import pickle

        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)

    @staticmethod
    def decode(data: bytes) -> object:
        """Return what was pickled."""
        import pickle

        return pickle.loads(data)  # noqa: S301 - only where the configuration asks for it


BUILT_IN: Final = ("msgpack", "json", "bytes", "pickle")
LARGEST: Final = (
    500_000_000  # bytes; SQLite refuses rows of 1 GB, and all that is written with them
)
LETTER: Final = "dead_letter:"  # before the codec's name: a dead letter, its value in that codec
ITEMS: Final = "items:"  # likewise: a MessagePack array of items, each in that codec
# Bytes of items that are kept as one value, unless one alone has more: they are decoded at once,
# which takes up to 150 ms.
PART: Final = 1 << 22


def make_codec(codec: object, type: object = None) -> Codec:
    """Return the codec that an option names.

    Args:
      codec: One of `BUILT_IN`, or a `Codec`, or a class that makes one without arguments.
      type: The class to decode into; msgpack and json only.

    Raises:
      ValueError: If there is no such codec, or it cannot decode into a class.
      TypeError: If it is no codec, or no class.
    """
    if type is not None and not isinstance(type, type_):
        raise TypeError(f"expected type to be a class, got {type!r}")
    if codec in ("msgpack", "json"):  # it may be what cannot be hashed
        return MsgpackCodec(type) if codec == "msgpack" else JsonCodec(type)
    if type is not None:
        raise ValueError(f"expected type with codec msgpack or json only, got codec {codec!r}")
    if not isinstance(codec, str):
        return _own(codec)
    if codec in {"bytes", "pickle"}:
        return BytesCodec() if codec == "bytes" else PickleCodec()
    known = ", ".join(BUILT_IN)
    hint = did_you_mean(codec, BUILT_IN)
    raise ValueError(f"expected codec to be one of {known} or 'module:Class', got {codec!r}{hint}")


def _own(codec: object) -> Codec:
    made = codec() if isinstance(codec, type_) else codec
    name = getattr(made, "name", None)
    if not isinstance(name, str) or not name or name in BUILT_IN or ":" in name:
        raise TypeError(
            f"expected codec to have a name of its own, a str without a colon, got {name!r}"
        )
    for method in ("encode", "decode"):
        if not callable(getattr(made, method, None)):
            raise TypeError(f"expected codec to have {method}(), got {made!r}")
    return cast("Codec", made)


class Values:
    """How the values of one queue are kept: encoded by its codec.

    Args:
      codec: The queue's.
    """

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self._encode = codec.encode
        self._decode = codec.decode

    def encode(self, value: object) -> bytes | Encoded:
        """Return what is kept of a value.

        Raises:
          CodecError: If it cannot be encoded; ``__cause__`` says why.
        """
        if isinstance(value, DeadLetter):
            facts = value.queue, value.id, value.attempts, value.error, value.inserted_at
            codec, data = self.codec.name, self._encode_lost(value.value)
            if isinstance(data, Encoded):  # it is a dead letter, too, or a list of items
                codec, data = data.codec, data.data
            return Encoded(LETTER + codec, msgspec.msgpack.encode((*facts, data)))
        return self.encode_plain(value)

    def encode_plain(self, value: object) -> bytes:
        """Return the bytes of a value that is no dead letter.

        Raises:
          CodecError: If it cannot be encoded; ``__cause__`` says why.
        """
        try:
            data = self._encode(value)
        except Exception as error:
            raise CodecError(self.codec.name, describe(error)) from error
        if type_(data) is bytes:
            if len(data) > LARGEST:
                rule = f"expected a value of at most {LARGEST} bytes, got {len(data)}"
                raise CodecError(self.codec.name, rule)
            return data
        raise CodecError(self.codec.name, f"expected encode() to return bytes, got {data!r:.100}")

    def _encode_lost(self, value: object) -> bytes | Encoded:
        """Return what is kept of a dead letter's value.

        That of a batch is a list: its items are encoded one by one if the codec takes no lists, or
        if they are dead letters.
        """
        if type_(value) is not list:
            return self.encode(value)
        if DeadLetter not in set(map(type_, value)):
            with suppress(CodecError):
                return self.encode(value)
        items = [
            each if isinstance(each, Encoded) else Encoded(self.codec.name, each)
            for each in map(self.encode, value)
        ]
        codecs = {item.codec for item in items}
        if len(codecs) > 1:
            raise CodecError(self.codec.name, "dead letters among other items are no value")
        data = msgspec.msgpack.encode([item.data for item in items])
        return Encoded(ITEMS + codecs.pop(), data)

    def decode(self, value: object) -> object:
        """Return the value that was encoded.

        Raises:
          CodecError: If it cannot be decoded; ``__cause__`` says why.
        """
        codec = self.codec.name
        try:
            if type_(value) is bytes:
                return self._decode(value)
            if type_(value) is Plain:
                return value.value
            encoded = cast("Encoded", value)
            codec = encoded.codec
            return self._decode_other(encoded)
        except CodecError:
            raise
        except Exception as error:
            raise CodecError(codec, describe(error)) from error

    def check(self, codec: str) -> None:
        """See whether values in a codec can be decoded, without one.

        Raises:
          CodecError: If they cannot.
        """
        if codec != self.codec.name:
            check_codec(codec, self.codec.name.removeprefix(ITEMS))

    def _decode_other(self, encoded: Encoded) -> object:
        codec = encoded.codec
        if codec.startswith(LETTER):
            *facts, data = msgspec.msgpack.decode(encoded.data)
            value = self.decode(Encoded(codec.removeprefix(LETTER), data))
            return DeadLetter(value, *facts)
        if codec == self.codec.name:
            return self._decode(encoded.data)
        if codec.startswith(ITEMS):
            name = codec.removeprefix(ITEMS)
            return [self._decode_other(Encoded(name, item)) for item in _split(encoded.data)]
        if codec == "pickle":
            raise ValueError("pickle is decoded only for a queue whose codec is pickle")
        if codec not in BUILT_IN:
            raise ValueError(f"the queue's codec is {self.codec.name!r}")
        return make_codec(codec).decode(encoded.data)


class ItemsCodec:
    """The codec of lists whose items are encoded one by one.

    MessagePack and JSON have lists of their own: what comes out is what their codecs make of the
    list. Of items in another codec it is a MessagePack array.

    Args:
      item: The items' codec.
      type: The class that msgpack and json decode them into; None: plain values.
    """

    def __init__(self, item: Codec, type: type | None = None) -> None:
        self.name = item.name
        self.encode_item = item.encode
        types = list if type is None else list[type]  # type: ignore[valid-type] # at run time
        self.join: Callable[[Sequence[bytes]], bytes]
        self.decode: Callable[[bytes], object]
        if isinstance(item, MsgpackCodec):
            self.join = _join_msgpack
            self.decode = msgspec.msgpack.Decoder(types).decode
        elif isinstance(item, JsonCodec):
            self.join = _join_json
            self.decode = msgspec.json.Decoder(types).decode
        else:
            self.name = ITEMS + item.name
            self.join = msgspec.msgpack.encode
            self.decode = lambda data: list(map(item.decode, _split(data)))

    def encode(self, value: object) -> bytes:
        """Return the bytes of a list of items."""
        return self.join(list(map(self.encode_item, cast("Iterable[object]", value))))


class ItemValues(Values):
    """How the items of a batch queue are kept: as lists, each a batch.

    Args:
      codec: The queue's.
      type: The class that msgpack and json decode items into; None: plain values.
    """

    def __init__(self, codec: Codec, type: type | None = None) -> None:
        super().__init__(ItemsCodec(codec, type))
        self._items = Values(codec)
        self._join = cast("ItemsCodec", self.codec).join

    def encode_item(self, item: object) -> bytes | Encoded:
        """Return what is kept of an item, for `pack`; a dead letter is a batch by itself.

        Raises:
          CodecError: If it cannot be encoded; ``__cause__`` says why.
        """
        return self._items.encode(item)

    def pack(self, items: Sequence[bytes | Encoded]) -> list[tuple[bytes | Encoded, int]]:
        """Return what is kept of encoded items, in parts of some `PART` bytes at most.

        Each part comes with its number of items.
        """
        if Encoded not in set(map(type_, items)):
            return self._pack_plain(cast("Sequence[bytes]", items))
        parts: list[tuple[bytes | Encoded, int]] = []
        for kind, some in groupby(items, type_):
            if kind is Encoded:
                parts += [(item, 1) for item in some]
            else:
                parts += self._pack_plain(cast("list[bytes]", list(some)))
        return parts

    def _pack_plain(self, items: Sequence[bytes]) -> list[tuple[bytes | Encoded, int]]:
        ends = list(accumulate(map(len, items)))
        if not ends or ends[-1] <= PART:
            return [(self._join(items), len(items))]
        parts, first, base = [], 0, 0
        for last, end in enumerate(ends):
            if end - base > PART and last > first:
                parts.append(items[first:last])
                first, base = last, ends[last - 1]
        parts.append(items[first:])
        return [(self._join(part), len(part)) for part in parts]

    def encode(self, value: object) -> bytes | Encoded:
        """Return what is kept of a list of items, or of a dead letter, which is a batch alone."""
        return self._items.encode(value) if isinstance(value, DeadLetter) else super().encode(value)

    def decode(self, value: object) -> object:
        """Return the list of items that was encoded."""
        if isinstance(value, Encoded) and value.codec.startswith(LETTER):
            return [self._items.decode(value)]
        items = super().decode(value)
        if type_(items) is list:
            return items
        codec = value.codec if isinstance(value, Encoded) else self.codec.name
        raise CodecError(codec, f"expected a list of items, got {items!r:.100}")


class EachCodec:
    """The codec of lists whose items are encoded one by one, and can be decoded one by one.

    Args:
      item: The items' codec.
    """

    def __init__(self, item: Codec) -> None:
        self.name = ITEMS + item.name
        self._item = item

    def encode(self, value: object) -> bytes:
        """Return the bytes of a list of items."""
        return msgspec.msgpack.encode(list(map(self._item.encode, cast("Iterable[object]", value))))

    def decode(self, data: bytes) -> object:
        """Return the list of items."""
        return list(map(self._item.decode, _split(data)))


class ChunkValues(Values):
    """How the items of log and capacity queues are kept: in chunks, and each by itself.

    Args:
      codec: The queue's.
    """

    def __init__(self, codec: Codec) -> None:
        super().__init__(EachCodec(codec))
        items = Values(codec)
        self.encode_item = items.encode
        self.decode_item = items.decode
        self.plain = isinstance(codec, BytesCodec)  # what is kept of an item is the item

    def split(self, data: bytes, codec: str) -> list[object]:
        """Return what is kept of the items of a chunk.

        Raises:
          CodecError: If it is no list of items.
        """
        try:
            items = _split(data)
        except msgspec.DecodeError as error:
            raise CodecError(codec, describe(error)) from error
        if codec == self.codec.name:
            return cast("list[object]", items)
        name = codec.removeprefix(ITEMS)
        return [Encoded(name, item) for item in items]


def _split(data: bytes) -> list[bytes]:
    return msgspec.msgpack.decode(data, type=list[bytes])


def _join_json(items: Sequence[bytes]) -> bytes:
    return b"[%b]" % b",".join(items)


def _join_msgpack(items: Sequence[bytes]) -> bytes:
    count = len(items)
    if count < 16:
        head = bytes([0x90 | count])
    elif count < 1 << 16:
        head = b"\xdc" + count.to_bytes(2, "big")
    else:
        head = b"\xdd" + count.to_bytes(4, "big")
    return head + b"".join(items)


def check_codec(codec: str, own: str) -> None:
    """See whether a queue can decode values in a codec, without one.

    Args:
      codec: Its name, as it is kept.
      own: That of the queue's own.

    Raises:
      CodecError: If it cannot.
    """
    while codec.startswith((ITEMS, LETTER)):
        codec = codec.removeprefix(ITEMS).removeprefix(LETTER)
    if codec != own and codec not in BUILT_IN:
        raise CodecError(codec, f"ValueError: the queue's codec is {own!r}")
    if codec != own and codec == "pickle":
        rule = "pickle is decoded only for a queue whose codec is pickle"
        raise CodecError(codec, f"ValueError: {rule}")


type_ = type  # where an argument of that name hides it


def _encoder(encode: Callable[[object], bytes], type: type | None) -> Callable[[object], bytes]:
    if type is None:
        return encode

    def checked(value: object) -> bytes:
        if not isinstance(value, type):
            raise TypeError(f"expected a {type.__name__}, got {value!r:.100}")
        return encode(value)

    return checked
