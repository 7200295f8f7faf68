"""The queues: a public handle and options for each kind, over the one actor loop."""

from ._actor import BATCH, QueueActor
from ._batch import BatchQueue, BatchSubmit
from ._batch_options import BatchOptions
from ._capacity import CapacityQueue, CapacitySubmit
from ._channel import ChannelQueue, ChannelSubmit
from ._chunk_options import CapacityOptions, LogOptions
from ._claim import Claim
from ._errands import Errands
from ._handle import QueueHandle, SubmitView
from ._kinds import KINDS, AnyOptions, AnyQueue, Options, Queue, QueueKind
from ._live import LiveReservation
from ._log import LogQueue, LogSubmit
from ._message import MessageQueue, MessageSubmit
from ._options import ChannelOptions, MessageOptions, QueueOptions, TimedOptions
from ._timed import TimedQueue, TimedSubmit

__all__ = [
    "BATCH",
    "KINDS",
    "AnyOptions",
    "AnyQueue",
    "BatchOptions",
    "BatchQueue",
    "BatchSubmit",
    "CapacityOptions",
    "CapacityQueue",
    "CapacitySubmit",
    "ChannelOptions",
    "ChannelQueue",
    "ChannelSubmit",
    "Claim",
    "Errands",
    "LiveReservation",
    "LogOptions",
    "LogQueue",
    "LogSubmit",
    "MessageOptions",
    "MessageQueue",
    "MessageSubmit",
    "Options",
    "Queue",
    "QueueActor",
    "QueueHandle",
    "QueueKind",
    "QueueOptions",
    "SubmitView",
    "TimedOptions",
    "TimedQueue",
    "TimedSubmit",
]
