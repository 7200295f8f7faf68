"""The queues: a public handle and options for each kind, over the one actor loop."""

from ._actor import BATCH, QueueActor
from ._batch import BatchQueue, BatchSubmit
from ._batch_options import BatchOptions
from ._channel import ChannelQueue, ChannelSubmit
from ._claim import Claim
from ._errands import Errands
from ._handle import QueueHandle, SubmitView
from ._kinds import KINDS, AnyOptions, AnyQueue, Options, Queue, QueueKind
from ._live import LiveReservation
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
    "ChannelOptions",
    "ChannelQueue",
    "ChannelSubmit",
    "Claim",
    "Errands",
    "LiveReservation",
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
