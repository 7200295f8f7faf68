"""The cores: pure state machines, one module for each queue kind, usable without any runtime."""

from ._changed import Changed
from ._statistics import QueueStatistics

__all__ = ["Changed", "QueueStatistics"]
