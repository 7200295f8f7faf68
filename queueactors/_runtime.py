"""The runtime: the queues and workers of one program, under one supervisor tree, by name.

The tree: the runtime's own supervisor over the groups ``stores``, ``queues``, ``supervisors``,
``workers`` and ``front_ends``, started in this order and stopped in reverse. What a configured
supervisor places hangs under it, everything else under its group. A crash in one group does not
restart another: the mailboxes bridge it.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final, Literal, cast, overload

import attrs
import structlog
import trio

from supervisors import (
    ChildNotFoundError,
    ChildOptions,
    ChildRestartingError,
    ChildRunningError,
    ChildSpec,
    Mailbox,
    StartFunction,
    Supervisor,
    SupervisorStoppedError,
    Tree,
    child_spec,
    did_you_mean,
    open_supervisor,
)

from ._clock import Clock
from ._codecs import Values
from ._errors import QueueNotFoundError, WorkerNotFoundError
from ._histogram import Doubling
from ._options import Checks, Target, make_options
from .queues import BATCH as TURN
from .queues import KINDS, AnyQueue, Errands, Options, Queue, QueueActor, TimedOptions
from .stores import Place
from .workers import BATCH, Worker, WorkerOptions, unfit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping
    from os import PathLike

    from .config import ChildConfig, Config, SupervisorConfig
    from .cores.timed import DeadLetter
    from .engines import Engine, Parked
    from .metrics import Metrics
    from .metrics._collect import Collector
    from .metrics._server import MetricsServer
    from .queues import BatchQueue, ChannelQueue, MessageQueue, TimedQueue
    from .stores import Store

# What hangs under a group is parked rather than given up: one poisoned queue must not end all.
GROUP_INTENSITY: Final = 8
GROUP_PERIOD: Final = 60.0  # seconds
ROOT_INTENSITY: Final = 0  # a configured supervisor that gives up ends the runtime


@attrs.define(eq=False)
class _Defined:
    """A queue that the runtime knows."""

    kind: str
    handle: Queue
    actor: QueueActor
    beside: Mapping[str, StartFunction]  # by sort: what else it consists of

    def specs(self, options: ChildOptions) -> list[ChildSpec]:
        """Return the children that the queue consists of."""
        name = self.handle.name  # may end in anything: what tells the two apart comes first
        specs = [ChildSpec(id=f"queue.{name}", start=self.actor, **options)]
        for sort, start in self.beside.items():
            specs.append(ChildSpec(id=f"{sort}.{name}", start=start, **options))
        return specs


class Runtime:
    """Queues and workers by name. Made by `open_runtime`."""

    def __init__(self, config: Config, clock: Clock, random: Random | None = None) -> None:
        self.config = config
        self.clock = clock
        self._random = random
        self._supervisor: Supervisor | None = None
        self._opened = trio.Event()  # handlers run, and may call, before all is up
        self._defining = trio.Lock()
        self._stores: dict[str, Store] = {}
        self._queues: dict[str, _Defined] = {}
        self._workers: dict[str, Worker] = {}
        self._turns = Doubling(TURN)
        self._collector: Collector | None = None  # made, and imported, when somebody asks
        self._metrics_server: MetricsServer | None = None
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger("queueactors")

    def __repr__(self) -> str:
        queues, workers = len(self._queues), len(self._workers)
        return f"<Runtime {self.config.runtime.name!r}, {queues} queues, {workers} workers>"

    @property
    def supervisor(self) -> Supervisor:
        """The root of the tree.

        Raises:
          RuntimeError: If the runtime is still starting.
        """
        if self._supervisor is None:
            raise RuntimeError("the runtime is still starting")
        return self._supervisor

    # -- look-up -------------------------------------------------------------------------------

    def queue(self, name: str) -> AnyQueue:
        """Return the queue of that name, such as a `TimedQueue` or a `BatchQueue`.

        Raises:
          QueueNotFoundError: If there is none; it suggests the nearest name.
        """
        defined = self._queues.get(name)
        if defined is None:
            raise QueueNotFoundError(name, tuple(self._queues))
        return defined.handle

    def worker(self, name: str) -> Worker:
        """Return the worker of that name.

        Raises:
          WorkerNotFoundError: If there is none; it suggests the nearest name.
        """
        worker = self._workers.get(name)
        if worker is None:
            raise WorkerNotFoundError(name, tuple(self._workers))
        return worker

    def queues(self) -> tuple[Queue, ...]:
        """Return all queues, in the order of their definition."""
        return tuple(defined.handle for defined in self._queues.values())

    def workers(self) -> tuple[Worker, ...]:
        """Return all workers, in the order of their definition."""
        return tuple(self._workers.values())

    def queue_names(self, pattern: str = "*") -> tuple[str, ...]:
        """Return the names of the queues that match a shell pattern, sorted."""
        return tuple(sorted(name for name in self._queues if fnmatchcase(name, pattern)))

    def tree(self) -> Tree:
        """Return the supervisor tree at this instant; ``str()`` draws it."""
        return self.supervisor.tree()

    def parked(self) -> tuple[str, ...]:
        """Return the ids of the children that failed too often and wait for an operator."""
        return tuple(
            info.id
            for supervisor in _supervisors(self.supervisor)
            for info in supervisor.which_children()
            if info.state == "parked"
        )

    def metrics(self) -> Metrics:
        """Return the numbers of all queues, workers, stores and supervisors at this instant.

        Nobody is asked, and nothing is waited for: it costs by the number of queues, not of
        messages. The names, and how many there may be, are options: ``[metrics]``.
        """
        steps = self._metrics_steps()
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return cast("Metrics", end.value)

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """The host and port where the metrics are served; None: nowhere, or not at present."""
        return None if self._metrics_server is None else self._metrics_server.address

    def not_ready(self) -> tuple[str, ...]:
        """Return what is not up, a line each: what starts, restarts or is parked, failing stores.

        Empty: the runtime is ready. What an operator has stopped is not in it.
        """
        if self._supervisor is None:
            return ("the runtime is starting",)
        from .metrics._ready import not_ready

        return tuple(not_ready(_supervisors(self._supervisor), self._stores))

    async def wait(self) -> None:
        """Wait until the runtime ends."""
        await self._opened.wait()
        await self.supervisor.wait()

    # -- definition ----------------------------------------------------------------------------

    @overload
    async def define(
        self, name: str, *, kind: Literal["timed"] = ..., **options: object
    ) -> TimedQueue: ...

    @overload
    async def define(
        self, name: str, *, kind: Literal["message"], **options: object
    ) -> MessageQueue: ...

    @overload
    async def define(
        self, name: str, *, kind: Literal["channel"], **options: object
    ) -> ChannelQueue: ...

    @overload
    async def define(
        self, name: str, *, kind: Literal["batch"], **options: object
    ) -> BatchQueue: ...

    @overload
    async def define(self, name: str, *, kind: str, **options: object) -> AnyQueue: ...

    async def define(self, name: str, *, kind: str = "timed", **options: object) -> Queue:
        """Define a queue and start it; return it once it is ready. The first definition stands.

        Cancelled, or failed: it is not defined. The queue that ``on_exhausted`` names must be
        defined before this one. (In a configuration, any order will do.)

        Args:
          name: The queue's.
          kind: Its kind: ``"timed"``, ``"message"``, ``"batch"`` or ``"channel"``.
          **options: The kind's: see `TimedOptions`, `MessageOptions`, `BatchOptions` and
            `ChannelOptions`.

        Raises:
          OptionsError: If an option breaks its rule.
          TypeError: If there is no such option, or a required one is missing.
          ValueError: If there is no such kind or store, or the store cannot keep the kind; or no
            queue that ``on_exhausted`` names, or it names this one; or if the queue is
            defined already with another kind or store. (With another option: that is logged, the
            first stands.)
          supervisors.ChildStartError: If its store does not open it.
          supervisors.SupervisorStoppedError: If the runtime has ended, or is about to.
        """
        if kind not in (*KINDS,):  # it may be what cannot be hashed
            known = ", ".join(KINDS)
            raise ValueError(f"expected kind to be one of {known}, got {kind!r}")
        checks = Checks()
        checks.string("name", name)
        checks.done()
        given: Options = make_options(KINDS[kind].options, **options)
        if given.store not in self._stores:
            hint = did_you_mean(given.store, self._stores)
            raise ValueError(f"queue {name!r}: there is no store {given.store!r}{hint}")
        async with self._defining:  # another definition of it may still fail
            known_one = self._queues.get(name)
            if known_one is not None:
                return self._same(known_one, kind, given)
            self._check_dead_letter(name, given.dead_letter)
            self._warn(name, given)
            group = await self._group("queues")
            defined = self._define(name, kind, given)
            specs = defined.specs(_PARK)
            try:
                for spec in specs:
                    await group.start_child(spec)
            except BaseException:
                del self._queues[name]
                with trio.CancelScope(shield=True):
                    await _remove(group, specs)
                defined.actor.child_down("gone")  # somebody may have looked it up
                raise
            return defined.handle

    async def start_worker(
        self, queue: Queue | str, handler: Target, *, name: str | None = None, **options: object
    ) -> Worker:
        """Start a worker and return it once it takes messages.

        Args:
          queue: The queue, or its name.
          handler: Called with one `Delivery`; async or plain.
          name: The worker's. None: the queue's name, numbered if that is taken.
          **options: More, see `WorkerOptions`.

        Raises:
          QueueNotFoundError: If there is no such queue.
          OptionsError: If an option breaks its rule.
          TypeError: If there is no such option, or a required one is missing.
          ValueError: If there is a worker of that name, or the queue is another runtime's, or an
            option is not for its kind, or there is no queue that ``dead_letter`` names.
          supervisors.SupervisorStoppedError: If the runtime has ended, or is about to.
        """
        queue_name = queue if isinstance(queue, str) else queue.name
        if self.queue(queue_name) is not queue and not isinstance(queue, str):
            raise ValueError(
                f"queue {queue_name!r} is of another runtime; give the name of one here"
            )
        given = make_options(WorkerOptions, queue=queue_name, handler=handler, **options)
        async with self._defining:  # its queue may be about to be dropped, and it be removed
            self._check_worker(given)
            if name is None:
                name = _free_name(queue_name, self._workers)
            elif name in self._workers:
                raise ValueError(f"there is a worker {name!r} already; choose another name")
            worker = self._add_worker(name, given)
            try:
                await (await self._group("workers")).start_child(_worker_spec(worker, _PARK))
            except BaseException:
                del self._workers[name]
                raise
            return worker

    async def spawn_task(
        self, queue: Queue | str, handler: Target, *, batch: int = BATCH, **options: object
    ) -> Worker:
        """Start a worker that gets what is in a channel in lists: seed 000's word.

        Args:
          queue: The channel, or its name.
          handler: Called with one `Delivery`, whose value is a list.
          batch: How many values a list has at most (>= 1).
          **options: More, see `start_worker` and `WorkerOptions`.

        Raises what `start_worker` does; `ValueError` also if the queue is no channel.
        """
        return await self.start_worker(queue, handler, batch=batch, **options)  # type: ignore[arg-type] # by name

    # -- operation -----------------------------------------------------------------------------

    async def stop(self, name: str) -> None:
        """Stop a queue, a worker, or any other child; it stays stopped. Nothing is lost.

        Args:
          name: The queue's or worker's name, also as ``queue.<name>`` or ``worker.<name>``; or
            the id of any child in the tree, or its path.

        Raises:
          LookupError: If there is no such child in the tree, or its supervisor does not run.
          ValueError: If that name, or id, means several; the message says what to give instead.
        """
        for supervisor, child in reversed(await self._places(name)):
            await supervisor.terminate_child(child)

    async def start(self, name: str) -> None:
        """Start what was stopped or parked. What runs already stays as it is.

        Arguments and errors as for `stop`.
        """
        for supervisor, child in await self._places(name):
            with suppress(ChildRunningError, ChildRestartingError):
                await supervisor.restart_child(child)

    async def restart(self, name: str) -> None:
        """Stop and start. Messages, reservations and waiting callers are kept.

        Those who wait for a message or an answer get `supervisors.ActorDownError`. Cancelled in
        between, it stays stopped.
        Arguments and errors as for `stop`.
        """
        await self.stop(name)
        await self.start(name)

    async def drop(self, name: str) -> None:
        """Forget a queue and all that it holds, also in a durable store, for good.

        Those who wait for it get `supervisors.ActorDownError`. Cancelled: it is stopped, and may
        still be there; call it again.

        Args:
          name: The queue's.

        Raises:
          QueueNotFoundError: If there is no such queue.
          ValueError: If a worker feeds on it, or another queue's dead letters go there.
          StoreError: If its store failed. The queue is stopped, and still there.
        """
        async with self._defining:  # nobody else defines or drops, or starts a worker
            defined = self._queues.get(name)
            if defined is None:
                raise QueueNotFoundError(name, tuple(self._queues))
            self._check_unused(name)
            await self._take_out(f"queue.{name}")
            defined.actor.child_down("gone")
            await self._stores[defined.handle.options.store].forget(name)
            del self._queues[name]

    async def remove_worker(self, name: str) -> None:
        """Stop a worker and forget it. Its handlers get its ``shutdown`` seconds to finish.

        Cancelled: it is stopped, and may still be there; call it again.

        Args:
          name: The worker's.

        Raises:
          WorkerNotFoundError: If there is no such worker.
        """
        async with self._defining:
            worker = self.worker(name)
            await self._take_out(f"worker.{name}")
            del self._workers[worker.name]

    async def clear_queues(self, *names: str) -> tuple[str, ...]:
        """Remove all messages of some queues; return the names of those that held any.

        Raises:
          QueueNotFoundError: If there is no such queue; nothing was cleared.
        """
        queues = [self.queue(name) for name in names]
        return tuple([queue.name for queue in queues if await queue.clear()])

    async def clear_all_queues(self) -> tuple[str, ...]:
        """Remove all messages; return the names of the queues that held any."""
        return await self.clear_queues(*self._queues)

    # -- helpers -------------------------------------------------------------------------------

    def _metrics_steps(self) -> Generator[None, None, Metrics]:
        if self._collector is None:
            from .metrics._collect import Collector

            self._collector = Collector(self.config.metrics, self._turns)
        return self._collector.steps(
            [(each.kind, each.actor) for each in self._queues.values()],
            self.workers(),
            self._stores,
            () if self._supervisor is None else tuple(_supervisors(self._supervisor)),
        )

    def _same(self, known: _Defined, kind: str, given: Options) -> Queue:
        """Return a queue that is there already, if the new definition can be its own."""
        name = known.handle.name
        if kind != known.kind or given.store != known.handle.options.store:
            raise ValueError(
                f"queue {name!r} is defined already, with kind {known.kind!r} "
                f"and store {known.handle.options.store!r}"
            )
        if not _equal(given, known.handle.options):
            self._log.warning("definition_ignored", queue=name)
        return known.handle

    def _check_dead_letter(self, name: str, target: str | None) -> None:
        """Refuse what ``on_exhausted`` names, by the rules of a configuration.

        Raises:
          ValueError: If it is no queue that can get dead letters.
        """
        if target == name:
            raise ValueError(
                f"queue {name!r}: a queue cannot be its own dead letter queue; use 'bury' or 'drop'"
            )
        if target is not None and target not in self._queues:
            hint = did_you_mean(target, ["drop", "bury", *self._queues])
            raise ValueError(
                f"queue {name!r}: there is no queue {target!r} for on_exhausted{hint}; "
                "define it first"
            )

    def _warn(self, name: str, options: Options) -> None:
        """Log what is valid and yet likely to surprise, as for a configuration."""
        for option, message in options.traps:
            path = f"queue.{name}.{option}"
            self._log.warning("config_warning", file=None, line=None, path=path, message=message)

    def _check_unused(self, name: str) -> None:
        """Refuse to drop a queue that others need.

        Raises:
          ValueError: If a worker feeds on it, or another queue's dead letters go there.
        """
        for worker in self._workers.values():
            if worker.options.queue == name:
                raise ValueError(f"worker {worker.name!r} feeds on queue {name!r}; remove it first")
            if worker.options.dead_letter == name:
                raise ValueError(f"dead letters of worker {worker.name!r} go to queue {name!r}")
        for other in self._queues.values():
            if other.handle.options.dead_letter == name:
                raise ValueError(
                    f"dead letters of queue {other.handle.name!r} go to queue {name!r}; "
                    "drop that one first"
                )

    def _define(self, name: str, kind: str, options: Options) -> _Defined:
        parts = KINDS[kind]
        store = self._stores[options.store]
        values = None
        if store.durable:
            codec = options.codec_made
            if codec is None:
                raise ValueError(
                    f"queue {name!r}: a {kind} is kept in memory only, "
                    f"and store {options.store!r} is durable"
                )
            values = Values(codec)
        kept = parts.kind(name, options, values)

        def open_engine(parked: Parked) -> Awaitable[Engine]:
            return store.open_engine(name, kept, parked)

        mailbox = Mailbox(name, options.mailbox)
        actor = QueueActor(name, self.clock, mailbox, open_engine, self._turns)
        handle = parts.handle(actor, options, kept, self._dice())
        beside: dict[str, StartFunction] = {}
        refill = options if isinstance(options, TimedOptions) and options.sync_fn else None
        if refill is not None or options.dead_letter is not None:
            deliver = self._deliverer(name, options)
            beside["errands"] = Errands(actor, refill, deliver, kept.values)
        defined = self._queues[name] = _Defined(kind, handle, actor, beside | handle.companions)
        return defined

    def _dice(self) -> Random:
        return Random() if self._random is None else self._random  # noqa: S311 - for waits

    def _deliverer(
        self, name: str, options: Options
    ) -> Callable[[DeadLetter], Awaitable[object]] | None:
        target = options.dead_letter
        if target is None:
            return None

        async def deliver(letter: DeadLetter) -> object:
            queue = self.queue(target)
            if queue.options.store == options.store and KINDS[queue.kind].table is not None:
                return await queue._take_over(letter, name)  # noqa: SLF001 - the two are one thing
            return await queue._accept(letter)  # noqa: SLF001 - likewise

        return deliver

    def _check_worker(self, options: WorkerOptions) -> None:
        """Refuse what a configuration refuses, too.

        Raises:
          ValueError: If an option is not for the queue's kind, or names no queue.
        """
        for _, told in unfit(options, self.queue(options.queue).kind):
            raise ValueError(told)
        target = options.dead_letter
        if target is not None and target not in self._queues:
            hint = did_you_mean(target, self._queues)
            raise ValueError(f"there is no queue {target!r} for dead_letter{hint}; define it first")

    def _add_worker(self, name: str, options: WorkerOptions) -> Worker:
        queue = self.queue(options.queue)
        worker = self._workers[name] = Worker(name, queue, options, self, self._dice())
        return worker

    def _specs(self) -> list[ChildSpec]:
        """Define everything that the configuration names; return the runtime's own children."""
        config = self.config
        self._stores = {
            name: cast("Store", each.factory(**each.options))
            for name, each in config.stores.items()
        }
        directory = Path(config.runtime.data_dir)
        random = self._dice()
        stores = []
        for name, store in self._stores.items():
            own = [each.name for each in config.queues.values() if each.options.store == name]
            spec = store.child(Place(name, directory, frozenset(own), self.clock, random))
            if spec is not None:
                stores.append(spec)
        for name, queue in config.queues.items():
            self._define(name, queue.kind, queue.options)
        for name, options in config.workers.items():
            self._add_worker(name, options)
        placed = {
            (child.what, child.name)
            for supervisor in config.supervisors.values()
            for child in supervisor.children
        }
        queues = [
            spec
            for name, defined in self._queues.items()
            if ("queue", name) not in placed
            for spec in defined.specs(_PARK)
        ]
        workers = [
            _worker_spec(worker, _PARK)
            for name, worker in self._workers.items()
            if ("worker", name) not in placed
        ]
        roots = [self._supervisor_spec(each, ChildOptions()) for each in config.roots]
        return [
            self._group_spec("stores", [attrs.evolve(spec, **_PARK) for spec in stores]),
            self._group_spec("queues", queues),
            child_spec("supervisors", roots, intensity=0, random=self._random),
            self._group_spec("workers", workers),
            *self._front_ends(),
        ]

    def _front_ends(self) -> list[ChildSpec]:
        """Return the group of what others reach the runtime by; none, if there is nothing."""
        listen = self.config.metrics.listen
        if listen is None:
            return []
        from .metrics._server import MetricsServer  # which needs an extra

        self._metrics_server = MetricsServer(listen, self._metrics_steps, self.not_ready)
        spec = ChildSpec(id="metrics", start=self._metrics_server, **_PARK)
        return [self._group_spec("front_ends", [spec])]

    def _group_spec(self, name: str, children: list[ChildSpec]) -> ChildSpec:
        return child_spec(
            name, children, intensity=GROUP_INTENSITY, period=GROUP_PERIOD, random=self._random
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
            **(ChildOptions(on_give_up=config.on_give_up) | config.options | options),
        )

    def _child_specs(self, child: ChildConfig) -> list[ChildSpec]:
        """Return the spec, or specs, that one entry of a supervisor table stands for."""
        match child.what:
            case "queue":
                specs = self._queues[child.name].specs(child.options)
            case "worker":
                specs = [_worker_spec(self._workers[child.name], child.options)]
            case "supervisor":
                below = self.config.supervisors[child.name]
                specs = [self._supervisor_spec(below, child.options)]
            case _:
                start = cast("StartFunction", child.start)
                specs = [ChildSpec(id=child.id, start=start, args=child.args, **child.options)]
        return [attrs.evolve(specs[0], id=child.id), *specs[1:]]

    async def _group(self, name: str) -> Supervisor:
        await self._opened.wait()
        group = self.supervisor.value_of(name)
        if not isinstance(group, Supervisor):
            raise SupervisorStoppedError(f"{self.supervisor.path}/{name}")
        return group

    async def _places(self, name: str) -> list[tuple[Supervisor, str]]:
        """Return where the children are that a name means, in start order."""
        await self._opened.wait()
        starts = self._starts(name)
        everything = [
            (supervisor, supervisor.get_childspec(info.id))
            for supervisor in _supervisors(self.supervisor)
            for info in supervisor.which_children()
        ]
        if starts:
            found = [
                (supervisor, spec.id)
                for supervisor, spec in everything
                if any(spec.start is start for start in starts)
            ]
            if not found:
                raise LookupError(
                    f"{name!r} is not in the tree: it has ended, or its supervisor does not run"
                )
            return found
        paths = {
            f"{supervisor.path}/{spec.id}": (supervisor, spec.id) for supervisor, spec in everything
        }
        named = [path for path, (_, child) in paths.items() if name in {path, child}]
        if not named:
            known = [*self._queues, *self._workers, *(spec.id for _, spec in everything)]
            raise LookupError(f"there is no child {name!r}{did_you_mean(name, known)}")
        if len(named) > 1:
            raise ValueError(f"there are several children {name!r}; say one of {', '.join(named)}")
        return [paths[named[0]]]

    async def _take_out(self, name: str) -> None:
        """Stop the children that a name means, and take them out of the tree."""
        with suppress(LookupError):  # it may be in no tree any more
            for supervisor, child in reversed(await self._places(name)):
                await supervisor.terminate_child(child)
                await supervisor.delete_child(child)

    def _starts(self, name: str) -> list[object]:
        """Return the start functions of the queue or worker that a name means, if it means one."""
        if name in self._queues and name in self._workers:
            raise ValueError(
                f"{name!r} is a queue and a worker; say 'queue.{name}' or 'worker.{name}'"
            )
        queue = self._queues.get(name) or self._queues.get(name.removeprefix("queue."))
        worker = self._workers.get(name) or self._workers.get(name.removeprefix("worker."))
        if queue is not None:
            return [queue.actor, *queue.beside.values()]
        return [] if worker is None else [worker]


def _equal(one: Options, other: Options) -> bool:
    """Return whether two definitions say the same; with values such as arrays nobody can tell."""
    try:
        return one == other
    except Exception:  # noqa: BLE001 - a value's own __eq__
        return False


async def _remove(supervisor: Supervisor, specs: list[ChildSpec]) -> None:
    """Stop and forget those children that are there."""
    for spec in reversed(specs):
        with suppress(ChildNotFoundError, SupervisorStoppedError):
            await supervisor.terminate_child(spec.id)
            await supervisor.delete_child(spec.id)


_PARK: Final = ChildOptions(on_give_up="park")


def _worker_spec(worker: Worker, options: ChildOptions) -> ChildSpec:
    with_shutdown = ChildOptions(shutdown=worker.options.shutdown) | options
    return ChildSpec(id=f"worker.{worker.name}", start=worker, **with_shutdown)


def _free_name(stem: str, taken: Mapping[str, object]) -> str:
    name, number = stem, 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    return name


def _supervisors(root: Supervisor) -> Iterator[Supervisor]:
    """Yield a supervisor and those below it."""
    yield root
    for below in root.supervisors():
        yield from _supervisors(below)


@asynccontextmanager
async def open_runtime(
    config: str | PathLike[str] | Mapping[str, object] | Config | None = None,
    *,
    clock: Clock | None = None,
    random: Random | None = None,
    signals: bool = False,
) -> AsyncIterator[Runtime]:
    """Run a runtime around the body of an ``async with``.

    The body starts once everything configured is up. When it ends, or is cancelled, everything
    is stopped in reverse order: workers first, finishing what they have begun.

    Args:
      config: A TOML file, the same tables as a mapping, a `Config`, or None: nothing yet.
      clock: None: one that starts at the system's time.
      random: For the jitter of backoffs; None: a new one.
      signals: SIGINT and SIGTERM stop the runtime in order, a second one at once. Only in the
        main thread.

    Yields:
      The `Runtime`.

    Raises:
      ConfigError: If the configuration has faults: all of them. Nothing was started.
      supervisors.ChildStartError: If something did not start.
      supervisors.RestartIntensityError: If a configured supervisor gave up.
    """
    from .config import load_config  # importing this package must not cost it

    config = load_config(config)
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger("queueactors")
    for each in config.warnings:
        log.warning(
            "config_warning", file=each.file, line=each.line, path=each.path, message=each.message
        )
    runtime = Runtime(config, Clock.open() if clock is None else clock, random)
    try:
        async with open_supervisor(
            runtime._specs(),  # noqa: SLF001 - the two are one thing
            intensity=ROOT_INTENSITY,
            name=runtime.config.runtime.name,
            signals=signals,
            random=random,
        ) as runtime._supervisor:  # noqa: SLF001
            runtime._opened.set()  # noqa: SLF001
            yield runtime
    finally:
        for store in runtime._stores.values():  # noqa: SLF001
            store.close()
