"""What the tests of the batch queue share: a queue with its processing, and process functions."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

import attrs
import trio

from queueactors import BatchQueue
from queueactors.retry import Fixed
from supervisors import Operation

from .kit import Boom, KindRig, running_kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from queueactors.cores.batch import BatchRecords

    from .kit import FaultyStore

    Act = Callable[[BatchQueue, list[object]], Awaitable[object]]

Rig = KindRig[BatchQueue]
SOON = Fixed(0, 1, jitter=0)  # tries again each second


@attrs.define(eq=False)
class Process:
    """Notes each call, then does what it was told for it.

    Args:
      acts: What the first calls do, one after the other.
      always: What all that follow do; None: nothing.
    """

    acts: list[Act] = attrs.field(factory=list)
    always: Act | None = None
    calls: list[list[object]] = attrs.field(factory=list)
    at: list[float] = attrs.field(factory=list)  # seconds on trio's clock
    done: list[object] = attrs.field(factory=list)  # items of calls that succeeded
    cancelled: int = 0

    async def __call__(self, queue: BatchQueue, items: list[object]) -> None:
        self.calls.append(list(items))
        self.at.append(trio.current_time())
        try:
            await trio.lowlevel.checkpoint()
            act = self.acts.pop(0) if self.acts else self.always
            if act is not None:
                await act(queue, items)
        except trio.Cancelled:
            self.cancelled += 1
            raise
        self.done += items

    @property
    def waits(self) -> list[float]:
        """The seconds between the calls."""
        return [round(b - a, 6) for a, b in zip(self.at, self.at[1:], strict=False)]


def raises(error: BaseException) -> Act:
    async def act(_queue: BatchQueue, _items: list[object]) -> None:
        raise error

    return act


def lasts(seconds: float) -> Act:
    async def act(_queue: BatchQueue, _items: list[object]) -> None:
        await trio.sleep(seconds)

    return act


async def fails(_queue: BatchQueue, items: list[object]) -> None:
    raise Boom(f"over {items!r}")


async def hangs(_queue: BatchQueue, _items: list[object]) -> None:
    await trio.sleep_forever()


@asynccontextmanager
async def running(
    process: object, store: FaultyStore | None = None, **options: object
) -> AsyncIterator[Rig]:
    """Run a queue ``q`` and its processing; crashes restart them at once."""
    given: dict[str, object] = {"process": process, "retry": SOON}
    async with running_kind(BatchQueue, "q", store, **(given | options)) as rig:  # type: ignore[arg-type] # they are the queue's
        yield rig


async def until_empty(queue: BatchQueue) -> None:
    """Wait until all is processed, with threads and without a `MockClock`."""
    with trio.fail_after(20):
        while await queue.len():  # noqa: ASYNC110 - nothing tells of it
            await trio.sleep(0.001)


def submit(rig: Rig, method: str, *args: object) -> None:
    """Let the actor do something."""
    rig.mailbox.cast(Operation(method, args))


def records(rig: Rig) -> BatchRecords:
    return cast("BatchRecords", rig.records())
