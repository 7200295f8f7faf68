"""The ready messages of a queue, in the order in which they are handed out.

That is: priority (smaller first), then the instant of becoming ready, then insertion. Almost
always it is the order in which they come in, and a deque does; what does not fit goes to a heap
(-11 % to -38 % against a heap alone, `bench/`).
"""

from __future__ import annotations

from collections import deque
from heapq import merge
from itertools import chain, count
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from ._lazy_heap import FEW, SLICE, LazyHeap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Ready(Protocol):
    """What is asked of a message."""

    @property
    def id(self) -> int:
        """Its number."""

    @property
    def state(self) -> str:
        """``gone``: it does not count any more."""

    @property
    def ready_at(self) -> int:
        """Epoch nanoseconds since when it is ready."""


Message = TypeVar("Message", bound=Ready)


class ReadyMessages(Generic[Message]):
    """Ready messages. One that leaves otherwise than by `pop` stays, dead, until it is swept."""

    __slots__ = ("_back", "_count", "_dead", "_front", "_ranked", "_ranks")

    def __init__(self) -> None:
        # In order: all of _front, then all of _back. A sweep moves a slice at a time from one to
        # the other: a million at once would stop the loop. Otherwise, and when _back is empty,
        # _front is empty.
        self._front: deque[Message] = deque()
        self._back: deque[Message] = deque()
        self._dead = 0  # in these two
        # Those in the heap, by id. A message that died may come again while its dead rank is still
        # there; so each rank has a number, and messages are never compared.
        ranked = self._ranked = dict[int, tuple[int, int, int, int, Message]]()
        self._ranks = LazyHeap[tuple[int, int, int, int, Message]](
            lambda rank: ranked.get(rank[2]) is rank
        )
        self._count = count()

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._front) + len(self._back) - self._dead + len(self._ranked)

    @property
    def kept(self) -> int:
        """How many entries there are, dead ones included."""
        return len(self._front) + len(self._back) + self._ranks.kept

    def push(self, message: Message, priority: int, ready_at: int) -> None:
        """Add a message that is ready since ``ready_at``."""
        if priority == 0:
            back = self._back
            if not back:
                back.append(message)
                return
            last = back[-1]
            if last.ready_at < ready_at or (last.ready_at == ready_at and last.id < message.id):
                back.append(message)
                return
        rank = priority, ready_at, message.id, next(self._count), message
        self._ranked[message.id] = rank
        self._ranks.push(rank)

    def first(self) -> Message | None:
        """Return the message to hand out next; None: there is none."""
        first = self._top(self._front) or self._top(self._back)
        if self._ranked:
            rank = self._ranks.first()
            if rank is not None and (first is None or rank[:3] < (0, first.ready_at, first.id)):
                return rank[4]
        return first

    def pop(self) -> Message | None:
        """Remove and return the message to hand out next; None: there is none."""
        if not self._front and not self._ranked:  # as almost always
            back = self._back
            while back:
                message = back.popleft()
                if message.state != "gone":
                    return message
                self._dead -= 1
            return None
        first = self.first()
        if first is not None:
            if self._front and self._front[0] is first:
                self._front.popleft()
            elif self._back and self._back[0] is first:
                self._back.popleft()
            else:
                self._ranks.pop()
                del self._ranked[first.id]
        return first

    def in_order(self) -> Iterator[Message]:
        """Yield them as they would be handed out; the first few cost little."""
        in_line = (
            (0, message.ready_at, message.id, -1, message)
            for message in chain(self._front, self._back)
            if message.state != "gone"
        )
        return (rank[4] for rank in merge(in_line, self._ranks.in_order()))

    def containers(self) -> Iterator[Callable[[], object]]:
        """Return what empties them bit by bit, for whoever throws all of them away."""
        for each in (self._front, self._back, *self._ranks.containers()):
            yield each.pop

    def died(self, message: Message) -> None:
        """Note that a message is leaving: its state is ``gone`` from the next operation on."""
        if message.id in self._ranked:
            del self._ranked[message.id]
            self._ranks.died()
            return
        self._dead += 1
        if self._dead > FEW:
            self._sweep()

    def _top(self, messages: deque[Message]) -> Message | None:
        while messages and messages[0].state == "gone":
            messages.popleft()
            self._dead -= 1
        return messages[0] if messages else None

    def _sweep(self) -> None:
        if not self._front and self._dead * 2 <= len(self._back):
            return
        for _ in range(min(SLICE, len(self._back))):
            message = self._back.popleft()
            if message.state == "gone":
                self._dead -= 1
            else:
                self._front.append(message)
        if not self._back:
            self._front, self._back = self._back, self._front
