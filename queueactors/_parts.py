"""What a runtime consists of: its stores, queues and workers, and the children that they are.

Made of a configuration, or bit by bit from code. Nothing here runs anything: `queueactors._runtime`
does, and is what users have.

The tree: the runtime's own supervisor over the groups ``stores``, ``queues``, ``supervisors``,
``workers`` and ``front_ends``, started in this order and stopped in reverse. What a configured
supervisor places hangs under it, everything else under its group. A crash in one group does not
restart another: the mailboxes bridge it.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final, cast

import attrs

from supervisors import (
    ActorDownError,
    ChildOptions,
    ChildSpec,
    Mailbox,
    StartFunction,
    child_spec,
    did_you_mean,
)

from ._codecs import Values
from ._histogram import Doubling
from .queues import BATCH as TURN
from .queues import KINDS, AnyQueue, Errands, Options, Queue, QueueActor, TimedOptions
from .stores import Place
from .workers import Worker, WorkerOptions, unfit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping

    from ._clock import Clock
    from .config import ChildConfig, Config, SupervisorConfig
    from .cores.timed import DeadLetter
    from .engines import Engine, Parked
    from .stores import Store

AnyKind = Any  # type: ignore[explicit-any] # each kind of queue has its own

# What hangs under a group is parked rather than given up: one poisoned queue must not end all.
GROUP_INTENSITY: Final = 8
GROUP_PERIOD: Final = 60.0  # seconds


@attrs.define(eq=False)
class Defined:
    """A queue that the runtime knows."""

    kind: str
    handle: Queue
    actor: QueueActor
    beside: Mapping[str, StartFunction]  # by sort: what else it consists of
    kept: AnyKind  # what a store needs of it; its options are those that count

    def specs(self, options: ChildOptions) -> list[ChildSpec]:
        """Return the children that the queue consists of."""
        name = self.handle.name  # may end in anything: what tells the two apart comes first
        specs = [ChildSpec(id=f"queue.{name}", start=self.actor, **options)]
        for sort, start in self.beside.items():
            specs.append(ChildSpec(id=f"{sort}.{name}", start=start, **options))
        return specs


class Parts:
    """The stores, queues and workers of one runtime, by name.

    Args:
      config: The runtime's.
      clock: The runtime's.
      random: For the jitter of waits; None: each has its own.
      runtime: Given to handlers.
    """

    def __init__(
        self, config: Config, clock: Clock, random: Random | None, runtime: object
    ) -> None:
        self.config = config
        self.clock = clock
        self.stores: dict[str, Store] = {}
        self.queues: dict[str, Defined] = {}
        self.workers: dict[str, Worker] = {}
        # By group or supervisor: the children that an operator has stopped, over all restarts.
        self.stopped: defaultdict[str, set[str]] = defaultdict(set)
        self._store_specs: dict[str, ChildSpec] = {}
        self.turns = Doubling(TURN)  # operations that a queue's actor carries out in one turn
        self._random = random
        self._runtime = runtime

    def define(self, name: str, kind: str, options: Options) -> Defined:
        parts = KINDS[kind]
        store = self.stores[options.store]
        values = None
        if store.durable:
            codec = options.codec_made
            if codec is None:
                raise ValueError(
                    f"queue {name!r}: a {kind} is kept in memory only, "
                    f"and store {options.store!r} is durable"
                )
            values = Values(codec)
        keeps: Collection[str] = getattr(store, "keeps", KINDS)
        if kind not in keeps:
            raise ValueError(
                f"queue {name!r}: store {options.store!r} keeps no queues of kind {kind}, "
                f"only of {', '.join(keeps)}"
            )
        kept = parts.kind(name, options, values)

        def open_engine(parked: Parked) -> Awaitable[Engine]:
            return store.open_engine(name, kept, parked)

        mailbox = Mailbox(name, options.mailbox)
        actor = QueueActor(name, self.clock, mailbox, open_engine, self.turns)
        handle = parts.handle(actor, options, kept, self._dice())
        defined = self.queues[name] = Defined(kind, handle, actor, {}, kept)
        defined.beside = self._beside(defined, options)
        return defined

    def _beside(self, defined: Defined, options: Options) -> dict[str, StartFunction]:
        """Return what runs beside a queue's actor, made of those options."""
        refill = options if isinstance(options, TimedOptions) and options.sync_fn else None
        beside: dict[str, StartFunction] = {}
        if refill is not None or options.dead_letter is not None:
            deliver = self._deliverer(defined.handle.name, options)
            known = defined.beside.get("errands")
            if isinstance(known, Errands):
                known.reconfigure(refill, deliver)
            beside["errands"] = known or Errands(
                defined.actor, refill, deliver, defined.kept.values
            )
        return beside | defined.handle.companions

    def reconfigure(self, name: str, options: Options) -> None:
        """Let a queue go by other options from now on, as far as it can while it runs."""
        defined = self.queues[name]
        defined.kept.options = options
        handle: AnyQueue = defined.handle
        handle._reconfigure(options)  # noqa: SLF001 - the two are one thing
        defined.beside = self._beside(defined, options)
        defined.actor.configure(defined.kept.configure)

    def _dice(self) -> Random:
        return Random() if self._random is None else self._random  # noqa: S311 - for waits

    def _deliverer(
        self, name: str, options: Options
    ) -> Callable[[DeadLetter], Awaitable[object]] | None:
        target = options.dead_letter
        if target is None:
            return None

        async def deliver(letter: DeadLetter) -> object:
            if target not in self.queues:  # a reload has removed it
                raise ActorDownError(target, "gone")
            queue: AnyQueue = self.queues[target].handle
            if queue.options.store == options.store and KINDS[queue.kind].table is not None:
                return await queue._take_over(letter, name)  # noqa: SLF001 - the two are one thing
            return await queue._accept(letter)  # noqa: SLF001 - likewise

        return deliver

    def add_worker(self, name: str, options: WorkerOptions) -> Worker:
        queue: AnyQueue = self.queues[options.queue].handle
        worker = self.workers[name] = Worker(name, queue, options, self._runtime, self._dice())
        return worker

    # -- what is refused ----------------------------------------------------------------------

    def check_dead_letter(self, name: str, target: str | None) -> None:
        """Refuse what ``on_exhausted`` names, by the rules of a configuration.

        Raises:
          ValueError: If it is no queue that can get dead letters.
        """
        if target == name:
            raise ValueError(
                f"queue {name!r}: a queue cannot be its own dead letter queue; use 'bury' or 'drop'"
            )
        if target is not None and target not in self.queues:
            hint = did_you_mean(target, ["drop", "bury", *self.queues])
            raise ValueError(
                f"queue {name!r}: there is no queue {target!r} for on_exhausted{hint}; "
                "define it first"
            )

    def check_worker(self, options: WorkerOptions) -> None:
        """Refuse what a configuration refuses, too.

        Raises:
          ValueError: If an option is not for the queue's kind, or names no queue.
        """
        for _, told in unfit(options, self.queues[options.queue].handle.kind):
            raise ValueError(told)
        target = options.dead_letter
        if target is not None and target not in self.queues:
            hint = did_you_mean(target, self.queues)
            raise ValueError(f"there is no queue {target!r} for dead_letter{hint}; define it first")

    def users(self, name: str, config: Config) -> Iterator[str]:
        """Yield what needs a queue and is in no configuration: the program has defined it."""
        for worker in self.workers.values():
            if worker.name not in config.workers:
                told = f"worker {worker.name!r}, which the program has started,"
                if worker.options.queue == name:
                    yield f"it cannot be removed: {told} feeds on it"
                if worker.options.dead_letter == name:
                    yield f"it cannot be removed: dead letters of {told} go there"
        for other in self.queues.values():
            if other.handle.name not in config.queues and other.handle.options.dead_letter == name:
                told = f"queue {other.handle.name!r}, which the program has defined,"
                yield f"it cannot be removed: dead letters of {told} go there"

    def gets_letters(self, name: str) -> bool:
        """Whether dead letters of another queue, or of a worker, go to a queue."""
        workers = any(each.options.dead_letter == name for each in self.workers.values())
        return workers or any(
            each.handle.options.dead_letter == name for each in self.queues.values()
        )

    def check_unused(self, name: str) -> None:
        """Refuse to drop a queue that others need.

        Raises:
          ValueError: If a worker feeds on it, or another queue's dead letters go there.
        """
        for worker in self.workers.values():
            if worker.options.queue == name:
                raise ValueError(f"worker {worker.name!r} feeds on queue {name!r}; remove it first")
            if worker.options.dead_letter == name:
                raise ValueError(f"dead letters of worker {worker.name!r} go to queue {name!r}")
        for other in self.queues.values():
            if other.handle.options.dead_letter == name:
                raise ValueError(
                    f"dead letters of queue {other.handle.name!r} go to queue {name!r}; "
                    "drop that one first"
                )

    # -- the tree -----------------------------------------------------------------------------

    def specs(self, front_ends: list[ChildSpec]) -> list[ChildSpec]:
        """Define everything that the configuration names; return the runtime's own children.

        Args:
          front_ends: What others reach the runtime by.
        """
        config = self.config
        for name in config.stores:
            self.add_store(name, config)
        for name, queue in config.queues.items():
            self.define(name, queue.kind, queue.options)
        for name, options in config.workers.items():
            self.add_worker(name, options)
        return self.tree(config, front_ends)

    def add_store(self, name: str, config: Config) -> None:
        """Make a store that a configuration names."""
        each = config.stores[name]
        store = self.stores[name] = cast("Store", each.factory(**each.options))
        own = [each.name for each in config.queues.values() if each.options.store == name]
        directory = Path(config.runtime.data_dir)
        spec = store.child(Place(name, directory, frozenset(own), self.clock, self._dice()))
        if spec is not None:
            self._store_specs[name] = attrs.evolve(spec, **PARK)

    @property
    def running_stores(self) -> Collection[str]:
        """The names of those stores that are children."""
        return self._store_specs.keys()

    def remove_queue(self, name: str) -> None:
        """Let go of a queue that does not run any more; what is in its store stays there."""
        defined = self.queues.pop(name)
        defined.actor.child_down("gone")
        let_go = getattr(self.stores[defined.handle.options.store], "let_go", None)
        if let_go is not None:
            let_go(name)

    def remove_store(self, name: str) -> None:
        """Let go of a store; what is in it outlasts that if it is durable."""
        self._store_specs.pop(name, None)
        self.stores.pop(name).close()

    def tree(self, config: Config, front_ends: list[ChildSpec]) -> list[ChildSpec]:
        """Return the runtime's own children, for a configuration of parts that are there.

        Args:
          config: It says what stands where.
          front_ends: What others reach the runtime by.
        """
        self.config = config
        stores = [self._store_specs[name] for name in config.stores if name in self._store_specs]
        placed = {
            (child.what, child.name)
            for supervisor in config.supervisors.values()
            for child in supervisor.children
        }
        queues = [
            spec
            for name in config.queues
            if ("queue", name) not in placed
            for spec in self.queues[name].specs(PARK)
        ]
        workers = [
            worker_spec(self.workers[name], PARK)
            for name in config.workers
            if ("worker", name) not in placed
        ]
        roots = [self._supervisor_spec(each, ChildOptions()) for each in config.roots]
        return [
            self.group_spec("stores", stores),
            self.group_spec("queues", queues),
            child_spec(
                "supervisors",
                roots,
                intensity=0,
                random=self._random,
                stopped=self.stopped["supervisors"],
            ),
            self.group_spec("workers", workers),
            *([self.group_spec("front_ends", front_ends)] if front_ends else []),
        ]

    def child_ids(self, supervisor: str) -> set[str]:
        """Return the ids of the children that a configured supervisor has by the configuration."""
        children = self.config.supervisors[supervisor].children
        return {spec.id for child in children for spec in self._child_specs(child)}

    def group_spec(self, name: str, children: list[ChildSpec]) -> ChildSpec:
        """Return one of the runtime's own groups."""
        return child_spec(
            name,
            children,
            intensity=GROUP_INTENSITY,
            period=GROUP_PERIOD,
            random=self._random,
            stopped=self.stopped[name],
        )

    def _supervisor_spec(self, config: SupervisorConfig, options: ChildOptions) -> ChildSpec:
        flags = config.flags
        children = [spec for child in config.children for spec in self._child_specs(child)]
        return child_spec(
            f"supervisor.{config.name}",
            children,
            strategy=flags.strategy,
            intensity=flags.intensity,
            period=flags.period,
            auto_shutdown=flags.auto_shutdown,
            random=self._random,
            stopped=self.stopped[f"supervisor.{config.name}"],
            **(ChildOptions(on_give_up=config.on_give_up) | config.options | options),
        )

    def _child_specs(self, child: ChildConfig) -> list[ChildSpec]:
        """Return the spec, or specs, that one entry of a supervisor table stands for."""
        match child.what:
            case "queue":
                specs = self.queues[child.name].specs(child.options)
            case "worker":
                specs = [worker_spec(self.workers[child.name], child.options)]
            case "supervisor":
                below = self.config.supervisors[child.name]
                specs = [self._supervisor_spec(below, child.options)]
            case _:
                start = cast("StartFunction", child.start)
                specs = [ChildSpec(id=child.id, start=start, args=child.args, **child.options)]
        return [attrs.evolve(specs[0], id=child.id), *specs[1:]]


PARK: Final = ChildOptions(on_give_up="park")


def worker_spec(worker: Worker, options: ChildOptions) -> ChildSpec:
    with_shutdown = ChildOptions(shutdown=worker.options.shutdown) | options
    return ChildSpec(id=f"worker.{worker.name}", start=worker, **with_shutdown)
