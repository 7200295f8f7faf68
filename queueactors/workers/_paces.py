"""A worker's paces: what its options say, and what happens if a function of yours fails at it."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final

import attrs

from queueactors._options import is_seconds
from supervisors import describe

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

    def backoff(self, attempt: int, log: structlog.typing.FilteringBoundLogger) -> float:
        """Return the seconds before the next attempt; a bad function means none."""
        given = self.options.backoff
        return self._told(given, attempt, "backoff_failed", log) or 0.0

    def throttle(self, queue_size: int, log: structlog.typing.FilteringBoundLogger) -> float:
        """Return the seconds to the next pick-up; for a bad function, what ``"auto"`` means."""
        given = self.options.throttle
        if given is None:
            return 0.0
        if isinstance(given, str):
            return default_throttle(queue_size)
        seconds = self._told(given, queue_size, "throttle_failed", log, none_ok=True)
        return default_throttle(queue_size) if seconds is None else seconds

    def end_of_queue(self, dry_runs: int, log: structlog.typing.FilteringBoundLogger) -> float:
        """Return the seconds until an empty queue is another dry run."""
        given = self.options.eoq_backoff
        seconds = None
        if given is not None:
            seconds = self._told(given, dry_runs, "eoq_backoff_failed", log)
        if seconds is None:
            seconds = end_of_queue_backoff(dry_runs, self.random)
        return max(seconds, LEAST)

    @staticmethod
    def _told(
        given: float | Callable[[int], float | None],
        argument: int,
        event: str,
        log: structlog.typing.FilteringBoundLogger,
        *,
        none_ok: bool = False,
    ) -> float | None:
        """Return the seconds that an option stands for; None: its function fails.

        With ``none_ok`` the function's own None is 0.
        """
        if not callable(given):
            return given
        try:
            seconds = given(argument)
        except Exception as error:
            log.exception(event, error=describe(error))
            return None
        if none_ok and seconds is None:
            return 0.0
        if not is_seconds(seconds, positive=False):
            log.error(event, error=f"expected seconds >= 0, got {seconds!r}")
            return None
        return seconds
