"""How a worker picks up messages: at what pace, and what it sees of the queue when it does.

One take at a time. It waits for a message, but not for ever: each time that `Paces.end_of_queue`
is over, that was a dry run. The queue's size is asked in the batch of operations that the take is
in, so it costs no wait.
"""

from __future__ import annotations

import inspect
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Final, Literal

import attrs
import structlog
import trio

from queueactors._errors import QueueActorsError
from queueactors._state_errors import QueueBusyError, QueueClosedError
from supervisors import ActorDownError, ActorError, describe

from ._monitor import Observation, monitor_fn

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from queueactors._options import Target
    from supervisors import PendingReply

    from ._delivery import Delivery
    from ._options import WorkerOptions
    from ._paces import Paces
    from ._sources import Source
    from ._statistics import WorkerCounters

DOWN: Final = 1.0  # seconds between two looks at a queue that is down

Log = structlog.typing.FilteringBoundLogger


@attrs.define(eq=False)
class PickUps:
    """Takes messages for a worker, and tells its monitor.

    Args:
      name: The worker's.
      options: The worker's.
      source: The worker's.
      paces: The worker's.
      counters: The worker's.
    """

    name: str
    options: WorkerOptions
    source: Source
    paces: Paces
    counters: WorkerCounters
    throttled: bool = attrs.field(init=False)  # one message a pick-up, and not too soon
    _monitor: Target | None = attrs.field(init=False)
    _monitoring: bool = attrs.field(default=False, init=False)  # an async one runs
    _size: int = attrs.field(default=0, init=False)  # the queue's, when it was last seen
    _dry_runs: int = attrs.field(default=0, init=False)  # in a row
    _next_at: float = attrs.field(default=-inf, init=False)  # on trio's clock: not before
    _waits: str | None = attrs.field(default=None, init=False)  # for what, if for no message
    _taking: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

    def __attrs_post_init__(self) -> None:
        self.reconfigure(self.options, None)

    def reconfigure(self, options: WorkerOptions, before: WorkerOptions | None) -> None:
        """Go by other options from the next pick-up on."""
        self.options = options
        self.throttled = options.throttle is not None
        given = options.monitor
        # The default one remembers when it warned: one for each worker.
        if before is None or given != before.monitor:
            self._monitor = (
                monitor_fn() if given == "default" else None if given == "none" else given
            )

    def interrupt(self) -> None:
        """End the present `take`: it may take as many as were free when it began."""
        self._taking.cancel()

    async def take(self, free: int, handlers: trio.Nursery, log: Log) -> list[Delivery]:
        """Wait for messages and take them; return none now and then.

        Args:
          free: How many may be taken (>= 1).
          handlers: Where an async monitor may run.
          log: The worker's.
        """
        if self.throttled:
            free = 1
            if trio.current_time() < self._next_at:
                await trio.sleep_until(self._next_at)
                return []  # there may be no free hand any more
        size = None
        if self.throttled or self._monitor is not None:
            with suppress(trio.WouldBlock, ActorError):
                size = self.source.submit_size()
        end_at = trio.current_time() + self.paces.end_of_queue(self._dry_runs + 1, log)
        taken = await self._take(free, end_at, log)
        if taken:
            self._dry_runs = 0
            self._waits = None
            self._see(size)
            self._tell_monitor("picked-up", handlers, log)
            if self.throttled:
                self._next_at = trio.current_time() + self.paces.throttle(self._size, log)
        elif trio.current_time() >= end_at and self._waits is None:
            self._dry_runs += 1
            self.counters.count("end_of_queue")
            self._see(size)
            self._tell_monitor("end-of-queue", handlers, log)
        return taken

    async def _take(self, free: int, end_at: float, log: Log) -> list[Delivery]:
        with trio.CancelScope(deadline=end_at) as self._taking:
            try:
                return await self.source.take(free)
            except QueueClosedError:
                log.info("worker_drained")
                self._taking.deadline = inf
                await trio.sleep_forever()
            except (ActorError, QueueBusyError) as error:
                # Whatever it is, the queue may come back, also if it is gone with a supervisor;
                # and a crash of the worker would cancel handlers that have nothing to do with it.
                reason = _reason(error)
                if reason != self._waits:
                    log.warning("worker_waits", reason=reason)
                self._waits = reason
                self._taking.deadline = inf
                await trio.sleep(DOWN)
        if self._taking.cancelled_caught:
            self._waits = None
        return []

    def _see(self, size: PendingReply[int] | None) -> None:
        """Note the queue's size, if it was answered."""
        if size is not None and size.is_ready:
            with suppress(ActorError, QueueActorsError):
                self._size = size.get_nowait()
                self.counters.sized(self._size)

    def _tell_monitor(
        self, result: Literal["picked-up", "end-of-queue"], handlers: trio.Nursery, log: Log
    ) -> None:
        monitor = self._monitor
        if monitor is None or self._monitoring:
            return
        observation = Observation(self._size, self._dry_runs, result)
        queue = self.source.queue.name
        with structlog.contextvars.bound_contextvars(worker=self.name, queue=queue):
            try:
                answer = monitor(observation)
            except Exception as error:
                log.exception("monitor_failed", error=describe(error))
            else:
                if inspect.isawaitable(answer):
                    self._monitoring = True
                    handlers.start_soon(self._await_monitor, answer, log)

    async def _await_monitor(self, answer: Awaitable[object], log: Log) -> None:
        """Let an async monitor run; until it is done, it is not told more."""
        try:
            await answer
        except Exception as error:
            log.exception("monitor_failed", error=describe(error))
        finally:
            self._monitoring = False


def _reason(error: Exception) -> str:
    """Return why a worker waits for its queue."""
    if isinstance(error, ActorDownError):
        return error.reason
    return "busy" if isinstance(error, QueueBusyError) else "crashed"
