"""The runtime: the queues and workers of one program, under one supervisor tree, by name.

Here is what users do with it, and by which rules: that makes it long. What it consists of, and the
tree, is in `_parts`; how a child of it is found in `_children`; how it reloads in `_running`.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, Literal, overload

import structlog
import trio

from supervisors import (
    ChildNotFoundError,
    ChildRestartingError,
    ChildRunningError,
    ChildSpec,
    Supervisor,
    SupervisorStoppedError,
    Tree,
    did_you_mean,
    open_supervisor,
)

from ._children import Children
from ._client_requests import ClientRequests
from ._clock import Clock
from ._errors import QueueNotFoundError, WorkerNotFoundError
from ._front_ends import FrontEnds
from ._options import Checks, Target, make_options, same
from ._parts import PARK, Defined, Parts, worker_spec
from ._running import Running
from ._steps import at_once
from .queues import KINDS, AnyQueue, Options, Queue
from .workers import BATCH, Worker, WorkerOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Generator, Mapping
    from random import Random

    from ._overview import Overview
    from ._reload import ReloadResult
    from ._running import ConfigSource
    from .config import Config, Plan
    from .metrics import Metrics
    from .metrics._collect import Collector
    from .queues import (
        BatchQueue,
        CapacityQueue,
        ChannelQueue,
        LogQueue,
        MessageQueue,
        TimedQueue,
    )

ROOT_INTENSITY: Final = 0  # a configured supervisor that gives up ends the runtime


class Runtime:
    """Queues and workers by name. Made by `open_runtime`."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        random: Random | None = None,
        *,
        control: bool = False,
    ) -> None:
        self.config = config
        self.clock = clock
        self.opened_at = clock.now_ns()
        """Epoch nanoseconds since when it is there."""
        self._defining = trio.Lock()
        parts = self._parts = Parts(config, clock, random, self)
        self._stores = parts.stores
        self._queues = parts.queues
        self._workers = parts.workers
        self._collector: Collector | None = None  # made, and imported, when somebody asks
        children = self._children = Children(parts)
        front_ends = self._front_ends = FrontEnds(self, parts, control=control)
        running = self._running = Running(self, parts, children, front_ends, self._defining)
        self._client_requests = ClientRequests(self, children, front_ends, running)
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
        return self._children.root

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
        from .metrics._ready import descend

        return tuple(child.id for _, child in descend(self.tree()) if child.state == "parked")

    def metrics(self) -> Metrics:
        """Return the numbers of all queues, workers, stores and supervisors at this instant.

        Nobody is asked, and nothing is waited for: it costs by the number of queues, not of
        messages. The names, and how many there may be, are options: ``[metrics]``.
        """
        return at_once(self._metrics_steps())

    def overview(self) -> Overview:
        """Return all queues and workers, and what each is at, at this instant.

        As with `metrics`, nobody is asked, and nothing is waited for.
        """
        return at_once(self._overview_steps())

    def _overview_steps(self) -> Generator[None, None, Overview]:
        """Return what makes the overview, see `queueactors._overview.overview_steps`."""
        from ._overview import overview_steps

        return overview_steps(*self._watched())

    def _watched(self) -> tuple[list[Defined], list[Worker], list[Supervisor]]:
        """Return the queues, the workers and the supervisors that there are at this instant."""
        queues, workers = list(self._queues.values()), list(self._workers.values())
        return queues, workers, list(self._children.supervisors())

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """The host and port where the metrics are served; None: nowhere, or not at present."""
        server = self._front_ends.metrics
        return None if server is None else server.address

    def not_ready(self) -> tuple[str, ...]:
        """Return what is not up, a line each: what starts, restarts or is parked, failing stores.

        Empty: the runtime is ready. What an operator has stopped is not in it, but a store is: its
        queues answer nobody. A runtime that stops is not up as a whole.
        """
        if not self._children.is_open:
            return ("the runtime is starting",)
        from .metrics._ready import not_ready

        return tuple(not_ready(self.tree(), self._stores))

    async def wait(self) -> None:
        """Wait until the runtime ends."""
        await self._children.wait_open()
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
    async def define(self, name: str, *, kind: Literal["log"], **options: object) -> LogQueue: ...

    @overload
    async def define(
        self, name: str, *, kind: Literal["capacity"], **options: object
    ) -> CapacityQueue: ...

    @overload
    async def define(self, name: str, *, kind: str, **options: object) -> AnyQueue: ...

    async def define(self, name: str, *, kind: str = "timed", **options: object) -> Queue:
        """Define a queue and start it; return it once it is ready. The first definition stands.

        Cancelled, or failed: it is not defined. The queue that ``on_exhausted`` names must be
        defined before this one. (In a configuration, any order will do.)

        Args:
          name: The queue's.
          kind: Its kind: ``"timed"``, ``"message"``, ``"batch"``, ``"log"``, ``"capacity"`` or
            ``"channel"``.
          **options: The kind's: see `TimedOptions`, `MessageOptions`, `BatchOptions`,
            `LogOptions`, `CapacityOptions` and `ChannelOptions`.

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
            self._parts.check_dead_letter(name, given.dead_letter)
            self._warn(name, given)
            group = await self._children.group("queues")
            defined = self._parts.define(name, kind, given)
            specs = defined.specs(PARK)
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
            self.queue(queue_name)  # it may have been dropped meanwhile
            self._parts.check_worker(given)
            if name is None:
                name = _free_name(queue_name, self._workers)
            elif name in self._workers:
                raise ValueError(f"there is a worker {name!r} already; choose another name")
            worker = self._parts.add_worker(name, given)
            try:
                await (await self._children.group("workers")).start_child(worker_spec(worker, PARK))
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
        for supervisor, child in reversed(await self._children.find(name)):
            await supervisor.terminate_child(child)

    async def start(self, name: str) -> None:
        """Start what was stopped or parked. What runs already stays as it is.

        Arguments and errors as for `stop`.
        """
        for supervisor, child in await self._children.find(name):
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
            self._parts.check_unused(name)
            await self._children.take_out(f"queue.{name}")
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
            await self._children.take_out(f"worker.{name}")
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

    # -- reloading -----------------------------------------------------------------------------

    async def plan(self, config: ConfigSource = None) -> Plan:
        """Return what a reload would do; nothing happens.

        Args:
          config: As for `reload`.

        Raises:
          ConfigError: If the configuration has faults. What it has none of, and what yet cannot be
            done while the runtime runs, is in ``faults`` of the plan.
          ReloadRefusedError: If the runtime is starting or stopping.
          ValueError: If ``config`` is None, and the runtime was not opened from a file.
        """
        return await self._running.plan(config)

    async def reload(
        self, config: ConfigSource = None, *, removed: Literal["drain", "keep"] = "drain"
    ) -> ReloadResult:
        """Change what runs to another configuration, and restart only what must be.

        All is checked first: if anything is wrong, nothing has changed. Handles stay valid, and no
        message and no waiting caller is lost; those of a queue that is taken out get
        `supervisors.ActorDownError`. What is defined from code, and what an operator has stopped,
        stays as it is. Cancelled once it has begun: it goes on to its end.

        Args:
          config: As for `open_runtime`. None: the file that the runtime was opened with, read
            again.
          removed: What becomes of queues that are not in it any more. ``"drain"``: they take
            nothing in, and they and their workers go when they are empty. ``"keep"``: they go now.
            A durable store keeps what is in them in any case.

        Returns:
          What has become of each part that changed. One that did not start is parked, and in
          ``failed``.

        Raises:
          ConfigError: If the configuration has faults, or something in it cannot be changed while
            the runtime runs. Nothing has changed.
          ReloadRefusedError: If another reload is under way, or the runtime is starting or
            stopping.
          supervisors.SupervisorStoppedError: If the runtime ends meanwhile.
          ValueError: If ``config`` is None, and the runtime was not opened from a file.
        """
        if removed not in ("drain", "keep"):
            raise ValueError(f"expected removed to be 'drain' or 'keep', got {removed!r}")
        return await self._running.reload(config, removed)

    def _metrics_steps(self) -> Generator[None, None, Metrics]:
        options = self._running.config.metrics  # a reload may have changed them
        if self._collector is None or self._collector.options != options:
            from .metrics._collect import Collector

            self._collector = Collector(options, self._parts.turns)
        return self._collector.steps(
            [(each.kind, each.actor) for each in self._queues.values()],
            self.workers(),
            self._stores,
            tuple(self._children.supervisors()) if self._children.is_open else (),
        )

    def _same(self, known: Defined, kind: str, given: Options) -> Queue:
        """Return a queue that is there already, if the new definition can be its own."""
        name = known.handle.name
        if kind != known.kind or given.store != known.handle.options.store:
            raise ValueError(
                f"queue {name!r} is defined already, with kind {known.kind!r} "
                f"and store {known.handle.options.store!r}"
            )
        if not same(given, known.handle.options):
            self._log.warning("definition_ignored", queue=name)
        return known.handle

    def _warn(self, name: str, options: Options) -> None:
        """Log what is valid and yet likely to surprise, as for a configuration."""
        for option, message in options.traps:
            path = f"queue.{name}.{option}"
            self._log.warning("config_warning", file=None, line=None, path=path, message=message)

    @asynccontextmanager
    async def _open(
        self, *, signals: bool | AsyncIterable[int], random: Random | None
    ) -> AsyncIterator[None]:
        """Run all that is configured around the body; for `open_runtime`."""
        try:
            async with open_supervisor(
                self._specs(),
                intensity=ROOT_INTENSITY,
                name=self.config.runtime.name,
                signals=signals,
                random=random,
            ) as root:
                self._children.open(root)
                yield
        finally:
            for store in self._stores.values():
                store.close()

    def _specs(self) -> list[ChildSpec]:
        """Return the runtime's own children, the groups, with all that is configured in them."""
        self._front_ends.specs = self._front_ends.make(self.config)
        return self._parts.specs(self._front_ends.specs)


async def _remove(supervisor: Supervisor, specs: list[ChildSpec]) -> None:
    """Stop and forget those children that are there."""
    for spec in reversed(specs):
        with suppress(ChildNotFoundError, SupervisorStoppedError):
            await supervisor.terminate_child(spec.id)
            await supervisor.delete_child(spec.id)


def _free_name(stem: str, taken: Mapping[str, object]) -> str:
    name, number = stem, 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    return name


@asynccontextmanager
async def open_runtime(
    config: ConfigSource = None,
    *,
    clock: Clock | None = None,
    random: Random | None = None,
    signals: bool | AsyncIterable[int] = False,
    control: bool = False,
) -> AsyncIterator[Runtime]:
    """Run a runtime around the body of an ``async with``.

    The body starts once everything configured is up. When it ends, or is cancelled, everything
    is stopped in reverse order: workers first, finishing what they have begun.

    Args:
      config: A TOML file, the same tables as a mapping, a `Config`, or None: nothing yet.
      clock: None: one that starts at the system's time.
      random: For the jitter of backoffs; None: a new one.
      signals: SIGINT and SIGTERM stop the runtime in order, a second one at once. Only in the
        main thread. Or what iterates over them, if the program has taken them over itself.
      control: Serve the control socket also if the configuration does not say where: that is what
        ``queueactors run`` does. If it says ``socket = false``, there is none.

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
    runtime = Runtime(config, Clock.open() if clock is None else clock, random, control=control)
    async with runtime._open(signals=signals, random=random):  # noqa: SLF001 - the two are one thing
        yield runtime
