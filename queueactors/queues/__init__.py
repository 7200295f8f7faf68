"""The queues: a public handle and options for each kind, over the one actor loop."""

from ._actor import QueueActor
from ._channel import ChannelQueue, ChannelSubmit
from ._errands import Errands
from ._handle import QueueHandle
from ._kinds import KINDS, AnyOptions, AnyQueue, Options, Queue, QueueKind
from ._live import LiveReservation
from ._options import ChannelOptions, QueueOptions, TimedOptions
from ._timed import TimedQueue, TimedSubmit

__all__ = [
    "KINDS",
    "AnyOptions",
    "AnyQueue",
    "ChannelOptions",
    "ChannelQueue",
    "ChannelSubmit",
    "Errands",
    "LiveReservation",
    "Options",
    "Queue",
    "QueueActor",
    "QueueHandle",
    "QueueKind",
    "QueueOptions",
    "TimedOptions",
    "TimedQueue",
    "TimedSubmit",
]
