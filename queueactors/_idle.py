"""When there is nothing left to do: what ``run --until-idle`` waits for."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, cast

import attrs
import trio

from supervisors import ActorCrashedError, ActorDownError, ActorError, Supervisor

from ._errors import QueueActorsError, StoreError
from .cores.batch import BatchStatistics
from .cores.timed import TimedStatistics
from .queues import TimedQueue

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from supervisors import ChildInfo, StartFunction

    from ._runtime import Runtime
    from .cores import QueueStatistics
    from .queues import BatchQueue, Queue

POLL: Final = 0.05  # seconds between two looks


async def wait_until_idle(runtime: Runtime) -> None:
    """Wait until nothing is ready, delayed, reserved, buffered or in a channel, and nothing comes.

    That is: no handler runs, no dead letter is on its way, and the last refill of each queue
    that somebody takes from put nothing in. A queue that is stopped or parked is not waited
    for; one whose store fails is. When all that is left is in the buffers of batch queues, they
    are flushed. Cancelling it has no effect on the runtime.

    A message that moves from one queue to another between two looks would be missed; so two
    looks in a row must be idle and see the same counts.
    """
    before: object = None
    while True:
        now = await _look(runtime)
        if now is not None and now == before:
            return
        before = now
        if now is None:
            await trio.sleep(POLL)


async def _look(runtime: Runtime) -> object | None:
    """Return all counts if everything is quiet; None if something is going on."""
    await trio.lowlevel.checkpoint()
    children = list(_children(runtime.supervisor))
    if any(info.state in {"starting", "restarting"} for info, _ in children):
        return None  # it may have work to do
    if any(worker.busy for worker in runtime.workers()):
        return None
    workers = {worker.name: worker.handled for worker in runtime.workers()}
    # Not those that say they run: one that crashed a moment ago says no, and comes back.
    up = {id(start) for info, start in children if info.state == "running"}
    workers_up = [each for each in runtime.workers() if id(each) in up and not each.stopped]
    served = {worker.queue.name for worker in workers_up}
    queues: list[QueueStatistics] = []
    unflushed: list[Queue] = []
    for queue in runtime.queues():
        try:
            numbers: QueueStatistics = await queue.statistics()
        except ActorDownError:
            continue
        except (ActorCrashedError, StoreError):  # it comes back
            return None
        settled = _settled(queue, numbers, served)
        if settled is None:
            return None
        if isinstance(numbers, BatchStatistics) and numbers.buffered:
            unflushed.append(queue)
        queues.append(settled)
    for queue in unflushed:  # nothing more is coming that would fill their buffers
        with suppress(ActorError, QueueActorsError):
            await cast("BatchQueue", queue).flush()
    return None if unflushed else (queues, workers)


def _settled(
    queue: Queue, numbers: QueueStatistics, served: Container[str]
) -> QueueStatistics | None:
    """Return what of a queue's numbers must not change; None: something is going on."""
    if not numbers.is_quiet:
        return None
    # What comes and goes without a message that moves: restarts, and refills that bring none.
    still: dict[str, object] = {"restarts": 0, "waiting": 0}
    if isinstance(numbers, TimedStatistics):
        taken_from = queue.name in served or numbers.waiting
        if taken_from and _may_refill(queue, numbers):
            return None
        still |= {"refilling": False, "refills": 0, "refill_errors": 0}
    return attrs.evolve(numbers, **still)


def _may_refill(queue: Queue, numbers: TimedStatistics) -> bool:
    refills = isinstance(queue, TimedQueue) and queue.options.sync_fn is not None
    return refills and numbers.last_refill != 0 and not numbers.closed


def _children(supervisor: Supervisor) -> Iterator[tuple[ChildInfo, StartFunction]]:
    """Yield every child at any depth."""
    for info in supervisor.which_children():
        yield info, supervisor.get_childspec(info.id).start
        below = supervisor.value_of(info.id)
        if isinstance(below, Supervisor):
            yield from _children(below)
