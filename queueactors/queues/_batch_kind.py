"""What a store needs to keep a batch queue, and how its items are encoded and buffered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import attrs

from queueactors._codecs import ItemValues
from queueactors._errors import CodecError
from queueactors._options import nanoseconds
from queueactors.cores.batch import Appending, Batch, BatchCore, BatchRecords, Merging
from queueactors.stores import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from queueactors._codecs import Encoded, Values
    from queueactors.cores import Changed
    from queueactors.cores.batch import Buffer
    from queueactors.stores import StoredMessage

    from ._batch_options import BatchOptions

TABLE: Final = Table(
    "batch",
    Batch,
    fixed=["size", "pushed_at"],
    head=BatchRecords(Appending).head(),
    fresh={"claims": 0, "attempt": 0, "key": 0, "deadline_at": 0, "error": None},
    held="claimed",
    by_process=True,
    together=["claimed", "retry"],
)

BUFFER: Final = ("push", "__len__", "__iter__")  # what makes a `Buffer`


@attrs.define(eq=False)
class BatchKind:
    """What a store needs to keep a batch queue.

    Args:
      name: The queue's.
      options: The queue's.
      values: How its items are encoded; None: they are not.
    """

    name: str
    options: BatchOptions
    values: ItemValues | None = None
    table: Table = attrs.field(default=TABLE, init=False)
    _lost: list[BaseException] = attrs.field(factory=list, init=False)

    @classmethod
    def of(cls, name: str, options: BatchOptions, values: Values | None) -> BatchKind:
        """Return the kind of a queue whose items are encoded as ``values`` does, if they are."""
        made = None if values is None else ItemValues(values.codec, cast("type", options.type))
        return cls(name, options, made)

    @property
    def encodes(self) -> Callable[[object], object] | None:
        """What encodes an item as it is pushed; None: it is pushed as it is."""
        plain = self.options.buffer == "appending"
        return self.values.encode_item if plain and self.values is not None else None

    @property
    def checks(self) -> Callable[[object], object] | None:
        """What refuses an item that could not be encoded when it is flushed; None: nothing."""
        return None if self.values is None else self.values.encode_item

    def new_buffer(self) -> Buffer:
        """Return an empty buffer for items that are pushed.

        Raises:
          TypeError: If what a function of the user's returns is none.
        """
        options = self.options
        if options.buffer == "appending":
            return Appending()
        if options.buffer == "merging":
            key = cast("Callable[[object], Hashable]", options.merge_key)
            merge = cast("Callable[[object, object], object]", options.merge)
            return Merging(key, merge, self.checks)
        buffer = cast("Callable[[], object]", options.buffer)()
        missing = [each for each in BUFFER if not hasattr(buffer, each)]
        if missing:
            raise TypeError(
                "expected buffer to return what has push, __len__ and __iter__, "
                f"got {buffer!r:.100}, which has no {' and no '.join(missing)}"
            )
        return cast("Buffer", buffer)

    def merged(self, values: Sequence[object]) -> list[object]:
        """Return the items of batches that were claimed together, through a buffer of their own.

        Raises:
          CodecError: If a batch cannot be decoded.
          Exception: What the buffer raises.
        """
        decode = None if self.values is None else self.values.decode
        lists = [cast("list[object]", each if decode is None else decode(each)) for each in values]
        if self.options.buffer == "appending":
            return [item for items in lists for item in items]
        buffer = self.new_buffer()
        for items in lists:
            for item in items:
                buffer.push(item)
        return list(buffer)

    @property
    def lost(self) -> list[BaseException]:
        """Why items could not be kept when they were flushed, since the core emptied it."""
        return self._lost

    def __call__(self, items: list[object]) -> Sequence[tuple[object, int]]:
        """Return what is kept of flushed items, see `queueactors.cores.batch.Pack`."""
        values = self.values
        if values is None:
            return [(items, len(items))]
        if self.encodes is not None:
            return values.pack(cast("list[bytes | Encoded]", items))
        encoded = []
        for item in items:
            try:
                encoded.append(values.encode_item(item))
            except CodecError as error:
                self._lost.append(error)
        return values.pack(encoded) if encoded else ()

    def new_records(self) -> BatchRecords:
        """Return the records of a new queue."""
        return BatchRecords(self.new_buffer)

    def stored_records(
        self,
        head: Mapping[str, int | None],
        messages: Mapping[int, StoredMessage],
        set_aside: int,
    ) -> BatchRecords:
        """Return the records that were written, see `queueactors.stores.Kind`."""
        records = BatchRecords(self.new_buffer, set_aside=set_aside, **head)  # type: ignore[arg-type] # those of `BatchRecords.head`
        records.messages = cast("dict[int, Batch]", messages)
        return records

    def core(self, records: object, changed: Changed | None = None) -> BatchCore:
        """Return a core over those records; its indexes are still to be rebuilt."""
        core = BatchCore(
            name=self.name,
            records=cast("BatchRecords", records),
            pack=self,
            changed=changed,
            ready=False,
        )
        self.configure(core)
        return core

    def configure(self, core: BatchCore) -> None:
        """Let a core go by the options as they are now."""
        options, timeout = self.options, self.options.flush_timeout
        core.configure(
            flush_size=options.flush_size,
            flush_pushes=options.flush_pushes,
            flush_timeout=nanoseconds(
                "flush_timeout",
                timeout,
                positive=bool(timeout),  # 0 is never, a moment is not
            ),
            max_claims=options.max_claims,
            on_exhausted=options.on_exhausted,
            max_length=options.max_length,
        )
