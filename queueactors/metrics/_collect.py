"""Takes the numbers of everything in a runtime, without asking or waiting for anybody.

It costs by the number of queues, workers and children, not of messages. All of it is values that
others keep anyway; here they are copied, so that what is rendered later is of one instant.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_args
from weakref import WeakKeyDictionary

import attrs
import structlog

from queueactors._histogram import Buckets, Histogram
from queueactors.engines import ROOM, TAKERS
from queueactors.stores import StoreStatistics
from supervisors import ChildState

from ._rows import OTHER, Part
from ._tables import KIND_TABLES, QUEUE, RUNTIME, STORE, SUPERVISOR, WORKER
from ._values import Metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from queueactors.cores import QueueStatistics
    from queueactors.queues import QueueActor
    from queueactors.stores import Store
    from queueactors.workers import Worker
    from supervisors import Supervisor

    from ._options import MetricsOptions
    from ._rows import Numbers
    from ._values import Labels

# Seconds; from a handler in the loop to a long job.
WORKER_BOUNDS: Final = (
    *(0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    *(30.0, 60.0, 300.0, 900.0, 3600.0),
)
TURN_BOUNDS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)

T = TypeVar("T")
_COUNTERS: Final = {
    kind: tuple(row.field for row in table if row.type == "counter")
    for kind, table in KIND_TABLES.items()
}


@attrs.frozen
class ActorNumbers:
    """What a queue's actor has itself, whatever the kind."""

    up: bool
    mailbox: int
    waiting: int
    room: int
    restarts: int


@attrs.frozen
class WorkerNumbers:
    """What a worker is at, and has done."""

    running: bool
    concurrency: int
    busy: int
    restarts: int
    counts: SimpleNamespace
    queueing: Buckets
    handling: Buckets


@attrs.frozen
class SupervisorNumbers:
    """What a supervisor's children are at."""

    states: SimpleNamespace
    restarts: int


@attrs.frozen
class RuntimeNumbers:
    """What there is of the runtime as a whole."""

    queues: int
    workers: int
    parked: int
    turns: Buckets


class Collector:
    """Takes the numbers of one runtime, again and again.

    Args:
      options: How many series there may be, and what they are called.
    """

    def __init__(self, options: MetricsOptions) -> None:
        self.turns = Histogram(TURN_BOUNDS)  # of all queues: each actor counts there
        self._options = options
        self._last: WeakKeyDictionary[QueueActor, Any] = WeakKeyDictionary()  # type: ignore[explicit-any] # each kind's own
        self._told: set[str] = set()

    def collect(
        self,
        queues: Sequence[tuple[str, QueueActor]],
        workers: Sequence[Worker],
        stores: Mapping[str, Store],
        supervisors: Iterable[Supervisor],
    ) -> Metrics:
        """Return the metrics at this instant.

        Args:
          queues: Their kinds and actors, in the order of their definition.
          workers: In the order of their definition.
          stores: By name.
          supervisors: All that run.
        """
        trees = [(each.path, _supervisor(each)) for each in supervisors]
        parked = sum(each.states.parked for _, each in trees)
        whole = RuntimeNumbers(len(queues), len(workers), parked, self.turns.buckets())
        return Metrics(
            self._options.namespace,
            (
                Part(RUNTIME, (((), (whole,)),)),
                *self._queues(queues),
                Part(WORKER, self._workers(workers)),
                Part(STORE, tuple(_stores(stores))),
                Part(SUPERVISOR, tuple(((("supervisor", path),), (n,)) for path, n in trees)),
            ),
        )

    def _queues(self, queues: Sequence[tuple[str, QueueActor]]) -> list[Part]:
        own, others = self._split("max_queues", self._options.max_queues, queues, _queue_name)
        actors: dict[Labels, list[Numbers]] = {}
        kinds: dict[str, dict[Labels, list[Numbers]]] = {}
        for shown, some in ((True, own), (False, others)):
            for kind, actor in some:
                labels = (("queue", actor.name if shown else OTHER), ("kind", kind))
                actors.setdefault(labels, []).append(_actor(actor))
                statistics = self._statistics(kind, actor)
                if statistics is not None:
                    kinds.setdefault(kind, {}).setdefault(labels, []).append(statistics)
        return [
            Part(QUEUE, _series(actors)),
            *(Part(KIND_TABLES[kind], _series(some)) for kind, some in kinds.items()),
        ]

    def _statistics(self, kind: str, actor: QueueActor) -> QueueStatistics | None:
        """Return a queue's own numbers; no counter goes back.

        A commit that fails takes back what its batch has counted. To who reads the metrics, a
        counter that goes back began anew, and all that it says was counted since.
        """
        now = actor.statistics() if kind in KIND_TABLES else None
        before = self._last.get(actor)
        if now is None:
            return None
        if before is not None:
            back = {
                field: last
                for field in _COUNTERS[kind]
                if getattr(now, field) < (last := getattr(before, field))
            }
            if back:
                now = attrs.evolve(now, **back)
        self._last[actor] = now
        return now

    def _workers(
        self, workers: Sequence[Worker]
    ) -> tuple[tuple[Labels, tuple[WorkerNumbers, ...]], ...]:
        own, others = self._split("max_workers", self._options.max_workers, workers, _worker_name)
        series: dict[Labels, list[Numbers]] = {}
        for each in own:
            series[("worker", each.name), ("queue", each.queue.name)] = [_worker(each)]
        if others:
            series[("worker", OTHER), ("queue", OTHER)] = [_worker(each) for each in others]
        return _series(series)

    def _split(
        self, option: str, most: int, some: Sequence[T], name: Callable[[T], str]
    ) -> tuple[list[T], list[T]]:
        """Return those that have series of their own, and the others."""
        own = [each for each in some[:most] if name(each) != OTHER]
        others = [each for each in some[:most] if name(each) == OTHER]
        others += some[most:]
        if len(some) > most and option not in self._told:
            self._told.add(option)
            log: structlog.typing.FilteringBoundLogger = structlog.get_logger("queueactors")
            log.warning("metrics_limited", option=option, most=most, first=name(some[most]))
        return own, others


def _queue_name(queue: tuple[str, QueueActor]) -> str:
    return queue[1].name


def _worker_name(worker: Worker) -> str:
    return worker.name


def _series(
    by_labels: Mapping[Labels, Sequence[Numbers]],
) -> tuple[tuple[Labels, tuple[Numbers, ...]], ...]:
    return tuple((labels, tuple(numbers)) for labels, numbers in by_labels.items())


def _actor(actor: QueueActor) -> ActorNumbers:
    parked = actor.parked
    return ActorNumbers(
        actor.is_up,
        len(actor.mailbox),
        len(parked.lane(TAKERS)),
        len(parked.lane(ROOM)),
        actor.restarts,
    )


def _worker(worker: Worker) -> WorkerNumbers:
    counters = worker.counters
    return WorkerNumbers(
        worker.is_running,
        worker.concurrency,
        worker.busy,
        worker.restarts,
        SimpleNamespace(**counters.counts),
        counters.queueing_buckets(WORKER_BOUNDS),
        counters.handling_buckets(WORKER_BOUNDS),
    )


def _stores(stores: Mapping[str, Store]) -> Iterable[tuple[Labels, tuple[Numbers, ...]]]:
    for name, store in stores.items():
        statistics = store_statistics(store)
        if statistics is not None:
            yield (("store", name),), (statistics,)


def store_statistics(store: Store) -> StoreStatistics | None:
    """Return the numbers of a store; None: it has none."""
    ask = getattr(store, "statistics", None)
    statistics = None if ask is None else ask()
    return statistics if isinstance(statistics, StoreStatistics) else None


def _supervisor(supervisor: Supervisor) -> SupervisorNumbers:
    states = dict.fromkeys(get_args(ChildState), 0)
    for info in supervisor.which_children():
        states[info.state] += 1
    return SupervisorNumbers(SimpleNamespace(**states), supervisor.restarts)
