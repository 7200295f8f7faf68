"""Workers: supervised actors that feed a queue to your function."""

from ._backoff import exp_backoff
from ._delivery import Delivery
from ._options import WorkerOptions
from ._worker import Worker, WorkerStatus

__all__ = ["Delivery", "Worker", "WorkerOptions", "WorkerStatus", "exp_backoff"]
