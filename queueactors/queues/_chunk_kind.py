"""What a store needs to keep log and capacity queues, and how their chunks become bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, Self, TypeVar, cast

import attrs
import msgspec

from queueactors._codecs import ITEMS, ChunkValues, Encoded, make_codec
from queueactors._errors import CodecError
from queueactors._options import nanoseconds
from queueactors.cores.capacity import CapacityCore, CapacityRecords, Chunk
from queueactors.cores.log import LogCore, LogRecords
from queueactors.stores import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from queueactors._codecs import Values
    from queueactors.cores import Changed
    from queueactors.cores.capacity import Load
    from queueactors.engines.redis import CapacityWire, LogWire
    from queueactors.stores import StoredMessage

    from ._chunk_options import CapacityOptions, LogOptions

    ReadValue = Callable[[int], tuple[bytes, str]]

NAMES: Final = f"{ITEMS}bytes"  # the codec of a label's name: its UTF-8, as the one item

Options = TypeVar("Options", "CapacityOptions", "LogOptions")


def _pack(message: StoredMessage, codec: str) -> tuple[str, bytes]:
    """Return what is kept of a chunk or a label: its codec's name, and its bytes."""
    chunk = cast("Chunk", message)
    if type(chunk.value) is bytes:  # it is imported
        return codec, chunk.value
    if isinstance(chunk.value, Encoded):
        return chunk.value.codec, chunk.value.data
    if chunk.state == "label":
        return NAMES, msgspec.msgpack.encode([str(chunk.value).encode()])
    items = cast("list[bytes | Encoded]", chunk.value)
    if isinstance(items[0], Encoded):  # a dead letter, which is a chunk by itself
        return ITEMS + items[0].codec, msgspec.msgpack.encode([items[0].data])
    return codec, msgspec.msgpack.encode(items)


def _unpack(value: object) -> str:
    """Return a label's name, from the list that it is kept as."""
    try:
        (name,) = cast("list[bytes]", value)
        return name.decode()
    except ValueError as error:
        raise CodecError(NAMES, f"expected a label's name: {error}") from error


def _table(name: str, head: Mapping[str, int | None]) -> Table:
    return Table(
        name,
        Chunk,
        fixed=["state", "count", "size"],
        head=head,
        fresh={"state": "kept"},
        pack=_pack,
        unpack=_unpack,
        lazy="label",
    )


CAPACITY: Final = _table("capacity", CapacityRecords().head())
LOG: Final = _table("log", LogRecords().head())


@attrs.define(eq=False)
class _ChunkKind(Generic[Options]):
    """What both kinds have.

    Args:
      name: The queue's.
      values: How its items become bytes.
      options: The queue's.
    """

    name: str
    values: ChunkValues
    options: Options

    @classmethod
    def of(cls, name: str, options: Options, _values: Values | None) -> Self:
        """Return the kind of a queue: its items are bytes in memory, too."""
        return cls(name, ChunkValues(make_codec(options.codec, options.type)), options)

    @property
    def _item_codec(self) -> str:
        return self.values.codec.name.removeprefix(ITEMS)

    def _load(self, value: ReadValue | None) -> Load | None:
        """Return what reads the items of a chunk."""
        if value is None:
            return None
        split = self.values.split
        return lambda chunk: split(*value(chunk))


@attrs.define(eq=False)
class CapacityKind(_ChunkKind["CapacityOptions"]):
    """What a store needs to keep a capacity queue."""

    table: Table = attrs.field(default=CAPACITY, init=False)

    def new_records(self) -> CapacityRecords:
        """Return the records of a new queue."""
        return CapacityRecords(max_elements=self.options.max_elements)

    def stored_records(
        self,
        head: Mapping[str, int | None],
        messages: Mapping[int, StoredMessage],
        set_aside: int,
    ) -> CapacityRecords:
        """Return the records that were written, see `queueactors.stores.Kind`."""
        chunks = cast("dict[int, Chunk]", messages)
        return CapacityRecords(chunks, set_aside, **head)  # type: ignore[arg-type] # those of `CapacityRecords.head`

    def core(
        self, records: object, changed: Changed | None = None, value: ReadValue | None = None
    ) -> CapacityCore:
        """Return a core over those records; its indexes are still to be rebuilt."""
        return CapacityCore(
            name=self.name,
            records=cast("CapacityRecords", records),
            max_elements=self.options.max_elements,
            changed=changed,
            load=self._load(value),
            ready=False,
        )

    def wire(self) -> CapacityWire:
        """Return how its operations travel to a server."""
        from queueactors.engines.redis import CapacityWire

        return CapacityWire(self.name, self._item_codec, lambda: self.options.max_elements)

    def configure(self, _core: CapacityCore) -> None:
        """Let a core be: its capacity is the store's, and `CapacityQueue.resize` changes it."""


@attrs.define(eq=False)
class LogKind(_ChunkKind["LogOptions"]):
    """What a store needs to keep a log queue."""

    table: Table = attrs.field(default=LOG, init=False)

    def new_records(self) -> LogRecords:
        """Return the records of a new queue."""
        return LogRecords()

    def stored_records(
        self,
        head: Mapping[str, int | None],
        messages: Mapping[int, StoredMessage],
        set_aside: int,
    ) -> LogRecords:
        """Return the records that were written, see `queueactors.stores.Kind`."""
        chunks = cast("dict[int, Chunk]", messages)
        return LogRecords(chunks, set_aside, **head)  # type: ignore[arg-type] # those of `LogRecords.head`

    def core(
        self, records: object, changed: Changed | None = None, value: ReadValue | None = None
    ) -> LogCore:
        """Return a core over those records; its indexes are still to be rebuilt."""
        core = LogCore(
            name=self.name,
            records=cast("LogRecords", records),
            changed=changed,
            load=self._load(value),
            ready=False,
        )
        self.configure(core)
        return core

    def wire(self) -> LogWire:
        """Return how its operations travel to a server."""
        from queueactors.engines.redis import LogWire

        return LogWire(self.name, self._item_codec, lambda: self.options.ttl)

    def configure(self, core: LogCore) -> None:
        """Let a core go by the options as they are now."""
        ttl = self.options.ttl
        core.configure(ttl=None if ttl is None else nanoseconds("ttl", ttl))
