"""What a handler's answer, or its failure, means for the message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from supervisors import describe

from ._results import Error, Retry, Snooze, Success
from ._sources import SUCCESS, Ending

if TYPE_CHECKING:
    import structlog

    from ._delivery import Delivery
    from ._options import WorkerOptions
    from ._paces import Paces
    from ._statistics import WorkerCounters

_RESULTS = (Success, Retry, Error, Snooze)


@attrs.define(eq=False)
class Answers:
    """Decides what becomes of messages, and logs what went wrong with them.

    Args:
      options: The worker's.
      windows: Whether the queue can refuse duplicates for a time: what ``Success.backoff`` is for.
      paces: The worker's.
      counters: The worker's; a backoff that a handler brings is counted here.
    """

    options: WorkerOptions
    windows: bool
    paces: Paces
    counters: WorkerCounters
    _ignored: bool = attrs.field(default=False, init=False)  # a backoff, and that was logged

    def used_up(
        self, delivery: Delivery, log: structlog.typing.FilteringBoundLogger
    ) -> Ending | None:
        """Return what becomes of a message that has had all its attempts; None: one is left.

        The last one did not end: perhaps it ended the process, and would again.
        """
        most = self.options.max_attempts
        if most is None or delivery.attempt <= most:
            return None
        return self._given_up(delivery, f"none of its {most} attempts came to an end", log)

    def returned(
        self, delivery: Delivery, result: object, log: structlog.typing.FilteringBoundLogger
    ) -> Ending:
        """Return what becomes of a message whose handler returned."""
        ending = SUCCESS
        match result:
            case Success(backoff=seconds) if seconds is not None:
                ending = self._window(seconds, log)
            case Retry(backoff=seconds):
                if seconds is not None:
                    self.counters.count("backoff")
                ending = self._again(delivery, seconds, None, log)
            case Error(exception=why):
                ending = self._given_up(delivery, why, log)
            case Snooze(seconds=seconds):
                ending = Ending("snooze", seconds)
            case type() if issubclass(result, _RESULTS):
                name = result.__name__
                error = TypeError(f"expected the handler to return {name}(...), got the class")
                ending = self.failed(delivery, error, log)
        return ending

    def failed(
        self, delivery: Delivery, error: BaseException, log: structlog.typing.FilteringBoundLogger
    ) -> Ending:
        """Return what becomes of a message whose handler raised."""
        self.tell(delivery, error, log)
        if self.options.on_exception == "error":
            return self._given_up(delivery, describe(error), log)
        return self._again(delivery, None, describe(error), log)

    @staticmethod
    def tell(
        delivery: Delivery, error: BaseException, log: structlog.typing.FilteringBoundLogger
    ) -> None:
        """Log that a handler raised."""
        log.warning(
            "handler_failed",
            id=delivery.id,
            attempt=delivery.attempt,
            error=describe(error),
            exc_info=error if delivery.attempt == 1 else None,  # one traceback is enough
        )

    def _window(self, seconds: float, log: structlog.typing.FilteringBoundLogger) -> Ending:
        self.counters.count("backoff")
        if self.windows:
            return Ending("success", seconds)
        if not self._ignored:
            self._ignored = True
            log.warning("backoff_ignored", seconds=seconds)
        return SUCCESS

    def _again(
        self,
        delivery: Delivery,
        seconds: float | None,
        told: str | None,
        log: structlog.typing.FilteringBoundLogger,
    ) -> Ending:
        most = self.options.max_attempts
        if most is not None and delivery.attempt >= most:
            return self._given_up(delivery, told, log)
        if seconds is None:
            bound = log.bind(id=delivery.id, attempt=delivery.attempt)
            seconds = self.paces.backoff(delivery.attempt, bound)
            if seconds is None:
                return self._given_up(delivery, told, log)
        return Ending("retry", seconds, told)

    @staticmethod
    def _given_up(
        delivery: Delivery,
        why: BaseException | str | None,
        log: structlog.typing.FilteringBoundLogger,
    ) -> Ending:
        told = describe(why) if isinstance(why, BaseException) else why
        log.error(
            "message_given_up",
            id=delivery.id,
            attempt=delivery.attempt,
            error=told,
            exc_info=why if isinstance(why, BaseException) else None,
        )
        return Ending("error", None, told)
