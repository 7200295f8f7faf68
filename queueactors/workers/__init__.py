"""Workers: supervised actors that feed a queue to your function."""

from ._backoff import exp_backoff
from ._delivery import Delivery
from ._monitor import Observation, monitor_fn
from ._options import BATCH, WorkerOptions, unfit
from ._results import Error, Retry, Snooze, Success
from ._statistics import Summary, WorkerStatistics
from ._throttle import default_throttle
from ._worker import Worker, WorkerStatus

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
