"""A claim: a message that is locked for its taker."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from queueactors.cores.message import Claimed, Result

    from ._message import MessageQueue


class Claim:
    """A message that is yours until ``deadline_at``: nobody else gets it, unless it ends.

    Attributes:
      queue: The `MessageQueue` that it is from.
      id: The message's number: stable, unique in its queue.
      mid: Its name: unique among what is in the queue.
      message: What was enqueued.
      attempt: The how-manieth lock of it this is, from 1; locks that ended by themselves count.
      lock_time: Seconds that it was locked for at first.
      age: Seconds from its enqueue (of a requeue: from its turn) to the claim.
      key: Proves the claim; each has its own.
      deadline_at: Epoch nanoseconds at which the lock ends by itself; `extend` changes it.
    """

    __slots__ = (
        "age",
        "attempt",
        "deadline_at",
        "id",
        "key",
        "lock_time",
        "message",
        "mid",
        "queue",
    )

    def __init__(self, queue: MessageQueue, taken: Claimed, message: object) -> None:
        self.queue = queue
        self.id = taken.id
        self.mid = taken.mid
        self.message = message
        self.attempt = taken.attempt
        self.lock_time = taken.lock_time / 1e9
        self.age = taken.age / 1e9
        self.key = taken.key
        self.deadline_at = taken.deadline_at

    def __repr__(self) -> str:
        return f"<Claim {self.mid!r} of {self.queue.name!r}, attempt {self.attempt}>"

    async def finish(self, result: Result = "success", backoff: float | None = None) -> None:
        """End it; arguments and errors as for `MessageQueue.finish`."""
        await self.queue.finish(self.key, result, backoff)

    async def extend(self, seconds: float | None = None) -> None:
        """Let its lock last ``seconds`` from now; arguments and errors as `MessageQueue.extend`."""
        self.deadline_at = await self.queue.extend(self.key, seconds)

    async def snooze(self, seconds: float = 0) -> None:
        """Give the message back uncounted; arguments and errors as for `MessageQueue.snooze`."""
        await self.queue.snooze(self.key, seconds)
