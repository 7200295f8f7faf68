"""The capacity queue's core: items go in whole batches at one end and leave at the other.

Pure: every operation takes the instant ``now`` (epoch nanoseconds) and answers at once; nothing
here waits, reads a clock, logs or writes. It validates first, then changes its indexes, and
changes the records last, by what cannot fail: so an operation that raises in the middle has not
happened, and the indexes are rebuilt from the records.

Source: seed 004, RocksQ's ``PersistentQueueWithCapacity``, by what it documents: there a ``pop(0)``
empties the queue, and a limit beyond the memory ends the process.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, ClassVar

import attrs

from queueactors._errors import CodecError, QueueFullError
from queueactors._state_errors import QueueClosedError

from ._chunks import MOST, Chunk, Chunks, Load
from ._pause import FOR_EVER, is_paused
from ._statistics import QueueStatistics
from ._trash import Trash
from ._unwritten import Resumable, Unwritten

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence, Sized

    from ._changed import Changed

__all__ = ["CapacityCore", "CapacityRecords", "CapacityStatistics", "Chunk", "Load"]


SLICE = 1000  # chunks: some 1 ms of work


@attrs.frozen(kw_only=True)
class CapacityStatistics(QueueStatistics):
    """A capacity queue's numbers. Gauges are of now; counters run since the process opened it.

    Args:
      length: Items in it.
      max_elements: How many it may hold.
      payload_size: Bytes of these items.
      pushed: Items that went in.
      popped: Items that were handed out.
      cleared: Items that were thrown away by `clear`.
      set_aside: Chunks that the store keeps and cannot read.
      closed: Whether the queue takes nothing in any more.
      paused: Whether it hands nothing out at present.
      waiting: Takers that wait for an item.
      pushing: Pushes that wait for room.
      mailbox: Operations that wait for the actor.
      restarts: How often the actor was restarted.
    """

    length: int
    max_elements: int
    payload_size: int
    pushed: int = 0
    popped: int = 0
    cleared: int = 0
    set_aside: int = 0
    closed: bool = False
    paused: bool = False
    waiting: int = 0
    pushing: int = 0
    mailbox: int = 0
    restarts: int = 0

    @property
    def at_hand(self) -> int:
        """Items that can be taken now."""
        return self.length

    @property
    def in_hand(self) -> int:
        """Items that somebody has, and that come back: none does."""
        return 0

    @property
    def through(self) -> int:
        """Items that were handed out."""
        return self.popped

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is left that would be taken some day."""
        return not (self.length or self.pushing or self.mailbox)


@attrs.define(eq=False)
class CapacityCounters:
    """What happened since the process opened the queue."""

    pushed: int = 0
    popped: int = 0
    cleared: int = 0


@attrs.define(eq=False)
class CapacityRecords(Resumable[CapacityCounters]):
    """All that a capacity queue is; it belongs to the store and outlives the actor."""

    messages: dict[int, Chunk] = attrs.field(factory=dict)  # by id
    set_aside: int = 0
    next_id: int = 1
    begin: int = 0  # the number of the oldest item
    end: int = 0  # of the next one to come
    taken: int = 0  # bytes of items before it, in the same chunk
    max_elements: int = MOST
    paused_until: int | None = None  # epoch nanoseconds, or `FOR_EVER`
    closed: bool = False
    counters: CapacityCounters = attrs.field(factory=CapacityCounters)

    _unwritten: ClassVar = Unwritten("closed")
    _counts: ClassVar = Unwritten.all_of(CapacityCounters)

    def head(self) -> dict[str, int | None]:
        """Return what outlives the process, beside the items. It is not closed any more then."""
        return {
            "next_id": self.next_id,
            "begin": self.begin,
            "end": self.end,
            "taken": self.taken,
            "max_elements": self.max_elements,
            "paused_until": self.paused_until,
        }


class CapacityCore:
    """The state machine of one capacity queue.

    Every method takes ``now`` first: epoch nanoseconds, never smaller than before. A refusal is
    a `QueueActorsError` and has changed nothing.

    Args:
      name: The queue's, for errors.
      records: What a former incarnation left; None: an empty queue.
      max_elements: How many items a new queue may hold, and what is told if the records say
        something else: theirs stands.
      changed: Where to note what a store has to write; None: it writes nothing.
      load: Reads items that are in the store only; None: there are none.
      ready: Build the indexes at once. False: whoever made it runs through `rebuild`.
    """

    operations: tuple[str, ...] = (
        "clear",
        "close",
        "disk_size",
        "is_empty",
        "length",
        "pause",
        "payload_size",
        "peek",
        "pop",
        "push",
        "resize",
        "resume",
        "statistics",
        "wait_push",
    )
    one_taker = False
    independent = False
    parting = None

    def __init__(  # noqa: PLR0913 - all keyword-only, all with defaults
        self,
        *,
        name: str = "capacity",
        records: CapacityRecords | None = None,
        max_elements: int = MOST,
        changed: Changed | None = None,
        load: Load | None = None,
        ready: bool = True,
    ) -> None:
        self.name = name
        self.records = CapacityRecords(max_elements=max_elements) if records is None else records
        self.notices: list[tuple[str, dict[str, object]]] = []
        self.inserters: Sized = ()  # who waits in `wait_push`; the shell sets it
        self.syncers: Sized = ()
        self._changed = changed
        self._load = load
        self._trash = Trash()
        self._chunks = Chunks(self.records.messages, changed, load, self._lost)
        if self.records.max_elements != max_elements:
            stands = {"max_elements": self.records.max_elements, "configured": max_elements}
            self._notice("capacity_kept", **stands)
        if ready:
            for _ in self.rebuild():
                pass

    def _notice(self, event: str, **facts: object) -> None:
        self.notices.append((event, facts))

    # -- what the shell asks between operations ------------------------------------------------

    def new_errands(self) -> bool:
        """Return False: a capacity queue has no errands."""
        return False

    def rebuild(self) -> Iterator[None]:
        """Build the indexes from the records; yield whenever others may run."""
        begin = self.records.begin
        chunks = iter(list(self.records.messages.values()))
        while some := list(islice(chunks, SLICE)):
            for chunk in some:
                if chunk.first + chunk.count > begin:
                    self._chunks.place(chunk)
                else:
                    self._pass_over(chunk)
            yield

    def _pass_over(self, chunk: Chunk) -> None:
        """Set aside what could not be read when its turn came: it has none any more."""
        if self._changed is not None:
            self._changed.aside.add(chunk.id)
        del self.records.messages[chunk.id]
        self._set_aside(chunk, None, "its turn is over")

    def _lost(self, chunk: Chunk, error: CodecError) -> None:
        """Count what cannot be read any longer."""
        self._set_aside(chunk, error.codec, error.error)

    def _set_aside(self, chunk: Chunk, codec: str | None, error: str) -> None:
        self.records.set_aside += 1
        self._notice("message_set_aside", id=chunk.id, codec=codec, error=error)

    def next_deadline(self, *, waiting: bool) -> int | None:
        """Return the next instant at which something happens by itself; None: never."""
        if self._trash:
            return 0
        until = self.records.paused_until
        return until if waiting and until != FOR_EVER else None

    def advance(self, _now: int, _limit: int | None = None) -> bool:
        """Let go of some of what was cleared; return whether that was all."""
        self._chunks.written()
        if self._trash:
            self._trash.sweep(SLICE)
        return not self._trash

    # -- taking in -----------------------------------------------------------------------------

    def push(
        self,
        now: int,
        items: Sequence[object],
        sizes: Sequence[int],
        in_turn: bool = False,  # noqa: FBT001, FBT002 - an engine passes positions
    ) -> int:
        """Add items, all or none; return how many.

        Args:
          now: Epoch nanoseconds.
          items: In order.
          sizes: The bytes of each.
          in_turn: The caller is the first of those who wait for room; all others stand behind it.

        Raises:
          QueueClosedError: If the queue is closed.
          QueueFullError: If there is no room for all of them.
        """
        records = self.records
        if records.closed:
            raise QueueClosedError(self.name)
        count = len(items)
        room = max(records.max_elements - self.length(now), 0)
        crowded = count > 0 and not in_turn and bool(self.inserters)
        if count > room or crowded:
            most = records.max_elements
            raise QueueFullError(self.name, count, None if crowded else room, most, "max_elements")
        made = self._chunks.add(now, records.next_id, records.end, items, sizes)
        records.next_id += made
        records.end += count
        records.counters.pushed += count
        return count

    def wait_push(self, now: int, items: Sequence[object], sizes: Sequence[int]) -> int | None:
        """Add items, as `push` does; None while there is no room for all of them.

        Raises:
          QueueClosedError: If the queue is closed.
          QueueFullError: If there never will be.
        """
        try:
            return self.push(now, items, sizes, True)
        except QueueFullError as error:
            if error.never_fits:
                raise
            return None

    # -- handing out ---------------------------------------------------------------------------

    def pop(self, now: int, limit: int = 1) -> list[object]:
        """Remove and return up to ``limit`` of the oldest items; none while there are none.

        Raises:
          QueueClosedError: If the queue is closed, and nothing is left in it.
          StoreError: If they cannot be read from the store.
        """
        records = self.records
        chunks = self._chunks
        if records.closed and not chunks.count:
            raise QueueClosedError(self.name)
        if is_paused(records.paused_until, now):
            return []
        records.paused_until = None
        items, begin = chunks.gather(records.begin, limit)
        count = len(items)
        if not count:
            if records.closed:  # what was left could not be read
                raise QueueClosedError(self.name)
            return []
        taken = self._taken()
        if chunks.size:
            taken += sum(map(len, items))  # type: ignore[arg-type] # bytes
        gone = chunks.passed(begin)
        size = chunks.size
        chunks.drop(gone)
        records.begin = begin
        records.taken = taken - (size - chunks.size)
        records.counters.popped += count
        return items

    def peek(self, _now: int, limit: int = 1) -> list[object]:
        """Return up to ``limit`` of the oldest items; they stay.

        Raises:
          StoreError: If they cannot be read from the store.
        """
        return self._chunks.gather(self.records.begin, limit)[0]

    # -- the whole queue -----------------------------------------------------------------------

    def clear(self, now: int) -> int:
        """Throw all items away; return how many there were."""
        records = self.records
        count = self.length(now)
        if not records.messages:
            return 0
        fresh: dict[int, Chunk] = {}
        chunks = Chunks(fresh, self._changed, self._load, self._lost)
        self._trash.throw(*self._chunks.containers())
        if self._changed is not None:
            self._changed.clear()
            self._changed.cleared = True
        self._chunks = chunks
        records.messages = fresh
        records.begin = records.end
        records.taken = 0
        records.counters.cleared += count
        return count

    def close(self, _now: int) -> None:
        """Take nothing in any more; what is there can still be taken."""
        self.records.closed = True

    def pause(self, now: int, duration: int | None = None) -> None:
        """Hand nothing out, for ``duration`` or until `resume`."""
        self.records.paused_until = FOR_EVER if duration is None else now + duration

    def resume(self, _now: int) -> None:
        """Hand out again."""
        self.records.paused_until = None

    def resize(self, _now: int, max_elements: int) -> None:
        """Let it hold so many items; what is in it stays, also if that is more."""
        self.records.max_elements = max_elements

    def length(self, _now: int) -> int:
        """Return how many items are in it."""
        first = self._chunks.first
        if first is None:
            return 0
        return self._chunks.count - max(self.records.begin - first.first, 0)

    def is_empty(self, _now: int) -> bool:
        """Return whether no item is in it."""
        return not self._chunks.count

    def disk_size(self, _now: int) -> int:
        """Return how many bytes are kept of items, also of those that are handed out already."""
        return self._chunks.size

    def payload_size(self, _now: int) -> int:
        """Return how many bytes its items have."""
        return self._chunks.size - self._taken()

    def _taken(self) -> int:
        """Return how many bytes of the oldest chunk are handed out already."""
        first = self._chunks.first  # the one with the others may be set aside
        return self.records.taken if first is not None and first.first < self.records.begin else 0

    def statistics(self, now: int) -> CapacityStatistics:
        """Return its numbers; who waits, and the actor's, are for the shell to fill in."""
        records = self.records
        counters = records.counters
        return CapacityStatistics(
            length=self.length(now),
            max_elements=records.max_elements,
            payload_size=self.payload_size(now),
            pushed=counters.pushed,
            popped=counters.popped,
            cleared=counters.cleared,
            set_aside=records.set_aside,
            closed=records.closed,
            paused=is_paused(records.paused_until, now),
        )
