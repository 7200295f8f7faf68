"""A worker's paces: what its options say, and what happens if a function of yours fails at it."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final

import attrs

from queueactors._options import check_seconds
from queueactors.retry import RetryPolicy
from supervisors import describe

from ._backoff import exp_backoff
from ._throttle import default_throttle, end_of_queue_backoff

if TYPE_CHECKING:
    from collections.abc import Callable

    import structlog

    from ._options import WorkerOptions

LEAST: Final = 0.01  # seconds at the end of a queue, whatever is said: not a busy loop


@attrs.define(eq=False)
class Paces:
    """How long a worker waits, before what.

    Args:
      options: The worker's.
      random: The dice.
    """

    options: WorkerOptions
    random: Random = attrs.field(factory=Random)

    def backoff(self, attempt: int, log: structlog.typing.FilteringBoundLogger) -> float | None:
        """Return the seconds before the next attempt; for a bad function, `exp_backoff`'s.

        None: there is none, by the retry policy.
        """
        given = self.options.backoff
        if isinstance(given, RetryPolicy):
            policy = given
            seconds, error = _told(lambda n: policy.delay(n, self.random), attempt, none_ok=True)
        else:
            seconds, error = _told(given, attempt)
        if error is not None:
            log.error("backoff_failed", error=describe(error), exc_info=error)
            return exp_backoff(attempt, random=self.random)
        return seconds

    def throttle(self, queue_size: int, log: structlog.typing.FilteringBoundLogger) -> float:
        """Return the seconds to the next pick-up; for a bad function, what ``"auto"`` means."""
        given = self.options.throttle
        if given is None:
            return 0.0
        if isinstance(given, str):
            return default_throttle(queue_size)
        seconds, error = _told(given, queue_size, none_ok=True)
        if error is not None:
            log.error("throttle_failed", error=describe(error), exc_info=error)
            return default_throttle(queue_size)
        return seconds or 0.0

    def end_of_queue(self, dry_runs: int, log: structlog.typing.FilteringBoundLogger) -> float:
        """Return the seconds until an empty queue is another dry run."""
        given = self.options.eoq_backoff
        seconds, error = (None, None) if given is None else _told(given, dry_runs)
        if error is not None:
            log.error("eoq_backoff_failed", error=describe(error), exc_info=error)
        if seconds is None:
            seconds = end_of_queue_backoff(dry_runs, self.random)
        return max(seconds, LEAST)


def _told(
    given: float | Callable[[int], float | None], argument: int, *, none_ok: bool = False
) -> tuple[float | None, Exception | None]:
    """Return the seconds that an option stands for; or None and why its function fails."""
    if not callable(given):
        return given, None
    try:
        seconds = given(argument)
    except Exception as error:  # noqa: BLE001 - whatever the function does
        return None, error
    if none_ok and seconds is None:
        return None, None
    try:
        check_seconds("it", seconds)
    except (TypeError, ValueError) as error:
        return None, error
    return seconds, None
