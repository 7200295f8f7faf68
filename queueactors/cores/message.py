"""The message queue's core: messages with names, locks, backoffs, requeues.

Pure: every operation takes the instant ``now`` (epoch nanoseconds) and answers at once; nothing
here waits, reads a clock, logs or writes. It validates first, then changes its indexes, and
changes the records last, by plain assignments and deletions that cannot fail: so an operation
that raises in the middle has not happened, and the indexes are rebuilt from the records.

What an enqueue does to a mid that is there already, and what the end of a claim does to its
message, is a table, which is read here: `_message_table`.

Order: the instant of becoming ready, then insertion. So new messages do not overtake those that
come back, from a backoff or from a lock that has ended, and these not the new ones.

Source: seed 001, Carmine's message queue. What it does by chance or by mistake is not here: a late
finisher changes nothing and is told; nothing is there twice; what is finished is gone at once; what
is due comes back at that instant.

The file is over 500 lines because it is one table of operations over one set of records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from queueactors._errors import ClaimLostError, QueueFullError
from queueactors._state_errors import QueueClosedError

from ._message_indexes import NEVER, SLICE, MessageIndexes
from ._message_table import ENDS, PASSES, STEPS, Result, Status
from ._message_values import (
    COUNTS,
    Claimed,
    Enqueued,
    Ids,
    MessageInfo,
    MessageRecords,
    MessageStatistics,
    QueuedMessage,
    QueueStatus,
)
from ._pause import FOR_EVER, is_paused

if TYPE_CHECKING:
    from collections.abc import Sequence, Sized

    from ._changed import Changed

__all__ = [
    "Claimed",
    "Enqueued",
    "Ids",
    "MessageCore",
    "MessageInfo",
    "MessageRecords",
    "MessageStatistics",
    "QueueStatus",
    "QueuedMessage",
    "Result",
    "Status",
]

LOCK_TIME = 3_600_000_000_000  # nanoseconds: an hour, as in seed 001


class MessageCore(MessageIndexes):
    """The state machine of one message queue.

    Every method takes ``now`` first: epoch nanoseconds, never smaller than before. Durations
    are nanoseconds. A refusal is a `QueueActorsError` and has changed nothing.

    Args:
      lock_time: How long a message is locked that says nothing else.
      max_length: How many messages may be there to be handled, those that wait as a requeue
        included; None: without limit.
      name: The queue's, for errors.
      records: What a former incarnation left; None: an empty queue.
      changed: Where to note what a store has to write; None: it writes nothing.
      ready: Build the indexes at once. False: whoever made it runs through `rebuild`.
    """

    operations: tuple[str, ...] = (
        "claim",
        "claim_many",
        "clear",
        "close",
        "content",
        "enqueue",
        "extend",
        "finish",
        "ids",
        "length",
        "message_status",
        "pause",
        "queue_size",
        "queue_status",
        "remove",
        "resume",
        "snooze",
        "statistics",
        "wait_enqueue",
    )

    one_taker = False
    independent = False
    parting = None

    def __init__(  # noqa: PLR0913 - all keyword-only, all with defaults
        self,
        *,
        lock_time: int = LOCK_TIME,
        max_length: int | None = None,
        name: str = "message",
        records: MessageRecords | None = None,
        changed: Changed | None = None,
        ready: bool = True,
    ) -> None:
        super().__init__(MessageRecords() if records is None else records, changed)
        self.name = name
        self.inserters: Sized = ()  # who waits in `wait_enqueue`; the shell sets it
        self.syncers: Sized = ()  # likewise, for every kind; no use for them here
        self.configure(lock_time=lock_time, max_length=max_length)
        if ready:
            for _ in self.rebuild():
                pass

    def configure(self, *, lock_time: int, max_length: int | None) -> None:
        """Go by other limits from now on; arguments as for a new core."""
        self._lock_time = lock_time
        self._max_length = max_length

    # -- what the shell asks between operations ------------------------------------------------

    def new_errands(self) -> bool:
        """Return False: a message queue has no errands."""
        return False

    def next_deadline(self, *, waiting: bool) -> int | None:
        """Return the next instant at which something happens by itself; None: never.

        Args:
          waiting: Whether takers wait: then the end of a pause counts.
        """
        if self._trash:
            return 0
        due = self._first_due()
        until = self.records.paused_until if waiting else None
        if until is None or until == FOR_EVER:
            return None if due is None else due[0]
        return until if due is None else min(due[0], until)

    def advance(self, now: int, limit: int | None = None) -> bool:
        """Let what has become due happen: ends of backoffs and of locks.

        Args:
          now: Epoch nanoseconds.
          limit: How much of it at most; None: all.

        Returns:
          Whether that was all.
        """
        if now < self._wake_at:
            return True
        steps = 0
        while (due := self._first_due()) is not None and due[0] <= now:
            at, number, message = due
            if steps == limit:
                self._wake_at = at
                return False
            steps += 1
            if PASSES[message.state] == "drop":
                self._done.pop()
                self._drop(message, at)
            elif message.state == "locked":
                self._locks.take(number)
                self._make_ready(message, at)
                self._counters.expired += 1
            else:
                self._backoffs.pop()
                self._make_ready(message, at)
        self._wake_at = NEVER if due is None else due[0]
        if self._trash:
            self._trash.sweep(SLICE)
            self._wake_at = 0  # to go on with it
            return False
        return True

    # -- taking in -----------------------------------------------------------------------------

    def enqueue(  # noqa: PLR0913, PLR0917 - an engine passes positions
        self,
        now: int,
        mid: str,
        value: object,
        init_backoff: int = 0,
        lock_time: int | None = None,
        can_update: bool = False,  # noqa: FBT001, FBT002
        can_requeue: bool = False,  # noqa: FBT001, FBT002
        reset_init_backoff: bool = False,  # noqa: FBT001, FBT002
        in_turn: bool = False,  # noqa: FBT001, FBT002
    ) -> Enqueued:
        """Add a message, or change the one of its mid, as `_message_table` says.

        ``in_turn``: the caller is the first of those who wait for room; everybody else stands
        behind them.

        Raises:
          QueueClosedError: If the queue is closed.
          QueueFullError: If it would be one more, and there is no room for it.
        """
        if now >= self._wake_at:
            self.advance(now)
        if self.records.closed:
            raise QueueClosedError(self.name)
        current = self._mids.get(mid)
        status = None if current is None else self._status(current)
        step = STEPS[status, can_update, can_requeue, reset_init_backoff]
        match step:
            case "add":
                added = Enqueued(True, mid, "added")
                self._add(now, mid, value, init_backoff, lock_time, in_turn=in_turn)
                return added
            case "requeue":
                added = Enqueued(True, mid, "added")
                self._requeue(now, mid, value, lock_time, in_turn=in_turn)
                return added
            case "update" | "reset":
                updated = Enqueued(True, mid, "updated")
                message = cast("QueuedMessage", current)
                self._note(message, rewritten=step == "update")
                if reset_init_backoff:
                    message = self._back_off_anew(now, message, init_backoff)
                if step == "update":
                    message.value = value
                    message.lock_time = lock_time
            case "update-requeue":
                updated = Enqueued(True, mid, "updated")
                message = self._requeues[mid]
                self._note(message, rewritten=True)
                message.value = value
                message.lock_time = lock_time
            case refusal:
                refused = Enqueued(False, mid, None, refusal)
                self._counters.refused += 1
                return refused
        self._counters.updated += 1
        return updated

    def wait_enqueue(  # noqa: PLR0913, PLR0917 - an engine passes positions
        self,
        now: int,
        mid: str,
        value: object,
        init_backoff: int = 0,
        lock_time: int | None = None,
        can_update: bool = False,  # noqa: FBT001, FBT002
        can_requeue: bool = False,  # noqa: FBT001, FBT002
        reset_init_backoff: bool = False,  # noqa: FBT001, FBT002
    ) -> Enqueued | None:
        """Add a message, as `enqueue` does; None while there is no room for it.

        Raises:
          QueueClosedError: If the queue is closed.
        """
        flags = can_update, can_requeue, reset_init_backoff
        try:
            return self.enqueue(now, mid, value, init_backoff, lock_time, *flags, in_turn=True)
        except QueueFullError:
            return None

    def _add(  # noqa: PLR0913 - those of `enqueue`
        self,
        now: int,
        mid: str,
        value: object,
        init_backoff: int,
        lock_time: int | None,
        *,
        in_turn: bool,
    ) -> None:
        self._check_room(in_turn=in_turn)
        records = self.records
        message = QueuedMessage(
            records.next_id,
            value,
            "backoff" if init_backoff else "ready",
            mid,
            now,
            now + init_backoff,
            lock_time,
        )
        self._mids[mid] = message
        if init_backoff:
            self._back_off(message, message.ready_at)
        else:
            self._ready.push(message, 0, now)
        self._came(message)

    def _requeue(
        self, now: int, mid: str, value: object, lock_time: int | None, *, in_turn: bool
    ) -> None:
        self._check_room(in_turn=in_turn)
        message = QueuedMessage(self.records.next_id, value, "requeue", mid, now, now, lock_time)
        self._requeues[mid] = message
        self._came(message)

    def _came(self, message: QueuedMessage) -> None:
        self._note(message)
        self._messages[message.id] = message
        self.records.next_id = message.id + 1
        self._counters.added += 1

    def _back_off_anew(self, now: int, message: QueuedMessage, init_backoff: int) -> QueuedMessage:
        """Let a message that is queued be ready after another backoff; return its record."""
        if message.state == "ready" and not init_backoff:
            return message  # and keeps its place
        ready_at = now + init_backoff
        fresh = message
        if message.state == "ready":
            # One that is gone stays in the line; so the message goes on as another record.
            fresh = _copy(message)
            self._ready.died(message)
            self._mids[message.mid] = fresh
        if init_backoff:
            self._back_off(fresh, ready_at)
        else:
            self._backoffs.take(message.id)
            self._ready.push(message, 0, ready_at)
        if fresh is not message:
            self._messages[message.id] = fresh
            message.state = "gone"
        fresh.ready_at = ready_at
        fresh.state = "backoff" if init_backoff else "ready"
        return fresh

    def _check_room(self, *, in_turn: bool) -> None:
        """Refuse one more message if there is no room for it.

        Raises:
          QueueFullError: If there is none.
        """
        if self._max_length is None:
            return
        room = max(self._max_length - self._unhandled(), 0)
        crowded = not in_turn and bool(self.inserters)
        if crowded or not room:
            raise QueueFullError(self.name, 1, None if crowded else room, self._max_length)

    # -- handing out ---------------------------------------------------------------------------

    def claim(self, now: int) -> Claimed | None:
        """Lock the first ready message; None if there is none.

        Raises:
          QueueClosedError: If the queue is closed, and nothing is left to be handled.
        """
        for claimed in self.claim_many(now, 1):
            return claimed
        return None

    def claim_many(self, now: int, limit: int) -> list[Claimed]:
        """Lock up to ``limit`` ready messages.

        Raises:
          QueueClosedError: If the queue is closed, and nothing is left to be handled.
        """
        if now >= self._wake_at:
            self.advance(now)
        records = self.records
        chosen: list[QueuedMessage] = []
        if not is_paused(records.paused_until, now):
            records.paused_until = None
            while len(chosen) < limit and (message := self._ready.pop()) is not None:
                chosen.append(message)
        if not chosen:
            if records.closed and not self._unhandled():
                raise QueueClosedError(self.name)
            return []
        claimed: list[Claimed] = []
        default, put, wake_at = self._lock_time, self._locks.put, self._wake_at
        new = tuple.__new__  # what Claimed() does, with fewer calls
        key = first = now if now > records.last_key else records.last_key + 1
        for key, message in enumerate(chosen, first):
            lock_time = default if message.lock_time is None else message.lock_time
            deadline_at = now + lock_time
            put(key, deadline_at, message)
            wake_at = min(wake_at, deadline_at)
            facts = message.id, message.mid, message.value, message.attempt + 1
            times = lock_time, now - message.enqueued_at, key, deadline_at
            claimed.append(new(Claimed, facts + times))
        self._wake_at = wake_at
        pairs = list(zip(chosen, claimed, strict=True))
        if self._changed is not None:
            self._changed.update(message.id for message in chosen)
        self._counters.claimed += len(chosen)
        records.last_key = key
        for message, each in pairs:
            message.key = each.key
            message.deadline_at = each.deadline_at
            message.attempt = each.attempt
            message.state = "locked"
        return claimed

    # -- what the holder of a claim does ---------------------------------------------------------

    def extend(self, now: int, key: int, duration: int | None = None) -> int:
        """Let a lock end ``duration`` from now; None: as long as it was at first.

        Returns:
          The instant at which it ends.

        Raises:
          ClaimLostError: If the message is not locked by that claim any more.
        """
        message = self._claimed(now, key)
        if duration is None:
            duration = self._lock_time if message.lock_time is None else message.lock_time
        deadline_at = now + duration
        self._lock(message, key, deadline_at)
        self._note(message)
        message.deadline_at = deadline_at
        return deadline_at

    def finish(self, now: int, key: int, result: Result, backoff: int = 0) -> None:
        """End a claim: what becomes of the message is said by `_message_table.ENDS`.

        Raises:
          ClaimLostError: If the message is not locked by that claim any more.
        """
        message = self._claimed(now, key)
        self._locks.take(key)
        counters = self._counters
        match ENDS[result, backoff > 0]:
            case "drop":
                self._drop(message, now)
            case "remember":
                deadline_at = now + backoff
                self._remember(message, deadline_at)
                self._let_go(message, "done", message.ready_at, deadline_at)
            case "ready":
                self._ready.push(message, 0, now)
                self._let_go(message, "ready", now)
            case "back off":
                self._back_off(message, now + backoff)
                self._let_go(message, "backoff", now + backoff)
        if result == "success":
            counters.succeeded += 1
        elif result == "retry":
            counters.retried += 1
        else:
            counters.failed += 1

    def snooze(self, now: int, key: int, delay: int = 0) -> None:
        """End a claim as if it had not been: the message comes back after ``delay``.

        Raises:
          ClaimLostError: If the message is not locked by that claim any more.
        """
        message = self._claimed(now, key)
        self._locks.take(key)
        if delay:
            self._back_off(message, now + delay)
        else:
            self._ready.push(message, 0, now)
        self._let_go(message, "backoff" if delay else "ready", now + delay)
        message.attempt -= 1
        self._counters.snoozed += 1

    def _claimed(self, now: int, key: int) -> QueuedMessage:
        if now >= self._wake_at:
            self.advance(now)
        message = self._locks.get(key)
        if message is None:
            raise ClaimLostError(self.name, key)
        return message

    def _let_go(
        self, message: QueuedMessage, state: str, ready_at: int, deadline_at: int = 0
    ) -> None:
        """Change the record of a message that is not locked any more."""
        self._note(message)
        message.ready_at = ready_at
        message.deadline_at = deadline_at
        message.key = 0
        message.state = state  # type: ignore[assignment] # one of `MessageState`

    def _drop(self, message: QueuedMessage, now: int) -> None:
        """Remove a message that is in no index any more, but that of its mid.

        What waits as its requeue is ready, and enqueued, ``now``.
        """
        heir = self._unname(message, now)
        del self._messages[message.id]
        message.state = "gone"
        if heir is not None:
            heir.enqueued_at = heir.ready_at = now
            heir.state = "ready"

    # -- what an operator does -----------------------------------------------------------------

    def message_status(self, now: int, mid: str) -> Status | None:
        """Return what a mid is; None: there is no such message."""
        if now >= self._wake_at:
            self.advance(now)
        message = self._mids.get(mid)
        return None if message is None else self._status(message)

    def queue_status(self, now: int) -> QueueStatus:
        """Return how many messages there are, by what they wait for."""
        if now >= self._wake_at:
            self.advance(now)
        return QueueStatus(
            nqueued=len(self._ready),
            nlocked=len(self._locks),
            nbackoff=len(self._backoffs) + len(self._done),
            ntotal=len(self._mids),
        )

    def queue_size(self, now: int) -> int:
        """Return how many messages can be claimed now, but for a pause."""
        return self.queue_status(now).nqueued

    def ids(self, _now: int, _after: object = 0) -> Ids:
        """Return the numbers of all messages; there are none after these."""
        return Ids([*self._messages])

    def content(self, now: int, ids: Sequence[int]) -> dict[str, MessageInfo]:
        """Return those messages of these numbers that are there, and are no requeues."""
        if now >= self._wake_at:
            self.advance(now)
        found: dict[str, MessageInfo] = {}
        for message in filter(None, map(self._messages.get, ids)):
            if message.state != "requeue":
                until = {"backoff": message.ready_at, "done": message.deadline_at}
                at = until.get(message.state)
                found[message.mid] = MessageInfo(
                    message=message.value,
                    status=self._status(message),
                    attempts=message.attempt,
                    backoff=None if at is None else (at - now) / 1e9,
                    age=(now - message.enqueued_at) / 1e9,
                    id=message.id,
                )
        return found

    def remove(self, now: int, ids: Sequence[int]) -> int:
        """Take messages out by their numbers, whatever they are; return how many there were.

        What waits as the requeue of one is ready then, unless it is taken out as well.
        """
        if now >= self._wake_at:
            self.advance(now)
        gone = [self._messages[each] for each in dict.fromkeys(ids) if each in self._messages]
        gone.sort(key=lambda message: message.state != "requeue")  # they go first
        heirs: list[QueuedMessage] = []
        for message in gone:
            match message.state:
                case "ready":
                    self._ready.died(message)
                case "backoff":
                    self._backoffs.take(message.id)
                case "locked":
                    self._locks.take(message.key)
                case "done":
                    self._done.take(message.id)
            heir = self._unname(message, now)
            if heir is not None:
                heirs.append(heir)
        removed = len(gone)
        for message in gone:
            del self._messages[message.id]
            message.state = "gone"
        for message in heirs:
            message.enqueued_at = message.ready_at = now
            message.state = "ready"
        return removed

    def clear(self, now: int) -> int:
        """Remove all messages; claims are void. Return how many there were."""
        held = self.length(now)
        if held:
            self._throw_away()
        return held

    def close(self, now: int) -> None:
        """Take nothing in any more. What is there can still be claimed and finished."""
        if now >= self._wake_at:
            self.advance(now)
        self.records.closed = True

    def pause(self, now: int, duration: int | None = None) -> None:
        """Hand nothing out, for ``duration`` or until `resume`."""
        self.records.paused_until = FOR_EVER if duration is None else now + duration

    def resume(self, _now: int) -> None:
        """Hand out again."""
        self.records.paused_until = None

    def length(self, now: int) -> int:
        """Return how many messages the queue holds, whatever they wait for."""
        if now >= self._wake_at:
            self.advance(now)
        return len(self._mids)

    def statistics(self, now: int) -> MessageStatistics:
        """Return the queue's numbers; who waits, and the actor's, are for the shell to fill in."""
        if now >= self._wake_at:
            self.advance(now)
        records = self.records
        first = self._ready.first()
        return MessageStatistics(
            queued=len(self._ready),
            backoff=len(self._backoffs),
            locked=len(self._locks),
            done=len(self._done),
            requeues=len(self._requeues),
            set_aside=records.set_aside,
            oldest_age=None if first is None else (now - first.ready_at) / 1e9,
            closed=records.closed,
            paused=is_paused(records.paused_until, now),
            **COUNTS.named(self._counters),  # type: ignore[arg-type] # ints
        )


def _copy(message: QueuedMessage) -> QueuedMessage:
    return QueuedMessage(*(getattr(message, field) for field in message.__struct_fields__))
