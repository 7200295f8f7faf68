"""All queues and workers at one instant, each with what it is at: nobody is asked, or waited for.

The numbers are those that the metrics have too, as each kind has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from .engines import ROOM, TAKERS

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence

    from supervisors import ChildInfo, Supervisor

    from ._parts import Defined
    from .cores import QueueStatistics
    from .workers import Worker


@attrs.frozen(kw_only=True)
class QueueOverview:
    """A queue at one instant.

    Args:
      name: Its name.
      kind: Its kind.
      store: The name of its store.
      state: Where it is in its life, as in the tree; of what it consists of, what is worst.
      mailbox: Operations that wait for it.
      waiting: Callers that wait for a message.
      room: Callers that wait for room.
      restarts: How often it was restarted.
      at_hand: Messages that can be taken now; None: nothing was ever known.
      in_hand: Messages that somebody has; None: likewise.
      statistics: The numbers of its kind, the last that are known; None: likewise.
    """

    name: str
    kind: str
    store: str
    state: str
    mailbox: int
    waiting: int
    room: int
    restarts: int
    at_hand: int | None
    in_hand: int | None
    statistics: QueueStatistics | None


@attrs.frozen(kw_only=True)
class WorkerOverview:
    """A worker at one instant.

    Args:
      name: Its name.
      queue: The name of its queue.
      state: Where it is in its life, as in the tree.
      running: Whether it takes messages.
      concurrency: Handlers at a time.
      busy: Messages that it has.
      restarts: How often it was restarted.
      counts: How often its handlers ended how.
      handling_p50: Seconds that a handler took: the median; None: there was none.
      handling_p99: 99 % took no longer; likewise.
      queueing_p99: Seconds that messages waited for their first attempt; 99 % no longer; likewise.
    """

    name: str
    queue: str
    state: str
    running: bool
    concurrency: int
    busy: int
    restarts: int
    counts: Mapping[str, int]
    handling_p50: float | None
    handling_p99: float | None
    queueing_p99: float | None


@attrs.frozen(kw_only=True)
class Overview:
    """All queues and workers at one instant.

    Args:
      queues: In the order of their definition.
      workers: Likewise.
    """

    queues: tuple[QueueOverview, ...]
    workers: tuple[WorkerOverview, ...]


SLICE: Final = 50  # queues, or workers, between two steps: 1 to 2 ms

_WORST = ("parked", "restarting", "starting", "stopping", "stopped", "finished", "running")


def overview_steps(
    queues: Sequence[Defined], workers: Sequence[Worker], supervisors: Iterable[Supervisor]
) -> Generator[None, None, Overview]:
    """Return the overview; yields now and then, so that others may run in between.

    Args:
      queues: In the order of their definition.
      workers: Likewise.
      supervisors: All that run.
    """
    states = child_states([(each, each.which_children()) for each in supervisors])
    found: list[QueueOverview] = []
    for start in range(0, len(queues), SLICE):
        yield
        found += [queue_overview(each, states) for each in queues[start : start + SLICE]]
    at_work: list[WorkerOverview] = []
    for start in range(0, len(workers), SLICE):
        yield
        at_work += [worker_overview(each, states) for each in workers[start : start + SLICE]]
    return Overview(queues=tuple(found), workers=tuple(at_work))


def child_states(children: Iterable[tuple[Supervisor, Sequence[ChildInfo]]]) -> dict[int, str]:
    """Return the state of each child, by the identity of its start function.

    Args:
      children: What each supervisor tells of its own.
    """
    return {
        id(supervisor.get_childspec(info.id).start): info.state
        for supervisor, infos in children
        for info in infos
    }


def queue_overview(defined: Defined, states: Mapping[int, str]) -> QueueOverview:
    """Return what a queue is at.

    Args:
      defined: The queue.
      states: See `child_states`.
    """
    actor = defined.actor
    numbers = actor.statistics()
    parts: Sequence[object] = (actor, *defined.beside.values())
    return QueueOverview(
        name=actor.name,
        kind=defined.kind,
        store=defined.handle.options.store,
        state=min((states.get(id(part), "stopped") for part in parts), key=_WORST.index),
        mailbox=len(actor.mailbox),
        waiting=len(actor.parked.lane(TAKERS)),
        room=len(actor.parked.lane(ROOM)),
        restarts=actor.restarts,
        at_hand=None if numbers is None else numbers.at_hand,
        in_hand=None if numbers is None else numbers.in_hand,
        statistics=numbers,
    )


def worker_overview(worker: Worker, states: Mapping[int, str]) -> WorkerOverview:
    """Return what a worker is at; arguments as for `queue_overview`."""
    statistics = worker.status().statistics
    times = statistics.handling_time
    return WorkerOverview(
        name=worker.name,
        queue=worker.queue.name,
        state=states.get(id(worker), "stopped"),
        running=worker.is_running,
        concurrency=worker.concurrency,
        busy=worker.busy,
        restarts=worker.restarts,
        counts=dict(worker.counters.counts),
        handling_p50=times.p50,
        handling_p99=times.p99,
        queueing_p99=statistics.queueing_time.p99,
    )
