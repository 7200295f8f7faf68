"""A worker: feeds a timed queue's messages to your function, some at a time.

One task takes messages, as many as handlers are free; each runs in a task of its own; one more
task keeps their reservations alive. A handler that raises never harms the worker or the queue:
its message is given back, after a backoff. Asked to stop, the worker takes nothing more and
waits for its handlers; when its ``shutdown`` seconds are over they are cancelled and their
messages given back at once.
"""

from __future__ import annotations

import inspect
from math import inf
from typing import TYPE_CHECKING, Final

import attrs
import structlog
import trio

from queueactors._errors import QueueActorsError, QueueClosedError, ReservationError
from queueactors._insist import insist
from queueactors._options import is_seconds
from supervisors import ActorDownError, ActorError, bare_nursery, describe

from ._delivery import Delivery

if TYPE_CHECKING:
    from queueactors.queues import TimedQueue
    from supervisors import ChildStatus

    from ._options import WorkerOptions

GRACE: Final = 5.0  # seconds for telling the queue about a handler that was cancelled
KEEP_ALIVE: Final = 3  # a reservation is extended this often in its time
DOWN: Final = 1.0  # seconds between two looks at a queue that is stopped or parked


@attrs.frozen(kw_only=True)
class WorkerStatus:
    """A worker's numbers, counted since it was defined.

    Args:
      running: Whether it takes messages.
      concurrency: How many handlers may run at a time.
      busy: How many run now.
      succeeded: Messages whose handler returned.
      retried: Failed attempts: the handler raised, or took too long.
      lost: Attempts whose reservation had ended meanwhile: the message is somebody else's.
      restarts: How often the worker itself was restarted.
    """

    running: bool
    concurrency: int
    busy: int
    succeeded: int
    retried: int
    lost: int
    restarts: int


@attrs.define(eq=False)
class Worker:
    """Runs handlers for the messages of one queue: a child's start function.

    Args:
      name: The worker's.
      queue: Where the messages are from.
      options: What to run, and how.
      runtime: Given to the handler with each delivery.
    """

    name: str
    queue: TimedQueue
    options: WorkerOptions
    runtime: object = None
    _busy: set[Delivery] = attrs.field(factory=set, init=False)
    _freed: trio.Event = attrs.field(factory=trio.Event, init=False)
    _running: bool = attrs.field(default=False, init=False)
    _starts: int = attrs.field(default=0, init=False)
    _succeeded: int = attrs.field(default=0, init=False)
    _retried: int = attrs.field(default=0, init=False)
    _lost: int = attrs.field(default=0, init=False)

    def __repr__(self) -> str:
        return f"<Worker {self.name!r} of queue {self.queue.name!r}, {len(self._busy)} busy>"

    def status(self) -> WorkerStatus:
        """Return the worker's numbers."""
        return WorkerStatus(
            running=self._running,
            concurrency=self.options.concurrency,
            busy=len(self._busy),
            succeeded=self._succeeded,
            retried=self._retried,
            lost=self._lost,
            restarts=max(self._starts - 1, 0),
        )

    async def __call__(self, *, task_status: ChildStatus) -> None:
        """Be one incarnation: take messages until cancelled, then drain."""
        self._starts += 1
        self._busy.clear()
        log: structlog.typing.FilteringBoundLogger = structlog.get_logger("queueactors")
        log = log.bind(worker=self.name, queue=self.queue.name)
        intake = trio.CancelScope()
        async with bare_nursery() as outside:
            outside.start_soon(_cancel_when_cancelled, intake)
            with task_status.shield():  # handlers go on when the worker is asked to stop
                async with bare_nursery() as handlers:
                    handlers.start_soon(self._keep_alive, log)
                    self._running = True
                    task_status.started(self)
                    try:
                        with intake:
                            await self._take(handlers, log)
                    finally:
                        self._running = False
                    while self._busy:
                        await self._one_freed()
                    handlers.cancel_scope.cancel()
            outside.cancel_scope.cancel()

    async def _take(
        self, handlers: trio.Nursery, log: structlog.typing.FilteringBoundLogger
    ) -> None:
        """Start a handler for each message, as long as some are free."""
        limiter = trio.CapacityLimiter(self.options.concurrency)
        while True:
            free = self.options.concurrency - len(self._busy)
            if not free:
                await self._one_freed()
                continue
            try:
                taken = await insist(lambda: self.queue.reserve_many(free))  # noqa: B023
            except QueueClosedError:
                log.info("worker_drained")
                await trio.sleep_forever()
            except ActorDownError as error:
                if error.reason == "gone":
                    raise
                log.warning("worker_waits", reason=error.reason)
                await trio.sleep(DOWN)
                continue
            for reservation in taken:
                delivery = Delivery(reservation, self.queue, self.runtime)
                self._busy.add(delivery)
                handlers.start_soon(self._handle, delivery, limiter, log)

    async def _one_freed(self) -> None:
        self._freed = trio.Event()
        await self._freed.wait()

    async def _handle(
        self,
        delivery: Delivery,
        limiter: trio.CapacityLimiter,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        """Run the handler once, and tell the queue what came of it."""
        log = log.bind(id=delivery.id, attempt=delivery.attempt)
        facts = {"queue": self.queue.name, "id": delivery.id, "attempt": delivery.attempt}
        try:
            with structlog.contextvars.bound_contextvars(**facts):
                await self._run(delivery, limiter)
        except Exception as error:
            self._retried += 1
            first = error if delivery.attempt == 1 else None  # one traceback is enough
            log.warning("handler_failed", error=describe(error), exc_info=first)
            await self._tell(delivery, log, error=describe(error))
        except BaseException as error:
            await self._tell(delivery, log, error=describe(error), at_once=True)
            raise
        else:
            await self._tell(delivery, log)
        finally:
            self._busy.discard(delivery)
            self._freed.set()

    async def _run(self, delivery: Delivery, limiter: trio.CapacityLimiter) -> None:
        options = self.options
        seconds = inf if options.max_runtime is None else options.max_runtime
        with trio.move_on_after(seconds) as limit:
            if _is_async(options.handler):
                await options.handler(delivery, *options.args)  # type: ignore[misc] # checked
            else:
                result = await trio.to_thread.run_sync(
                    options.handler,
                    delivery,
                    *options.args,
                    abandon_on_cancel=True,
                    limiter=limiter,
                )
                if inspect.isawaitable(result):
                    await result
        if limit.cancelled_caught:
            raise trio.TooSlowError(f"the handler exceeded max_runtime of {seconds} s")

    async def _tell(
        self,
        delivery: Delivery,
        log: structlog.typing.FilteringBoundLogger,
        *,
        error: str | None = None,
        at_once: bool = False,
    ) -> None:
        """Finish the message, or give it back; also if the worker is being killed."""
        try:
            await self._tell_queue(delivery, log, error, at_once=at_once)
        except trio.Cancelled:
            with trio.move_on_after(GRACE, shield=True):
                await self._tell_queue(delivery, log, error, at_once=at_once)
            raise

    async def _tell_queue(
        self,
        delivery: Delivery,
        log: structlog.typing.FilteringBoundLogger,
        error: str | None,
        *,
        at_once: bool,
    ) -> None:
        queue = self.queue
        try:
            async with delivery.lock:
                if error is None:
                    await insist(lambda: queue.delete(delivery.key, expired_ok=True))
                    self._succeeded += 1
                else:
                    delay = 0.0 if at_once else self._pace(delivery.attempt, log)
                    await insist(lambda: queue.release(delivery.key, delay, error=error))
        except ReservationError:
            self._lost += 1
            log.warning("delivery_lost", done=error is None)
        except (ActorError, QueueActorsError) as failure:
            # It is not known to the queue; the message comes back when its reservation ends.
            log.warning("delivery_not_told", error=describe(failure), done=error is None)

    def _pace(self, attempt: int, log: structlog.typing.FilteringBoundLogger) -> float:
        """Return the seconds before the next attempt; a bad backoff function means none."""
        backoff = self.options.backoff
        if not callable(backoff):
            return backoff
        try:
            seconds = backoff(attempt)
        except Exception as error:
            log.exception("backoff_failed", error=describe(error))
            return 0.0
        if not is_seconds(seconds, positive=False):
            log.error("backoff_failed", error=f"expected seconds >= 0, got {seconds!r}")
            return 0.0
        return seconds

    async def _keep_alive(self, log: structlog.typing.FilteringBoundLogger) -> None:
        """Extend the reservations of running handlers before they end."""
        every = self.queue.options.reservation_time / KEEP_ALIVE
        clock = self.queue.clock
        while True:
            await trio.sleep(every)
            for delivery in list(self._busy):
                late = delivery.deadline_at - clock.now_ns() < 2 * every * 1e9
                if delivery.lost or not late or delivery not in self._busy:
                    continue
                try:
                    await delivery.extend()
                except ReservationError:
                    delivery.lost = True
                    log.warning("reservation_lost", id=delivery.id, attempt=delivery.attempt)
                except (ActorError, QueueActorsError) as error:
                    log.warning("reservation_not_extended", id=delivery.id, error=describe(error))


async def _cancel_when_cancelled(scope: trio.CancelScope) -> None:
    """Carry a cancellation from outside a shield to a scope inside it."""
    try:
        await trio.sleep_forever()
    finally:
        scope.cancel()


def _is_async(handler: object) -> bool:
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
        getattr(handler, "__call__", None)  # noqa: B004 - an object with an async __call__
    )
