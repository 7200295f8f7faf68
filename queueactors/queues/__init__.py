"""The queues: a public handle and options for each kind, over the one actor loop."""

from ._actor import QueueActor
from ._errands import Errands
from ._kinds import KINDS, Options, Queue, QueueKind
from ._live import LiveReservation
from ._options import TimedOptions
from ._timed import TimedQueue, TimedSubmit

__all__ = [
    "KINDS",
    "Errands",
    "LiveReservation",
    "Options",
    "Queue",
    "QueueActor",
    "QueueKind",
    "TimedOptions",
    "TimedQueue",
    "TimedSubmit",
]
