"""One message in the hands of a worker: its handler is run, and its queue told what came of it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import attrs
import structlog
import trio

from queueactors._call import (
    Function,
    cancellation,
    is_failure,
    was_cancelled,
    without_cancelled,
)
from queueactors._errors import ClaimLostError, QueueActorsError, ReservationError
from queueactors._insist import insist
from queueactors.cores.timed import DeadLetter
from supervisors import ActorError, describe

from ._sources import UNCOUNTED, Ending, Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._answers import Answers
    from ._delivery import Delivery
    from ._options import WorkerOptions
    from ._statistics import WorkerCounters

GRACE: Final = 1.0  # seconds that a worker that stops waits for its queue's answer
LETTER_AFTER: Final = 30.0  # seconds until a message whose dead letter was refused comes back

Log = structlog.typing.FilteringBoundLogger
AnyRuntime = Any  # type: ignore[explicit-any] # a `Runtime`, which is built on this


@attrs.define(eq=False)
class Handling:
    """Handles deliveries, each in a task of its own.

    Args:
      options: The worker's.
      source: The worker's.
      answers: The worker's.
      counters: The worker's.
      runtime: Where the queue for dead letters is looked up.
      freed: Called when a delivery's handler has ended.
    """

    options: WorkerOptions
    source: Source
    answers: Answers
    counters: WorkerCounters
    runtime: AnyRuntime
    freed: Callable[[], object]
    ended: int = attrs.field(default=0, init=False)  # handlers, ever
    _handler: Function = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.reconfigure(self.options)

    def reconfigure(self, options: WorkerOptions) -> None:
        """Go by other options from the next delivery on."""
        self.options = options
        self._handler = Function(options.handler)

    async def handle(self, delivery: Delivery, log: Log) -> None:
        """Run the handler, if an attempt is left, and tell the queue what came of it."""
        structlog.contextvars.bind_contextvars(  # the context is this task's own
            queue=self.source.queue.name, id=delivery.id, attempt=delivery.attempt
        )
        ending = self.answers.used_up(delivery, log) or await self._ending_of(delivery, log)
        await self._tell(delivery, ending, log)

    async def _ending_of(self, delivery: Delivery, log: Log) -> Ending:
        """Run the handler, and return what is to become of its message."""
        started = trio.current_time()
        try:
            result = await self._run(delivery)
        except BaseException as error:
            rest = without_cancelled(error)
            cancelled = was_cancelled(error)
            if cancelled or not is_failure(error):
                if isinstance(rest, Exception):
                    self.answers.tell(delivery, rest, log)
                await self._tell(delivery, UNCOUNTED, log)
                if cancelled and isinstance(rest, Exception):
                    raise cancellation(error) from None
                raise
            ending = self.answers.failed(delivery, error, log)
        else:
            ending = self.answers.returned(delivery, result, log)
        self.ended += 1
        self.counters.handled(trio.current_time() - started, ending.word)
        return ending

    async def _run(self, delivery: Delivery) -> object:
        seconds = self.options.max_runtime
        if seconds is None:
            return await self._handler(delivery, *self.options.args)
        with trio.move_on_after(seconds):
            return await self._handler(delivery, *self.options.args)
        raise trio.TooSlowError(f"the handler exceeded max_runtime of {seconds} s")

    # -- telling -------------------------------------------------------------------------------

    async def _tell(self, delivery: Delivery, ending: Ending, log: Log) -> None:
        """Finish the message, or give it back; also if the worker is being killed."""
        try:
            if ending.word == "error" and self.options.dead_letter is not None:
                ending = await self._post(delivery, ending, self.options.dead_letter, log)
            self._let_go(delivery)
            await self._tell_queue(delivery, ending, log)
        except trio.Cancelled:
            if delivery.running:  # its dead letter was not posted
                ending = UNCOUNTED
                self._let_go(delivery)
            with trio.move_on_after(GRACE, shield=True) as patience:
                await self._tell_queue(delivery, ending, log)
            if patience.cancelled_caught:
                self._leave_word(delivery, ending, log)
            raise

    def _let_go(self, delivery: Delivery) -> None:
        delivery.running = False
        self.freed()

    async def _post(self, delivery: Delivery, ending: Ending, queue: str, log: Log) -> Ending:
        """Post a dead letter; if it is refused, the message comes back for another last attempt."""
        letter = DeadLetter(
            value=delivery.value,
            queue=self.source.queue.name,
            id=delivery.id,
            attempts=delivery.attempt,
            error=ending.error,
            inserted_at=delivery.inserted_at,
        )
        try:
            accept = self.runtime.queue(queue)._accept  # noqa: SLF001 - waits for room
            await insist(lambda: accept(letter))
        except Exception as error:  # noqa: BLE001 - the value may be anything
            facts = {"id": delivery.id, "attempt": delivery.attempt, "error": describe(error)}
            log.warning("dead_letter_not_posted", **facts)
            return Ending("snooze", LETTER_AFTER, ending.error)
        return ending

    def _leave_word(self, delivery: Delivery, ending: Ending, log: Log) -> None:
        """Put into the mailbox what the queue's next incarnation is to do."""
        self._not_told(delivery, ending, "no answer", log)
        with suppress(trio.WouldBlock, ActorError):  # then it comes back at its deadline
            self.source.leave_word(delivery, ending)

    async def _tell_queue(self, delivery: Delivery, ending: Ending, log: Log) -> None:
        try:
            if delivery.lock is None:
                await self.source.finish(delivery, ending)
            else:
                async with delivery.lock:
                    await self.source.finish(delivery, ending)
        except (ClaimLostError, ReservationError):
            self.counters.count("lost")
            facts = {"id": delivery.id, "attempt": delivery.attempt, "result": ending.word}
            log.warning("delivery_lost", **facts)
        except (ActorError, QueueActorsError) as failure:
            # The queue does not know; the message comes back when its time is up.
            self._not_told(delivery, ending, describe(failure), log)

    @staticmethod
    def _not_told(delivery: Delivery, ending: Ending, error: str, log: Log) -> None:
        facts = {"id": delivery.id, "attempt": delivery.attempt, "result": ending.word}
        log.warning("delivery_not_told", error=error, **facts)
