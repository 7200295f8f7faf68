"""A message queue as a worker's source: its claims."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from queueactors._insist import insist

from ._delivery import Delivery

if TYPE_CHECKING:
    from queueactors.queues import Claim, MessageQueue
    from supervisors import PendingReply

    from ._sources import Ending


@attrs.define(eq=False)
class MessageSource:
    """A message queue: its claims.

    Args:
      queue: The queue.
      runtime: What deliveries say they belong to.
    """

    queue: MessageQueue
    runtime: object
    holds: int = attrs.field(default=0, init=False)

    async def take(self, limit: int) -> list[Delivery]:
        """Claim."""
        queue = self.queue
        claims = await insist(lambda: queue.claim_many(limit))
        now = queue.clock.now_ns()
        return [
            Delivery(
                self,
                each,
                each.id,
                each.message,
                each.attempt,
                each.age,
                now - round(each.age * 1e9),
                each.lock_time,
                each.mid,
            )
            for each in claims
        ]

    async def finish(self, delivery: Delivery, ending: Ending) -> None:
        """Finish the claim, or snooze it."""
        queue, key = self.queue, delivery.key
        match ending.word:
            case "snooze":
                await insist(lambda: queue.snooze(key, ending.seconds or 0))
            case word:
                await insist(lambda: queue.finish(key, word, ending.seconds))

    def leave_word(self, delivery: Delivery, ending: Ending) -> None:
        """Submit what `finish` does."""
        submit, key = self.queue.submit, delivery.key
        match ending.word:
            case "snooze":
                submit.snooze(key, ending.seconds or 0)
            case word:
                submit.finish(key, word, ending.seconds)

    async def extend(self, held: Claim, seconds: float | None) -> Claim:
        """Extend the claim."""
        await held.extend(seconds)
        return held

    async def give_back(self) -> None:
        """Do nothing: the queue knows of all that was claimed."""

    def leave_back(self) -> None:
        """Do nothing, likewise."""

    async def size(self) -> int:
        """Return how many messages can be claimed."""
        return await self.queue.queue_size()

    def submit_size(self) -> PendingReply[int]:
        """Ask how many messages can be claimed."""
        return self.queue.submit.queue_size()
