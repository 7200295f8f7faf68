"""Where a worker has its messages from: what differs from kind to kind, and nothing else.

A source belongs to the worker's name, as the queue does: what it holds survives a crash of the
worker's task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, Protocol

import attrs

from queueactors._insist import insist

from ._delivery import Delivery, Held

if TYPE_CHECKING:
    from queueactors.cores.timed import Reservation
    from queueactors.queues import AnyQueue, TimedQueue
    from supervisors import PendingReply

Word = Literal["success", "retry", "error", "snooze"]


@attrs.frozen
class Ending:
    """What is to become of a message.

    Args:
      word: ``success``: it is done. ``retry``: it comes back, and the attempt counts. ``error``:
        it is not tried again. ``snooze``: it comes back, and the attempt does not count.
      seconds: Until it comes back; of a success: in which another of that name is refused. None:
        at once, or no such window.
      error: What went wrong.
    """

    word: Word
    seconds: float | None = None
    error: str | None = None


SUCCESS: Final = Ending("success")
UNCOUNTED: Final = Ending("snooze", 0.0)


class Source(Protocol):
    """The queue of a worker, whatever its kind."""

    @property
    def queue(self) -> AnyQueue:
        """The queue."""

    @property
    def runtime(self) -> object:
        """What deliveries say they belong to."""

    @property
    def holds(self) -> int:
        """How many messages it has that no queue knows of."""

    async def take(self, limit: int) -> list[Delivery]:
        """Take 1 to ``limit`` messages; wait for the first. Cancelled: nothing was taken.

        Raises:
          QueueClosedError: If the queue is closed, and nothing will ever come.
        """

    async def finish(self, delivery: Delivery, ending: Ending) -> None:
        """Tell the queue what is to become of a message.

        Raises:
          ReservationError: If it is not the worker's any more; or `ClaimLostError`, likewise.
        """

    def leave_word(self, delivery: Delivery, ending: Ending) -> None:
        """Tell it without waiting: the queue does not answer now.

        Raises:
          trio.WouldBlock: If its mailbox is full.
          ActorDownError: If nobody is about to restart it.
        """

    async def extend(self, held: Held, seconds: float | None) -> Held:
        """Keep a message for ``seconds`` from now; None: as long as at the beginning."""

    async def give_back(self) -> None:
        """Give back what no handler has."""

    def leave_back(self) -> None:
        """Give back what no handler has, without waiting.

        Raises:
          trio.WouldBlock: If the queue's mailbox is full.
          ActorDownError: If nobody is about to restart it.
        """

    def submit_size(self) -> PendingReply[int]:
        """Ask how many messages could be taken, without waiting for the answer."""

    async def size(self) -> int:
        """Return how many messages could be taken."""


@attrs.define(eq=False)
class TimedSource:
    """A timed queue: its reservations.

    Args:
      queue: The queue.
      runtime: What deliveries say they belong to.
    """

    queue: TimedQueue
    runtime: object
    holds: int = attrs.field(default=0, init=False)

    async def take(self, limit: int) -> list[Delivery]:
        """Reserve."""
        queue = self.queue
        taken = await insist(lambda: queue.reserve_many(limit))
        now, lock_time = queue.clock.now_ns(), queue.options.reservation_time
        deliveries = []
        for each in taken:
            id, _, value, _, attempt, inserted_at = each  # noqa: A001
            age = (now - inserted_at) / 1e9
            deliveries.append(Delivery(self, each, id, value, attempt, age, inserted_at, lock_time))
        return deliveries

    async def finish(self, delivery: Delivery, ending: Ending) -> None:
        """Delete, release, fail or snooze."""
        queue, key, error = self.queue, delivery.key, ending.error
        match ending.word:
            case "success":
                await insist(lambda: queue.delete(key, expired_ok=True))
            case "retry":
                await insist(lambda: queue.release(key, ending.seconds or 0, error=error))
            case "error":
                await insist(lambda: queue.fail(key, error))
            case "snooze":
                await insist(lambda: queue.snooze(key, ending.seconds or 0))

    def leave_word(self, delivery: Delivery, ending: Ending) -> None:
        """Submit what `finish` does."""
        submit, key = self.queue.submit, delivery.key
        match ending.word:
            case "success":
                submit.delete(key, expired_ok=True)
            case "retry":
                submit.release(key, ending.seconds or 0, error=ending.error)
            case "error":
                submit.fail(key, ending.error)
            case "snooze":
                submit.snooze(key, ending.seconds or 0)

    async def extend(self, held: Reservation, seconds: float | None) -> Reservation:
        """Touch."""
        return await self.queue.touch(held, seconds)

    async def give_back(self) -> None:
        """Do nothing: the queue knows of all that was reserved."""

    def leave_back(self) -> None:
        """Do nothing, likewise."""

    def submit_size(self) -> PendingReply[int]:
        """Ask how many messages are ready."""
        return self.queue.submit._size()  # noqa: SLF001 - for workers

    async def size(self) -> int:
        """Return how many messages are ready."""
        return await self.queue._size()  # noqa: SLF001 - for workers


def make_source(queue: AnyQueue, batch: int | None, runtime: object) -> Source:
    """Return the source of messages that a queue is."""
    if queue.kind == "channel":
        from ._channel_source import ChannelSource

        return ChannelSource(queue, batch, runtime)
    if queue.kind == "message":
        from ._message_source import MessageSource

        return MessageSource(queue, runtime)
    return TimedSource(queue, runtime)
