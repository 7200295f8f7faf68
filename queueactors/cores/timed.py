"""The timed queue's core: reservations, priorities, delays, unique values, exhaustion.

Pure: every operation takes the instant ``now`` (epoch nanoseconds) and answers at once; nothing
here waits, reads a clock, logs or writes. It validates first, then changes its indexes, and
changes the records last, by plain assignments and deletions that cannot fail: so an operation
that raises in the middle has not happened, and the indexes are rebuilt from the records. (What
has become due by then has happened.)

Which operation leads a message from which state to which is a table: `_transitions`.

Order: priority (smaller first), then the instant of becoming ready, then insertion. Almost
always that is the order of a deque; what does not fit goes to a heap (-11 % to -38 % against a
heap alone, `bench/`). The same for deadlines: an ordered dict while they only grow.

Source: seed 002, ``timed_queue``; delay, priority, bury, kick and touch from beanstalkd.

The file is over 500 lines because it is one table of operations over one set of records.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, cast, get_args

from queueactors._errors import (
    QueueActorsError,
    QueueFullError,
    RefillError,
    ReservationError,
    ReservationExpiredError,
    ReservationNotFoundError,
)
from queueactors._state_errors import QueueClosedError
from supervisors import describe

from ._pause import FOR_EVER, is_paused
from ._timed_indexes import NEVER, SLICE, TimedIndexes, told
from ._timed_values import (
    COUNTS,
    DeadLetter,
    Message,
    PeekState,
    Reservation,
    State,
    TimedMessage,
    TimedRecords,
    TimedStatistics,
)
from ._unique import check_unique

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence, Sized

    from ._changed import Changed

__all__ = [
    "DeadLetter",
    "Message",
    "PeekState",
    "Reservation",
    "TimedCore",
    "TimedMessage",
    "TimedRecords",
    "TimedStatistics",
    "check_peek_state",
    "check_unique",
]

MIN_REFILL_NS = 10_000_000  # 10 ms: a refill interval of 0 must not become a busy loop


class TimedCore(TimedIndexes):
    """The state machine of one timed queue.

    Every method takes ``now`` first: epoch nanoseconds, never smaller than before. Durations
    are nanoseconds. A refusal is a `QueueActorsError` and has changed nothing, except that
    `delete` removes what it can.

    Args:
      unique: A value that is in the queue does not go in again.
      max_reservations: How often a message may be reserved; None: without limit.
      on_exhausted: ``"drop"``, ``"bury"``, or the name of the queue for dead letters.
      max_length: How many messages it may hold; None: without limit. Those on their way to
        another queue do not count.
      sync_interval: Nanoseconds from the end of a refill to the next; None: there is no refill.
      name: The queue's, for errors and dead letters.
      records: What a former incarnation left; None: an empty queue.
      decode: Makes the values to compare from those in the records, if these are encoded.
      changed: Where to note what a store has to write; None: it writes nothing.
      ready: Build the indexes at once. False: whoever made it runs through `rebuild`.
    """

    operations: tuple[str, ...] = (
        "begin_refill",
        "bury",
        "bury_dead",
        "clear",
        "close",
        "dead_letters",
        "delete",
        "fail",
        "insert",
        "insert_nowait",
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
        "size",
        "snooze",
        "statistics",
        "sync",
        "touch",
        "wait_insert",
    )

    one_taker = False
    independent = False
    parting = None

    def __init__(  # noqa: PLR0913 - all keyword-only, all with defaults
        self,
        *,
        unique: bool = False,
        max_reservations: int | None = None,
        on_exhausted: str = "drop",
        max_length: int | None = None,
        sync_interval: int | None = None,
        name: str = "timed",
        records: TimedRecords | None = None,
        decode: Callable[[object], object] | None = None,
        changed: Changed | None = None,
        ready: bool = True,
    ) -> None:
        records = TimedRecords() if records is None else records
        super().__init__(records, unique=unique, decode=decode)
        self.name = name
        self.inserters: Sized = ()  # who waits in `wait_insert`, and
        self.syncers: Sized = ()  # in `sync`; the shell sets both
        self.drains = False  # the engine says so: then nobody wants a refill, and none begins
        self._changed = changed
        self.configure(
            max_reservations=max_reservations,
            on_exhausted=on_exhausted,
            max_length=max_length,
            sync_interval=sync_interval,
        )
        if ready:
            for _ in self.rebuild():
                pass

    def configure(
        self,
        *,
        max_reservations: int | None,
        on_exhausted: str,
        max_length: int | None,
        sync_interval: int | None,
    ) -> None:
        """Go by other limits from now on; arguments as for a new core."""
        self._max_reservations = max_reservations
        self._on_exhausted = on_exhausted
        self._max_length = max_length
        self._interval = None if sync_interval is None else max(sync_interval, MIN_REFILL_NS)

    # -- what the shell asks between operations ------------------------------------------------

    def new_errands(self) -> bool:
        """Return whether something has come up, since the last question, that a core cannot do.

        That is a refill, or a dead letter to post; in a new core also what its records hold.
        """
        new, self._new_errands = self._new_errands, False
        return new

    def next_deadline(self, *, waiting: bool) -> int | None:
        """Return the next instant at which something happens by itself; None: never.

        Args:
          waiting: Whether takers wait: then a refill may be due, or a pause may end.
        """
        if self._trash:
            return 0
        due = self._first_due()
        instants = [] if due is None else [due[0]]
        if waiting:
            records = self.records
            if records.paused_until is not None:
                if records.paused_until != FOR_EVER:
                    instants.append(records.paused_until)
            elif self._may_refill() and not records.refill_wanted:
                instants.append(self._refill_at())
        return min(instants, default=None)

    def advance(self, now: int, limit: int | None = None) -> bool:
        """Let what has become due happen: expiries, ends of delays.

        Args:
          now: Epoch nanoseconds.
          limit: How much of it at most; None: all.

        Returns:
          Whether that was all.
        """
        if now < self._wake_at:
            return True
        records = self.records
        if records.initial:
            self._wake_at = NEVER
            self.insert(now, records.initial)
            records.initial = ()
        steps = 0
        while (due := self._first_due()) is not None and due[0] <= now:
            at, message = due
            if steps == limit:
                self._wake_at = at
                return False
            steps += 1
            if message.state == "reserved":
                self._expire(message)
            else:
                self._delayed.pop()
                self._make_ready(message, at)
        self._wake_at = NEVER if due is None else due[0]
        if self._trash:
            self._trash.sweep(SLICE)
            self._wake_at = 0  # to go on with it
            return False
        return True

    # -- taking in -----------------------------------------------------------------------------

    def insert(  # noqa: PLR0913, PLR0917 - an engine passes positions
        self,
        now: int,
        values: Sequence[object],
        delay: int = 0,
        priority: int = 0,
        at: int = 0,
        in_turn: bool = False,  # noqa: FBT001, FBT002
    ) -> int:
        """Add messages; return how many. With ``unique``, values that are there stay out.

        They are ready after ``delay``, and not before the instant ``at``. ``in_turn``: the caller
        is the first of those who wait for room; everybody else stands behind them.

        Raises:
          QueueClosedError: If the queue is closed.
          QueueFullError: If they do not all fit.
        """
        if now >= self._wake_at:
            self.advance(now)
        records = self.records
        if records.closed:
            raise QueueClosedError(self.name)
        if self._max_length is not None:
            self._check_room(values, self._max_length, in_turn=in_turn)
        next_id = records.next_id
        ready_at = max(now + delay, at) if at else now + delay
        state: State = "delayed" if ready_at > now else "ready"
        added: dict[int, Message] = {}
        unique = self._unique
        for value in values:
            if unique is not None and not unique.add(next_id, value):
                continue
            message = added[next_id] = Message(next_id, value, state, priority, now, ready_at)
            next_id += 1
            if state == "delayed":
                self._delay(message, ready_at)
            else:
                self._ready.push(message, priority, ready_at)
        count = len(added)
        duplicates = len(values) - count
        if self._changed is not None:
            self._changed.update(added)
        self._messages.update(added)
        records.next_id = next_id
        self._counters.inserted += count
        self._counters.duplicates += duplicates
        return count

    def insert_nowait(
        self, now: int, values: Sequence[object], delay: int = 0, priority: int = 0, at: int = 0
    ) -> int:
        """Add messages, as `insert` does, for somebody who hears no answer.

        So a refusal is logged and counted, and not raised.
        """
        try:
            return self.insert(now, values, delay, priority, at)
        except (QueueClosedError, QueueFullError) as error:
            return self.drop(now, values, error=error)

    def drop(
        self, _now: int, values: Sequence[object], *_how: object, error: QueueActorsError
    ) -> int:
        """Log and count values that nobody is told are refused."""
        self._notice("insert_dropped", values=len(values), error=str(error))
        self._counters.dropped += len(values)
        return 0

    def wait_insert(
        self, now: int, values: Sequence[object], delay: int = 0, priority: int = 0, at: int = 0
    ) -> int | None:
        """Add messages, as `insert` does; None while there is no room for them.

        Raises:
          QueueClosedError: If the queue is closed.
          QueueFullError: If even an empty queue has no room for them.
        """
        try:
            return self.insert(now, values, delay, priority, at, True)
        except QueueFullError as error:
            if error.never_fits:
                raise
            return None

    def _check_room(self, values: Sequence[object], max_length: int, *, in_turn: bool) -> None:
        """Refuse values that do not all fit.

        Raises:
          QueueFullError: If they do not.
        """
        crowded = not in_turn and bool(self.inserters)
        room = max(max_length - len(self._messages) + len(self._dead), 0)
        if len(values) <= room and not crowded:
            return
        new = len(values) if self._unique is None else self._unique.count_new(values)
        if new > room or (crowded and new):
            raise QueueFullError(self.name, new, None if crowded else room, max_length)

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
            if is_paused(records.paused_until, now):
                self._check_drained()
                return None
            records.paused_until = None
        message = self._ready.pop()
        if message is None:
            self._found_nothing(now)
            return None
        if message.key:
            del self._expired[message.key]
        key = now if now > records.last_key else records.last_key + 1
        deadline_at = now + duration
        attempt = message.attempt + 1
        self._hold(message, key, deadline_at)
        reservation = Reservation(
            message.id, key, message.value, deadline_at, attempt, message.inserted_at
        )
        if self._changed is not None:
            self._changed.add(message.id)
        self._counters.reserved_total += 1
        records.last_key = key
        message.key = key
        message.deadline_at = deadline_at
        message.attempt = attempt
        message.state = "reserved"
        return reservation

    def reserve_many(self, now: int, limit: int, duration: int) -> list[Reservation]:
        """Take up to ``limit`` ready messages.

        Raises:
          QueueClosedError: If the queue is closed and drained.
        """
        if now >= self._wake_at:
            self.advance(now)
        records = self.records
        if records.paused_until is not None:
            if is_paused(records.paused_until, now):
                self._check_drained()
                return []
            records.paused_until = None
        chosen: list[Message] = []
        while len(chosen) < limit and (message := self._ready.pop()) is not None:
            chosen.append(message)
        if not chosen:
            self._found_nothing(now)
            return []
        taken: list[Reservation] = []
        new = tuple.__new__  # what Reservation() does, with fewer calls (-4 %, bench "batches")
        deadline_at = now + duration
        first = now if now > records.last_key else records.last_key + 1
        for key, message in enumerate(chosen, first):
            if message.key:
                del self._expired[message.key]
            self._hold(message, key, deadline_at)
            value, attempt = message.value, message.attempt + 1
            facts = (message.id, key, value, deadline_at, attempt, message.inserted_at)
            taken.append(new(Reservation, facts))
        if self._changed is not None:
            self._changed.update(message.id for message in chosen)
        self._counters.reserved_total += len(taken)
        key = first
        for message in chosen:
            message.key = key
            message.deadline_at = deadline_at
            message.attempt += 1
            message.state = "reserved"
            records.last_key = key
            key += 1
        return taken

    # -- what the holder of a reservation does -------------------------------------------------

    def prolongate(self, now: int, key: int, duration: int) -> Reservation:
        """Move the deadline ``duration`` further: additive. The old key is dead.

        Raises:
          ReservationError: If the reservation is not live.
        """
        message = self._live(now, key)
        return self._rekey(message, now, min(message.deadline_at + duration, NEVER - 1))

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
        if error is None:
            error = message.error
        if self._is_exhausted(message):
            self._exhaust(message, error)
            self._counters.released += 1
            return
        if self._changed is not None:
            self._changed.add(message.id)
        if priority is None:
            priority = message.priority
        ready_at = now + delay
        if delay:
            self._delay(message, ready_at)
        else:
            self._ready.push(message, priority, ready_at)
        message.error = error
        message.priority = priority
        message.ready_at = ready_at
        message.key = 0
        message.state = "delayed" if delay else "ready"
        self._counters.released += 1

    def snooze(self, now: int, key: int, delay: int = 0) -> None:
        """Give a message back as `release` does, as if it had not been reserved.

        The attempt does not count, so it never exhausts the message.

        Raises:
          ReservationError: If the reservation is not live.
        """
        message = self._live(now, key)
        self._let_go(message)
        if self._changed is not None:
            self._changed.add(message.id)
        ready_at = now + delay
        if delay:
            self._delay(message, ready_at)
        else:
            self._ready.push(message, message.priority, ready_at)
        attempt = message.attempt - 1
        message.attempt = attempt
        message.ready_at = ready_at
        message.key = 0
        message.state = "delayed" if delay else "ready"
        self._counters.released += 1

    def fail(self, now: int, key: int, error: str | None = None) -> None:
        """End the last attempt at a message: it goes where an exhausted one goes.

        Raises:
          ReservationError: If the reservation is not live.
        """
        message = self._live(now, key)
        self._let_go(message)
        self._exhaust(message, message.error if error is None else error)

    def delete(self, now: int, keys: Sequence[int], expired_ok: bool = False) -> int:  # noqa: FBT001, FBT002 - an engine passes positions
        """Finish messages; return how many. Live reservations go whatever the others are.

        A key that is given twice counts once.

        Raises:
          ReservationError: If some were not live; ``.keys`` has all of those.
        """
        if now >= self._wake_at:
            self.advance(now)
        stale: list[int] = []
        gone: list[Message] = []
        for key in keys:
            message = self._growing.pop(key, None) or self._others.take(key)
            if message is None:
                message = self._expired.pop(key, None) if expired_ok else None
                if message is None:
                    stale.append(key)
                    continue
                self._ready.died(message)
            if self._unique is not None:
                self._unique.discard(message.id, message.value)
            gone.append(message)
        deleted = len(gone)
        error = None
        if stale:
            finished = {message.key for message in gone}  # given twice, a key counts once
            stale = [key for key in dict.fromkeys(stale) if key not in finished]
            error = self._refusal(stale) if stale else None
        if self._changed is not None:
            self._changed.update(message.id for message in gone)
        for message in gone:
            del self._messages[message.id]
            message.state = "gone"
        self._counters.deleted += deleted
        if error is not None:
            raise error
        return deleted

    def bury(self, now: int, key: int, error: str | None = None) -> None:
        """Put a message aside until `kick`.

        Raises:
          ReservationError: If the reservation is not live.
        """
        message = self._live(now, key)
        self._let_go(message)
        self._bury(message, message.error if error is None else error)

    # -- what an operator does -----------------------------------------------------------------

    def kick(self, now: int, limit: int = 1) -> int:
        """Make up to ``limit`` buried messages ready, oldest first; return how many.

        Their attempts start at 0 again.
        """
        if now >= self._wake_at:
            self.advance(now)
        kicked: list[Message] = []
        while self._buried and len(kicked) < limit:
            message = cast("tuple[int, int, Message]", self._buried.pop())[2]
            self._ready.push(message, message.priority, now)
            kicked.append(message)
        count = len(kicked)
        if self._changed is not None:
            self._changed.update(message.id for message in kicked)
        for message in kicked:
            message.attempt = 0
            message.ready_at = now
            message.state = "ready"
        return count

    def peek(self, now: int, state: PeekState = "ready", limit: int = 1) -> list[TimedMessage]:
        """Return the first messages in a state, without changing anything."""
        if now >= self._wake_at:
            self.advance(now)
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
            for message in islice(self._in_state(state), limit)
        ]

    def remove(self, now: int, ids: Sequence[int]) -> int:
        """Take messages out by their ids, in whatever state; return how many there were."""
        if now >= self._wake_at:
            self.advance(now)
        gone: list[Message] = []
        for each in dict.fromkeys(ids):
            message = self._messages.get(each)
            if message is not None:
                self._leave(message)
                gone.append(message)
        removed = len(gone)
        if self._changed is not None:
            self._changed.update(message.id for message in gone)
        for message in gone:
            del self._messages[message.id]
            message.state = "gone"
        return removed

    def clear(self, now: int) -> int:
        """Remove all messages; reservations are void. Return how many there were."""
        held = self.length(now)
        if held:
            self._throw_away()
            if self._changed is not None:
                self._changed.clear()
                self._changed.cleared = True
        return held

    def close(self, now: int) -> None:
        """Take nothing in any more. What is there can still be reserved and finished."""
        if now >= self._wake_at:
            self.advance(now)
        self.records.closed = True

    def pause(self, now: int, duration: int | None = None) -> None:
        """Hand nothing out, for ``duration`` or until `resume`."""
        self.records.paused_until = FOR_EVER if duration is None else now + duration

    def resume(self, now: int) -> None:  # noqa: ARG002 - every operation has it
        """Hand out again."""
        self.records.paused_until = None

    def length(self, now: int) -> int:
        """Return how many messages the queue holds, in whatever state."""
        if now >= self._wake_at:
            self.advance(now)
        return len(self._messages) - len(self._dead)

    def size(self, now: int) -> int:
        """Return how many messages are ready."""
        if now >= self._wake_at:
            self.advance(now)
        held = len(self._growing) + len(self._others) + len(self._delayed)
        return len(self._messages) - held - len(self._buried) - len(self._dead)

    def statistics(self, now: int) -> TimedStatistics:
        """Return the queue's numbers."""
        ready = self.size(now)
        records = self.records
        reserved = len(self._growing) + len(self._others)
        delayed = len(self._delayed)
        buried = len(self._buried)
        first = self._ready.first()
        return TimedStatistics(
            ready=ready,
            delayed=delayed,
            reserved=reserved,
            buried=buried,
            dead=len(self._dead),
            set_aside=records.set_aside,
            oldest_age=None if first is None else (now - first.ready_at) / 1e9,
            refilling=records.refilling,
            last_refill=records.last_refill,
            closed=records.closed,
            paused=is_paused(records.paused_until, now),
            **COUNTS.named(self._counters),  # type: ignore[arg-type] # ints
        )

    # -- errands: what the shell does for the core ---------------------------------------------

    def begin_refill(self, now: int) -> bool:
        """Note that a refill begins; False if none is wanted, or what it brings is not taken in."""
        records = self.records
        if not records.refill_wanted or records.closed or self.drains:
            return False
        records.refill_wanted = False
        records.refilling = True
        records.synced_at = now
        self._counters.refills += 1
        return True

    def refilled(
        self, now: int, values: Sequence[object] | None, error: Exception | None = None
    ) -> int:
        """Note that a refill has ended, and insert what it brought; None: it failed.

        What finds no room is left out: the first ones go in, and it is logged and counted. So a
        refill function must not forget what it has brought until that is done with.
        """
        records = self.records
        added = left_out = 0
        if values is not None and not records.closed:
            fitting = self._fitting(now, values)
            left_out = len(values) - len(fitting)
            if left_out:
                self._notice("refill_left_out", values=left_out)
            added = self.insert(now, fitting)
        self._counters.left_out += left_out
        if values is None:
            self._counters.refill_errors += 1
        records.refilling = False
        records.last_refill = added
        records.synced_at = now
        records.sync_error = error if self.syncers else None  # it holds the frames it came from
        records.synced = True
        return added

    def _fitting(self, now: int, values: Sequence[object]) -> Sequence[object]:
        """Return the longest beginning of some values that there is room for."""
        if self._max_length is None:
            return values
        if now >= self._wake_at:
            self.advance(now)
        room = max(self._max_length - len(self._messages) + len(self._dead), 0)
        if self.inserters:
            room = 0
        if self._unique is None:
            return values[:room]
        return values[: self._unique.count_fitting(values, room)]

    def refill_lost(self, now: int) -> None:  # noqa: ARG002 - every operation has it
        """Note that a refill that had begun will never end, if there is one.

        Those who wait for it in `sync` get another.
        """
        records = self.records
        if records.refilling:
            if self.syncers:
                records.refill_wanted = self._new_errands = True
            self._counters.refill_errors += 1
            records.refilling = False

    def sync(self, now: int) -> int | None:  # noqa: ARG002 - every operation has it
        """Want a refill, or wait for the one that runs; return how many values went in.

        None: not yet. The first of those who wait asks for it, and all get its answer; while the
        queue takes nothing in they go on waiting.

        Raises:
          QueueClosedError: If the queue is closed.
          RefillError: If the refill failed.
        """
        records = self.records
        if records.closed:
            raise QueueClosedError(self.name)
        if not self.syncers:
            records.synced = False
        if not records.synced:
            if not records.refilling and not records.refill_wanted and not self.drains:
                records.refill_wanted = self._new_errands = True
            return None
        if records.sync_error is not None:
            raise RefillError(self.name, describe(records.sync_error)) from records.sync_error
        return records.last_refill

    def bury_dead(self, now: int, id: int) -> None:  # noqa: ARG002 - every operation has it
        """Put an exhausted message aside that the other queue does not take."""
        message = self._dead.pop(id, None)
        if message is not None:
            self._restore(message)
            self._bury(message, message.error)

    def dead_letters(self, now: int, limit: int = 256) -> list[DeadLetter]:  # noqa: ARG002 - every operation has it
        """Return some exhausted messages that another queue must get; then `remove` them."""
        return [
            DeadLetter(
                value=message.value,
                queue=self.name,
                id=message.id,
                attempts=message.attempt,
                error=message.error,
                inserted_at=message.inserted_at,
            )
            for message in islice(self._dead.values(), limit)
        ]

    # -- reservations -------------------------------------------------------------------------

    def _live(self, now: int, key: int) -> Message:
        if now >= self._wake_at:
            self.advance(now)
        message = self._growing.get(key) or self._others.get(key)
        if message is None:
            raise self._refusal([key])
        return message

    def _refusal(self, keys: list[int]) -> ReservationError:
        if keys[0] in self._expired:
            return ReservationExpiredError(keys)
        return ReservationNotFoundError(keys)

    # -- transitions ---------------------------------------------------------------------------

    def _rekey(self, message: Message, now: int, deadline_at: int) -> Reservation:
        records = self.records
        key = now if now > records.last_key else records.last_key + 1
        self._let_go(message)
        self._hold(message, key, deadline_at)
        reservation = Reservation(
            message.id, key, message.value, deadline_at, message.attempt, message.inserted_at
        )
        if self._changed is not None:
            self._changed.add(message.id)
        records.last_key = key
        message.key = key
        message.deadline_at = deadline_at
        return reservation

    def _make_ready(self, message: Message, ready_at: int) -> None:
        self._ready.push(message, message.priority, ready_at)
        message.ready_at = ready_at
        message.state = "ready"

    def _expire(self, message: Message) -> None:
        self._let_go(message)
        if self._is_exhausted(message):
            self._exhaust(message, message.error)
        else:
            self._expired[message.key] = message
            self._make_ready(message, message.deadline_at)
        self._counters.expired += 1

    def _is_exhausted(self, message: Message) -> bool:
        return self._max_reservations is not None and message.attempt >= self._max_reservations

    def _exhaust(self, message: Message, error: str | None) -> None:
        if self._changed is not None:
            self._changed.add(message.id)
        if self._on_exhausted == "bury":
            self._notice("message_buried", **told(message, error))
            self._bury(message, error)
            self._counters.exhausted += 1
            return
        if self._unique is not None:
            self._unique.discard(message.id, message.value)
        if self._on_exhausted == "drop":
            self._notice("message_dropped", **told(message, error))
            del self._messages[message.id]
            message.state = "gone"
        else:
            self._dead[message.id] = message
            self._new_errands = True
            self._notice("message_dead", **told(message, error))
            message.error = error
            message.key = 0
            message.state = "dead"
        self._counters.exhausted += 1

    def _bury(self, message: Message, error: str | None) -> None:
        if self._changed is not None:
            self._changed.add(message.id)
        self._buried.put(message.id, message.id, message)
        message.error = error
        message.key = 0
        message.state = "buried"

    def _found_nothing(self, now: int) -> None:
        records = self.records
        self._check_drained()
        if not records.refill_wanted and self._may_refill() and now >= self._refill_at():
            records.refill_wanted = self._new_errands = True

    def _check_drained(self) -> None:
        left = len(self._messages) - len(self._dead) - len(self._buried)
        if self.records.closed and not left:
            raise QueueClosedError(self.name)

    def _may_refill(self) -> bool:
        records = self.records
        stopped = records.refilling or records.closed or self.drains
        return self._interval is not None and not stopped

    def _refill_at(self) -> int:
        """Return the instant from which on a refill may begin: the first one at once."""
        synced_at = self.records.synced_at
        return 0 if synced_at is None else synced_at + cast("int", self._interval)


def check_peek_state(state: object) -> None:
    """Refuse a state that `TimedCore.peek` does not know.

    Raises:
      ValueError: If it is none of `PeekState`.
    """
    if state not in get_args(PeekState):
        known = ", ".join(get_args(PeekState))
        raise ValueError(f"expected state to be one of {known}, got {state!r}")
