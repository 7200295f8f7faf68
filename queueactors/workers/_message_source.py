"""A message queue as a worker's source: its claims."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from queueactors._insist import insist

from ._delivery import Delivery

if TYPE_CHECKING:
    from queueactors.queues import AnyQueue
    from supervisors import PendingReply

    from ._delivery import Held
    from ._sources import Ending


@attrs.define(eq=False)
class MessageSource:
    """A message queue: its claims.

    Args:
      queue: The queue.
      runtime: What deliveries say they belong to.
    """

    queue: AnyQueue
    runtime: object
    holds: int = attrs.field(default=0, init=False)

    async def take(self, limit: int) -> list[Delivery]:
        """Claim."""
        queue = self.queue
        return [
            Delivery(
                self, each, each.id, each.message, each.attempt, each.age, each.lock_time, each.mid
            )
            for each in await insist(lambda: queue.claim_many(limit))
        ]

    async def finish(self, delivery: Delivery, ending: Ending) -> None:
        """Finish the claim, or snooze it."""
        claim = delivery._held  # noqa: SLF001 - a source's own
        if ending.word == "snooze":
            await insist(lambda: claim.snooze(ending.seconds or 0))
        else:
            await insist(lambda: claim.finish(ending.word, ending.seconds))

    def leave_word(self, delivery: Delivery, ending: Ending) -> None:
        """TODO."""

    async def extend(self, held: Held, seconds: float | None) -> Held:
        """Extend the claim."""
        await held.extend(seconds)
        return held

    async def give_back(self) -> None:
        """Do nothing: the queue knows of all that was claimed."""

    def leave_back(self) -> None:
        """Do nothing, likewise."""

    def inserted_at(self, delivery: Delivery) -> int:
        """Return what its age when it was claimed says."""
        raise NotImplementedError(delivery)

    async def size(self) -> int:
        """Return how many messages are queued."""
        size: int = await self.queue.queue_size()
        return size

    def submit_size(self) -> PendingReply[int]:
        """Ask how many messages are queued."""
        reply: PendingReply[int] = self.queue.submit.queue_size()
        return reply
