"""The channel's core: values go in at one end and come out at the other, in order.

Pure: every operation takes the instant ``now`` (epoch nanoseconds) and answers at once; nothing
here waits, reads a clock, logs or writes. An empty answer (None, or an empty list) says "not yet".
It validates first and changes the records last, by what cannot fail: so an operation that raises
in the middle has not happened.

Who sends without waiting (`send_nowait`) is told at once whether there is room. So places are
counted where the senders can see them: `Places`. They are derived: `ChannelCore.rebuild` counts
again.

Source: seed 000, ``kumo.mpsc``; by what it documents where its code does otherwise.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

import attrs

from queueactors._state_errors import QueueClosedError, QueueEndedError

from ._pause import FOR_EVER, is_paused
from ._statistics import QueueStatistics
from ._trash import Trash

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence, Sized

__all__ = ["ChannelCore", "ChannelRecords", "ChannelStatistics", "Places"]

SLICE = 10_000  # values to let go of between two turns of others: some 1 ms


@attrs.frozen(kw_only=True)
class ChannelStatistics(QueueStatistics):
    """A channel's numbers. Gauges are of now; counters run since it was defined.

    Args:
      length: How many values are in it.
      limit: How many it may hold; None: without limit.
      waiting: Receivers that wait for a value: 0 or 1.
      sending: Senders that wait for room.
      sent: Values that went in, ever.
      received: Values that were handed out, ever; without those that a worker gave back.
      cleared: Values that were thrown away by `clear`, ever.
      closed: Whether it is closed.
      paused: Whether it hands nothing out at present.
      mailbox: Operations that the actor has not taken yet.
      restarts: How often the actor was restarted.
    """

    length: int
    limit: int | None
    waiting: int = 0
    sending: int = 0
    sent: int
    received: int
    cleared: int
    closed: bool
    paused: bool
    mailbox: int = 0
    restarts: int = 0

    @property
    def at_hand(self) -> int:
        """Messages that can be taken now."""
        return self.length

    @property
    def in_hand(self) -> int:
        """Messages that somebody has."""
        return 0

    @property
    def through(self) -> int:
        """Messages that are done with."""
        return self.received

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is left that would be handled some day."""
        return not (self.length or self.sending or self.mailbox)


@attrs.define(eq=False)
class Places:
    """What senders may know of a channel without asking it.

    Args:
      limit: How many places there are; None: without limit.

    Attributes:
      taken: Places that a value is in, or is on its way to.
      promised: Those of them that are promised to a `send_nowait` that is on its way.
      closed: Whether the channel takes nothing in any more.
    """

    limit: int | None = None
    taken: int = attrs.field(default=0, init=False)
    promised: int = attrs.field(default=0, init=False)
    closed: bool = attrs.field(default=False, init=False)

    @property
    def full(self) -> bool:
        """Whether there is no room for one more."""
        return self.limit is not None and self.taken >= self.limit

    def promise(self) -> None:
        """Take a place for a value that is on its way."""
        self.taken += 1
        self.promised += 1

    def arrived(self, *, gone: bool) -> None:
        """End a promise; ``gone``: its value will not come."""
        self.promised -= 1
        self.taken -= gone


@attrs.define(eq=False)
class ChannelRecords:
    """All that a channel is, apart from its `Places`. Only its core changes them."""

    items: deque[object] = attrs.field(factory=deque)  # oldest first
    sent: int = 0  # ever
    received: int = 0  # ever
    cleared: int = 0  # ever
    closed: bool = False
    paused_until: int | None = None  # epoch nanoseconds, or `FOR_EVER`

    @property
    def is_empty(self) -> bool:
        """Whether nothing would be lost with them but counters."""
        return not self.items


class ChannelCore:
    """The state machine of one channel.

    Every method takes ``now`` first: epoch nanoseconds, never smaller than before. A refusal is
    a `QueueActorsError` and has changed nothing.

    Args:
      name: The channel's, for errors.
      places: Shared with those who send; its ``limit`` is the channel's. None: without limit.
      records: What a former incarnation left; None: an empty channel.
      ready: Count the places at once. False: whoever made it runs through `rebuild`.
    """

    operations: tuple[str, ...] = (
        "clear",
        "close",
        "give_back",
        "is_closed",
        "is_empty",
        "length",
        "pause",
        "peek",
        "recv",
        "recv_many",
        "resume",
        "send",
        "send_nowait",
        "statistics",
        "try_send",
    )
    one_taker = True  # a second receiver that would wait is refused
    independent = False
    parting = None

    def __init__(
        self,
        *,
        name: str = "channel",
        places: Places | None = None,
        records: ChannelRecords | None = None,
        ready: bool = True,
    ) -> None:
        self.name = name
        self.places = Places() if places is None else places
        self.records = ChannelRecords() if records is None else records
        self.notices: list[tuple[str, dict[str, object]]] = []
        self.inserters: Sized = ()  # set by the shell for every kind; no use for them here
        self.syncers: Sized = ()
        self._trash = Trash()
        if ready:
            for _ in self.rebuild():
                pass

    # -- what the shell asks between operations ------------------------------------------------

    def rebuild(self) -> Iterator[None]:
        """Count the places: those of the values, and those that are promised."""
        places, records = self.places, self.records
        places.taken = len(records.items) + places.promised
        places.closed = records.closed
        yield

    def new_errands(self) -> bool:
        """Return False: a channel has no errands."""
        return False

    def next_deadline(self, *, waiting: bool) -> int | None:
        """Return the next instant at which something happens by itself; None: never.

        Args:
          waiting: Whether a receiver waits: then the end of a pause counts.
        """
        if self._trash:
            return 0
        until = self.records.paused_until
        return until if waiting and until != FOR_EVER else None

    def advance(self, _now: int, _limit: int | None = None) -> bool:
        """Let go of some of what was cleared; return whether that was all."""
        trash = self._trash
        if trash:
            trash.sweep(SLICE)
        return not trash

    # -- taking in -----------------------------------------------------------------------------

    def send(self, _now: int, value: object) -> bool | None:
        """Add a value and return True; None while there is no room.

        Raises:
          QueueClosedError: If the channel is closed.
        """
        if self.records.closed:
            raise QueueClosedError(self.name)
        return self.try_send(_now, value) or None

    def try_send(self, _now: int, value: object) -> bool:
        """Add a value and return True; False if there is no room, or the channel is closed."""
        records, places = self.records, self.places
        if records.closed or places.full:
            return False
        records.items.append(value)
        records.sent += 1
        places.taken += 1
        return True

    def send_nowait(self, _now: int, value: object) -> bool:
        """Add a value that was promised a place, also if the channel was closed since."""
        self.records.items.append(value)
        self.records.sent += 1
        return True

    def give_back(self, _now: int, values: Sequence[object]) -> int:
        """Put values that were received back to the front; return how many.

        In their order, whatever the limit, and also if the channel was closed since: they were
        in it.
        """
        records = self.records
        count = len(values)
        records.items.extendleft(reversed(values))
        records.received -= count
        self.places.taken += count
        return count

    # -- handing out ---------------------------------------------------------------------------

    def recv(self, now: int) -> tuple[object] | None:
        """Return the oldest value, in a tuple; None while there is none.

        Raises:
          QueueEndedError: If the channel is closed, and nothing is left or on its way.
        """
        if not self._has_some(now):
            return None
        records = self.records
        value = records.items.popleft()
        records.received += 1
        self.places.taken -= 1
        return (value,)

    def recv_many(self, now: int, limit: int) -> list[object]:
        """Return up to ``limit`` of the oldest values; none while there are none.

        Raises:
          QueueEndedError: If the channel is closed, and nothing is left or on its way.
        """
        if not self._has_some(now):
            return []
        records = self.records
        values = list(islice(records.items, limit))
        count = len(values)
        if count == len(records.items):
            records.items = deque()
        else:
            gone = range(count)
            for _ in gone:
                del records.items[0]
        records.received += count
        self.places.taken -= count
        return values

    def peek(self, _now: int, limit: int = 1) -> list[object]:
        """Return up to ``limit`` of the oldest values; they stay."""
        return list(islice(self.records.items, limit))

    # -- the whole channel -----------------------------------------------------------------------

    def clear(self, _now: int) -> int:
        """Throw all values away; return how many there were."""
        records = self.records
        fresh: deque[object] = deque()
        count = len(records.items)
        self._trash.throw(records.items.pop)
        records.items = fresh
        records.cleared += count
        self.places.taken -= count
        return count

    def close(self, _now: int) -> None:
        """Take nothing in any more, but for what is on its way; what is there stays."""
        self.records.closed = self.places.closed = True

    def pause(self, now: int, duration: int | None = None) -> None:
        """Hand nothing out for ``duration`` nanoseconds; None: until `resume`."""
        self.records.paused_until = FOR_EVER if duration is None else now + duration

    def resume(self, _now: int) -> None:
        """Hand out again."""
        self.records.paused_until = None

    def is_closed(self, _now: int) -> bool:
        """Return whether it is closed, drained or not."""
        return self.records.closed

    def is_empty(self, _now: int) -> bool:
        """Return whether no value is in it."""
        return not self.records.items

    def length(self, _now: int) -> int:
        """Return how many values are in it."""
        return len(self.records.items)

    def statistics(self, now: int) -> ChannelStatistics:
        """Return its numbers; who waits, and the actor's, are for the shell to fill in."""
        records = self.records
        return ChannelStatistics(
            length=len(records.items),
            limit=self.places.limit,
            sent=records.sent,
            received=records.received,
            cleared=records.cleared,
            closed=records.closed,
            paused=is_paused(records.paused_until, now),
        )

    # -- helpers -------------------------------------------------------------------------------

    def _has_some(self, now: int) -> bool:
        """Return whether there is something to hand out now; a pause that has ended is over.

        Raises:
          QueueEndedError: If nothing will ever come.
        """
        records = self.records
        if records.closed and not self.places.taken:
            raise QueueEndedError(self.name)
        if is_paused(records.paused_until, now):
            return False
        records.paused_until = None
        return bool(records.items)
