"""A worker's monitor: told what each look at the queue has found."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Literal

import attrs
import structlog
import trio

from queueactors._options import check_integer, check_seconds

if TYPE_CHECKING:
    from collections.abc import Callable


@attrs.frozen
class Observation:
    """What a worker saw when it looked for a message.

    Args:
      queue_size: How many messages waited then.
      dry_runs: How often in a row the queue was found empty; 0 with ``"picked-up"``.
      result: ``"picked-up"``: there was a message; ``"end-of-queue"``: there was none.
    """

    queue_size: int
    dry_runs: int
    result: Literal["picked-up", "end-of-queue"]


def monitor_fn(max_size: int = 1000, warn_every: float = 21600.0) -> Callable[[Observation], None]:
    """Return a monitor that warns of a queue that gets long: the event ``queue_large``.

    Each one remembers when it warned, so each worker needs one of its own.

    Args:
      max_size: How many messages may wait without a warning, >= 0.
      warn_every: Seconds (>= 0) in which it warns once at most. 0: each time.

    Raises:
      TypeError: If ``max_size`` is no int, or ``warn_every`` no number.
      ValueError: If one of them is out of its range.

    Source: Carmine's ``monitor-fn``, seed 001, with its worker's numbers as the default.
    """
    check_integer("max_size", max_size, least=0)
    check_seconds("warn_every", warn_every)
    return _SizeMonitor(max_size, warn_every)


@attrs.define(eq=False)
class _SizeMonitor:
    max_size: int
    warn_every: float
    _warned_at: float = attrs.field(default=-inf, init=False)  # on trio's clock

    def __call__(self, observation: Observation) -> None:
        if observation.queue_size <= self.max_size:
            return
        now = trio.current_time()
        # Another run of trio may have an earlier clock; what it has of the last one says nothing.
        if self._warned_at <= now < self._warned_at + self.warn_every:
            return
        self._warned_at = now
        log: structlog.typing.FilteringBoundLogger = structlog.get_logger("queueactors")
        log.warning("queue_large", queue_size=observation.queue_size, max_size=self.max_size)
