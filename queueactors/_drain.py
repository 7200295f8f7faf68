"""Empties a queue that a reload has removed: it takes nothing in, and goes when it is empty.

Until then it, and the workers that were removed with it, go on under the runtime's groups; this is
a child of the runtime's own supervisor that waits for the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
import trio

from queueactors._errors import StoreError
from supervisors import ActorError

from .queues import BatchQueue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from supervisors import ChildStatus

    from ._parts import Parts

POLL: Final = 0.1  # seconds between two looks


@attrs.define(eq=False)
class Drain:
    """Waits until a queue is empty, and then has it taken out: a child's start function.

    Args:
      parts: What the runtime consists of.
      name: The queue's.
      take_out: Removes it and its workers.
    """

    parts: Parts
    name: str
    _take_out: Callable[[str], Awaitable[None]]

    def begin(self) -> None:
        """Refuse what comes in, unless others still send here: they are drained first."""
        defined = self.parts.queues.get(self.name)
        if defined is None or defined.actor.drains:
            return
        if not self.parts.gets_letters(self.name):
            defined.actor.drains = True

    async def __call__(self, *, task_status: ChildStatus) -> None:
        """Wait until the queue is empty, and end."""
        task_status.started()
        while self.name in self.parts.queues:
            self.begin()
            if await self._is_empty():
                await self._take_out(self.name)
                return
            await trio.sleep(POLL)

    async def _is_empty(self) -> bool:
        """Return whether nothing is left that would be handled some day."""
        defined = self.parts.queues[self.name]
        if not defined.actor.drains:
            return False
        workers = [each for each in self.parts.workers.values() if each.queue.name == self.name]
        if any(worker.busy for worker in workers):
            return False
        try:
            with trio.move_on_after(POLL):
                if isinstance(defined.handle, BatchQueue):
                    await defined.handle.flush()  # nothing comes in that would fill the buffer
                return (await defined.handle.statistics()).is_quiet
        except (ActorError, StoreError):
            pass
        return False
