"""Workers: supervised actors that feed a queue to your function."""

from typing import TYPE_CHECKING

from supervisors._lazy import lazy_exports

if TYPE_CHECKING:
    from ._backoff import exp_backoff
    from ._delivery import Delivery
    from ._monitor import Observation, monitor_fn
    from ._options import BATCH, WorkerOptions, unfit
    from ._results import Error, Retry, Snooze, Success
    from ._statistics import Summary, WorkerStatistics
    from ._throttle import default_throttle
    from ._worker import Worker, WorkerStatus
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "._backoff": "exp_backoff",
            "._delivery": "Delivery",
            "._monitor": "Observation monitor_fn",
            "._options": "BATCH WorkerOptions unfit",
            "._results": "Error Retry Snooze Success",
            "._statistics": "Summary WorkerStatistics",
            "._throttle": "default_throttle",
            "._worker": "Worker WorkerStatus",
        },
    )

__all__ = [
    "BATCH",
    "Delivery",
    "Error",
    "Observation",
    "Retry",
    "Snooze",
    "Success",
    "Summary",
    "Worker",
    "WorkerOptions",
    "WorkerStatistics",
    "WorkerStatus",
    "default_throttle",
    "exp_backoff",
    "monitor_fn",
    "unfit",
]
