"""The queues: a public handle and options for each kind, over the one actor loop."""

from typing import TYPE_CHECKING

from supervisors._lazy import lazy_exports

if TYPE_CHECKING:
    from ._actor import BATCH, QueueActor
    from ._batch import BatchQueue, BatchSubmit
    from ._batch_options import BatchOptions
    from ._capacity import CapacityQueue, CapacitySubmit
    from ._channel import ChannelQueue, ChannelSubmit
    from ._chunk_options import CapacityOptions, LogOptions
    from ._claim import Claim
    from ._errands import Errands
    from ._handle import QueueHandle, SubmitView
    from ._kind_options import AnyOptions, Options
    from ._kinds import KINDS, AnyQueue, Queue, QueueKind
    from ._live import LiveReservation
    from ._log import LogQueue, LogSubmit
    from ._message import MessageQueue, MessageSubmit
    from ._options import ChannelOptions, MessageOptions, QueueOptions, TimedOptions
    from ._timed import TimedQueue, TimedSubmit
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "._actor": "BATCH QueueActor",
            "._batch": "BatchQueue BatchSubmit",
            "._batch_options": "BatchOptions",
            "._capacity": "CapacityQueue CapacitySubmit",
            "._channel": "ChannelQueue ChannelSubmit",
            "._chunk_options": "CapacityOptions LogOptions",
            "._claim": "Claim",
            "._errands": "Errands",
            "._handle": "QueueHandle SubmitView",
            "._kind_options": "AnyOptions Options",
            "._kinds": "AnyQueue KINDS Queue QueueKind",
            "._live": "LiveReservation",
            "._log": "LogQueue LogSubmit",
            "._message": "MessageQueue MessageSubmit",
            "._options": "ChannelOptions MessageOptions QueueOptions TimedOptions",
            "._timed": "TimedQueue TimedSubmit",
        },
    )

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
