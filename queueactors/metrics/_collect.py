"""Takes the numbers of everything in a runtime, without asking or waiting for anybody.

It costs by the number of queues, workers and children, not of messages. All of it is values that
others keep anyway; here they are copied, so that what is rendered later is of one instant.
"""

from __future__ import annotations

from operator import lt
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import attrs
import structlog

from queueactors._histogram import Buckets
from queueactors.engines import ROOM, TAKERS
from queueactors.stores import StoreStatistics

from ._rows import NONE, OTHER, Part, getter
from ._tables import (
    KIND_TABLES,
    LIQ,
    LIQ_PROCESS,
    PROCESS,
    QUEUE,
    RUNTIME,
    STORE,
    SUPERVISOR,
    WORKER,
)
from ._values import Labels, Metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence

    from queueactors._histogram import Doubling, Histogram
    from queueactors.cores import QueueStatistics
    from queueactors.queues import QueueActor
    from queueactors.stores import Store
    from queueactors.workers import Worker
    from supervisors import Supervisor

    from ._options import MetricsOptions
    from ._rows import Series

# Seconds; from a handler in the loop to a long job.
WORKER_BOUNDS: Final = (
    *(0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    *(30.0, 60.0, 300.0, 900.0, 3600.0),
)

SLICE: Final = 100  # queues between two steps: 1 to 2 ms

T = TypeVar("T")
_COUNTERS: Final = {
    kind: tuple(row.field for row in table if row.type == "counter")
    for kind, table in KIND_TABLES.items()
}
_READ: Final = {kind: tuple(map(getter, fields)) for kind, fields in _COUNTERS.items()}


class ActorNumbers(NamedTuple):
    """What a queue's actor has itself, whatever the kind."""

    up: bool
    mailbox: int
    waiting: int
    room: int
    restarts: int


class WorkerNumbers(NamedTuple):
    """What a worker is at, and has done."""

    running: bool
    concurrency: int
    busy: int
    restarts: int
    counts: SimpleNamespace
    queueing: Buckets
    handling: Buckets


class ProcessNumbers(NamedTuple):
    """What the calls of a batch queue's process function took."""

    seconds: Buckets
    milliseconds: Buckets


class SupervisorNumbers(NamedTuple):
    """What a supervisor's children are at."""

    states: SimpleNamespace
    restarts: int


class RuntimeNumbers(NamedTuple):
    """What there is of the runtime as a whole."""

    queues: int
    workers: int
    parked: int
    turns: Buckets


@attrs.define(eq=False)
class _Known:
    """What is kept of a queue from one time to the next."""

    labels: Labels
    counted: tuple[int, ...] = ()  # its counters


class Collector:
    """Takes the numbers of one runtime, again and again.

    Args:
      options: How many series there may be, and what they are called.
      turns: Where all queues count the operations of each turn.
    """

    def __init__(self, options: MetricsOptions, turns: Doubling) -> None:
        self._turns = turns
        self.options = options
        self._known: WeakKeyDictionary[QueueActor, _Known] = WeakKeyDictionary()
        self._told: set[str] = set()

    def steps(
        self,
        queues: Sequence[tuple[str, QueueActor]],
        workers: Sequence[Worker],
        stores: Mapping[str, Store],
        supervisors: Iterable[Supervisor],
    ) -> Generator[None, None, Metrics]:
        """Return the metrics; yields now and then, so that others may run in between.

        Whoever lets them gets the numbers of some queues a little later than those of others.

        Args:
          queues: Their kinds and actors, in the order of their definition.
          workers: In the order of their definition.
          stores: By name.
          supervisors: All that run.
        """
        trees = [(each.path, _supervisor(each)) for each in supervisors]
        parked = sum(each.states.parked for _, each in trees)
        whole = RuntimeNumbers(len(queues), len(workers), parked, self._turns.buckets())
        parts = [
            Part(RUNTIME, ((NONE, (whole,)),)),
            Part(WORKER, self._workers(workers)),
            Part(STORE, tuple(_stores(stores))),
            Part(SUPERVISOR, tuple((Labels(("supervisor", path)), (n,)) for path, n in trees)),
        ]
        own, others = self._split("max_queues", self.options.max_queues, queues, _queue_name)
        for start in range(0, len(own), SLICE):
            yield
            parts += self._queues(own[start : start + SLICE])
        others_by_kind: dict[str, list[QueueActor]] = {}
        for kind, actor in others:
            others_by_kind.setdefault(kind, []).append(actor)
        for kind, actors in others_by_kind.items():
            parts += yield from self._others(kind, actors)
        return Metrics(self.options.namespace, tuple(parts))

    def _queues(self, queues: Sequence[tuple[str, QueueActor]]) -> Iterator[Part]:
        """Yield the numbers of queues that have series of their own."""
        actors: list[Series] = []
        kinds: dict[str, list[Series]] = {}
        for kind, actor in queues:
            known = self._know(kind, actor)
            actors.append((known.labels, (_actor(actor),)))
            statistics = _statistics(kind, actor, known)
            if statistics is not None:
                kinds.setdefault(kind, []).append((known.labels, (statistics,)))
        yield Part(QUEUE, tuple(actors))
        for kind, some in kinds.items():
            yield from self._kind(kind, tuple(some))
        processes = [
            (self._know(kind, actor).labels, (_process(actor.durations),))
            for kind, actor in queues
            if actor.durations is not None
        ]
        yield from self._processes(tuple(processes))

    def _others(
        self, kind: str, actors: Sequence[QueueActor]
    ) -> Generator[None, None, tuple[Part, ...]]:
        """Return the numbers of queues of one kind that share a series."""
        numbers: list[ActorNumbers] = []
        known: list[QueueStatistics] = []
        for start in range(0, len(actors), SLICE):
            yield
            for actor in actors[start : start + SLICE]:
                numbers.append(_actor(actor))
                statistics = _statistics(kind, actor, self._know(kind, actor))
                if statistics is not None:
                    known.append(statistics)
        labels = Labels(("queue", OTHER), ("kind", kind))
        part = Part(QUEUE, ((labels, tuple(numbers)),))
        if not known:
            return (part,)
        durations = [_process(each.durations) for each in actors if each.durations is not None]
        return (
            part,
            *self._kind(kind, ((labels, tuple(known)),)),
            *self._processes(((labels, tuple(durations)),) if durations else ()),
        )

    def _kind(self, kind: str, series: tuple[Series, ...]) -> Iterator[Part]:
        """Yield the numbers of queues of one kind, by all names that they have."""
        yield Part(KIND_TABLES[kind], series)
        if kind == "batch" and self.options.liq_names:
            yield Part(LIQ, tuple((_queue_only(labels), numbers) for labels, numbers in series))

    def _processes(self, series: tuple[Series, ...]) -> Iterator[Part]:
        """Yield what the calls of process functions took, likewise."""
        if series:
            yield Part(PROCESS, series)
            if self.options.liq_names:
                some = tuple((_queue_only(labels), numbers) for labels, numbers in series)
                yield Part(LIQ_PROCESS, some)

    def _know(self, kind: str, actor: QueueActor) -> _Known:
        known = self._known.get(actor)
        if known is None:
            labels = Labels(("queue", actor.name), ("kind", kind))
            known = self._known[actor] = _Known(labels)
        return known

    def _workers(self, workers: Sequence[Worker]) -> tuple[Series, ...]:
        own, others = self._split("max_workers", self.options.max_workers, workers, _worker_name)
        series: list[Series] = [
            (_labels(each.name, each.queue.name), (_worker(each),)) for each in own
        ]
        if others:
            series.append((_labels(OTHER, OTHER), tuple(map(_worker, others))))
        return tuple(series)

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


def _statistics(kind: str, actor: QueueActor, known: _Known) -> QueueStatistics | None:
    """Return a queue's own numbers; no counter goes back.

    A commit that fails takes back what its batch has counted. To who reads the metrics, a counter
    that goes back began anew, and all that it says was counted since.
    """
    now = actor.statistics() if kind in KIND_TABLES else None
    if now is None:
        return None
    counted = tuple([read(now) for read in _READ[kind]])
    before = known.counted or counted
    if any(map(lt, counted, before)):
        counted = tuple(map(max, counted, before))
        now = _counting(now, dict(zip(_COUNTERS[kind], counted, strict=True)))
    known.counted = counted
    return now


def _counting(numbers: QueueStatistics, counted: Mapping[str, int]) -> QueueStatistics:
    """Return the numbers with other counts."""
    changes: dict[str, object] = {}
    for field, count in counted.items():
        owner, dot, key = field.partition(".")
        if dot:
            changes[owner] = {**changes.get(owner, getattr(numbers, owner)), key: count}  # type: ignore[dict-item] # a mapping
        else:
            changes[field] = count
    return attrs.evolve(numbers, **changes)


def _queue_name(queue: tuple[str, QueueActor]) -> str:
    return queue[1].name


def _worker_name(worker: Worker) -> str:
    return worker.name


def _labels(worker: str, queue: str) -> Labels:
    return Labels(("worker", worker), ("queue", queue))


def _actor(actor: QueueActor) -> ActorNumbers:
    parked = actor.parked
    return ActorNumbers(
        actor.is_up,
        len(actor.mailbox),
        len(parked.lane(TAKERS)),
        len(parked.lane(ROOM)),
        actor.restarts,
    )


def _queue_only(labels: Labels) -> Labels:
    return Labels(*(pair for pair in labels if pair[0] == "queue"))


def _process(durations: Histogram) -> ProcessNumbers:
    seconds = durations.buckets()
    bounds = tuple(round(bound * 1e3, 6) for bound in seconds.bounds)
    return ProcessNumbers(seconds, Buckets(bounds, seconds.counts, seconds.sum * 1e3))


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


def _stores(stores: Mapping[str, Store]) -> Iterable[Series]:
    for name, store in stores.items():
        statistics = store_statistics(store)
        if statistics is not None:
            yield Labels(("store", name)), (statistics,)


def store_statistics(store: Store) -> StoreStatistics | None:
    """Return the numbers of a store; None: it has none."""
    ask = getattr(store, "statistics", None)
    statistics = None if ask is None else ask()
    return statistics if isinstance(statistics, StoreStatistics) else None


def _supervisor(supervisor: Supervisor) -> SupervisorNumbers:
    return SupervisorNumbers(SimpleNamespace(**supervisor.count_states()), supervisor.restarts)
