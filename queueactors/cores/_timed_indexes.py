"""The indexes of a timed queue: all that can be rebuilt from its records.

Almost always messages become ready, and reservations end, in the order in which they began: that
is the order of a deque and of an ordered dict. What does not fit goes to a heap.
"""

from __future__ import annotations

from collections import OrderedDict
from heapq import merge
from itertools import chain, islice, pairwise
from typing import TYPE_CHECKING, Final, get_args

from supervisors import describe

from ._agenda import Agenda
from ._lazy_heap import LazyHeap
from ._ready import ReadyMessages
from ._timed_values import Message, PeekState, State, TimedRecords
from ._trash import Trash
from ._unique import UniqueValues

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NEVER: Final = 1 << 63  # later than any instant in epoch nanoseconds before the year 2262
SLICE: Final = 1000  # messages: some 2 ms of work, after which others may run


class TimedIndexes:
    """Which message is where, and what happens next by itself.

    Args:
      records: What they are built from, by `rebuild`.
      unique: A value that is in the queue does not go in again.
      decode: Makes the values to compare from those in the records; None: they are these.
    """

    def __init__(
        self,
        records: TimedRecords,
        *,
        unique: bool,
        decode: Callable[[object], object] | None,
    ) -> None:
        self.records = records
        self.notices: list[tuple[str, dict[str, object]]] = []  # for the log: event, facts
        self._messages = records.messages
        self._counters = records.counters
        self._trash = Trash()
        self._unique = UniqueValues(decode) if unique else None
        self._new_errands = False
        self._wake_at = NEVER  # never later than the next instant at which something happens
        self._empty()

    def _empty(self) -> None:
        self._ready = ReadyMessages[Message]()
        self._growing: OrderedDict[int, Message] = OrderedDict()  # reserved, by key
        self._others = Agenda[Message]()  # reserved with an earlier deadline, by key
        self._last_deadline = 0  # the newest in _growing
        self._expired: dict[int, Message] = {}  # by key; not taken since
        self._delayed = LazyHeap[tuple[int, int, Message]](lambda entry: entry[2].state != "gone")
        self._buried = Agenda[Message]()  # by id, which is also their instant
        self._dead: dict[int, Message] = {}  # on their way to another queue

    def rebuild(self) -> Iterator[None]:
        """Build all indexes from the records; yield whenever others may run."""
        unique = self._unique
        parts: dict[State, list[list[Message]]] = {state: [] for state in get_args(State)}
        messages = iter(self._messages.values())
        while some := list(islice(messages, SLICE)):
            slices: dict[State, list[Message]] = {state: [] for state in parts}
            for message in some:
                slices[message.state].append(message)
                if unique is not None and message.state != "dead":
                    self._restore(message)
            for state, part in slices.items():
                if part:
                    part.sort(key=_ORDER[state])
                    parts[state].append(part)
            yield
        put: dict[State, Callable[[Message], object]] = {
            "ready": self._put_ready,
            "reserved": lambda each: self._hold(each, each.key, each.deadline_at),
            "delayed": lambda each: self._delay(each, each.ready_at),
            "buried": self._put_buried,
            "dead": self._put_dead,
        }
        for state, place in put.items():
            ordered = _in_order(parts[state], _ORDER[state])
            while some := list(islice(ordered, SLICE)):
                for message in some:
                    place(message)
                yield
        self._new_errands = bool(self._dead) or self.records.refill_wanted
        if self.records.initial:
            self._wake_at = 0

    def _throw_away(self) -> None:
        """Forget all messages but the dead ones: these belong to another queue already."""
        dead = self._dead
        self._trash.throw(
            self._messages.popitem,
            *self._ready.containers(),
            self._growing.popitem,
            *self._others.containers(),
            self._expired.popitem,
            *(each.pop for each in self._delayed.containers()),
            *self._buried.containers(),
        )
        if self._unique is not None:
            self._trash.throw(*self._unique.clear())
        self._empty()
        self._dead = dead
        self._messages = self.records.messages = dict(dead)
        self._wake_at = 0  # to sweep

    # -- one message ---------------------------------------------------------------------------

    def _hold(self, message: Message, key: int, deadline_at: int) -> None:
        if deadline_at >= self._last_deadline or not self._growing:
            self._growing[key] = message
            self._last_deadline = deadline_at
        else:
            self._others.put(key, deadline_at, message)
        self._wake_at = min(self._wake_at, deadline_at)

    def _let_go(self, message: Message) -> None:
        if self._growing.pop(message.key, None) is None:
            self._others.take(message.key)

    def _delay(self, message: Message, ready_at: int) -> None:
        self._delayed.push((ready_at, message.id, message))
        self._wake_at = min(self._wake_at, ready_at)

    def _leave(self, message: Message) -> None:
        """Take a message out of the indexes, whatever its state."""
        if self._unique is not None and message.state != "dead":
            self._unique.discard(message.id, message.value)
        match message.state:
            case "ready":
                self._ready.died(message)
                self._expired.pop(message.key, None)
            case "delayed":
                self._delayed.died()
            case "reserved":
                self._let_go(message)
            case "buried":
                self._buried.take(message.id)
            case "dead":
                del self._dead[message.id]

    def _restore(self, message: Message) -> None:
        """Let a message's value keep equal ones out again."""
        if self._unique is not None:
            failure = self._unique.restore(message.id, message.value)
            if failure is not None:
                self._notice("value_not_compared", **told(message, describe(failure)))

    def _put_ready(self, message: Message) -> None:
        self._ready.push(message, message.priority, message.ready_at)
        if message.key:
            self._expired[message.key] = message

    def _put_buried(self, message: Message) -> None:
        self._buried.put(message.id, message.id, message)

    def _put_dead(self, message: Message) -> None:
        self._dead[message.id] = message

    def _notice(self, event: str, **facts: object) -> None:
        self.notices.append((event, facts))

    # -- many messages -------------------------------------------------------------------------

    def _first_due(self) -> tuple[int, Message] | None:
        """Return when something next happens by itself, and to which message.

        At one instant reservations end in the order in which they were made, before delays do.
        """
        first = None
        if self._growing:
            message = next(iter(self._growing.values()))
            first = message.deadline_at, message.key, message
        other = self._others.first()
        if other is not None and (first is None or other < first):  # no two keys are the same
            first = other
        delayed = self._delayed.first()
        if delayed is not None and (first is None or delayed[0] < first[0]):
            return delayed[0], delayed[2]
        return None if first is None else (first[0], first[2])

    def _in_state(self, state: PeekState) -> Iterator[Message]:
        """Yield the messages in a state, in their order; the first few cost little."""
        match state:
            case "ready":
                return self._ready.in_order()
            case "delayed":
                return (entry[2] for entry in self._delayed.in_order())
            case "reserved":
                others = self._others.in_order()
                return merge(self._growing.values(), others, key=_ORDER["reserved"])
            case "buried":
                return self._buried.in_order()


def told(message: Message, error: str | None) -> dict[str, object]:
    """Return what the log says about a message."""
    return {"id": message.id, "attempts": message.attempt, "error": error}


def _in_order(
    parts: list[list[Message]], key: Callable[[Message], tuple[int, ...]]
) -> Iterator[Message]:
    """Yield all messages of some sorted lists in order."""
    if all(key(before[-1]) <= key(after[0]) for before, after in pairwise(parts)):
        return chain.from_iterable(parts)  # as almost always
    return merge(*parts, key=key)


_ORDER: Final[dict[State, Callable[[Message], tuple[int, ...]]]] = {
    "ready": lambda message: (message.priority, message.ready_at, message.id),
    "delayed": lambda message: (message.ready_at, message.id),
    "reserved": lambda message: (message.deadline_at, message.key),
    "buried": lambda message: (message.id,),
    "dead": lambda message: (message.id,),
    "gone": lambda message: (message.id,),
}
