"""The indexes of a message queue: all that can be rebuilt from its records.

Which message has which name, which one is next, and what happens by itself, and when.
"""

from __future__ import annotations

from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from ._deadlines import Deadlines
from ._message_table import STATUSES, Status
from ._message_values import MessageRecords, QueuedMessage
from ._ready import ReadyMessages
from ._trash import Trash

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._changed import Changed

NEVER: Final = 1 << 63  # later than any instant in epoch nanoseconds before the year 2262
SLICE: Final = 1000  # messages: some 2 ms of work, after which others may run


class MessageIndexes:
    """Which message is where, and what happens next by itself.

    Args:
      records: What they are built from, by `rebuild`.
      changed: Where to note what a store has to write; None: it writes nothing.
    """

    def __init__(self, records: MessageRecords, changed: Changed | None) -> None:
        self.records = records
        self.notices: list[tuple[str, dict[str, object]]] = []  # for the log: event, facts
        self._messages = records.messages
        self._counters = records.counters
        self._changed = changed
        self._trash = Trash()
        self._wake_at = NEVER  # never later than the next instant at which something happens
        self._empty()

    def _empty(self) -> None:
        self._mids: dict[str, QueuedMessage] = {}  # all but requeues
        self._requeues: dict[str, QueuedMessage] = {}  # by mid
        self._ready = ReadyMessages[QueuedMessage]()
        self._backoffs = Deadlines[QueuedMessage](attrgetter("ready_at"))  # by id
        self._locks = Deadlines[QueuedMessage](attrgetter("deadline_at"))  # by key
        self._done = Deadlines[QueuedMessage](attrgetter("deadline_at"))  # by id

    def rebuild(self) -> Iterator[None]:
        """Build all indexes from the records; yield whenever others may run."""
        parts: list[list[QueuedMessage]] = []
        alone: list[QueuedMessage] = []
        messages = iter(self._messages.values())
        while some := list(islice(messages, SLICE)):
            ready = [each for each in some if each.state == "ready"]
            ready.sort(key=_order)
            parts.append(ready)
            for message in some:
                self._place(message)
                if message.state == "requeue" and message.mid not in self._mids:
                    alone.append(message)
            yield
        parts.append(sorted(filter(self._free, alone), key=_order))
        in_order = merge(*parts, key=_order)
        while some := list(islice(in_order, SLICE)):
            for message in some:
                self._ready.push(message, 0, message.ready_at)
            yield

    def _place(self, message: QueuedMessage) -> None:
        """Put a message where its record says; but for the order of those that are ready."""
        named = self._requeues if message.state == "requeue" else self._mids
        if message.mid in named:
            self._rename(message)
        named[message.mid] = message
        match message.state:
            case "backoff":
                self._back_off(message, message.ready_at)
            case "locked":
                self._lock(message, message.key, message.deadline_at)
            case "done":
                self._remember(message, message.deadline_at)

    def _rename(self, message: QueuedMessage) -> None:
        """Give a message a mid of its own, because an earlier one has the same.

        A store has a mid twice when a message could not be decoded for a time, and meanwhile
        another one of its mid was enqueued. Neither may be lost. The same name comes out until it
        is written.
        """
        was = mid = message.mid
        while mid in self._mids or mid in self._requeues:
            mid = f"{mid}#{message.id}"
        self._note(message, rewritten=True)
        message.mid = mid
        self._notice("message_renamed", id=message.id, mid=mid, was=was)

    def _free(self, message: QueuedMessage) -> bool:
        """Let a requeue be ready if what it waited for is not there; return whether that is so.

        It is not when it cannot be decoded any more: nobody will finish it.
        """
        if message.mid in self._mids:
            return False
        self._note(message)
        self._mids[message.mid] = self._requeues.pop(message.mid)
        message.state = "ready"
        self._notice("requeue_freed", id=message.id, mid=message.mid)
        return True

    def _throw_away(self) -> None:
        """Forget all messages."""
        self._trash.throw(
            self._messages.popitem,
            self._mids.popitem,
            self._requeues.popitem,
            *self._ready.containers(),
            *self._backoffs.containers(),
            *self._locks.containers(),
            *self._done.containers(),
        )
        self._empty()
        if self._changed is not None:
            self._changed.clear()
            self._changed.cleared = True
        self._messages = self.records.messages = {}
        self._wake_at = 0  # to sweep

    # -- one message ---------------------------------------------------------------------------

    def _lock(self, message: QueuedMessage, key: int, deadline_at: int) -> None:
        self._locks.put(key, deadline_at, message)
        self._wake_at = min(self._wake_at, deadline_at)

    def _back_off(self, message: QueuedMessage, ready_at: int) -> None:
        self._backoffs.put(message.id, ready_at, message)
        self._wake_at = min(self._wake_at, ready_at)

    def _remember(self, message: QueuedMessage, deadline_at: int) -> None:
        self._done.put(message.id, deadline_at, message)
        self._wake_at = min(self._wake_at, deadline_at)

    def _make_ready(self, message: QueuedMessage, ready_at: int) -> None:
        """Let a message be ready whose time has come. Not written: it follows from what is."""
        self._ready.push(message, 0, ready_at)
        message.ready_at = ready_at
        message.key = 0
        message.state = "ready"

    def _unname(self, message: QueuedMessage, now: int) -> QueuedMessage | None:
        """Take a message out of the last index; return what comes in its place."""
        self._note(message)
        if message.state == "requeue":
            del self._requeues[message.mid]
            return None
        if self._mids[message.mid] is not message:
            return None  # it could not be decoded for a while, and another took its mid
        heir = self._requeues.pop(message.mid, None)
        if heir is None:
            del self._mids[message.mid]
        else:
            self._note(heir)
            self._mids[message.mid] = heir
            self._ready.push(heir, 0, now)
        return heir

    def _note(self, message: QueuedMessage, *, rewritten: bool = False) -> None:
        """Note that a message is about to change; ``rewritten``: its content as well."""
        if self._changed is not None:
            self._changed.add(message.id)
            if rewritten:
                self._changed.rewritten.add(message.id)

    def _notice(self, event: str, **facts: object) -> None:
        self.notices.append((event, facts))

    # -- all of them ---------------------------------------------------------------------------

    def _status(self, message: QueuedMessage) -> Status:
        return STATUSES[message.state, message.mid in self._requeues]

    def _unhandled(self) -> int:
        """Return how many messages are still to be handled, requeues included."""
        return len(self._messages) - len(self._done)

    def _first_due(self) -> tuple[int, int, QueuedMessage] | None:
        """Return what next happens by itself: when, its number in its agenda, to which message."""
        first = None
        for agenda in (self._locks, self._backoffs, self._done):
            due = agenda.first()
            if due is not None and (first is None or due[0] < first[0]):
                first = due
        return first


def _order(message: QueuedMessage) -> tuple[int, int]:
    return message.ready_at, message.id
