"""The journal of a queue in an SQLite store: what is in the file, and what has to be written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import msgspec
import structlog
from trio.lowlevel import checkpoint

from queueactors._errors import CodecError
from queueactors.cores import Changed
from queueactors.engines import Handover

from ._file import SLICE, Changes, NotAStoreError, StoreFile
from ._table import BITS, MOST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from queueactors._codecs import Values
    from queueactors.engines import Core, Parked, Records
    from supervisors import Operation

    from ._actor import StoreActor
    from ._file import StoredQueue
    from ._protocol import Kind, LazyKind, StoredRecords
    from ._sqlite import SqliteStore
    from ._table import Row, StoredMessage


PROGRESS: Final = 100_000  # messages between two events while a queue is read
BYTES: Final = 1 << 17  # of values that are decoded between two turns of others: some 5 ms


class SqliteJournal:
    """The journal of one queue."""

    def __init__(
        self, queue: str, kind: Kind, store: SqliteStore, actor: StoreActor, parked: Parked
    ) -> None:
        self.queue = queue
        self.kind = kind
        self._codec = cast("Values", kind.values).codec.name  # a durable queue has one
        self.store = actor.name
        self.clock = actor.clock
        self.records: Records | None = None
        self.changed = Changed()
        self.unwritten: tuple[int, tuple[object, ...]] | None = None
        self._store = store
        self._release = store.release_on_start or kind.table.by_process
        self._actor = actor
        self._number = 0
        self._is_new = True  # it is not in the file
        self._next_id = 1  # messages from this one on are not in the file
        self._head: dict[str, int | None] | None = None  # as in the file
        self._kept: list[int] = []  # messages that cannot be decoded
        actor.on_recovery[queue] = parked.wake or (lambda: None)

    @property
    def waits(self) -> bool:
        """While the store fails: let callers wait."""
        return self._store.on_failure == "wait"

    def core(self, records: object) -> Core:
        if self.kind.table.lazy:
            return cast("LazyKind", self.kind).core(records, self.changed, self._value)
        return self.kind.core(records, self.changed)

    def _value(self, id: int) -> tuple[bytes, str]:
        """Read what a message holds, which was left in the file."""
        return self._actor.value(self.kind.table, self._number << BITS | id)

    async def load(self) -> StoredRecords:
        """Read the queue; a slice at a time, as others have to run meanwhile."""
        return await self._actor.read(self._load)

    @property
    def works(self) -> bool:
        """Whether the file can be read and written at present, as far as is known."""
        return self._actor.works.is_set()

    def new_records(self) -> StoredRecords:
        """Return the records of an empty queue."""
        return self.kind.new_records()

    def _stored(self, file: StoreFile) -> StoredQueue | None:
        """Return what the file says of the queue.

        Raises:
          NotAStoreError: If it is on its way to another store.
        """
        stored = file.queue(self.queue)
        if stored is not None and file.is_leaving(stored):
            raise NotAStoreError(
                f"queue {self.queue!r} in {file.path} is on its way to another store; "
                "queueactors migrate, run again, goes on with it"
            )
        return stored

    async def _load(self, file: StoreFile) -> StoredRecords:
        kind = self.kind
        self.changed.written()
        self._kept.clear()
        self.changed.aside.clear()
        self._head, self._next_id = None, 1
        stored = self._stored(file)
        if stored is not None and stored.kind != kind.table.name:
            if file.count(stored):
                raise NotAStoreError(
                    f"queue {self.queue!r} in {file.path} is of kind {stored.kind!r}, "
                    f"not {kind.table.name!r}, and not empty"
                )
            await self._actor.write(self.queue)  # nothing is left of it: the name is free
            stored = None
        self._is_new = stored is None
        if stored is None:
            self._number = self._number or self._actor.new_number()
            return kind.new_records()
        self._number = stored.number
        log: structlog.typing.FilteringBoundLogger = structlog.get_logger("queueactors")
        log = log.bind(queue=self.queue)
        values, unpack = cast("Values", kind.values), kind.table.unpack
        rows = file.messages(stored, kind.table, light=True)
        messages: dict[int, StoredMessage] = {}
        told = 0
        for some in _slices(rows):
            for message, row in zip(kind.table.messages(some, self._codec), some, strict=True):
                try:
                    _check(message, cast("str", row[-1]), values, unpack)
                except CodecError as error:
                    self._kept.append(message.id)
                    facts = {"id": message.id, "codec": error.codec, "error": error.error}
                    log.error("message_set_aside", **facts)  # noqa: TRY400 - no more to say
                else:
                    messages[message.id] = message
            if len(messages) >= told + PROGRESS:
                told = len(messages)
                log.info("queue_loading", messages=told)
            await checkpoint()
        self._next_id = cast("int", stored.head["next_id"])
        self._head = dict(stored.head)
        if self._release:
            # To be written: should the queue be read again, it must not be as if they had gone on.
            self.changed.update(kind.table.release(messages.values(), stored.at))
        return kind.stored_records(stored.head, messages, len(self._kept))

    def changes(self, now: int, operations: Sequence[Operation]) -> Changes | None:
        """Return what has to be written since the last time; None: nothing."""
        records = cast("StoredRecords", self.records)  # the engine works on them
        head = records.head()
        if cast("int", head["next_id"]) > MOST + 1:
            raise OverflowError(f"queue {self.queue!r} has used up its {MOST} message ids")
        handed_over = [
            (each.queue, each.id)
            for each in operations
            if isinstance(each, Handover) and each.error is None
        ]
        changed = self.changed
        if head == self._head and not changed and not changed.cleared and not handed_over:
            return None
        table, base, codec = self.kind.table, self._number << BITS, self._codec
        messages, next_id = records.messages, 1 if changed.cleared else self._next_id
        fresh, new, updated, gone = [], [], [], []
        for each in sorted(messages if changed.cleared else changed):
            message = messages.get(each)
            if message is None:
                if each < next_id:
                    gone.append((base | each,))
            elif each < next_id:
                if each in changed.rewritten:
                    gone.append((base | each,))  # and put in once more
                    new.append(table.new_row(base, codec, message))
                else:
                    updated.append(table.changed_row(base, message))
            elif table.is_fresh(message):
                fresh.append(table.new_row(base, codec, message, fresh=True))
            else:
                new.append(table.new_row(base, codec, message))
        return Changes(
            queue=self.queue,
            table=table,
            number=self._number,
            is_new=self._is_new,
            head=msgspec.json.encode(head),
            at=now,
            cleared=changed.cleared,
            kept=[*self._kept, *changed.aside],
            fresh=fresh,
            new=new,
            updated=updated,
            gone=gone,
            handed_over=handed_over,
            most=self._next_id if changed.cleared and table.lazy else 0,
        )

    def write_promptly(self, changes: object) -> bool:
        """Make changes durable at once, if the store has nothing else to do; return whether."""
        changes = cast("Changes", changes)
        if not self._actor.write_promptly(changes):
            return False
        self._written(changes)
        return True

    async def write(self, changes: object) -> None:
        """Hand changes to the store's actor, and wait until they are durable."""
        changes = cast("Changes", changes)
        await self._actor.write(changes)
        self._written(changes)

    def _written(self, changes: Changes) -> None:
        self._is_new = self._release = False  # from now on the living may have reservations
        self._head = msgspec.json.decode(changes.head)
        self._next_id = cast("int", self._head["next_id"])
        self.changed.written()

    async def recovered(self) -> None:
        """Wait until the store works again."""
        await self._actor.works.wait()


def _check(
    message: StoredMessage, codec: str, values: Values, unpack: Callable[[object], object] | None
) -> None:
    """See that a message can be decoded; what is read later: that its codec is known.

    Raises:
      CodecError: If it cannot.
    """
    if message.value is None:
        values.check(codec)
        return
    value = values.decode(message.value)
    if unpack is not None:
        message.value = unpack(value)


def _slices(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """Yield rows by slices of `SLICE`, or of `BYTES` of values, whichever comes first."""
    some: list[Row] = []
    size = 0
    for row in rows:
        some.append(row)
        size += 0 if row[1] is None else len(cast("bytes", row[1]))
        if size >= BYTES or len(some) == SLICE:
            yield some
            some, size = [], 0
    if some:
        yield some
