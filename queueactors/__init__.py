"""A runtime for named queues on trio: each an actor under a supervisor tree.

Start with `open_runtime`; the README has a complete program.

A name is imported when it is first asked for, so that importing the package costs nothing.
"""

from typing import TYPE_CHECKING

from supervisors._lazy import lazy_exports

if TYPE_CHECKING:
    from supervisors import PendingReply

    from ._clock import Clock
    from ._codecs import Codec
    from ._errors import (
        ClaimLostError,
        CodecError,
        ItemRefusedError,
        OptionsError,
        PositionError,
        QueueActorsError,
        QueueFullError,
        QueueNotFoundError,
        RefillError,
        ReloadRefusedError,
        ReservationError,
        ReservationExpiredError,
        ReservationNotFoundError,
        StoreError,
        StoreLockedError,
        WorkerNotFoundError,
    )
    from ._idle import wait_until_idle
    from ._runtime import Runtime, open_runtime
    from ._state_errors import QueueBusyError, QueueClosedError, QueueEndedError
    from .config import Config, ConfigError, Fault, load_config
    from .cores.batch import BatchStatistics, Buffer, StoredBatch
    from .cores.capacity import CapacityStatistics
    from .cores.channel import ChannelStatistics
    from .cores.log import LogStatistics, Read
    from .cores.message import Enqueued, MessageInfo, MessageStatistics, QueueStatus
    from .cores.timed import DeadLetter, Reservation, TimedMessage, TimedStatistics
    from .queues import (
        BatchOptions,
        BatchQueue,
        BatchSubmit,
        CapacityOptions,
        CapacityQueue,
        CapacitySubmit,
        ChannelOptions,
        ChannelQueue,
        ChannelSubmit,
        Claim,
        LiveReservation,
        LogOptions,
        LogQueue,
        LogSubmit,
        MessageOptions,
        MessageQueue,
        MessageSubmit,
        TimedOptions,
        TimedQueue,
        TimedSubmit,
    )
    from .retry import Exponential, Fixed, Linear, RetryPolicy
    from .stores import MemoryStore, RedisStore, SqliteStore
    from .workers import (
        Delivery,
        Error,
        Observation,
        Retry,
        Snooze,
        Success,
        Summary,
        Worker,
        WorkerOptions,
        WorkerStatistics,
        WorkerStatus,
        default_throttle,
        exp_backoff,
        monitor_fn,
    )
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "supervisors": "PendingReply",
            "._clock": "Clock",
            "._codecs": "Codec",
            "._errors": (
                "ClaimLostError CodecError ItemRefusedError OptionsError PositionError "
                "QueueActorsError QueueFullError QueueNotFoundError RefillError "
                "ReloadRefusedError ReservationError ReservationExpiredError "
                "ReservationNotFoundError StoreError StoreLockedError WorkerNotFoundError"
            ),
            "._idle": "wait_until_idle",
            "._runtime": "Runtime open_runtime",
            "._state_errors": "QueueBusyError QueueClosedError QueueEndedError",
            ".cores.batch": "BatchStatistics Buffer StoredBatch",
            ".cores.capacity": "CapacityStatistics",
            ".cores.channel": "ChannelStatistics",
            ".cores.log": "LogStatistics Read",
            ".cores.message": "Enqueued MessageInfo MessageStatistics QueueStatus",
            ".cores.timed": "DeadLetter Reservation TimedMessage TimedStatistics",
            ".queues": (
                "BatchOptions BatchQueue BatchSubmit CapacityOptions CapacityQueue "
                "CapacitySubmit ChannelOptions ChannelQueue ChannelSubmit Claim "
                "LiveReservation LogOptions LogQueue LogSubmit MessageOptions MessageQueue "
                "MessageSubmit TimedOptions TimedQueue TimedSubmit"
            ),
            ".retry": "Exponential Fixed Linear RetryPolicy",
            ".stores": "MemoryStore RedisStore SqliteStore",
            ".workers": (
                "Delivery Error Observation Retry Snooze Success Summary Worker "
                "WorkerOptions WorkerStatistics WorkerStatus default_throttle exp_backoff "
                "monitor_fn"
            ),
            ".config": "Config ConfigError Fault load_config",
        },
        modules=(
            "config",
            "control",
            "cores",
            "engines",
            "metrics",
            "queues",
            "retry",
            "stores",
            "workers",
        ),
    )

__all__ = [
    "BatchOptions",
    "BatchQueue",
    "BatchStatistics",
    "BatchSubmit",
    "Buffer",
    "CapacityOptions",
    "CapacityQueue",
    "CapacityStatistics",
    "CapacitySubmit",
    "ChannelOptions",
    "ChannelQueue",
    "ChannelStatistics",
    "ChannelSubmit",
    "Claim",
    "ClaimLostError",
    "Clock",
    "Codec",
    "CodecError",
    "Config",
    "ConfigError",
    "DeadLetter",
    "Delivery",
    "Enqueued",
    "Error",
    "Exponential",
    "Fault",
    "Fixed",
    "ItemRefusedError",
    "Linear",
    "LiveReservation",
    "LogOptions",
    "LogQueue",
    "LogStatistics",
    "LogSubmit",
    "MemoryStore",
    "MessageInfo",
    "MessageOptions",
    "MessageQueue",
    "MessageStatistics",
    "MessageSubmit",
    "Observation",
    "OptionsError",
    "PendingReply",
    "PositionError",
    "QueueActorsError",
    "QueueBusyError",
    "QueueClosedError",
    "QueueEndedError",
    "QueueFullError",
    "QueueNotFoundError",
    "QueueStatus",
    "Read",
    "RedisStore",
    "RefillError",
    "ReloadRefusedError",
    "Reservation",
    "ReservationError",
    "ReservationExpiredError",
    "ReservationNotFoundError",
    "Retry",
    "RetryPolicy",
    "Runtime",
    "Snooze",
    "SqliteStore",
    "StoreError",
    "StoreLockedError",
    "StoredBatch",
    "Success",
    "Summary",
    "TimedMessage",
    "TimedOptions",
    "TimedQueue",
    "TimedStatistics",
    "TimedSubmit",
    "Worker",
    "WorkerNotFoundError",
    "WorkerOptions",
    "WorkerStatistics",
    "WorkerStatus",
    "default_throttle",
    "exp_backoff",
    "load_config",
    "monitor_fn",
    "open_runtime",
    "wait_until_idle",
]
