"""The timed queue's core: reservations, priorities, delays, unique values, exhaustion.

Pure: every operation takes the instant ``now`` (epoch nanoseconds) and answers at once; nothing
here waits, reads a clock, logs or writes. It validates first, then changes its indexes, and
changes the records last: so an operation that raises in the middle has not happened, and the
indexes are rebuilt from the records.

    ready --reserve--> reserved --delete--> gone
      ^  ^               |  |  '--bury--> buried --kick--> ready
      |  '--release------'  '--release after a delay--> delayed --> ready
      '-----expiry-------'      and, when the last allowed reservation ends: exhausted

Order: priority (smaller first), then the instant of becoming ready, then insertion. Almost
always that is the order of a deque; what does not fit goes to a heap (-11 % to -38 % against a
heap alone, `bench/`). The same for deadlines: an ordered dict while they only grow.

Source: seed 002, ``timed_queue``; delay, priority, bury, kick and touch from beanstalkd.

The file is over 500 lines because it is one table of operations over one set of records.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from enum import IntEnum
from heapq import heapify, heappop, heappush, nsmallest
from typing import TYPE_CHECKING, Literal, NamedTuple, cast, get_args

import attrs

from queueactors._errors import (
    QueueClosedError,
    ReservationExpiredError,
    ReservationNotFoundError,
)

from ._unique import UniqueValues

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MIN_REFILL_NS = 10_000_000  # 10 ms: a refill interval of 0 must not become a busy loop


class State(IntEnum):
    """Where a message is in its life."""

    READY = 0
    DELAYED = 1
    RESERVED = 2
    BURIED = 3
    DEAD = 4  # exhausted, and on its way to another queue
    GONE = 5


PeekState = Literal["ready", "delayed", "reserved", "buried"]


class Reservation(NamedTuple):
    """A message that is yours until ``deadline_at``.

    Args:
      id: The message's number: stable, unique in its queue.
      key: Proves the reservation; every reservation has its own.
      value: What was inserted.
      deadline_at: Epoch nanoseconds at which it ends by itself.
      attempt: The how-manieth reservation of this message it is, from 1.
    """

    id: int
    key: int
    value: object
    deadline_at: int
    attempt: int


@attrs.frozen
class TimedMessage:
    """A message as `peek` shows it.

    Args:
      id: Its number.
      value: What was inserted.
      state: Where it is in its life.
      attempts: How often it was reserved.
      priority: Smaller comes first.
      inserted_at: Epoch nanoseconds of the insert.
      ready_at: Epoch nanoseconds at which it became ready, or will.
      error: What its last attempt failed with; None: nothing was said.
    """

    id: int
    value: object
    state: str
    attempts: int
    priority: int
    inserted_at: int
    ready_at: int
    error: str | None


@attrs.frozen
class DeadLetter:
    """What a queue named by ``on_exhausted`` gets.

    Args:
      value: What was inserted.
      queue: Where it was exhausted.
      id: Its number there.
      attempts: How often it was reserved.
      error: What its last attempt failed with; None: nothing was said.
      inserted_at: Epoch nanoseconds of the original insert.
    """

    value: object
    queue: str
    id: int
    attempts: int
    error: str | None
    inserted_at: int


@attrs.frozen(kw_only=True)
class TimedStatistics:
    """A timed queue's numbers: gauges now, counters since the process opened the queue.

    Args:
      ready: Messages that can be reserved now.
      delayed: Those that will be ready later.
      reserved: Those that somebody has.
      buried: Those that were put aside.
      dead: Exhausted ones on their way to another queue.
      oldest_age: Seconds that the first ready message has been ready; None without one.
      inserted: Values that went in.
      duplicates: Values that did not, because they were there already.
      reserved_total: Reservations given out.
      expired: Reservations that ended by their deadline.
      released: Messages given back.
      deleted: Messages finished.
      exhausted: Messages whose last allowed reservation ended.
      refills: Refills begun.
      refill_errors: Refills that failed.
      refilling: Whether one runs now.
      last_refill: How many values the last one put in; None: none has ended yet.
      closed: Whether the queue takes nothing in any more.
      paused: Whether it hands nothing out at present.
      waiting: Takers that wait for a message.
      mailbox: Operations that wait for the actor.
      restarts: How often the actor was restarted.
    """

    ready: int = 0
    delayed: int = 0
    reserved: int = 0
    buried: int = 0
    dead: int = 0
    oldest_age: float | None = None
    inserted: int = 0
    duplicates: int = 0
    reserved_total: int = 0
    expired: int = 0
    released: int = 0
    deleted: int = 0
    exhausted: int = 0
    refills: int = 0
    refill_errors: int = 0
    refilling: bool = False
    last_refill: int | None = None
    closed: bool = False
    paused: bool = False
    waiting: int = 0
    mailbox: int = 0
    restarts: int = 0


class Message:
    """The record of one message. Only the core changes it."""

    __slots__ = (
        "attempt",
        "deadline_at",
        "error",
        "id",
        "inserted_at",
        "key",
        "priority",
        "ready_at",
        "state",
        "value",
    )

    def __init__(self, id: int, value: object, now: int, ready_at: int, priority: int) -> None:
        self.id = id
        self.value = value
        self.state = State.READY if ready_at <= now else State.DELAYED
        self.priority = priority
        self.inserted_at = now
        self.ready_at = ready_at
        self.attempt = 0  # reservations so far
        self.key = 0  # of the reservation, live or expired; 0: none
        self.deadline_at = 0  # of that reservation
        self.error: str | None = None  # of the last release or bury


@attrs.define(eq=False)
class Counters:
    """What happened since the process opened the queue."""

    inserted: int = 0
    duplicates: int = 0
    reserved_total: int = 0
    expired: int = 0
    released: int = 0
    deleted: int = 0
    exhausted: int = 0
    refills: int = 0
    refill_errors: int = 0


@attrs.define(eq=False)
class TimedRecords:
    """All that a timed queue is; it belongs to the store and outlives the actor."""

    messages: dict[int, Message] = attrs.field(factory=dict)
    next_id: int = 1
    last_key: int = 0  # the highest key ever given out
    synced_at: int | None = None  # when the last refill began, or ended
    refilling: bool = False
    last_refill: int | None = None
    closed: bool = False
    paused_until: int | None = None  # epoch nanoseconds; -1: until `resume`
    counters: Counters = attrs.field(factory=Counters)


class TimedCore:
    """The state machine of one timed queue.

    Every method takes ``now`` first: epoch nanoseconds, never smaller than before. Durations
    are nanoseconds. A refusal is a `QueueActorsError` and has changed nothing, except that
    `delete` removes what it can.

    Args:
      unique: A value that is in the queue does not go in again.
      max_reservations: How often a message may be reserved; None: without limit.
      on_exhausted: ``"drop"``, ``"bury"``, or the name of the queue for dead letters.
      sync_interval: Nanoseconds from the end of a refill to the next; None: there is no refill.
      name: The queue's, for errors and dead letters.
      records: What a former incarnation left; None: an empty queue.
    """

    operations: tuple[str, ...] = (
        "begin_refill",
        "bury",
        "bury_dead",
        "clear",
        "close",
        "dead_letters",
        "delete",
        "insert",
        "kick",
        "length",
        "pause",
        "peek",
        "prolongate",
        "refill_lost",
        "refilled",
        "release",
        "remove",
        "reserve",
        "reserve_many",
        "resume",
        "statistics",
        "touch",
    )

    _delayed_gone: int  # entries of _delayed whose message was removed

    def __init__(  # noqa: PLR0913 - all keyword-only, all with defaults
        self,
        *,
        unique: bool = False,
        max_reservations: int | None = None,
        on_exhausted: str = "drop",
        sync_interval: int | None = None,
        name: str = "timed",
        records: TimedRecords | None = None,
    ) -> None:
        self.name = name
        self.records = TimedRecords() if records is None else records
        self.notices: list[tuple[str, dict[str, object]]] = []  # for the log: event, facts
        self._max_reservations = max_reservations
        self._on_exhausted = on_exhausted
        self._interval = None if sync_interval is None else max(sync_interval, MIN_REFILL_NS)
        self._refill_wanted = False
        self._unique = UniqueValues() if unique else None
        self._messages = self.records.messages
        self._counters = self.records.counters
        self._index()

    # -- what the shell asks between operations ------------------------------------------------

    @property
    def errands(self) -> bool:
        """Whether something waits that a core cannot do: a refill, or a dead letter to post."""
        return self._refill_wanted or bool(self._dead)

    def next_deadline(self, *, waiting: bool) -> int | None:
        """Return the next instant at which something happens by itself; None: never.

        Args:
          waiting: Whether takers wait: then a refill may be due, or a pause may end.
        """
        instants = []
        if self._growing:
            instants.append(next(iter(self._growing.values())).deadline_at)
        while self._deadlines and self._deadlines[0][1] not in self._others:
            heappop(self._deadlines)
        if self._deadlines:
            instants.append(self._deadlines[0][0])
        while self._delayed and self._delayed[0][2].state is State.GONE:
            heappop(self._delayed)
            self._delayed_gone -= 1
        if self._delayed:
            instants.append(self._delayed[0][0])
        if waiting:
            records = self.records
            if records.paused_until is not None:
                if records.paused_until > 0:
                    instants.append(records.paused_until)
            elif self._may_refill() and not self._refill_wanted:
                instants.append((records.synced_at or 0) + cast("int", self._interval))
        return min(instants, default=None)

    def advance(self, now: int) -> None:
        """Let everything happen whose instant has come: expiries, ends of delays."""
        while self._growing:
            message = next(iter(self._growing.values()))
            if message.deadline_at > now:
                break
            self._expire(message)
        while self._deadlines and self._deadlines[0][0] <= now:
            message_ = self._others.get(heappop(self._deadlines)[1])
            if message_ is not None:
                self._expire(message_)
        while self._delayed and self._delayed[0][0] <= now:
            ready_at, _, message = heappop(self._delayed)
            if message.state is State.GONE:
                self._delayed_gone -= 1
            else:
                self._make_ready(message, ready_at)
        self._wake_at = self.next_deadline(waiting=False) or _NEVER

    # -- taking in -----------------------------------------------------------------------------

    def insert(self, now: int, values: Sequence[object], delay: int = 0, priority: int = 0) -> int:
        """Add messages; return how many. With ``unique``, values that are there stay out.

        Raises:
          QueueClosedError: If the queue is closed.
        """
        if now >= self._wake_at:
            self.advance(now)
        records = self.records
        if records.closed:
            raise QueueClosedError(self.name)
        next_id = records.next_id
        added: dict[int, Message] = {}
        unique = self._unique
        for value in values:
            if unique is not None:
                if value in unique:
                    continue
                unique.add(next_id, value)
            message = added[next_id] = Message(next_id, value, now, now + delay, priority)
            next_id += 1
            if delay:
                self._delay(message)
            else:
                self._push(message)
        self._messages.update(added)
        records.next_id = next_id
        self._counters.inserted += len(added)
        self._counters.duplicates += len(values) - len(added)
        return len(added)

    # -- handing out ---------------------------------------------------------------------------

    def reserve(self, now: int, duration: int) -> Reservation | None:
        """Take the first ready message for ``duration``; None if there is none.

        Raises:
          QueueClosedError: If the queue is closed and drained.
        """
        if now >= self._wake_at:
            self.advance(now)
        records = self.records
        if records.paused_until is not None:
            if self._paused(now):
                return None
            records.paused_until = None
        message = self._pop()
        if message is None:
            self._found_nothing(now)
            return None
        if message.key:
            del self._expired[message.key]
        key = records.last_key = now if now > records.last_key else records.last_key + 1
        deadline_at = now + duration
        self._hold(message, key, deadline_at)
        message.key = key
        message.deadline_at = deadline_at
        message.attempt += 1
        message.state = State.RESERVED
        self._counters.reserved_total += 1
        return Reservation(message.id, key, message.value, deadline_at, message.attempt)

    def reserve_many(self, now: int, limit: int, duration: int) -> list[Reservation]:
        """Take up to ``limit`` ready messages.

        Raises:
          QueueClosedError: If the queue is closed and drained.
        """
        taken: list[Reservation] = []
        while len(taken) < limit:
            if taken and not self._ready and not self._ready_heap:
                break  # no more; asking again would look like one who found nothing
            reservation = self.reserve(now, duration)
            if reservation is None:
                break
            taken.append(reservation)
        return taken

    # -- what the holder of a reservation does -------------------------------------------------

    def prolongate(self, now: int, key: int, duration: int) -> Reservation:
        """Move the deadline ``duration`` further: additive. The old key is dead.

        Raises:
          ReservationError: If the reservation is not live.
        """
        message = self._live(now, key)
        return self._rekey(message, now, message.deadline_at + duration)

    def touch(self, now: int, key: int, duration: int) -> Reservation:
        """Let the reservation end ``duration`` from now. The old key is dead.

        Raises:
          ReservationError: If the reservation is not live.
        """
        return self._rekey(self._live(now, key), now, now + duration)

    def release(
        self,
        now: int,
        key: int,
        delay: int = 0,
        priority: int | None = None,
        error: str | None = None,
    ) -> None:
        """Give a message back: to the tail of the ready ones, now or after ``delay``.

        Raises:
          ReservationError: If the reservation is not live.
        """
        message = self._live(now, key)
        self._let_go(message)
        self._counters.released += 1
        if error is not None:
            message.error = error
        if self._is_exhausted(message):
            self._exhaust(message)
            return
        if priority is not None:
            message.priority = priority
        message.ready_at = now + delay
        if delay:
            self._delay(message)
            message.key = 0
            message.state = State.DELAYED
        else:
            self._push(message)
            message.key = 0
            message.state = State.READY

    def delete(self, now: int, keys: Sequence[int], expired_ok: bool = False) -> int:  # noqa: FBT001, FBT002 - an engine passes positions
        """Finish messages; return how many. Live reservations go whatever the others are.

        Raises:
          ReservationError: If some were not live; ``.keys`` has all of those.
        """
        if now >= self._wake_at:
            self.advance(now)
        stale: list[int] = []
        deleted = 0
        for key in keys:
            message = self._growing.get(key) or self._others.get(key)
            if message is not None:
                self._let_go(message)
            elif expired_ok and key in self._expired:
                message = self._expired[key]
            else:
                stale.append(key)
                continue
            self._forget(message)
            deleted += 1
        self._counters.deleted += deleted
        if stale:
            kind = (
                ReservationExpiredError if stale[0] in self._expired else ReservationNotFoundError
            )
            raise kind(stale)
        return deleted

    def bury(self, now: int, key: int, error: str | None = None) -> None:
        """Put a message aside until `kick`.

        Raises:
          ReservationError: If the reservation is not live.
        """
        message = self._live(now, key)
        self._let_go(message)
        if error is not None:
            message.error = error
        self._bury(message)

    # -- what an operator does -----------------------------------------------------------------

    def kick(self, now: int, limit: int = 1) -> int:
        """Make up to ``limit`` buried messages ready, oldest first; return how many.

        Their attempts start at 0 again.
        """
        if now >= self._wake_at:
            self.advance(now)
        kicked = list(self._buried.values())[:limit]
        for message in kicked:
            del self._buried[message.id]
            message.attempt = 0
            message.key = 0
            self._make_ready(message, now)
        return len(kicked)

    def peek(self, now: int, state: PeekState = "ready", limit: int = 1) -> list[TimedMessage]:
        """Return the first messages in a state, without changing anything."""
        if now >= self._wake_at:
            self.advance(now)
        wanted = State[state.upper()]
        first = nsmallest(
            limit,
            (message for message in self._messages.values() if message.state is wanted),
            key=_PEEK_ORDER[wanted],
        )
        return [
            TimedMessage(
                id=message.id,
                value=message.value,
                state=state,
                attempts=message.attempt,
                priority=message.priority,
                inserted_at=message.inserted_at,
                ready_at=message.ready_at,
                error=message.error,
            )
            for message in first
        ]

    def remove(self, now: int, ids: Sequence[int]) -> int:
        """Take messages out by their ids, in whatever state; return how many there were."""
        if now >= self._wake_at:
            self.advance(now)
        removed = 0
        for each in ids:
            message = self._messages.get(each)
            if message is None:
                continue
            if message.state is State.RESERVED:
                self._let_go(message)
            self._buried.pop(each, None)
            self._forget(message)
            removed += 1
        return removed

    def clear(self, now: int) -> int:  # noqa: ARG002 - every operation has it
        """Remove all messages; reservations are void. Return how many there were."""
        held = len(self._messages) - len(self._dead)
        dead = dict(self._dead)  # these belong to another queue already
        self._messages.clear()
        self._messages.update(dead)
        self._index()
        return held

    def close(self, now: int) -> None:  # noqa: ARG002 - every operation has it
        """Take nothing in any more. What is there can still be reserved and finished."""
        self.records.closed = True

    def pause(self, now: int, duration: int | None = None) -> None:
        """Hand nothing out, for ``duration`` or until `resume`."""
        self.records.paused_until = -1 if duration is None else now + duration

    def resume(self, now: int) -> None:  # noqa: ARG002 - every operation has it
        """Hand out again."""
        self.records.paused_until = None

    def length(self, now: int) -> int:
        """Return how many messages the queue holds, in whatever state."""
        if now >= self._wake_at:
            self.advance(now)
        return len(self._messages) - len(self._dead)

    def statistics(self, now: int) -> TimedStatistics:
        """Return the queue's numbers."""
        if now >= self._wake_at:
            self.advance(now)
        records = self.records
        reserved = len(self._growing) + len(self._others)
        delayed = len(self._delayed) - self._delayed_gone
        buried = len(self._buried)
        ready = len(self._messages) - reserved - delayed - buried - len(self._dead)
        first = self._first()
        return TimedStatistics(
            ready=ready,
            delayed=delayed,
            reserved=reserved,
            buried=buried,
            dead=len(self._dead),
            oldest_age=None if first is None else (now - first.ready_at) / 1e9,
            refilling=records.refilling,
            last_refill=records.last_refill,
            closed=records.closed,
            paused=self._paused(now),
            **attrs.asdict(self._counters),
        )

    # -- errands: what the shell does for the core ---------------------------------------------

    def begin_refill(self, now: int) -> bool:
        """Note that a refill begins; False if none is wanted."""
        if not self._refill_wanted:
            return False
        self._refill_wanted = False
        self.records.synced_at = now
        self.records.refilling = True
        self._counters.refills += 1
        return True

    def refilled(self, now: int, values: Sequence[object] | None) -> int:
        """Note that a refill has ended, and insert what it brought; None: it failed."""
        added = 0
        if values is None:
            self._counters.refill_errors += 1
        elif not self.records.closed:
            added = self.insert(now, values)
        self.records.refilling = False
        self.records.last_refill = added
        self.records.synced_at = now
        return added

    def refill_lost(self, now: int) -> None:  # noqa: ARG002 - every operation has it
        """Note that a refill that had begun will never end, if there is one."""
        if self.records.refilling:
            self._counters.refill_errors += 1
            self.records.refilling = False

    def bury_dead(self, now: int, id: int) -> None:  # noqa: ARG002 - every operation has it
        """Put an exhausted message aside that the other queue does not take."""
        message = self._dead.pop(id, None)
        if message is not None:
            if self._unique is not None:
                self._unique.add(id, message.value)
            self._bury(message)

    def dead_letters(self, now: int) -> list[DeadLetter]:  # noqa: ARG002 - every operation has it
        """Return the exhausted messages that another queue must get; then `remove` them."""
        return [
            DeadLetter(
                value=message.value,
                queue=self.name,
                id=message.id,
                attempts=message.attempt,
                error=message.error,
                inserted_at=message.inserted_at,
            )
            for message in self._dead.values()
        ]

    # -- indexes -------------------------------------------------------------------------------

    def _index(self) -> None:
        """Build all indexes from the records."""
        self._ready: deque[Message] = deque()
        self._ready_heap: list[tuple[int, int, int, Message]] = []
        self._growing: OrderedDict[int, Message] = OrderedDict()  # reserved, by key
        self._others: dict[int, Message] = {}  # reserved with an earlier deadline, by key
        self._deadlines: list[tuple[int, int]] = []  # of those: deadline, key; may be stale
        self._last_deadline = 0  # the newest in _growing
        self._wake_at = _NEVER  # never later than the next instant at which something happens
        self._expired: dict[int, Message] = {}  # by key; not taken since
        self._delayed: list[tuple[int, int, Message]] = []
        self._delayed_gone = 0
        by_state: dict[State, list[Message]] = {state: [] for state in State}
        for message in self._messages.values():
            by_state[message.state].append(message)
        for message in sorted(by_state[State.READY], key=_order):
            self._push(message)
            if message.key:
                self._expired[message.key] = message
        for message in sorted(by_state[State.RESERVED], key=lambda each: each.deadline_at):
            self._hold(message, message.key, message.deadline_at)
        for message in by_state[State.DELAYED]:
            self._delay(message)
        self._buried = {message.id: message for message in by_state[State.BURIED]}
        self._dead = {message.id: message for message in by_state[State.DEAD]}
        if self._unique is not None:
            self._unique.clear()
            for message in self._messages.values():
                if message.state is not State.DEAD:
                    self._unique.add(message.id, message.value)
        self._wake_at = self.next_deadline(waiting=False) or _NEVER

    def _push(self, message: Message) -> None:
        ready = self._ready
        if message.priority == 0:
            if not ready:
                ready.append(message)
                return
            last = ready[-1]
            if last.ready_at < message.ready_at or (
                last.ready_at == message.ready_at and last.id < message.id
            ):
                ready.append(message)
                return
        heappush(self._ready_heap, (message.priority, message.ready_at, message.id, message))

    def _pop(self) -> Message | None:
        message = self._first()
        if message is None:
            return None
        if self._ready and self._ready[0] is message:
            self._ready.popleft()
        else:
            heappop(self._ready_heap)
        return message

    def _first(self) -> Message | None:
        """Return the next message to hand out, dropping what was removed since."""
        ready, heap = self._ready, self._ready_heap
        while ready and ready[0].state is not State.READY:
            ready.popleft()
        while heap and heap[0][3].state is not State.READY:
            heappop(heap)
        if not heap:
            return ready[0] if ready else None
        if ready and (0, ready[0].ready_at, ready[0].id) < heap[0][:3]:
            return ready[0]
        return heap[0][3]

    def _hold(self, message: Message, key: int, deadline_at: int) -> None:
        if deadline_at >= self._last_deadline or not self._growing:
            self._growing[key] = message
            self._last_deadline = deadline_at
        else:
            self._others[key] = message
            heappush(self._deadlines, (deadline_at, key))
            if len(self._deadlines) > 2 * len(self._others) + 64:
                self._deadlines = [entry for entry in self._deadlines if entry[1] in self._others]
                heapify(self._deadlines)
        self._wake_at = min(self._wake_at, deadline_at)

    def _let_go(self, message: Message) -> None:
        if self._growing.pop(message.key, None) is None:
            del self._others[message.key]

    def _delay(self, message: Message) -> None:
        heappush(self._delayed, (message.ready_at, message.id, message))
        self._wake_at = min(self._wake_at, message.ready_at)

    def _live(self, now: int, key: int) -> Message:
        if now >= self._wake_at:
            self.advance(now)
        message = self._growing.get(key) or self._others.get(key)
        if message is None:
            raise (ReservationExpiredError if key in self._expired else ReservationNotFoundError)(
                [key]
            )
        return message

    # -- transitions ---------------------------------------------------------------------------

    def _rekey(self, message: Message, now: int, deadline_at: int) -> Reservation:
        records = self.records
        key = records.last_key = now if now > records.last_key else records.last_key + 1
        self._let_go(message)
        self._hold(message, key, deadline_at)
        message.key = key
        message.deadline_at = deadline_at
        return Reservation(message.id, key, message.value, deadline_at, message.attempt)

    def _make_ready(self, message: Message, ready_at: int) -> None:
        message.ready_at = ready_at
        self._push(message)
        message.state = State.READY

    def _expire(self, message: Message) -> None:
        self._let_go(message)
        self._counters.expired += 1
        if self._is_exhausted(message):
            self._exhaust(message)
        else:
            self._expired[message.key] = message
            self._make_ready(message, message.deadline_at)

    def _is_exhausted(self, message: Message) -> bool:
        return self._max_reservations is not None and message.attempt >= self._max_reservations

    def _exhaust(self, message: Message) -> None:
        self._counters.exhausted += 1
        match self._on_exhausted:
            case "drop":
                self._forget(message)
                self._notice("message_dropped", message)
            case "bury":
                self._bury(message)
                self._notice("message_buried", message)
            case _:
                if self._unique is not None:
                    self._unique.discard(message.id, message.value)
                self._dead[message.id] = message
                message.key = 0
                message.state = State.DEAD
                self._notice("message_dead", message)

    def _bury(self, message: Message) -> None:
        self._buried[message.id] = message
        message.key = 0
        message.state = State.BURIED

    def _forget(self, message: Message) -> None:
        if self._unique is not None and message.state is not State.DEAD:
            self._unique.discard(message.id, message.value)
        if message.state is State.READY and message.key:
            self._expired.pop(message.key, None)
        if message.state is State.DELAYED:
            self._delayed_gone += 1
        self._dead.pop(message.id, None)
        del self._messages[message.id]
        message.state = State.GONE

    def _notice(self, event: str, message: Message) -> None:
        facts: dict[str, object] = {
            "id": message.id,
            "attempts": message.attempt,
            "error": message.error,
        }
        self.notices.append((event, facts))

    def _found_nothing(self, now: int) -> None:
        records = self.records
        if records.closed and len(self._messages) == len(self._dead) + len(self._buried):
            raise QueueClosedError(self.name)
        if self._may_refill() and now >= (records.synced_at or 0) + cast("int", self._interval):
            self._refill_wanted = True

    def _may_refill(self) -> bool:
        records = self.records
        return self._interval is not None and not records.refilling and not records.closed

    def _paused(self, now: int) -> bool:
        until = self.records.paused_until
        return until is not None and (until < 0 or now < until)


_NEVER = 1 << 63  # later than any instant in epoch nanoseconds before the year 2262


def _order(message: Message) -> tuple[int, int, int]:
    return message.priority, message.ready_at, message.id


_PEEK_ORDER: dict[State, Callable[[Message], tuple[int, ...]]] = {
    State.READY: _order,
    State.DELAYED: lambda message: (message.ready_at, message.id),
    State.RESERVED: lambda message: (message.deadline_at, message.id),
    State.BURIED: lambda message: (message.id,),
}


def check_peek_state(state: object) -> None:
    """Refuse a state that `TimedCore.peek` does not know.

    Raises:
      ValueError: If it is none of `PeekState`.
    """
    if state not in get_args(PeekState):
        known = ", ".join(get_args(PeekState))
        raise ValueError(f"expected state to be one of {known}, got {state!r}")
