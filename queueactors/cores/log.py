"""The log queue's core: items are added at one end and read by many, each at its own pace.

Pure: every operation takes the instant ``now`` (epoch nanoseconds) and answers at once; nothing
here waits, reads a clock, logs or writes. It validates first, then changes its indexes, and
changes the records last, by what cannot fail: so an operation that raises in the middle has not
happened, and the indexes are rebuilt from the records.

Items have numbers, from 0 on. A *label* is the number of the item that its reader gets next. An
item that is older than the time to live is not there any more, for nobody, from that very instant:
that is looked at when somebody reads. Its storage is given back a little later, by whole chunks.

Source: seed 004, RocksQ's ``MpmcQueue``, by what it documents: there items expire when the storage
happens to be compacted, live ones are skipped after that, and labels expire, too.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import attrs

from queueactors._errors import CodecError, PositionError
from queueactors._state_errors import QueueClosedError

from ._chunks import Chunk, Chunks, Load
from ._pause import FOR_EVER, is_paused
from ._statistics import QueueStatistics
from ._trash import Trash
from ._unwritten import Resumable, Unwritten

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence, Sized

    from ._changed import Changed

__all__ = ["Chunk", "LogCore", "LogRecords", "LogStatistics", "Read", "Start"]

Start = Literal["oldest", "newest"]
SLICE = 1000  # chunks: some 1 ms of work
LATE = 1_000_000_000  # nanoseconds that the storage of what has expired is kept at most


class Read(NamedTuple):
    """What a reader got.

    Args:
      items: The items, oldest first.
      expired: How many it has lost, because they expired before it came to them, were cleared, or
        could not be read: what a label reads and what it loses is always how far it moves.
      position: What to `commit` when it is done with them.
    """

    items: list[object]
    expired: int
    position: int


@attrs.frozen(kw_only=True)
class LogStatistics(QueueStatistics):
    """A log queue's numbers. Gauges are of now; counters run since the process opened it.

    Args:
      length: Items in it that have not expired.
      end: Items that were ever added: the number of the next one, from 0 on.
      labels: Labels.
      behind: How many items the slowest label has not read; None without a label.
      disk_size: Bytes of what is kept of items, expired ones that are still there included.
      added: Items that went in.
      read: Items that were handed out, to any label.
      expired: Items that expired.
      cleared: Items that were thrown away by `clear`.
      set_aside: Chunks that the store keeps and cannot read.
      closed: Whether the queue takes nothing in any more.
      paused: Whether it hands nothing out at present.
      waiting: Readers that wait for an item.
      adding: Nobody waits for room.
      mailbox: Operations that wait for the actor.
      restarts: How often the actor was restarted.
    """

    length: int
    end: int = 0
    labels: int
    behind: int | None = None
    disk_size: int = 0
    added: int = 0
    read: int = 0
    expired: int = 0
    cleared: int = 0
    set_aside: int = 0
    closed: bool = False
    paused: bool = False
    waiting: int = 0
    adding: int = 0
    mailbox: int = 0
    restarts: int = 0

    @property
    def at_hand(self) -> int:
        """Items that the slowest label has not read."""
        return self.behind or 0

    @property
    def in_hand(self) -> int:
        """Items that somebody has, and that come back: nobody takes any away."""
        return 0

    @property
    def through(self) -> int:
        """Items that were handed out."""
        return self.read

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is left that would be read some day by a label that is there."""
        return not (self.behind or self.mailbox)


@attrs.define(eq=False)
class LogCounters:
    """What happened since the process opened the queue."""

    added: int = 0
    read: int = 0
    expired: int = 0
    cleared: int = 0


@attrs.define(eq=False)
class LogRecords(Resumable[LogCounters]):
    """All that a log queue is; it belongs to the store and outlives the actor."""

    messages: dict[int, Chunk] = attrs.field(factory=dict)  # chunks and labels, by id
    set_aside: int = 0
    next_id: int = 1
    end: int = 0  # the number of the next item to come
    paused_until: int | None = None  # epoch nanoseconds, or `FOR_EVER`
    closed: bool = False
    counters: LogCounters = attrs.field(factory=LogCounters)

    _unwritten: ClassVar = Unwritten("closed")
    _counts: ClassVar = Unwritten.all_of(LogCounters)

    def head(self) -> dict[str, int | None]:
        """Return what outlives the process, beside items and labels."""
        return {"next_id": self.next_id, "end": self.end, "paused_until": self.paused_until}


class LogCore:
    """The state machine of one log queue.

    Every method takes ``now`` first: epoch nanoseconds, never smaller than before. A refusal is
    a `QueueActorsError` and has changed nothing.

    Args:
      ttl: Nanoseconds that an item lives; None: for ever.
      name: The queue's, for errors.
      records: What a former incarnation left; None: an empty queue.
      changed: Where to note what a store has to write; None: it writes nothing.
      load: Reads items that are in the store only; None: there are none.
      ready: Build the indexes at once. False: whoever made it runs through `rebuild`.
    """

    operations: tuple[str, ...] = (
        "add",
        "clear",
        "close",
        "commit",
        "disk_size",
        "labels",
        "length",
        "next",
        "pause",
        "peek",
        "read",
        "remove_label",
        "resume",
        "statistics",
        "wait_next",
        "wait_read",
    )
    one_taker = False
    independent = True  # each label waits for items of its own
    parting = None

    def __init__(  # noqa: PLR0913 - all keyword-only, all with defaults
        self,
        *,
        ttl: int | None = None,
        name: str = "log",
        records: LogRecords | None = None,
        changed: Changed | None = None,
        load: Load | None = None,
        ready: bool = True,
    ) -> None:
        self.name = name
        self.records = LogRecords() if records is None else records
        self.notices: list[tuple[str, dict[str, object]]] = []
        self.inserters: Sized = ()
        self.syncers: Sized = ()
        self.configure(ttl=ttl)
        self._changed = changed
        self._load = load
        self._trash = Trash()
        self._chunks = Chunks(self.records.messages, changed, load, self._lost)
        self._labels: dict[str, Chunk] = {}
        self.begun_anew: set[object] = set()  # labels that were removed; the engine empties it
        if ready:
            for _ in self.rebuild():
                pass

    def configure(self, *, ttl: int | None) -> None:
        """Let items be read for another time, from now on; None: for ever."""
        self._ttl = ttl

    # -- what the shell asks between operations ------------------------------------------------

    def new_errands(self) -> bool:
        """Return False: a log queue has no errands."""
        return False

    def rebuild(self) -> Iterator[None]:
        """Build the indexes from the records; yield whenever others may run."""
        records = iter(self.records.messages.values())
        while some := list(islice(records, SLICE)):
            for record in some:
                if record.state == "label":
                    self._labels[str(record.value)] = record
                else:
                    self._chunks.place(record)
            yield

    def _lost(self, chunk: Chunk, error: CodecError) -> None:
        """Count what cannot be read any longer."""
        self.records.set_aside += 1
        facts = {"id": chunk.id, "codec": error.codec, "error": error.error}
        self.notices.append(("message_set_aside", facts))

    def next_deadline(self, *, waiting: bool) -> int | None:
        """Return the next instant at which something happens by itself; None: never."""
        if self._trash:
            return 0
        instants = []
        first = self._chunks.first
        if first is not None and self._ttl is not None:
            instants.append(first.at + self._ttl + min(LATE, self._ttl // 8))
        until = self.records.paused_until
        if waiting and until is not None and until != FOR_EVER:
            instants.append(until)
        return min(instants, default=None)

    def advance(self, now: int, limit: int | None = None) -> bool:
        """Give back the storage of what has expired, a slice at a time; return whether all is."""
        self._chunks.written()
        if self._trash:
            self._trash.sweep(SLICE)
        count = self._expired_chunks(now)
        if count:
            first = self._chunks.first
            due = first is not None and self._late(first) <= now
            if due or limit is None:
                some = count if limit is None else min(count, limit)
                items = sum(self._chunks[index].count for index in range(some))
                self._chunks.drop(some)
                self.records.counters.expired += items
                return some == count and not self._trash
        return not self._trash

    def _late(self, chunk: Chunk) -> int:
        """Return the instant at which a chunk's storage is to be given back."""
        ttl = self._ttl or 0
        return chunk.at + ttl + min(LATE, ttl // 8)

    def _expired_chunks(self, now: int) -> int:
        """Return how many chunks have expired: the oldest ones."""
        if self._ttl is None:
            return 0
        chunks = self._chunks
        low, high, last_at = 0, len(chunks), now - self._ttl
        if not high or chunks[0].at > last_at:
            return 0
        while low < high:
            middle = (low + high) // 2
            if chunks[middle].at <= last_at:
                low = middle + 1
            else:
                high = middle
        return low

    def _begin(self, now: int) -> int:
        """Return the number of the first item that has not expired; without one, the next."""
        first = self._chunks.first
        if first is not None and (self._ttl is None or first.at + self._ttl > now):
            return first.first  # as mostly: 0.4 us less
        expired = self._expired_chunks(now)
        return self.records.end if expired == len(self._chunks) else self._chunks[expired].first

    def _end(self) -> int:
        """Return the number behind the last item that can be read; without one, the next."""
        last = self._chunks.last
        return self.records.end if last is None else last.first + last.count

    def news(self, now: int) -> object:
        """Return what is equal as long as nothing has come that a reader may wait for."""
        records = self.records
        paused = is_paused(records.paused_until, now)
        begin = self._begin(now) if records.closed else None  # is there still something to come?
        return None if paused else records.end, begin

    # -- taking in -----------------------------------------------------------------------------

    def add(self, now: int, items: Sequence[object], sizes: Sequence[int]) -> int:
        """Add items; return how many.

        Raises:
          QueueClosedError: If the queue is closed.
        """
        records = self.records
        if records.closed:
            raise QueueClosedError(self.name)
        count = len(items)
        made = self._chunks.add(now, records.next_id, records.end, items, sizes)
        records.next_id += made
        records.end += count
        records.counters.added += count
        return count

    # -- reading -------------------------------------------------------------------------------

    def next(
        self, now: int, name: str, start: Start = "oldest", limit: int = 1
    ) -> tuple[list[object], int]:
        """Return a label's next items, and how many it has lost; it stands behind them then.

        Args:
          now: Epoch nanoseconds.
          name: The label. One that is not known is made, also if there is nothing to read.
          start: Where a new one begins: at the oldest item, or at the newest one that is there,
            inclusive; in an empty log at the next to come.
          limit: How many items at most (>= 1).

        Raises:
          StoreError: If they cannot be read from the store.
        """
        label, items, expired, _, after = self._look(now, name, start, limit)
        self._stand(now, name, label, after, len(items))
        return items, expired

    def wait_next(
        self, now: int, name: str, start: Start = "oldest", limit: int = 1
    ) -> tuple[list[object], int] | None:
        """Return what `next` does; None while there is nothing to read.

        How many are lost is told with the first item, so the label stays where it is until then.

        Raises:
          QueueClosedError: If the queue is closed, and there is nothing left to read.
          StoreError: If they cannot be read from the store.
        """
        label, items, expired, position, after = self._look(now, name, start, limit)
        if items:
            self._stand(now, name, label, after, len(items))
            return items, expired
        self._refuse_if_over(now, position)
        self._stand(now, name, label, position, 0)
        return None

    def read(self, now: int, name: str, start: Start = "oldest", limit: int = 1) -> Read:
        """Return what `next` does; the label stays where it is, until `commit`."""
        label, items, expired, position, after = self._look(now, name, start, limit)
        read = Read(items, expired, after)
        self._stand(now, name, label, position, len(items))
        return read

    def wait_read(
        self, now: int, name: str, start: Start = "oldest", limit: int = 1
    ) -> Read | None:
        """Return what `read` does; None while there is nothing to read.

        Raises:
          QueueClosedError: If the queue is closed, and there is nothing left to read.
          StoreError: If they cannot be read from the store.
        """
        label, items, expired, position, after = self._look(now, name, start, limit)
        read = Read(items, expired, after)
        if not items:
            self._refuse_if_over(now, position)
        self._stand(now, name, label, position, len(items))
        return read if items else None

    def peek(self, now: int, limit: int = 1) -> list[object]:
        """Return up to ``limit`` of the oldest items, for nobody: all labels stay where they are.

        Raises:
          StoreError: If they cannot be read from the store.
        """
        return self._chunks.gather(self._begin(now), limit)[0]

    def _look(
        self, now: int, name: str, start: Start, limit: int
    ) -> tuple[Chunk | None, list[object], int, int, int]:
        """Return what there is to read, and change nothing.

        The label, if it is known; the items; how many it has lost; where it stands, or a new one
        would; and where it will.
        """
        records = self.records
        begin = self._begin(now)
        label = self._labels.get(name)
        if label is not None:
            position = label.first
        else:
            position = begin if start == "oldest" else max(begin, self._end() - 1)
        if is_paused(records.paused_until, now):
            return label, [], 0, position, position
        records.paused_until = None  # it has passed
        first = max(begin, position)
        items, after = self._chunks.gather(first, limit)
        return label, items, after - position - len(items), position, after

    def _refuse_if_over(self, now: int, position: int) -> None:
        """Refuse to wait at a position where nothing will come."""
        records = self.records
        if records.closed and max(position, self._begin(now)) >= self._end():
            raise QueueClosedError(self.name)

    def _stand(self, now: int, name: str, label: Chunk | None, position: int, read: int) -> None:
        """Let a label stand at a position; make it if it is not known."""
        records = self.records
        if label is None:
            label = Chunk(records.next_id, name, "label", position, 0, 0, now)
            self._labels[name] = label
            if self._changed is not None:
                self._changed.add(label.id)
            records.messages[label.id] = label
            records.next_id += 1
        elif label.first != position:
            if self._changed is not None:
                self._changed.add(label.id)
            label.first = position
        records.counters.read += read

    def commit(self, now: int, name: str, position: int) -> int:
        """Let a label stand at a position that `read` has told; return how many items that passes.

        Raises:
          PositionError: If it stands behind that already, or there is no such label or position.
        """
        label = self._labels.get(name)
        if label is None or not label.first <= position <= self.records.end:
            least = None if label is None else label.first
            raise PositionError(self.name, name, position, least, self.records.end)
        passed = position - label.first
        self._stand(now, name, label, position, 0)
        return passed

    # -- labels --------------------------------------------------------------------------------

    def labels(self, _now: int) -> list[str]:
        """Return the labels, in the order in which they came."""
        return list(self._labels)

    def remove_label(self, _now: int, name: str) -> bool:
        """Forget a label; return whether there was one."""
        label = self._labels.pop(name, None)
        if label is None:
            return False
        self.begun_anew.add(name)
        if self._changed is not None:
            self._changed.add(label.id)
        del self.records.messages[label.id]
        return True

    # -- the whole queue -----------------------------------------------------------------------

    def clear(self, now: int) -> int:
        """Throw all items away; return how many there were. Labels stay, and are told."""
        records = self.records
        expired = self._expired(now)
        count = self._chunks.count - expired
        kept = {label.id: label for label in self._labels.values()}
        chunks = Chunks(kept, self._changed, self._load, self._lost)
        if self._changed is not None:
            self._changed.update([chunk.id for chunk in self._chunks])
        self._trash.throw(*self._chunks.containers())
        self._chunks = chunks
        records.messages = kept  # from here on nothing fails
        records.counters.expired += expired
        records.counters.cleared += count
        return count

    def _expired(self, now: int) -> int:
        """Return how many items have expired, but are still kept."""
        return sum(self._chunks[index].count for index in range(self._expired_chunks(now)))

    def close(self, _now: int) -> None:
        """Take nothing in any more; what is there can still be read."""
        self.records.closed = True

    def pause(self, now: int, duration: int | None = None) -> None:
        """Hand nothing out, for ``duration`` or until `resume`."""
        self.records.paused_until = FOR_EVER if duration is None else now + duration

    def resume(self, _now: int) -> None:
        """Hand out again."""
        self.records.paused_until = None

    def length(self, now: int) -> int:
        """Return how many items have not expired."""
        return self._chunks.count - self._expired(now)

    def disk_size(self, _now: int) -> int:
        """Return how many bytes are kept of items, expired ones that are still there included."""
        return self._chunks.size

    def statistics(self, now: int) -> LogStatistics:
        """Return its numbers; who waits, and the actor's, are for the shell to fill in."""
        records = self.records
        counters = records.counters
        expired = self._expired(now)
        length = self._chunks.count - expired
        behind = None
        if self._labels:
            slowest = min(label.first for label in self._labels.values())
            begin, end = self._begin(now), self._end()
            behind = max(min(end - max(slowest, begin), length), 0)
        return LogStatistics(
            length=length,
            end=records.end,
            labels=len(self._labels),
            behind=behind,
            disk_size=self._chunks.size,
            added=counters.added,
            read=counters.read,
            expired=counters.expired + expired,
            cleared=counters.cleared,
            set_aside=records.set_aside,
            closed=records.closed,
            paused=is_paused(records.paused_until, now),
        )
