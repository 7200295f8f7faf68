"""When there is nothing left to do: what ``run --until-idle`` waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
import trio

from supervisors import ActorDownError, Supervisor

from ._insist import insist

if TYPE_CHECKING:
    from ._runtime import Runtime
    from .cores.timed import TimedStatistics
    from .workers import WorkerStatus

POLL: Final = 0.05  # seconds between two looks


async def wait_until_idle(runtime: Runtime) -> None:
    """Wait until nothing is ready, delayed or reserved, and nothing more is coming.

    That is: no handler runs, no dead letter is on its way, and the last refill of each queue
    that somebody takes from put nothing in. A queue that is stopped or parked is not waited
    for. Cancelling it has no effect on the runtime.

    A message that moves from one queue to another between two looks would be missed; so two
    looks in a row must be idle and see the same counts.
    """
    before: object = None
    while True:
        quiet, now = await _look(runtime)
        if quiet and now == before:
            return
        before = now if quiet else None
        if not quiet:
            await trio.sleep(POLL)


async def _look(runtime: Runtime) -> tuple[bool, object]:
    """Return whether everything is quiet, and all counts."""
    workers = {worker.name: worker.status() for worker in runtime.workers()}
    served = {worker.queue.name for worker in runtime.workers() if workers[worker.name].running}
    quiet = not any(status.busy for status in workers.values())
    quiet = quiet and not _coming_up(runtime.supervisor)
    queues: list[TimedStatistics] = []
    for queue in runtime.queues():
        try:
            statistics = await insist(queue.statistics)
        except ActorDownError:
            continue
        # Refills that put nothing in come and go; they are no news.
        queues.append(attrs.evolve(statistics, oldest_age=None, refilling=False, refills=0))
        has_refill = queue.options.sync_fn is not None
        quiet = quiet and _is_quiet(statistics, refills=has_refill and queue.name in served)
    return quiet, (queues, _counts(workers))


def _is_quiet(statistics: TimedStatistics, *, refills: bool) -> bool:
    work = (
        statistics.ready
        + statistics.delayed
        + statistics.reserved
        + statistics.dead
        + statistics.mailbox
    )
    return not work and (statistics.last_refill == 0 or not refills)


def _coming_up(supervisor: Supervisor) -> bool:
    """Whether some child is about to be started: it may have work to do."""
    for info in supervisor.which_children():
        if info.state in {"starting", "restarting"}:
            return True
        below = supervisor.value_of(info.id)
        if isinstance(below, Supervisor) and _coming_up(below):
            return True
    return False


def _counts(workers: dict[str, WorkerStatus]) -> dict[str, tuple[int, ...]]:
    return {
        name: (status.succeeded, status.retried, status.lost, status.restarts)
        for name, status in workers.items()
    }
