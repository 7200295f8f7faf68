"""A worker: feeds a timed queue's messages to your function, some at a time.

One task takes messages, as many as handlers are free; each runs in a task of its own; one more
task keeps their reservations alive. A handler that raises never harms the worker or the queue:
its message is given back, after a backoff. Asked to stop, the worker takes nothing more and
waits for its handlers; when its ``shutdown`` seconds are over they are cancelled and their
messages given back at once.
"""

from __future__ import annotations

import inspect
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Final

import attrs
import structlog
import trio

from queueactors._errors import QueueActorsError, QueueClosedError, ReservationError
from queueactors._insist import insist
from queueactors._options import is_seconds
from supervisors import ActorDownError, ActorError, Operation, bare_nursery, describe

from ._delivery import Delivery

if TYPE_CHECKING:
    from queueactors._options import Target
    from queueactors.queues import TimedQueue
    from supervisors import ChildStatus

    from ._options import WorkerOptions

GRACE: Final = 1.0  # seconds that a worker that stops waits for its queue's answer
KEEP_ALIVE: Final = 3  # a reservation is extended this often in its time
DOWN: Final = 1.0  # seconds between two looks at a queue that is down


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
    _changed: trio.lowlevel.ParkingLot = attrs.field(
        factory=trio.lowlevel.ParkingLot, init=False
    )  # whoever waits for a change in _busy
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
                    await self._drain()
                    handlers.cancel_scope.cancel()
            outside.cancel_scope.cancel()

    async def _take(
        self, handlers: trio.Nursery, log: structlog.typing.FilteringBoundLogger
    ) -> None:
        """Start a handler for each message, as long as some are free."""
        while True:
            free = self.options.concurrency - len(self._busy)
            if not free:
                await self._changed.park()
                continue
            try:
                taken = await insist(lambda: self.queue.reserve_many(free))  # noqa: B023
            except QueueClosedError:
                log.info("worker_drained")
                await trio.sleep_forever()
            except ActorError as error:
                # Whatever it is, the queue may come back, also if it is gone with a supervisor;
                # and a crash of the worker would cancel handlers that have nothing to do with it.
                reason = error.reason if isinstance(error, ActorDownError) else "crashed"
                log.warning("worker_waits", reason=reason)
                await trio.sleep(DOWN)
                continue
            for reservation in taken:
                delivery = Delivery(reservation, self.queue, self.runtime)
                self._busy.add(delivery)
                handlers.start_soon(self._handle, delivery, log)

    async def _drain(self) -> None:
        """Wait for the handlers; and for the queue's answers, but not for a queue that is down.

        It may be down because both restart together, and then it waits for this worker.
        """
        while any(delivery.running for delivery in self._busy):
            await self._changed.park()
        with trio.move_on_after(GRACE):
            while self._busy:
                await self._changed.park()

    async def _handle(self, delivery: Delivery, log: structlog.typing.FilteringBoundLogger) -> None:
        """Run the handler once, and tell the queue what came of it."""
        log = log.bind(id=delivery.id, attempt=delivery.attempt)
        facts = {"queue": self.queue.name, "id": delivery.id, "attempt": delivery.attempt}
        try:
            with structlog.contextvars.bound_contextvars(**facts):
                await self._run(delivery)
        except Exception as error:
            self._retried += 1
            first = error if delivery.attempt == 1 else None  # one traceback is enough
            log.warning("handler_failed", error=describe(error), exc_info=first)
            delay = self._pace(delivery.attempt, log)
            await self._tell(delivery, log, error=describe(error), delay=delay)
        except BaseException as error:
            await self._tell(delivery, log, error=describe(error))
            raise
        else:
            await self._tell(delivery, log)
        finally:
            self._busy.discard(delivery)
            self._changed.unpark_all()

    async def _run(self, delivery: Delivery) -> None:
        options = self.options
        seconds = inf if options.max_runtime is None else options.max_runtime
        with trio.move_on_after(seconds) as limit:
            if _is_async(options.handler):
                await options.handler(delivery, *options.args)  # type: ignore[misc] # checked
            else:
                (result,) = await trio.to_thread.run_sync(
                    _boxed,
                    options.handler,
                    delivery,
                    *options.args,
                    abandon_on_cancel=True,
                    limiter=trio.CapacityLimiter(1),  # an abandoned thread would keep its place
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
        delay: float = 0.0,
    ) -> None:
        """Finish the message, or give it back; also if the worker is being killed."""
        delivery.running = False
        self._changed.unpark_all()
        try:
            await self._tell_queue(delivery, log, error, delay)
        except trio.Cancelled:
            with trio.move_on_after(GRACE, shield=True) as patience:
                await self._tell_queue(delivery, log, error, delay)
            if patience.cancelled_caught:
                self._leave_word(delivery, log, error, delay)
            raise

    def _leave_word(
        self,
        delivery: Delivery,
        log: structlog.typing.FilteringBoundLogger,
        error: str | None,
        delay: float,
    ) -> None:
        """Put into the mailbox what the queue's next incarnation is to do."""
        log.warning("delivery_not_told", error="no answer", done=error is None)
        if error is None:
            word = Operation("delete", ((delivery.key,), True))
        else:
            word = Operation("release", (delivery.key, round(delay * 1e9), None, error))
        with suppress(trio.WouldBlock, ActorError):  # then it comes back at its deadline
            self.queue._mailbox.cast(word)  # noqa: SLF001 - the handle has no such release

    async def _tell_queue(
        self,
        delivery: Delivery,
        log: structlog.typing.FilteringBoundLogger,
        error: str | None,
        delay: float,
    ) -> None:
        queue = self.queue
        try:
            async with delivery.lock:
                if error is None:
                    await insist(lambda: queue.delete(delivery.key, expired_ok=True))
                    self._succeeded += 1
                else:
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
                if delivery.lost or not delivery.running or not late:
                    continue
                try:
                    await insist(delivery.extend)
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


def _boxed(handler: Target, *args: object) -> tuple[object]:
    """Call a handler; in a tuple, because trio lets no coroutine out of a thread."""
    return (handler(*args),)


def _is_async(handler: object) -> bool:
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
        getattr(handler, "__call__", None)  # noqa: B004 - an object with an async __call__
    )
