"""A worker: feeds a queue's messages to your function, some at a time.

One task takes messages, as many as handlers are free; each runs in a task of its own; one more
task keeps what they have from expiring. A handler that raises never harms the worker or the queue.
Asked to stop, the worker takes nothing more and waits for its handlers; when its ``shutdown``
seconds are over they are cancelled, and their messages given back, as if they had not been taken.

How kinds of queues differ is in `_sources`, how messages are picked up in `_pick_up`, what becomes
of one in `_handling`. Here is what holds these together, over restarts, stops and starts.
"""

from __future__ import annotations

from contextlib import suppress
from math import inf
from random import Random
from typing import TYPE_CHECKING, Any, Final, cast

import attrs
import structlog
import trio

from queueactors._errors import ClaimLostError, QueueActorsError, ReservationError
from queueactors._insist import insist
from queueactors._options import check_integer
from supervisors import ActorError, bare_nursery, describe

from ._answers import Answers
from ._handling import GRACE, Handling
from ._paces import Paces
from ._pick_up import PickUps
from ._sources import Source, make_source
from ._statistics import WorkerCounters, WorkerStatistics

if TYPE_CHECKING:
    from queueactors.queues import AnyQueue
    from supervisors import ChildStatus, DownReason

    from ._delivery import Delivery
    from ._options import WorkerOptions

KEEP_ALIVE: Final = 3  # what a handler has is extended this often in its time
EARLY: Final = 0.8  # of its time: with more than that left it is not; with 2/3, it must be

Log = structlog.typing.FilteringBoundLogger
AnyRuntime = Any  # type: ignore[explicit-any] # a `Runtime`, which is built on this


@attrs.frozen(kw_only=True)
class WorkerStatus:
    """What a worker does, and has done since it was defined.

    Args:
      running: Whether it takes messages.
      concurrency: How many handlers may run at a time.
      busy: How many messages have a handler now.
      restarts: How often the worker itself was restarted.
      statistics: Times, sizes and counts.
    """

    running: bool
    concurrency: int
    busy: int
    restarts: int
    statistics: WorkerStatistics


@attrs.define(eq=False)
class Worker:
    """Runs handlers for the messages of one queue: a child's start function.

    Args:
      name: The worker's.
      queue: Where the messages are from.
      options: What to run, and how.
      runtime: The `Runtime`; given to the handler with each delivery.
      random: For the jitter of waits.
    """

    name: str
    queue: AnyQueue
    options: WorkerOptions
    runtime: AnyRuntime = None
    random: Random = attrs.field(factory=Random, repr=False)
    _source: Source = attrs.field(init=False)
    _paces: Paces = attrs.field(init=False)
    _answers: Answers = attrs.field(init=False)
    _handling: Handling = attrs.field(init=False)
    _pick_ups: PickUps = attrs.field(init=False)
    _counters: WorkerCounters = attrs.field(factory=WorkerCounters, init=False)
    _concurrency: int = attrs.field(init=False)
    _busy: set[Delivery] = attrs.field(factory=set, init=False)  # until the queue has heard of it
    _hands: int = attrs.field(default=0, init=False)  # that handle one of those now
    _changed: trio.lowlevel.ParkingLot = attrs.field(
        factory=trio.lowlevel.ParkingLot, init=False
    )  # whoever waits for a change in all this
    _on: bool = attrs.field(init=False)  # nobody has said `stop`
    _on_at: float = attrs.field(
        default=inf, init=False
    )  # on trio's clock: when it starts by itself
    _alive: bool = attrs.field(default=False, init=False)  # there is an incarnation
    _ending: bool = attrs.field(default=False, init=False)  # its supervisor has asked it to stop
    _serving: bool = attrs.field(default=False, init=False)  # it takes messages, or drains
    _starts: int = attrs.field(default=0, init=False)
    _intake: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _keeping: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _keep_at: float = attrs.field(default=inf, init=False)  # when something must be extended

    def __attrs_post_init__(self) -> None:
        self._concurrency = self.options.concurrency
        self._on = self.options.auto_start is True
        self._make()

    def _make(self) -> None:
        """Make what an incarnation is made of."""
        options, counters = self.options, self._counters
        source = self._source = make_source(self.queue, options.batch, self.runtime)
        paces = self._paces = Paces(options, self.random)
        answers = self._answers = Answers(options, self.queue.kind == "message", paces, counters)
        self._handling = Handling(options, source, answers, counters, self.runtime, self._freed)
        self._pick_ups = PickUps(self.name, options, source, paces, counters)

    def reconfigure(self, options: WorkerOptions) -> None:
        """Go by other options from now on, but for those that `rebuild` is for.

        Handlers that run go on, and end as they would have. What `scale` said counts until the
        options say another number than before.
        """
        before, self.options = self.options, options
        self._paces.options = self._answers.options = options
        self._handling.reconfigure(options)
        self._pick_ups.reconfigure(options, before)
        if options.concurrency != before.concurrency:
            self._concurrency = options.concurrency
        self._pick_ups.interrupt()
        self._changed.unpark_all()

    def rebuild(self, queue: AnyQueue, options: WorkerOptions) -> None:
        """Feed another queue, or another handler, from the next incarnation on: none runs now."""
        self.child_down("stopped")
        ended = self._handling.ended
        if options.concurrency != self.options.concurrency:
            self._concurrency = options.concurrency
        self.queue, self.options = queue, options
        self._make()
        self._handling.ended = ended

    def __repr__(self) -> str:
        return f"<Worker {self.name!r} of queue {self.queue.name!r}, {len(self._busy)} busy>"

    # -- for operators -------------------------------------------------------------------------

    def status(self) -> WorkerStatus:
        """Return what it does, and its numbers."""
        return WorkerStatus(
            running=self.is_running,
            concurrency=self._concurrency,
            busy=len(self._busy),
            restarts=self.restarts,
            statistics=self._counters.statistics(),
        )

    @property
    def busy(self) -> int:
        """How many messages it has: with a handler, or from a channel until they are finished."""
        return max(len(self._busy), self._source.holds)

    @property
    def is_running(self) -> bool:
        """Whether it takes messages."""
        return self._on and self._alive and not self._ending

    @property
    def concurrency(self) -> int:
        """How many handlers may run at a time."""
        return self._concurrency

    @property
    def restarts(self) -> int:
        """How often the worker itself was restarted."""
        return max(self._starts - 1, 0)

    @property
    def counters(self) -> WorkerCounters:
        """What counts for it: for metrics, where `status` would cost percentiles."""
        return self._counters

    @property
    def stopped(self) -> bool:
        """Whether only `start` lets it take messages."""
        return not self._on and self._on_at == inf

    @property
    def handled(self) -> int:
        """How often a handler has ended."""
        return self._handling.ended

    async def start(self) -> bool:
        """Let it take messages; return False if it did already.

        It ends what `stop`, ``auto_start=False``, or a stop by the runtime or its supervisor did.
        """
        running = self.is_running
        self._on, self._on_at = True, inf
        self._changed.unpark_all()
        if self._alive or self.runtime is None:
            await trio.lowlevel.checkpoint()
        else:
            await self.runtime.start(f"worker.{self.name}")
        return not running

    async def stop(self) -> bool:
        """Let it take nothing more, and wait for its handlers; return False if it was stopped.

        Those that have not finished after its ``shutdown`` seconds are cancelled, and their
        messages given back; that was no attempt. It stays stopped, also over restarts of its
        task, until `start`. If the wait is cancelled, it stops all the same.

        A handler must not await it: it would wait for itself, until it is cancelled.
        """
        was_on = self._on or self._on_at < inf
        self._on, self._on_at = False, inf
        self._intake.cancel()
        await trio.lowlevel.checkpoint()
        while self._serving and not self._on:
            await self._changed.park()
        return was_on

    def scale(self, concurrency: int) -> None:
        """Let so many handlers run at a time, from now on; those that run go on.

        Args:
          concurrency: >= 1.

        Raises:
          TypeError: If it is no int.
          ValueError: If it is < 1.
        """
        check_integer("concurrency", concurrency, least=1)
        self._concurrency = concurrency
        self._pick_ups.interrupt()
        self._changed.unpark_all()

    async def queue_size(self) -> int:
        """Return how many messages it could take now."""
        return await self._source.size()

    async def queue_status(self) -> Any:  # type: ignore[explicit-any] # a QueueStatus
        """Return the message queue's numbers by status.

        Raises:
          ValueError: If its queue is of another kind.
        """
        return await self._messages().queue_status()

    async def queue_content(self) -> Any:  # type: ignore[explicit-any] # MessageInfos by mid
        """Return what is in the message queue.

        Raises:
          ValueError: If its queue is of another kind.
        """
        return await self._messages().queue_content()

    def _messages(self) -> AnyQueue:
        if self.queue.kind != "message":
            raise ValueError(
                f"queue {self.queue.name!r} is a {self.queue.kind} queue; only message queues say"
            )
        return self.queue

    # -- an incarnation ------------------------------------------------------------------------

    async def __call__(self, *, task_status: ChildStatus) -> None:
        """Be one incarnation: take messages until cancelled, then drain."""
        if not self._starts and not isinstance(self.options.auto_start, bool):
            self._on_at = trio.current_time() + self.options.auto_start
        self._starts += 1
        self._busy.clear()
        self._hands = 0
        log: Log = structlog.get_logger("queueactors")
        log = log.bind(worker=self.name, queue=self.queue.name)
        self._alive, self._ending = True, False
        try:
            async with bare_nursery() as outside:
                outside.start_soon(self._end_when_cancelled)
                with task_status.shield():  # handlers go on when the worker is asked to stop
                    async with bare_nursery() as inside:
                        inside.start_soon(self._keep_alive, log)
                        task_status.started(self)
                        while not self._ending:
                            await self._serve(log)
                        inside.cancel_scope.cancel()
                outside.cancel_scope.cancel()
        finally:
            self._alive = self._serving = False
            self._changed.unpark_all()

    def child_down(self, _reason: DownReason) -> None:
        """Give back what it still holds: it was killed, or given up after a crash."""
        with suppress(trio.WouldBlock, ActorError):  # then the next incarnation has it
            self._source.leave_back()

    async def _end_when_cancelled(self) -> None:
        """Carry a cancellation from outside the shield to what is inside it."""
        try:
            await trio.sleep_forever()
        finally:
            self._ending = True
            self._intake.cancel()

    async def _serve(self, log: Log) -> None:
        """Take messages from when the worker is on until it is not; then drain."""
        async with bare_nursery() as handlers:
            with trio.CancelScope() as self._intake:
                if self._ending:
                    self._intake.cancel()
                await self._until_on()
                self._serving = True
                await self._take(handlers, log)
            if not self._serving:
                return
            await self._drain()
            handlers.cancel_scope.cancel()
        await self._give_back(log)
        self._serving = False
        self._changed.unpark_all()

    async def _until_on(self) -> None:
        while not self._on:
            with trio.CancelScope(deadline=self._on_at):
                await self._changed.park()
            if self._on_at <= trio.current_time():
                self._on, self._on_at = True, inf
        await trio.lowlevel.checkpoint()

    async def _drain(self) -> None:
        """Wait for the handlers; and for the queue's answers, but not for a queue that is down.

        It may be down because both restart together, and then it waits for this worker.
        """
        seconds = inf if self._ending else self.options.shutdown  # the supervisor knows its own
        with trio.move_on_after(seconds):
            while any(delivery.running for delivery in self._busy):
                await self._changed.park()
            with trio.move_on_after(GRACE):
                while self._busy:
                    await self._changed.park()

    async def _give_back(self, log: Log) -> None:
        """Give back what no handler has any more; what cannot be given back, it keeps."""
        try:
            with trio.move_on_after(GRACE) as patience:
                await self._source.give_back()
            if patience.cancelled_caught:
                self._source.leave_back()
        except (trio.WouldBlock, ActorError, QueueActorsError) as error:
            log.warning("messages_kept", messages=self._source.holds, error=describe(error))

    async def _take(self, handlers: trio.Nursery, log: Log) -> None:
        """Start a handler for each message, as long as some are free."""
        while True:
            # A hand is free when its handler has ended: the next message is asked for in the
            # same batch in which the queue hears of the last one.
            free = self._concurrency - self._hands
            if free > 0:
                taken = await self._pick_ups.take(free, handlers, log)
                if taken:
                    self._begin(handlers, taken, log)
            else:
                await self._changed.park()

    def _begin(self, handlers: trio.Nursery, taken: list[Delivery], log: Log) -> None:
        """Start a handler for each of some messages."""
        picked_up, lock_time = self._counters.picked_up, inf
        self._hands += len(taken)
        for delivery in taken:
            if delivery.age is not None:
                picked_up(delivery.age, delivery.attempt)
            if delivery.lock_time is not None:
                lock_time = min(lock_time, delivery.lock_time)
                delivery.extended = self._extended
            self._busy.add(delivery)
            handlers.start_soon(self._handle, delivery, log)
        self._look_in(lock_time / KEEP_ALIVE)

    async def _handle(self, delivery: Delivery, log: Log) -> None:
        try:
            await self._handling.handle(delivery, log)
        finally:
            self._busy.discard(delivery)
            if delivery.running:
                delivery.running = False
                self._hands -= 1
            self._changed.unpark_all()

    def _freed(self) -> None:
        """Note that a handler has ended."""
        self._hands -= 1
        self._changed.unpark_all()

    # -- keeping -------------------------------------------------------------------------------

    async def _keep_alive(self, log: Log) -> None:
        """Extend what running handlers have before its time is up; idle, sleep."""
        clock = self.queue.clock
        self._keep_at = inf
        while True:
            with trio.CancelScope(deadline=self._keep_at) as self._keeping:
                await trio.sleep_forever()
            self._keep_at = next_at = inf  # others may lower it during an extension
            for delivery in list(self._busy):
                if delivery.lock_time is None or delivery.lost or not delivery.running:
                    continue
                every = delivery.lock_time / KEEP_ALIVE
                deadline_at = cast("int", delivery.deadline_at)
                left = (deadline_at - clock.now_ns()) / 1e9
                if left < EARLY * delivery.lock_time:
                    await self._extend(delivery, log)
                next_at = min(next_at, every)
            self._look_in(next_at)

    def _look_in(self, seconds: float) -> None:
        """Look by then, at the latest, for what must be extended."""
        keep_at = trio.current_time() + seconds
        if keep_at < self._keep_at:
            self._keep_at = self._keeping.deadline = keep_at

    def _extended(self, delivery: Delivery) -> None:
        """Look in time at a message that its handler has extended: perhaps by little."""
        left = (cast("int", delivery.deadline_at) - self.queue.clock.now_ns()) / 1e9
        self._look_in(max(left, 0) / KEEP_ALIVE)

    async def _extend(self, delivery: Delivery, log: Log) -> None:
        log = log.bind(id=delivery.id, attempt=delivery.attempt)
        try:
            await insist(delivery.extend)
        except (ClaimLostError, ReservationError):
            delivery.lost = True
            log.warning("reservation_lost")
        except (ActorError, QueueActorsError) as error:
            log.warning("reservation_not_extended", error=describe(error))
