"""A channel as a worker's source.

A channel hands a value out for good and knows nothing of attempts. So the worker keeps what it
took until that is done: in hand, or in a heap until the backoff before the next attempt is over.
What is left when the worker is stopped goes back to the front of the channel, in order.
"""

from __future__ import annotations

from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING, Any

import attrs
import trio

from queueactors._errors import QueueActorsError
from queueactors._insist import insist
from queueactors._state_errors import QueueClosedError, QueueEndedError
from supervisors import ActorError

from ._delivery import Delivery

if TYPE_CHECKING:
    from queueactors.queues import ChannelQueue
    from supervisors import PendingReply

    from ._sources import Ending

Value = Any  # type: ignore[explicit-any] # what was sent; with ``batch`` a list


@attrs.define(eq=False)
class Kept:
    """What a worker took from a channel and has not finished.

    Args:
      id: Its number, by the worker.
      value: What was sent, or a list of such.
      taken_at: Epoch nanoseconds at which it was taken.
      attempts: How many attempts at it have failed.
      waits: Whether it waits for its next attempt, and no handler has it.
    """

    id: int
    value: Value
    taken_at: int
    attempts: int = 0
    waits: bool = False


@attrs.define(eq=False)
class ChannelSource:
    """A channel, and what was taken from it.

    Args:
      queue: The channel.
      batch: How many values make a message at most; None: a message is one value.
      runtime: What deliveries say they belong to.
    """

    queue: ChannelQueue
    batch: int | None
    runtime: object
    _kept: dict[int, Kept] = attrs.field(factory=dict, init=False)
    _waiting: list[tuple[float, int]] = attrs.field(factory=list, init=False)  # a heap: due, id
    _next: int = attrs.field(default=1, init=False)
    _sent: list[tuple[PendingReply[int], list[Kept]]] = attrs.field(factory=list, init=False)
    _ended: bool = attrs.field(default=False, init=False)
    _wait: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

    @property
    def holds(self) -> int:
        """How many messages it has that the channel does not know of."""
        return len(self._kept)

    async def take(self, limit: int) -> list[Delivery]:
        """Take those whose backoff is over; otherwise receive, and wait for either."""
        while True:
            if self._sent:
                self._see_answers()
            at = self._waiting[0][0] if self._waiting else inf
            if at <= trio.current_time():
                await trio.lowlevel.checkpoint()  # retries without backoff must not hold the loop
                return self._due(limit)
            with trio.CancelScope(deadline=at) as self._wait:
                try:
                    return await self._receive(limit)
                except QueueEndedError:
                    self._ended = True
                    if not self._kept:
                        raise QueueClosedError(self.queue.name) from None
                    await trio.sleep_forever()  # until what is left is due again, or done

    async def _receive(self, limit: int) -> list[Delivery]:
        queue, batch = self.queue, self.batch
        values = await insist(lambda: queue.recv_many(limit if batch is None else batch))
        now, first = queue.clock.now_ns(), self._next
        new = [
            Kept(number, value, now)
            for number, value in enumerate(values if batch is None else [values], first)
        ]
        self._next += len(new)
        self._kept.update((each.id, each) for each in new)
        return [self._delivery(each) for each in new]

    def _delivery(self, kept: Kept) -> Delivery:
        return Delivery(self, kept, kept.id, kept.value, kept.attempts + 1, None, kept.taken_at)

    def _due(self, limit: int) -> list[Delivery]:
        """Return deliveries of those that wait no longer."""
        due: list[Delivery] = []
        now = trio.current_time()
        while self._waiting and len(due) < limit and self._waiting[0][0] <= now:
            kept = self._kept[heappop(self._waiting)[1]]
            kept.waits = False
            due.append(self._delivery(kept))
        return due

    async def finish(self, delivery: Delivery, ending: Ending) -> None:
        """Forget it, or let it wait for its next attempt."""
        self.leave_word(delivery, ending)

    def leave_word(self, delivery: Delivery, ending: Ending) -> None:
        """Do what `finish` does."""
        kept = self._kept[delivery.id]
        if ending.word in {"success", "error"}:
            del self._kept[delivery.id]
            if self._ended and not self._kept:
                self._wait.deadline = -inf  # it waits for this one, at the end of the channel
            return
        kept.attempts += ending.word == "retry"
        kept.waits = True
        at = trio.current_time() + (ending.seconds or 0)
        heappush(self._waiting, (at, kept.id))
        self._wait.deadline = min(self._wait.deadline, at)

    async def extend(self, held: Kept, seconds: float | None) -> Kept:  # noqa: ARG002 - as others
        """Do nothing: it is the worker's for as long as it takes."""
        await trio.lowlevel.checkpoint()
        return held

    async def give_back(self) -> None:
        """Put back to the front of the channel what no handler has, in order."""
        left = self._pop_left()
        if left:
            queue, values = self.queue, self._values(left)
            try:
                await insist(lambda: queue._give_back(values))  # noqa: SLF001 - for workers
            except BaseException:
                self._put_left(left)
                raise

    def leave_back(self) -> None:
        """Put back to the front of the channel what no handler has, without an answer."""
        left = self._pop_left()
        if left:
            try:
                reply = self.queue.submit._give_back(self._values(left))  # noqa: SLF001
            except BaseException:
                self._put_left(left)
                raise
            self._sent.append((reply, left))

    def _see_answers(self) -> None:
        """Take back what was given back in vain: the channel was stopped before it took it."""
        for reply, left in self._sent.copy():
            if reply.is_ready:
                self._sent.remove((reply, left))
                try:
                    reply.get_nowait()
                except (ActorError, QueueActorsError):
                    self._put_left(left)

    def _pop_left(self) -> list[Kept]:
        left = [each for _, each in sorted(self._kept.items()) if each.waits]
        for each in left:
            del self._kept[each.id]
        self._waiting.clear()
        return left

    def _put_left(self, left: list[Kept]) -> None:
        for each in left:
            self._kept[each.id] = each
            heappush(self._waiting, (0.0, each.id))

    def _values(self, left: list[Kept]) -> list[Value]:
        if self.batch is None:
            return [each.value for each in left]
        return [value for each in left for value in each.value]

    async def size(self) -> int:
        """Return how many values are in the channel."""
        return await self.queue.len()

    def submit_size(self) -> PendingReply[int]:
        """Ask how many values are in the channel."""
        return self.queue.submit.len()
