"""Dead letters back to where they came from, or to another queue.

Each is put in there first, and then finished here: if the process dies in between, it is in both.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from queueactors._errors import QueueActorsError
from queueactors.cores.timed import DeadLetter
from supervisors import SupervisorsError, describe

from ._intake import put_in, values_of
from ._values import Redriven

if TYPE_CHECKING:
    from queueactors._runtime import Runtime
    from queueactors.queues import AnyQueue

HELD: Final = 60.0  # seconds that a dead letter is reserved for


async def redrive(runtime: Runtime, queue: AnyQueue, to: str | None, limit: int) -> Redriven:
    """Move what is in a queue of dead letters; stop at the first that cannot be moved.

    Args:
      runtime: The runtime.
      queue: Where they are: a timed or a message queue.
      to: The queue that they go to; None: each to the one that it came from.
      limit: How many at most.

    Raises:
      trio.TooSlowError: If one that was put in there could not be finished here in its time.
    """
    moved: dict[str, int] = {}
    kept: list[int] = []  # keys of what stays: held meanwhile, so that it does not come again
    error = None
    most = await queue.len()
    try:
        while sum(moved.values()) < limit and len(kept) < most:
            timed = queue.kind == "timed"
            taken = await (queue.try_reserve(HELD) if timed else queue.try_claim())
            if taken is None:
                break
            value = taken.value if timed else taken.message
            target = to or (value.queue if isinstance(value, DeadLetter) else None)
            if target is None or target == queue.name:
                kept.append(taken.key)
                continue
            try:
                queue_to: AnyQueue = runtime.queue(target)
                await put_in(queue_to, values_of(queue_to, _contents(queue_to, value)))
            except (QueueActorsError, SupervisorsError, ValueError, TypeError) as failure:
                kept.append(taken.key)
                error = f"{target}: {describe(failure)}"
                break
            except BaseException:
                kept.append(taken.key)
                raise
            await _finish(queue, taken.key)
            moved[target] = moved.get(target, 0) + 1
    finally:
        await _give_back(queue, kept)
    return Redriven(moved=moved, left=len(kept), error=error)


async def _finish(queue: AnyQueue, key: int) -> None:
    """Finish what is in another queue by now; also if the client leaves: else it stays in both."""
    with trio.move_on_after(HELD, shield=True) as finishing:
        await (queue.delete(key) if queue.kind == "timed" else queue.finish(key))
    if finishing.cancelled_caught:
        told = f"it could not be finished within {HELD:g} seconds in {queue.name!r}"
        raise trio.TooSlowError(f"a message is in both queues: {told}")


async def _give_back(queue: AnyQueue, keys: list[int]) -> None:
    with trio.move_on_after(HELD, shield=True):
        for key in keys:
            with suppress(QueueActorsError):  # it has come back by itself
                await queue.snooze(key)


def _contents(queue: AnyQueue, value: object) -> list[object]:
    """Return what of a dead letter goes into a queue: of a batch, its items."""
    if not isinstance(value, DeadLetter):
        return [value]
    inner = value.value
    return inner if queue.kind == "batch" and isinstance(inner, list) else [inner]
